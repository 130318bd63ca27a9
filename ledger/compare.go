package ledger

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"slices"
	"strconv"

	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api/layout"
)

// choice is what the files are compared with. Usually both fields are the same
// reading, the one that fits the signed root. When none does, bundles are held
// against the tiles and tiles against the bundles, so that both get named.
type choice struct {
	forBundles, forTiles reading
	decided              bool
}

// candidates reads the leaf hashes from the entries and, if those do not fit
// the signed root, from the tiles, and chooses.
func (a *audit) candidates(ctx context.Context) (choice, error) {
	entries, err := a.readEntries(ctx)
	if err == nil {
		err = a.rate(&entries)
	}
	if err != nil {
		return choice{}, err
	}
	if entries.complete && entries.matches > 0 && entries.matches == a.anchors() {
		return choice{entries, entries, true}, nil
	}
	tiles := a.readTiles()
	if err := a.rate(&tiles); err != nil {
		return choice{}, err
	}
	switch {
	case entries.matches == 0 && tiles.matches == 0:
		return choice{forBundles: tiles, forTiles: entries}, nil
	case tiles.matches > entries.matches:
		return choice{tiles, tiles, true}, nil
	default:
		return choice{entries, entries, true}, nil
	}
}

// anchors counts the roots that the leaves can be held against.
func (a *audit) anchors() int {
	n := 0
	if a.cp != nil {
		n++
	}
	if a.state != nil {
		n++
	}
	return n
}

// rate grows the tree of r and counts the anchors that fit. The signed root
// weighs more than the tree state, which anybody could have written.
func (a *audit) rate(r *reading) error {
	var sizes []uint64
	if a.cp != nil {
		sizes = append(sizes, a.cp.Size)
	}
	if a.state != nil {
		sizes = append(sizes, a.state.Size)
	}
	for _, e := range a.earlier {
		sizes = append(sizes, e.Checkpoint.Size)
	}
	var err error
	if r.tree, err = grow(r.leaves, sizes...); err != nil {
		return err
	}
	if a.cp != nil && bytes.Equal(r.tree.roots[a.cp.Size], a.cp.root()) {
		r.matches++
	}
	if a.state != nil && bytes.Equal(r.tree.roots[a.state.Size], a.state.Root) && (a.cp == nil || r.matches > 0) {
		r.matches++
	}
	return nil
}

// checkAnchors compares the signed root and the tree state with the leaves.
func (a *audit) checkAnchors(c choice) {
	roots := c.forTiles.tree.roots
	a.checkEarlier(roots)
	if a.cp != nil && !bytes.Equal(roots[a.cp.Size], a.cp.root()) {
		a.differ(layout.CheckpointPath, -1, "signs root %s over %d leaves; neither entries nor hash tiles give it", a.cp.Root, a.cp.Size)
	}
	if a.state == nil {
		return
	}
	if a.state.Size != a.size {
		a.differ(fileTreeState, -1, "says %d leaves, %d are there", a.state.Size, a.size)
	} else if !bytes.Equal(roots[a.size], a.state.Root) {
		a.differ(fileTreeState, -1, "says root %x, the leaves give %s", a.state.Root, hex.EncodeToString(roots[a.size]))
	}
}

// checkPlaces compares every tile and bundle with the chosen leaves and names
// what is missing or foreign.
func (a *audit) checkPlaces(ctx context.Context, c choice) error {
	must := map[string]bool{}
	for _, p := range required(a.size) {
		must[p.file()] = true
		if _, err := a.read(p.file()); errors.Is(err, fs.ErrNotExist) && !(a.live && p.partial > 0) {
			a.differ(p.file(), -1, "is missing")
		}
	}
	for file := range a.files {
		if err := ctx.Err(); err != nil {
			return err
		}
		p, ok := placeOf(file)
		switch {
		case ok:
			a.checkPlace(p, c, must[file])
		case slices.Contains([]string{layout.CheckpointPath, fileTreeState, fileGCState, fileVersion}, file) || slices.Contains(lockFiles(), file):
			a.count(file)
		case temporary(file):
			a.leftover(file, "temporary file of an interrupted write")
		default:
			a.differ(file, -1, "does not belong to the ledger")
		}
	}
	return nil
}

func (a *audit) count(file string) {
	a.report.Checked.Files++
	a.report.Checked.Bytes += a.files[file]
}

