package files

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/agent/collect"
	"github.com/sonae/sonae/agent/guard"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/evidence/antivirus"
	"github.com/sonae/sonae/evidence/antivirus/clamdtest"
)

// ward is a volume of its own whose files a real clamd looks at.
type ward struct {
	t     *testing.T
	clamd *clamdtest.Clamd
	s     *Scanner
	dir   string // the volume
	tools string // a folder beside it
	q     *collect.Queue
	found chan event.Event
}

func newWard(t *testing.T, removable bool, allow ...guard.Allowed) *ward {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("fanotify needs root")
	}
	w := &ward{t: t, clamd: clamdtest.Start(t), dir: t.TempDir(), tools: t.TempDir(), q: collect.NewQueue(64), found: make(chan event.Event, 64)}
	if err := unix.Mount("none", w.dir, "tmpfs", 0, "size=64m"); err != nil {
		t.Skipf("no volume can be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(w.dir, unix.MNT_DETACH) })
	client, err := antivirus.New(w.clamd.Address)
	if err != nil {
		t.Fatal(err)
	}
	w.s = NewScanner(ScanConfig{Folders: []string{w.dir}, MaxBytes: 512 << 10, Allow: allow},
		ScanDeps{Deps: deps(t), Virus: client, Found: func(e event.Event) { w.found <- e }})
	w.s.mounts = "/proc/thread-self/mountinfo" // another test may have put the first thread elsewhere
	if removable {
		w.s.sys = t.TempDir()
		var st unix.Stat_t
		if err := unix.Stat(w.dir, &st); err != nil {
			t.Fatal(err)
		}
		dev := filepath.Join(w.s.sys, "dev/block", fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev)))
		if err := os.MkdirAll(dev, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dev, "removable"), []byte("1\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.s.Run(ctx, w.q) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("scanner: %v", err)
		}
	})
	w.until("the volume", func() bool { return strings.Contains(w.s.Status(), "on, 1 volumes") })
	return w
}

func (w *ward) until(what string, ok func() bool) {
	w.t.Helper()
	for end := time.Now().Add(60 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("waited in vain: %s; %s", what, w.s.Status())
		}
	}
}

// run runs a program that lives until the kernel's notice of it was read, as
// programs that matter do.
func (w *ward) run(words ...string) {
	w.t.Helper()
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		w.t.Fatalf("%v: %v: %s", words, err, out)
	}
}

// virus waits for one and says where it was.
func (w *ward) virus() event.Event {
	w.t.Helper()
	select {
	case e := <-w.found:
		return e
	case <-time.After(60 * time.Second):
		w.t.Fatalf("nothing was found: %s", w.s.Status())
	}
	return event.Event{}
}

// program builds one that copies a file, stays a moment, and is no package's.
func (w *ward) program(name string) string {
	w.t.Helper()
	src := filepath.Join(w.tools, name+".go")
	err := os.WriteFile(src, []byte(`package main
import ("os"; "time")
func main() {
	b, err := os.ReadFile(os.Args[1])
	if err == nil { err = os.WriteFile(os.Args[2], b, 0o600) }
	if err != nil { panic(err) }
	time.Sleep(3 * time.Second)
}`), 0o600)
	if err != nil {
		w.t.Fatal(err)
	}
	w.run("go", "build", "-o", filepath.Join(w.tools, name), src)
	return filepath.Join(w.tools, name)
}

