// Package history tells what happened to backups in order of time, incident or
// not (守りの経過).
//
// In: the records of runs, repositories, copies, media, restore drills, restores,
// what was found in snapshots and what people decided. Out: lines, a list in
// order of time, a spreadsheet; notes in the chronology of an incident about the
// machines in its scope. Always true: nothing is kept here. Each line is read
// from a record that the ledger binds, and says what that record says.
package history

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/protect/anomaly"
	"github.com/sonae/sonae/protect/copy"
	"github.com/sonae/sonae/protect/drill"
	"github.com/sonae/sonae/protect/policy"
	"github.com/sonae/sonae/protect/restore"
	"github.com/sonae/sonae/protect/vault"
	"github.com/sonae/sonae/ready/asset"
)

// Kind is what a line is about.
type Kind string

// Kinds.
const (
	Backup     Kind = "backup"     // a run ended
	Missed     Kind = "missed"     // one that was due was never begun
	Doubt      Kind = "doubt"      // runs or snapshots are suspect, or are not any more
	Cut        Kind = "cut"        // the path to the repositories of a site
	Repository Kind = "repository" // what was refused, read again, opened for reading, pruned
	Copy       Kind = "copy"       // copies elsewhere
	Medium     Kind = "medium"     // where media went
	Drill      Kind = "drill"      // restore drills
	Restore    Kind = "restore"    // data that was brought back
	Clean      Kind = "clean"      // clean points that people confirmed
	Rule       Kind = "rule"       // policies that people changed
)

// Kinds lists all, in the order in which people are shown them.
func Kinds() []Kind {
	return []Kind{Backup, Missed, Doubt, Cut, Repository, Copy, Medium, Drill, Restore, Clean, Rule}
}

// Mark says whether a line is good news.
type Mark string

// Marks.
const (
	Good  Mark = "good"
	Bad   Mark = "bad" // somebody must look
	Plain Mark = ""
)

// Line is one thing that happened. Sentence and arguments are those of an entry
// of a chronology (incident.Entry): catalogue key "entry.<Key>".
type Line struct {
	At       time.Time         `json:"at"`
	Kind     Kind              `json:"kind"`
	Mark     Mark              `json:"mark,omitempty"`
	Site     string            `json:"site,omitempty"`
	Host     string            `json:"host,omitempty"`
	Class    string            `json:"class,omitempty"` // id of the class of data, where the record names one
	Key      string            `json:"key"`
	Args     map[string]string `json:"args,omitempty"`
	Ref      string            `json:"ref"`                // id of the record
	About    string            `json:"about,omitempty"`    // id of what that is about: a place, a drill, a series
	Incident string            `json:"incident,omitempty"` // whose chronology tells of it already
	also     []string          // machines that it concerns besides Host
	pending  bool              // it is being told to its own incident this moment
}

// Entry is the line as an entry of a chronology, which says it in words.
func (l Line) Entry() incident.Entry { return incident.Entry{Key: l.Key, Args: l.Args} }

// concerns says whether a line is about a machine.
func (l Line) concerns(host string) bool { return l.Host == host || slices.Contains(l.also, host) }

// Deps are the desks that keep the records.
type Deps struct {
	Runs      Runs
	Vault     Vault
	Copies    Copies
	Drills    Drills
	Restores  Restores
	Anomalies Anomalies
	Hosts     Hosts
	Room      *incident.Room
	Now       clock.Now
	Log       *slog.Logger
}

// Runs is package policy.
type Runs interface {
	Between(ctx context.Context, site string, from, until time.Time) ([]policy.Run, error)
	History(ctx context.Context, id string) ([]policy.Run, error)
	Changes(ctx context.Context, site string, from, until time.Time) ([]policy.Policy, error)
	Policy(ctx context.Context, id string) (policy.Policy, error)
	Policies(ctx context.Context, site string) ([]policy.Policy, error)
}

// Vault is package vault.
type Vault interface {
	Past(ctx context.Context, site string, from time.Time) (vault.Past, error)
}

// Copies is package copy.
type Copies interface {
	Past(ctx context.Context, from, until time.Time) ([]copy.Cycle, error)
	Places(ctx context.Context, all bool) ([]copy.Place, error)
	Media(ctx context.Context) ([]copy.Medium, error)
}

// Drills is package drill.
type Drills interface {
	Runs(ctx context.Context, definition string, limit, offset int) ([]drill.Run, error)
}

// Restores is package restore.
type Restores interface {
	Requests(ctx context.Context) ([]restore.Request, error)
	Versions(ctx context.Context, id string) ([]restore.Request, error)
}

// Anomalies is package anomaly.
type Anomalies interface {
	Past(ctx context.Context, from, until time.Time) ([]anomaly.Said, error)
}

// Hosts is the register of machines.
type Hosts interface {
	Host(ctx context.Context, id string) (asset.Host, error)
}

// Desk reads the records. It is safe for concurrent use.
type Desk struct{ Deps }

// New makes a Desk.
func New(deps Deps) *Desk {
	deps.Log = deps.Log.With("part", "history")
	return &Desk{deps}
}

// Filter chooses lines. Empty fields mean all.
type Filter struct {
	Site, Host, Class string
	Kind              Kind
	Bad               bool      // only what somebody must look at
	From, Until       time.Time // From is within, Until is not; zero: the last Span, until now
	Limit, Offset     int       // Limit 0: all
}

