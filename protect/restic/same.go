package restic

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
)

// Same says whether content is that of a file. It is compared by the hashes of
// its pieces: nothing of the file is read from the repository. An error is one
// of reading content, or ErrMissing.
func (r *Repository) Same(ctx context.Context, n *Node, content io.Reader) (bool, error) {
	h := sha256.New()
	var sum ID
	for _, id := range n.Content {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		lo, hi := r.index.find(DataBlob, id)
		if lo == hi {
			return false, fmt.Errorf("%s blob %s: %w", DataBlob, id, ErrMissing)
		}
		h.Reset()
		_, err := io.CopyN(h, content, int64(r.index.entries[lo].blob().Size()))
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if h.Sum(sum[:0]); sum != id {
			return false, nil
		}
	}
	var more [1]byte
	switch _, err := io.ReadFull(content, more[:]); {
	case errors.Is(err, io.EOF):
		return true, nil
	default:
		return false, err
	}
}
