package box

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"strings"
	"testing"
)

func TestBlobGivesTheFilesBack(t *testing.T) {
	want := map[string][]byte{"a.yml": []byte("x"), "deep/b.yml": []byte(strings.Repeat("vssadmin delete shadows\n", 100)), "empty": {}}
	blob, err := Encode(want)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Encode(maps.Clone(want))
	if err != nil || !bytes.Equal(blob, again) {
		t.Errorf("the same files give another blob, %v", err)
	}
	if bytes.Contains(blob, []byte("vssadmin")) || bytes.Contains(blob, []byte("PK\x03\x04")) {
		t.Error("the blob can be read by anyone")
	}
	tree, err := Open(blob)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Files(tree)
	if err != nil || !maps.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestDamagedBlobIsRefused(t *testing.T) {
	blob, err := Encode(map[string][]byte{"a.yml": []byte("hello")})
	if err != nil {
		t.Fatal(err)
	}
	for i := range blob {
		b := bytes.Clone(blob)
		b[i] ^= 1
		if _, err := Open(b); !errors.Is(err, ErrDamaged) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
		if _, err := Open(blob[:i]); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
}

func TestEncodeRefusesNamesThatLeaveTheFolder(t *testing.T) {
	for _, name := range []string{"../a", "/a", ""} {
		if _, err := Encode(map[string][]byte{name: nil}); err == nil {
			t.Errorf("%q was taken", name)
		}
	}
}

// FuzzOpen wants no panic, and a tree that can be walked or an error.
func FuzzOpen(f *testing.F) {
	blob, err := Encode(map[string][]byte{"a.yml": []byte("hello"), "b/c.yml": nil})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(blob)
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		tree, err := Open(b)
		if err != nil {
			return
		}
		_ = fs.WalkDir(tree, ".", func(string, fs.DirEntry, error) error { return nil })
	})
}
