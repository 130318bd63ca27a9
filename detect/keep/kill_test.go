package keep

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/bus"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/detect/rules"
	"github.com/sonae/sonae/event"
)

// How a child of TestKilled behaves.
const (
	folderOf = "SONAE_KEEP_DIR"
	modeOf   = "SONAE_KEEP_MODE"
)

// Modes of a child: what it does when a window is full.
const (
	never   = "never saves"        // the window is longer than the test
	saved   = "saves"              // and acknowledges
	between = "saves, then sticks" // before it acknowledges
)

// TestKilled kills what counts with SIGKILL after six failed log-ins. Four more
// in another life make the finding of ten, once.
func TestKilled(t *testing.T) {
	if dir := os.Getenv(folderOf); dir != "" {
		child(t, dir, os.Getenv(modeOf))
		return
	}
	for name, tt := range map[string]struct {
		mode, until string
	}{
		"before the state was saved":   {never, "taken 6"},
		"after the state was saved":    {saved, "acknowledged 6"},
		"before it was acknowledged":   {between, "saved 6"},
		"between two of its messages":  {never, "taken 3"},
		"some saved, some not, mostly": {saved, "taken 6"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			first := start(t, dir, tt.mode)
			first.publish(t, 0, 6)
			first.await(t, tt.until)
			first.kill(t)
			second := start(t, dir, saved)
			second.publish(t, 0, 10) // the first may not have come to publish all that it was asked to
			second.await(t, "found")
			second.await(t, "acknowledged")
			second.kill(t)
			third := start(t, dir, saved) // what was not acknowledged comes once more
			third.publish(t, 10, 11)
			third.await(t, "taken 1")
			third.kill(t)
			checkFound(t, dir)
		})
	}
}

// checkFound wants one finding of the ten events that were there first.
func checkFound(t *testing.T, dir string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "found"))
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		var f detect.Finding
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Fatal(err)
		}
		ids[f.ID] = true
		events := map[string]bool{}
		for _, e := range f.Events {
			events[e.ID] = true
		}
		if f.Rule.ID != "login-failures" || len(events) != 10 || f.Correlated == nil || f.Correlated.Count != 10 {
			t.Errorf("found %s of %d events: %+v", f.Rule.ID, len(events), f.Correlated)
		}
	}
	if len(ids) != 1 {
		t.Errorf("%d findings, want one:\n%s", len(ids), text)
	}
}

// life is a running child.
type life struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string
}

func start(t *testing.T, dir, mode string) *life {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
	cmd.Env = append(os.Environ(), folderOf+"="+dir, modeOf+"="+mode)
	cmd.Stderr = t.Output()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	l := &life{cmd, in, make(chan string, 1000)}
	go func() { // ends with the child
		defer close(l.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			l.lines <- s.Text()
		}
	}()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return l
}

func (l *life) publish(t *testing.T, from, to int) {
	t.Helper()
	if _, err := fmt.Fprintln(l.in, from, to); err != nil {
		t.Fatal(err)
	}
}

func (l *life) await(t *testing.T, want string) {
	t.Helper()
	limit := time.After(time.Minute)
	for {
		select {
		case line, more := <-l.lines:
			if !more {
				t.Fatalf("the child ended before it said %q", want)
			}
			if strings.HasPrefix(line, want) {
				return
			}
		case <-limit:
			t.Fatalf("the child did not say %q", want)
		}
	}
}

func (l *life) kill(t *testing.T) {
	t.Helper()
	if err := l.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = l.cmd.Wait() // it was killed
}

// child is what the hub does about correlations, on a bus of its own, until it
// is killed.
func child(t *testing.T, dir, mode string) {
	ctx := t.Context()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	b, err := bus.Open(ctx, bus.Config{Dir: filepath.Join(dir, "bus"), Streams: []string{"match", "finding"}}, log)
	must(t, err)
	store, err := blob.OpenFolder(filepath.Join(dir, "state"))
	must(t, err)
	engine, _, err := detect.Load(rules.FS)
	must(t, err)
	k := New(Deps{Engine: func() *detect.Engine { return engine }, Store: store, Log: log,
		Publish: func(ctx context.Context, id string, found []detect.Finding) error {
			body, err := json.Marshal(found)
			must(t, err)
			return b.Publish(ctx, "finding.h", id, body)
		}})
	taken := 0
	take := func(ctx context.Context, body []byte) (struct{}, int) {
		n := k.Take(ctx, body)
		taken++
		fmt.Println("taken", taken)
		return struct{}{}, n
	}
	acknowledged := 0
	save := func(ctx context.Context, got []bus.Arrived[struct{}]) error {
		if err := k.Save(ctx); err != nil {
			return err
		}
		acknowledged += len(got)
		fmt.Println("saved", acknowledged)
		if mode == between {
			<-ctx.Done()
		}
		time.AfterFunc(100*time.Millisecond, func() { fmt.Println("acknowledged", acknowledged) })
		return nil
	}
	window := 300 * time.Millisecond
	if mode == never {
		window = time.Hour
	}
	must(t, b.Join(ctx, bus.OnArrival("match.>", "correlate", 4096, window, 1<<20, take, save).Led(), bus.On("finding.>", "note", note(dir))))
	go publishAsked(t, b, engine)
	must(t, b.Lead(ctx, "correlate", func(ctx context.Context) error {
		must(t, k.Begin(ctx))
		return b.Handle(ctx, "correlate")
	}))
}

func must(t *testing.T, err error) {
	if err != nil {
		t.Error(err)
		os.Exit(1)
	}
}

// note writes findings where the next life does not lose them.
func note(dir string) func(context.Context, []detect.Finding) error {
	return func(_ context.Context, found []detect.Finding) error {
		f, err := os.OpenFile(filepath.Join(dir, "found"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		for _, one := range found {
			if err := json.NewEncoder(f).Encode(one); err != nil {
				return err
			}
		}
		fmt.Println("found")
		return f.Sync()
	}
}

// publishAsked publishes failed log-ins from to to, as standard input says.
func publishAsked(t *testing.T, b *bus.Bus, engine *detect.Engine) {
	for s := bufio.NewScanner(os.Stdin); s.Scan(); {
		var from, to int
		_, err := fmt.Sscan(s.Text(), &from, &to)
		must(t, err)
		for i := from; i < to; i++ {
			_, matches := engine.Judge(event.Batch{ID: fmt.Sprint("b", i), Site: "s", Host: "h", Events: []event.Event{failure(i)}})
			m := Message{ID: fmt.Sprint("matches of b", i), Matches: matches}
			body, err := json.Marshal(m)
			must(t, err)
			must(t, b.Publish(t.Context(), "match.h", m.ID, body))
		}
	}
}

func failure(i int) event.Event {
	return event.Event{
		ID: fmt.Sprint("e", i), Time: time.Date(2026, 4, 1, 3, 0, i, 0, time.UTC), Kind: event.KindLogin,
		Product: "linux", Category: "authentication", Service: "sshd",
		Fields: map[string]string{"Action": "failure", "SourceIp": "203.0.113.9", "User": "root"},
	}
}
