// Package blobtest holds what every blob.Store must do, and gives tests a real
// S3 server.
//
// In: a test and a way to make stores. Out: failures that name the promise which
// was broken; a Server. Always true: nothing is shared between tests; the
// server runs on the loopback interface, keeps its data in a folder of the
// test's own, and ends with the test; where none is installed, the test is
// skipped and says how to get one.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/fault"
)

// S3 gives the test a store of its own on a real S3 server.
func S3(t testing.TB) blob.Store {
	t.Helper()
	return Serve(t).Open()
}

// Each runs f as a subtest on each kind of store.
func Each(t *testing.T, f func(t *testing.T, s blob.Store)) {
	t.Helper()
	t.Run("folder", func(t *testing.T) {
		s, err := blob.OpenFolder(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		f(t, s)
	})
	t.Run("s3", func(t *testing.T) { f(t, S3(t)) })
}

// Run checks a kind of store. open gives an empty one of the test's own.
func Run(t *testing.T, open func(t *testing.T) blob.Store) {
	for name, check := range map[string]func(*testing.T, blob.Store){
		"what was put is got":             gets,
		"put never replaces":              putsOnce,
		"wrong sizes store nothing":       refusesSizes,
		"bad names are refused":           refusesNames,
		"replace only what was seen":      replaces,
		"one of many writers wins":        races,
		"counting together loses nothing": counts,
		"lists by name":                   lists,
		"removed is gone":                 removes,
		"a part of a store":               subs,
		"large objects":                   large,
		"ends with its context":           cancels,
	} {
		t.Run(name, func(t *testing.T) { check(t, open(t)) })
	}
}

// Put stores a text and fails the test when it cannot.
func Put(t testing.TB, s blob.Store, name, body string) {
	t.Helper()
	if err := s.Put(t.Context(), name, strings.NewReader(body), int64(len(body))); err != nil {
		t.Fatal(err)
	}
}

// Get returns an object and fails the test when it cannot.
func Get(t testing.TB, s blob.Store, name string) (string, blob.Info) {
	t.Helper()
	r, info, err := s.Get(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return string(b), info
}

// Names lists a store and fails the test when it cannot.
func Names(t testing.TB, s blob.Store, prefix, after string) []string {
	t.Helper()
	var names []string
	err := s.List(t.Context(), prefix, after, func(i blob.Info) error { names = append(names, i.Name); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func wantMissing(t testing.TB, s blob.Store, name string) {
	t.Helper()
	if _, _, err := s.Get(t.Context(), name); fault.Of(err) != fault.Missing {
		t.Errorf("get %s: got %v, want that it is missing", name, err)
	}
}

func gets(t *testing.T, s blob.Store) {
	for name, body := range map[string]string{
		"a": "x", "empty": "", "deep/er/than/most": "深い", "病院/記録 1.txt": "名前", "dots/.profile": "p", "signs/a+b=c@d~e&f#g'h(i)!": "s",
	} {
		Put(t, s, name, body)
		got, info := Get(t, s, name)
		if got != body || info.Name != name || info.Size != int64(len(body)) || info.Tag == "" || info.At.IsZero() {
			t.Errorf("%s: got %q, %+v; want %q", name, got, info, body)
		}
	}
	wantMissing(t, s, "b")
	wantMissing(t, s, "deep")
	wantMissing(t, s, "deep/er/than/most/of")
}

func putsOnce(t *testing.T, s blob.Store) {
	Put(t, s, "d/a", "first")
	for _, body := range []string{"second", "first"} {
		err := s.Put(t.Context(), "d/a", strings.NewReader(body), int64(len(body)))
		if fault.Of(err) != fault.Conflict || !blob.IsExists(err) {
			t.Errorf("put again: got %v, want blob.exists", err)
		}
	}
	if got, _ := Get(t, s, "d/a"); got != "first" {
		t.Errorf("got %q, want what was put first", got)
	}
}

func refusesSizes(t *testing.T, s blob.Store) {
	broken := errors.New("the cable was pulled")
	for what, r := range map[string]io.Reader{
		"short":  strings.NewReader("abc"),
		"long":   strings.NewReader("abcde"),
		"broken": io.MultiReader(strings.NewReader("ab"), iotest.ErrReader(broken)),
	} {
		if err := s.Put(t.Context(), "a", r, 4); err == nil || what == "broken" && !errors.Is(err, broken) {
			t.Errorf("%s: got %v", what, err)
		}
	}
	wantMissing(t, s, "a")
	if got := Names(t, s, "", ""); len(got) > 0 {
		t.Errorf("the store shows %q", got)
	}
}

func refusesNames(t *testing.T, s blob.Store) {
	for _, name := range []string{"", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/..", `a\b`, "a\x00", "a\nb", "\xff",
		".blob", ".blob/a", strings.Repeat("n", 241), strings.Repeat("n/", 451) + "n"} {
		if blob.ValidName(name) {
			t.Errorf("%q is valid", name)
		}
		_, _, get := s.Get(t.Context(), name)
		_, replace := s.Replace(t.Context(), name, nil, "")
		for what, err := range map[string]error{"get": get, "replace": replace, "remove": s.Remove(t.Context(), name),
			"put": s.Put(t.Context(), name, strings.NewReader(""), 0)} {
			if fault.Of(err) != fault.Invalid {
				t.Errorf("%s %q: got %v, want invalid", what, name, err)
			}
		}
	}
}

func replaces(t *testing.T, s blob.Store) {
	ctx := t.Context()
	first, err := s.Replace(ctx, "d/head", []byte("1"), "")
	if err != nil || first == "" {
		t.Fatalf("got tag %q, %v", first, err)
	}
	if _, err := s.Replace(ctx, "d/head", []byte("x"), ""); !blob.IsChanged(err) || fault.Of(err) != fault.Conflict {
		t.Errorf("made again: got %v, want blob.changed", err)
	}
	second, err := s.Replace(ctx, "d/head", []byte("2"), first)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Replace(ctx, "d/head", []byte("x"), first); !blob.IsChanged(err) {
		t.Errorf("with an old tag: got %v, want blob.changed", err)
	}
	if _, err := s.Replace(ctx, "d/other", []byte("x"), first); !blob.IsChanged(err) {
		t.Errorf("of what is not there: got %v, want blob.changed", err)
	}
	if got, info := Get(t, s, "d/head"); got != "2" || info.Tag != second {
		t.Errorf("got %q with tag %s, want 2 with %s", got, info.Tag, second)
	}
	if err := s.Put(ctx, "d/head", strings.NewReader("x"), 1); !blob.IsExists(err) {
		t.Errorf("put over it: got %v, want blob.exists", err)
	}
	if _, err := s.Replace(ctx, "d/large", make([]byte, blob.MaxReplace+1), ""); fault.Of(err) != fault.Invalid {
		t.Errorf("too large: got %v, want invalid", err)
	}
}

// races puts the same name from many sides: exactly one must win, and what is
// there must be the winner's.
func races(t *testing.T, s blob.Store) {
	for round := range 5 {
		name := fmt.Sprintf("race/%d", round)
		won := together(8, func(i int) error {
			body := fmt.Sprint("body of ", i)
			if i%2 == 0 {
				return s.Put(t.Context(), name, strings.NewReader(body), int64(len(body)))
			}
			_, err := s.Replace(t.Context(), name, []byte(body), "")
			return err
		}, t)
		if len(won) != 1 {
			t.Fatalf("%d writers won", len(won))
		}
		if got, _ := Get(t, s, name); got != fmt.Sprint("body of ", won[0]) {
			t.Errorf("got %q, want that of %d", got, won[0])
		}
	}
}

// together runs f n times at once and returns who met no conflict.
func together(n int, f func(i int) error, t testing.TB) (won []int) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			err := f(i)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won = append(won, i)
			} else if fault.Of(err) != fault.Conflict {
				t.Errorf("writer %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	return won
}

// counts lets several writers add to one object, as those who share a manifest
// do.
func counts(t *testing.T, s blob.Store) {
	const writers, each = 4, 5
	together(writers, func(int) error {
		for done := 0; done < each; {
			err := add(t.Context(), s)
			if err == nil {
				done++
			} else if !blob.IsChanged(err) {
				return err
			}
		}
		return nil
	}, t)
	if got, _ := Get(t, s, "count"); len(got) != writers*each {
		t.Errorf("got %d, want %d", len(got), writers*each)
	}
}

func add(ctx context.Context, s blob.Store) error {
	r, info, err := s.Get(ctx, "count")
	if fault.Of(err) == fault.Missing {
		_, err = s.Replace(ctx, "count", []byte("|"), "")
		return err
	}
	if err != nil {
		return err
	}
	body, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return err
	}
	_, err = s.Replace(ctx, "count", append(body, '|'), info.Tag)
	return err
}

func lists(t *testing.T, s blob.Store) {
	all := []string{"a", "b-1", "b.1", "b/1", "b/2/x", "b/2/y", "b/3", "b0", "c/1", "病/1"}
	for _, i := range rand.Perm(len(all)) {
		Put(t, s, all[i], all[i])
	}
	for _, tt := range []struct {
		prefix, after string
		want          []string
	}{
		{"", "", all},
		{"b", "", all[1:8]},
		{"b/", "", all[3:7]},
		{"b/2", "", all[4:6]},
		{"b/2/", "b/2/x", all[5:6]},
		{"", "b/2", all[4:]},
		{"", "b/2/x", all[5:]},
		{"", "b/2/xx", all[5:]},
		{"b", "b/9", all[7:8]},
		{"z", "", nil},
		{"", "病/1", nil},
	} {
		if got := Names(t, s, tt.prefix, tt.after); !slices.Equal(got, tt.want) {
			t.Errorf("prefix %q after %q: got %q, want %q", tt.prefix, tt.after, got, tt.want)
		}
	}
	enough := errors.New("enough")
	n := 0
	err := s.List(t.Context(), "", "", func(i blob.Info) error {
		if n++; i.Size != int64(len(i.Name)) || i.At.IsZero() {
			t.Errorf("got %+v", i)
		}
		return enough
	})
	if !errors.Is(err, enough) || n != 1 {
		t.Errorf("got %v after %d names, want the error of the caller after one", err, n)
	}
}

func removes(t *testing.T, s blob.Store) {
	Put(t, s, "d/a", "1")
	for range 2 { // absent is no error
		if err := s.Remove(t.Context(), "d/a"); err != nil {
			t.Fatal(err)
		}
	}
	wantMissing(t, s, "d/a")
	if got := Names(t, s, "", ""); len(got) > 0 {
		t.Errorf("the store shows %q", got)
	}
	Put(t, s, "d/a", "2") // the name is free
}

func subs(t *testing.T, s blob.Store) {
	one, two := blob.Sub(s, "one"), blob.Sub(blob.Sub(s, "one"), "two/")
	Put(t, one, "a", "1")
	Put(t, two, "a", "2")
	Put(t, s, "b", "0")
	if got := Names(t, s, "", ""); !slices.Equal(got, []string{"b", "one/a", "one/two/a"}) {
		t.Errorf("got %q", got)
	}
	if got := Names(t, one, "", "a"); !slices.Equal(got, []string{"two/a"}) {
		t.Errorf("after a: got %q", got)
	}
	if got, info := Get(t, two, "a"); got != "2" || info.Name != "a" {
		t.Errorf("got %q, %+v", got, info)
	}
	tag, err := one.Replace(t.Context(), "head", []byte("h"), "")
	if err != nil || tag == "" {
		t.Error(tag, err)
	}
	if err := one.Remove(t.Context(), "head"); err != nil {
		t.Error(err)
	}
	wantMissing(t, s, "one/head")
	if err := two.Put(t.Context(), "../x", strings.NewReader(""), 0); fault.Of(err) != fault.Invalid {
		t.Errorf("out of the part: got %v, want invalid", err)
	}
}

// large is more than goes in one request, and not a multiple of anything.
func large(t *testing.T, s blob.Store) {
	const size = 2*blob.MaxReplace + 12345
	body := make([]byte, size)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(body) // never fails
	if err := s.Put(t.Context(), "large", bytes.NewReader(body), size); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), "large", bytes.NewReader(body), size); !blob.IsExists(err) {
		t.Errorf("again: got %v, want blob.exists", err)
	}
	if err := s.Put(t.Context(), "cut", bytes.NewReader(body[:size-1]), size); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("short: got %v, want unexpected EOF", err)
	}
	if got, info := Get(t, s, "large"); got != string(body) || info.Size != size {
		t.Errorf("got %d bytes, %+v: not those that were put", len(got), info)
	}
	won := together(3, func(int) error { return s.Put(t.Context(), "raced", bytes.NewReader(body), size) }, t)
	if len(won) != 1 {
		t.Errorf("%d writers won", len(won))
	}
	if got := Names(t, s, "", ""); !slices.Equal(got, []string{"large", "raced"}) {
		t.Errorf("the store shows %q", got)
	}
}

func cancels(t *testing.T, s blob.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	Put(t, s, "a", "1")
	cancel()
	if err := s.Put(ctx, "b", strings.NewReader("2"), 1); !errors.Is(err, context.Canceled) {
		t.Errorf("put: got %v, want canceled", err)
	}
	if err := s.List(ctx, "", "", func(blob.Info) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("list: got %v, want canceled", err)
	}
	wantMissing(t, s, "b")
}
