package backup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sonae/sonae/bus"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
)

// pinned begins the name of the folder, inside the hub's, in which a running
// backup holds what must not change under it.
const pinned = ".backup-"

// place says how a folder of the hub is pinned.
type place struct {
	dir string
	// first are files that change, in the order in which they must be copied:
	// before what they speak of.
	first []string
	// kept are folders whose files never change: they are linked. What is in
	// none of them is copied.
	kept []string
	// loose are folders that can be made again: they are left out.
	loose []string
	// fixed says that no file but the first ever changes.
	fixed bool
}

// temporary ends the names of files that are being written.
const temporary = ".tmp"

// places are the folders that change while the hub runs.
func places() []place {
	return []place{
		{dir: "archive", first: []string{"manifest.jsonl"}, kept: []string{"segments", "history"}, loose: []string{"tail"}},
		{dir: "ledger", first: []string{"checkpoint", ".state/treeState"}, kept: []string{"tile"}},
		{dir: "witness"},
		{dir: "correlate", first: []string{"head"}, loose: []string{".blob"}, fixed: true},
	}
}

// left are the names in the hub's folder that no backup holds: they belong to
// the running process, or are told otherwise, or are the repositories of agents,
// which are copied as what they are.
func left(name string) bool {
	return slices.Contains([]string{"lock", "control.sock", "bus", "state.db", "state.db-wal", "state.db-shm", "repositories"}, name) || strings.HasPrefix(name, pinned)
}

// moment is a hub as it was when a backup began.
type moment struct {
	parts Parts
	dir   string // of the pins
	bus   string // file with what waited on the bus
	rows  *state.Snapshot
}

func (c *moment) close() error {
	var err error
	if c.rows != nil {
		err = c.rows.Close()
	}
	return errors.Join(err, os.RemoveAll(c.dir))
}

// pin takes the moment, in the order that the package comment argues for.
func pin(ctx context.Context, p Parts) (c *moment, err error) {
	c = &moment{parts: p}
	if c.dir, err = os.MkdirTemp(p.Dir, pinned+"*"); err != nil {
		return nil, err
	}
	if err := c.take(ctx); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

func (c *moment) take(ctx context.Context) (err error) {
	for _, hold := range []func() func(){c.parts.HoldArchive, c.parts.HoldLedger, c.parts.HoldCounts} {
		if hold != nil {
			release := hold()
			defer release()
		}
	}
	for _, pl := range places() {
		if err := c.pinFolder(ctx, pl); err != nil {
			return fmt.Errorf("pin %s: %w", pl.dir, err)
		}
	}
	if c.parts.HoldLedger != nil {
		release, err := c.parts.State.HoldRelay(ctx)
		if err != nil {
			return err
		}
		defer release()
	}
	if err := c.readBus(ctx); err != nil {
		return err
	}
	c.rows, err = c.parts.State.Snapshot(ctx)
	return err
}

// patience is how often a folder is pinned anew because it changed meanwhile.
const patience = 100

func (c *moment) pinFolder(ctx context.Context, pl place) error {
	for range patience {
		same, err := c.tryFolder(ctx, pl)
		if err != nil || same {
			return err
		}
		if err := os.RemoveAll(filepath.Join(c.dir, pl.dir)); err != nil {
			return err
		}
	}
	return fault.New(fault.Busy, "backup.restless", pl.dir)
}

// tryFolder pins a folder, and says whether its files that change were the same
// before and after: only then what they speak of was there all the time.
func (c *moment) tryFolder(ctx context.Context, pl place) (same bool, err error) {
	from, to := filepath.Join(c.parts.Dir, pl.dir), filepath.Join(c.dir, pl.dir)
	if err := os.Mkdir(to, 0o700); err != nil {
		return false, err
	}
	for _, name := range pl.first {
		if err := copyFile(filepath.Join(from, name), filepath.Join(to, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	err = filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone since; the comparison below decides
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		switch top, _, _ := strings.Cut(filepath.ToSlash(rel), "/"); {
		case d.IsDir() && slices.Contains(pl.loose, top):
			return fs.SkipDir
		case strings.HasSuffix(rel, temporary):
			return nil
		case !d.Type().IsRegular() || slices.Contains(pl.first, filepath.ToSlash(rel)):
			return nil
		case pl.fixed || slices.Contains(pl.kept, top):
			err = linkFile(path, filepath.Join(to, rel))
		default:
			err = copyFile(path, filepath.Join(to, rel))
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	return sameFiles(from, to, pl.first)
}

func sameFiles(from, to string, names []string) (bool, error) {
	for _, name := range names {
		was, err := os.ReadFile(filepath.Join(to, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		is, err := os.ReadFile(filepath.Join(from, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		if !bytes.Equal(was, is) {
			return false, nil
		}
	}
	return true, nil
}

func linkFile(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	return os.Link(from, to)
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, info.Mode().Perm()|0o400)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// readBus keeps what waits on the bus as JSON lines of state.Message.
func (c *moment) readBus(ctx context.Context) error {
	c.bus = filepath.Join(c.dir, "bus.jsonl")
	f, err := os.OpenFile(c.bus, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(f)
	for _, stream := range append([]string{"dead"}, c.parts.Streams...) {
		err = c.parts.Pending(ctx, stream, func(m bus.Message) error {
			return enc.Encode(state.Message{Subject: m.Subject, ID: m.ID, Body: m.Body, Refused: m.Refused})
		})
		if err != nil {
			break
		}
	}
	return errors.Join(err, f.Close())
}
