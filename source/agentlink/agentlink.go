// Package agentlink is the hub's port for agents.
//
// In: HTTPS requests of agents as source/agentlink/wire describes them. Out:
// batches for the bus, results for action, items for evidence, heartbeats and
// enrolments for the registry; to agents: signed orders. Always true: who
// speaks is taken from the client certificate and the registry only, never
// from a body; a batch is answered with success only after it was published
// durably; whatever is refused is logged and counted.
package agentlink

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/source/agentlink/wire"
)

// Registry knows the hosts; asset.Registry.Gate has these methods.
type Registry interface {
	// Member returns the site of a trusted host, fault.Denied otherwise.
	Member(ctx context.Context, host string) (site string, err error)
	// Enroll uses a one-time token and registers the host.
	Enroll(ctx context.Context, q wire.EnrollRequest) (host, site string, err error)
	// Beat notes a heartbeat.
	Beat(ctx context.Context, host string, b wire.Heartbeat) error
}

// Deps is what the port needs from the rest of the hub.
type Deps struct {
	Registry Registry
	// Identity reads site and host from a verified client certificate.
	Identity func(*x509.Certificate) (site, host string, err error)
	// Sign makes the certificate (PEM, leaf first) for a checked request.
	Sign func(csr []byte, host, site string) ([]byte, error)
	// Publish returns when the bus has synced the message; the same id again
	// is dropped. fault.Busy when the bus is full; a cause with RetryAfter()
	// time.Duration says when to try again.
	Publish func(ctx context.Context, subject, id string, body []byte) error
	// Pending lists the orders that a host has not answered yet.
	Pending func(ctx context.Context, host string) ([]order.Signed, error)
	// Result takes what an agent answered; Host is set.
	Result func(ctx context.Context, r order.Result) error
	// Receive stores one evidence item; sums is valid once body was read to
	// its end.
	Receive func(ctx context.Context, host string, h wire.ItemHeader, body io.Reader, sums func() (sha256, sha512 string)) error

	// Job gives a host the job that an order named, with what opens its
	// repository: fault.Missing where the host has no such job, or told already
	// how it ended. nil: this hub has no jobs.
	Job func(ctx context.Context, host, id string) (job.Grant, error)
	// Tool opens a program that jobs name, by its SHA-256 in hex: fault.Missing
	// where there is none. nil: this hub has none.
	Tool func(ctx context.Context, host, sum string) (body io.ReadCloser, size int64, err error)

	CA       []byte            // PEM of the hub's authority
	OrderKey ed25519.PublicKey // signs orders
	Now      clock.Now
	Log      *slog.Logger

	KeepAlive time.Duration // of the order stream; 0 means 10 s
}

// Server answers agents. It is safe for concurrent use.
type Server struct {
	d      Deps
	log    *slog.Logger
	counts counts
	limit  limiter

	mu      sync.Mutex
	streams map[string]*stream // the newest order stream of each host
	closed  chan struct{}
	once    sync.Once
}

// New makes the port. Every field of Deps but Job, Tool and KeepAlive is needed.
func New(d Deps) *Server {
	if d.KeepAlive == 0 {
		d.KeepAlive = 10 * time.Second
	}
	return &Server{d: d, log: d.Log.With("part", "agentlink"), limit: limiter{now: d.Now, seen: map[string]*tries{}},
		counts: counts{refused: map[string]uint64{}}, streams: map[string]*stream{}, closed: make(chan struct{})}
}

// Close ends all order streams, so that an HTTP server can shut down. Agents
// connect again by themselves.
func (s *Server) Close() { s.once.Do(func() { close(s.closed) }) }

// Handler returns the routes.
func (s *Server) Handler() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("POST /agent/v1/enroll", s.handle("enroll", s.enroll))
	m.HandleFunc("POST /agent/v1/batch", s.handle("batch", s.known(s.batch)))
	m.HandleFunc("POST /agent/v1/heartbeat", s.handle("heartbeat", s.known(s.heartbeat)))
	m.HandleFunc("GET /agent/v1/orders", s.handle("orders", s.known(s.orders)))
	m.HandleFunc("POST /agent/v1/results", s.handle("results", s.known(s.results)))
	m.HandleFunc("GET /agent/v1/jobs/{id}", s.handle("job", s.known(s.job)))
	m.HandleFunc("GET /agent/v1/tools/{sum}", s.handle("tool", s.known(s.tool)))
	m.HandleFunc("PUT /agent/v1/evidence", s.handle("evidence", s.known(s.evidence)))
	return m
}

