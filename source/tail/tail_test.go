package tail

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func appendTo(t *testing.T, path, s string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(s); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// lines polls once and returns what came.
func lines(tl *File) string {
	var out []string
	tl.Poll(func(s string) bool { out = append(out, s); return true })
	return strings.Join(out, "|")
}

func TestTailThroughRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "syslog")
	appendTo(t, path, "old\n")
	tl := New(path)
	tl.Resume("")
	t.Cleanup(tl.Close)
	step := func(want string) {
		t.Helper()
		if got := lines(tl); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	step("")
	appendTo(t, path, "a\r\nb\nhal")
	step("a|b")
	appendTo(t, path, "f\n\n")
	step("half")
	appendTo(t, path, "last of the old file\n")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	appendTo(t, path, "first of the new\n")
	step("last of the old file|first of the new")
	if err := os.Truncate(path, 0); err != nil { // copytruncate
		t.Fatal(err)
	}
	step("")
	appendTo(t, path, "short\n")
	step("short")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	step("")
	appendTo(t, path, "made again\n\xff\n")
	step("made again|\uFFFD")
	appendTo(t, path, strings.Repeat("x", 3*MaxLine)+"\nnext\n")
	step(strings.Repeat("x", MaxLine) + "|next")
}

func TestTailGoesOnWhereItStopped(t *testing.T) {
	path := filepath.Join(t.TempDir(), "syslog")
	appendTo(t, path, "a\n")
	tl := New(path)
	tl.Resume("")
	appendTo(t, path, "b\nhal")
	if got := lines(tl); got != "b" {
		t.Fatalf("got %q", got)
	}
	mark := tl.Mark()
	tl.Close()
	appendTo(t, path, "f\n")
	tl = New(path)
	tl.Resume(mark)
	if got := lines(tl); got != "half" {
		t.Errorf("got %q, want the whole line", got)
	}
	tl.Close()
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	appendTo(t, path, "new\n")
	tl = New(path)
	tl.Resume(mark)
	t.Cleanup(tl.Close)
	if got := lines(tl); got != "new" {
		t.Errorf("after a rotation: got %q", got)
	}
}
