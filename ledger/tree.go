package ledger

import (
	"bytes"
	"crypto/sha256"
	"fmt"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api/layout"
)

// hashes is a row of SHA-256 hashes in one piece of memory.
type hashes []byte

func (h hashes) len() uint64          { return uint64(len(h) / sha256.Size) }
func (h hashes) at(i uint64) []byte   { return h[i*sha256.Size : (i+1)*sha256.Size] }
func (h hashes) to(n uint64) hashes   { return h[:min(n, h.len())*sha256.Size] }
func (h hashes) from(n uint64) hashes { return h[min(n, h.len())*sha256.Size:] }

// tree is everything that follows from the leaf hashes of a log.
type tree struct {
	rows  []hashes          // rows[l] is what the tiles of level l hold, side by side
	roots map[uint64][]byte // root of the tree at the sizes asked for
}

// grow computes the tile rows and the roots at the given sizes, with the
// Merkle code that Tessera itself uses.
func grow(leaves hashes, sizes ...uint64) (tree, error) {
	t := tree{rows: []hashes{leaves}, roots: map[uint64][]byte{0: rfc6962.DefaultHasher.EmptyRoot()}}
	for i := leaves.len() >> layout.TileHeight; i > 0; i >>= layout.TileHeight {
		t.rows = append(t.rows, make(hashes, 0, i*sha256.Size))
	}
	visit := func(id compact.NodeID, hash []byte) {
		if l := id.Level / layout.TileHeight; l > 0 && id.Level%layout.TileHeight == 0 {
			t.rows[l] = append(t.rows[l], hash...)
		}
	}
	r := (&compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewEmptyRange(0)
	for i := range leaves.len() {
		if err := r.Append(leaves.at(i), visit); err != nil {
			return t, fmt.Errorf("grow tree: %w", err)
		}
		for _, s := range sizes {
			if s == i+1 {
				root, err := r.GetRootHash(nil)
				if err != nil {
					return t, fmt.Errorf("grow tree: %w", err)
				}
				t.roots[s] = root
			}
		}
	}
	return t, nil
}

// row returns row l, empty above the top.
func (t tree) row(l uint64) hashes {
	if l < uint64(len(t.rows)) {
		return t.rows[l]
	}
	return nil
}

// firstDifference returns the offset at which a and b differ, or -1.
func firstDifference(a, b []byte) int64 {
	if bytes.Equal(a, b) {
		return -1
	}
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return int64(i)
		}
	}
	return int64(min(len(a), len(b)))
}
