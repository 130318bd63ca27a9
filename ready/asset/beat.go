package asset

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/source/agentlink/wire"
	"github.com/sonae/sonae/state"
)

// Heartbeat is what an agent says of itself every few seconds.
type Heartbeat struct {
	At        time.Time // by the clock of the machine
	Agent     string
	OS        string
	Addresses []string
	Hub       string // ip:port at which the agent reaches the hub
	Health    Health // Offset is computed by the registry
	Action    string // id of the isolation in force
	LeaseEnd  time.Time
}

// beat is the newest heartbeat of a host.
type beat struct {
	Heartbeat
	seen  time.Time // by the hub's clock
	saved time.Time // when it was last written to the state
}

// saveEvery is how old the stored heartbeat may become while nothing but load
// changes: a synced write for each of a thousand hosts every 5 s would keep
// the disk from the work that matters.
const saveEvery = 30 * time.Second

// addresses keeps what are addresses, at most maxParts, in canonical form.
func addresses(in []string) []string {
	out := []string{}
	for _, s := range in {
		if a, err := netip.ParseAddr(s); err == nil && len(out) < maxParts {
			out = append(out, a.Unmap().String())
		}
	}
	return out
}

// Beat notes a heartbeat. The host must be registered and trusted. A hub
// address that is not ip:port is fault.Invalid: isolation would rely on it.
func (r *Registry) Beat(ctx context.Context, host string, h Heartbeat) error {
	now := r.now().UTC()
	if h.Hub != "" {
		if _, err := netip.ParseAddrPort(h.Hub); err != nil {
			return fault.New(fault.Invalid, "asset.hub-address").With(err)
		}
	}
	if !plain(h.Agent, maxName) || !plain(h.OS, maxName) || !plain(h.Action, maxName) || h.LeaseEnd.After(now.Add(inFuture)) {
		return fault.New(fault.Invalid, "asset.text")
	}
	h.Addresses = addresses(h.Addresses)
	h.Health.Offset = 0
	if !h.At.IsZero() {
		h.Health.Offset = h.At.Sub(now)
	}
	r.mu.Lock()
	last, known := r.live[host]
	if known && sameButLoad(last.Heartbeat, h) && now.Sub(last.saved) < saveEvery {
		r.live[host] = beat{Heartbeat: h, seen: now, saved: last.saved}
		r.mu.Unlock()
		return nil
	}
	r.mu.Unlock()
	return r.saveBeat(ctx, host, h, now, false)
}

// sameButLoad says whether only numbers changed that may be half a minute old.
func sameButLoad(a, b Heartbeat) bool {
	return a.Agent == b.Agent && a.OS == b.OS && a.Hub == b.Hub && a.Action == b.Action && a.LeaseEnd.Equal(b.LeaseEnd) &&
		a.Health.Isolated == b.Health.Isolated && a.Health.SensorOn == b.Health.SensorOn && a.Health.SensorLosing == b.Health.SensorLosing && a.Health.Gateway == b.Health.Gateway && slices.Equal(a.Addresses, b.Addresses)
}

// DrillBeat is the heartbeat of a practice host, which has no agent. A real
// host is refused.
func (r *Registry) DrillBeat(ctx context.Context, host string, h Heartbeat) error {
	return r.saveBeat(ctx, host, h, r.now().UTC(), true)
}

func (r *Registry) saveBeat(ctx context.Context, host string, h Heartbeat, now time.Time, drill bool) error {
	return r.db.Tx(ctx, func(tx *state.Tx) error {
		res, err := tx.ExecContext(ctx, `UPDATE asset_host SET last_seen = $2, agent = $3, os = $4, addresses = $5, hub = $6, health = $7, action = $8, lease_end = $9
			WHERE id = $1 AND removed_at = 0 AND drill = $10`,
			host, state.Nanos(now), h.Agent, h.OS, state.JSON(h.Addresses), h.Hub, state.JSON(h.Health), h.Action, state.Nanos(h.LeaseEnd), flag(drill))
		if err != nil {
			return fmt.Errorf("heartbeat of %s: %w", host, err)
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errHost
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.live[host] = beat{Heartbeat: h, seen: now, saved: now}
		return nil
	})
}

func (r *Registry) forget(host string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.live, host)
}

