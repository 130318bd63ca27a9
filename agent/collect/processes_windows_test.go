package collect

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/sonae/sonae/event"
)

// A process that begins and ends is told with its parent.
func TestProcessesAreSeenOnWindows(t *testing.T) {
	if os.Getenv("SONAE_CHILD") != "" {
		time.Sleep(2 * time.Second)
		return
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	q := NewQueue(1024)
	p := NewProcesses(Config{Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err := p.poll(nil); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for pause(ctx, 50*time.Millisecond) {
			if err := p.poll(q); err != nil {
				t.Error(err)
			}
		}
	}()
	child := exec.Command(os.Args[0], "-test.run", "^TestProcessesAreSeenOnWindows$")
	child.Env = append(os.Environ(), "SONAE_CHILD=1")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	seen := map[string]event.Event{}
	for len(seen) < 2 {
		select {
		case e := <-q.Events():
			if e.Fields[event.FieldPID] == strconv.Itoa(child.Process.Pid) {
				seen[e.Category] = e
			}
		case <-ctx.Done():
			t.Fatalf("seen: %v", seen)
		}
	}
	stop()
	<-ended
	_ = child.Wait()
	e := seen["process_creation"]
	if e.Fields["ParentProcessId"] != strconv.Itoa(os.Getpid()) || e.Fields[event.FieldImage] == "" || e.Fields[event.FieldCommand] == "" {
		t.Errorf("%v", e.Fields)
	}
}

// The load is a share, and some of the disk is used.
func TestLoadOnWindows(t *testing.T) {
	l := NewHealth(Config{Now: time.Now}).Sample()
	if l.Memory <= 0 || l.Memory > 1 || l.Disk < 0 || l.Disk > 1 || l.Volume == "" {
		t.Errorf("%+v", l)
	}
}
