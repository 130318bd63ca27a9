package hub

import (
	"context"

	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/detect/keep"
	"github.com/sonae/sonae/detect/rules"
	"github.com/sonae/sonae/search"
)

// openRules loads the rules that come with Sonae and those that people made.
func (h *Hub) openRules(ctx context.Context) error {
	ours, _, err := detect.Load(rules.FS)
	if err != nil {
		return err
	}
	ids := map[string]bool{}
	for _, r := range ours.Rules() {
		ids[r.ID] = true
	}
	h.rulebook = search.NewRulebook(h.state, h.archive, func(id string) bool { return ids[id] }, h.cfg.Now, h.part("search"))
	if err := h.openCounts(); err != nil {
		return err
	}
	return h.loadRules(ctx)
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

// loadRules lets an engine with the present rules take the place of the last
// one. What that counted goes on.
func (h *Hub) loadRules(ctx context.Context) error {
	own, err := h.rulebook.FS(ctx)
	if err != nil {
		return err
	}
	engine, loaded, err := detect.Load(rules.FS, own)
	if err != nil {
		return err
	}
	for _, r := range loaded.Rejected { // understood when it was enabled, by another version
		h.log.Error("rule is not in force", "rule", r.ID, "line", r.Line, "reason", r.Reason)
	}
	if old := h.engine.Load(); old != nil {
		engine.Adopt(old)
	}
	h.engine.Store(engine)
	h.log.Info("rules loaded", "loaded", len(loaded.Loaded), "rejected", len(loaded.Rejected))
	return nil
}

func (h *Hub) reloadRules(ctx context.Context, _ search.RulesChanged) error { return h.loadRules(ctx) }
