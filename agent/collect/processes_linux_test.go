package collect

import (
	"context"
	"encoding/binary"
	"log/slog"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/event"
)

// find waits for an event of the process.
func find(t *testing.T, q *Queue, category string, pid int) event.Event {
	t.Helper()
	end := time.After(30 * time.Second)
	for {
		select {
		case e := <-q.Events():
			if e.Category == category && e.Fields[event.FieldPID] == strconv.Itoa(pid) {
				return e
			}
		case <-end:
			t.Fatalf("no %s of %d", category, pid)
		}
	}
}

func TestProcessesAreSeen(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	for name, run := range map[string]func(p *Processes, ctx context.Context, q *Queue){
		"as the kernel permits": func(p *Processes, ctx context.Context, q *Queue) {
			if err := p.Run(ctx, q); err != nil {
				t.Error(err)
			}
		},
		"by looking": func(p *Processes, ctx context.Context, q *Queue) {
			p.fill()
			p.say("looking")
			for pause(ctx, 20*time.Millisecond) {
				p.poll(q)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := NewProcesses(Config{Now: time.Now, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
			q := NewQueue(100000)
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() { run(p, ctx, q) })
			t.Cleanup(func() { cancel(); wg.Wait() })
			for end := time.Now().Add(30 * time.Second); p.Status() == "not started"; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("did not start")
				}
			}
			dir, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("/bin/sleep", "60")
			cmd.Dir = dir
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			image, err := os.Readlink("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/exe")
			if err != nil {
				t.Fatal(err)
			}
			var got event.Event
			for got.Fields["Image"] != image { // looking may see the moment before exec
				got = find(t, q, "process_creation", cmd.Process.Pid)
			}
			want := map[string]string{"Image": image, "CommandLine": "/bin/sleep 60", "User": me.Username, "CurrentDirectory": dir,
				"ProcessId": strconv.Itoa(cmd.Process.Pid), "ParentProcessId": strconv.Itoa(os.Getpid()),
				"ParentImage": self, "ParentCommandLine": strings.Join(os.Args, " ")}
			if d := cmp.Diff(want, got.Fields); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if got := find(t, q, "process_termination", cmd.Process.Pid); got.Fields["Image"] != image {
				t.Errorf("end: %+v", got)
			}
			t.Log(p.Status())
		})
	}
}

func TestStatWithAnyName(t *testing.T) {
	tail := " S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20 21"
	for line, want := range map[string]string{"7 (sh)" + tail: "sh", "7 (a) R 1 (b c))" + tail: "a) R 1 (b c)", "7 ()" + tail: ""} {
		name, parent, started, ok := parseStat([]byte(line))
		if !ok || name != want || parent != 1 || started != 777 {
			t.Errorf("%q: got %q, %d, %d, %v", line, name, parent, started, ok)
		}
	}
	for _, bad := range []string{"", "7", "7 (a", "7 a) S", ") (", "7 (a) S 1"} {
		if _, _, _, ok := parseStat([]byte(bad)); ok {
			t.Errorf("%q accepted", bad)
		}
	}
}

// cnMessage is a datagram as the kernel sends it.
func cnMessage(what uint32, data ...uint32) []byte {
	b := make([]byte, netlinkHeader+cnHeader+eventHeader+4*len(data))
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint32(b[netlinkHeader:], cnIdxProc)
	binary.NativeEndian.PutUint32(b[netlinkHeader+4:], cnValProc)
	binary.NativeEndian.PutUint32(b[netlinkHeader+cnHeader:], what)
	for i, d := range data {
		binary.NativeEndian.PutUint32(b[netlinkHeader+cnHeader+eventHeader+4*i:], d)
	}
	return b
}

func TestConnectorMessages(t *testing.T) {
	var got []procEvent
	parseConnector(append(append(cnMessage(procExec, 7, 7), cnMessage(procExit, 8, 7, 256, 17)...), cnMessage(procNone, 1)...), func(e procEvent) { got = append(got, e) })
	want := []procEvent{{what: procExec, pid: 7, tgid: 7}, {what: procExit, pid: 8, tgid: 7, code: 256}, {what: procNone, code: 1}}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(procEvent{})); d != "" {
		t.Error(d)
	}
}

func FuzzParseConnector(f *testing.F) {
	f.Add(cnMessage(procExec, 7, 7))
	f.Add(cnMessage(procExit, 7, 7, 0, 17))
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		parseConnector(b, func(procEvent) { n++ })
		if n > len(b)/netlinkHeader {
			t.Fatal("more events than fit")
		}
	})
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("7 (sh) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20 21"))
	f.Fuzz(func(t *testing.T, b []byte) { parseStat(b) })
}

