package collect

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
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
func lines(tl *tail) string {
	var out []string
	tl.poll(func(s string) bool { out = append(out, s); return true })
	return strings.Join(out, "|")
}

func TestTailThroughRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "syslog")
	appendTo(t, path, "old\n")
	tl := &tail{path: path}
	tl.resume("")
	t.Cleanup(tl.close)
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
	appendTo(t, path, strings.Repeat("x", 3*maxLine)+"\nnext\n")
	step(strings.Repeat("x", maxLine) + "|next")
}

func TestTailGoesOnWhereItStopped(t *testing.T) {
	path := filepath.Join(t.TempDir(), "syslog")
	appendTo(t, path, "a\n")
	tl := &tail{path: path}
	tl.resume("")
	appendTo(t, path, "b\nhal")
	if got := lines(tl); got != "b" {
		t.Fatalf("got %q", got)
	}
	mark := tl.mark()
	tl.close()
	appendTo(t, path, "f\n")
	tl = &tail{path: path}
	tl.resume(mark)
	if got := lines(tl); got != "half" {
		t.Errorf("got %q, want the whole line", got)
	}
	tl.close()
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	appendTo(t, path, "new\n")
	tl = &tail{path: path}
	tl.resume(mark)
	t.Cleanup(tl.close)
	if got := lines(tl); got != "new" {
		t.Errorf("after a rotation: got %q", got)
	}
}

// TestNoLineIsLostWhenTheQueueIsFull: log lines wait in their file.
func TestNoLineIsLostWhenTheQueueIsFull(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "auth.log")
	appendTo(t, path, "")
	cfg := Config{Dir: dir, Files: []string{path}, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	next := 0
	for round := range 3 {
		q := NewQueue(1)
		f := NewFiles(cfg)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := f.Run(ctx, q); err != nil {
				t.Error(err)
			}
		})
		if round == 0 {
			for f.Status() == "not started" {
				time.Sleep(time.Millisecond)
			}
			for i := range 400 {
				appendTo(t, path, fmt.Sprintf("line %d\n", i))
			}
		}
		for range 100 {
			select {
			case e := <-q.Events():
				if want := fmt.Sprintf("line %d", next); e.Raw != want {
					t.Fatalf("got %q, want %q", e.Raw, want)
				}
				next++
			case <-time.After(30 * time.Second):
				t.Fatal("no line")
			}
		}
		cancel() // an orderly stop in the middle of the file
		wg.Wait()
		for len(q.Events()) > 0 {
			<-q.Events()
			next++
		}
	}
}
