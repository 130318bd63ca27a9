package hub

import (
	"context"
	"time"

	"github.com/sonae/sonae/protect/anomaly"
	"github.com/sonae/sonae/protect/restic"
	"github.com/sonae/sonae/protect/vault"
)

// openAnomalies makes what scores backups.
func (h *Hub) openAnomalies() {
	h.anomalies = anomaly.New(h.state, anomaly.Deps{Source: backups{h.keeper}, Room: h.incidents, Now: h.cfg.Now, Log: h.log})
}

// backups are the repositories as scores need them.
type backups struct{ keeper *vault.Vault }

func (b backups) Repositories(ctx context.Context) ([]anomaly.Repository, error) {
	all, err := b.keeper.Repositories(ctx, "")
	var out []anomaly.Repository
	for _, r := range all {
		if r.Snapshots > 0 {
			out = append(out, anomaly.Repository{ID: r.Agent, Site: r.Site, Host: r.Agent, Stamp: r.Last.Format(time.RFC3339Nano)})
		}
	}
	return out, err
}

func (b backups) Open(ctx context.Context, agent string) (*restic.Repository, func() error, error) {
	r, err := b.keeper.ReaderOf(ctx, agent, time.Time{})
	if err != nil {
		return nil, nil, err
	}
	return r, func() error { return nil }, r.Load(ctx)
}

// Facts are when the hub received each snapshot, and whether reading the
// repository again found damage.
func (b backups) Facts(ctx context.Context, agent string) (func(string) anomaly.Facts, error) {
	repo, err := b.keeper.Repository(ctx, agent)
	if err != nil {
		return nil, err
	}
	state, err := b.keeper.Get(ctx, agent)
	if err != nil {
		return nil, err
	}
	received := map[string]time.Time{}
	for _, r := range repo.Receipts() {
		if r.Kind == restic.Snapshots {
			received[r.Name] = r.At
		}
	}
	return func(id string) anomaly.Facts {
		return anomaly.Facts{Received: received[id], Damaged: state.Read.State == vault.LevelDamaged}
	}, nil
}
