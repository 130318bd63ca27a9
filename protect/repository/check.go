package repository

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/restic"
)

// check decrypts a file that lies beside and asks whether it makes sense.
func (r *Repository) check(ctx context.Context, who string, kind restic.Kind, name, part string, size int64) error {
	if kind == restic.Data {
		return r.checkPack(ctx, part, size)
	}
	raw, err := os.ReadFile(part)
	if err != nil {
		return err
	}
	switch kind {
	case restic.Keys:
		return r.checkKey(ctx, name, raw)
	case restic.ConfigFile:
		return r.checkConfig(ctx, raw)
	case restic.Index:
		return r.checkIndex(ctx, raw)
	case restic.Snapshots:
		return r.checkSnapshot(ctx, who, name, raw)
	}
	return fault.New(fault.Invalid, "protect.name").With(fmt.Errorf("kind %.20q", kind))
}

func junk(err error) error { return fault.New(fault.Invalid, "protect.junk").With(err) }

// master returns the master key; it is unsealed once.
func (r *Repository) master(ctx context.Context) (*restic.Key, error) {
	r.mu.Lock()
	if _, ok := r.received[fileKey{restic.Keys, r.opened.name}]; r.key == nil && ok {
		r.key = r.opened.key
	}
	key, passwords := r.key, slices.Clone(r.known.Passwords)
	r.mu.Unlock()
	if key != nil {
		return key, nil
	}
	r.s.keys.Lock()
	defer r.s.keys.Unlock()
	for _, password := range passwords {
		repo, err := restic.Open(ctx, r, password)
		if errors.Is(err, restic.ErrPassword) {
			continue
		}
		if errors.Is(err, restic.ErrNotRepository) {
			return nil, fault.New(fault.Conflict, "protect.no-key")
		}
		if err != nil {
			return nil, err
		}
		r.mu.Lock()
		r.key = repo.Key()
		r.mu.Unlock()
		return repo.Key(), nil
	}
	return nil, fault.New(fault.Conflict, "protect.no-key")
}

// checkKey lets in keys that the escrow can open, of this repository: else a
// thief could add one that is tried for ever, or that only he can open.
func (r *Repository) checkKey(ctx context.Context, name string, raw []byte) error {
	f, err := restic.ParseKeyFile(raw)
	if err != nil {
		return junk(err)
	}
	r.mu.Lock()
	passwords, count := slices.Clone(r.known.Passwords), 0
	for k := range r.received {
		if k.kind == restic.Keys {
			count++
		}
	}
	r.mu.Unlock()
	if count >= maxKeys {
		return fault.New(fault.Denied, "protect.key").With(fmt.Errorf("there are %d keys already", count))
	}
	key, err := r.unseal(f, passwords)
	if err != nil {
		return err
	}
	config, err := r.Open(ctx, restic.ConfigFile, "")
	if err != nil { // it is a new repository, whose config must then fit to this key
		r.mu.Lock()
		defer r.mu.Unlock()
		r.opened = opened{name, key}
		return nil
	}
	defer config.Close()
	text := make([]byte, config.Size())
	if _, err := config.ReadAt(text, 0); err != nil {
		return err
	}
	if _, err := key.Config(text); err != nil {
		return fault.New(fault.Denied, "protect.key").With(fmt.Errorf("it is another repository's: %w", err))
	}
	return nil
}

func (r *Repository) unseal(f *restic.KeyFile, passwords []string) (*restic.Key, error) {
	r.s.keys.Lock()
	defer r.s.keys.Unlock()
	for _, password := range passwords {
		key, err := f.Open(password)
		if err == nil {
			return key, nil
		}
		if !errors.Is(err, restic.ErrPassword) {
			return nil, junk(err)
		}
	}
	return nil, fault.New(fault.Denied, "protect.key").With(restic.ErrPassword)
}

func (r *Repository) checkConfig(ctx context.Context, raw []byte) error {
	key, err := r.master(ctx)
	if err != nil {
		return err
	}
	if _, err := key.Config(raw); err != nil {
		return junk(err)
	}
	return nil
}

// checkPack reads the pack's own table. Whether each blob is what the table
// says is for restic.Verify to find soon after, which reads everything: a later
// backup would build on a blob that is not what its id says.
func (r *Repository) checkPack(ctx context.Context, part string, size int64) error {
	key, err := r.master(ctx)
	if err != nil {
		return err
	}
	f, err := os.Open(part)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, _, err := key.Header(f, size); err != nil {
		return junk(err)
	}
	return nil
}

