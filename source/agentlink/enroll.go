package agentlink

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/source/agentlink/wire"
)

func (s *Server) enroll(w http.ResponseWriter, r *http.Request) error {
	if !s.limit.allow(remote(r)) {
		return errRate
	}
	var q wire.EnrollRequest
	if err := readJSON(w, r, &q); err != nil {
		return err
	}
	if err := checkCSR(q.CSR); err != nil { // before the token is spent
		return err
	}
	host, site, err := s.d.Registry.Enroll(r.Context(), q)
	if err != nil {
		return err
	}
	s.limit.forgive(remote(r)) // a whole site may stand behind one address
	cert, err := s.d.Sign(q.CSR, host, site)
	if err != nil {
		return &caused{host, err}
	}
	s.counts.enrolments.Add(1)
	s.log.Info("agent enrolled", "host", host, "site", site, "remote", remote(r))
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(wire.EnrollReply{Host: host, Site: site, Certificate: cert, CA: s.d.CA, OrderKey: s.d.OrderKey}) // an agent that has gone needs a new token
	return nil
}

// checkCSR wants a request for an Ed25519 key, signed by that key.
func checkCSR(der []byte) error {
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return fault.New(fault.Invalid, "agentlink.csr").With(err)
	}
	if err := csr.CheckSignature(); err != nil {
		return fault.New(fault.Invalid, "agentlink.csr").With(err)
	}
	if _, ok := csr.PublicKey.(ed25519.PublicKey); !ok {
		return fault.New(fault.Invalid, "agentlink.csr")
	}
	return nil
}

// remote is the address of the other side without its port; for IPv6 the /64,
// which one machine can fill by itself.
func remote(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return "unknown"
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return "unknown"
	}
	if a = a.Unmap(); a.Is4() {
		return a.String()
	}
	p, err := a.WithZone("").Prefix(64)
	if err != nil {
		return "unknown"
	}
	return p.String()
}

// Limits of enrolment tries.
const (
	triesPerMinute = 10
	maxRemotes     = 10000
)

// tries is how often one address tried in vain in the current minute.
type tries struct {
	since time.Time
	n     int
}

// limiter bounds enrolment tries per address and its own memory.
type limiter struct {
	now  clock.Now
	mu   sync.Mutex
	seen map[string]*tries
}

func (l *limiter) allow(addr string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	t := l.seen[addr]
	if t == nil || now.Sub(t.since) >= time.Minute {
		if t == nil && len(l.seen) >= maxRemotes && !l.sweep(now) {
			return false // ten thousand addresses at once are an attack
		}
		t = &tries{since: now}
		l.seen[addr] = t
	}
	t.n++
	return t.n <= triesPerMinute
}

// forgive takes back a try that held a good token: nobody guesses with those.
func (l *limiter) forgive(addr string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.seen[addr]; t != nil && t.n > 0 {
		t.n--
	}
}

// sweep forgets addresses whose minute is over and says whether there were any.
func (l *limiter) sweep(now time.Time) bool {
	before := len(l.seen)
	for a, t := range l.seen {
		if now.Sub(t.since) >= time.Minute {
			delete(l.seen, a)
		}
	}
	return len(l.seen) < before
}
