// Package vault keeps the repositories of backups (保管庫): their keys, who may
// reach them, what was refused, whether what lies there can still be read, and
// what is shut when an alarm says so.
//
// In: registered hosts, what protect/repository tells, findings, what people
// decide. Out: passwords for agents, sealed keys and recovery sheets for the
// safe, passes for reading, findings about tampering, damage and room, messages
// about what is suspect. Always true: an agent writes into its own repository
// and reads no contents; who reads them has a pass that two people stand behind
// and that ends by itself; nothing is removed to make room, and what goes was
// named, approved by a second person and could be stopped for a week; after an alarm
// nothing of its site is taken before a person says why it may be again; every
// version of what is known and decided stays and has its digest in the ledger,
// and so has the head of every receive log; a read that could not run is never
// told as passed.
package vault

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/repository"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/state"
)

// Hub is who decides what people decided beforehand.
const Hub = "sonae"

// Keys seal what the state holds; secret.Keys has these methods.
type Keys interface {
	Seal(plain, context []byte) ([]byte, error)
	Unseal(sealed, context []byte) ([]byte, error)
	Mac(purpose, text string) []byte
}

// Hosts is what a Vault asks about machines.
type Hosts interface {
	Host(ctx context.Context, id string) (asset.Host, error)
}

// Deps is what a Vault works with.
type Deps struct {
	Dir   string // one folder for each repository
	Hub   string // name of this hub where several share the state; empty: it is alone
	Keys  Keys
	Hosts Hosts
	Needs Needs      // nil: nobody says anything about snapshots
	Depot blob.Store // of tools
	Floor int64      // bytes a day that are never unusual growth; 0: 1 GiB
	// MinFree is how many bytes of the disk no upload takes; 0: not looked at.
	MinFree int64
	Now     clock.Now
	Log     *slog.Logger
}

// Vault keeps all repositories of a hub. It is safe for concurrent use.
type Vault struct {
	Deps
	db      *state.DB
	service *repository.Service

	refusals chan refusal
	missed   atomic.Int64 // refusals for which there was no room
	stored   chan repository.Receipt
	asked    chan string // agents whose repository a person wants to be read

	mu      sync.Mutex
	pending map[string]string    // agent → the password of a key for the safe that is being added
	cleared map[string]time.Time // decision → when it was last tried to clear what it took out
}

// New opens the folder of the repositories. Close frees it.
func New(db *state.DB, deps Deps) (*Vault, error) {
	deps.Log = deps.Log.With("part", "vault")
	v := &Vault{Deps: deps, db: db, refusals: make(chan refusal, 4096), stored: make(chan repository.Receipt, 4096), asked: make(chan string, 64), pending: map[string]string{}, cleared: map[string]time.Time{}}
	var err error
	if v.Dir, err = filepath.Abs(deps.Dir); err != nil {
		return nil, err
	}
	v.service, err = repository.New(repository.Config{Dir: v.Dir, Agent: v.known, Refused: v.refused, Stored: v.noteStored, Now: deps.Now, Log: deps.Log, MinFree: deps.MinFree})
	if err != nil {
		return nil, err
	}
	return v, nil
}

// Close closes all repositories.
func (v *Vault) Close() error { return v.service.Close() }

// Repository opens the repository of an agent, for serving and for readers:
// fault.Missing when it has none, fault.Busy "vault.elsewhere" where another hub
// keeps them.
func (v *Vault) Repository(ctx context.Context, agent string) (*repository.Repository, error) {
	return v.repository(ctx, agent)
}

// Run tells of refusals, binds receive logs, reads and prunes what is due and makes
// keys for the safe, until ctx ends. It runs on every hub; most of it where the
// repositories lie.
func (v *Vault) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return v.tellRefusals(ctx) })
	g.Go(func() error { return v.AtHome(ctx, v.followStored) })
	g.Go(func() error { return v.AtHome(ctx, v.keep) })
	return g.Wait()
}

// keepEvery is how often it is looked what is due.
const keepEvery = time.Minute

// keep does what is due, one repository after the other: reading is bound by the
// disk, and others work on it.
func (v *Vault) keep(ctx context.Context) error {
	t := time.NewTicker(keepEvery)
	defer t.Stop()
	for {
		v.keepAll(ctx)
		select {
		case <-ctx.Done():
			return nil
		case agent := <-v.asked:
			v.try(ctx, agent, "read", v.readAll)
		case <-t.C:
		}
	}
}

func (v *Vault) keepAll(ctx context.Context) {
	all, err := v.settingsOfAll(ctx)
	if err != nil && ctx.Err() == nil {
		v.Log.Error("repositories are not looked after", "err", err)
	}
	for _, s := range all {
		for _, do := range []struct {
			what string
			work func(context.Context, string) error
		}{{"bind receive log", v.bindHead}, {"make key for the safe", v.keepEscrow}, {"read", v.readDue}, {"watch growth", v.watchGrowth}, {"prune", v.pruneDue}} {
			if ctx.Err() != nil {
				return
			}
			v.try(ctx, s.Agent, do.what, do.work)
		}
	}
}

func (v *Vault) try(ctx context.Context, agent, what string, work func(context.Context, string) error) {
	if err := work(ctx, agent); err != nil && ctx.Err() == nil {
		v.Log.Error("repository is not looked after", "what", what, "agent", agent, "err", err)
	}
}

func (v *Vault) moment() time.Time { return state.Time(state.Nanos(v.Now())) }

// reasonOf wants a reason that can be read later.
func reasonOf(reason string) (string, error) {
	reason, err := clean(reason, maxReason)
	if err != nil || reason == "" {
		return "", fault.New(fault.Invalid, "vault.reason", maxReason)
	}
	return reason, nil
}

const maxReason = 1000 // characters

// another wants an approver who did not ask.
func another(asked string, by auth.Person) error {
	switch {
	case by.ID == "" || by.ID == asked:
		return fault.New(fault.Denied, "vault.own")
	case !hasRole(by, auth.Approver):
		return fault.New(fault.Denied, "vault.not-approver")
	}
	return nil
}

// member returns a host that is registered and trusted: fault.Denied otherwise.
func (v *Vault) member(ctx context.Context, id string) (asset.Host, error) {
	h, err := v.Hosts.Host(ctx, id)
	if fault.Of(err) == fault.Missing || err == nil && (h.Drill || !h.RemovedAt.IsZero()) {
		return asset.Host{}, fault.New(fault.Denied, "asset.host-untrusted")
	}
	return h, err
}
