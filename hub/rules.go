package hub

import (
	"context"
	"os"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/detect/rules"
	"github.com/sonae/sonae/search"
)

// openRules loads the rules that come with Sonae, those that people made, and
// the packs that lie in the folder "rules".
func (h *Hub) openRules(ctx context.Context) error {
	h.engine = detect.NewSwitch(h.cfg.Now)
	shelves := search.Shelves{Own: rules.FS, Packs: os.DirFS(h.cfg.path("rules"))}
	h.rulebook = search.NewRulebook(h.state, h.archive, h.engine, shelves, h.cfg.Now, h.part("search"))
	h.rulebook.OnTrial(func() { h.live.Notify("trial", "") })
	return h.rulebook.Reload(ctx)
}

func (h *Hub) reloadRules(ctx context.Context, _ search.RulesChanged) error {
	if err := h.rulebook.Reload(ctx); err != nil {
		return err
	}
	h.live.Notify("rule", "")
	return nil
}
