package ledger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api/layout"
	"github.com/transparency-dev/tessera/client"
)

// frontier is the right edge of a log: all that is needed to extend it. Its
// hashes come from the Merkle code that Tessera itself uses.
type frontier struct {
	size   uint64
	tree   *compact.Range
	tiles  []hashes // by level, what the unfinished tile holds
	bundle []byte   // raw entries of the unfinished bundle
}

// sink takes a finished file of the log: its name below the folder and its
// content, which is not changed later.
type sink func(file string, content []byte) error

func ranges() *compact.RangeFactory {
	return &compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}
}

func emptyFrontier() *frontier { return &frontier{tree: ranges().NewEmptyRange(0)} }

// readFrontier reads the right edge of a log of size leaves. It checks nothing;
// compare root with what was signed.
func readFrontier(ctx context.Context, dir string, size uint64) (*frontier, error) {
	files := client.FileFetcher{Root: dir}
	f := emptyFrontier()
	if size == 0 {
		return f, nil
	}
	nodes, err := client.FetchRangeNodes(ctx, size, files.ReadTile)
	if err == nil {
		f.tree, err = ranges().NewRange(0, size, nodes)
	}
	if err != nil {
		return nil, fmt.Errorf("read the edge of the log at %d leaves: %w", size, err)
	}
	f.size = size
	for level := uint64(0); rowSize(size, level) > 0; level++ {
		items := rowSize(size, level)
		rest := items % layout.TileWidth
		var row hashes
		if rest > 0 {
			b, err := files.ReadTile(ctx, level, items/layout.TileWidth, uint8(rest))
			if err == nil && hashes(b).len() < rest {
				err = errors.New("it is too short")
			}
			if err != nil {
				return nil, fmt.Errorf("read tile %d of level %d: %w", items/layout.TileWidth, level, err)
			}
			row = slices.Clone(hashes(b).to(rest))
		}
		f.tiles = append(f.tiles, row)
	}
	if rest := size % layout.EntryBundleWidth; rest > 0 {
		b, err := files.ReadEntryBundle(ctx, size/layout.EntryBundleWidth, uint8(rest))
		if err != nil {
			return nil, fmt.Errorf("read entry bundle %d: %w", size/layout.EntryBundleWidth, err)
		}
		entries, offsets, _ := split(b)
		if uint64(len(entries)) < rest {
			return nil, fmt.Errorf("read entry bundle %d: %d entries instead of %d", size/layout.EntryBundleWidth, len(entries), rest)
		}
		f.bundle = slices.Clone(b[:offsets[rest]])
	}
	return f, nil
}

// clone returns a frontier that can be extended without changing f.
func (f *frontier) clone() (*frontier, error) {
	tree, err := ranges().NewRange(0, f.size, slices.Clone(f.tree.Hashes()))
	if err != nil {
		return nil, fmt.Errorf("copy the edge of the log: %w", err)
	}
	c := &frontier{size: f.size, tree: tree, bundle: slices.Clone(f.bundle)}
	for _, row := range f.tiles {
		c.tiles = append(c.tiles, slices.Clone(row))
	}
	return c, nil
}

// root is the root of the tree.
func (f *frontier) root() ([]byte, error) {
	if f.size == 0 {
		return rfc6962.DefaultHasher.EmptyRoot(), nil
	}
	return f.tree.GetRootHash(nil)
}

// append adds an entry and hands out the bundle and the tiles that it fills.
func (f *frontier) append(entry []byte, out sink) error {
	hash := rfc6962.DefaultHasher.HashLeaf(entry)
	f.item(0, hash)
	err := f.tree.Append(hash, func(id compact.NodeID, hash []byte) {
		if id.Level > 0 && id.Level%layout.TileHeight == 0 {
			f.item(int(id.Level/layout.TileHeight), hash)
		}
	})
	if err != nil {
		return fmt.Errorf("extend the log: %w", err)
	}
	f.bundle = frame(f.bundle, entry)
	f.size++
	if f.size%layout.EntryBundleWidth > 0 {
		return nil
	}
	if err := out(layout.EntriesPath(f.size/layout.EntryBundleWidth-1, 0), f.bundle); err != nil {
		return err
	}
	f.bundle = nil
	for level := uint64(0); level < uint64(len(f.tiles)) && f.tiles[level].len() == layout.TileWidth; level++ {
		if err := out(layout.TilePath(level, rowSize(f.size, level)/layout.TileWidth-1, 0), f.tiles[level]); err != nil {
			return err
		}
		f.tiles[level] = nil
	}
	return nil
}

func (f *frontier) item(level int, hash []byte) {
	for len(f.tiles) <= level {
		f.tiles = append(f.tiles, nil)
	}
	f.tiles[level] = append(f.tiles[level], hash...)
}

// partials hands out the unfinished bundle and tiles, except those that a log
// of before leaves had already.
func (f *frontier) partials(before uint64, out sink) error {
	if f.size == before {
		return nil
	}
	if rest := f.size % layout.EntryBundleWidth; rest > 0 {
		if err := out(layout.EntriesPath(f.size/layout.EntryBundleWidth, uint8(rest)), f.bundle); err != nil {
			return err
		}
	}
	for level, row := range f.tiles {
		items := rowSize(f.size, uint64(level))
		if row.len() == 0 || items == rowSize(before, uint64(level)) {
			continue
		}
		if err := out(layout.TilePath(uint64(level), items/layout.TileWidth, uint8(row.len())), row); err != nil {
			return err
		}
	}
	return nil
}

// frame appends an entry as bundles hold it (tlog-tiles: 16-bit length, bytes).
func frame(to, entry []byte) []byte {
	to = binary.BigEndian.AppendUint16(to, uint16(len(entry)))
	return append(to, entry...)
}
