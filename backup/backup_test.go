package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/blob/blobtest"
	"github.com/sonae/sonae/bus"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state/statetest"
)

func keys(t testing.TB) (Lock, Key) {
	t.Helper()
	text, recipient, err := NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	lock, err := Recipients(recipient)
	if err != nil {
		t.Fatal(err)
	}
	key, err := Identities(text)
	if err != nil {
		t.Fatal(err)
	}
	return lock, key
}

// small is a hub with little in it.
func small(t *testing.T) Parts {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"keys/a": "key", "archive/manifest.jsonl": "{}\n", "archive/segments/2026/1.parquet": "events",
		"archive/segments/2026/2.parquet.tmp": "half", "archive/tail/1.parquet": "tail", "ledger/checkpoint": "c", "ledger/tile/0/000": "t",
		"evidence/bag-1/data/病院": "e", "correlate/head": "state-1", "correlate/state-1": "counted", "correlate/.blob/new-1": "half", "evidence/.incoming/x": "half", "lock": "", "bus/jetstream/x": "b", pinned + "old/x": "left"} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return Parts{Dir: dir, State: statetest.OpenAt(t, filepath.Join(dir, "state.db")), Now: time.Now,
		Pending: func(context.Context, string, func(bus.Message) error) error { return nil }}
}

