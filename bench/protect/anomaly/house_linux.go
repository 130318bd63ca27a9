package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	mrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/bench/guard/proof"
	"github.com/sonae/sonae/bench/guard/tally"
	"github.com/sonae/sonae/protect/anomaly"
	"github.com/sonae/sonae/protect/restic"
	"github.com/sonae/sonae/protect/restic/restictest"
	"github.com/sonae/sonae/state"
)

// house is one machine whose folders are backed up every day.
type house struct {
	w     *world
	name  string
	dir   string // its repository, state and volume lie in it
	root  string // what is backed up
	token string // that permits the simulator to destroy it
	day   time.Time
	rnd   *mrand.Rand
	desk  *anomaly.Desk
	db    *state.DB
	key   *restic.Key
	turns map[string]int // how often something was done, for versions of packages
}

// size says how many files a house has.
type size struct {
	folders, each int // of a department
	real          int // of this machine's own files
	packages      bool
	database      bool
}

// build makes a house and its first backup.
func (w *world) build(ctx context.Context, name string, s size, seed uint64) (*house, error) {
	h := &house{w: w, name: name, dir: filepath.Join(w.dir, name), day: time.Date(2026, 4, 6, 13, 0, 0, 0, time.UTC), // a Monday, 22:00 in Japan
		rnd: mrand.New(mrand.NewPCG(seed, 8)), turns: map[string]int{}}
	if err := os.MkdirAll(h.dir, 0o755); err != nil {
		return nil, err
	}
	tree, err := proof.Plant(&proof.Volume{Dir: h.dir}, s.folders, s.each, seed)
	if err != nil {
		return nil, err
	}
	h.root, h.token = tree.Dir, tree.Token
	for _, step := range []func() error{
		func() error { return h.furnish(s.real) },
		func() error { return h.logs() },
		func() error { return h.photos(30) },
		func() error {
			if !s.packages {
				return nil
			}
			return errors.Join(h.upgrade(), h.upgrade(), h.upgrade())
		},
		func() error {
			if !s.database {
				return nil
			}
			return errors.Join(w.pg.sql(ctx, newTable), h.database(ctx))
		},
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	if _, err := h.restic(ctx, "init"); err != nil {
		return nil, err
	}
	if err := restictest.QuickKey(filepath.Join(h.dir, "repository"), password); err != nil {
		return nil, err
	}
	if err := h.open(ctx); err != nil {
		return nil, err
	}
	_, err = h.backup(ctx)
	return h, err
}

// furnish copies some of this machine's own files.
func (h *house) furnish(n int) error {
	some := slices.Clone(h.w.real)
	h.rnd.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
	for i, from := range some[:min(n, len(some))] {
		if err := copyFile(from, filepath.Join(h.root, "real", fmt.Sprintf("%02d", i%17), filepath.Base(from))); err != nil {
			return err
		}
	}
	return nil
}

// open opens state and desk.
func (h *house) open(ctx context.Context) (err error) {
	if h.db, err = state.Open(ctx, filepath.Join(h.dir, "state.db"), h.w.log); err != nil {
		return err
	}
	h.desk = anomaly.New(h.db, anomaly.Deps{Source: h, Now: func() time.Time { return h.day }, Log: h.w.log})
	return nil
}

func (h *house) close() error { return errors.Join(h.db.Close(), os.RemoveAll(h.dir)) }

// clone copies a house as it is.
func (h *house) clone(ctx context.Context, name string) (*house, error) {
	c := *h
	c.name, c.dir = h.name, filepath.Join(h.w.dir, name) // the same machine, as its snapshots say
	c.root = filepath.Join(c.dir, "share")
	c.turns = maps.Clone(h.turns)
	c.rnd = mrand.New(mrand.NewPCG(h.rnd.Uint64(), 9))
	if err := h.db.Close(); err != nil {
		return nil, err
	}
	if out, err := exec.Command("cp", "-a", h.dir, c.dir).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("copy a house: %w: %s", err, out)
	}
	if err := h.open(ctx); err != nil {
		return nil, err
	}
	return &c, c.open(ctx)
}

