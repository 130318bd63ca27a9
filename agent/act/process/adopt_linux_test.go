package process

import (
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// adopted is a process that somebody else stopped, taken over.
func adopted(t *testing.T, k *Keeper) (*exec.Cmd, ID) {
	t.Helper()
	cmd := exec.Command("sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	e, ok := read(cmd.Process.Pid)
	if !ok {
		t.Fatal("it does not run")
	}
	if err := unix.Kill(e.PID, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Adopt(t.Context(), e.ID, []int{e.PID}); err != nil {
		t.Fatal(err)
	}
	return cmd, e.ID
}

// TestEndsWithoutAnOrderAreTold: once, also by another Keeper, and never those
// that were ordered.
func TestEndsWithoutAnOrderAreTold(t *testing.T) {
	dir := t.TempDir()
	k := New(Config{Dir: dir, Now: time.Now})
	var told []Ended
	seen := map[ID]bool{}
	look := func() {
		t.Helper()
		if err := k.Over(seen, func(e Ended) { told = append(told, e) }); err != nil {
			t.Fatal(err)
		}
	}
	wait := func(what string, n int) Ended {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); len(told) < n; time.Sleep(10 * time.Millisecond) {
			if look(); time.Now().After(end) {
				t.Fatal("not told: " + what)
			}
		}
		return told[n-1]
	}
	killed, a := adopted(t, k)
	_, b := adopted(t, k)
	_, c := adopted(t, k)
	_, d := adopted(t, k)
	for range 5 {
		look()
	}
	if len(told) != 0 {
		t.Fatalf("told while all stand still: %+v", told)
	}
	_ = killed.Process.Kill()
	_ = killed.Wait()
	if e := wait("an end", 1); e.Root != a || e.Cause != Gone || e.Image == "" {
		t.Errorf("got %+v", e)
	}
	if err := unix.Kill(b.PID, unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if e := wait("a waking", 2); e.Root != b || e.Cause != Woken {
		t.Errorf("got %+v", e)
	}
	if _, err := k.Thaw(t.Context(), c.PID, c.Start); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Kill(t.Context(), d.PID, d.Start); err != nil {
		t.Fatal(err)
	}
	k = New(Config{Dir: dir, Now: time.Now})
	for range 5 {
		look()
	}
	if len(told) != 2 {
		t.Errorf("got %+v", told)
	}
	if _, err := k.Freeze(t.Context(), b.PID, b.Start); err != nil { // and it can be ordered about as before
		t.Fatal(err)
	}
}

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
