package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/agent"
	"github.com/sonae/sonae/agent/guard"
	"github.com/sonae/sonae/agent/linktest"
	"github.com/sonae/sonae/event"
)

// privateVolume is a mount of its own: nobody else's files are guarded.
func privateVolume(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("guarding needs root")
	}
	dir := t.TempDir()
	if err := unix.Mount("sonae-guard", dir, "tmpfs", 0, "size=64m"); err != nil {
		t.Skipf("no private volume: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	for i := range 60 {
		text := strings.Repeat(fmt.Sprintf("%d;2026-04-01;internal medicine\n", i), 400)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("letter-%02d.txt", i)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// encryptor overwrites the files of a folder with noise, by a program of the
// system that reads them first.
func encryptor(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	noise := make([]byte, 16<<10)
	_, _ = rand.Read(noise)
	blob := filepath.Join(t.TempDir(), "noise")
	if err := os.WriteFile(blob, noise, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("perl", "-e", `open(N,"<",shift); read(N,$n,16384); for $f (glob(shift."/letter-*")) {
		open(F,"+<",$f) or next; read(F,$t,16384); seek(F,0,0); print F substr($n,0,length $t); close F; select(undef,undef,undef,0.05); } sleep 600`, blob, dir)
	if err := cmd.Start(); err != nil {
		t.Skipf("no perl here: %v", err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

// TestTheHubIsToldOfAFreeze: a running agent stops what encrypts the files of
// a guarded folder, and its event says all that a person must know.
func TestTheHubIsToldOfAFreeze(t *testing.T) {
	dir := privateVolume(t)
	h := linktest.Start(t)
	state := t.TempDir()
	if err := command(t, state, "enroll", "--token", h.Token("callcentre").Encode(), "--name", "pc").Run(); err != nil {
		t.Fatal(err)
	}
	cmd := command(t, state, "run", "--heartbeat", "100ms", "--interface", "lo", "--guard", dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	told := func(what string) (event.Event, bool) {
		for _, e := range h.Events(event.KindHealth) {
			if e.Fields["Event"] == what {
				return e, true
			}
		}
		return event.Event{}, false
	}
	linktest.Await(t, "the guard", func() bool { _, ok := told("guard-on"); return ok })
	on, _ := told("guard-on")
	bad := encryptor(t, dir)
	linktest.Await(t, "the freeze", func() bool { _, ok := told("frozen"); return ok })
	e, _ := told("frozen")
	t.Logf("%s: %v", on.Fields["Backend"], e.Fields)
	lost, _ := strconv.Atoi(e.Fields["FilesLost"])
	if e.Fields[event.FieldPID] != strconv.Itoa(bad.Process.Pid) || lost < 1 || lost > 10 || !strings.Contains(e.Fields[event.FieldImage], "perl") ||
		!strings.Contains(e.Fields["Files"], dir+"/letter-") || e.Fields["ReasonsJa"] == "" || e.Fields["ReasonsEn"] == "" || e.Fields[event.FieldUser] != "root" {
		t.Errorf("%v", e.Fields)
	}
	linktest.Await(t, "the status", func() bool {
		st, err := agent.ReadStatus(state, time.Now())
		return err == nil && st.Guard != nil && st.Guard.Frozen == 1 && st.Guard.Backend == on.Fields["Backend"]
	})
	linktest.Await(t, "the tree among those that can be thawed", func() bool {
		b, err := os.ReadFile(filepath.Join(state, "frozen", "frozen.json"))
		return err == nil && strings.Contains(string(b), strconv.Itoa(bad.Process.Pid))
	})
	_ = bad.Process.Kill() // by nobody's order
	_ = bad.Wait()
	linktest.Await(t, "the end of the freeze", func() bool { _, ok := told("frozen-ended"); return ok })
	end, _ := told("frozen-ended")
	if end.Fields[event.FieldPID] != e.Fields[event.FieldPID] || end.Fields["ProcessTicks"] != e.Fields["ProcessTicks"] || end.Fields["Cause"] != "gone" || end.Fields[event.FieldImage] != e.Fields[event.FieldImage] {
		t.Errorf("%v", end.Fields)
	}
}

// TestGuardAlonePrintsWhatItDoes runs the guard without a hub, through
// fanotify, which every kernel has.
func TestGuardAlonePrintsWhatItDoes(t *testing.T) {
	dir := privateVolume(t)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	bin, err := exec.LookPath("sonae-agent")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, bin, "guard", "--watch", dir, "--backend", "fanotify", "--json")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	lines := json.NewDecoder(out)
	var ready struct {
		Event string
		guard.Status
	}
	if err := lines.Decode(&ready); err != nil || ready.Event != "ready" || ready.Backend != guard.BackendFanotify || ready.Canaries != 2 {
		t.Fatalf("%+v %v", ready, err)
	}
	bad := encryptor(t, dir)
	var frozen struct {
		Event string
		guard.Frozen
	}
	if err := lines.Decode(&frozen); err != nil || frozen.Event != "frozen" || frozen.PID != bad.Process.Pid || frozen.Stopped.Before(frozen.FirstWrite) {
		t.Fatalf("%+v %v", frozen, err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	var end struct {
		Event string
		guard.Status
	}
	if err := lines.Decode(&end); err != nil || end.Event != "end" || end.Frozen != 1 {
		t.Fatalf("%+v %v", end, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "00_*")); len(left) > 0 {
		t.Errorf("decoys stay: %v", left)
	}
}
