package agentlink

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/source/agentlink/wire"
)

// Bounds of what agents send, in bytes.
const (
	maxJSON       = 256 << 10
	maxItemHeader = 8 << 10
	maxItemPath   = 512
	maxItem       = 64 << 30
	maxBatchID    = 128
)

// patience is how long an agent may be silent inside a body.
const patience = 30 * time.Second

// body bounds a request's body in bytes and in silence.
func body(w http.ResponseWriter, r *http.Request, limit int64) io.Reader {
	return &patient{from: http.MaxBytesReader(w, r.Body, limit), conn: http.NewResponseController(w)}
}

type patient struct {
	from io.Reader
	conn *http.ResponseController
}

func (p *patient) Read(b []byte) (int, error) {
	_ = p.conn.SetReadDeadline(time.Now().Add(patience)) // not every connection has one
	n, err := p.from.Read(b)
	if err != nil {
		_ = p.conn.SetReadDeadline(time.Time{})
	}
	return n, err
}

// readJSON decodes a bounded body.
func readJSON(w http.ResponseWriter, r *http.Request, into any) error {
	d := json.NewDecoder(body(w, r, maxJSON))
	if err := d.Decode(into); err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return err
		}
		return fault.New(fault.Invalid, "agentlink.body").With(err)
	}
	return nil
}

func (s *Server) batch(w http.ResponseWriter, r *http.Request, a who) error {
	if r.ContentLength > wire.MaxBatch {
		return errTooLarge
	}
	data, err := io.ReadAll(body(w, r, wire.MaxBatch))
	if err != nil {
		return err
	}
	id, events, err := wire.CheckBatch(data)
	if errors.Is(err, wire.ErrTooLarge) {
		return err
	}
	if err != nil {
		return fault.New(fault.Invalid, "agentlink.body").With(err)
	}
	if !isOf(id, a.host) {
		return fault.New(fault.Invalid, "agentlink.batch-id")
	}
	out, err := wire.Stamped(wire.Stamp{Site: a.site, Host: a.host, At: s.d.Now().UTC()}, data)
	if err != nil {
		return err
	}
	if err := s.d.Publish(r.Context(), "event."+a.site+"."+a.host, id, out); err != nil {
		return err
	}
	s.counts.batch(events, len(data))
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// isOf says whether a batch id is one that a host may use: it must begin with
// the host's own, so that no host can take the id of another one's batch and
// make it vanish as a repeat.
func isOf(id, host string) bool {
	rest, ok := strings.CutPrefix(id, host+".")
	return ok && rest != "" && len(id) <= maxBatchID && !strings.ContainsFunc(rest, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_'
	})
}

func (s *Server) heartbeat(w http.ResponseWriter, r *http.Request, a who) error {
	var b wire.Heartbeat
	if err := readJSON(w, r, &b); err != nil {
		return err
	}
	if err := s.d.Registry.Beat(r.Context(), a.host, b); err != nil {
		return err
	}
	s.counts.heartbeats.Add(1)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(wire.HeartbeatReply{At: s.d.Now().UTC()}) // the beat is noted, whether or not the agent waits
	return nil
}

func (s *Server) results(w http.ResponseWriter, r *http.Request, a who) error {
	var res order.Result
	if err := readJSON(w, r, &res); err != nil {
		return err
	}
	if res.Order == "" || res.Phase == "" {
		return fault.New(fault.Invalid, "agentlink.body")
	}
	res.Host = a.host
	if err := s.d.Result(r.Context(), res); err != nil {
		return err
	}
	s.counts.results.Add(1)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// job answers with what opens a repository: no cache may keep it.
func (s *Server) job(w http.ResponseWriter, r *http.Request, a who) error {
	if s.d.Job == nil {
		return fault.New(fault.Missing, "agentlink.job")
	}
	g, err := s.d.Job(r.Context(), a.host, r.PathValue("id"))
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(g) // an agent that has gone asks again
	return nil
}

// tool answers with a program; what was cut off does not have its hash.
func (s *Server) tool(w http.ResponseWriter, r *http.Request, a who) error {
	if s.d.Tool == nil {
		return fault.New(fault.Missing, "agentlink.job")
	}
	body, size, err := s.d.Tool(r.Context(), a.host, r.PathValue("sum"))
	if err != nil {
		return err
	}
	defer body.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	_, _ = io.Copy(w, body) // an agent that has gone asks again
	return nil
}

func (s *Server) evidence(w http.ResponseWriter, r *http.Request, a who) error {
	h, err := itemHeader(r.Header.Get(wire.HeaderItem))
	if err != nil {
		return err
	}
	sums := func() (string, string) { return r.Trailer.Get(wire.TrailerSHA256), r.Trailer.Get(wire.TrailerSHA512) }
	if err := s.d.Receive(r.Context(), a.host, h, body(w, r, maxItem), sums); err != nil {
		return err
	}
	s.counts.items.Add(1)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// itemHeader decodes and checks the header of an evidence item. The path must
// already be clean, relative and without control characters: a path that has
// to be repaired was made by somebody who wants to leave the bag.
func itemHeader(text string) (wire.ItemHeader, error) {
	var h wire.ItemHeader
	if len(text) > maxItemHeader {
		return h, errTooLarge
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return h, fault.New(fault.Invalid, "agentlink.item").With(err)
	}
	if err := json.Unmarshal(raw, &h); err != nil {
		return h, fault.New(fault.Invalid, "agentlink.item").With(err)
	}
	if h.Bag == "" || !line(h.Bag) || !line(h.Title) || !line(h.Method) || !line(h.Error) {
		return h, fault.New(fault.Invalid, "agentlink.item")
	}
	if p := h.Path; p == "" || len(p) > maxItemPath || !line(p) || strings.Contains(p, `\`) || path.IsAbs(p) ||
		path.Clean(p) != p || p == "." || p == ".." || strings.HasPrefix(p, "../") {
		return h, fault.New(fault.Invalid, "agentlink.item-path")
	}
	h.StartedAt = wire.Plausible(h.StartedAt, time.Time{})
	return h, nil
}

func line(s string) bool {
	return len(s) <= maxItemHeader && utf8.ValidString(s) && strings.IndexFunc(s, unicode.IsControl) < 0
}
