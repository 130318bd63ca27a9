package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/hub/hubtest"
	"github.com/sonae/sonae/source/agentlink/wire"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/statetest"
)

// keyPair makes a key as an administrator does.
func keyPair(t *testing.T) (identity, recipient string) {
	t.Helper()
	identity = filepath.Join(t.TempDir(), "key.txt")
	return identity, strings.TrimSpace(succeeds(t, "backup", "--new-key", identity))
}

// succeeds runs a command and returns what it prints.
func succeeds(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if code := run(args, &out, &errs); code != 0 {
		t.Fatalf("%q: exit %d\n%s%s", args, code, &out, &errs)
	}
	return out.String()
}

// fails runs a command that must fail and say something.
func fails(t *testing.T, say string, args ...string) {
	t.Helper()
	var out, errs bytes.Buffer
	if code := run(args, &out, &errs); code != 1 || !strings.Contains(errs.String(), say) {
		t.Errorf("%q: exit %d, want 1 and %q\n%s%s", args, code, say, &out, &errs)
	}
}

// load does what people and machines do, all the time, and notes what was
// acknowledged.
type load struct {
	log     func(text string, args ...any)
	mu      sync.Mutex
	entries []string
	batches []string
}

// ended says why the load ended: at the end of a test because the hub is gone.
func (l *load) ended(err error) { l.log("load ended", "err", err) }

func (l *load) counts() (entries, batches []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.entries), slices.Clone(l.batches)
}

// write adds lines to the chronology until the hub is gone or ctx ends.
func (l *load) write(ctx context.Context, c *hubtest.Client, in string) {
	for i := 0; ctx.Err() == nil && i < 400; i++ { // what one page of the chronology shows
		text := fmt.Sprintf("記録 %d", i)
		if err := c.Do(http.MethodPost, "/incidents/"+in+"/entries", map[string]string{"text": text}, nil); err != nil {
			l.ended(err)
			return
		}
		l.mu.Lock()
		l.entries = append(l.entries, text)
		l.mu.Unlock()
	}
}

// perBatch is how many events a batch of the load has.
const perBatch = 50

