// Package silence notices agents that are not heard any more.
//
// In: when each machine was last heard, planned work, what guards froze. Out:
// a finding for each machine that fell silent, and the end of its alert when it
// is back. Always true: a silence is told once; time in which the hub itself
// did not watch counts for nobody; a machine that fell silent right after its
// guard caught something is critical, because killing the agent is what an
// intruder does next.
package silence

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ready/asset"
)

// After is how long a machine may be quiet when nothing else is configured. An
// agent sends a heartbeat every few seconds.
const After = 3 * time.Minute

const (
	every   = 10 * time.Second // how often it is looked
	stopped = time.Minute      // between two looks: the hub did not run, or its clock was set
	page    = 500
	// guardBefore is how far before the last word of an agent what its guard
	// caught makes the silence critical.
	guardBefore = 30 * time.Minute
)

// Rules of the alerts.
const (
	Rule      = "sonae-agent-silent"
	RuleGuard = "sonae-agent-silent-after-guard"
)

// Hosts lists machines.
type Hosts interface {
	Hosts(ctx context.Context, f asset.Filter) ([]asset.Host, int, error)
}

// Alerts raises alerts and ends them.
type Alerts interface {
	Handle(ctx context.Context, f detect.Finding) error
	List(ctx context.Context, f alert.Filter) ([]alert.Alert, int, error)
	Close(ctx context.Context, id, reason string, by auth.Person) error
}

// Deps is what a Watch needs.
type Deps struct {
	Hosts   Hosts
	Alerts  Alerts
	Guarded func(ctx context.Context, host string, since time.Time) (bool, error)    // its guard froze something since
	Planned func(ctx context.Context, site, host string, at time.Time) (bool, error) // work is planned on it now; nil: never
	After   time.Duration                                                            // 0: After
	Now     clock.Now
	Log     *slog.Logger
}

// Watch looks at all machines. It is for one goroutine.
type Watch struct {
	Deps
	since time.Time            // it watches without a gap since
	last  time.Time            // of the looks
	told  map[string]time.Time // silent machines by the moment they were last heard
}

// New makes a Watch. It counts from its first look.
func New(d Deps) *Watch {
	if d.After <= 0 {
		d.After = After
	}
	return &Watch{Deps: d, told: map[string]time.Time{}}
}

