package process

import (
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestWhatAnotherStoppedIsWoken: a tree that was stopped by signals and taken
// over runs again after Thaw.
func TestWhatAnotherStoppedIsWoken(t *testing.T) {
	cmd := exec.Command("sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	e, ok := read(cmd.Process.Pid)
	if !ok {
		t.Fatal("it does not run")
	}
	if err := unix.Kill(e.PID, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); !stopped(e.PID); {
		if time.Now().After(deadline) {
			t.Fatal("it does not stop")
		}
		time.Sleep(time.Millisecond)
	}
	k := New(Config{Dir: t.TempDir(), Now: time.Now})
	if _, err := k.Adopt(t.Context(), e.ID, []int{e.PID}); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Thaw(t.Context(), e.PID, e.Start); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); stopped(e.PID); {
		if time.Now().After(deadline) {
			t.Fatal("it was not woken")
		}
		time.Sleep(time.Millisecond)
	}
}
