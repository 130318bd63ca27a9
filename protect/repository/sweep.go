package repository

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/restic"
)

const (
	// rewriteFrom is the share of a pack, one in so many bytes, from which on that
	// nobody needs it is worth copying the rest.
	rewriteFrom = 4
	// newPack is from which size on the next pack is begun, in bytes.
	newPack = 16 << 20
	// leftover is how old a pack must be that no index names: what an interrupted
	// backup left, which no client finds again.
	leftover = 24 * time.Hour
)

// sweep makes a plan. Views of earlier times must stay what they were: each index
// gets its own successor, which counts as received when the index was, and packs
// that are rewritten together were named by the same index. A blob that lies
// twice is kept twice.
type sweep struct {
	r     *Repository
	now   time.Time
	files map[fileKey]receipt // when it was begun
	repo  *restic.Repository
	keep  []restic.Snapshot
	uses  map[restic.ID]restic.Use
	moved map[restic.ID][]restic.PackBlobs // where the blobs of a rewritten pack lie now
	outs  map[fileKey]bool                 // plan.Out
	plan  *plan
}

func (r *Repository) newSweep(ctx context.Context, decision string, goes []string) (*sweep, error) {
	s := &sweep{r: r, now: r.s.c.Now(), files: map[fileKey]receipt{}, uses: map[restic.ID]restic.Use{}, moved: map[restic.ID][]restic.PackBlobs{}, outs: map[fileKey]bool{}, plan: &plan{Decision: decision}}
	r.mu.Lock()
	for k, rec := range r.received {
		s.files[k] = rec
	}
	r.mu.Unlock()
	var err error
	if s.repo, err = r.view(time.Time{}).Reader(ctx); err != nil {
		return nil, err
	}
	if err := s.repo.Load(ctx); err != nil {
		return nil, err
	}
	all, err := s.repo.Snapshots(ctx)
	if err != nil {
		return nil, err
	}
	for _, one := range all {
		id := one.ID.String()
		if !slices.Contains(goes, id) {
			s.keep = append(s.keep, one)
			continue
		}
		s.out(restic.Snapshots, id)
		s.plan.Snapshots = append(s.plan.Snapshots, Gone{Snapshot: id, Received: s.files[fileKey{restic.Snapshots, id}].at, Decision: decision})
	}
	if len(s.plan.Snapshots) == 0 {
		return nil, fault.New(fault.Conflict, "protect.nothing-goes")
	}
	s.plan.Did.Snapshots = len(s.plan.Snapshots)
	uses, err := s.repo.Uses(ctx, s.keep...)
	for _, u := range uses {
		s.uses[u.Pack] = u
	}
	return s, err
}

// out takes a file out.
func (s *sweep) out(kind restic.Kind, name string) {
	rec := s.files[fileKey{kind, name}]
	s.outs[fileKey{kind, name}] = true
	s.plan.Out = append(s.plan.Out, file{kind, name, rec.size, rec.at})
	s.plan.Did.Freed += rec.size
}

// in puts a file in, which lies in the folder of the plan.
func (s *sweep) in(kind restic.Kind, name string, size int64, at time.Time) {
	s.plan.In = append(s.plan.In, file{kind, name, size, at})
	s.plan.Did.Freed -= size
}

// fate of a pack.
type fate int

const (
	whole fate = iota
	goes
	rewritten
)

func (s *sweep) fate(pack restic.ID) fate {
	u := s.uses[pack]
	switch {
	case len(u.Blobs) == 0:
		return goes
	case (u.Total-u.Bytes)*rewriteFrom >= u.Total:
		return rewritten
	}
	return whole
}

// indexes makes the successors of all indexes, the oldest first, and the packs
// that they name.
func (s *sweep) indexes(ctx context.Context) error {
	var names []string
	for k := range s.files {
		if k.kind == restic.Index {
			names = append(names, k.name)
		}
	}
	at := func(name string) time.Time { return s.files[fileKey{restic.Index, name}].at }
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(at(a).Compare(at(b)), strings.Compare(a, b)) })
	for _, name := range names {
		packs, err := s.read(ctx, name)
		if err == nil {
			err = s.index(ctx, name, at(name), packs)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", restic.Index.Path(name), err)
		}
	}
	return nil
}

