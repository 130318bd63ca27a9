package ledger

import (
	"strings"

	"github.com/transparency-dev/tessera/api/layout"
)

// Private state of Tessera's POSIX driver, below .state.
const (
	fileTreeState = ".state/treeState"
	fileGCState   = ".state/gcState"
	fileVersion   = ".state/version"
)

// lockFiles are the empty files that Tessera locks; they may be absent.
func lockFiles() []string {
	return []string{".state/treeState.lock", ".state/publish.lock", ".state/gcState.lock"}
}

// place is what the path of a tile or entry bundle says about it.
type place struct {
	entries bool   // an entry bundle, not a hash tile
	level   uint64 // 0 for entry bundles
	index   uint64
	partial uint8 // 0 when full
}

const maxIndex = 1 << 40 // far beyond any ledger; keeps sums below from overflowing

// placeOf reads a slash-separated path below the ledger's folder.
func placeOf(file string) (place, bool) {
	rest, ok := strings.CutPrefix(file, "tile/")
	if !ok {
		return place{}, false
	}
	row, rest, _ := strings.Cut(rest, "/")
	p := place{entries: row == "entries"}
	if p.entries {
		row = "0"
	}
	var err error
	p.level, p.index, p.partial, err = layout.ParseTileLevelIndexPartial(row, rest)
	return p, err == nil && p.index < maxIndex && p.file() == file
}

func (p place) file() string {
	if p.entries {
		return layout.EntriesPath(p.index, p.partial)
	}
	return layout.TilePath(p.level, p.index, p.partial)
}

// first is the place of its first item in its row, width how many it holds.
func (p place) first() uint64 { return p.index * layout.TileWidth }

func (p place) width() uint64 {
	if p.partial == 0 {
		return layout.TileWidth
	}
	return uint64(p.partial)
}

func (p place) end() uint64 { return p.first() + p.width() }

// rowSize returns how many items row level of a log of size leaves has.
func rowSize(size, level uint64) uint64 { return size >> (level * layout.TileHeight) }

// required lists the tiles and bundles that a log of size leaves must have.
func required(size uint64) []place {
	var all []place
	add := func(entries bool, level, items uint64) {
		for i := range items / layout.TileWidth {
			all = append(all, place{entries: entries, level: level, index: i})
		}
		if rest := items % layout.TileWidth; rest > 0 {
			all = append(all, place{entries: entries, level: level, index: items / layout.TileWidth, partial: uint8(rest)})
		}
	}
	add(true, 0, size)
	for level := uint64(0); rowSize(size, level) > 0; level++ {
		add(false, level, rowSize(size, level))
	}
	return all
}

// temporary says whether file is named like a temporary file of Tessera, which
// is a file of the ledger followed by a random number, or of a hub that follows
// a shared ledger, see package durable.
func temporary(file string) bool {
	known := func(name string) bool {
		_, ok := placeOf(name)
		return ok || name == layout.CheckpointPath || name == fileTreeState || name == fileGCState || name == fileVersion
	}
	if name, ok := strings.CutSuffix(file, ".tmp"); ok {
		return known(name)
	}
	base := strings.TrimRight(file, "0123456789")
	for cut := len(file) - 1; cut >= len(base); cut-- {
		if known(file[:cut]) {
			return true
		}
	}
	return false
}
