// Package silence notices agents that are not heard any more.
//
// In: when each machine was last heard, planned work, what guards froze. Out:
// a finding for each machine that fell silent, one for a whole site that did,
// and the end of the alert when it is back. Always true: a silence is told once;
// time in which the hub itself did not watch counts for nobody; planned work
// explains a silence until it is over; a machine that fell silent right after
// its guard caught something is critical, planned work or not, because killing
// the agent is what an intruder does next.
package silence

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
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
	RuleSite  = "sonae-site-silent"
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
	dark  map[string][]string  // machines of sites that were told as a whole
	back  map[string]time.Time // when a site was heard again that was told as a whole
}

// New makes a Watch. It counts from its first look.
func New(d Deps) *Watch {
	if d.After <= 0 {
		d.After = After
	}
	return &Watch{Deps: d, told: map[string]time.Time{}, dark: map[string][]string{}, back: map[string]time.Time{}}
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
	var all []asset.Host
	for from := 0; ; from += page {
		list, total, err := w.Hosts.Hosts(ctx, asset.Filter{Limit: page, Offset: from})
		if err != nil {
			return fmt.Errorf("machines that fell silent: %w", err)
		}
		if all = append(all, list...); len(list) == 0 || from+len(list) >= total {
			break
		}
	}
	sites, over := map[string]*site{}, map[string]bool{}
	for _, h := range all {
		done, err := w.look(ctx, h, now, sites)
		if err != nil {
			return err
		}
		over[h.ID] = done
	}
	for id, x := range sites {
		if err := w.tell(ctx, id, x, now); err != nil {
			return err
		}
	}
	return w.end(ctx, over, sites)
}

// site is what a look finds at one.
type site struct {
	heard bool         // at least one machine is
	near  bool         // at least one is heard, or was until just now
	fresh []asset.Host // silent, and nobody knows
	last  time.Time    // when the last word came from any
}

// look notes a machine at its site, tells one that fell silent after its guard
// caught something, and says of one that is heard, or that nobody waits for any
// more, that it is over.
func (w *Watch) look(ctx context.Context, h asset.Host, now time.Time, sites map[string]*site) (over bool, err error) {
	if !h.RemovedAt.IsZero() {
		delete(w.told, h.ID)
		return true, nil
	}
	if h.Drill || h.LastSeen.IsZero() { // enrolled, and not yet begun
		return false, nil
	}
	s := sites[h.Site]
	if s == nil {
		s = &site{}
		sites[h.Site] = s
	}
	quiet := now.Sub(h.LastSeen)
	s.heard, s.near = s.heard || quiet <= w.After, s.near || quiet <= w.After-min(together, w.After/2)
	if h.LastSeen.After(s.last) {
		s.last = h.LastSeen
	}
	if quiet <= w.After {
		delete(w.told, h.ID)
		return true, nil
	}
	if now.Sub(w.since) <= w.After || w.told[h.ID].Equal(h.LastSeen) { // it had no chance to be heard, or people know
		return false, nil
	}
	guarded, err := w.Guarded(ctx, h.ID, h.LastSeen.Add(-guardBefore))
	if err != nil {
		return false, err
	}
	if guarded {
		return false, w.missed(ctx, h, finding(h, now, true))
	}
	if w.Planned != nil {
		planned, err := w.Planned(ctx, h.Site, h.ID, now)
		if err != nil || planned {
			return false, err
		}
	}
	s.fresh = append(s.fresh, h)
	return false, nil
}

// missed tells of one machine.
func (w *Watch) missed(ctx context.Context, h asset.Host, f detect.Finding) error {
	if err := w.Alerts.Handle(ctx, f); err != nil {
		return err
	}
	w.told[h.ID] = h.LastSeen
	return nil
}

// Bounds of a silence that is one of a whole site.
const (
	fewest   = 3                // machines that fell silent; fewer are told one by one
	together = 30 * time.Second // between the last words of machines whose line was cut at one moment
)

// tell tells of the machines of a site that fell silent: of all at once when
// none is heard any more, because then it is the line that was cut. While that
// may still turn out, it waits.
func (w *Watch) tell(ctx context.Context, id string, s *site, now time.Time) error {
	switch {
	case s.heard && w.dark[id] != nil: // who is not back soon is missed
		for _, host := range w.dark[id] {
			delete(w.told, host)
		}
		delete(w.dark, id)
		w.back[id] = now
		return nil
	case !s.heard && len(s.fresh) >= fewest:
		if err := w.Alerts.Handle(ctx, siteFinding(s, now)); err != nil {
			return err
		}
		for _, h := range s.fresh {
			w.told[h.ID] = h.LastSeen
			w.dark[id] = append(w.dark[id], h.ID)
		}
		return nil
	case s.heard && !s.near && len(s.fresh) > 0: // none has spoken lately: the rest follows within a moment, or speaks
		return nil
	case now.Sub(w.back[id]) <= w.After:
		return nil
	}
	for _, h := range s.fresh {
		if err := w.missed(ctx, h, finding(h, now, false)); err != nil {
			return err
		}
	}
	return nil
}