func (s *sweep) read(ctx context.Context, name string) (packs []restic.PackBlobs, err error) {
	f, err := s.r.Open(ctx, restic.Index, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw := make([]byte, f.Size())
	if _, err := f.ReadAt(raw, 0); err != nil {
		return nil, err
	}
	_, err = s.repo.Key().Index(raw, func(p restic.PackBlobs) error { packs = append(packs, p); return nil })
	return packs, err
}

// index makes the successor of one index, if anything that it names changes.
func (s *sweep) index(ctx context.Context, name string, at time.Time, packs []restic.PackBlobs) error {
	var stay []restic.PackBlobs
	var again []restic.ID
	named := map[restic.ID]bool{}
	for _, p := range packs {
		switch s.fate(p.Pack) {
		case whole:
			stay = append(stay, p)
		case rewritten:
			if s.moved[p.Pack] == nil {
				again = append(again, p.Pack)
			}
		case goes:
			if !s.outs[fileKey{restic.Data, p.Pack.String()}] {
				s.out(restic.Data, p.Pack.String())
				s.plan.Did.Packs++
			}
		}
	}
	if len(stay) == len(packs) {
		return nil
	}
	if err := s.rewrite(ctx, again); err != nil {
		return err
	}
	for _, p := range packs {
		for _, to := range s.moved[p.Pack] {
			if !named[to.Pack] {
				named[to.Pack] = true
				stay = append(stay, to)
			}
		}
	}
	s.out(restic.Index, name)
	if len(stay) == 0 {
		return nil
	}
	raw, err := s.repo.Key().SealIndex(stay)
	if err != nil {
		return err
	}
	id := restic.Sum(raw).String()
	s.in(restic.Index, id, int64(len(raw)), at)
	return writeSynced(s.r.prunedPath(s.plan.Decision, newDir, string(restic.Index), id), raw)
}

// rewrite copies what is needed of some packs into new ones: folders apart from
// contents, as restic keeps them.
func (s *sweep) rewrite(ctx context.Context, packs []restic.ID) error {
	for _, kind := range []restic.BlobKind{restic.TreeBlob, restic.DataBlob} {
		w := &writer{s: s}
		for _, pack := range packs {
			for _, b := range s.uses[pack].Blobs {
				if b.Kind != kind {
					continue
				}
				if err := w.add(ctx, pack, b); err != nil {
					w.drop()
					return err
				}
			}
		}
		if err := w.end(); err != nil {
			return err
		}
	}
	for _, pack := range packs {
		s.out(restic.Data, pack.String())
		s.plan.Did.Rewritten++
	}
	return nil
}

// writer writes new packs one after the other.
type writer struct {
	s    *sweep
	file *os.File // nil: none was begun
	pack *restic.PackWriter
	from []restic.ID // packs of which it holds blobs
}

func (w *writer) add(ctx context.Context, pack restic.ID, b restic.Blob) error {
	if w.file != nil && w.pack.Size()+int64(b.Length) > newPack {
		if err := w.end(); err != nil {
			return err
		}
	}
	if w.file == nil {
		err := w.s.r.s.mayRewrite(max(newPack, int64(b.Length)))
		if err != nil {
			return err
		}
		if w.file, err = os.CreateTemp(w.s.r.prunedPath(w.s.plan.Decision, newDir), "pack-*"); err != nil {
			return err
		}
		w.pack = w.s.repo.NewPack(w.file)
	}
	if !slices.Contains(w.from, pack) {
		w.from = append(w.from, pack)
	}
	return w.pack.Add(ctx, pack, b)
}

// end gives the pack its name, durably.
func (w *writer) end() error {
	if w.file == nil {
		return nil
	}
	made, err := w.pack.Close()
	if err == nil {
		err = w.file.Chmod(0o400)
	}
	if err == nil {
		err = w.file.Sync()
	}
	info, statErr := w.file.Stat()
	if err == nil {
		err = statErr
	}
	if err != nil {
		w.drop()
		return err
	}
	if err := w.file.Close(); err != nil {
		return err
	}
	name := made.Pack.String()
	to := w.s.r.prunedPath(w.s.plan.Decision, newDir, filepath.FromSlash(restic.Data.Path(name)))
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	if err := os.Rename(w.file.Name(), to); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(to)); err != nil {
		return err
	}
	var at time.Time
	for _, pack := range w.from {
		if rec := w.s.files[fileKey{restic.Data, pack.String()}]; rec.at.After(at) {
			at = rec.at
		}
		w.s.moved[pack] = append(w.s.moved[pack], made)
	}
	w.s.in(restic.Data, name, info.Size(), at)
	w.file, w.pack, w.from = nil, nil, nil
	return nil
}

// drop frees what was begun; its folder is removed with the plan.
func (w *writer) drop() {
	if w.file != nil {
		_ = w.file.Close()
		w.file = nil
	}
}

// leftovers takes out packs that no index names.
func (s *sweep) leftovers() {
	for k, rec := range s.files {
		id, err := restic.ParseID(k.name)
		if err != nil || k.kind != restic.Data {
			continue
		}
		if _, named := s.uses[id]; !named && s.now.Sub(rec.at) > leftover {
			s.out(restic.Data, k.name)
			s.plan.Did.Packs++
		}
	}
}

// verify reads what will be there: nothing of what stays is missing, all that was
// written is what it should be, and nothing else is damaged.
func (s *sweep) verify(ctx context.Context) error {
	dir, err := restic.OpenFolder(s.r.prunedPath(s.plan.Decision, newDir))
	if err != nil {
		return err
	}
	defer dir.Close()
	a := &after{Repository: s.r, new: dir, in: map[fileKey]file{}, out: s.outs}
	for _, f := range s.plan.In {
		a.in[f.key()] = f
	}
	return wholeWith(ctx, restic.OpenWith(a, s.repo.Key()), s.plan.made())
}

// after is the repository as it will be once a plan was carried out.
type after struct {
	*Repository
	new *restic.Folder
	in  map[fileKey]file
	out map[fileKey]bool
}

// List tells of the files of a kind.
func (a *after) List(ctx context.Context, kind restic.Kind, each func(string, int64) error) error {
	for k, f := range a.in {
		if k.kind == kind {
			if err := each(k.name, f.Size); err != nil {
				return err
			}
		}
	}
	return a.Repository.List(ctx, kind, func(name string, size int64) error {
		if a.out[fileKey{kind, name}] {
			return nil
		}
		return each(name, size)
	})
}

// Open opens a file.
func (a *after) Open(ctx context.Context, kind restic.Kind, name string) (restic.File, error) {
	if _, ok := a.in[fileKey{kind, name}]; ok {
		return a.new.Open(ctx, kind, name)
	}
	if a.out[fileKey{kind, name}] {
		return nil, fmt.Errorf("%s: %w", kind.Path(name), os.ErrNotExist)
	}
	return a.Repository.Open(ctx, kind, name)
}
