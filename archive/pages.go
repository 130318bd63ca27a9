package archive

import (
	"errors"
	"sync"
	"time"

	"github.com/sonae/sonae/archive/segment"
)

// Bounds of what is kept of segments for looking things up.
const (
	maxPooled = 64 << 20 // bytes of decoded columns
	maxOpened = 256      // segments
	restAfter = 5 * time.Minute
)

// opened are the segments that were looked into last, open. When nobody looks
// anything up for a while, they are closed and their memory is free.
type opened struct {
	pool *segment.Pool
	idle *time.Timer

	mu   sync.Mutex
	held map[string]*openedPages // by path
	tick int64
	over bool
}

type openedPages struct {
	pages *segment.Pages
	users int
	used  int64
	gone  bool // closed by its last user
}

func newOpened() *opened {
	o := &opened{pool: segment.NewPool(maxPooled), held: map[string]*openedPages{}}
	o.idle = time.AfterFunc(restAfter, o.rest)
	return o
}

// use returns the pages of a segment until release is called.
func (o *opened) use(path string) (pages *segment.Pages, release func(), err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over {
		return nil, nil, errClosed
	}
	h := o.held[path]
	if h == nil {
		pages, err := segment.OpenPages(path, o.pool)
		if err != nil {
			return nil, nil, err
		}
		h = &openedPages{pages: pages}
		o.held[path] = h
	}
	o.idle.Reset(restAfter)
	o.tick++
	h.used = o.tick
	h.users++
	o.trim()
	return h.pages, func() { o.release(h) }, nil
}

func (o *opened) release(h *openedPages) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if h.users--; h.users == 0 && h.gone {
		_ = h.pages.Close() // it was only read
	}
}

// trim closes those that were not used for longest.
func (o *opened) trim() {
	for len(o.held) > maxOpened {
		oldest := ""
		for path, h := range o.held {
			if h.users == 0 && (oldest == "" || h.used < o.held[oldest].used) {
				oldest = path
			}
		}
		if oldest == "" {
			return
		}
		_ = o.held[oldest].pages.Close()
		delete(o.held, oldest)
	}
}

// rest closes what nobody uses.
func (o *opened) rest() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for path, h := range o.held {
		if h.users == 0 {
			_ = h.pages.Close()
			delete(o.held, path)
		}
	}
}

// forget lets go of a segment whose file goes away.
func (o *opened) forget(path string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	h := o.held[path]
	if h == nil {
		return
	}
	delete(o.held, path)
	if h.gone = true; h.users == 0 {
		_ = h.pages.Close()
	}
}

// close closes all.
func (o *opened) close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.over = true
	o.idle.Stop()
	var errs []error
	for path, h := range o.held {
		errs = append(errs, h.pages.Close())
		delete(o.held, path)
	}
	return errors.Join(errs...)
}
