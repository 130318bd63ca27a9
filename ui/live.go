package ui

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/ui/view"
)

const (
	// maxStreams bounds the open streams; a hospital has far fewer screens.
	maxStreams = 512
	// burst is how long a page waits for what belongs to a first change: one
	// thing that happens is often two or three messages.
	burst = 20 * time.Millisecond
	// coalesce is the least time between two renderings of a page: many changes
	// become one.
	coalesce = 150 * time.Millisecond
	// beat is how often a page hears that the hub is there. A page that hears
	// nothing for three of them says that it is stale.
	beat = 5 * time.Second
	// refreshBeats is after how many beats a page is rendered anyway: "3
	// minutes ago" and lease ends change without any message.
	refreshBeats = 6
	// writeTime is how long a reader may take to accept one message.
	writeTime = 15 * time.Second
)

// Live tells open pages that something changed. It is safe for concurrent use;
// Notify never waits for a reader.
type Live struct {
	mu     sync.Mutex
	open   map[*listener]struct{}
	closed bool
}

// listener is one open page. wake holds at most one pending change: a reader
// that is slow sees the newest state, not every state.
type listener struct {
	topics map[string]bool
	site   string // own site of the viewer, empty: all
	wake   chan struct{}
	end    chan struct{}
}

// NewLive makes a Live without listeners.
func NewLive() *Live { return &Live{open: map[*listener]struct{}{}} }

// Notify wakes the pages that show topic: the first word of a bus subject, or
// a whole subject ("alert.raised"). site is the site of what changed; pages of
// people of another site are not woken. Empty: it concerns all.
func (l *Live) Notify(topic, site string) {
	topic, _, _ = strings.Cut(topic, ".")
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := range l.open {
		if !p.topics[topic] || (site != "" && p.site != "" && site != p.site) {
			continue
		}
		select {
		case p.wake <- struct{}{}:
		default: // a change is pending already; it will be rendered with this one
		}
	}
}

// Close ends all streams and refuses new ones, so that the hub can stop.
func (l *Live) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for p := range l.open {
		close(p.end)
		delete(l.open, p)
	}
}

// listen adds a page; nil when there are too many or the hub is stopping.
func (l *Live) listen(topics []string, site string) *listener {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.open) >= maxStreams {
		return nil
	}
	p := &listener{topics: map[string]bool{}, site: site, wake: make(chan struct{}, 1), end: make(chan struct{})}
	for _, t := range topics {
		p.topics[t] = true
	}
	l.open[p] = struct{}{}
	return p
}

func (l *Live) leave(p *listener) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, p)
}

// gather is how the stream asks a page for its regions: it travels in the
// context of an inner request for the same address.
type gather struct {
	regions view.Regions
	done    bool
}

type gatherKey struct{}

// live streams the regions of one page to one viewer: all of them at the
// start, then those that changed. Every rendering goes through the same route
// as a request for the page, so session and rights are asked for each time.
// Last-Event-ID needs no answer: a new stream starts with the present state.
func (s *server) live(w http.ResponseWriter, r *http.Request) {
	inner, rt, ok := s.inner(r)
	if !ok {
		http.NotFound(w, r)
		return
	}
	who := s.viewer(r)
	if who.ID == "" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	p := s.Live.listen(rt.topics, who.Site)
	if p == nil {
		w.Header().Set("Retry-After", "10")
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	defer s.Live.leave(p)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	st := stream{server: s, w: w, control: http.NewResponseController(w), inner: inner, sent: map[string]string{}}
	st.run(r.Context(), p)
}

// inner makes the request for the page that a stream follows.
func (s *server) inner(r *http.Request) (*http.Request, route, bool) {
	path := localPath(r.URL.Query().Get("path"))
	in, err := http.NewRequestWithContext(r.Context(), http.MethodGet, path, nil)
	if err != nil {
		return nil, route{}, false
	}
	in.Header, in.Host, in.TLS, in.RemoteAddr = r.Header.Clone(), r.Host, r.TLS, r.RemoteAddr
	_, pattern := s.mux.Handler(in)
	rt, ok := s.routes[pattern]
	return in, rt, ok && rt.topics != nil
}

// stream is one open page and what it has been sent.
type stream struct {
	*server
	w       http.ResponseWriter
	control *http.ResponseController
	inner   *http.Request
	next    time.Time         // not before then is it rendered again
	sent    map[string]string // region → HTML
	n       int
}

func (st *stream) run(ctx context.Context, p *listener) {
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	if !st.beat() || !st.refresh(ctx) {
		return
	}
	for n := 1; ; {
		select {
		case <-ctx.Done():
			return
		case <-p.end:
			return
		case <-ticker.C:
			if n++; !st.beat() || (n%refreshBeats == 0 && !st.refresh(ctx)) {
				return
			}
		case <-p.wake:
			// The first change after a quiet time is shown at once.
			if !pause(ctx, max(burst, time.Until(st.next))) || !st.refresh(ctx) {
				return
			}
		}
	}
}

// pause waits; false when the reader left meanwhile.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// refresh renders the page and sends the regions that differ from what was
// sent. It returns false when the stream is over.
func (st *stream) refresh(ctx context.Context) bool {
	began := time.Now()
	// A page that takes long is rendered less often, so that the streams leave
	// the hub time for its work.
	defer func() { st.next = time.Now().Add(max(coalesce, time.Since(began))) }()
	g := &gather{}
	in := st.inner.WithContext(context.WithValue(ctx, gatherKey{}, g))
	st.mux.ServeHTTP(&discard{header: http.Header{}}, in)
	if !g.done {
		st.event("gone", "") // the session ended, a right was taken, or we failed: the page asks to be loaded anew
		return false
	}
	var b bytes.Buffer
	for _, id := range g.regions.Order {
		html := g.regions.HTML[id]
		if st.sent[id] == html {
			continue
		}
		st.sent[id] = html
		fmt.Fprintf(&b, `<hx-partial hx-target="#%s" hx-swap="outerMorph">%s</hx-partial>`, id, html)
	}
	if b.Len() == 0 {
		return true
	}
	return st.event("", b.String())
}

// beat says that the hub is there, and what time it has.
func (st *stream) beat() bool { return st.event("beat", i18n.Clock(st.Now())) }

// event writes one message; false when the reader is gone.
func (st *stream) event(name, data string) bool {
	var b strings.Builder
	st.n++
	fmt.Fprintf(&b, "id: %d\n", st.n)
	if name != "" {
		fmt.Fprintf(&b, "event: %s\n", name)
	}
	for line := range strings.Lines(data) {
		fmt.Fprintf(&b, "data: %s\n", strings.TrimRight(line, "\r\n"))
	}
	if data == "" {
		b.WriteString("data: \n")
	}
	b.WriteByte('\n')
	// A writer without deadlines (a test recorder) simply has none.
	_ = st.control.SetWriteDeadline(time.Now().Add(writeTime))
	if _, err := st.w.Write([]byte(b.String())); err != nil {
		return false
	}
	return st.control.Flush() == nil
}

// discard is the writer of inner requests: what they answer is gathered.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}
