package blob_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/blob/blobtest"
	"github.com/sonae/sonae/fault"
)

func TestALockOutlastsTheOwnersLogin(t *testing.T) {
	server := blobtest.ServeLocked(t)
	l := server.OpenLocked()
	until := time.Now().Add(48 * time.Hour).Truncate(time.Second)
	large := bytes.Repeat([]byte("large "), blob.MaxReplace/6+1000) // in parts
	for name, body := range map[string][]byte{"emr-1/data/ab/small": []byte("small"), "emr-1/data/ab/large": large} {
		put := func() error { return l.Put(t.Context(), name, bytes.NewReader(body), int64(len(body)), until) }
		if err := put(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := put(); !blob.IsExists(err) {
			t.Errorf("%s again: got %v, want blob.exists", name, err)
		}
		if got, err := l.Until(t.Context(), name); err != nil || !got.Equal(until) {
			t.Errorf("%s is locked until %s, %v; want %s", name, got, err, until)
		}
	}
	if done := server.Attack("emr-1/", false); len(done) > 0 {
		t.Errorf("the storage let a thief in: %s", strings.Join(done, "; "))
	}
	later := until.Add(24 * time.Hour)
	if err := l.Extend(t.Context(), "emr-1/data/ab/small", later); err != nil {
		t.Error(err)
	}
	if err := l.Extend(t.Context(), "emr-1/data/ab/small", until); err == nil {
		t.Error("a lock was shortened")
	}
	if got, err := l.Until(t.Context(), "emr-1/data/ab/small"); err != nil || !got.Equal(later) {
		t.Errorf("locked until %s, %v; want %s", got, err, later)
	}
	if err := l.Prove(t.Context(), "proof", until); err != nil {
		t.Error(err)
	}
	if err := l.Prove(t.Context(), "proof", later); err != nil { // once more, when it is there
		t.Error(err)
	}
}

func TestWhatLiesOverALockedObjectIsTold(t *testing.T) {
	server := blobtest.ServeLocked(t)
	l := server.OpenLocked()
	until := time.Now().Add(time.Hour)
	for _, name := range []string{"a/1", "a/2", "b"} {
		if err := l.Put(t.Context(), name, strings.NewReader(name), int64(len(name)), until); err != nil {
			t.Fatal(err)
		}
	}
	server.Attack("a/", true) // a marker over a/1, a wrong version over a/2
	got := map[string]blob.Versions{}
	if err := l.Versions(t.Context(), "", func(v blob.Versions) error { got[v.Name] = v; return nil }); err != nil {
		t.Fatal(err)
	}
	if v := got["a/1"]; !v.Hidden || v.Count != 1 {
		t.Errorf("a/1: %+v, want one hidden version", v)
	}
	if v := got["a/2"]; v.Hidden || v.Count != 2 || v.Size == 3 {
		t.Errorf("a/2: %+v, want two versions, the wrong one on top", v)
	}
	if v := got["b"]; v.Hidden || v.Count != 1 || v.Size != 1 {
		t.Errorf("b: %+v, want it as it was", v)
	}
	for name, put := range map[string]func() error{
		"a/1": func() error { return l.PutOver(t.Context(), "a/1", strings.NewReader("a/1"), 3, until) },
		"a/2": func() error { return l.PutOver(t.Context(), "a/2", strings.NewReader("a/2"), 3, until) },
	} {
		if err := put(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		o, err := l.Open(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(io.NewSectionReader(o, 0, o.Size()))
		if err = errors.Join(err, o.Close()); err != nil || string(text) != name {
			t.Errorf("%s: got %q, %v", name, text, err)
		}
	}
}

func TestALockedObjectIsReadAnywhere(t *testing.T) {
	server := blobtest.ServeLocked(t)
	l := server.OpenLocked()
	body := make([]byte, 300_000)
	for i := range body {
		body[i] = byte(i >> 8)
	}
	if err := l.Put(t.Context(), "o", bytes.NewReader(body), int64(len(body)), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	o, err := l.Open(t.Context(), "o")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	for _, at := range [][2]int{{299_000, 1000}, {0, 10}, {10, 100_000}, {100_010, 5}, {5, 5}, {250_000, 50_000}} {
		got := make([]byte, at[1])
		if n, err := o.ReadAt(got, int64(at[0])); n != at[1] || err != nil && !errors.Is(err, io.EOF) || !bytes.Equal(got, body[at[0]:at[0]+at[1]]) {
			t.Errorf("%d bytes at %d: got %d, %v", at[1], at[0], n, err)
		}
	}
	if n, err := o.ReadAt(make([]byte, 10), 299_995); n != 5 || !errors.Is(err, io.EOF) {
		t.Errorf("at the end: got %d, %v", n, err)
	}
	if _, err := l.Open(t.Context(), "none"); fault.Of(err) != fault.Missing {
		t.Errorf("got %v, want missing", err)
	}
}

func TestABucketWithoutLockIsRefused(t *testing.T) {
	server := blobtest.Serve(t)
	_, err := blob.OpenLocked(t.Context(), server.Config(), server.Login())
	if fault.Of(err) != fault.Invalid || !strings.Contains(err.Error(), "blob.no-lock") {
		t.Errorf("got %v, want blob.no-lock", err)
	}
	if _, err := blob.OpenLocked(t.Context(), server.LockedConfig(), blob.Login{}); fault.Of(err) != fault.Invalid {
		t.Errorf("no log-in: got %v", err)
	}
}
