package hub

import (
	"context"
	"net/http"
	"strconv"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/protect/repository/rest"
	"github.com/sonae/sonae/protect/vault"
	"github.com/sonae/sonae/secret"
)

// openKeeper makes the keeper of the repositories of backups.
func (h *Hub) openKeeper() (err error) {
	several := ""
	if h.cfg.Bus != nil {
		several = h.cfg.hub()
	}
	depot := blob.Sub(h.store, "depot")
	if h.store == nil {
		if depot, err = blob.OpenFolder(h.cfg.path("depot")); err != nil {
			return err
		}
	}
	h.keeper, err = vault.New(h.state, vault.Deps{Dir: h.cfg.path("repositories"), Hub: several, Keys: h.keys, Hosts: h.assets, Needs: needs{h}, Depot: depot, MinFree: h.cfg.backupFree(), Now: h.cfg.Now, Log: h.log})
	if err == nil {
		h.onClose(h.keeper.Close)
	}
	return err
}

// forMachines is the agents' port, with their repositories below /restic/.
func (h *Hub) forMachines() http.Handler {
	who := rest.Who{Host: secret.AgentOf,
		Agent: func(ctx context.Context, site, host string) (rest.Client, error) {
			return rest.Client{Name: host, Agent: host, Role: rest.Backup}, h.keeper.Writer(ctx, site, host)
		},
		Token: func(ctx context.Context, host, token string) (rest.Client, error) {
			p, err := h.keeper.Reader(ctx, host, token)
			return rest.Client{Name: p.ID, Agent: p.Agent, Role: rest.Restore, AsOf: p.AsOf}, err
		}}
	m := http.NewServeMux()
	m.Handle("/restic/", http.StripPrefix("/restic", rest.Handler(rest.Deps{Identify: who.Identify, Repository: h.keeper.Repository, Log: h.log,
		Denied: func(c rest.Client, asked string, err error) { h.keeper.Denied(c.Agent, c.Name, asked, err) }})))
	m.Handle("/", h.link.Handler())
	return m
}

// cutRepositories cuts the path to the repositories of a finding's site first of
// all, where the finding says that data is being encrypted or backups harmed;
// the incident follows.
func (h *Hub) cutRepositories(ctx context.Context, found []detect.Finding) error {
	for _, f := range found {
		c, fresh, err := h.keeper.Alarm(ctx, f)
		if err != nil {
			return err
		}
		if !fresh && (c.ID == "" || c.Finding != f.ID || c.Incident != "") { // a repeat may have to find the incident still
			continue
		}
		if err := h.attachCut(ctx, c, f); err != nil {
			return err
		}
	}
	return nil
}

// attachCut tells of a cut in the incident of what it answers.
func (h *Hub) attachCut(ctx context.Context, c vault.Cut, f detect.Finding) error {
	a, err := h.alerts.Of(ctx, f)
	if err != nil {
		return h.notFollowed(err, a)
	}
	in, err := h.caseOf(ctx, a)
	if err != nil {
		return h.notFollowed(err, a)
	}
	return h.keeper.Attach(ctx, c.ID, in)
}

// cutByHand cuts the path at the repositories too when people cut the way to the
// copies of a site.
func (h *Hub) cutByHand(ctx context.Context, c action.Cutting) error {
	if c.State != action.CutBegun || c.Stage != action.BackupPath || c.Site == "" {
		return nil
	}
	_, err := h.keeper.CutPath(ctx, c.Site, c.Incident, c.Reason, auth.Person{ID: c.RequestedBy})
	if fault.Of(err) == fault.Conflict { // it is cut already
		return nil
	}
	return err
}

// noteVault writes down what became of the path to the repositories, and who may
// read them.
func (h *Hub) noteVault(ctx context.Context, c vault.Changed) error {
	if c.Incident == "" || c.Key == "" {
		return nil
	}
	at := c.At
	if !c.Happened.IsZero() {
		at = c.Happened
	}
	return h.incidents.Note(ctx, c.Incident, incident.Note{Key: c.Key, Args: c.Args, OccurredAt: at, Source: "vault", Ref: c.ID, Unique: "vault/" + c.ID + "/" + strconv.Itoa(c.No)})
}
