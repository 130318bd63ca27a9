package restore

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/anomaly"
	"github.com/sonae/sonae/protect/restic"
)

// Where names a snapshot of an agent.
type Where struct {
	Agent    string    `json:"agent"`
	Snapshot string    `json:"snapshot"`       // full id
	AsOf     time.Time `json:"as_of,omitzero"` // the repository as it was then; zero: now
}

// Snapshot is one state that can be brought back.
type Snapshot struct {
	ID      string    `json:"id"`
	Time    time.Time `json:"time"` // by the clock of the machine
	Host    string    `json:"host"`
	Paths   []string  `json:"paths"`
	Tags    []string  `json:"tags"`
	User    string    `json:"user"`
	Clean   bool      `json:"clean"`             // the last one of its folders that is held to be clean, or proposed
	Later   bool      `json:"later"`             // newer than the clean one: it may hold what an intruder did
	Program string    `json:"program,omitempty"` // version of restic
}

// Entry is one file or folder of a snapshot.
type Entry struct {
	Name    string    `json:"name"` // as text: bytes that are none are shown as U+FFFD
	Path    string    `json:"path"` // what names it in calls; bytes as they are
	Type    string    `json:"type"` // file | dir | symlink | …
	Size    uint64    `json:"size"`
	ModTime time.Time `json:"mod_time"`
	Mode    string    `json:"mode"` // as ls shows it
	UID     uint32    `json:"uid"`
	GID     uint32    `json:"gid"`
	User    string    `json:"user"`
	Group   string    `json:"group"`
	Target  string    `json:"target,omitempty"` // of a symbolic link
}

func entry(at string, n *restic.Node) Entry {
	return Entry{Name: text(n.Name), Path: at, Type: n.Type, Size: n.Size, ModTime: n.ModTime, Mode: mode(n).String(), UID: n.UID, GID: n.GID,
		User: n.User, Group: n.Group, Target: text(n.Target)}
}

// mode is the mode with the type that the entry says, whatever its bits claim.
func mode(n *restic.Node) fs.FileMode {
	m := n.Mode & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)
	switch n.Type {
	case "dir":
		return m | fs.ModeDir
	case "symlink":
		return m | fs.ModeSymlink
	case "file":
		return m
	}
	return m | fs.ModeIrregular
}

func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// Page is a part of a list.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"` // where the next part begins; empty: this was the last
}

// MaxPage bounds a page.
const MaxPage = 500

func bound(limit int) int {
	if limit <= 0 || limit > MaxPage {
		return MaxPage
	}
	return limit
}

// Agents lists the machines of a site whose backups are here.
func (d *Desk) Agents(ctx context.Context, site string) ([]string, error) {
	all, err := d.Source.Agents(ctx, site)
	slices.Sort(all)
	return all, err
}

// Snapshots lists the snapshots of an agent, the newest first, from after one.
func (d *Desk) Snapshots(ctx context.Context, agent string, asOf time.Time, after string, limit int) (Page[Snapshot], error) {
	var page Page[Snapshot]
	all, err := d.snapshots(ctx, agent, asOf)
	if err != nil {
		return page, err
	}
	from := 0
	if after != "" {
		if from = slices.IndexFunc(all, func(s Snapshot) bool { return s.ID == after }) + 1; from == 0 {
			return page, fault.New(fault.Missing, "protect.restore.no-snapshot")
		}
	}
	page.Items = all[from:min(len(all), from+bound(limit))]
	if n := len(page.Items); n > 0 && from+n < len(all) {
		page.Next = page.Items[n-1].ID
	}
	return page, nil
}

