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
	piece := r.piece()
	defer r.pieces.Put(piece)
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
		whole, err := copyPiece(h, content, int(r.index.entries[lo].blob().Size()), piece[:])
		if !whole || err != nil {
			return false, err
		}
		if h.Sum(sum[:0]); sum != id {
			return false, nil
		}
	}
	switch _, err := io.ReadFull(content, piece[:1]); {
	case errors.Is(err, io.EOF):
		return true, nil
	default:
		return false, err
	}
}

// pieceSize is how much of a file is read at once, in bytes.
const pieceSize = 128 << 10

// piece is what a file is read into: many are small, and one after the other.
func (r *Repository) piece() *[pieceSize]byte {
	if p, ok := r.pieces.Get().(*[pieceSize]byte); ok {
		return p
	}
	return new([pieceSize]byte)
}

// copyPiece copies n bytes by way of buf; whole says whether there were as many.
func copyPiece(to io.Writer, from io.Reader, n int, buf []byte) (whole bool, err error) {
	for n > 0 {
		got, err := io.ReadFull(from, buf[:min(n, len(buf))])
		_, _ = to.Write(buf[:got]) // a hash takes all
		n -= got
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	return true, nil
}