// overlay puts the newest heartbeat over what is stored.
func (r *Registry) overlay(h Host) Host {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, ok := r.live[h.ID]
	if !ok {
		return h
	}
	h.LastSeen, h.Health, h.Agent, h.OS, h.Addresses = b.seen, b.Health, b.Agent, b.OS, slices.Clone(b.Addresses)
	h.Hub, h.Action, h.LeaseEnd = b.Hub, b.Action, b.LeaseEnd
	return h
}

// HubAddress returns the ip:port at which the agent of a host reaches the hub,
// which isolation must keep open. Missing when the host has not told it yet.
func (r *Registry) HubAddress(ctx context.Context, host string) (string, error) {
	h, err := r.Host(ctx, host)
	if err != nil {
		return "", err
	}
	if h.Hub == "" {
		return "", fault.New(fault.Missing, "asset.hub-unknown")
	}
	return h.Hub, nil
}

// Gate is the registry as the agents' port sees it, in the words of the wire.
type Gate struct{ r *Registry }

// Gate returns the registry for source/agentlink.
func (r *Registry) Gate() Gate { return Gate{r} }

// Member returns the site of a host that is registered and trusted, or
// fault.Denied.
func (g Gate) Member(ctx context.Context, host string) (site string, err error) {
	h, err := g.r.Host(ctx, host)
	if fault.Of(err) == fault.Missing || (err == nil && (h.Drill || !h.RemovedAt.IsZero())) {
		return "", fault.New(fault.Denied, "asset.host-untrusted")
	}
	return h.Site, err
}

// Enroll registers a machine.
func (g Gate) Enroll(ctx context.Context, q wire.EnrollRequest) (host, site string, err error) {
	h, err := g.r.Enroll(ctx, NewHost{Token: q.Token, Name: q.Name, OS: q.OS, Agent: q.Agent, Addresses: q.Addresses})
	return h.ID, h.Site, err
}

// Beat notes a heartbeat.
func (g Gate) Beat(ctx context.Context, host string, b wire.Heartbeat) error {
	return g.r.Beat(ctx, host, Heartbeat{At: b.At, Agent: b.Agent, OS: b.OS, Addresses: b.Addresses, Hub: b.Hub, Action: b.Action, LeaseEnd: b.LeaseEnd,
		Health: Health{CPU: b.Health.CPU, Memory: b.Health.Memory, Disk: b.Health.Disk, Spool: b.Health.Spool, Dropped: b.Health.Dropped,
			Isolated: b.Health.Isolated, SensorOn: b.Health.SensorOn, SensorDrop: b.Health.SensorDrop, SensorSeen: b.Health.SensorSeen, SensorLosing: b.Health.SensorLosing,
			RingBytes: b.Health.RingBytes, RingSince: b.Health.RingSince, RingLost: b.Health.RingLost, RingOff: b.Health.RingOff, Gateway: b.Health.Gateway, Measures: measures(b.Health.Measures), VMs: vms(b.Health.VMs)}})
}

// vms keeps what can be shown, within the bounds of the wire.
func vms(in []wire.VM) []VM {
	var out []VM
	for _, m := range in[:min(len(in), wire.MaxVMs)] {
		if m.Name == "" || !plain(m.Name, maxName) {
			continue
		}
		v := VM{Name: m.Name, Runs: m.Runs}
		for _, l := range m.Links[:min(len(m.Links), wire.MaxLinks)] {
			if plain(l.MAC, maxName) && plain(l.To, maxName) {
				v.Links = append(v.Links, Link(l))
			}
		}
		out = append(out, v)
	}
	return out
}

// measures keeps what can be shown and compared, at most wire.MaxMeasures.
func measures(in []wire.Measure) []Measure {
	var out []Measure
	for _, m := range in {
		if len(out) == wire.MaxMeasures {
			break
		}
		if m.Name != "" && plain(m.Name, 32) && plain(m.Object, maxName) && plain(m.Detail, maxName) && !math.IsNaN(m.Value) && !math.IsInf(m.Value, 0) {
			out = append(out, Measure(m))
		}
	}
	return out
}