// Back is the reason with which an alert ends by itself.
const Back = "連絡が戻った (heard again)"

// end closes the alerts of machines and sites that are heard again.
func (w *Watch) end(ctx context.Context, over map[string]bool, sites map[string]*site) error {
	for _, rule := range []string{Rule, RuleGuard, RuleSite} {
		open, err := w.open(ctx, rule)
		if err != nil {
			return err
		}
		for _, a := range open {
			if !ends(a, over, sites) {
				continue
			}
			if err := w.Alerts.Close(ctx, a.ID, Back, auth.Person{ID: "sonae"}); err != nil && fault.Of(err) != fault.Conflict {
				return err
			}
		}
	}
	return nil
}

// ends says whether what an alert is about is over.
func ends(a alert.Alert, over map[string]bool, sites map[string]*site) bool {
	if a.Rule.ID == RuleSite {
		s := sites[a.Site]
		return s == nil || s.heard
	}
	done, known := over[a.Host]
	if a.Rule.ID == RuleGuard && known && a.Incident == "" && a.State == alert.Open { // somebody must look at that, back or not
		return false
	}
	return !known || done
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

// maxNamed bounds the machines that the words of an alert name, maxEvents those
// that its events do.
const (
	maxNamed  = 5
	maxEvents = 100
)

// siteFinding is the alarm about a whole site. It bears the machine that was
// heard last. The same silence gives the same finding.
func siteFinding(s *site, now time.Time) detect.Finding {
	slices.SortFunc(s.fresh, func(a, b asset.Host) int {
		if c := b.LastSeen.Compare(a.LastSeen); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	h, heard := s.fresh[0], s.last.UTC()
	sum := sha256.Sum256([]byte(RuleSite + " " + h.Site + " " + heard.Format(time.RFC3339Nano)))
	id := hex.EncodeToString(sum[:16])
	f := detect.Finding{ID: id, Time: now, Site: h.Site, Host: h.ID}
	var names []string
	for i, m := range s.fresh[:min(len(s.fresh), maxEvents)] {
		if i < maxNamed {
			names = append(names, m.Name)
		}
		f.Events = append(f.Events, event.Event{ID: fmt.Sprintf("silent-%s-%d", id, i), Time: now, Site: m.Site, Host: m.ID, Kind: event.KindHealth, Product: "sonae", Service: "agent",
			Fields: map[string]string{"LastHeard": m.LastSeen.UTC().Format(time.RFC3339), "Agent": m.Agent, "Silent": strconv.Itoa(len(s.fresh))}})
	}
	f.Rule = siteRule(names, len(s.fresh), heard)
	return f
}

func siteRule(names []string, n int, heard time.Time) detect.Rule {
	ja, en := strings.Join(names, "、"), strings.Join(names, ", ")
	if n > len(names) {
		ja, en = ja+" ほか", en+" and more"
	}
	at := heard.In(clock.Tokyo()).Format("15:04:05")
	return detect.Rule{ID: RuleSite, Level: event.High,
		Title: detect.Text{"ja": "拠点全体からの連絡が途絶えた", "en": "A whole site is not heard any more"},
		What: detect.Text{"ja": fmt.Sprintf("{site}の%d台(%s)が、%s を最後に、ほぼ同時に連絡を絶ちました。回線の切断、停電、拠点の機器の停止のどれかです。", n, ja, at),
			"en": fmt.Sprintf("%d machines of {site} (%s) fell silent at about the same time; the last word came at %s. Its line is cut, its power is off, or its network stands still.", n, en, at)},
		Affects: detect.Text{"ja": "連絡が戻るまで、この拠点で起きることは見えません。各機器のエージェントは、単独で見張り続けます。",
			"en": "Until it is back, what happens at the site is not seen. The agents go on watching by themselves."},
		Next: detect.Text{"ja": "1. 拠点に電話し、停電や工事でないかを確かめる。 2. 回線業者とルーターを確かめる。 3. 誰も切っていないのに切れていれば、事案として扱う。1台でも連絡が戻れば、この警報は自動で終わり、戻らない機器は1台ずつ警報になります。",
			"en": "1. Call the site: is the power off, is there work on the line? 2. Check with the carrier, and the router. 3. If nobody cut it, treat it as an incident. The alert ends by itself when one machine is back; those that are not are told one by one."}}
}
