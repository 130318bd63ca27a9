package restic

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash"
	"io"
)

// Use is how much of a pack snapshots need.
type Use struct {
	Pack  ID
	Blobs []Blob // that are needed, by offset; none: nobody needs the pack
	Bytes int64  // of these, as stored
	Total int64  // of all blobs that an index names in it, as stored
}

// Uses says of every pack that an index names what some snapshots need of it.
// Where a blob lies twice, both copies count as needed. ErrMissing when anything
// that they need is not there. Load must have run.
func (r *Repository) Uses(ctx context.Context, snapshots ...Snapshot) ([]Use, error) {
	m := marker{r: r, needed: make([]bool, len(r.index.entries))}
	for _, s := range snapshots {
		if err := m.tree(ctx, *s.Tree, 0); err != nil {
			return nil, fmt.Errorf("snapshot %s: %w", s.ID, err)
		}
	}
	out := make([]Use, len(r.index.packs))
	for n, pack := range r.index.packs {
		u := Use{Pack: pack}
		for _, i := range r.index.of(uint32(n)) {
			e := &r.index.entries[i]
			u.Total += int64(e.length)
			if m.needed[i] {
				u.Blobs, u.Bytes = append(u.Blobs, e.blob()), u.Bytes+int64(e.length)
			}
		}
		out[n] = u
	}
	return out, nil
}

// marker marks the blobs that snapshots need.
type marker struct {
	r      *Repository
	needed []bool // entries of the index
}

// mark marks all copies of a blob; known says that they were marked before.
func (m *marker) mark(kind BlobKind, id ID) (known bool, err error) {
	lo, hi := m.r.index.find(kind, id)
	if lo == hi {
		return false, fmt.Errorf("%s blob %s: %w", kind, id, ErrMissing)
	}
	known = m.needed[lo]
	for i := lo; i < hi; i++ {
		m.needed[i] = true
	}
	return known, nil
}

// tree marks a tree and all below it; each is read once.
func (m *marker) tree(ctx context.Context, id ID, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("tree %s: folders lie more than %d deep", id, maxDepth)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if known, err := m.mark(TreeBlob, id); known || err != nil {
		return err
	}
	raw, err := m.r.Blob(ctx, TreeBlob, id, nil)
	if err != nil {
		return err
	}
	var below []ID // read after the tree, so that only one is in memory
	err = parseTree(raw, func(n *Node) error {
		for _, c := range n.Content {
			if _, err := m.mark(DataBlob, c); err != nil {
				return fmt.Errorf("%.80q: %w", n.Name, err)
			}
		}
		if n.Subtree != nil {
			below = append(below, *n.Subtree)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("tree %s: %w", id, err)
	}
	for _, sub := range below {
		if err := m.tree(ctx, sub, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// PackWriter makes a pack of blobs that lie in others. They are copied as they
// are stored: nothing is encrypted anew but the table at the end.
type PackWriter struct {
	r     *Repository
	to    io.Writer
	sum   hash.Hash
	blobs []Blob
	size  int64
}

// NewPack begins a pack that is written to w.
func (r *Repository) NewPack(w io.Writer) *PackWriter {
	sum := sha256.New()
	return &PackWriter{r: r, to: io.MultiWriter(w, sum), sum: sum}
}

// Size is how many bytes were written, in Blobs.
func (p *PackWriter) Size() int64 { return p.size }

// Add copies a blob, once it was decrypted and compared with its id.
func (p *PackWriter) Add(ctx context.Context, pack ID, b Blob) error {
	box, err := p.r.box(ctx, pack, b)
	if err == nil {
		_, err = p.r.key.blob(bytes.Clone(box), b, nil) // it decrypts in place
	}
	if err != nil {
		return fmt.Errorf("%s: offset %d: %w", Data.Path(pack.String()), b.Offset, err)
	}
	if _, err := p.to.Write(box); err != nil {
		return err
	}
	b.Offset = uint32(p.size)
	p.blobs, p.size = append(p.blobs, b), p.size+int64(b.Length)
	return nil
}

// Close writes the table, and returns what an index says of the pack. Its name
// is the pack's id.
func (p *PackWriter) Close() (PackBlobs, error) {
	box, err := p.r.key.seal(header(p.blobs))
	if err != nil {
		return PackBlobs{}, err
	}
	box = binary.LittleEndian.AppendUint32(box, uint32(len(box)))
	if _, err := p.to.Write(box); err != nil {
		return PackBlobs{}, err
	}
	return PackBlobs{ID(p.sum.Sum(nil)), p.blobs}, nil
}

// header is the inverse of parseHeader.
func header(blobs []Blob) []byte {
	var out []byte
	for _, b := range blobs {
		kind := byte(b.Kind)
		if b.Plain > 0 {
			kind |= 2
		}
		out = binary.LittleEndian.AppendUint32(append(out, kind), b.Length)
		if b.Plain > 0 {
			out = binary.LittleEndian.AppendUint32(out, b.Plain)
		}
		out = append(out, b.ID[:]...)
	}
	return out
}

// SealIndex makes a file of index/; its name is the SHA-256 of its bytes. It is
// the inverse of Index. An index holds nothing that the packs do not say of
// themselves: restic makes it anew when it is lost.
func (k *Key) SealIndex(packs []PackBlobs) ([]byte, error) {
	type blob struct {
		ID     ID     `json:"id"`
		Kind   string `json:"type"`
		Offset uint32 `json:"offset"`
		Length uint32 `json:"length"`
		Plain  uint32 `json:"uncompressed_length,omitempty"`
	}
	type pack struct {
		ID    ID     `json:"id"`
		Blobs []blob `json:"blobs"`
	}
	var all struct {
		Packs []pack `json:"packs"`
	}
	for _, p := range packs {
		out := pack{ID: p.Pack}
		for _, b := range p.Blobs {
			out.Blobs = append(out.Blobs, blob{b.ID, b.Kind.String(), b.Offset, b.Length, b.Plain})
		}
		all.Packs = append(all.Packs, out)
	}
	text, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	return k.seal(text)
}

// Complete says whether everything that a snapshot needs is there. Load must have
// run.
func (r *Repository) Complete(ctx context.Context, s Snapshot) error {
	m := marker{r: r, needed: make([]bool, len(r.index.entries))}
	return m.tree(ctx, *s.Tree, 0)
}
