package hub

import (
	"context"
	"time"

	"github.com/sonae/sonae/evidence/antivirus"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	copies "github.com/sonae/sonae/protect/copy"
	"github.com/sonae/sonae/protect/restic"
	"github.com/sonae/sonae/protect/restore"
)

// openCopies makes what copies the agents' repositories and brings data back.
func (h *Hub) openCopies() error {
	deps := restore.Deps{Source: backups{}, Now: h.cfg.Now, Log: h.log}
	if h.cfg.Clamd != "" {
		client, err := antivirus.New(h.cfg.Clamd)
		if err != nil {
			return fault.New(fault.Invalid, "config.clamd").With(err)
		}
		deps.Scanners = append(deps.Scanners, restore.Clamd(client))
	}
	h.copies = copies.New(h.state, copies.Deps{Source: backups{}, Keys: h.keys, Eject: copies.Ejector(h.cfg.path("hooks", "eject")), Now: h.cfg.Now, Log: h.log})
	h.restores = restore.New(h.state, deps)
	return nil
}

// backups are the repositories that this hub serves; there are none before the
// vault is joined here.
type backups struct{}

func (backups) Agents(context.Context, string) ([]string, error) { return nil, nil }

func (backups) Repository(context.Context, string) (restic.Backend, []string, error) {
	return nil, nil, fault.New(fault.Missing, "protect.agent")
}

func (backups) Reader(context.Context, string, time.Time) (*restic.Repository, error) {
	return nil, fault.New(fault.Missing, "protect.agent")
}

// alarmCopy makes an alert of a copy that people must look after.
func (h *Hub) alarmCopy(ctx context.Context, t copies.Trouble) error {
	return h.alerts.Handle(ctx, t.Finding())
}

// noteRestore writes down what became of a restore that belongs to an incident.
func (h *Hub) noteRestore(ctx context.Context, r restore.Request) error {
	if r.Incident == "" {
		return nil
	}
	return h.incidents.Note(ctx, r.Incident, incident.Note{Key: "restore." + string(r.State), OccurredAt: r.At, Source: "restore", Ref: r.ID,
		Unique: "restore/" + r.ID + "/" + string(r.State), Args: r.Args()})
}
