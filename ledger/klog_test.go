package ledger

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"

	"k8s.io/klog/v2"
)

// lockedBuffer may be written by goroutines of the engine.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestEngineLogsThroughTheLedgersLogger(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr := os.Stderr
	os.Stderr = w // klog looks it up at every line
	defer func() { os.Stderr = stderr }()

	var out lockedBuffer
	signer, _ := newKeys(t)
	l, err := Open(t.Context(), t.TempDir(), signer, slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	klog.Warning("the disk is slow")
	klog.Error("the disk is gone")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	klog.Error("after the end")

	os.Stderr = stderr
	w.Close()
	past, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if len(past) > 0 {
		t.Errorf("written to standard error: %s", past)
	}
	got := out.String()
	for _, want := range []string{"level=DEBUG msg=\"Initializing directory", "level=WARN msg=\"the disk is slow\"", "level=ERROR msg=\"the disk is gone\"", "engine=tessera"} {
		if !strings.Contains(got, want) {
			t.Errorf("the ledger's log lacks %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "after the end") {
		t.Error("a closed ledger still logs")
	}
}
