package archive

import (
	"errors"
	"runtime/debug"
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
	once  sync.Once // opens it
	pages *segment.Pages
	err   error
	users int
	used  int64
	gone  bool // closed by its last user
}

func (h *openedPages) close() error {
	if h.pages == nil {
		return nil
	}
	return h.pages.Close()
}

func newOpened() *opened {
	o := &opened{pool: segment.NewPool(maxPooled), held: map[string]*openedPages{}}
	o.idle = time.AfterFunc(restAfter, o.rest)
	return o
}

// use returns the pages of a segment until release is called. Several may be
// opened at the same time.
func (o *opened) use(path string) (pages *segment.Pages, release func(), err error) {
	h, err := o.hold(path)
	if err != nil {
		return nil, nil, err
	}
	h.once.Do(func() { o.open(h, path) })
	if h.err != nil { // the next one tries again
		o.mu.Lock()
		if o.held[path] == h {
			delete(o.held, path)
		}
		o.mu.Unlock()
		o.release(h)
		return nil, nil, h.err
	}
	return h.pages, func() { o.release(h) }, nil
}

func (o *opened) open(h *openedPages, path string) {
	pages, err := segment.OpenPages(path, o.pool)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over && err == nil {
		pages, err = nil, errors.Join(errClosed, pages.Close())
	}
	h.pages, h.err = pages, err
}

// hold makes sure that a segment is kept, opened or not.
func (o *opened) hold(path string) (*openedPages, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over {
		return nil, errClosed
	}
	h := o.held[path]
	if h == nil {
		h = &openedPages{}
		o.held[path] = h
	}
	o.idle.Reset(restAfter)
	o.tick++
	h.used = o.tick
	h.users++
	o.trim()
	return h, nil
}

func (o *opened) release(h *openedPages) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if h.users--; h.users == 0 && h.gone {
		_ = h.close() // it was only read
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
		_ = o.held[oldest].close()
		delete(o.held, oldest)
	}
}

// rest closes what nobody uses, and gives its memory back: the runtime would keep
// most of it for long. As long as nobody looks anything up, it does so again.
func (o *opened) rest() {
	o.letGo()
	debug.FreeOSMemory()
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.over {
		o.idle.Reset(restAfter)
	}
}

func (o *opened) letGo() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for path, h := range o.held {
		if h.users == 0 {
			_ = h.close()
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
		_ = h.close()
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
		errs = append(errs, h.close())
		delete(o.held, path)
	}
	return errors.Join(errs...)
}
