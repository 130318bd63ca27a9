package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/protect/restic"
)

// shelf is the repository at the hub for our own reader (restic.Backend): what
// restic brought back is held against it, and restic is not asked whether it
// did well.
type shelf struct {
	hub    http.RoundTripper
	secret job.Secret

	mu    sync.Mutex
	sizes map[string]int64 // of packs that were opened: folders lie together in few
	ahead []window         // the last pieces of packs, the newest last
}

// window is a piece of a file. It is never written to.
type window struct {
	at    string
	off   int64
	bytes []byte
}

// Folders that lie together are read together, each a few KiB long.
const (
	aheadSize = 1 << 20 // bytes of a piece
	aheadMost = 4
)

func newShelf(hub http.RoundTripper, s job.Secret) *shelf {
	return &shelf{hub: hub, secret: s, sizes: map[string]int64{}}
}

// Bounds of what the hub may say.
const (
	maxName  = 128     // bytes
	maxSizes = 1 << 16 // packs whose size is remembered
)

const listed = "application/vnd.x.restic.rest.v2"

// ask sends one request; every status but want is an error.
func (s *shelf) ask(ctx context.Context, method, at string, header http.Header, want int) (*http.Response, error) {
	r := &http.Request{Method: method, URL: &url.URL{Scheme: "https", Host: "hub", Path: s.secret.Path + at}, Header: header, ProtoMajor: 1, ProtoMinor: 1}
	if s.secret.Token != "" {
		r.SetBasicAuth(s.secret.User, s.secret.Token)
	}
	res, err := s.hub.RoundTrip(r.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	if res.StatusCode == want {
		return res, nil
	}
	_ = res.Body.Close() // its status says it
	if res.StatusCode == http.StatusNotFound {
		return nil, fmt.Errorf("%s: %w", at, fs.ErrNotExist)
	}
	return nil, fmt.Errorf("%s: the hub answers %s", at, res.Status)
}

// List lists the files of a kind.
func (s *shelf) List(ctx context.Context, kind restic.Kind, each func(string, int64) error) error {
	if kind == restic.ConfigFile {
		return nil
	}
	res, err := s.ask(ctx, http.MethodGet, string(kind)+"/", http.Header{"Accept": {listed}}, http.StatusOK)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	d := json.NewDecoder(res.Body)
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return errors.Join(errors.New("the hub does not list its files"), err)
	}
	for d.More() {
		var f struct {
			Name string `json:"name"`
			Size int64  `json:"size"`
		}
		if err := d.Decode(&f); err != nil {
			return err
		}
		if len(f.Name) > maxName {
			return errors.New("the hub lists a name that cannot be one")
		}
		if err := each(f.Name, f.Size); err != nil {
			return err
		}
	}
	return nil
}

// Open asks how long a file is; its bytes are read when they are needed.
func (s *shelf) Open(ctx context.Context, kind restic.Kind, name string) (restic.File, error) {
	at := string(kind)
	if kind != restic.ConfigFile {
		if len(name) > maxName || strings.ContainsAny(name, "/?#%") {
			return nil, fs.ErrNotExist
		}
		at += "/" + name
	}
	s.mu.Lock()
	size, known := s.sizes[at]
	s.mu.Unlock()
	if !known {
		res, err := s.ask(ctx, http.MethodHead, at, http.Header{}, http.StatusOK)
		if err != nil {
			return nil, err
		}
		_ = res.Body.Close() // it has none
		if size = res.ContentLength; size < 0 {
			return nil, fmt.Errorf("%s: the hub does not say how long it is", at)
		}
		s.remember(kind, at, size)
	}
	return &onShelf{s, ctx, at, size}, nil
}

func (s *shelf) remember(kind restic.Kind, at string, size int64) {
	if kind != restic.Data {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sizes) >= maxSizes {
		clear(s.sizes)
	}
	s.sizes[at] = size
}

// onShelf is one file. It lives no longer than the call that opened it.
type onShelf struct {
	s    *shelf
	ctx  context.Context
	at   string
	size int64
}

func (f *onShelf) Size() int64  { return f.size }
func (f *onShelf) Close() error { return nil }

// ReadAt reads a range: from a piece that was read already, or with one request.
// Short ranges of packs are read with what follows them.
func (f *onShelf) ReadAt(p []byte, off int64) (int, error) {
	if !strings.HasPrefix(f.at, string(restic.Data)+"/") || len(p) > aheadSize/4 || off < 0 {
		return f.fetch(p, off)
	}
	piece, known := f.s.piece(f.at, off, len(p))
	if !known {
		piece = window{f.at, off, make([]byte, max(0, min(aheadSize, f.size-off)))}
		n, err := f.fetch(piece.bytes, off)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		piece.bytes = piece.bytes[:n]
		f.s.keep(piece)
	}
	n := copy(p, piece.bytes[off-piece.off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// piece finds a piece that has n bytes at an offset.
func (s *shelf) piece(at string, off int64, n int) (window, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.ahead {
		if w.at == at && off >= w.off && off+int64(n) <= w.off+int64(len(w.bytes)) {
			return w, true
		}
	}
	return window{}, false
}

func (s *shelf) keep(w window) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead = append(s.ahead, w)
	if len(s.ahead) > aheadMost {
		s.ahead = slices.Delete(s.ahead, 0, 1)
	}
}

// fetch reads one range with one request.
func (f *onShelf) fetch(p []byte, off int64) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	res, err := f.s.ask(f.ctx, http.MethodGet, f.at, http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", off, off+int64(len(p))-1)}}, http.StatusPartialContent)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	n, err := io.ReadFull(res.Body, p)
	if errors.Is(err, io.ErrUnexpectedEOF) { // shorter than it was asked for: the end of the file
		err = io.EOF
	}
	return n, err
}
