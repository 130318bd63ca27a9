package agentlink

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/fault"
)

// stream is one open order stream.
type stream struct {
	wake   chan struct{} // an order waits; one pending signal is enough
	cancel context.CancelFunc
}

// Wake tells the stream of a host that an order waits. Without a stream the
// order is delivered when the agent connects.
func (s *Server) Wake(host string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.streams[host]; st != nil {
		select {
		case st.wake <- struct{}{}:
		default:
		}
	}
}

// open registers a stream. A host has one: the newest ends the one before,
// which is what a lost connection leaves behind.
func (s *Server) open(host string, cancel context.CancelFunc) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.streams[host]; old != nil {
		old.cancel()
	}
	st := &stream{wake: make(chan struct{}, 1), cancel: cancel}
	s.streams[host] = st
	return st
}

func (s *Server) shut(host string, st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams[host] == st {
		delete(s.streams, host)
	}
}

// orders streams what waits, at once and whenever woken. It also looks at
// every keep-alive, so that a lost wake or an order made by another hub only
// costs seconds, and a host whose trust ended is cut off.
func (s *Server) orders(w http.ResponseWriter, r *http.Request, a who) error {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	st := s.open(a.host, cancel)
	defer s.shut(a.host, st)
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Cache-Control", "no-store")
	out := http.NewResponseController(w)
	sent := map[[32]byte]bool{}
	tick := time.NewTicker(s.d.KeepAlive)
	defer tick.Stop()
	for first := true; ; first = false {
		if _, err := s.identify(r); err != nil {
			return s.unlessStarted(first, a, err)
		}
		if err := s.send(ctx, w, a.host, sent); err != nil {
			return s.unlessStarted(first, a, err)
		}
		_ = out.SetWriteDeadline(s.deadline()) // not every connection has one
		if err := out.Flush(); err != nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.closed:
			return nil
		case <-st.wake:
		case <-tick.C:
			if _, err := w.Write([]byte("\n")); err != nil {
				return nil
			}
		}
	}
}

// deadline is when a write to an agent that reads nothing is given up. It is
// in terms of the machine's clock, as the network knows no other.
func (s *Server) deadline() time.Time { return time.Now().Add(3 * s.d.KeepAlive) }

// unlessStarted returns err as an answer while nothing was sent; later the
// stream just ends, and the agent learns the reason when it connects again.
func (s *Server) unlessStarted(first bool, a who, err error) error {
	if first {
		return err
	}
	if fault.Of(err) == "" && !isDone(err) {
		s.log.Error("order stream ended", "host", a.host, "err", err)
	}
	return nil
}

func isDone(err error) bool { return err == context.Canceled }

// send writes the pending orders that this stream has not carried yet.
func (s *Server) send(ctx context.Context, w http.ResponseWriter, host string, sent map[[32]byte]bool) error {
	list, err := s.d.Pending(ctx, host)
	if err != nil {
		return err
	}
	still := make(map[[32]byte]bool, len(list))
	for _, o := range list {
		key := sha256.Sum256(o.Body)
		still[key] = true
		if sent[key] {
			continue
		}
		if err := writeOrder(w, o); err != nil {
			return err
		}
		s.counts.orders.Add(1)
	}
	clear(sent) // forget what was answered: memory stays as small as the list
	for k := range still {
		sent[k] = true
	}
	return nil
}

func writeOrder(w http.ResponseWriter, o order.Signed) error {
	b, err := json.Marshal(o)
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}
