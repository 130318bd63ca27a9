package files

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/agent/collect"
	"github.com/sonae/sonae/event"
)

func deps(t *testing.T) Deps {
	t.Helper()
	return Deps{Dir: t.TempDir(), Now: time.Now, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
}

// watcher runs a collector until the test ends.
type watcher struct {
	t *testing.T
	q *collect.Queue
	c *Folders
}

// watch needs root and a kernel with FAN_REPORT_DFID_NAME (5.9).
func watch(t *testing.T, cfg Config, d Deps) *watcher {
	t.Helper()
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_NOTIF|unix.FAN_REPORT_DFID_NAME, unix.O_RDONLY)
	if err != nil {
		t.Skipf("fanotify is refused here (root and Linux 5.9 are needed): %v", err)
	}
	_ = unix.Close(fd)
	c, err := NewFolders(cfg, d)
	if err != nil {
		t.Fatal(err)
	}
	w := &watcher{t: t, q: collect.NewQueue(4096), c: c}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx, w.q) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("collector: %v", err)
		}
	})
	w.until("marked", func() bool { return c.marked.Load() > 0 })
	return w
}

func (w *watcher) until(what string, ok func() bool) {
	w.t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatal("waited in vain: " + what)
		}
	}
}

// next waits for an event that fits.
func (w *watcher) next(category, path string, with map[string]string) event.Event {
	w.t.Helper()
	timeout := time.After(30 * time.Second)
	for {
		select {
		case e := <-w.q.Events():
			if e.Category != category || e.Fields["TargetFilename"] != path {
				continue
			}
			for k, v := range with {
				if e.Fields[k] != v {
					w.t.Errorf("%s of %s: %s is %q, want %q", category, path, k, e.Fields[k], v)
				}
			}
			return e
		case <-timeout:
			w.t.Fatalf("no %s of %s", category, path)
		}
	}
}

// sh runs a command that lives long enough to be looked at, as programs that
// people use do.
func sh(t *testing.T, script string) {
	t.Helper()
	if out, err := exec.Command("sh", "-c", script+"; sleep 0.3").CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", script, err, out)
	}
}