// checkPlace compares one tile or bundle.
func (a *audit) checkPlace(p place, c choice, must bool) {
	raw, err := a.read(p.file())
	if errors.Is(err, fs.ErrNotExist) {
		return // superseded while we looked, or named as missing
	}
	if err != nil {
		a.differ(p.file(), -1, "cannot be read: %v", pathless(err))
		return
	}
	a.count(p.file())
	items := rowSize(a.size, p.level)
	known := min(p.width(), items-min(items, p.first()))
	offset, what := a.compare(p, raw, known, c)
	switch {
	case known < p.width() && a.shared:
		a.leftover(p.file(), "written ahead of the tree by an interrupted write")
	case what == "" && known == p.width():
		return
	case what == "" && p.end() <= rowSize(a.size+batchSize, p.level):
		a.leftover(p.file(), "written ahead of the tree by an interrupted write")
	case what == "":
		a.differ(p.file(), -1, "lies beyond the %d leaves of the ledger", a.size)
	default:
		a.differ(p.file(), offset, "%s", what)
	}
}

// compare holds the first known items of a tile or bundle against the leaves
// and its length against its name. It returns "" when they agree.
func (a *audit) compare(p place, raw []byte, known uint64, c choice) (int64, string) {
	if !p.entries {
		want := c.forTiles.tree.row(p.level).from(p.first()).to(known)
		if at := firstDifference(raw[:min(len(raw), len(want))], want); at >= 0 {
			return at, "hash " + decimal(p.first()+uint64(at)/32) + " of level " + decimal(p.level) + " is not what the entries give"
		}
		if uint64(len(raw)) != p.width()*32 {
			return int64(min(uint64(len(raw)), p.width()*32)), "has " + decimal(uint64(len(raw))) + " bytes instead of " + decimal(p.width()*32)
		}
		return 0, ""
	}
	want := c.forBundles.leaves.from(p.first()).to(known)
	entries, offsets, err := split(raw)
	for i := range known {
		if i >= uint64(len(entries)) {
			return int64(offsets[len(entries)]), "entry " + decimal(p.first()+i) + " cannot be read"
		}
		if !bytes.Equal(rfc6962.DefaultHasher.HashLeaf(entries[i]), want.at(i)) {
			return int64(offsets[i]), "entry " + decimal(p.first()+i) + " is not what was signed"
		}
	}
	if err != nil || uint64(len(entries)) != p.width() {
		return int64(offsets[min(len(entries), int(p.width()))]), "has " + decimal(uint64(len(entries))) + " whole entries instead of " + decimal(p.width())
	}
	return 0, ""
}

// checkState verifies the small files in .state.
func (a *audit) checkState() error {
	if b, err := a.read(fileVersion); err != nil {
		a.differ(fileVersion, -1, "cannot be read: %v", pathless(err))
	} else if string(b) != "1" {
		a.differ(fileVersion, 0, "is not version 1 of the folder")
	}
	for _, file := range lockFiles() {
		if a.files[file] > 0 {
			a.differ(file, 0, "a lock file must be empty")
		}
	}
	if _, there := a.files[fileGCState]; there {
		a.checkGC()
	}
	return nil
}

// checkGC verifies the mark below which superseded partial files were removed:
// canonical, at the end of a full bundle, and true.
func (a *audit) checkGC() {
	b, err := a.read(fileGCState)
	if err != nil {
		a.differ(fileGCState, -1, "cannot be read: %v", pathless(err))
		return
	}
	var s struct {
		FromSize uint64 `json:"fromSize"`
	}
	err = json.Unmarshal(b, &s)
	again, errAgain := json.Marshal(s)
	if err != nil || errAgain != nil || !bytes.Equal(b, again) {
		at := max(0, firstDifference(b, again))
		if err != nil { // a number that cannot be read is wrong from its first digit on
			at = min(at, int64(len(`{"fromSize":`)))
		}
		a.differ(fileGCState, at, "is not in canonical form")
		return
	}
	if s.FromSize > a.size || s.FromSize%layout.TileWidth != 0 {
		a.differ(fileGCState, -1, "says %d, which is not the end of a full bundle of this ledger", s.FromSize)
		return
	}
	for file := range a.files {
		p, ok := placeOf(file)
		if !ok || p.level > 0 || p.partial == 0 || p.end() > s.FromSize {
			continue
		}
		if _, err := a.read(file); err == nil { // a running hub may have removed it since it was listed
			a.differ(fileGCState, -1, "says %s was removed", file)
			return
		}
	}
}

func decimal(n uint64) string { return strconv.FormatUint(n, 10) }