// Spans of time.
const (
	Span    = 7 * 24 * time.Hour
	MaxSpan = 400 * 24 * time.Hour
)

// bounds fills in what the filter leaves open.
func (f *Filter) bounds(now time.Time) error {
	if f.Until.IsZero() {
		f.Until = now.Add(time.Minute) // what happened this moment is within
	}
	if f.From.IsZero() {
		f.From = f.Until.Add(-Span)
	}
	switch {
	case !f.From.Before(f.Until) || f.Until.Sub(f.From) > MaxSpan:
		return fault.New(fault.Invalid, "protect.history.span", int(MaxSpan/(24*time.Hour)))
	case f.Kind != "" && !slices.Contains(Kinds(), f.Kind):
		return fault.New(fault.Invalid, "protect.history.kind")
	}
	return nil
}

// List returns the lines that a filter chooses, the newest first, and how many
// there are.
//
// Errors: Invalid for a time that is too long or an unknown kind.
func (d *Desk) List(ctx context.Context, f Filter) ([]Line, int, error) {
	if err := f.bounds(d.Now()); err != nil {
		return nil, 0, err
	}
	all, err := d.lines(ctx, f, runMargin)
	if err != nil {
		return nil, 0, err
	}
	total := len(all)
	from := min(max(0, f.Offset), total)
	if f.Limit <= 0 {
		f.Limit = total
	}
	return all[from:min(from+f.Limit, total)], total, nil
}

// lines reads all records and keeps the lines that are chosen, the newest first.
// margin is how long before the time runs may have been queued.
func (d *Desk) lines(ctx context.Context, f Filter, margin time.Duration) ([]Line, error) {
	r := reading{Desk: d, f: f, margin: margin, sites: map[string]string{}, policies: map[string]string{}}
	if err := r.classHosts(ctx); err != nil {
		return nil, err
	}
	for _, read := range []struct {
		kinds []Kind
		from  func(context.Context) error
	}{
		{[]Kind{Backup, Missed, Doubt}, r.runs},
		{[]Kind{Cut, Repository}, r.vault},
		{[]Kind{Copy}, r.copies},
		{[]Kind{Medium}, r.media},
		{[]Kind{Drill}, r.drills},
		{[]Kind{Restore}, r.restores},
		{[]Kind{Doubt, Clean}, r.said},
		{[]Kind{Rule}, r.rules},
	} {
		if f.Kind != "" && !slices.Contains(read.kinds, f.Kind) {
			continue
		}
		if err := read.from(ctx); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(r.out, func(a, b Line) int {
		return cmp.Or(b.At.Compare(a.At), strings.Compare(b.Ref, a.Ref), strings.Compare(a.Key, b.Key))
	})
	return r.out, nil
}

// reading is one look at all records.
type reading struct {
	*Desk
	f        Filter
	margin   time.Duration
	sites    map[string]string // of machines
	policies map[string]string // names
	class    map[string]bool   // machines that hold data of the class
	classAt  map[string]bool   // sites of the class
	out      []Line
}

// classHosts finds the machines that hold data of the class that is asked for.
func (r *reading) classHosts(ctx context.Context) error {
	if r.f.Class == "" {
		return nil
	}
	all, err := r.Runs.Policies(ctx, r.f.Site)
	if err != nil {
		return err
	}
	r.class, r.classAt = map[string]bool{}, map[string]bool{}
	for _, p := range all {
		if p.Class != r.f.Class {
			continue
		}
		r.classAt[p.Site] = true
		for _, h := range p.Hosts {
			r.class[h] = true
		}
	}
	return nil
}

// add keeps a line that is chosen. Where a record names no site it is that of
// the machine.
func (r *reading) add(ctx context.Context, l Line) error {
	f := r.f
	if l.At.Before(f.From) || !l.At.Before(f.Until) || f.Kind != "" && l.Kind != f.Kind || f.Bad && l.Mark != Bad || f.Host != "" && !l.concerns(f.Host) {
		return nil
	}
	if l.Site == "" && l.Host != "" {
		var err error
		if l.Site, err = r.siteOf(ctx, l.Host); err != nil {
			return err
		}
	}
	if f.Site != "" && l.Site != f.Site || f.Class != "" && !r.ofClass(l) {
		return nil
	}
	r.out = append(r.out, l)
	return nil
}

// ofClass says whether a line is about the class that is asked for. One that
// names none is about those of its machine, or of its site where it names none.
func (r *reading) ofClass(l Line) bool {
	switch {
	case l.Class != "":
		return l.Class == r.f.Class
	case l.Host != "" || len(l.also) > 0:
		return r.class[l.Host] || slices.ContainsFunc(l.also, func(h string) bool { return r.class[h] })
	}
	return r.classAt[l.Site]
}

func (r *reading) siteOf(ctx context.Context, host string) (string, error) {
	if site, ok := r.sites[host]; ok {
		return site, nil
	}
	h, err := r.Hosts.Host(ctx, host)
	if err != nil && fault.Of(err) != fault.Missing {
		return "", err
	}
	r.sites[host] = h.Site
	return h.Site, nil
}
