package repository_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sonae/sonae/protect/repository"
	"github.com/sonae/sonae/protect/restic"
	"github.com/sonae/sonae/protect/restic/restictest"
)

// The hub makes a repository once, however many ask for it, and whatever ended
// half of it before; one that a client has made is left as it is.
func TestTheHubBeginsARepositoryOnce(t *testing.T) {
	s := open(t, t.TempDir())
	defer closed(t, s)
	r := s.repo(t)
	begin := func() {
		t.Helper()
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if err := r.Begin(t.Context(), "hub"); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := count(t, r, restic.Keys); n != 1 || !r.Begun() {
			t.Fatalf("%d keys, begun: %v", n, r.Begun())
		}
	}
	half, _, err := restic.Begin(restictest.Password, "hub", s.now) // the power fails before its config
	if err == nil {
		err = r.Put(t.Context(), "hub", restic.Keys, restic.Sum(half).String(), -1, bytes.NewReader(half))
	}
	if err != nil {
		t.Fatal(err)
	}
	begin()
	lines, head := r.Head()
	begin()
	if l, h := r.Head(); l != lines || h != head || len(s.told) > 0 {
		t.Errorf("begun again: %d lines instead of %d, told %v", l, lines, s.told)
	}

	src := t.TempDir()
	restictest.Small(t, src, 5)
	p := restictest.Newest(t).At(r.Folder())
	p.Run(t, "backup", src)
	p.Run(t, "check", "--read-data")
}

func TestARepositoryOfAClientIsLeftAsItIs(t *testing.T) {
	s := open(t, t.TempDir())
	defer closed(t, s)
	s.send(t, made(t), order...)
	lines, _ := s.repo(t).Head()
	if err := s.repo(t).Begin(t.Context(), "hub"); err != nil {
		t.Fatal(err)
	}
	if l, _ := s.repo(t).Head(); l != lines {
		t.Errorf("%d lines instead of %d", l, lines)
	}
}

// Where nothing is taken, nothing is begun, and nobody is accused of it.
func TestNothingIsBegunBehindACut(t *testing.T) {
	told := 0
	s, err := repository.New(repository.Config{Dir: t.TempDir(), Now: time.Now, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Refused: func(repository.Refusal) { told++ },
		Agent: func(context.Context, string) (repository.Agent, error) {
			return repository.Agent{Passwords: []string{restictest.Password}, Cut: true}, nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, err := s.Repository(t.Context(), "emr-1")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Begin(t.Context(), "hub"); err == nil || r.Begun() || told > 0 {
		t.Errorf("%v, begun: %v, told %d times", err, r.Begun(), told)
	}
	if left, err := os.ReadDir(filepath.Join(r.Folder(), "keys")); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
}