// TestSharedStoresAreInIt and go to the stores that Import is told.
func TestSharedStoresAreInIt(t *testing.T) {
	blobtest.Each(t, func(t *testing.T, store blob.Store) {
		lock, key := keys(t)
		p := small(t)
		p.Stores = map[string]blob.Store{"evidence": store}
		blobtest.Put(t, store, "bag-1/data/x", "content")
		var file bytes.Buffer
		made, err := Backup(t.Context(), p, &file, lock)
		if err != nil || made.Bytes != int64(file.Len()) {
			t.Fatalf("got %+v, %v", made, err)
		}
		to := Target{Dir: filepath.Join(t.TempDir(), "new"), Log: slog.New(slog.DiscardHandler)}
		if _, err := Import(t.Context(), bytes.NewReader(file.Bytes()), key, to); fault.Of(err) != fault.Invalid {
			t.Errorf("without a store: got %v", err)
		}
		fresh, err := blob.OpenFolder(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		to.Stores = map[string]blob.Store{"evidence": fresh}
		if _, err := Import(t.Context(), bytes.NewReader(file.Bytes()), key, to); err != nil {
			t.Fatal(err)
		}
		if got, _ := blobtest.Get(t, fresh, "bag-1/data/x"); got != "content" {
			t.Errorf("got %q", got)
		}
		for name, want := range map[string]bool{"keys/a": true, "archive/manifest.jsonl": true, "archive/segments/2026/1.parquet": true, "ledger/tile/0/000": true,
			"ledger/checkpoint": true, "evidence/bag-1/data/病院": true, "correlate/head": true, "correlate/state-1": true, "correlate/.blob": false, "state.db": true, "lock": false, "bus": false, "archive/tail": false,
			"archive/segments/2026/2.parquet.tmp": false, "evidence/.incoming": false, pinned + "old": false} {
			if _, err := os.Stat(filepath.Join(to.Dir, filepath.FromSlash(name))); (err == nil) != want {
				t.Errorf("%s: %v, want that it is there: %v", name, err, want)
			}
		}
		var n int
		err = p.State.QueryRow(t.Context(), `SELECT COUNT(*) FROM outbox WHERE subject = 'record.backup'`).Scan(&n)
		if err != nil || n != 1 {
			t.Errorf("%d leaves are on their way, %v; want one", n, err)
		}
	})
}

// entry is a member of a tar that somebody else made.
type entry struct {
	name, body string
	kind       byte
}

func forged(t testing.TB, lock Lock, entries ...entry) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := age.Encrypt(&out, lock.recipients...)
	if err != nil {
		t.Fatal(err)
	}
	tw := tar.NewWriter(w)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Size: int64(len(e.body)), Mode: 0o600}
		if e.kind == tar.TypeSymlink {
			h.Size, h.Linkname = 0, e.body
		}
		if err := tw.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if e.kind != tar.TypeSymlink {
			if _, err := tw.Write([]byte(e.body)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(tw.Close(), w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestForgedBackupsAreRefused whoever has the public key can make one.
func TestForgedBackupsAreRefused(t *testing.T) {
	lock, key := keys(t)
	first := entry{memberHead, `{"format":1}`, tar.TypeReg}
	for name, entries := range map[string][]entry{
		"empty":                   {},
		"of something else":       {{"readme", "x", tar.TypeReg}},
		"of a later version":      {{memberHead, `{"format":2}`, tar.TypeReg}},
		"without a format":        {{memberHead, `{}`, tar.TypeReg}},
		"a way out":               {first, {"hub/../../x", "x", tar.TypeReg}},
		"an absolute name":        {first, {"/hub/x", "x", tar.TypeReg}},
		"a link":                  {first, {"hub/x", "/etc/passwd", tar.TypeSymlink}},
		"a name of nobody":        {first, {"x", "x", tar.TypeReg}},
		"twice":                   {first, {"hub/x", "x", tar.TypeReg}, {"hub/x", "y", tar.TypeReg}},
		"no manifest":             {first, {"hub/x", "x", tar.TypeReg}},
		"a manifest that lacks":   {first, {"hub/x", "x", tar.TypeReg}, {memberManifest, `[]`, tar.TypeReg}},
		"a manifest that differs": {first, {memberManifest, `[{"name":"sonae.json","bytes":12,"sha256":"00"}]`, tar.TypeReg}},
		"no manifest but text":    {first, {memberManifest, `x`, tar.TypeReg}},
	} {
		t.Run(name, func(t *testing.T) {
			parent := t.TempDir()
			to := Target{Dir: filepath.Join(parent, "new"), Log: slog.New(slog.DiscardHandler)}
			_, err := Import(t.Context(), bytes.NewReader(forged(t, lock, entries...)), key, to)
			if fault.Of(err) != fault.Invalid {
				t.Errorf("got %v, want invalid", err)
			}
			if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
				t.Errorf("it left %v behind, %v", left, err)
			}
		})
	}
}

func TestLocks(t *testing.T) {
	for name, order := range map[string]Order{"nothing": {}, "both": {Recipients: []string{"age1x"}, Passphrase: []byte("long enough for it")},
		"short": {Passphrase: []byte("short\n")}, "no key": {Recipients: []string{"x"}}, "no keys": {Recipients: []string{""}}} {
		if _, err := order.Lock(); fault.Of(err) != fault.Invalid {
			t.Errorf("%s: got %v, want invalid", name, err)
		}
	}
	if _, err := Identities([]byte("AGE-SECRET-KEY-1WRONG")); fault.Of(err) != fault.Invalid || strings.Contains(err.Error(), "WRONG") {
		t.Errorf("got %v, want invalid and nothing of the key", err)
	}
}

// FuzzImport: no tar may do more than fail.
func FuzzImport(f *testing.F) {
	f.Add("hub/x", "x", `[]`)
	f.Add("state/00000001.jsonl", `{"table":"outbox"}`, `[{"name":"sonae.json"}]`)
	f.Add("../x", "", "")
	f.Fuzz(func(t *testing.T, name, body, manifest string) {
		lock, key := keys(t)
		if len(name) == 0 || len(name) > 1000 || strings.Contains(name, "\x00") {
			t.Skip("no tar holds such a name")
		}
		parent := t.TempDir()
		to := Target{Dir: filepath.Join(parent, "new"), Log: slog.New(slog.DiscardHandler)}
		_, err := Import(t.Context(), bytes.NewReader(forged(t, lock, entry{memberHead, `{"format":1}`, tar.TypeReg}, entry{name, body, tar.TypeReg},
			entry{memberManifest, manifest, tar.TypeReg})), key, to)
		if err == nil {
			t.Error("taken for a backup")
		}
		if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
			t.Errorf("it left %v behind, %v", left, err)
		}
	})
}

// TestNothingIsSealedWhileTheBusIsRead: an event must be in the pinned archive
// or on the bus. Were it sealed after the one and let go of before the other,
// the backup would have its leaf and not the event.
func TestNothingIsSealedWhileTheBusIsRead(t *testing.T) {
	lock, _ := keys(t)
	p := small(t)
	a, err := archive.Open(t.Context(), filepath.Join(t.TempDir(), "archive"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	sealed := make(chan struct{})
	begun := false
	p.HoldArchive, p.HoldLedger, p.Streams = a.Still, func() func() { return func() {} }, []string{"event"}
	p.Pending = func(context.Context, string, func(bus.Message) error) error {
		if begun {
			return nil
		}
		begun = true
		go func() {
			defer close(sealed)
			if _, err := a.Append(context.Background(), []event.Batch{{ID: "ba-1", Events: []event.Event{{ID: "1", Time: time.Now()}}}}); err != nil {
				t.Error(err)
			}
		}()
		select {
		case <-sealed:
			t.Error("a segment was sealed while the bus was read")
		case <-time.After(300 * time.Millisecond):
		}
		return nil
	}
	if _, err := Backup(t.Context(), p, &bytes.Buffer{}, lock); err != nil {
		t.Fatal(err)
	}
	if <-sealed; !begun {
		t.Error("the bus was not read")
	}
}