func (d *Desk) snapshots(ctx context.Context, agent string, asOf time.Time) ([]Snapshot, error) {
	repo, err := d.repository(ctx, agent, asOf)
	if err != nil {
		return nil, err
	}
	found, err := repo.Snapshots(ctx)
	if err != nil {
		return nil, fmt.Errorf("snapshots of %s: %w", agent, err)
	}
	slices.SortFunc(found, func(a, b restic.Snapshot) int {
		return cmp.Or(b.Time.Compare(a.Time), bytes.Compare(a.ID[:], b.ID[:]))
	})
	points, err := d.Points(ctx, agent)
	if err != nil {
		return nil, err
	}
	good, later := map[string]bool{}, map[string]bool{}
	for _, p := range points {
		good[p.Snapshot] = true
		for _, id := range p.Later {
			later[id] = true
		}
	}
	out := make([]Snapshot, len(found))
	for i, s := range found {
		id := s.ID.String()
		out[i] = Snapshot{ID: id, Time: s.Time.UTC(), Host: text(s.Hostname), Paths: texts(s.Paths), Tags: texts(s.Tags), User: text(s.Username),
			Clean: good[id], Later: later[id], Program: text(s.Program)}
	}
	return out, nil
}

// Points are from which snapshots the folders of an agent should be restored,
// where there was damage.
func (d *Desk) Points(ctx context.Context, agent string) ([]anomaly.Point, error) {
	if d.Clean == nil {
		return nil, nil
	}
	points, err := d.Clean(ctx, agent)
	if err != nil {
		return nil, fmt.Errorf("clean points of %s: %w", agent, err)
	}
	return points, nil
}

func texts(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = text(s)
	}
	return out
}

// Snapshot returns one snapshot.
func (d *Desk) Snapshot(ctx context.Context, w Where) (Snapshot, error) {
	all, err := d.snapshots(ctx, w.Agent, w.AsOf)
	if err != nil {
		return Snapshot{}, err
	}
	for _, s := range all {
		if s.ID == w.Snapshot {
			return s, nil
		}
	}
	return Snapshot{}, fault.New(fault.Missing, "protect.restore.no-snapshot")
}

// tree is the root of a snapshot.
func (d *Desk) tree(ctx context.Context, w Where) (*restic.Repository, restic.ID, error) {
	repo, err := d.repository(ctx, w.Agent, w.AsOf)
	if err != nil {
		return nil, restic.ID{}, err
	}
	id, err := restic.ParseID(w.Snapshot)
	if err != nil {
		return nil, restic.ID{}, fault.New(fault.Missing, "protect.restore.no-snapshot").With(err)
	}
	all, err := repo.Snapshots(ctx)
	if err != nil {
		return nil, restic.ID{}, fmt.Errorf("snapshots of %s: %w", w.Agent, err)
	}
	for _, s := range all {
		if s.ID == id {
			return repo, *s.Tree, nil
		}
	}
	return nil, restic.ID{}, fault.New(fault.Missing, "protect.restore.no-snapshot")
}

// clean makes a path of a snapshot absolute and plain.
func clean(at string) (string, error) {
	if len(at) > 1<<16 || strings.Contains(at, "\x00") {
		return "", fault.New(fault.Invalid, "protect.restore.path")
	}
	return path.Clean("/" + at), nil
}

// find goes down to a path. The node is nil for the root.
func find(ctx context.Context, repo *restic.Repository, root restic.ID, at string) (*restic.Node, restic.ID, error) {
	if at == "/" {
		return nil, root, nil
	}
	tree := root
	var node *restic.Node
	for segment := range strings.SplitSeq(at[1:], "/") {
		if node != nil && node.Subtree == nil {
			return nil, tree, fault.New(fault.Missing, "protect.restore.no-file")
		}
		next, err := child(ctx, repo, tree, segment)
		if err != nil {
			return nil, tree, err
		}
		node = next
		if node.Subtree != nil {
			tree = *node.Subtree
		}
	}
	return node, tree, nil
}

// errFound ends a walk that needs no more.
var errFound = errors.New("found")

func child(ctx context.Context, repo *restic.Repository, tree restic.ID, name string) (*restic.Node, error) {
	var found *restic.Node
	err := level(ctx, repo, tree, func(n *restic.Node) error {
		if n.Name == name {
			found = n
			return errFound
		}
		return nil
	})
	if errors.Is(err, errFound) {
		return found, nil
	}
	if err == nil {
		err = fault.New(fault.Missing, "protect.restore.no-file")
	}
	return nil, err
}

// level tells of the entries of one folder only.
func level(ctx context.Context, repo *restic.Repository, tree restic.ID, each func(*restic.Node) error) error {
	return repo.Walk(ctx, tree, func(_ string, n *restic.Node) error {
		if err := each(n); err != nil {
			return err
		}
		if n.Subtree != nil {
			return restic.SkipDir
		}
		return nil
	})
}

