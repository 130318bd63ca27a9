package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/action/device"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/backup"
	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/bus"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/detect/baseline"
	"github.com/sonae/sonae/detect/keep"
	"github.com/sonae/sonae/detect/threshold"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/evidence"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/incident/cause"
	"github.com/sonae/sonae/incident/decision"
	"github.com/sonae/sonae/incident/paper"
	"github.com/sonae/sonae/incident/task"
	"github.com/sonae/sonae/ledger"
	"github.com/sonae/sonae/notify"
	"github.com/sonae/sonae/notify/desktop"
	"github.com/sonae/sonae/playbook"
	"github.com/sonae/sonae/protect/anomaly"
	copies "github.com/sonae/sonae/protect/copy"
	"github.com/sonae/sonae/protect/dispatch"
	restoredrill "github.com/sonae/sonae/protect/drill"
	"github.com/sonae/sonae/protect/forecast"
	"github.com/sonae/sonae/protect/history"
	"github.com/sonae/sonae/protect/plan"
	"github.com/sonae/sonae/protect/policy"
	"github.com/sonae/sonae/protect/restore"
	"github.com/sonae/sonae/protect/vault"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/ready/drill"
	"github.com/sonae/sonae/report"
	"github.com/sonae/sonae/report/sheet"
	"github.com/sonae/sonae/search"
	"github.com/sonae/sonae/search/threat"
	"github.com/sonae/sonae/secret"
	"github.com/sonae/sonae/source/agentlink"
	"github.com/sonae/sonae/source/feed"
	"github.com/sonae/sonae/source/netflow"
	"github.com/sonae/sonae/source/tail"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/ui"
)

// Hub is a hub with all its parts open.
type Hub struct {
	cfg Config
	log *slog.Logger

	keys    *secret.Keys
	store   blob.Store // nil: everything lies in the hub's folder
	state   *state.DB
	ledger  *ledger.Ledger
	archive *archive.Archive
	bus     *bus.Bus

	people     *auth.Keeper
	assets     *asset.Registry
	engine     *detect.Switch
	counts     *keep.Keeper
	watched    *baseline.Watch
	habits     *keep.Watcher
	rulebook   *search.Rulebook
	threats    *threat.Desk
	alerts     *alert.Desk
	thresholds *threshold.Desk
	incidents  *incident.Room
	actions    *action.Desk
	notices    *notify.Desk
	screens    *desktop.Sender
	devices    *device.Store
	runner     *device.Runner
	vault      *evidence.Vault
	duties     *duty.Desk
	decisions  *decision.Desk
	books      *playbook.Desk
	tasks      *task.Desk
	paper      *paper.Desk
	causes     *cause.Desk
	backups    *policy.Desk
	jobs       *dispatch.Desk
	drills     *restoredrill.Desk
	copies     *copies.Desk
	restores   *restore.Desk
	plans      *plan.Desk
	forecasts  *forecast.Desk
	reports    *report.Desk
	sheets     *sheet.Desk
	searches   *search.Desk
	practice   *drill.Drill
	keeper     *vault.Vault // of the repositories of backups
	anomalies  *anomaly.Desk
	history    *history.Desk

	feed   *feed.Feed
	gather *feed.Gatherer
	homes  *feed.Homes
	marks  *tail.Marks
	flows  *netflow.Listener // nil: no port for flows

	opening sync.Mutex // one incident for one alert

	link  *agentlink.Server
	live  *ui.Live
	edge  edge
	close []func() error
}

// New opens all parts in the order of their dependence. A hub that New
// returned must be closed, by Run or by Close.
func New(ctx context.Context, cfg Config, log *slog.Logger) (*Hub, error) {
	h := &Hub{cfg: cfg, log: log}
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"configuration", func(context.Context) error { return cfg.Validate() }},
		{"stores", h.openStores},
		{"stages", h.openStages},
		{"sensors", h.openSensors},
		{"edge", h.openEdge},
	} {
		if err := step.do(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("start %s: %w", step.what, err), h.Close())
		}
	}
	return h, nil
}

func (h *Hub) onClose(f func() error) { h.close = append(h.close, f) }

// openStores opens what lies underneath: keys, state, ledger, archive, bus.
func (h *Hub) openStores(ctx context.Context) (err error) {
	if err := os.MkdirAll(h.cfg.Dir, 0o700); err != nil {
		return err
	}
	if err := os.Chmod(h.cfg.Dir, 0o700); err != nil { // one that existed may have been open to others
		return err
	}
	if err := h.lock(); err != nil {
		return err
	}
	if err := backup.Sweep(h.cfg.Dir); err != nil {
		return err
	}
	if h.keys, err = h.openKeys(); err != nil {
		return err
	}
	if h.state, err = state.Open(ctx, h.cfg.state(), h.part("state")); err != nil {
		return err
	}
	h.onClose(h.state.Close)
	if err = h.openStore(ctx); err != nil {
		return err
	}
	if err = h.openLedger(ctx); err != nil {
		return err
	}
	h.onClose(h.ledger.Close)
	if err = h.openArchive(ctx); err != nil {
		return err
	}
	h.onClose(h.archive.Close)
	h.bus, err = h.openBus(ctx)
	if err != nil {
		return err
	}
	h.onClose(h.bus.Close)
	return nil
}

