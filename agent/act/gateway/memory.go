package gateway

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
	"github.com/sonae/sonae/agent/link"
)

const stateFile = "blocks.json"

// memory is the whole state file.
type memory struct {
	InForce []block        `json:"in_force"`
	Done    []order.Result `json:"done"` // answers given, the oldest first
}

func (m *memory) answered(id string) (order.Result, bool) {
	i := slices.IndexFunc(m.Done, func(r order.Result) bool { return r.Order == id })
	if i < 0 {
		return order.Result{}, false
	}
	return m.Done[i], true
}

// remember keeps an answer, or changes the one given before.
func (m *memory) remember(r order.Result) {
	if i := slices.IndexFunc(m.Done, func(d order.Result) bool { return d.Order == r.Order }); i >= 0 {
		m.Done[i] = r
		return
	}
	m.Done = append(m.Done, r)
	if len(m.Done) > maxDone {
		m.Done = slices.Delete(m.Done, 0, len(m.Done)-maxDone)
	}
}

func without(all []block, action string) []block {
	var out []block
	for _, b := range all {
		if b.Action != action {
			out = append(out, b)
		}
	}
	return out
}

// wanted is what the rules should hold.
type wanted struct {
	blocked map[netip.Addr]time.Duration // for how long each address is blocked from now
	lines   map[string]time.Duration     // and each interface through which nothing passes
	keep    map[netip.AddrPort]bool      // hub addresses that blocked machines still reach over TCP
}

// wanted is what the kernel should hold: for each address the longest of what
// is left, so that the end of one block does not end another.
func (m *memory) wanted(now time.Time) wanted {
	w := wanted{blocked: map[netip.Addr]time.Duration{}, lines: map[string]time.Duration{}, keep: map[netip.AddrPort]bool{}}
	for _, b := range m.InForce {
		left := b.Left(now)
		if left <= 0 {
			continue
		}
		for _, a := range addresses(b.Targets) {
			w.blocked[a] = max(w.blocked[a], left)
		}
		for _, name := range lines(b.Targets) {
			w.lines[name] = max(w.lines[name], left)
		}
		for _, k := range b.Keep {
			if ap, err := netip.ParseAddrPort(k); err == nil {
				w.keep[netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())] = true
			}
		}
	}
	return w
}

// load reads the state. A file that cannot be read as state is put aside: the
// blocks that it described are ended by the kernel.
func (g *Gateway) load() (memory, error) {
	var m memory
	path := filepath.Join(g.cfg.Dir, stateFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return m, fmt.Errorf("read state of blocks: %w", err)
	}
	if err := json.Unmarshal(b, &m); err != nil {
		g.cfg.Log.Error("state of blocks is damaged and was put aside", "err", err)
		if err := os.Rename(path, path+".damaged"); err != nil {
			return memory{}, fmt.Errorf("put damaged state of blocks aside: %w", err)
		}
		return memory{}, nil
	}
	return m, nil
}

// save replaces the state file; it is on the disk when save returns.
func (g *Gateway) save(m memory) error {
	if err := os.MkdirAll(g.cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("write state of blocks: %w", err)
	}
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("write state of blocks: %w", err)
	}
	if err := link.WriteFile(filepath.Join(g.cfg.Dir, stateFile), b); err != nil {
		return fmt.Errorf("write state of blocks: %w", err)
	}
	return nil
}
