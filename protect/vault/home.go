package vault

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/repository"
	"github.com/sonae/sonae/state"
)

// Home is the hub of several in whose folder the repositories lie (保管庫のある
// ハブ). Locks, open uploads and receive logs are that hub's alone; two that wrote
// would each keep half of a backup.
type Home struct {
	Hub string    `json:"hub"` // name
	Why string    `json:"why,omitempty"`
	At  time.Time `json:"at"`
	By  string    `json:"by"` // person id, or Hub: the first that asked
}

const (
	kindHome = "home"
	idHome   = "home"
)

// repository opens the repository of an agent, at the hub where they lie.
func (v *Vault) repository(ctx context.Context, agent string) (*repository.Repository, error) {
	if err := v.Here(ctx); err != nil {
		return nil, err
	}
	return v.service.Repository(ctx, agent)
}

// Here says whether the repositories lie at this hub: fault.Busy "vault.elsewhere"
// with the name of the hub where they do. Of several hubs the first that asks has
// them; a hub that is alone always does.
func (v *Vault) Here(ctx context.Context) error {
	if v.Hub == "" {
		return nil
	}
	h, err := v.Home(ctx)
	if fault.Of(err) == fault.Missing {
		made := v.create(ctx, version{ID: idHome, Kind: kindHome, By: Hub}, Home{Hub: v.Hub, At: v.moment(), By: Hub}, said{})
		if h, err = v.Home(ctx); err != nil { // else the key of the table let one in
			return errors.Join(made, err)
		}
	}
	if err != nil {
		return err
	}
	if h.Hub != v.Hub {
		return fault.New(fault.Busy, "vault.elsewhere", h.Hub)
	}
	return nil
}

// elsewhere says whether an error is that of another hub's repositories.
func elsewhere(err error) bool { return keyOf(err) == "vault.elsewhere" }

// Home returns where the repositories lie: fault.Missing before the first use, and
// at a hub that is alone.
func (v *Vault) Home(ctx context.Context) (Home, error) {
	h, _, err := get[Home](ctx, v, kindHome, idHome)
	return h, err
}

// TakeHome makes this hub the one where the repositories lie, once their folders
// were copied to it: every receive log that was bound must be here, whole:
// fault.Conflict "vault.home-incomplete" otherwise. The hub that had them must
// have been stopped before they were copied.
func (v *Vault) TakeHome(ctx context.Context, why string, by auth.Person) error {
	why, err := reasonOf(why)
	if err != nil {
		return err
	}
	if v.Hub == "" {
		return fault.New(fault.Conflict, "vault.alone")
	}
	if err := v.Here(ctx); !elsewhere(err) {
		if err == nil {
			err = fault.New(fault.Conflict, "vault.home-here")
		}
		return err
	}
	lacks, err := VerifyLogs(ctx, v.db, v.Dir)
	if err != nil {
		return err
	}
	if len(lacks) > 0 {
		return fault.New(fault.Conflict, "vault.home-incomplete", lacks[0].Ref).With(fmt.Errorf("%s and %d more", lacks[0], len(lacks)-1))
	}
	return alter(ctx, v, kindHome, idHome, by, func(_ *state.Tx, _ string, h *Home) (said, error) {
		*h = Home{v.Hub, why, v.moment(), by.ID}
		return said{}, nil
	})
}

// homeEvery is how often it is looked where the repositories lie.
const homeEvery = 10 * time.Second

// AtHome does work that needs the repositories while they lie at this hub: it
// waits until they do, and ends the work when they do not any more.
func (v *Vault) AtHome(ctx context.Context, work func(context.Context) error) error {
	if v.Hub == "" {
		return work(ctx)
	}
	t := time.NewTicker(homeEvery)
	defer t.Stop()
	for ctx.Err() == nil {
		if err := v.Here(ctx); err == nil {
			if err := v.whileHere(ctx, t.C, work); err != nil {
				return err
			}
		} else if !elsewhere(err) && ctx.Err() == nil {
			v.Log.Error("it is not known where the repositories lie", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-t.C:
		}
	}
	return nil
}

func (v *Vault) whileHere(ctx context.Context, tick <-chan time.Time, work func(context.Context) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- work(ctx) }()
	for {
		select {
		case err := <-ended:
			return err
		case <-tick:
			if elsewhere(v.Here(ctx)) {
				stop()
				return <-ended
			}
		}
	}
}

// Follow lets the open repositories of this hub know at once what another hub
// decided: a cut must hold for uploads that are on their way.
func (v *Vault) Follow(ctx context.Context, c Changed) error {
	if c.Kind != kindCut && c.Kind != kindRepository {
		return nil
	}
	if err := v.Here(ctx); err != nil {
		if elsewhere(err) {
			return nil
		}
		return err
	}
	if c.Agent != "" {
		return ignoreMissing(v.refresh(ctx, c.Agent))
	}
	agents, err := v.agentsOf(ctx, c.Site)
	if err != nil {
		return err
	}
	return ignoreMissing(v.refreshAll(ctx, agents))
}