func TestWhoReadsAndWrites(t *testing.T) {
	root := t.TempDir()
	old := filepath.Join(root, "ward", "karte.txt")
	if err := os.MkdirAll(filepath.Dir(old), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(old, []byte("data"), 0o644); err != nil {
		t.Fatal(err)
	}
	w := watch(t, Config{Folders: []Folder{{Path: root, Protected: true}}}, deps(t))
	w.until("both folders", func() bool { return w.c.marked.Load() == 2 })
	shell, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	by := map[string]string{"User": "root", "Image": shell, "Protected": "true", "OffDuty": ""}
	sh(t, "read x < "+old)
	w.next(read, old, by)
	sh(t, "echo more >> "+old)
	w.next(written, old, by)
	sh(t, fmt.Sprintf("mkdir -p %[1]s/new/deep && echo x > %[1]s/new/deep/a", root)) // a folder that comes, and a file in it at once
	w.next(written, filepath.Join(root, "new/deep/a"), map[string]string{"Change": "written"})
	w.until("the new folders", func() bool { return w.c.marked.Load() == 4 })
	sh(t, "echo y > "+filepath.Join(root, "new/deep/b"))
	w.next(written, filepath.Join(root, "new/deep/b"), by)
	sh(t, fmt.Sprintf("mv %[1]s/ward/karte.txt %[1]s/new/karte.locked", root))
	w.next(renamed, old, map[string]string{"Change": "moved-away"})
	w.next(renamed, filepath.Join(root, "new/karte.locked"), map[string]string{"Change": "moved-here"})
	sh(t, "rm "+filepath.Join(root, "new/karte.locked"))
	w.next(deleted, filepath.Join(root, "new/karte.locked"), nil)
}

func TestWhatIsNotProtectedIsNotToldWhenItIsRead(t *testing.T) {
	root := t.TempDir()
	path := filepath.Join(root, "a")
	sh(t, "echo x > "+path)
	now := time.Now()
	never := "mon-fri 00:00-00:01" // and not on this day
	if d := now.Weekday(); d > 0 && d < 6 {
		never = "sun 00:00-00:01"
	}
	w := watch(t, Config{Folders: []Folder{{Path: root, Duty: []string{never}}}}, deps(t))
	sh(t, "cat "+path+" > /dev/null")
	sh(t, "echo y > "+path)
	for e := range w.q.Events() {
		if e.Category == read {
			t.Fatal("a read was told")
		}
		if e.Category == written {
			if e.Fields["OffDuty"] != "true" || e.Fields["Protected"] != "" {
				t.Errorf("got %v", e.Fields)
			}
			return
		}
	}
}

func TestChangesAgainstTheBaseline(t *testing.T) {
	root, d := t.TempDir(), deps(t)
	conf := filepath.Join(root, "sshd_config")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	sum := func(text string) string { s := sha256.Sum256([]byte(text)); return hex.EncodeToString(s[:]) }
	write(conf, "old\n")
	write(filepath.Join(root, "b"), "b")
	t.Run("while it runs, with who", func(t *testing.T) {
		w := watch(t, Config{Integrity: []string{root}}, d)
		baseline := <-w.q.Events()
		if baseline.Fields["Event"] != "baseline" || baseline.Fields["Files"] != "2" {
			t.Fatalf("first %v", baseline.Fields)
		}
		sh(t, "echo new > "+conf)
		w.next(written, conf, map[string]string{"Change": "changed", "OldSha256": sum("old\n"), "NewSha256": sum("new\n"), "User": "root"})
		sh(t, "chmod 666 "+conf)
		w.next(written, conf, map[string]string{"Change": "attributes", "OldMode": "-rw-r--r--", "NewMode": "-rw-rw-rw-"})
		sh(t, "rm "+filepath.Join(root, "b"))
		w.next(deleted, filepath.Join(root, "b"), map[string]string{"Change": "deleted", "OldSha256": sum("b")})
	})
	write(conf, "while nobody looked\n")
	write(filepath.Join(root, "c"), "c")
	t.Run("after it did not run", func(t *testing.T) {
		w := watch(t, Config{Integrity: []string{root}}, d)
		w.next(written, filepath.Join(root, "c"), map[string]string{"Change": "created", "User": ""})
		w.next(written, conf, map[string]string{"Change": "changed", "OldSha256": sum("new\n")})
	})
}

func TestAFileThatIsWrittenAgainTheSameIsNoChange(t *testing.T) {
	root := t.TempDir()
	path := filepath.Join(root, "a")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	g, q := newIntegrity([]string{root}, deps(t)), collect.NewQueue(16)
	g.compare(t.Context(), q, true)
	<-q.Events()
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	g.compare(t.Context(), q, false)
	if len(q.Events()) != 0 {
		t.Errorf("told %v", (<-q.Events()).Fields)
	}
}

func BenchmarkNotice(b *testing.B) {
	f := &Folders{cfg: Config{Folders: []Folder{{Path: "/srv", Protected: true}}}, deps: Deps{Now: time.Now}, hours: []Hours{nil}, people: newPeople(), recent: map[string]time.Time{},
		dirs: map[string]dir{"fsidfsidhandleaa": {path: "/srv", folder: 0}}}
	f.people.known[1] = seenActor{actor{pid: 1, image: "/sbin/init", user: "root"}, time.Now().Add(time.Hour)}
	q := collect.NewQueue(1)
	n := notice{mask: unix.FAN_ACCESS, pid: 1, dir: []byte("fsidfsidhandleaa"), name: []byte("file")}
	f.people.known[1] = seenActor{f.people.known[1].actor, time.Now()}
	b.ReportAllocs()
	for b.Loop() {
		f.notice(q, n)
	}
}
