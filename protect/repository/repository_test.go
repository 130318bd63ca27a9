package repository_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/repository"
	"github.com/sonae/sonae/protect/restic"
	"github.com/sonae/sonae/protect/restic/restictest"
)

// noon is when the clock of these tests begins: after what restic makes in them.
var noon = time.Now().Add(time.Hour).UTC().Truncate(time.Second)

type service struct {
	*repository.Service
	now  time.Time
	told []string
}

func open(t *testing.T, dir string) *service {
	t.Helper()
	s := &service{now: noon}
	var err error
	s.Service, err = repository.New(repository.Config{Dir: dir, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Now: func() time.Time { return s.now },
		Refused: func(r repository.Refusal) { s.told = append(s.told, r.Err.Error()) },
		Agent: func(context.Context, string) (repository.Agent, error) {
			return repository.Agent{Passwords: []string{restictest.Password}}, nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *service) repo(t *testing.T) *repository.Repository {
	t.Helper()
	r, err := s.Repository(t.Context(), "emr-1")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// made makes a repository with one backup by restic, outside of the service.
func made(t *testing.T) string {
	t.Helper()
	p, src := restictest.Newest(t).At(filepath.Join(t.TempDir(), "made")), t.TempDir()
	restictest.Small(t, src, 5)
	p.Run(t, "init")
	p.Run(t, "backup", src)
	return p.Repo
}

// send puts all files of some kinds, in this order, a minute apart.
func (s *service) send(t *testing.T, dir string, kinds ...restic.Kind) {
	t.Helper()
	r := s.repo(t)
	for _, kind := range kinds {
		for _, path := range files(t, dir, kind) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			s.now = s.now.Add(time.Minute)
			if err := r.Put(t.Context(), "emr-1", kind, filepath.Base(path), -1, bytes.NewReader(b)); err != nil {
				t.Fatalf("put %s: %v", kind, err)
			}
		}
	}
}

func files(t *testing.T, dir string, kind restic.Kind) []string {
	t.Helper()
	pattern := map[restic.Kind]string{restic.ConfigFile: "config", restic.Data: "data/*/*"}[kind]
	if pattern == "" {
		pattern = string(kind) + "/*"
	}
	all, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(all) == 0 {
		t.Fatalf("no %s in %s: %v", kind, dir, err)
	}
	return all
}

var order = []restic.Kind{restic.Keys, restic.ConfigFile, restic.Data, restic.Index, restic.Snapshots}

func count(t *testing.T, b restic.Backend, kind restic.Kind) (n int) {
	t.Helper()
	if err := b.List(t.Context(), kind, func(string, int64) error { n++; return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

func closed(t *testing.T, s *service) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestTheLogOutlivesTheService(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	s.send(t, made(t), order...)
	lines, head := s.repo(t).Head()
	used := s.repo(t).Used()
	closed(t, s)

	s = open(t, dir)
	defer closed(t, s)
	if l, h := s.repo(t).Head(); l != lines || h != head || lines < 6 || s.repo(t).Used() != used {
		t.Errorf("head %d %s, %d bytes; before %d %s, %d", l, h, s.repo(t).Used(), lines, head, used)
	}
	if len(s.told) > 1 { // the snapshot is an hour old by this clock
		t.Errorf("told: %v", s.told)
	}
}

// What is cut off at the end of the log was not acknowledged; every other
// change is one that somebody made.
func TestAChangedLogIsNamed(t *testing.T) {
	for name, tt := range map[string]struct {
		change func([]byte) []byte
		sound  bool
	}{
		"half a line at its end": {func(b []byte) []byte { return append(b, `{"at":"2026-`...) }, true},
		"another time":           {func(b []byte) []byte { return bytes.Replace(b, []byte(`"at":"2`), []byte(`"at":"1`), 1) }, false},
		"a line less":            {func(b []byte) []byte { i := bytes.IndexByte(b, '\n'); return b[i+1:] }, false},
		"a line twice":           {func(b []byte) []byte { i := bytes.IndexByte(b, '\n'); return append(b, b[:i+1]...) }, false},
		"no JSON":                {func(b []byte) []byte { return append(b, "x\n"...) }, false},
		"a line without end":     {func(b []byte) []byte { return append(b, bytes.Repeat([]byte("x"), 10_000)...) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir)
			s.send(t, made(t), order...)
			lines, _ := s.repo(t).Head()
			closed(t, s)
			path := filepath.Join(dir, "emr-1", "received.jsonl")
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, tt.change(b), 0o600); err != nil {
				t.Fatal(err)
			}
			s = open(t, dir)
			defer closed(t, s)
			r, err := s.Repository(t.Context(), "emr-1")
			if (err == nil) != tt.sound {
				t.Fatalf("opened: %v", err)
			}
			if err == nil {
				if l, _ := r.Head(); l != lines {
					t.Errorf("%d lines, want %d", l, lines)
				}
			}
		})
	}
}

// A crash between a file's name and its line in the log: the file counts as
// received when the service starts again.
func TestAFileWithoutItsLineCountsFromTheRestart(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	s.send(t, made(t), order...)
	before := s.now
	closed(t, s)
	path := filepath.Join(dir, "emr-1", "received.jsonl")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	last := bytes.LastIndexByte(b[:len(b)-1], '\n') + 1 // the snapshot's line
	if err := os.WriteFile(path, b[:last], 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	defer closed(t, s)
	s.now = before.Add(time.Hour)
	r := s.repo(t)
	if n := count(t, r, restic.Snapshots); n != 1 {
		t.Errorf("%d snapshots now", n)
	}
	if n := count(t, r.AsOf(before.Add(time.Minute)), restic.Snapshots); n != 0 {
		t.Errorf("%d snapshots before the restart", n)
	}
	if n := count(t, r.AsOf(before), restic.Index); n != 1 {
		t.Errorf("%d indexes before the restart", n)
	}
}

func TestALostFileIsTold(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	s.send(t, made(t), order...)
	closed(t, s)
	gone := files(t, filepath.Join(dir, "emr-1", "repository"), restic.Data)[0]
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	defer closed(t, s)
	s.repo(t)
	if len(s.told) != 1 || !strings.Contains(s.told[0], "protect.lost") {
		t.Errorf("told: %v", s.told)
	}
}

// An initialisation that ended before its config leaves a key that no client
// may find later.
func TestAKeyWithoutItsConfigIsSetAside(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	s.send(t, made(t), restic.Keys)
	second := made(t)
	s.send(t, second, order...)
	closed(t, s)
	s = open(t, dir)
	defer closed(t, s)
	r := s.repo(t)
	if n := count(t, r, restic.Keys); n != 1 || len(s.told) > 0 {
		t.Errorf("%d keys, told %v", n, s.told)
	}
	repo, err := restic.Open(t.Context(), r, restictest.Password)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := repo.Config(t.Context()); err != nil {
		t.Errorf("config: %v", err)
	}
}

func TestNothingComesBeforeTheConfig(t *testing.T) {
	s := open(t, t.TempDir())
	defer closed(t, s)
	dir := made(t)
	s.send(t, dir, restic.Keys)
	for _, kind := range order[2:] {
		path := files(t, dir, kind)[0]
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.repo(t).Put(t.Context(), "emr-1", kind, filepath.Base(path), -1, bytes.NewReader(b)); fault.Of(err) != fault.Conflict {
			t.Errorf("%s before the config: %v", kind, err)
		}
	}
}

// A clock that is set back does not put later files before earlier ones.
func TestReceiveTimesNeverGoBack(t *testing.T) {
	s := open(t, t.TempDir())
	defer closed(t, s)
	dir := made(t)
	s.send(t, dir, order[:4]...)
	at := s.now
	s.now = at.Add(-30 * time.Minute)
	s.send(t, dir, restic.Snapshots)
	r := s.repo(t)
	if n := count(t, r.AsOf(at), restic.Snapshots); n != 0 { // a view of then has no file more because the clock was set back
		t.Errorf("%d snapshots when only their index was there", n)
	}
	if n := count(t, r.AsOf(r.Last()), restic.Snapshots); n != 1 || r.Last().Before(at) || r.Last().After(at.Add(time.Second)) {
		t.Errorf("%d snapshots as of %s", n, r.Last())
	}
	back := 0
	for _, x := range s.told {
		if strings.Contains(x, "protect.clock-back") {
			back++
		}
	}
	if back != 1 {
		t.Errorf("told: %v", s.told)
	}
}

// The view of an earlier time is a repository that our reader finds sound.
func TestViewsAreSoundAtEveryMoment(t *testing.T) {
	s := open(t, t.TempDir())
	defer closed(t, s)
	s.send(t, made(t), order...)
	r := s.repo(t)
	for at := noon.Add(2 * time.Minute); !at.After(s.now); at = at.Add(time.Minute) {
		view := r.AsOf(at)
		repo, err := restic.Open(t.Context(), view, restictest.Password)
		if err != nil {
			t.Fatal(err)
		}
		report, err := repo.Verify(t.Context(), restic.Options{})
		if err != nil || !report.Sound() {
			t.Errorf("as of %s: %v, %v", at, err, report.Damages)
		}
	}
	if _, err := r.AsOf(noon).Open(t.Context(), restic.ConfigFile, ""); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("config before it came: %v", err)
	}
}

func TestNamesThatLeadAwayAreRefused(t *testing.T) {
	s := open(t, t.TempDir())
	defer closed(t, s)
	for _, agent := range []string{"", "..", "a/b", ".x", "a\x00", strings.Repeat("a", 65)} {
		if _, err := s.Repository(t.Context(), agent); fault.Of(err) != fault.Invalid {
			t.Errorf("agent %q: %v", agent, err)
		}
	}
	s.send(t, made(t), order[:2]...)
	r := s.repo(t)
	for _, name := range []string{"", "../../x", strings.Repeat("A", 64), strings.Repeat("g", 64)} {
		if err := r.Put(t.Context(), "emr-1", restic.Data, name, 4, strings.NewReader("body")); fault.Of(err) != fault.Invalid {
			t.Errorf("name %q: %v", name, err)
		}
	}
	if err := r.Put(t.Context(), "emr-1", "tmp", strings.Repeat("0", 64), 4, strings.NewReader("body")); fault.Of(err) != fault.Invalid {
		t.Errorf("another kind: %v", err)
	}
}
