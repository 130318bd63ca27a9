package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api/layout"
	"github.com/transparency-dev/tessera/client"
)

// errOdd says that a quick look is not enough: the whole check must say what
// is wrong, or that all is well.
var errOdd = errors.New("a quick look does not explain everything")

// glance checks what a start must know when a table vouches for the first
// leaves: that everything after them, the right edge that the next leaf
// touches, and what witnesses cosigned fit the signed checkpoint. It returns the
// keys that came after the table. Any doubt is errOdd.
func (a *audit) glance(ctx context.Context, t *table) (map[key]uint64, error) {
	if err := a.list(); err != nil {
		return nil, err
	}
	a.readStates()
	a.chooseSize()
	if a.cp == nil || a.state == nil || a.state.Size != a.size || a.cp.Size < t.size || a.cp.Size > a.size || len(a.report.Differences) > 0 {
		return nil, errOdd
	}
	if err := a.checkState(); err != nil {
		return nil, err
	}
	edge, err := readFrontier(ctx, a.dir, a.size)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errOdd, err)
	}
	if root, err := edge.root(); err != nil || !bytes.Equal(root, a.state.Root) {
		return nil, errOdd
	}
	recent, err := a.tail(ctx, t)
	if err != nil {
		return nil, err
	}
	for _, e := range append([]Earlier{{Checkpoint: Checkpoint{Size: a.cp.Size, Root: a.cp.Root}}}, a.earlier...) {
		if err := a.extends(ctx, e.Checkpoint); err != nil {
			return nil, err
		}
	}
	if err := a.checkNames(edge); err != nil {
		return nil, err
	}
	if len(a.report.Differences) > 0 {
		return nil, errOdd
	}
	return recent, nil
}

// tail reads the entries after the table and holds their tree against the
// signed root and the tree state.
func (a *audit) tail(ctx context.Context, t *table) (map[key]uint64, error) {
	tree, err := ranges().NewRange(0, t.size, slices.Clone(t.nodes))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errOdd, err)
	}
	f, recent := &frontier{size: t.size, tree: tree}, map[key]uint64{}
	for level := uint64(0); rowSize(t.size, level) > 0; level++ { // what lies below the table is not looked at here
		f.tiles = append(f.tiles, make(hashes, rowSize(t.size, level)%layout.TileWidth*32))
	}
	for _, p := range required(a.size)[t.size/layout.EntryBundleWidth:] {
		if !p.entries {
			break
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		entries, _, err := split(a.readAny(p))
		if err != nil || uint64(len(entries)) < p.width() {
			return nil, errOdd
		}
		for _, entry := range entries[:p.width()] {
			if err := a.note(t, recent, f.size, entry); err != nil {
				return nil, err
			}
			if err := f.append(entry, a.sameTile(t.size)); err != nil {
				return nil, err
			}
		}
	}
	if root, err := f.root(); err != nil || !bytes.Equal(root, a.state.Root) {
		return nil, errOdd
	}
	return recent, nil
}

// note adds the key of an entry to recent, unless an equal leaf stands before.
func (a *audit) note(t *table, recent map[key]uint64, place uint64, entry []byte) error {
	lf, err := decode(entry)
	if err != nil {
		return errOdd
	}
	k := keyOf(lf)
	if _, twice, err := t.find(k); twice || err != nil {
		return err
	}
	if _, twice := recent[k]; !twice {
		recent[k] = place
	}
	return nil
}

// sameTile compares the bundles and lowest tiles that the entries fill with
// those on disk. What lies higher and begins below the table was not computed.
func (a *audit) sameTile(from uint64) sink {
	return func(file string, content []byte) error {
		p, ok := placeOf(file)
		if !ok || p.level > 0 && p.first()<<(p.level*layout.TileHeight) < from {
			return nil
		}
		b, err := a.read(file)
		if err != nil || !bytes.Equal(b, content) {
			return errOdd
		}
		return nil
	}
}

