package anomaly

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/sonae/sonae/protect/restic"
)

// What a change can be.
const (
	Added    = "new"
	Removed  = "removed"
	Changed  = "changed"  // the same name, another content
	Replaced = "replaced" // by a file beside it whose name is made of the old one
	Moved    = "moved"    // the same content under another name
)

// change is one plain file that is not as it was. Folders, links and what only
// has other rights or times are no changes.
type change struct {
	What     string
	Path     string // now; of a removed file: before
	Was      string // path before, where it is another one
	Old, Now *restic.Node
}

// maxDeep bounds how deep folders may lie in each other.
const maxDeep = 4096

// walker compares two trees. It reads only folders that are not the same.
type walker struct {
	repo *restic.Repository
	each func(change) error
}

// folder compares a folder; nil is one that is not there. dir is its path.
func (w *walker) folder(ctx context.Context, old, now *restic.ID, dir string, deep int) error {
	if old != nil && now != nil && *old == *now || old == nil && now == nil {
		return nil
	}
	if deep > maxDeep {
		return fmt.Errorf("folders lie more than %d deep", maxDeep)
	}
	before, err := w.list(ctx, old)
	if err != nil {
		return err
	}
	after, err := w.list(ctx, now)
	if err != nil {
		return err
	}
	names := make([]string, 0, len(after)) // in one order, so that a look can be repeated
	for name := range after {
		names = append(names, name)
	}
	for name := range before {
		if after[name] == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if err := w.files(dir, names, before, after); err != nil {
		return err
	}
	for _, name := range names {
		if err := w.folder(ctx, subtree(before[name]), subtree(after[name]), path.Join(dir, name), deep+1); err != nil {
			return err
		}
	}
	return nil
}

// list reads the entries of one folder.
func (w *walker) list(ctx context.Context, tree *restic.ID) (map[string]*restic.Node, error) {
	all := map[string]*restic.Node{}
	if tree == nil {
		return all, nil
	}
	err := w.repo.Walk(ctx, *tree, func(_ string, n *restic.Node) error {
		all[n.Name] = n
		if n.Subtree != nil {
			return restic.SkipDir
		}
		return nil
	})
	return all, err
}

func subtree(n *restic.Node) *restic.ID {
	if n == nil {
		return nil
	}
	return n.Subtree
}

func isFile(n *restic.Node) bool { return n != nil && n.Type == "file" }

// files tells of the files of one folder.
func (w *walker) files(dir string, names []string, before, after map[string]*restic.Node) error {
	var gone, came []string
	for _, name := range names {
		old, now := before[name], after[name]
		switch {
		case isFile(old) && isFile(now):
			if slices.Equal(old.Content, now.Content) {
				continue
			}
			if err := w.each(change{Changed, path.Join(dir, name), "", old, now}); err != nil {
				return err
			}
		case isFile(old):
			gone = append(gone, name)
		case isFile(now):
			came = append(came, name)
		}
	}
	taken := pair(gone, came)
	for _, name := range came {
		c := change{Added, path.Join(dir, name), "", nil, after[name]}
		if was, ok := taken[name]; ok {
			c = change{Replaced, c.Path, path.Join(dir, was), before[was], after[name]}
		}
		if err := w.each(c); err != nil {
			return err
		}
	}
	left := map[string]bool{}
	for _, was := range taken {
		left[was] = true
	}
	for _, name := range gone {
		if left[name] {
			continue
		}
		if err := w.each(change{Removed, path.Join(dir, name), "", before[name], nil}); err != nil {
			return err
		}
	}
	return nil
}

// pair finds which files that came are named after files that are gone: with
// something behind the name, or with another ending. Each is taken once.
func pair(gone, came []string) map[string]string {
	stems := map[string]string{}
	for _, name := range gone {
		stems[name] = name
	}
	taken, used := map[string]string{}, map[string]bool{}
	for _, name := range came { // x.docx → x.docx.locked
		for at := len(name) - 1; at > 0; at-- {
			if was, ok := stems[name[:at]]; ok && !used[was] {
				taken[name], used[was] = was, true
				break
			}
		}
	}
	for name := range stems {
		delete(stems, name)
	}
	for _, name := range gone { // x.docx → x.locked
		if stem := strings.TrimSuffix(name, path.Ext(name)); !used[name] && stem != "" {
			stems[stem] = name
		}
	}
	for _, name := range came {
		was, ok := stems[strings.TrimSuffix(name, path.Ext(name))]
		if _, done := taken[name]; ok && !done && !used[was] {
			taken[name], used[was] = was, true
		}
	}
	return taken
}
