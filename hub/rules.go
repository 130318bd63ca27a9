package hub

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/detect/baseline"
	"github.com/sonae/sonae/detect/keep"
	"github.com/sonae/sonae/detect/rules"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/search"
	"github.com/sonae/sonae/search/threat"
	"github.com/sonae/sonae/source/agentlink/wire"
)

// openRules loads the rules that come with Sonae, those that people made, and
// the packs that lie in the folder "rules".
func (h *Hub) openRules(ctx context.Context) error {
	h.engine = detect.NewSwitch(h.cfg.Now)
	shelves := search.Shelves{Own: rules.FS, Packs: os.DirFS(h.cfg.path("rules")), Cache: h.cfg.path("rules.cache")}
	h.rulebook = search.NewRulebook(h.state, h.archive, h.engine, shelves, h.cfg.Now, h.part("search"))
	h.rulebook.OnTrial(func() { h.live.Notify("trial", "") })
	if err := h.openCounts(); err != nil {
		return err
	}
	if err := h.openBaselines(); err != nil {
		return err
	}
	if err := h.rulebook.Reload(ctx); err != nil {
		return err
	}
	h.threats = threat.New(h.state, h.archive, h.engine, h.cfg.own(), h.cfg.Now, h.part("threat"))
	h.threats.OnSearch(func() { h.live.Notify("threat", "") })
	return h.threats.Reload(ctx)
}

// unlearned is how many bytes to one place outside are told of a host whose
// usual amount is not known yet: what a hub sees first is every backup and every
// picture that is sent, each week.
const unlearned = 256 << 20

// openBaselines opens what is known of hosts, beside what correlations count. A
// file segments.yml in the hub's folder says which networks must not talk to
// each other.
func (h *Hub) openBaselines() (err error) {
	conf := baseline.Config{Unlearned: unlearned, Zone: clock.Tokyo()}
	text, err := os.ReadFile(h.cfg.path("segments.yml"))
	if err == nil {
		conf.Policy, err = baseline.ParsePolicy(text)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	h.watched = baseline.New(conf)
	d := keep.WatchDeps{Watch: h.watched, Decode: h.heard, Publish: h.publishBehaviours, Now: h.cfg.Now, Log: h.part("detect")}
	if h.store != nil {
		d.Store = blob.Sub(h.store, "baseline")
	} else if d.Store, err = blob.OpenFolder(h.cfg.path("baseline")); err != nil {
		return err
	}
	h.habits = keep.NewWatcher(d)
	return nil
}

// publishBehaviours hands behaviours to all that events go through: they are
// remembered, and rules look at them.
func (h *Hub) publishBehaviours(ctx context.Context, b event.Batch) error {
	body, err := wire.EncodeBatch(b)
	if err != nil {
		return err
	}
	return h.bus.Publish(ctx, "event."+b.Site+"."+b.Host, b.ID, body)
}

// openCounts opens what correlations have counted: the state lies in the hub's
// folder, or where hubs share it.
func (h *Hub) openCounts() (err error) {
	d := keep.Deps{Engine: h.engine.Load, Publish: h.publishFound, Log: h.part("detect")}
	if h.store != nil {
		d.Store = blob.Sub(h.store, "correlate")
	} else if d.Store, err = blob.OpenFolder(h.cfg.path("correlate")); err != nil {
		return err
	}
	h.counts = keep.New(d)
	return nil
}

// publishFound publishes findings that events of several machines may have
// made, under the machine of the first.
func (h *Hub) publishFound(ctx context.Context, id string, found []detect.Finding) error {
	return h.publish(ctx, "finding."+found[0].Host, id, found)
}

func (h *Hub) reloadRules(ctx context.Context, _ search.RulesChanged) error {
	if err := h.rulebook.Reload(ctx); err != nil {
		return err
	}
	h.live.Notify("rule", "")
	return nil
}

func (h *Hub) reloadLists(ctx context.Context, _ threat.Changed) error {
	if err := h.threats.Reload(ctx); err != nil {
		return err
	}
	h.live.Notify("threat", "")
	return nil
}
