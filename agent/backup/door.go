package backup

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sonae/sonae/protect/job"
)

// door lets restic reach the agent's own repository at the hub, and nothing
// else of it, over the agent's link. So the agent's key and the hub's addresses
// stay the agent's: no program is handed a certificate, and a hub that moved is
// found. Who does not know the random word in its address gets nothing; the
// word is not in the arguments of any program, and dies with the job.
type door struct {
	url    string   // for restic
	config *url.URL // of the repository's own file config
	hub    http.RoundTripper
	passed atomic.Int64 // bytes, both ways
	server *http.Server
	served chan struct{}
}

// headerTime bounds the head of a request. Its body takes as long as the line
// needs; restic itself gives up what stands still.
const headerTime = 10 * time.Second

// openDoor opens a door to what a secret names. full is called when the hub says
// that the repository takes no more.
func openDoor(hub http.RoundTripper, s job.Secret, full func()) (*door, error) {
	if !strings.HasPrefix(s.Path, "/") || path.Clean(s.Path)+"/" != s.Path || strings.ContainsAny(s.Path, "?#%\\") {
		return nil, fmt.Errorf("the hub names a repository at %.80q", s.Path)
	}
	if s.Password == "" {
		return nil, errors.New("the hub knows no password for the repository")
	}
	var word [24]byte
	if _, err := rand.Read(word[:]); err != nil {
		return nil, err
	}
	prefix := "/" + hex.EncodeToString(word[:])
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open a door for restic: %w", err)
	}
	d := &door{url: "rest:http://" + l.Addr().String() + prefix + "/", config: &url.URL{Scheme: "https", Host: "hub", Path: s.Path + "config"}, hub: hub, served: make(chan struct{})}
	proxy := &httputil.ReverseProxy{
		Transport:  &counting{hub, &d.passed, full},
		BufferPool: &buffers{},
		ErrorLog:   log.New(io.Discard, "", 0), // restic says what went wrong
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL = &url.URL{Scheme: "https", Host: "hub", Path: strings.TrimSuffix(s.Path, "/") + r.In.URL.Path, RawQuery: r.In.URL.RawQuery}
			r.Out.Header.Del("Authorization")
			if s.Token != "" {
				r.Out.SetBasicAuth(s.User, s.Token)
			}
		},
	}
	only := http.StripPrefix(prefix, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p := r.URL.Path; p == "" || p[0] != '/' || strings.Contains(p, "..") || r.URL.RawPath != "" {
			http.NotFound(w, r)
			return
		}
		hearOut(proxy, w, r)
	}))
	d.server = &http.Server{Handler: only, ReadHeaderTimeout: headerTime, ErrorLog: proxy.ErrorLog}
	go func() {
		defer close(d.served)
		_ = d.server.Serve(l) // ends with close
	}()
	return d, nil
}

// Most bytes of a body that are still read once the hub has answered, and how long
// that may take.
const (
	heardBytes = 32 << 20
	heardTime  = 20 * time.Second
)

// hearOut serves a request and then reads what restic still sends of it. The hub may
// refuse a file before it has come; restic, writing into a connection that ended,
// would not see why, and try again.
func hearOut(proxy http.Handler, w http.ResponseWriter, r *http.Request) {
	conn := http.NewResponseController(w)
	if r.ContentLength == 0 || conn.EnableFullDuplex() != nil {
		proxy.ServeHTTP(w, r)
		return
	}
	body := r.Body
	r.Body = &held{from: body}
	proxy.ServeHTTP(w, r)
	_ = r.Body.Close() // nobody else reads from here on
	if conn.Flush() == nil && conn.SetReadDeadline(time.Now().Add(heardTime)) == nil {
		_, _ = io.CopyN(io.Discard, body, heardBytes)
	}
}

// held is a body that stays open when it is closed, and gives nothing more.
type held struct {
	mu     sync.Mutex
	from   io.Reader
	closed bool
}

func (h *held) Read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return 0, http.ErrBodyReadAfterClose
	}
	return h.from.Read(p)
}

// Close waits for a read that is under way.
func (h *held) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	return nil
}

// begun says whether the hub has the repository already. Where it does not say so,
// restic finds out, for which it derives its key: a third of what a small backup
// takes.
func (d *door) begun(ctx context.Context) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodHead, d.config.String(), nil)
	if err != nil {
		return false
	}
	res, err := d.hub.RoundTrip(r)
	if err != nil {
		return false
	}
	_ = res.Body.Close() // there is none
	return res.StatusCode == http.StatusOK
}

// close ends everything that goes through the door.
func (d *door) close() {
	_ = d.server.Close()
	<-d.served
}

// counting counts the bytes of contents in both directions.
type counting struct {
	to   http.RoundTripper
	n    *atomic.Int64
	full func()
}

func (c *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &counted{r.Body, c.n}
	}
	res, err := c.to.RoundTrip(r)
	if err == nil {
		res.Body = &counted{&whole{res.Body}, c.n}
		if res.StatusCode == http.StatusInsufficientStorage {
			c.full()
		}
	}
	return res, err
}

// pieceSize is how much of a file restic is handed at once, in bytes. Calls of the
// system cost more than what they carry.
const pieceSize = 128 << 10

// buffers are those of the proxy.
type buffers struct{ pool sync.Pool }

// Get returns one.
func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[pieceSize]byte); ok {
		return p[:]
	}
	return make([]byte, pieceSize)
}

// Put takes one back.
func (b *buffers) Put(p []byte) { b.pool.Put((*[pieceSize]byte)(p)) }

// whole fills what it is asked to read into: TLS gives 16 KiB at a time.
type whole struct{ io.ReadCloser }

func (w *whole) Read(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var k int
		k, err = w.ReadCloser.Read(p[n:])
		n += k
	}
	return n, err
}

type counted struct {
	io.ReadCloser
	n *atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n.Add(int64(n))
	return n, err
}
