package collect

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
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