// who is the agent that speaks.
type who struct{ site, host string }

// handle turns the error of a route into an answer, a log line and a count.
func (s *Server) handle(route string, f func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := f(w, r)
		if err == nil || (r.Context().Err() != nil && fault.Of(err) == "") { // an agent that hangs up is no refusal
			return
		}
		status, key := answer(err)
		s.counts.refuse(key)
		level := slog.LevelWarn
		if status == http.StatusInternalServerError {
			level = slog.LevelError
		}
		var c *caused
		host := ""
		if errors.As(err, &c) {
			host = c.host
		}
		s.log.Log(r.Context(), level, "agent refused", "route", route, "status", status, "key", key, "host", host, "remote", remote(r), "err", err)
		w.Header().Set("Content-Type", "application/json")
		if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
			w.Header().Set("Retry-After", retryAfter(err))
		}
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(wire.Refusal{Key: key}) // an agent that has gone needs no answer
	}
}

// defaultRetry is what an agent waits when nobody says how long, in seconds.
const defaultRetry = "2"

// retryAfter is how long the agent shall wait, in whole seconds. Who refused
// may know: the cause of the error then has RetryAfter.
func retryAfter(err error) string {
	var known interface{ RetryAfter() time.Duration }
	if !errors.As(err, &known) || known.RetryAfter() <= 0 {
		return defaultRetry
	}
	return strconv.Itoa(int(math.Ceil(known.RetryAfter().Seconds())))
}

// caused names the host on whose behalf an error came up, for the log.
type caused struct {
	host string
	err  error
}

func (c *caused) Error() string { return c.err.Error() }
func (c *caused) Unwrap() error { return c.err }

// errTooLarge and errRate have a status of their own.
var (
	errTooLarge = errors.New("too large")
	errRate     = fault.New(fault.Busy, "agentlink.too-many-tries")
)

// answer maps an error to a status and a key. The text of an error that is
// ours stays in the log.
func answer(err error) (int, string) {
	key := "agentlink.internal"
	var f *fault.Error
	if errors.As(err, &f) {
		key = f.Key
	}
	var large *http.MaxBytesError
	switch {
	case errors.Is(err, errTooLarge), errors.As(err, &large), errors.Is(err, wire.ErrTooLarge):
		return http.StatusRequestEntityTooLarge, "agentlink.too-large"
	case errors.Is(err, errRate):
		return http.StatusTooManyRequests, key
	}
	switch fault.Of(err) {
	case fault.Invalid:
		return http.StatusBadRequest, key
	case fault.Missing:
		return http.StatusNotFound, key
	case fault.Denied:
		return http.StatusForbidden, key
	case fault.Conflict:
		return http.StatusConflict, key
	case fault.Busy:
		if strings.HasPrefix(key, "bus.rate-") || strings.HasPrefix(key, "bus.quota-") { // it is this sender who is too much
			return http.StatusTooManyRequests, key
		}
		return http.StatusServiceUnavailable, key
	}
	return http.StatusInternalServerError, key
}

// known lets only trusted hosts pass.
func (s *Server) known(f func(http.ResponseWriter, *http.Request, who) error) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		a, err := s.identify(r)
		if err != nil {
			return &caused{a.host, err}
		}
		if err := f(w, r, a); err != nil {
			return &caused{a.host, err}
		}
		return nil
	}
}

func (s *Server) identify(r *http.Request) (who, error) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return who{}, fault.New(fault.Denied, "agentlink.no-certificate")
	}
	site, host, err := s.d.Identity(r.TLS.VerifiedChains[0][0])
	if err != nil {
		return who{}, fault.New(fault.Denied, "agentlink.certificate").With(err)
	}
	now, err := s.d.Registry.Member(r.Context(), host)
	if err != nil {
		return who{host: host}, err
	}
	if now != site {
		return who{host: host}, fault.New(fault.Denied, "agentlink.certificate")
	}
	return who{site, host}, nil
}