// Folder lists a folder of a snapshot by name, from after one.
func (d *Desk) Folder(ctx context.Context, w Where, at, after string, limit int) (Page[Entry], error) {
	var page Page[Entry]
	at, err := clean(at)
	if err != nil {
		return page, err
	}
	repo, root, err := d.tree(ctx, w)
	if err != nil {
		return page, err
	}
	node, tree, err := find(ctx, repo, root, at)
	if err != nil {
		return page, err
	}
	if node != nil && node.Subtree == nil {
		return page, fault.New(fault.Invalid, "protect.restore.no-folder")
	}
	limit = bound(limit)
	// only as many as fit are held, however large the folder is
	err = level(ctx, repo, tree, func(n *restic.Node) error {
		if n.Name <= after && after != "" {
			return nil
		}
		e := entry(path.Join(at, n.Name), n)
		i, _ := slices.BinarySearchFunc(page.Items, e.Path, func(x Entry, p string) int { return strings.Compare(x.Path, p) })
		if i > limit {
			return nil
		}
		page.Items = slices.Insert(page.Items, i, e)
		page.Items = page.Items[:min(len(page.Items), limit+1)]
		return nil
	})
	if err != nil {
		return page, fmt.Errorf("list %s: %w", at, err)
	}
	if len(page.Items) > limit {
		page.Items = page.Items[:limit]
		page.Next = path.Base(page.Items[limit-1].Path)
	}
	return page, nil
}

// Entry returns what is known of one file or folder.
func (d *Desk) Entry(ctx context.Context, w Where, at string) (Entry, error) {
	at, err := clean(at)
	if err != nil {
		return Entry{}, err
	}
	repo, root, err := d.tree(ctx, w)
	if err != nil {
		return Entry{}, err
	}
	n, _, err := find(ctx, repo, root, at)
	if err != nil {
		return Entry{}, err
	}
	if n == nil {
		return Entry{Name: "/", Path: "/", Type: "dir"}, nil
	}
	return entry(at, n), nil
}

// MaxNames bounds what Search finds.
const MaxNames = 1000

// Search finds entries below a folder by a part of their names, without regard
// to case. More says that there were more than limit.
func (d *Desk) Search(ctx context.Context, w Where, at, part string, limit int) (found []Entry, more bool, err error) {
	if part = strings.ToLower(strings.TrimSpace(part)); part == "" || len(part) > 255 || !utf8.ValidString(part) {
		return nil, false, fault.New(fault.Invalid, "protect.restore.search")
	}
	if limit <= 0 || limit > MaxNames {
		limit = MaxNames
	}
	if at, err = clean(at); err != nil {
		return nil, false, err
	}
	repo, root, err := d.tree(ctx, w)
	if err != nil {
		return nil, false, err
	}
	_, tree, err := find(ctx, repo, root, at)
	if err != nil {
		return nil, false, err
	}
	err = repo.Walk(ctx, tree, func(below string, n *restic.Node) error {
		if !strings.Contains(strings.ToLower(n.Name), part) {
			return nil
		}
		if len(found) == limit {
			return errFound
		}
		found = append(found, entry(path.Join(at, below), n))
		return nil
	})
	if errors.Is(err, errFound) {
		return found, true, nil
	}
	return found, false, err
}

// Change is one difference between two snapshots.
type Change struct {
	What   string `json:"what"` // added | removed | content | type | meta
	Path   string `json:"path"`
	Before *Entry `json:"before,omitempty"`
	After  *Entry `json:"after,omitempty"`
}

// Difference is what changed from one snapshot to another.
type Difference struct {
	Added   int      `json:"added"`
	Removed int      `json:"removed"`
	Content int      `json:"content"`
	Type    int      `json:"type"`
	Meta    int      `json:"meta"` // owner, rights or times only
	Changes []Change `json:"changes"`
	More    bool     `json:"more"` // only the first are listed; all are counted
}

