package keep

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/detect/rules"
	"github.com/sonae/sonae/event"
)

// bench is a Keeper over a folder, whose findings are gathered.
type bench struct {
	*Keeper
	engine *detect.Engine
	found  []detect.Finding
	refuse error // what publishing answers
	log    *strings.Builder
}

func open(t *testing.T, dir string, files ...string) *bench {
	t.Helper()
	store, err := blob.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{log: &strings.Builder{}}
	fs := fstest.MapFS{}
	for i, f := range files {
		fs[fmt.Sprint(i, ".yml")] = &fstest.MapFile{Data: []byte(f)}
	}
	if b.engine, _, err = detect.Load(rules.FS, fs); err != nil {
		t.Fatal(err)
	}
	b.Keeper = New(Deps{Engine: func() *detect.Engine { return b.engine }, Store: store, Log: slog.New(slog.NewTextHandler(b.log, nil)),
		Publish: func(_ context.Context, _ string, found []detect.Finding) error {
			if b.refuse == nil {
				b.found = append(b.found, found...)
			}
			return b.refuse
		}})
	if err := b.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) take(t *testing.T, id string, events ...event.Event) {
	t.Helper()
	_, matches := b.engine.Judge(event.Batch{Site: "s", Host: "h", Events: events})
	body, err := json.Marshal(Message{id, matches})
	if err != nil {
		t.Fatal(err)
	}
	b.Take(t.Context(), body)
}

func TestAMessageCountsOnceAlsoInAnotherLife(t *testing.T) {
	dir := t.TempDir()
	nameless := failure(0)
	nameless.ID = "" // else its id would tell
	b := open(t, dir)
	for range 9 {
		b.take(t, "m", nameless)
	}
	if err := b.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	b = open(t, dir)
	for range 9 {
		b.take(t, "m", nameless)
	}
	if n := b.engine.Counts()["login-failures"].Samples; n != 1 || len(b.found) > 0 {
		t.Errorf("%d events counted, %d findings; want 1 and none", n, len(b.found))
	}
}

func TestWhatCouldNotBePublishedIsPublishedBeforeTheStateIsSaved(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	b.refuse = errors.New("the bus is full")
	for i := range 10 {
		b.take(t, fmt.Sprint("m", i), failure(i))
	}
	if err := b.Save(t.Context()); !errors.Is(err, b.refuse) {
		t.Errorf("saved although a finding waits: %v", err)
	}
	if again := open(t, dir); again.engine.Counts()["login-failures"].Samples != 0 {
		t.Error("a state is there whose finding is not")
	}
	b.refuse = nil
	if err := b.Save(t.Context()); err != nil || len(b.found) != 1 {
		t.Errorf("%v, %d findings, want one", err, len(b.found))
	}
	again := open(t, dir)
	if again.engine.Counts()["login-failures"].Samples != 10 {
		t.Error("the state is not there")
	}
}

func TestAnotherHubsStateIsNotUndone(t *testing.T) {
	dir := t.TempDir()
	one := open(t, dir)
	two := open(t, dir)
	two.take(t, "m0", failure(0))
	if err := two.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	one.take(t, "m1", failure(1))
	if err := one.Save(t.Context()); !blob.IsChanged(err) {
		t.Errorf("got %v, want a refusal", err)
	}
}

func TestADamagedStateIsSaid(t *testing.T) {
	for name, damage := range map[string]func(string, []byte) error{
		"a bit":   func(f string, b []byte) error { b[len(b)/2] ^= 1; return os.WriteFile(f, b, 0o600) },
		"cut off": func(f string, b []byte) error { return os.WriteFile(f, b[:len(b)/2], 0o600) },
		"gone":    func(f string, _ []byte) error { return os.Remove(f) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			b := open(t, dir)
			b.take(t, "m", failure(0))
			if err := b.Save(t.Context()); err != nil {
				t.Fatal(err)
			}
			files, err := filepath.Glob(filepath.Join(dir, "state-*"))
			if err != nil || len(files) != 1 {
				t.Fatal(files, err)
			}
			body, err := os.ReadFile(files[0])
			if err != nil {
				t.Fatal(err)
			}
			if err := damage(files[0], body); err != nil {
				t.Fatal(err)
			}
			b = open(t, dir)
			if !strings.Contains(b.log.String(), "begin from zero") || b.engine.Counts()["login-failures"].Samples != 0 {
				t.Errorf("log: %s", b.log)
			}
			b.take(t, "m", failure(0))
			if err := b.Save(t.Context()); err != nil {
				t.Errorf("cannot be saved again: %v", err)
			}
		})
	}
}

func TestOldStatesAreRemoved(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	for i := range 5 {
		b.take(t, fmt.Sprint("m", i), failure(i))
		if err := b.Save(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "state-0"), []byte("of a killed hub"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b = open(t, dir); b.engine.Counts()["login-failures"].Samples != 5 {
		t.Error("the state in force is gone")
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "state-*")); len(files) != 1 {
		t.Errorf("%d states lie there, want one", len(files))
	}
}

func TestAChangedRuleBeginsFromZeroAndSaysSo(t *testing.T) {
	dir := t.TempDir()
	rule := "title: T\nid: t\nlogsource: {product: linux}\ndetection:\n  s: {Action: failure}\n  condition: s\nthreshold: {count: 50, window: 1h}\n"
	b := open(t, dir, rule)
	b.take(t, "m", failure(0))
	if err := b.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	b = open(t, dir, strings.Replace(rule, "50", "60", 1))
	counts := b.engine.Counts()
	if counts["t"].Samples != 0 || counts["login-failures"].Samples != 1 {
		t.Errorf("got %+v", counts)
	}
	if !strings.Contains(b.log.String(), "rule=t") {
		t.Errorf("log: %s", b.log)
	}
}

func TestSeenForgetsTheOldest(t *testing.T) {
	var s seen
	for i := range remembered + 10 {
		if !s.add(fmt.Sprint(i)) {
			t.Fatal("a new id is not new")
		}
	}
	if list := s.list(); len(list) != remembered || list[0] != "10" || s.add("10") || !s.add("9") {
		t.Errorf("%d ids, from %s", len(list), list[0])
	}
}