// checkIndex lets in indexes that say of packs which are here what these say
// of themselves: else a thief who has the key could lead every client astray.
func (r *Repository) checkIndex(ctx context.Context, raw []byte) error {
	key, err := r.master(ctx)
	if err != nil {
		return err
	}
	replaces, err := key.Index(raw, func(p restic.PackBlobs) error {
		f, err := r.Open(ctx, restic.Data, p.Pack.String())
		if err != nil {
			return fmt.Errorf("pack %s was not received: %w", p.Pack, err)
		}
		defer f.Close()
		blobs, _, err := key.Header(f, f.Size())
		if err != nil {
			return fmt.Errorf("pack %s: %w", p.Pack, err)
		}
		return sameBlobs(p, blobs)
	})
	if err == nil && len(replaces) > 0 {
		err = errors.New("it replaces other indexes, which nobody may remove here")
	}
	if err != nil {
		return junk(err)
	}
	return nil
}

func sameBlobs(p restic.PackBlobs, header []restic.Blob) error {
	known := make(map[restic.Blob]bool, len(header))
	for _, b := range header {
		known[b] = true
	}
	for _, b := range p.Blobs {
		if !known[b] {
			return fmt.Errorf("pack %s has no %s blob %s at %d", p.Pack, b.Kind, b.ID, b.Offset)
		}
	}
	return nil
}

// checkSnapshot compares a snapshot with what the hub knows. A time in the
// future would outlive all real snapshots where the newest are kept.
func (r *Repository) checkSnapshot(ctx context.Context, who, name string, raw []byte) error {
	key, err := r.master(ctx)
	if err != nil {
		return err
	}
	s, err := key.Snapshot(raw)
	if err != nil {
		return junk(err)
	}
	now := r.s.c.Now()
	r.mu.Lock()
	hosts := slices.Clone(r.known.Hostnames)
	began := r.began(who, now)
	whole := r.mustBeWhole(who, now)
	r.mu.Unlock()
	if len(hosts) > 0 && !slices.Contains(hosts, s.Hostname) {
		return fault.New(fault.Denied, "protect.snapshot").With(fmt.Errorf("host %.80q is none of %q", s.Hostname, hosts))
	}
	if ahead := s.Time.Sub(now); ahead > r.s.c.Skew { // after the name: a wrong clock excuses no other one
		return fault.New(fault.Denied, "protect.snapshot-time").With(Skewed{s.Time, ahead})
	}
	if err := r.checkTree(ctx, key, s, whole); err != nil {
		return junk(err)
	}
	if s.Time.Before(began.Add(-r.s.c.Skew)) { // a clock that is behind must not cost a backup: let in, and told
		r.refused(who, restic.Snapshots, name, fault.New("", "protect.snapshot-old").With(Skewed{s.Time, s.Time.Sub(began)}))
	}
	return nil
}

// Skewed is why the time of a snapshot cannot be: one of the two clocks is wrong.
type Skewed struct {
	Time  time.Time     // of the snapshot, by the clock of its machine
	Ahead time.Duration // of the hub's clock then; negative: behind
}

// Error says by how much.
func (s Skewed) Error() string {
	if s.Ahead < 0 {
		return fmt.Sprintf("let in; its time %s lies %s before the backup began by the hub's clock", s.Time.Format(time.RFC3339), -s.Ahead.Round(time.Second))
	}
	return fmt.Sprintf("its time %s is %s ahead of the hub's clock", s.Time.Format(time.RFC3339), s.Ahead.Round(time.Second))
}

// checkTree reads the snapshot's first tree, which proves that its pack and
// index came before it; or all trees, where the client may have built on what was
// pruned since it began.
func (r *Repository) checkTree(ctx context.Context, key *restic.Key, s restic.Snapshot, whole bool) error {
	if whole {
		repo := restic.OpenWith(r, key)
		if err := repo.Load(ctx); err != nil {
			return err
		}
		return repo.Complete(ctx, s)
	}
	return r.hasTree(ctx, key, *s.Tree)
}

// hasTree looks for a tree in the newest index first: only a snapshot in which
// nothing changed has an older one, and there may be many.
func (r *Repository) hasTree(ctx context.Context, key *restic.Key, tree restic.ID) error {
	for _, name := range r.newest(restic.Index) {
		repo := restic.OpenWith(only{r, name}, key)
		if err := repo.Load(ctx); err != nil {
			return err
		}
		if _, err := repo.Blob(ctx, restic.TreeBlob, tree, nil); !errors.Is(err, restic.ErrMissing) {
			return err
		}
	}
	return fmt.Errorf("tree %s: %w", tree, restic.ErrMissing)
}

// newest lists files of a kind, the newest first.
func (r *Repository) newest(kind restic.Kind) []string {
	var names []string
	for _, x := range slices.Backward(r.Receipts()) {
		if x.Kind == kind {
			names = append(names, x.Name)
		}
	}
	return names
}

// only is a repository with one of its indexes.
type only struct {
	*Repository
	index string
}

// List tells of that index, and of all files of other kinds.
func (o only) List(ctx context.Context, kind restic.Kind, each func(name string, size int64) error) error {
	return o.Repository.List(ctx, kind, func(name string, size int64) error {
		if kind == restic.Index && name != o.index {
			return nil
		}
		return each(name, size)
	})
}