// openStages makes the stages in the order of the flow.
func (h *Hub) openStages(ctx context.Context) (err error) {
	now := h.cfg.Now
	if h.people, err = auth.New(h.state, h.keys, now, h.log); err != nil {
		return err
	}
	h.assets = asset.New(h.state, now, h.log)
	if err := h.openRules(ctx); err != nil {
		return err
	}
	h.alerts = alert.New(h.state, now, h.log)
	h.openThresholds()
	h.incidents = incident.New(h.state, now, h.log)
	h.openActions()
	h.openNotices()
	if err := h.openVault(); err != nil {
		return err
	}
	law, err := duty.LoadRules()
	if err != nil {
		return err
	}
	h.duties = duty.New(h.state, law, now, h.log)
	h.decisions, err = decision.New(h.state, decision.Deps{Incidents: h.incidents, Alerts: h.alerts, Hosts: h.assets, Duties: h.duties, Now: now, Log: h.log})
	if err != nil {
		return err
	}
	h.books, err = playbook.New(h.state, playbook.Deps{Incidents: h.incidents, Duties: h.duties, Actions: h.actions, Cuts: h.actions, Calls: h.notices, Key: h.playbookKey(), Now: now, Log: h.log})
	if err != nil {
		return err
	}
	h.tasks, err = task.New(h.state, task.Deps{Incidents: h.incidents, Alerts: h.alerts, Evidence: h.vault, Actions: h.actions, Duties: h.duties, Decisions: h.decisions,
		Books: h.books, Shifts: h.notices, People: h.people, Names: h.names, Now: now, Log: h.log})
	if err != nil {
		return err
	}
	if err := h.openLearning(); err != nil {
		return err
	}
	if err := h.openProtection(); err != nil {
		return err
	}
	if err := h.openReports(); err != nil {
		return err
	}
	h.openSheets()
	h.searches = search.New(h.state, h.archive, now, h.part("search"))
	return h.openPractice()
}

func (h *Hub) part(name string) *slog.Logger { return h.log.With("part", name) }

// Run joins the stages, opens the doors, and works until ctx ends; then it
// closes everything in reverse. What a person must know at the start, such as
// the set-up link, goes to out.
func (h *Hub) Run(ctx context.Context, out io.Writer) error {
	err := h.work(ctx, out)
	return errors.Join(err, h.Close())
}

func (h *Hub) work(ctx context.Context, out io.Writer) error {
	if err := h.bus.Join(ctx, h.flow()...); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return h.state.Relay(ctx, h.bus.Publish) })
	for what, work := range map[string]func(context.Context) error{ // one hub of all does these
		"ledger": h.keepLedger, "correlate": h.correlate, "baseline": h.watchHosts, "archive": h.archive.Maintain, "watch": h.watch, "practice": h.practise,
		"devices": h.runner.Run, "block": h.follow, "virus": h.scanEvidence, "thresholds": h.thresholds.Run, "silence": h.silence().Run,
		"well":      h.well().Run,
		"anomalies": h.anomalies.Run,
		"notify":    h.tellPeople,
		"playbooks": h.books.Work,
		"backups":   h.backups.Work,
		"drills":    h.drills.Work,
		"copies":    h.copies.Work,
		"restores":  h.restores.Work,
	} {
		g.Go(func() error { return h.lead(ctx, what, work) })
	}
	g.Go(func() error { return h.vault.Resume(ctx) }) // bags that a crash left half sealed; waits for the ledger
	g.Go(func() error { return h.searches.Run(ctx) })
	g.Go(func() error { return h.rulebook.Run(ctx) })
	g.Go(func() error { return h.threats.Run(ctx) })
	g.Go(func() error { return h.sense(ctx) })
	g.Go(func() error { return h.keeper.Run(ctx) })
	h.edge.serve(ctx, g)
	g.Go(func() error { return h.greet(ctx, out) })
	return g.Wait()
}

// Close closes what is open, the last first.
func (h *Hub) Close() error {
	var errs []error
	for _, f := range slices.Backward(h.close) {
		errs = append(errs, f())
	}
	h.close = nil
	return errors.Join(errs...)
}