// Compare compares two snapshots of an agent below a folder. Folders that are
// the same on both sides are passed over without being read.
func (d *Desk) Compare(ctx context.Context, w Where, with, at string, limit int) (Difference, error) {
	out := Difference{}
	if limit <= 0 || limit > MaxNames {
		limit = MaxNames
	}
	at, err := clean(at)
	if err != nil {
		return out, err
	}
	c := comparison{ctx: ctx, out: &out, limit: limit}
	var sides [2]*restic.ID
	for i, snapshot := range []string{w.Snapshot, with} {
		repo, root, err := d.tree(ctx, Where{w.Agent, snapshot, w.AsOf})
		if err != nil {
			return out, err
		}
		c.repo = repo
		_, tree, err := find(ctx, repo, root, at)
		if fault.Of(err) == fault.Missing {
			continue // it is not in this one
		}
		if err != nil {
			return out, err
		}
		sides[i] = &tree
	}
	if sides[0] == nil && sides[1] == nil {
		return out, fault.New(fault.Missing, "protect.restore.no-file")
	}
	return out, c.trees(at, sides[0], sides[1], 0)
}

type comparison struct {
	ctx   context.Context
	repo  *restic.Repository
	out   *Difference
	limit int
}

// maxDeep bounds how deep folders lie in each other.
const maxDeep = 4096

func (c *comparison) trees(at string, before, after *restic.ID, deep int) error {
	if before != nil && after != nil && *before == *after {
		return nil
	}
	if deep > maxDeep {
		return fault.New(fault.Invalid, "protect.restore.path").With(fmt.Errorf("folders lie more than %d deep", maxDeep))
	}
	old, err := c.nodes(before)
	if err != nil {
		return err
	}
	now, err := c.nodes(after)
	if err != nil {
		return err
	}
	for len(old) > 0 || len(now) > 0 {
		var a, b *restic.Node
		switch {
		case len(now) == 0 || len(old) > 0 && old[0].Name < now[0].Name:
			a, old = old[0], old[1:]
		case len(old) == 0 || now[0].Name < old[0].Name:
			b, now = now[0], now[1:]
		default:
			a, b, old, now = old[0], now[0], old[1:], now[1:]
		}
		if err := c.pair(at, a, b, deep); err != nil {
			return err
		}
	}
	return nil
}

func (c *comparison) nodes(tree *restic.ID) ([]*restic.Node, error) {
	if tree == nil {
		return nil, nil
	}
	var all []*restic.Node
	err := level(c.ctx, c.repo, *tree, func(n *restic.Node) error { all = append(all, n); return nil })
	slices.SortFunc(all, func(a, b *restic.Node) int { return strings.Compare(a.Name, b.Name) })
	return all, err
}

func (c *comparison) pair(at string, a, b *restic.Node, deep int) error {
	switch {
	case a == nil:
		c.note("added", at, nil, b)
		return c.trees(path.Join(at, b.Name), nil, b.Subtree, deep+1)
	case b == nil:
		c.note("removed", at, a, nil)
		return c.trees(path.Join(at, a.Name), a.Subtree, nil, deep+1)
	case a.Type != b.Type:
		c.note("type", at, a, b)
	case a.Type == "file" && !slices.Equal(a.Content, b.Content), a.Target != b.Target:
		c.note("content", at, a, b)
	case a.Mode != b.Mode, a.UID != b.UID, a.GID != b.GID, a.Type != "dir" && !a.ModTime.Equal(b.ModTime):
		c.note("meta", at, a, b)
	}
	return c.trees(path.Join(at, a.Name), a.Subtree, b.Subtree, deep+1)
}

func (c *comparison) note(what, at string, a, b *restic.Node) {
	*map[string]*int{"added": &c.out.Added, "removed": &c.out.Removed, "content": &c.out.Content, "type": &c.out.Type, "meta": &c.out.Meta}[what]++
	if len(c.out.Changes) == c.limit {
		c.out.More = true
		return
	}
	x := Change{What: what}
	for n, to := range map[*restic.Node]**Entry{a: &x.Before, b: &x.After} {
		if n == nil {
			continue
		}
		e := entry(path.Join(at, n.Name), n)
		x.Path, *to = e.Path, &e
	}
	c.out.Changes = append(c.out.Changes, x)
}
