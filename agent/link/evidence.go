package link

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"sync"

	"github.com/sonae/sonae/source/agentlink/wire"
)

// Sums are the size and the hashes of an item at its source, hex.
type Sums struct {
	Bytes          int64
	SHA256, SHA512 string
}

// Upload streams one evidence item and hashes it on the way. nil means that
// the hub computed the same hashes and stored the item. Nothing is kept here:
// whoever can read the item again may upload it again.
func (c *Client) Upload(ctx context.Context, h wire.ItemHeader, body io.Reader) (Sums, error) {
	head, err := json.Marshal(h)
	if err != nil {
		return Sums{}, fmt.Errorf("upload %s: %w", h.Path, err)
	}
	trailer := http.Header{wire.TrailerSHA256: nil, wire.TrailerSHA512: nil}
	src := &source{from: body, trailer: trailer, h256: sha256.New(), h512: sha512.New()}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, c.base+"/agent/v1/evidence", src)
	if err != nil {
		return Sums{}, fmt.Errorf("upload %s: %w", h.Path, err)
	}
	req.Trailer, req.ContentLength = trailer, -1
	req.Header.Set("Content-Type", "application/octet-stream")
	req.Header.Set("Expect", "100-continue") // a refusal comes before a gigabyte is sent
	req.Header.Set(wire.HeaderItem, base64.StdEncoding.EncodeToString(head))
	res, err := c.http.Do(req)
	if err != nil {
		err = errors.Join(src.failure(), err)
		return Sums{}, fmt.Errorf("upload %s: %w", h.Path, err)
	}
	defer res.Body.Close()
	if err := accepted(res); err != nil {
		return Sums{}, fmt.Errorf("upload %s: %w", h.Path, err)
	}
	return src.sums(), nil
}

// source hashes what passes and sets the trailers at the end.
type source struct {
	from    io.Reader
	trailer http.Header

	mu         sync.Mutex // the transport may still read when the hub has refused already
	h256, h512 hash.Hash
	n          int64
	failed     error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.from.Read(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.h256.Write(p[:n])
	s.h512.Write(p[:n])
	s.n += int64(n)
	if err == io.EOF {
		sums := s.total()
		s.trailer.Set(wire.TrailerSHA256, sums.SHA256)
		s.trailer.Set(wire.TrailerSHA512, sums.SHA512)
	} else if err != nil {
		s.failed = err
	}
	return n, err
}

func (s *source) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

func (s *source) sums() Sums {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total()
}

func (s *source) total() Sums {
	return Sums{Bytes: s.n, SHA256: hex.EncodeToString(s.h256.Sum(nil)), SHA512: hex.EncodeToString(s.h512.Sum(nil))}
}