// send sends batches of events until the hub is gone or ctx ends.
func (l *load) send(ctx context.Context, t *testing.T, a *hubtest.Agent, from time.Time) {
	id := a.Identity()
	for i := 0; ctx.Err() == nil; i++ {
		b := event.Batch{ID: fmt.Sprintf("%s.b%d", id.Host, i), Site: id.Site, Host: id.Host}
		for n := range perBatch {
			b.Events = append(b.Events, event.Event{ID: fmt.Sprintf("%s-%d", b.ID, n), Time: from.Add(time.Duration(i) * time.Millisecond), Site: id.Site, Host: id.Host,
				Kind: event.KindLog, Fields: map[string]string{"message": fmt.Sprint("line ", n)}})
		}
		data, err := wire.EncodeBatch(b)
		if err != nil {
			t.Error(err)
			return
		}
		if err := a.Batch(ctx, data); err != nil {
			l.ended(err)
			return
		}
		l.mu.Lock()
		l.batches = append(l.batches, b.ID)
		l.mu.Unlock()
		if i > 400 { // enough to compare; from now on as fast as a busy machine
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
}

// TestRestoreRehearsal: a hub under load is backed up while it runs, then
// killed with SIGKILL. In the hub that is made of the backup, on either engine,
// nothing is missing that was acknowledged before the backup began, and all of
// it verifies.
func TestRestoreRehearsal(t *testing.T) {
	t.Parallel()
	for name, engines := range map[string][2]bool{"sqlite": {false, false}, "sqlite to postgres": {false, true}, "postgres to sqlite": {true, false}} {
		t.Run(name, func(t *testing.T) {
			var from, to []string
			if engines[0] {
				from = []string{"--state", statetest.Postgres(t)}
			}
			if engines[1] {
				to = []string{"--state", statetest.Postgres(t)}
			}
			rehearse(t, from, to)
		})
	}
}

func rehearse(t *testing.T, from, to []string) {
	identity, recipient := keyPair(t)
	dir := hubtest.Folder(t)
	h := served(t, dir, from...)
	one := h.FirstAdmin()
	h.Person("approver", "", auth.Approver)
	in := one.Open(h.Raised(one))
	one.Sealed(in.ID)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	l := load{log: hubtest.Log(t).Info}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { l.write(ctx, one, in.ID) })
	hubtest.Await(t, "some load", func() bool { e, _ := l.counts(); return len(e) > 20 })

	hubtest.Await(t, "a second drill, after the first", func() bool { return hubtest.StartDrill(t, dir) == http.StatusAccepted }) // it plays while the backup is made
	before, _ := l.counts()
	file := filepath.Join(t.TempDir(), "backup.age")
	said := succeeds(t, "backup", "--dir", dir, "--to", file, "--recipient", recipient)
	after, _ := l.counts()
	t.Logf("%d entries before, %d after: %s", len(before), len(after), said)
	h.Kill()
	stop()
	wg.Wait()

	again := hubtest.Folder(t)
	succeeds(t, append([]string{"import", "--dir", again, "--identity", identity}, append(slices.Clone(to), file)...)...)
	if code, said := verified(append(slices.Clone(to), again)...); code != intact {
		t.Errorf("before it starts: verify says %d\n%s", code, said)
	}
	h2 := served(t, again, to...)
	one = h2.Again(one)
	at := filepath.Join(again, "state.db")
	if len(to) > 0 {
		at = to[1]
	}
	relayed(t, at)
	h2.Idle()
	have := map[string]bool{}
	for _, e := range one.Chronology(in.ID) {
		if have[e.Text] && strings.HasPrefix(e.Text, "記録") {
			t.Errorf("%s is there twice", e.Text)
		}
		have[e.Text] = true
	}
	for _, text := range before {
		if !have[text] {
			t.Errorf("%s was acknowledged before the backup, and is missing", text)
		}
	}
	one.Must(http.MethodPost, "/incidents/"+in.ID+"/entries", map[string]string{"text": "復旧後の記録"}, nil)
	one.Written(in.ID, "evidence.sealed")
	h2.Idle()
	h2.Kill()
	if code, said := verified(append(slices.Clone(to), again)...); code != intact {
		t.Errorf("after it ran: verify says %d\n%s", code, said)
	}
}

// TestBackupsUnderLoad makes backups one after the other while machines send
// events and people write, and compares each with what was acknowledged before
// it began.
func TestBackupsUnderLoad(t *testing.T) {
	t.Parallel()
	identity, recipient := keyPair(t)
	h := hubtest.Start(t)
	one := h.FirstAdmin()
	in := one.Open(h.Raised(one))
	h.Site("load", "hospital")
	machine := h.Enrol("load", "pc-1")
	ctx, stop := context.WithCancel(t.Context())
	l := load{log: hubtest.Log(t).Info}
	var wg sync.WaitGroup
	wg.Go(func() { l.write(ctx, one, in.ID) })
	wg.Go(func() { l.send(ctx, t, machine, time.Now()) })
	defer func() { stop(); wg.Wait() }()
	rounds := 1
	if os.Getenv("SONAE_TORTURE") != "" {
		rounds = 5
	}
	for n := range rounds {
		hubtest.Await(t, "some load", func() bool {
			e, b := l.counts()
			return len(e) > 10*(n+1) && len(b) > 10*(n+1)
		})
		entries, batches := l.counts()
		file := filepath.Join(t.TempDir(), "backup.age")
		succeeds(t, "backup", "--dir", h.Dir, "--to", file, "--recipient", recipient)
		_, now := l.counts()
		t.Logf("backup %d: %d entries, %d batches before, %d after", n, len(entries), len(batches), len(now))
		checkBackup(t, one, in.ID, file, identity, entries, batches)
	}
}

// checkBackup imports a backup, verifies it, lets a hub handle what was on its
// way, and looks for what must be there.
func checkBackup(t *testing.T, one *hubtest.Client, in, file, identity string, entries, batches []string) {
	t.Helper()
	dir := hubtest.Folder(t)
	succeeds(t, "import", "--dir", dir, "--identity", identity, file)
	if code, said := verified(dir); code != intact {
		t.Fatalf("verify says %d\n%s", code, said)
	}
	h := hubtest.Start(t, hubtest.Dir(dir))
	relayed(t, filepath.Join(dir, "state.db"))
	h.Idle()
	have := map[string]int{}
	for _, e := range h.Again(one).Chronology(in) {
		have[e.Text]++
	}
	h.Stop()
	for _, text := range entries {
		if have[text] != 1 {
			t.Errorf("%s is there %d times", text, have[text])
		}
	}
	store, err := archive.Open(t.Context(), filepath.Join(dir, "archive"), hubtest.Log(t))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	times := map[string]int{}
	err = store.Events(t.Context(), archive.Search{}, func(e event.Event) error { times[e.ID]++; return nil })
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range batches {
		for n := range perBatch {
			if id := fmt.Sprintf("%s-%d", b, n); times[id] != 1 {
				t.Errorf("the archive has event %s %d times", id, times[id])
			}
		}
	}
	if code, said := verified(dir); code != intact {
		t.Errorf("after it ran: verify says %d\n%s", code, said)
	}
}

// relayed waits until the outbox is empty, in which imported messages begin.
func relayed(t *testing.T, at string) {
	t.Helper()
	db, err := state.OpenReadOnly(at)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	hubtest.Await(t, "the outbox to be empty", func() bool {
		var n int
		err := db.QueryRow(t.Context(), `SELECT COUNT(*) FROM outbox`).Scan(&n)
		return err == nil && n == 0
	})
}

// TestExportMovesAStoppedHub, with a passphrase, to the other engine and back.
func TestExportMovesAStoppedHub(t *testing.T) {
	t.Parallel()
	p := practise(t)
	passphrase := filepath.Join(t.TempDir(), "passphrase")
	if err := os.WriteFile(passphrase, []byte("練習のための合言葉\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	at, out := statetest.Postgres(t), t.TempDir()
	one, two := filepath.Join(out, "one.age"), filepath.Join(out, "two.age")
	identity, recipient := keyPair(t)
	succeeds(t, "export", "--dir", p.dir, "--to", one, "--recipient", recipient)
	fails(t, "exists already", "export", "--dir", p.dir, "--to", one, "--recipient", recipient)
	middle, last := hubtest.Folder(t), hubtest.Folder(t)
	succeeds(t, "import", "--dir", middle, "--state", at, "--identity", identity, one)
	if code, said := verified("--state", at, middle); code != intact {
		t.Errorf("in PostgreSQL: verify says %d\n%s", code, said)
	}
	succeeds(t, "export", "--dir", middle, "--state", at, "--to", two, "--passphrase-file", passphrase)
	succeeds(t, "import", "--dir", last, "--passphrase-file", passphrase, two)
	if code, said := verified(last); code != intact || !strings.Contains(said, "checked row by row") {
		t.Errorf("back in SQLite: verify says %d\n%s", code, said)
	}
	h := hubtest.Start(t, hubtest.Dir(last))
	h.Idle()
	if got := h.Again(p.Requester).Sealed(p.Incident.ID); got.Digest != p.Bag.Digest {
		t.Errorf("the bag is %+v, want %+v", got, p.Bag)
	}
	fails(t, "is running", "export", "--dir", last, "--to", filepath.Join(out, "x"), "--recipient", recipient)
	h.Stop()
	if code, said := verified(last); code != intact {
		t.Errorf("after it ran: verify says %d\n%s", code, said)
	}
	refusals(t, at, one, middle, identity)
	fails(t, "does not open", "import", "--dir", filepath.Join(out, "hub"), "--passphrase-file", passphrase, one)
	fails(t, "does not open", "import", "--dir", filepath.Join(out, "hub"), "--identity", identity, two)
}

// refusals: what cannot be imported says why, and leaves nothing behind.
func refusals(t *testing.T, at, file, full, identity string) {
	t.Helper()
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	other, recipient := keyPair(t)
	parent := t.TempDir()
	dir := filepath.Join(parent, "hub")
	with := func(b []byte) string {
		path := filepath.Join(t.TempDir(), "backup.age")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	changed := slices.Clone(whole)
	changed[len(changed)/2] ^= 1
	for _, tt := range []struct {
		say  string
		args []string
	}{
		{"damaged", []string{"--dir", dir, "--identity", identity, with(changed)}},
		{"damaged", []string{"--dir", dir, "--identity", identity, with(whole[:len(whole)/2])}},
		{"damaged", []string{"--dir", dir, "--identity", identity, with(whole[:len(whole)-1])}},
		{"not a backup", []string{"--dir", dir, "--identity", identity, with([]byte("PK\x03\x04 of something else"))}},
		{"does not open", []string{"--dir", dir, "--identity", other, file}},
		{"not empty", []string{"--dir", full, "--identity", identity, file}},
		{"not empty", []string{"--dir", dir, "--state", at, "--identity", identity, file}},
	} {
		fails(t, tt.say, append([]string{"import"}, tt.args...)...)
		if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
			t.Errorf("%s: it left %v behind, %v", tt.say, left, err)
		}
	}
	fails(t, "no hub", "export", "--dir", parent, "--to", filepath.Join(parent, "x"), "--recipient", recipient)
	fails(t, "No hub answers", "backup", "--dir", full, "--to", filepath.Join(parent, "x"), "--recipient", recipient)
	fails(t, "age1", "backup", "--dir", full, "--to", filepath.Join(parent, "x"), "--recipient", "x")
	if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
		t.Errorf("refused copies left %v behind, %v", left, err)
	}
}
