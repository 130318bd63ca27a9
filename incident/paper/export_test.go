package paper

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger"
	"github.com/sonae/sonae/ledger/leaf"
)

// proved gives a fixture a ledger that takes the leaves as the hub does.
func (f *fixture) proved() (key string) {
	f.t.Helper()
	signer, key, err := note.GenerateKey(nil, "sonae")
	f.ok(err)
	book, err := ledger.Open(f.t.Context(), f.t.TempDir(), signer, slog.New(slog.NewTextHandler(f.t.Output(), nil)))
	f.ok(err)
	ctx, stop := context.WithCancel(context.WithoutCancel(f.t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = f.db.Relay(ctx, func(ctx context.Context, subject, _ string, body []byte) error {
			if !strings.HasPrefix(subject, "record.") {
				return nil
			}
			var l leaf.Leaf
			if err := json.Unmarshal(body, &l); err != nil {
				return err
			}
			_, err := book.Append(ctx, l)
			return err
		}) // it ends with ctx
	}()
	f.t.Cleanup(func() { stop(); <-done; _ = book.Close() })
	f.Ledger, f.Key = book, key
	return key
}

// exported is an export of a picture, a log, a memo and a promised call, as
// files.
func (f *fixture) exported() map[string][]byte {
	f.t.Helper()
	ctx := f.t.Context()
	_, err := f.AddPicture(ctx, f.in.ID, NewPicture{Name: `C:\白板 1.png`, Data: drawing(f.t, 3, 2), Text: "ホワイトボード"}, anna)
	f.ok(err)
	_, err = f.AddSheet(ctx, f.in.ID, "夜.csv", []byte("日付,時刻,内容\n2026-11-22,13:30,電話があった\n"), anna)
	f.ok(err)
	_, err = f.TakeMemo(ctx, f.in.ID, Memo{Caller: "山田様", Asked: "名簿に入っているか", CallBy: f.now.Add(time.Hour)}, anna)
	f.ok(err)
	var b bytes.Buffer
	f.ok(f.Export(ctx, f.in.ID, anna, &b))
	z, err := zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
	f.ok(err)
	out := map[string][]byte{}
	for _, e := range z.File {
		r, err := e.Open()
		f.ok(err)
		if out[e.Name], err = io.ReadAll(r); err != nil {
			f.t.Fatal(err)
		}
	}
	return out
}

func tree(files map[string][]byte) fs.FS {
	out := fstest.MapFS{}
	for name, body := range files {
		out[name] = &fstest.MapFile{Data: body, Mode: 0o644}
	}
	return out
}

// TestAChangedByteOfAnExportIsNamed changes, removes and adds files of an
// export: each is named, in the zip and in a folder.
func TestAChangedByteOfAnExportIsNamed(t *testing.T) {
	f := newFixture(t)
	key := f.proved()
	files := f.exported()
	var names []string
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	got, err := check(tree(files), key)
	if err != nil || len(got.Problems) != 0 || got.Files != 4 || got.Export.No != f.in.No || got.Recorded == "" {
		t.Fatalf("an honest export of %v: %+v, %v", names, got, err)
	}
	for _, name := range names {
		if name == keyName || name == readme { // no proof: a false key makes every proof fail, see below
			continue
		}
		owner := strings.TrimSuffix(strings.TrimSuffix(name, ProofSuffix), RecordSuffix)
		for _, at := range []int{0, len(files[name]) / 2, len(files[name]) - 1} {
			changed := clone(files)
			changed[name][at] ^= 1
			if got, err := check(tree(changed), key); err == nil && !names1(got.Problems, owner) {
				t.Errorf("byte %d of %s: %v", at, name, got.Problems)
			}
		}
		without := clone(files)
		delete(without, name)
		if got, err := check(tree(without), key); err == nil && !names1(got.Problems, owner) {
			t.Errorf("without %s: %v", name, got.Problems)
		}
	}
	more := clone(files)
	more["pictures/another.png"] = []byte("x")
	if got, err := check(tree(more), key); err != nil || !names1(got.Problems, "pictures/another.png") {
		t.Errorf("one more: %v, %v", got.Problems, err)
	}
	_, other, err := note.GenerateKey(nil, "sonae")
	f.ok(err)
	if got, err := check(tree(files), other); err != nil || len(got.Problems) != 5 {
		t.Errorf("another hub's key: %v, %v", got.Problems, err)
	}

	dir := t.TempDir()
	var picture string
	for name, body := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		f.ok(os.MkdirAll(filepath.Dir(path), 0o700))
		f.ok(os.WriteFile(path, body, 0o600))
		if strings.HasSuffix(name, ".png") {
			picture = path
		}
	}
	if got, err := Check(dir, OwnKey(dir)); err != nil || len(got.Problems) != 0 || !IsExport(dir) {
		t.Errorf("as a folder: %v, %v", got.Problems, err)
	}
	if l, err := CheckFile(picture, key); err != nil || l.Type != "paper" {
		t.Errorf("one file: %+v, %v", l, err)
	}
	f.ok(os.WriteFile(picture, []byte("another"), 0o600))
	if _, err := CheckFile(picture, key); err == nil || !strings.Contains(err.Error(), "its record has") {
		t.Errorf("another picture: %v", err)
	}
}