func (w *ward) infected() string {
	w.t.Helper()
	path := filepath.Join(w.tools, "infected")
	if err := os.WriteFile(path, []byte("x"+clamdtest.Marker), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// TestWhatUntrustedProgramsWriteIsScanned: unknown programs and scripts, also
// when the file has another name since, and while clamd was away; not what a
// program of the system's packages wrote.
func TestWhatUntrustedProgramsWriteIsScanned(t *testing.T) {
	w := newWard(t, false)
	bad, evil := w.infected(), w.program("helper")
	at := func(name string) string { return filepath.Join(w.dir, name) }

	w.run(evil, bad, at("from a program"))
	sum := sha256.Sum256([]byte("x" + clamdtest.Marker))
	e := w.virus()
	for k, v := range map[string]string{"Filename": at("from a program"), "Signature": clamdtest.Signature, "Hashes": "SHA256=" + hex.EncodeToString(sum[:]), event.FieldImage: evil, event.FieldUser: "root"} {
		if e.Fields[k] != v {
			t.Errorf("%s is %q, want %q", k, e.Fields[k], v)
		}
	}
	if e.Category != "antivirus" || e.Product != "sonae" || e.Kind != event.KindLog {
		t.Errorf("%+v", e)
	}
	// A download has another name when it is complete. It is scanned once.
	w.run("/bin/bash", "-c", `cat "$1" > "$2"; mv "$2" "$3"; read -t 1 < <(sleep 2) || true`, "sh", bad, at("x.part"), at("x"))
	if e := w.virus(); e.Fields["Filename"] != at("x") && e.Fields["Filename"] != at("x.part") {
		t.Errorf("got %v", e.Fields)
	}
	// A file that was clean is looked at again when it changed.
	w.run(evil, "/etc/hostname", at("grows"))
	w.until("a clean file", func() bool { return w.s.scanned.Load() == 3 })
	w.run(evil, bad, at("grows"))
	if e := w.virus(); e.Fields["Filename"] != at("grows") {
		t.Errorf("got %v", e.Fields)
	}
	// What is too large is counted and said.
	w.run("/bin/bash", "-c", `head -c 600000 /dev/zero > "$1"; sleep 1`, "sh", at("large"))
	w.until("a file that is too large", func() bool { return w.s.large.Load() == 1 })

	w.clamd.Stop()
	w.run(evil, bad, at("meanwhile"))
	w.until("silence of clamd", func() bool { return strings.Contains(w.s.Status(), "does not answer") })
	w.clamd.Start()
	if e := w.virus(); e.Fields["Filename"] != at("meanwhile") {
		t.Errorf("got %v", e.Fields)
	}
	said := map[string]bool{}
	w.until("what was said", func() bool {
		for len(w.q.Events()) > 0 {
			said[(<-w.q.Events()).Fields["Event"]] = true
		}
		return said["antivirus-off"] && said["antivirus-on"] && said["antivirus-unscanned"]
	})
}

// TestWhatTrustedProgramsWriteIsNot: of packages, and those that the site
// allows with what they hold.
func TestWhatTrustedProgramsWriteIsNot(t *testing.T) {
	w := newWard(t, false)
	if !packaged("/usr/bin/cp") {
		t.Skip("no package database here")
	}
	bad, mine := w.infected(), w.program("mine")
	b, err := os.ReadFile(mine)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	tr := newTrust([]guard.Allowed{{Path: mine, SHA256: hex.EncodeToString(sum[:])}})
	var st unix.Stat_t
	for path, want := range map[string]bool{mine: true, w.program("other"): false, "/usr/bin/cp": true, "/usr/bin/perl": false, "/usr/bin/bash": false, "/usr/bin/dpkg": true} {
		if err := unix.Stat(path, &st); err != nil {
			t.Fatal(err)
		}
		if got := tr.look(path, &st); got != want {
			t.Errorf("%s: trusted %v, want %v", path, got, want)
		}
	}
	if err := os.WriteFile(mine, append(b, 0), 0o755); err != nil { // another program in its place
		t.Fatal(err)
	}
	if err := unix.Stat(mine, &st); err != nil {
		t.Fatal(err)
	}
	if tr.look(mine, &st) {
		t.Error("a program that was replaced is trusted")
	}
	// cp closes the first file and waits for somebody who writes into the second,
	// so that it can be looked at.
	pipe := filepath.Join(w.tools, "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	cp := exec.Command("/usr/bin/cp", bad, pipe, w.dir)
	if err := cp.Start(); err != nil {
		t.Fatal(err)
	}
	w.until("a file of cp", func() bool {
		st, err := os.Stat(filepath.Join(w.dir, "infected"))
		return err == nil && st.Size() > int64(len(clamdtest.Marker))
	})
	w.run(w.program("last"), bad, filepath.Join(w.dir, "last"))
	if e := w.virus(); e.Fields["Filename"] != filepath.Join(w.dir, "last") { // after what cp wrote
		t.Errorf("got %v", e.Fields)
	}
	in, err := os.OpenFile(pipe, os.O_WRONLY, 0)
	if err == nil {
		err = errors.Join(in.Close(), cp.Wait())
	}
	if err != nil {
		t.Error(err)
	}
	for len(w.found) > 0 {
		t.Errorf("also %v", (<-w.found).Fields)
	}
}

// TestRemovableMediaAreScanned: whatever is written there, and what is on them
// already when it is opened.
func TestRemovableMediaAreScanned(t *testing.T) {
	w := newWard(t, true)
	w.run("/usr/bin/cp", w.infected(), filepath.Join(w.dir, "brought"))
	if e := w.virus(); e.Fields["Filename"] != filepath.Join(w.dir, "brought") {
		t.Errorf("got %v", e.Fields)
	}
	w.s.waitUntilDone(t, w)
	w.run("/usr/bin/cat", filepath.Join(w.dir, "brought")) // nothing changed since
	w.run("/usr/bin/cp", w.infected(), filepath.Join(w.dir, "second"))
	if e := w.virus(); e.Fields["Filename"] != filepath.Join(w.dir, "second") {
		t.Errorf("got %v", e.Fields)
	}
}

func (s *Scanner) waitUntilDone(t *testing.T, w *ward) {
	t.Helper()
	w.until("nothing waits", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.waiting) == 0
	})
}

func TestBringersAreNamed(t *testing.T) {
	for name, want := range map[string]bool{"firefox": true, "python3.13": true, "sh": true, "chromium": true, "tar": true, "cat": true, "cp": false, "postgres": false, "systemd-journald": false, "rsyslogd": false, "shred": false} {
		if bringers.MatchString(name) != want {
			t.Errorf("%s: want %v", name, want)
		}
	}
}
