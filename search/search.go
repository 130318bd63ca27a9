// Package search is what surrounds a look into the archive: the searches that
// people keep, what they asked before, what is known of one host, user,
// address, file or program, rules made of searches, and the record of who
// looked at which events.
//
// In: searches and the person who asks. Out: Saved, Past, Entity, View, and a
// leaf for the ledger for each View. Always true: nobody is shown events
// before it is recorded that they asked; the ledger gets digests only; a
// person sees the searches of others only when those shared them, and one with
// a site of their own only those of the same site.
package search

import (
	"context"
	"log/slog"
	"time"

	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/state"
)

// Archive is what a Desk asks about an entity.
type Archive interface {
	Search(ctx context.Context, s archive.Search, each func(archive.Part) error) error
	Histogram(ctx context.Context, s archive.Search, buckets int) ([]archive.Bucket, error)
	Field(ctx context.Context, s archive.Search, field string, top int) (archive.FieldStats, error)
}

// Desk keeps searches and the record of who looked. It is safe for concurrent
// use.
type Desk struct {
	db      *state.DB
	archive Archive
	now     clock.Now
	log     *slog.Logger
}

// New makes a Desk on an open state.
func New(db *state.DB, a Archive, now clock.Now, log *slog.Logger) *Desk {
	return &Desk{db: db, archive: a, now: now, log: log.With("part", "search")}
}

// moment is now as it is stored.
func (d *Desk) moment() time.Time { return state.Time(state.Nanos(d.now())) }

// Sites are the sites whose events a person may see; nil means all.
func Sites(who auth.Person) []string {
	if who.Site == "" {
		return nil
	}
	return []string{who.Site}
}
