package act

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/act/lease"
)

const (
	stateFile = "act.json"
	lockFile  = "act.lock"
)

// isolation is what is in force.
type isolation struct {
	Order  string `json:"order"`
	Action string `json:"action"`
	Host   string `json:"host"`
	lease.Lease
	Keep      []string      `json:"keep"`
	Forbidden string        `json:"forbidden"`
	CodeHash  string        `json:"code_hash"`
	Verified  bool          `json:"verified"` // the hub answered after it was applied
	Checks    []order.Check `json:"checks"`
}

// answer is an order that was carried out, with what was said about it.
type answer struct {
	ExpiresAt time.Time    `json:"expires_at"`
	Result    order.Result `json:"result"`
}

// memory is the whole state file.
type memory struct {
	InForce *isolation     `json:"in_force"`
	Done    []answer       `json:"done"`
	Outbox  []order.Result `json:"outbox"` // to be reported by Run or Resume
	Wrong   []time.Time    `json:"wrong"`  // wrong codes
}

func newIsolation(o order.Order, now time.Time) *isolation {
	return &isolation{Order: o.ID, Action: o.Action, Host: o.Host, Lease: lease.New(o.Lease, now),
		Keep: o.Keep, Forbidden: o.Forbidden, CodeHash: o.CodeHash}
}

// keep returns the addresses; they were checked before they were stored.
func (i *isolation) keep() []netip.AddrPort {
	var out []netip.AddrPort
	for _, k := range i.Keep {
		if ap, err := netip.ParseAddrPort(k); err == nil {
			out = append(out, plain(ap))
		}
	}
	return out
}

// result is an answer about the isolation in force.
func (i *isolation) result(p order.Phase, at time.Time) order.Result {
	return order.Result{Order: i.Order, Action: i.Action, Kind: order.Isolate, Host: i.Host, Phase: p, At: at.UTC()}
}

func (m *memory) answered(id string) (order.Result, bool) {
	for _, d := range m.Done {
		if d.Result.Order == id {
			return d.Result, true
		}
	}
	return order.Result{}, false
}

// remember keeps the answer, so that a repeated order is not carried out
// again. Those that can still be opened come before those that cannot.
func (m *memory) remember(o order.Order, r order.Result) {
	m.Done = append(m.Done, answer{ExpiresAt: o.ExpiresAt, Result: r})
	if len(m.Done) > maxDone {
		oldest := 0
		for i, d := range m.Done {
			if d.ExpiresAt.Before(m.Done[oldest].ExpiresAt) {
				oldest = i
			}
		}
		m.Done = slices.Delete(m.Done, oldest, oldest+1)
	}
}

// replace changes the remembered answer to an order.
func (m *memory) replace(r order.Result) {
	for i := range m.Done {
		if m.Done[i].Result.Order == r.Order {
			m.Done[i].Result = r
		}
	}
}

// errNoChange ends a with without writing.
var errNoChange = errors.New("act: nothing changed")

// with runs f on the state, alone on this machine, and writes the state back.
func (a *Actor) with(f func(m *memory) error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := os.MkdirAll(a.cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("lock action state: %w", err)
	}
	unlock, err := lock(filepath.Join(a.cfg.Dir, lockFile))
	if err != nil {
		return fmt.Errorf("lock action state: %w", err)
	}
	defer unlock()
	m, err := a.load()
	if err != nil {
		return err
	}
	if err := f(&m); err != nil {
		if errors.Is(err, errNoChange) {
			return nil
		}
		return err
	}
	return a.save(&m)
}

// load reads the state. A file that cannot be read as state is put aside: an
// isolation that it described is ended by the kernel.
func (a *Actor) load() (memory, error) {
	path := filepath.Join(a.cfg.Dir, stateFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return memory{}, nil
	}
	if err != nil {
		return memory{}, fmt.Errorf("read action state: %w", err)
	}
	var m memory
	if err := json.Unmarshal(b, &m); err != nil {
		a.cfg.Log.Error("action state is damaged and was put aside", "err", err)
		if err := os.Rename(path, path+".damaged"); err != nil {
			return memory{}, fmt.Errorf("put damaged action state aside: %w", err)
		}
		return memory{}, nil
	}
	return m, nil
}

// save replaces the state file; it is on the disk when save returns.
func (a *Actor) save(m *memory) error {
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("write action state: %w", err)
	}
	path := filepath.Join(a.cfg.Dir, stateFile)
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write action state: %w", err)
	}
	_, err = f.Write(b)
	if e := f.Sync(); err == nil {
		err = e
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err == nil {
		err = syncDir(a.cfg.Dir)
	}
	if err != nil {
		return fmt.Errorf("write action state: %w", err)
	}
	return nil
}
