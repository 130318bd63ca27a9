// Package anomaly says of each backup whether it looks as if files had been
// encrypted or destroyed, and which one is the last clean point.
//
// In: repositories through package restic, when their snapshots came, what
// people answer. Out: a score for each snapshot with the rules that spoke, their
// numbers and files; a finding where it is flagged, a question where a person
// may have meant it; clean points that a person confirmed, with the files that
// they would cost. Always true: nothing that an agent says is believed but what
// lies in its repository; a score names its reasons; snapshots with an alert
// teach nothing about what is usual; dumps and images of disks, of which a
// snapshot has few, are judged one by one against their own past; folders that
// did not change are not read, and of what did change a bounded part; what people
// decide stays in versions and has its digest in the ledger.
package anomaly

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/incident/record"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/protect/restic"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/rows"
)

// Repository is one repository with the machine that writes it.
type Repository struct {
	ID    string
	Site  string
	Host  string // id of the machine
	Stamp string // changes when something came; "" always
}

// Facts is what the hub knows of a snapshot besides its bytes.
type Facts struct {
	Received time.Time // by the hub's clock; zero: not known
	Partial  bool      // some files could not be read when it was made
	Damaged  bool      // a check of the repository found damage in it
	Suspect  bool      // people or an alarm doubt the run that made it
	Class    string    // of the data, as people call it
}

// Source is where repositories are.
type Source interface {
	Repositories(ctx context.Context) ([]Repository, error)
	// Open returns a repository whose indexes are loaded, and what frees it.
	Open(ctx context.Context, id string) (*restic.Repository, func() error, error)
	// Facts returns what is known of each snapshot of a repository now.
	Facts(ctx context.Context, repository string) (func(snapshot string) Facts, error)
}

// Drills knows what restore drills proved.
type Drills interface {
	// Proven returns when a restore of each snapshot was proven; zero when it
	// never was.
	Proven(ctx context.Context, repository string) (func(snapshot string) time.Time, error)
}

// Deps is what a Desk works with. Drills, Room and Decoys may be nil.
type Deps struct {
	Source Source
	Drills Drills
	Room   *incident.Room
	// Decoys are the files of a machine that nobody has a reason to touch.
	Decoys func(ctx context.Context, host string) ([]string, error)
	Now    clock.Now
	Log    *slog.Logger
}

// Desk keeps scores and what people decide about them. It is safe for
// concurrent use.
type Desk struct {
	Deps
	db *state.DB

	scan sync.Mutex        // one repository is read at a time
	seen map[string]string // stamps of repositories that were read
}

// New makes a Desk on an open state.
func New(db *state.DB, deps Deps) *Desk {
	deps.Log = deps.Log.With("part", "anomaly")
	return &Desk{Deps: deps, db: db, seen: map[string]string{}}
}

var table = record.Table{Name: "anomaly_record", Type: "anomaly"}

// Kinds of records, of which record.Subject tells: what people answered about
// snapshots, and clean points that they confirmed.
const (
	KindAnswer = "snapshot-answer"
	KindClean  = "clean-point"
)

// VerifyRows compares answers and clean points with the ledger.
func VerifyRows(ctx context.Context, db *state.DB, leaves func(kind string) []leaf.Leaf) ([]rows.Difference, error) {
	return table.Verify(ctx, db, leaves)
}

func (d *Desk) moment() time.Time { return state.Time(state.Nanos(d.Now())) }

// every is how often repositories are asked whether something came.
const every = time.Minute

// Run reads what comes until ctx ends. Run it on one hub of all.
func (d *Desk) Run(ctx context.Context) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := d.ScanAll(ctx); err != nil && ctx.Err() == nil {
			d.Log.Error("snapshots could not be scored", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// ScanAll scores what came since the last time. One repository that cannot be
// read does not keep the others waiting.
func (d *Desk) ScanAll(ctx context.Context) error {
	all, err := d.Source.Repositories(ctx)
	if err != nil {
		return err
	}
	for _, r := range all {
		if err := d.Scan(ctx, r); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			d.Log.Error("snapshots of a repository could not be scored", "repository", r.ID, "err", err)
		}
	}
	return nil
}

// Series is the snapshots of the same folders of one machine.
type Series struct {
	ID         string    `json:"id"`
	Repository string    `json:"repository"`
	Site       string    `json:"site"`
	Host       string    `json:"host"`
	Name       string    `json:"name"` // of the machine, as its snapshots say
	Paths      []string  `json:"paths"`
	Source     string    `json:"source,omitempty"` // of the job
	Class      string    `json:"class,omitempty"`
	Last       string    `json:"last"` // newest snapshot
	LastAt     time.Time `json:"last_at"`
	Verdict    Verdict   `json:"verdict"` // of the newest
	Points     int       `json:"points"`
	Snapshots  int       `json:"snapshots"`
	Open       int       `json:"open"` // flagged or asked, and nobody answered
	Clean      string    `json:"clean,omitempty"`
	CleanAt    time.Time `json:"clean_at,omitzero"`
}

// Snapshot is one backup with its score.
type Snapshot struct {
	Series   string    `json:"series"`
	ID       string    `json:"id"`
	At       time.Time `json:"at"`       // by the machine's clock
	Received time.Time `json:"received"` // by the hub's
	Partial  bool      `json:"partial,omitempty"`
	Damaged  bool      `json:"damaged,omitempty"`
	Gone     bool      `json:"gone,omitempty"` // it is not in the repository any more
	Score
	Numbers Numbers `json:"numbers"`
	Files   []File  `json:"files"`             // with a sign, at most 200
	Marked  int     `json:"marked"`            // files with a sign among those that were looked at
	Problem string  `json:"problem,omitempty"` // why it could not be read
	Answer  *Answer `json:"answer,omitempty"`
}

// Alarming says whether it needs a person: flagged, or asked about, and nobody
// said yet that it was meant.
func (s Snapshot) Alarming() bool {
	if s.Answer != nil {
		return !s.Answer.Planned
	}
	return s.Verdict == Flagged || s.Verdict == Question
}

// Answer is what a person said about a snapshot.
type Answer struct {
	Planned bool      `json:"planned"`
	Reason  string    `json:"reason"`
	Ticket  string    `json:"ticket,omitempty"` // of the change, as the site numbers them
	By      string    `json:"by"`
	At      time.Time `json:"at"`
}

// seriesID names a series by what it is of.
func seriesID(repository string, s restic.Snapshot) string {
	paths := slices.Sorted(slices.Values(s.Paths))
	sum := sha256.Sum256([]byte(strings.Join(append([]string{repository, s.Hostname, sourceOf(s)}, paths...), "\x00")))
	return "sr-" + hex.EncodeToString(sum[:8])
}

// sourceOf is the tag with which a job names what it backs up.
func sourceOf(s restic.Snapshot) string {
	for _, t := range s.Tags {
		if name, ok := strings.CutPrefix(t, "source:"); ok {
			return name
		}
	}
	return ""
}
