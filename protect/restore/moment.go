package restore

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/protect/restic"
)

// lead finds the WAL that leads from the base backup of a request to its moment:
// the oldest of the same machine that reaches so far, in the same view of the
// repository, which holds the least of what came later.
func (d *Desk) lead(ctx context.Context, n *NewRequest) error {
	if n.Load == nil || n.Load.Moment.IsZero() {
		return nil // a folder of WAL without a moment is refused with the job
	}
	l := *n.Load
	l.Moment = l.Moment.UTC().Truncate(time.Microsecond) // PostgreSQL takes no more digits
	if l.Kind != job.PostgreSQLBase || len(n.Paths) != 1 {
		return fault.New(fault.Invalid, "protect.restore.moment-base")
	}
	b, err := d.base(ctx, n.From, n.Paths[0])
	if err != nil {
		return err
	}
	if !l.Moment.After(b.ended) {
		return fault.New(fault.Invalid, "protect.restore.moment-early", shownTime(b.ended))
	}
	folder := ""
	if l.WAL != nil {
		folder = l.WAL.Path
	}
	if l.WAL, err = d.wal(ctx, n.From, b, l.Moment, folder); err != nil {
		return err
	}
	n.Load = &l
	return nil
}

func shownTime(at time.Time) string { return at.In(clock.Tokyo()).Format("2006-01-02 15:04:05") }

// base is what a base backup says of itself.
type base struct {
	begins string    // file of WAL with which recovery begins
	ended  time.Time // a moment before it cannot be had
}

// Files at the begin and at the end of the tar that pg_basebackup writes.
const (
	labelFile    = "backup_label"
	manifestFile = "backup_manifest"
	maxLabel     = 64 << 10
	maxManifest  = 256 << 20 // about a million files
)

var begins = regexp.MustCompile(`(?m)^START WAL LOCATION: .* \(file ([0-9A-F]{24})\)$`)

// base reads the begin and the end of a base backup, not what lies between.
func (d *Desk) base(ctx context.Context, w Where, at string) (base, error) {
	none := func(err error) (base, error) {
		return base{}, fault.New(fault.Invalid, "protect.restore.moment-base").With(err)
	}
	repo, root, err := d.tree(ctx, w)
	if err != nil {
		return base{}, err
	}
	n, _, err := find(ctx, repo, root, at)
	switch {
	case err != nil:
		return base{}, err
	case n == nil || n.Type != "file":
		return none(fmt.Errorf("%.200q is no file", at))
	}
	head := &first{most: maxLabel}
	if err := repo.Content(ctx, n, head); err != nil && !errors.Is(err, errFound) {
		return base{}, fmt.Errorf("read the begin of %s: %w", at, err)
	}
	in, _, err := member(head.b.Bytes(), labelFile)
	if err != nil {
		return none(err)
	}
	label, err := io.ReadAll(in)
	if err != nil {
		return none(err)
	}
	begin := begins.FindSubmatch(label)
	if begin == nil {
		return none(errors.New("it does not say with which WAL it begins"))
	}
	tail, err := end(ctx, repo, n)
	if err != nil {
		return base{}, fmt.Errorf("read the end of %s: %w", at, err)
	}
	in, written, err := member(tail, manifestFile)
	if err != nil {
		return none(err)
	}
	if _, err := io.Copy(io.Discard, in); err != nil { // it breaks off
		return none(err)
	}
	return base{string(begin[1]), written.Add(time.Second)}, nil // it tells no fractions
}

// first keeps the first bytes that are written.
type first struct {
	b    bytes.Buffer
	most int
}

func (f *first) Write(p []byte) (int, error) {
	f.b.Write(p[:min(len(p), f.most-f.b.Len())])
	if f.b.Len() == f.most {
		return 0, errFound
	}
	return len(p), nil
}

// member is the file with which a part of a tar begins, and when it was written.
func member(part []byte, name string) (content io.Reader, written time.Time, err error) {
	r := tar.NewReader(bytes.NewReader(part))
	h, err := r.Next()
	switch {
	case err != nil:
		return nil, written, fmt.Errorf("it is no base backup: %w", err)
	case h.Name != name:
		return nil, written, fmt.Errorf("it is no base backup: %.40q is where %s belongs", h.Name, name)
	}
	return r, h.ModTime, nil
}

// end is a tar from its manifest on. It is read from its last piece back.
func end(ctx context.Context, repo *restic.Repository, n *restic.Node) (tail []byte, err error) {
	const block = 512 // of a tar: what it holds begins with one
	for _, id := range slices.Backward(n.Content) {
		piece, err := repo.Blob(ctx, restic.DataBlob, id, nil)
		if err != nil {
			return nil, err
		}
		tail = append(slices.Clip(piece), tail...)
		begin := int(n.Size) - len(tail)
		for at := (block - begin%block) % block; at+block <= len(tail); at += block {
			if bytes.HasPrefix(tail[at:], []byte(manifestFile+"\x00")) {
				return tail[at:], nil
			}
		}
		if len(tail) > maxManifest {
			break
		}
	}
	return tail, ctx.Err()
}

