package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/guard"
	"github.com/sonae/sonae/agent/guard/shares"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source/agentlink/wire"
)

// beat is what the agent says of itself now.
func (a *Agent) beat() wire.Heartbeat {
	b := wire.Heartbeat{At: a.now().UTC(), Agent: a.cfg.Version, OS: a.cfg.OS, Addresses: Addresses(), Health: a.health()}
	if hub := a.client.HubAddress(); hub.IsValid() {
		b.Hub = hub.String()
	}
	b.Health.Gateway = a.parts.Gateway != nil
	if a.parts.Actor != nil {
		var until time.Time
		b.Action, until, b.Health.Isolated = a.parts.Actor.Status()
		b.LeaseEnd = until.UTC()
	}
	return b
}

// beats sends heartbeats, keeps the status file and reports what was dropped.
func (a *Agent) beats(ctx context.Context) {
	t := time.NewTicker(a.cfg.Heartbeat)
	defer t.Stop()
	var dropped, unsaid uint64
	var unsaidAt time.Time
	var quiet bool
	loss := lossWindow{limit: a.cfg.LossAlarm}
	for {
		a.watchLoss(&loss)
		b := a.beat()
		b.Hub = a.hubFor(b.Hub)
		beatCtx, cancel := context.WithTimeout(ctx, max(2*a.cfg.Heartbeat, 5*time.Second))
		err := a.heartbeat(beatCtx, b)
		cancel()
		switch {
		case err == nil:
			quiet = false
		case !quiet && ctx.Err() == nil:
			quiet = true
			a.log.Warn("hub does not answer heartbeats", "err", err)
		}
		if d := a.Dropped(); d > dropped {
			a.plain.queue.Put(a.own("dropped", map[string]string{"Dropped": strconv.FormatUint(d, 10), "New": strconv.FormatUint(d-dropped, 10)}))
			dropped = d
		}
		if n := a.unsaid.Load(); n > unsaid && time.Since(unsaidAt) > time.Minute {
			a.plain.queue.Put(a.own("left-out", map[string]string{"Messages": strconv.FormatUint(n, 10), "New": strconv.FormatUint(n-unsaid, 10)}))
			unsaid, unsaidAt = n, time.Now()
		}
		a.say(b, err)
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-a.pulse:
		}
	}
}

// hubFor is the hub's address to tell: before the first answer there is none
// yet, and the first of the pinned ones is about to be used.
func (a *Agent) hubFor(live string) string {
	if live == "" {
		if known := a.client.Identity().Addresses; len(known) > 0 {
			return known[0].String()
		}
	}
	return live
}

// own is an event about the agent itself.
func (a *Agent) own(what string, fields map[string]string) event.Event {
	fields["Event"] = what
	return event.Event{Time: a.now().UTC(), Kind: event.KindHealth, Product: "sonae", Service: "agent", Fields: fields}
}

// Status is what the running agent leaves for `sonae-agent status`.
type Status struct {
	At         time.Time         `json:"at"`
	PID        int               `json:"pid"`
	Host       string            `json:"host"`
	Site       string            `json:"site"`
	Hub        string            `json:"hub"`         // URL
	Connected  string            `json:"connected"`   // ip:port, "" while the hub does not answer
	LastAnswer time.Time         `json:"last_answer"` // of the hub
	Offset     time.Duration     `json:"offset"`      // hub's clock minus this machine's
	Trouble    string            `json:"trouble,omitempty"`
	Sensor     string            `json:"sensor"`  // "on", or why not
	Sources    map[string]string `json:"sources"` // collector → where from
	Health     wire.Health       `json:"health"`
	Action     string            `json:"action,omitempty"`
	LeaseEnd   time.Time         `json:"lease_end"`
	Refused    uint64            `json:"refused_orders"`
	Guard      *guard.Status     `json:"guard,omitempty"`  // nil: nothing is guarded
	Shares     *shares.Status    `json:"shares,omitempty"` // nil: no shares are watched
	InForce    []InForce         `json:"in_force,omitempty"`
}

// InForce is one thing that is contained.
type InForce struct {
	Action string     `json:"action"`
	Kind   order.Kind `json:"kind"`
	Object string     `json:"object"`
	Until  time.Time  `json:"until"`
	Step   string     `json:"step"` // applying | applied | undoing
}

// inForce lists what is contained, but for the isolation.
func (a *Agent) inForce() []InForce {
	if a.parts.Contain == nil {
		return nil
	}
	var out []InForce
	for _, r := range a.parts.Contain.InForce() {
		out = append(out, InForce{Action: r.Order.Action, Kind: r.Order.Kind, Object: r.Object(), Until: r.EndsAt, Step: string(r.Step)})
	}
	return out
}

const statusFile = "status.json"

// say writes the status file. It is not synced: it is worthless after a crash.
func (a *Agent) say(b wire.Heartbeat, trouble error) {
	st := Status{At: b.At, PID: os.Getpid(), Host: a.id.Host, Site: a.id.Site, Hub: a.id.Hub, Connected: b.Hub, Health: b.Health,
		Action: b.Action, LeaseEnd: b.LeaseEnd, Offset: time.Duration(a.offset.Load()), Sensor: "on", Sources: map[string]string{}, Refused: a.refused.Load(), InForce: a.inForce()}
	if n := a.lastBeat.Load(); n != 0 {
		st.LastAnswer = time.Unix(0, n).UTC()
	}
	if trouble != nil {
		st.Trouble, st.Connected = trouble.Error(), ""
	}
	if !a.sensing.Load() {
		a.mu.Lock()
		st.Sensor = "off: " + a.why
		a.mu.Unlock()
	}
	for _, c := range a.parts.Collectors {
		st.Sources[c.Name()] = c.Status()
	}
	if a.parts.Guard != nil {
		s := a.parts.Guard.Status()
		st.Guard = &s
	}
	if a.parts.Shares != nil {
		s := a.parts.Shares.Status()
		st.Shares = &s
	}
	if err := writeStatus(a.cfg.Dir, st); err != nil {
		a.log.Error("status file", "err", err)
	}
}

func writeStatus(dir string, st Status) error {
	data, err := json.MarshalIndent(st, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, statusFile)
	if err := os.WriteFile(path+".new", append(data, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// ErrNotRunning says that no agent has written its status lately.
var ErrNotRunning = errors.New("the agent does not run")

// stale is how old the status of a running agent may be.
const stale = time.Minute

// ReadStatus returns what the running agent wrote last, with ErrNotRunning
// when that was long ago.
func ReadStatus(dir string, now time.Time) (Status, error) {
	var st Status
	data, err := os.ReadFile(filepath.Join(dir, statusFile))
	if errors.Is(err, os.ErrNotExist) {
		return st, ErrNotRunning
	}
	if err != nil {
		return st, fmt.Errorf("status: %w", err)
	}
	if err := json.Unmarshal(data, &st); err != nil {
		return st, fmt.Errorf("status: %w", err)
	}
	if now.Sub(st.At) > stale {
		return st, ErrNotRunning
	}
	return st, nil
}