// restic calls the real program.
func (h *house) restic(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "restic", append([]string{"-r", filepath.Join(h.dir, "repository"), "--no-cache", "-q"}, args...)...)
	// A copy of a house is the same machine: its folder has the same path.
	current := filepath.Join(h.w.dir, "current")
	if err := errors.Join(os.RemoveAll(current), os.Symlink(h.dir, current)); err != nil {
		return nil, err
	}
	cmd.Env = append(os.Environ(), "RESTIC_PASSWORD="+password, "GOMAXPROCS=2", "GOGC=400", "PWD="+current)
	cmd.Dir = current
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("restic %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return out, nil
}

const password = "of a house in a bench"

// backup backs up, scores, and ends the day.
func (h *house) backup(ctx context.Context) (anomaly.Snapshot, error) {
	_, err := h.restic(ctx, "backup", "--host", h.name, "--time", h.day.Format(time.DateTime), "share")
	if err != nil {
		return anomaly.Snapshot{}, err
	}
	h.day = h.day.Add(24 * time.Hour)
	if err := h.desk.Scan(ctx, anomaly.Repository{ID: h.name, Site: "hospital", Host: h.name}); err != nil {
		return anomaly.Snapshot{}, err
	}
	all, err := h.desk.List(ctx, "")
	if err != nil || len(all) != 1 {
		return anomaly.Snapshot{}, fmt.Errorf("%d series of one machine: %w", len(all), err)
	}
	return h.desk.Snapshot(ctx, all[0].ID, all[0].Last)
}

// Repositories, Open and Facts make a house the source of its desk.
func (h *house) Repositories(context.Context) ([]anomaly.Repository, error) {
	return []anomaly.Repository{{ID: h.name, Site: "hospital", Host: h.name}}, nil
}

// Open opens the repository; its key is derived once.
func (h *house) Open(ctx context.Context, _ string) (*restic.Repository, func() error, error) {
	f, err := restic.OpenFolder(filepath.Join(h.dir, "repository"))
	if err != nil {
		return nil, nil, err
	}
	if h.key == nil {
		r, err := restic.Open(ctx, f, password)
		if err != nil {
			return nil, nil, errors.Join(err, f.Close())
		}
		h.key = r.Key()
	}
	r := restic.OpenWith(f, h.key)
	if err := r.Load(ctx); err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return r, f.Close, nil
}

// Facts are none: snapshots came when the machine says that they were made.
func (h *house) Facts(context.Context, string) (func(string) anomaly.Facts, error) {
	return func(string) anomaly.Facts { return anomaly.Facts{} }, nil
}

// files lists the plain files of the house below a folder, as paths below root.
func (h *house) files(below string) ([]string, error) {
	var all []string
	err := filepath.WalkDir(filepath.Join(h.root, below), func(at string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && d.Type().IsRegular() && !strings.HasPrefix(d.Name(), ".encsim") {
			rel, _ := filepath.Rel(h.root, at)
			all = append(all, rel)
		}
		return err
	})
	return all, err
}

// attack lets the simulator encrypt a share of all files.
func (h *house) attack(ctx context.Context, shape proof.Shape, share float64) (int, error) {
	all, err := h.files(".")
	if err != nil {
		return 0, err
	}
	all = slices.DeleteFunc(all, func(name string) bool {
		return strings.HasSuffix(name, ".locked") || strings.HasSuffix(name, "README_TO_RESTORE.txt")
	})
	h.rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	n := max(1, int(share*float64(len(all))+0.999))
	page := filepath.Join(h.dir, "tally-"+rand.Text()[:6])
	p, err := tally.Create(page)
	if err != nil {
		return 0, err
	}
	defer os.Remove(page)
	defer p.Close()
	args := append([]string{"-dir", h.root, "-token", h.token, "-tally", page, "-seed", fmt.Sprint(h.rnd.Uint32())}, shape.Args...)
	if out, err := exec.CommandContext(ctx, h.w.encsim, append(args, all[:n]...)...).CombinedOutput(); err != nil {
		return 0, fmt.Errorf("simulator: %w: %s", err, out)
	}
	return n, nil
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return write(to, b)
}

func write(to string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o644)
}

// world is what all houses share.
type world struct {
	dir    string
	encsim string
	real   []string            // files of this machine
	spare  map[string][]string // files of a department by ending, to put in the place of others
	debs   map[string][]string // unpacked versions of packages
	pg     *server
	log    *slog.Logger
}