// trail looks for WAL that follows a base backup.
type trail struct {
	*Desk
	from   Where
	base   base
	moment time.Time
	misses map[string]int // by folder
}

// maxMisses is after how many snapshots a folder is taken for one without WAL: one
// of them may be damaged, and machines have many.
const maxMisses = 3

// wal finds gathered WAL that leads from a base backup to a moment. A folder says
// in which one; without, there must be one only.
func (d *Desk) wal(ctx context.Context, w Where, b base, moment time.Time, folder string) (*job.WAL, error) {
	all, err := d.snapshots(ctx, w.Agent, w.AsOf)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(s Snapshot) bool { return len(s.Paths) != 1 || folder != "" && s.Paths[0] != folder })
	t := &trail{d, w, b, moment, map[string]int{}}
	found, err := t.follow(ctx, all)
	switch {
	case err != nil:
		return nil, err
	case len(found) == 1:
		return &found[0], nil
	case len(found) == 0:
		return nil, t.short(ctx, all)
	}
	var paths []string
	for _, wal := range found {
		paths = append(paths, wal.Path)
	}
	return nil, fault.New(fault.Invalid, "protect.restore.wal-several", strings.Join(paths, " "))
}

// follow finds of each folder the oldest snapshot that reaches the moment.
func (t *trail) follow(ctx context.Context, newestFirst []Snapshot) (found []job.WAL, err error) {
	for _, s := range slices.Backward(newestFirst) {
		at := s.Paths[0]
		if s.Time.Before(t.moment) || slices.ContainsFunc(found, func(w job.WAL) bool { return w.Path == at }) {
			continue
		}
		reaches, err := t.reaches(ctx, s)
		if err != nil {
			return nil, err
		}
		if !reaches.Before(t.moment) {
			found = append(found, job.WAL{Snapshot: s.ID, Path: at})
		}
	}
	return found, nil
}

// short says why no WAL reaches far enough.
func (t *trail) short(ctx context.Context, newestFirst []Snapshot) error {
	clear(t.misses) // what followed the moment may be another slot's
	for _, s := range newestFirst {
		reaches, err := t.reaches(ctx, s)
		if err != nil {
			return err
		}
		if !reaches.IsZero() {
			return fault.New(fault.Invalid, "protect.restore.moment-late", shownTime(reaches))
		}
	}
	return fault.New(fault.Invalid, "protect.restore.wal-none")
}

// reaches says until when the folder of a snapshot holds the WAL that follows the
// base backup; zero where it does not hold it. Agents used not to write it down:
// then it is the time of the snapshot, which is a little later.
func (t *trail) reaches(ctx context.Context, s Snapshot) (at time.Time, err error) {
	if t.misses[s.Paths[0]] >= maxMisses {
		return at, nil
	}
	repo, folder, err := t.folder(ctx, s)
	if err != nil {
		return at, err
	}
	note, holds := folder[job.WALReaches]
	if folder[t.base.begins] == nil && folder[t.base.begins+".partial"] == nil {
		t.misses[s.Paths[0]]++
		return at, nil
	}
	if !holds {
		return s.Time, nil
	}
	said := &first{most: maxLabel}
	if err := repo.Content(ctx, note, said); err != nil && !errors.Is(err, errFound) {
		return at, fmt.Errorf("read until when WAL reaches: %w", err)
	}
	if at, err = time.Parse(time.RFC3339Nano, strings.TrimSpace(said.b.String())); err != nil { // it is no folder of ours
		return time.Time{}, nil
	}
	return at, nil
}

// folder is what the base backup needs, and the note, of the folder of a snapshot.
func (t *trail) folder(ctx context.Context, s Snapshot) (repo *restic.Repository, found map[string]*restic.Node, err error) {
	at, err := clean(s.Paths[0])
	if err != nil {
		return nil, nil, err
	}
	repo, root, err := t.tree(ctx, Where{t.from.Agent, s.ID, t.from.AsOf})
	if err != nil {
		return nil, nil, err
	}
	n, tree, err := find(ctx, repo, root, at)
	switch {
	case fault.Of(err) == fault.Missing || err == nil && n != nil && n.Subtree == nil:
		return repo, nil, nil
	case err != nil:
		return nil, nil, err
	}
	found = map[string]*restic.Node{}
	err = level(ctx, repo, tree, func(n *restic.Node) error {
		if n.Type == "file" && slices.Contains([]string{t.base.begins, t.base.begins + ".partial", job.WALReaches}, n.Name) {
			found[n.Name] = n
		}
		return nil
	})
	return repo, found, err
}
