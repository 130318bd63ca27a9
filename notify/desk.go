package notify

import (
	"context"
	"log/slog"
	"time"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/state"
)

// Deps is what a Desk needs of others.
type Deps struct {
	Keys   Sealer
	People People
	// Names maps ids of hosts and sites to what people call them.
	Names   func(ctx context.Context) (map[string]string, error)
	Senders map[Kind]Sender
	Address func() string // of the hub as people reach it, for links
	Now     clock.Now
	Log     *slog.Logger
}

// Desk is where calls begin, go on and are answered. It is safe for concurrent
// use; Run on one hub of all only.
type Desk struct {
	Deps
	db   *state.DB
	wake chan struct{}
}

// New makes a Desk.
func New(db *state.DB, d Deps) *Desk {
	d.Log = d.Log.With("part", "notify")
	return &Desk{Deps: d, db: db, wake: make(chan struct{}, 1)}
}

const (
	lookEvery = time.Second
	// keepFor is how long calls that are over, and messages, are remembered. What
	// belongs to an incident stands in its chronology for good.
	keepFor = 400 * 24 * time.Hour
)

// Run calls until ctx ends.
func (d *Desk) Run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var forgot time.Time
	for {
		if now := d.Now(); now.Sub(forgot).Abs() > 24*time.Hour {
			forgot = now
			if err := d.forget(ctx); err != nil && ctx.Err() == nil {
				d.Log.Error("old calls not forgotten", "err", err)
			}
		}
		if err := d.Look(ctx); err != nil && ctx.Err() == nil {
			d.Log.Error("people not told", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-d.wake:
		}
	}
}

// Look does what is due now: the next steps of calls, messages of what is to be
// told, and their sending.
func (d *Desk) Look(ctx context.Context) error {
	for _, step := range []func(context.Context) error{d.advance, d.gather, d.send} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// signal makes Run look at once; a pending signal is enough.
func (d *Desk) signal() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

func (d *Desk) forget(ctx context.Context) error {
	before := state.Nanos(d.Now().Add(-keepFor))
	return d.db.Tx(ctx, func(tx *state.Tx) error {
		for _, q := range []string{
			`DELETE FROM notify_line WHERE call IN (SELECT id FROM notify_call WHERE began_at < $1 AND state <> 'calling')`,
			`DELETE FROM notify_note WHERE call IN (SELECT id FROM notify_call WHERE began_at < $1 AND state <> 'calling')`,
			`DELETE FROM notify_call WHERE began_at < $1 AND state <> 'calling'`,
			`DELETE FROM notify_delivery WHERE made_at < $1 AND state <> 'waiting'`,
			`DELETE FROM notify_shift WHERE until_at < $1`,
		} {
			if _, err := tx.ExecContext(ctx, q, before); err != nil {
				return err
			}
		}
		return nil
	})
}