// extends says whether the log on disk extends a checkpoint, by the hash tiles.
func (a *audit) extends(ctx context.Context, cp Checkpoint) error {
	switch {
	case cp.Size > a.size && a.shared:
		return nil // the store may have it
	case cp.Size > a.size:
		return errOdd
	case cp.Size == a.size:
		if !bytes.Equal(cp.root(), a.state.Root) {
			return errOdd
		}
		return nil
	case cp.Size == 0:
		return nil
	}
	builder, err := client.NewProofBuilder(ctx, a.size, client.FileFetcher{Root: a.dir}.ReadTile)
	if err != nil {
		return fmt.Errorf("%w: %w", errOdd, err)
	}
	hashes, err := builder.ConsistencyProof(ctx, cp.Size, a.size)
	if err != nil {
		return fmt.Errorf("%w: %w", errOdd, err)
	}
	if proof.VerifyConsistency(rfc6962.DefaultHasher, cp.Size, a.size, hashes, cp.root(), a.state.Root) != nil {
		return errOdd
	}
	return nil
}

// checkNames looks at the names of all files: nothing foreign, nothing
// missing, and ahead of the tree only what an interrupted write left.
func (a *audit) checkNames(edge *frontier) error {
	for _, p := range required(a.size) {
		if n, there := a.files[p.file()]; !there || !p.entries && uint64(n) != p.width()*32 {
			return errOdd
		}
	}
	small := append(lockFiles(), layout.CheckpointPath, fileTreeState, fileGCState, fileVersion)
	for file := range a.files {
		p, ok := placeOf(file)
		switch {
		case ok && p.end() <= rowSize(a.size, p.level), slices.Contains(small, file):
		case ok && (a.shared || p.end() <= rowSize(a.size+batchSize, p.level) && a.continues(p, edge)):
			a.leftover(file, "written ahead of the tree by an interrupted write")
		case !ok && temporary(file):
			a.leftover(file, "temporary file of an interrupted write")
		default:
			return errOdd
		}
	}
	return nil
}

// continues says whether a file ahead of the tree begins with what the tree
// has at its edge.
func (a *audit) continues(p place, edge *frontier) bool {
	items := rowSize(a.size, p.level)
	if p.first() >= items {
		return true
	}
	b, err := a.read(p.file())
	have := edge.bundle
	if !p.entries && p.level < uint64(len(edge.tiles)) {
		have = edge.tiles[p.level]
	}
	return err == nil && bytes.HasPrefix(b, have)
}

// whole is the check of everything that a glance left out, entry by entry and
// with little memory, while the ledger already works. It looks at the log as it
// was when glance listed it. visit gets every entry. The first thing that does
// not fit is returned.
func (a *audit) whole(ctx context.Context, visit func(place uint64, entry []byte) error) (bad string, err error) {
	f, superseded := emptyFrontier(), a.superseded()
	compare := func(file string, content []byte) error {
		p, _ := placeOf(file)
		b, err := a.read(file)
		if gone := errors.Is(err, fs.ErrNotExist) && p.partial > 0; !gone && (err != nil || !bytes.Equal(b, content)) { // a full one may have replaced it
			bad = file
			return errOdd
		}
		p.partial = 0
		for _, old := range superseded[p] { // it may have been removed meanwhile
			if b, err := a.read(old); err == nil && !bytes.HasPrefix(content, b) {
				bad = old
				return errOdd
			}
		}
		return nil
	}
	for _, p := range required(a.size) {
		if !p.entries {
			break
		}
		entries, _, err := split(a.readAny(p))
		if err != nil || uint64(len(entries)) < p.width() {
			return p.file(), ctx.Err()
		}
		for _, entry := range entries[:p.width()] {
			if err := ctx.Err(); err != nil {
				return "", err
			}
			if err := visit(f.size, entry); err != nil {
				return p.file(), err
			}
			if err := f.append(entry, compare); err != nil {
				return bad, nil
			}
			if f.size == a.cp.Size && !rooted(f, a.cp.root()) {
				return layout.CheckpointPath, nil
			}
		}
	}
	if !rooted(f, a.state.Root) {
		return fileTreeState, nil
	}
	if err := f.partials(0, compare); err != nil {
		return bad, nil
	}
	return "", nil
}

// superseded lists the partial files that a longer one has replaced, by the
// full one that they belong to.
func (a *audit) superseded() map[place][]string {
	found := map[place][]string{}
	for file := range a.files {
		if p, ok := placeOf(file); ok && p.partial > 0 && p.end() <= rowSize(a.size, p.level) {
			p.partial = 0
			found[p] = append(found[p], file)
		}
	}
	return found
}

func rooted(f *frontier, want []byte) bool {
	root, err := f.root()
	return err == nil && bytes.Equal(root, want)
}