func TestLoad(t *testing.T) {
	at := time.Unix(1000, 0)
	h := NewHealth(Config{Now: func() time.Time { return at }})
	h.Sample()
	at = at.Add(sampleEvery)
	for end := time.Now().Add(50 * time.Millisecond); time.Now().Before(end); { // make some load
	}
	l := h.Sample()
	for name, v := range map[string]float64{"cpu": l.CPU, "memory": l.Memory, "disk": l.Disk} {
		if v <= 0 || v > 1 {
			t.Errorf("%s: %v is no share", name, v)
		}
	}
	busy, all := parseCPU([]byte("cpu  10 1 5 80 4 0 0 0 9 9\ncpu0 1\n"))
	if busy != 16 || all != 100 {
		t.Errorf("got %d of %d, want 16 of 100", busy, all)
	}
	if m := parseMemory([]byte("MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 250 kB\n")); m != 0.75 {
		t.Errorf("memory %v", m)
	}
}

// utmp makes a record as login(1) does.
func utmp(typ uint16, line, user, host string, ip []byte, at time.Time) []byte {
	b := make([]byte, utmpSize)
	binary.NativeEndian.PutUint16(b, typ)
	copy(b[8:40], line)
	copy(b[44:76], user)
	copy(b[76:332], host)
	binary.NativeEndian.PutUint32(b[340:], uint32(at.Unix()))
	copy(b[348:], ip)
	return b
}

func TestWtmpIsFollowed(t *testing.T) {
	dir := t.TempDir()
	l := NewLogins(Config{Now: time.Now})
	l.wtmp = filepath.Join(dir, "wtmp")
	at := time.Unix(1_800_000_000, 0).UTC()
	appendTo(t, l.wtmp, string(utmp(userProcess, "tty9", "before", "", nil, at)))
	off, info := end(l.wtmp)
	appendTo(t, l.wtmp, string(utmp(userProcess, "pts/0", "ward3", "pc7.example", []byte{192, 0, 2, 7}, at)))
	appendTo(t, l.wtmp, string(utmp(deadProcess, "pts/0", "", "", nil, at))+"half a record")
	q := NewQueue(10)
	off, info = l.poll(l.wtmp, off, info, false, q)
	want := []map[string]string{
		{"Action": "login", "User": "ward3", "Terminal": "pts/0", "SourceIp": "192.0.2.7"},
		{"Action": "logout", "User": "ward3", "Terminal": "pts/0"},
	}
	for i, w := range want {
		if e := <-q.Events(); !e.Time.Equal(at) || cmp.Diff(w, e.Fields) != "" {
			t.Errorf("%d: %v\n%s", i, e.Time, cmp.Diff(w, e.Fields))
		}
	}
	if err := os.WriteFile(l.wtmp+".new", utmp(userProcess, "pts/1", "new", "", nil, at), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(l.wtmp+".new", l.wtmp); err != nil { // rotated
		t.Fatal(err)
	}
	l.poll(l.wtmp, off, info, false, q)
	if e := <-q.Events(); e.Fields["User"] != "new" {
		t.Errorf("after rotation: %+v", e)
	}
	if len(q.Events()) != 0 {
		t.Error("more events than records")
	}
}

func FuzzUtmp(f *testing.F) {
	f.Add(utmp(userProcess, "pts/0", "u", "h", []byte{1, 2, 3, 4}, time.Unix(1, 0)), false)
	f.Fuzz(func(t *testing.T, b []byte, failed bool) {
		if len(b) != utmpSize {
			return
		}
		NewLogins(Config{Now: time.Now}).event(b, failed)
	})
}

func TestFollowTheRunningJournal(t *testing.T) {
	j := NewJournal(Config{Dir: t.TempDir(), Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if j == nil {
		t.Skip("no journal runs on this machine")
	}
	q := NewQueue(10000)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = j.Run(ctx, q) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	word := "sonae test " + strconv.Itoa(os.Getpid())
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		if err := exec.Command("logger", word).Run(); err != nil {
			t.Fatal(err)
		}
		select {
		case e := <-q.Events():
			if strings.Contains(e.Raw, word) {
				return
			}
		case <-time.After(time.Second):
		}
	}
	t.Fatal("the line did not arrive")
}
