package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent"
	"github.com/sonae/sonae/agent/act"
	"github.com/sonae/sonae/agent/act/contain"
	"github.com/sonae/sonae/agent/collect"
	"github.com/sonae/sonae/agent/link"
)

// status prints what the running agent wrote last.
func (p program) status(_ context.Context, args []string) error {
	f, dir := p.flags("status")
	asJSON := f.Bool("json", false, "print JSON")
	if err := p.parse(f, args, 0); err != nil {
		return err
	}
	if _, err := link.Load(*dir); err != nil {
		return err
	}
	st, err := agent.ReadStatus(*dir, time.Now())
	if err != nil {
		return err
	}
	if *asJSON {
		return json.NewEncoder(p.out).Encode(st)
	}
	p.print(st)
	return nil
}

func (p program) print(st agent.Status) {
	row := func(name, format string, args ...any) {
		fmt.Fprintf(p.out, "%-10s "+format+"\n", append([]any{name}, args...)...)
	}
	row("host", "%s at site %s, process %d", st.Host, st.Site, st.PID)
	if st.Connected != "" {
		row("hub", "connected: %s (%s), last answer %s, clock %+v", st.Connected, st.Hub, st.LastAnswer.Local().Format(time.DateTime), st.Offset.Round(time.Millisecond))
	} else {
		row("hub", "NOT connected: %s: %s", st.Hub, st.Trouble)
	}
	row("sensor", "%s, %d packets seen, %d dropped", st.Sensor, st.Health.SensorSeen, st.Health.SensorDrop)
	if st.Health.SensorLosing {
		row("", "LOSING PACKETS: what is not detected may be there all the same")
	}
	if h := st.Health; h.RingBytes > 0 || h.RingOff {
		row("packets", "%d bytes on disk since %s, %d lost", h.RingBytes, h.RingSince.Local().Format(time.DateTime), h.RingLost)
		if h.RingOff {
			row("", "NOT WRITTEN: the disk refuses packets, see the log")
		}
	}
	if g := st.Guard; g != nil {
		how := g.Backend
		if how == "" {
			how = "OFF: ransomware is not stopped"
		}
		if g.Why != "" {
			how += " (" + g.Why + ")"
		}
		row("guard", "%s, %s, %d decoys, %d looked at, %d dropped, %d trees frozen, %d let go on", how, strings.Join(g.Watch, " "), g.Canaries, g.Seen, g.Dropped, g.Frozen, g.Thawed)
	}
	if s := st.Shares; s != nil {
		how := s.Audit
		if !s.Open {
			how = "OFF: clients that encrypt shares are not seen (" + s.Why + ")"
		}
		row("shares", "%s, %d decoys, %d looked at, %d dropped, %d clients found", how, s.Decoys, s.Seen, s.Dropped, s.Found)
	}
	for _, name := range slices.Sorted(maps.Keys(st.Sources)) {
		row(name, "%s", st.Sources[name])
	}
	row("spool", "%d bytes waiting, %d events dropped", st.Health.Spool, st.Health.Dropped)
	row("load", "cpu %.0f%%, memory %.0f%%, disk %.0f%%", 100*st.Health.CPU, 100*st.Health.Memory, 100*st.Health.Disk)
	if st.Health.Isolated {
		row("isolation", "IN FORCE until %s (%s)", st.LeaseEnd.Local().Format(time.DateTime), st.Action)
	} else {
		row("isolation", "none")
	}
	for _, c := range st.InForce {
		row(string(c.Kind), "%s: %s until %s (%s)", strings.ToUpper(c.Step), c.Object, c.Until.Local().Format(time.DateTime), c.Action)
	}
	if st.Refused > 0 {
		row("orders", "%d refused", st.Refused)
	}
}

// errNoCode says that the prompt for the code was left empty.
var errNoCode = errors.New("no code was typed")

// release ends what the printed code is for. It works whether or not the
// agent runs; the agent tells the hub when it does.
func (p program) release(ctx context.Context, args []string) error {
	f, dir := p.flags("release")
	if err := p.parse(f, args, 1); err != nil {
		return err
	}
	if _, err := link.Load(*dir); err != nil {
		return err
	}
	code := strings.TrimSpace(f.Arg(0))
	if code == "" {
		fmt.Fprint(p.out, "code / 解除コード: ")
		var err error
		if code, err = p.line(); err != nil {
			return err
		}
		if code == "" { // nothing was typed: that is no attempt
			return errNoCode
		}
	}
	r, err := p.releaseCode(ctx, *dir, code)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.out, "released: %s\n解除しました: %s\n", r.Action, r.Action)
	return nil
}

// releaseCode undoes what the code is for: one contained thing, or the isolation.
func (p program) releaseCode(ctx context.Context, dir, code string) (order.Result, error) {
	group, err := p.container(dir, containment{})
	if err != nil {
		return order.Result{}, err
	}
	r, err := group.Release(ctx, code)
	if err == nil || errors.Is(err, contain.ErrTooMany) {
		return r, err
	}
	a := act.New(act.Config{Dir: filepath.Join(dir, "act"), Now: time.Now, Log: p.log})
	isolated, other := a.Release(ctx, code)
	if errors.Is(other, act.ErrNotIsolated) && !errors.Is(err, contain.ErrNothing) {
		return r, err
	}
	return isolated, other
}

// collect prints what the collectors see, without a hub.
func (p program) collect(ctx context.Context, args []string) error {
	f, _ := p.flags("collect")
	span := f.Duration("for", 10*time.Second, "how long; 0 until stopped")
	if err := p.parse(f, args, 0); err != nil {
		return err
	}
	if *span > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *span)
		defer cancel()
	}
	p.level.Set(slog.LevelWarn) // what is well stands among the events
	return p.observe(ctx)
}

// errRunning says that the directory is in use.
var errRunning = errors.New("an agent runs already")

// sources of collect are followed from now on; nothing is remembered.
func (p program) sources() []collect.Collector {
	out, _ := collect.All(collect.Config{Now: time.Now, Log: p.log})
	return out
}