func clone(files map[string][]byte) map[string][]byte {
	out := map[string][]byte{}
	for name, body := range files {
		out[name] = bytes.Clone(body)
	}
	return out
}

func names1(problems []string, name string) bool {
	return slices.ContainsFunc(problems, func(p string) bool { return strings.HasPrefix(p, name+": ") })
}

// TestAnExportIsWrittenDown: who took it stands in the chronology, and nothing
// is handed out that is not what came.
func TestAnExportIsWrittenDown(t *testing.T) {
	f := newFixture(t)
	f.proved()
	if err := f.Export(t.Context(), f.in.ID, anna, io.Discard); fault.Of(err) != fault.Missing {
		t.Errorf("nothing came yet: %v", err)
	}
	f.exported()
	all := f.chronology()
	if e := all[len(all)-1]; e.Key != "paper.exported" || e.By != anna.ID || e.Args["count"] != "4" {
		t.Errorf("the chronology ends with %+v", e)
	}
	kept, err := filepath.Glob(filepath.Join(f.dir, f.in.ID, "*"))
	if err != nil || len(kept) != 2 {
		t.Fatalf("kept %v, %v", kept, err)
	}
	open := func(name string) (io.ReadCloser, error) { return os.Open(filepath.Join(f.dir, name)) }
	if found, err := VerifyFiles(t.Context(), f.db, open); err != nil || len(found) != 0 {
		t.Errorf("honest files: %v, %v", found, err)
	}
	f.ok(os.Chmod(kept[0], 0o600))
	f.ok(os.WriteFile(kept[0], []byte("changed"), 0o600))
	f.ok(os.Remove(kept[1]))
	if found, err := VerifyFiles(t.Context(), f.db, open); err != nil || len(found) != 2 || !strings.Contains(found[0].Detail+found[1].Detail, "is missing") {
		t.Errorf("one changed, one removed: %v, %v", found, err)
	}
	if err := f.Export(t.Context(), f.in.ID, anna, io.Discard); err == nil {
		t.Error("a damaged file was handed out")
	}
}

func FuzzCheck(f *testing.F) {
	f.Add([]byte(`{"id":"pe-1","no":1,"kind":"export","incident":"in-1","at":"2026-11-22T05:05:00Z","by":"pe-1","body":{"schema":"sonae.paper.export/1","files":[{"name":"a","kind":"picture","digest":"x"}]}}`), []byte(`{"leaf":{}}`), []byte("{}"))
	f.Add([]byte("{"), []byte(""), []byte(""))
	f.Fuzz(func(t *testing.T, index, proof, rec []byte) {
		_, key, err := note.GenerateKey(nil, "sonae")
		if err != nil {
			t.Fatal(err)
		}
		files := map[string][]byte{Index: index, Index + ProofSuffix: proof, "a": rec, "a" + ProofSuffix: proof, "a" + RecordSuffix: rec}
		if got, err := check(tree(files), key); err == nil && len(got.Problems) == 0 {
			t.Errorf("passes: %+v", got)
		}
	})
}
