package restic

import (
	"context"
	"errors"
)

// Stats is what snapshots hold and what it takes to keep it, in bytes.
type Stats struct {
	Snapshots int
	Entries   int    // of all kinds
	Files     int    // plain files
	Restore   uint64 // what a restore of each snapshot would write: a hard-linked file once
	Content   uint64 // of distinct data blobs, before compression
	Trees     uint64 // of distinct tree blobs, before compression
	Blobs     int    // distinct ones, data and tree
	Stored    uint64 // distinct blobs as they are stored, with Overhead
}

// Dedup is how many bytes are restored for each byte of content; 0 when there
// is none.
func (s Stats) Dedup() float64 { return ratio(s.Restore, s.Content) }

// Compression is how many bytes lie in each stored byte; 0 when there is none.
func (s Stats) Compression() float64 {
	return ratio(s.Content+s.Trees+Overhead*uint64(s.Blobs), s.Stored)
}

func ratio(a, b uint64) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

// Stats counts what snapshots hold. Load must have run.
func (r *Repository) Stats(ctx context.Context, snapshots ...Snapshot) (Stats, error) {
	c := counter{r: r, seen: make([]bool, len(r.index.entries))}
	for _, s := range snapshots {
		c.Snapshots++
		if err := c.tree(*s.Tree); err != nil {
			return Stats{}, err
		}
		type file struct{ device, inode uint64 }
		linked := map[file]bool{}
		err := r.Walk(ctx, *s.Tree, func(_ string, n *Node) error {
			if n.Type == "file" {
				c.Files++
				at := file{n.DeviceID, n.Inode}
				if n.Links <= 1 || !linked[at] {
					c.Restore += n.Size
				}
				if n.Links > 1 {
					linked[at] = true
				}
			}
			return c.node(n)
		})
		if err != nil {
			return Stats{}, err
		}
	}
	return c.Stats, nil
}

// counter counts blobs once.
type counter struct {
	Stats
	r    *Repository
	seen []bool
}

func (c *counter) node(n *Node) error {
	c.Entries++
	for _, id := range n.Content {
		size, err := c.blob(DataBlob, id)
		if err != nil {
			return err
		}
		c.Content += size
	}
	if n.Subtree != nil {
		return c.tree(*n.Subtree)
	}
	return nil
}

func (c *counter) tree(id ID) error {
	size, err := c.blob(TreeBlob, id)
	c.Trees += size
	return err
}

// blob counts a blob and returns its size when it was not counted before.
func (c *counter) blob(kind BlobKind, id ID) (uint64, error) {
	lo, hi := c.r.index.find(kind, id)
	if lo == hi {
		return 0, errors.Join(ErrMissing, errors.New(kind.String()+" blob "+id.String()))
	}
	if c.seen[lo] {
		return 0, nil
	}
	c.seen[lo] = true
	e := c.r.index.entries[lo].blob()
	c.Blobs++
	c.Stored += uint64(e.Length)
	return uint64(e.Size()), nil
}

// Footprint is how much of the repository the content of a file takes, in
// bytes as stored: compared with its size it says how far it was compressed.
// What other files share is counted too. Load must have run.
func (r *Repository) Footprint(n *Node) (stored uint64, err error) {
	for _, id := range n.Content {
		lo, hi := r.index.find(DataBlob, id)
		if lo == hi {
			return 0, errors.Join(ErrMissing, errors.New("data blob "+id.String()))
		}
		stored += uint64(r.index.entries[lo].length)
	}
	return stored, nil
}

// Lengths is how long a data blob is, and how many bytes it takes in the
// repository. Load must have run.
func (r *Repository) Lengths(id ID) (plain, stored uint64, err error) {
	lo, hi := r.index.find(DataBlob, id)
	if lo == hi {
		return 0, 0, errors.Join(ErrMissing, errors.New("data blob "+id.String()))
	}
	e := r.index.entries[lo].blob()
	return uint64(e.Size()), uint64(e.Length), nil
}