// Run looks until ctx ends.
func (w *Watch) Run(ctx context.Context) error {
	w.last = time.Time{} // another hub may have watched meanwhile
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		if err := w.Look(ctx); err != nil && ctx.Err() == nil {
			w.Log.Error("machines that fell silent could not be looked for", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// Look compares each machine's last word with the clock once.
func (w *Watch) Look(ctx context.Context) error {
	now := w.Now().UTC()
	if gap := now.Sub(w.last); w.last.IsZero() || gap < 0 || gap > stopped {
		w.since = now
	}
	w.last = now
	back := map[string]bool{}
	for from := 0; ; from += page {
		list, total, err := w.Hosts.Hosts(ctx, asset.Filter{Limit: page, Offset: from})
		if err != nil {
			return fmt.Errorf("machines that fell silent: %w", err)
		}
		for _, h := range list {
			over, err := w.look(ctx, h, now)
			if err != nil {
				return err
			}
			back[h.ID] = over
		}
		if len(list) == 0 || from+len(list) >= total {
			return w.end(ctx, back)
		}
	}
}

// look tells a machine that fell silent, and says of one that is heard, or that
// nobody waits for any more, that it is over.
func (w *Watch) look(ctx context.Context, h asset.Host, now time.Time) (over bool, err error) {
	if h.Drill || h.LastSeen.IsZero() { // enrolled, and not yet begun
		return false, nil
	}
	quiet := now.Sub(h.LastSeen)
	if !h.RemovedAt.IsZero() || quiet <= w.After {
		delete(w.told, h.ID)
		return true, nil
	}
	if now.Sub(w.since) <= w.After || w.told[h.ID].Equal(h.LastSeen) { // it had no chance to be heard, or people know
		return false, nil
	}
	if w.Planned != nil {
		planned, err := w.Planned(ctx, h.Site, h.ID, now)
		if err != nil || planned {
			return false, err
		}
	}
	guarded, err := w.Guarded(ctx, h.ID, h.LastSeen.Add(-guardBefore))
	if err != nil {
		return false, err
	}
	if err := w.Alerts.Handle(ctx, finding(h, now, guarded)); err != nil {
		return false, err
	}
	w.told[h.ID] = h.LastSeen
	return false, nil
}

// Back is the reason with which an alert ends by itself.
const Back = "連絡が戻った (heard again)"

// end closes the alerts of machines that are heard again.
func (w *Watch) end(ctx context.Context, back map[string]bool) error {
	for _, rule := range []string{Rule, RuleGuard} {
		open, err := w.open(ctx, rule)
		if err != nil {
			return err
		}
		for _, a := range open {
			over, known := back[a.Host]
			if known && !over || rule == RuleGuard && known && a.Incident == "" && a.State == alert.Open { // somebody must look at that, back or not
				continue
			}
			if err := w.Alerts.Close(ctx, a.ID, Back, auth.Person{ID: "sonae"}); err != nil && fault.Of(err) != fault.Conflict {
				return err
			}
		}
	}
	return nil
}

// open lists the alerts of a rule that are not closed.
func (w *Watch) open(ctx context.Context, rule string) (out []alert.Alert, _ error) {
	for _, state := range []alert.State{alert.Open, alert.Acked} {
		const most = 200
		for from := 0; ; from += most {
			list, total, err := w.Alerts.List(ctx, alert.Filter{State: state, Rule: rule, Limit: most, Offset: from})
			if err != nil {
				return nil, fmt.Errorf("alerts of silent machines: %w", err)
			}
			out = append(out, list...)
			if len(list) == 0 || from+len(list) >= total {
				break
			}
		}
	}
	return out, nil
}

// finding is the alarm. The same silence gives the same finding.
func finding(h asset.Host, now time.Time, guarded bool) detect.Finding {
	heard := h.LastSeen.UTC()
	sum := sha256.Sum256([]byte(Rule + " " + h.ID + " " + heard.Format(time.RFC3339Nano)))
	id := hex.EncodeToString(sum[:16])
	e := event.Event{ID: "silent-" + id, Time: now, Site: h.Site, Host: h.ID, Kind: event.KindHealth, Product: "sonae", Service: "agent",
		Fields: map[string]string{"LastHeard": heard.Format(time.RFC3339), "Agent": h.Agent, "AfterGuard": strconv.FormatBool(guarded)}}
	return detect.Finding{ID: id, Time: now, Site: h.Site, Host: h.ID, Events: []event.Event{e}, Rule: rule(h.Name, heard, guarded)}
}

func rule(name string, heard time.Time, guarded bool) detect.Rule {
	at := heard.In(clock.Tokyo()).Format("15:04:05")
	if guarded {
		return detect.Rule{ID: RuleGuard, Level: event.Critical,
			Title: detect.Text{"ja": "暗号化を止めた直後に、エージェントからの連絡が途絶えた", "en": "An agent fell silent right after its guard froze something"},
			What: detect.Text{"ja": name + " のエージェントは、プログラムを凍結した後、" + at + " を最後に連絡がありません。侵入者がエージェントを止めた疑いがあります。",
				"en": "The agent of " + name + " froze a program and was last heard at " + at + ". An intruder may have killed it."},
			Affects: detect.Text{"ja": "この機器は今、見張られていません。凍結も解かれているおそれがあります。", "en": "Nobody watches this machine now. What was frozen may run again."},
			Next: detect.Text{"ja": "1. 機器のネットワークケーブルを抜く（電源は切らない）。 2. ほかの機器に同じ警報がないかを確かめる。 3. 機器の前で sonae-agent status を実行する。",
				"en": "1. Pull the machine's network cable; leave the power on. 2. Look whether other machines raise the same alert. 3. Run sonae-agent status at the machine."}}
	}
	return detect.Rule{ID: Rule, Level: event.High,
		Title: detect.Text{"ja": "エージェントからの連絡が途絶えた", "en": "An agent is not heard any more"},
		What: detect.Text{"ja": name + " のエージェントから、" + at + " を最後に連絡がありません。機器の停止、ネットワークの切断、エージェントの停止のどれかです。",
			"en": "The agent of " + name + " was last heard at " + at + ". The machine is off, its network is cut, or the agent was stopped."},
		Affects: detect.Text{"ja": "連絡が戻るまで、この機器で起きることは見えません。", "en": "Until it is back, what happens on this machine is not seen."},
		Next: detect.Text{"ja": "1. 機器が動いているかを確かめる。 2. 動いているのに連絡がなければ、ネットワークと sonae-agent status を確かめる。 3. 誰も止めていないのにエージェントが止まっていれば、事案として扱う。連絡が戻れば、この警報は自動で終わります。",
			"en": "1. See whether the machine is running. 2. If it is, check its network and sonae-agent status. 3. If the agent was stopped and nobody did it, treat it as an incident. The alert ends by itself when the agent is back."}}
}
