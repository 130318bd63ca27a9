// Package restore looks into backups and brings data back (復元).
//
// In: the repositories of the hub, read by our own reader; what people ask for
// and decide; what agents answer. Out: snapshots, folders, single files, whole
// folders as one stream, differences between two snapshots; requests with who
// asked, who approved, what the scan found, how far the agent is and who
// released the result. Always true: nothing of a file leaves before its bytes
// were compared with their SHA-256, nor before what scans here looked at it, unless
// a person says in writing why; no machine gets an order that a second
// person has not approved and that was not scanned or passed by name; every
// version of a request has its digest in the ledger; paths and names, which may
// be personal data, enter the ledger only as salted digests.
package restore

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/incident/record"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/protect/anomaly"
	"github.com/sonae/sonae/protect/restic"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/rows"
)

var table = record.Table{Name: "restore_record", Type: "restore"}

// VerifyRows compares requests with the ledger.
func VerifyRows(ctx context.Context, db *state.DB, leaves func(kind string) []leaf.Leaf) ([]rows.Difference, error) {
	return table.Verify(ctx, db, leaves)
}

// Source is the repositories of the hub.
type Source interface {
	// Agents lists the agents of a site that have a repository, of all sites
	// where it is empty.
	Agents(ctx context.Context, site string) ([]string, error)
	// Reader opens an agent's repository as it was at a time, as it is now where
	// that is zero, with its indexes loaded: fault.Missing when there is none.
	Reader(ctx context.Context, agent string, at time.Time) (*restic.Repository, error)
}

// Scanner looks for malware in one file.
type Scanner interface {
	// Scan returns what it found, empty when nothing; an error when it could not
	// look.
	Scan(ctx context.Context, name string, r io.Reader) (found string, err error)
}

// Sender gives an approved restore to the machine that does it.
type Sender interface {
	// Send orders the restore and lets its machine read the repository, as it
	// was at Request.Seen and no other, for a short time: it is called again and
	// again as long as the restore goes on, after a restart of the hub too, and
	// changes nothing but that time then.
	Send(ctx context.Context, r Request) error
	// Stop takes the order back where it has not begun, or ends it.
	Stop(ctx context.Context, r Request) error
}

// Deps is what a Desk works with.
type Deps struct {
	Source   Source
	Scanners []Scanner // none: every restore must be passed by name
	// Listed says which threat list names a file by one of its hashes, in hex
	// digits; empty: none does. nil: there are no lists.
	Listed func(hashes ...string) string
	Sender Sender // nil: nothing is sent
	// Clean are the points from which the folders of an agent should be restored;
	// none: nothing says that there was damage. nil: nobody knows.
	Clean func(ctx context.Context, agent string) ([]anomaly.Point, error)
	Now   clock.Now
	Log   *slog.Logger
}

// Desk looks into backups and keeps requests. It is safe for concurrent use.
type Desk struct {
	Deps
	db *state.DB

	mu   sync.Mutex
	open []*opened            // the one that was used last comes first
	sent map[string]time.Time // when this hub sent each restore that goes on
}

// New makes a Desk on an open state.
func New(db *state.DB, deps Deps) *Desk {
	deps.Log = deps.Log.With("part", "restore")
	return &Desk{Deps: deps, db: db, sent: map[string]time.Time{}}
}

func (d *Desk) moment() time.Time { return state.Time(state.Nanos(d.Now())) }

// opened is a repository whose indexes are in memory.
type opened struct {
	agent string
	asOf  time.Time
	at    time.Time // when it was loaded
	repo  *restic.Repository
}

// Bounds of what is kept open: indexes take about 60 bytes for each blob.
const (
	maxOpen = 4
	maxAge  = time.Minute // of one that is looked at as of now
	oldAge  = time.Hour   // of one as of a time, which does not change
)

// repository opens an agent's repository as of a time. Two people who look at
// the same one share it.
func (d *Desk) repository(ctx context.Context, agent string, asOf time.Time) (*restic.Repository, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.Now()
	d.open = slices.DeleteFunc(d.open, func(o *opened) bool {
		age := now.Sub(o.at)
		return age > oldAge || age < 0 || o.asOf.IsZero() && age > maxAge
	})
	for i, o := range d.open {
		if o.agent == agent && o.asOf.Equal(asOf) {
			d.open = append([]*opened{o}, slices.Delete(d.open, i, i+1)...)
			return o.repo, nil
		}
	}
	repo, err := d.Source.Reader(ctx, agent, asOf)
	if err != nil {
		return nil, fmt.Errorf("open backup of %s: %w", agent, err)
	}
	d.open = append([]*opened{{agent, asOf, now, repo}}, d.open[:min(len(d.open), maxOpen-1)]...)
	return repo, nil
}
