package drill

import (
	"context"
	"slices"
	"time"

	"github.com/sonae/sonae/clock"
)

// Standing is what is known about a drill's backup.
type Standing string

// Standings, from the best to the worst.
const (
	Proven    Standing = "proven"
	Stale     Standing = "stale"     // proved, but the next run is overdue or could not run
	Old       Standing = "old"       // proved longer than a year ago
	Never     Standing = "never"     // never proved
	NotProven Standing = "not-right" // the last run that ran found something wrong
)

// Red says whether somebody must do something now.
func (s Standing) Red() bool { return s == Old || s == Never || s == NotProven }

// A proof is worth nothing after a year, whatever the schedule says.
func tooOld(at, now time.Time) bool { return at.AddDate(1, 0, 0).Before(now) }

// Line is a drill with what came of it.
type Line struct {
	Definition
	Standing Standing  `json:"standing"`
	Proved   time.Time `json:"proved,omitzero"` // the end of the last run that passed
	Next     time.Time `json:"next,omitzero"`   // zero: only when a person wants it
	Last     *Run      `json:"last,omitempty"`  // newest, whatever came of it

	proof *Run // that passed last
}

// Lines lists drills with what is known about each, those of one site where one
// is named.
func (d *Desk) Lines(ctx context.Context, site string) ([]Line, error) {
	all, err := d.Definitions(ctx, site)
	if err != nil {
		return nil, err
	}
	now := d.Now()
	out := make([]Line, 0, len(all))
	for _, n := range all {
		l, err := d.line(ctx, n, now)
		if err != nil {
			return nil, err
		}
		out = append(out, l)
	}
	return out, nil
}

// Line is one drill with what is known about it.
func (d *Desk) Line(ctx context.Context, id string) (Line, error) {
	n, err := d.Definition(ctx, id)
	if err != nil {
		return Line{}, err
	}
	return d.line(ctx, n, d.Now())
}

// remembered is how far back runs are looked at.
const remembered = 50

func (d *Desk) line(ctx context.Context, n Definition, now time.Time) (Line, error) {
	runs, err := d.Runs(ctx, n.ID, remembered, 0)
	if err != nil {
		return Line{}, err
	}
	l := Line{Definition: n, Standing: Never}
	var wrong, unknown bool // since the last proof
	for i := range runs {
		r := &runs[i]
		if i == 0 {
			l.Last = r
		}
		wrong = wrong || r.State == Failed
		unknown = unknown || r.State == Impossible && r.Cancelled == ""
		if r.State == Passed && r.Definition.proves(n) {
			l.Proved, l.proof = r.EndedAt, r
			break
		}
	}
	l.Next = next(n, l.Last)
	switch {
	case wrong:
		l.Standing = NotProven
	case l.Proved.IsZero():
	case tooOld(l.Proved, now):
		l.Standing = Old
	case unknown, !l.Next.IsZero() && now.After(l.Next.AddDate(0, 0, 1)):
		l.Standing = Stale
	default:
		l.Standing = Proven
	}
	return l, nil
}

// proves says whether a run by one version of a drill says something about another:
// it was of the same machine, and went as far.
func (d Definition) proves(n Definition) bool {
	return d.Host == n.Host && d.Level.Number() >= n.Level.Number()
}

// next is when a drill begins by itself: at its hour, its days after the last
// run was asked for; the first time at the next hour of that kind after it was
// written.
func next(n Definition, last *Run) time.Time {
	if n.Days == 0 || n.Retired != "" {
		return time.Time{}
	}
	from := n.At
	if last != nil {
		from = last.AskedAt
	}
	t := from.In(clock.Tokyo())
	at := time.Date(t.Year(), t.Month(), t.Day(), n.Hour, 0, 0, 0, clock.Tokyo())
	if last != nil {
		return at.AddDate(0, 0, n.Days).UTC()
	}
	if !at.After(from) {
		at = at.AddDate(0, 0, 1)
	}
	return at.UTC()
}

// Of names what others ask about; empty fields mean any.
type Of struct {
	Class   string // data class
	Host    string
	Service string
	Site    string
}

func (o Of) is(n Definition) bool {
	return (o.Class == "" || o.Class == n.Class) && (o.Host == "" || o.Host == n.Host) && (o.Service == "" || o.Service == n.Service) && (o.Site == "" || o.Site == n.Site)
}

// Proof is what is known about the restore of something that is worst off.
type Proof struct {
	At       time.Time `json:"at"` // when the drill with the worst standing proved it last; zero: never
	Run      string    `json:"run"`
	Level    Level     `json:"level"`
	Standing Standing  `json:"standing"` // the worst of all drills about it
	DataAge  *float64  `json:"data_age,omitempty"`
}

// Standings lists all, from the best to the worst.
func Standings() []Standing { return []Standing{Proven, Stale, Old, Never, NotProven} }

func worse(a, b Standing) bool {
	return slices.Index(Standings(), a) > slices.Index(Standings(), b)
}

// LastProven is the proof of the drill about something that stands worst; of
// several that stand alike, the oldest proof. Standing is Never where no drill
// about it restores anything: reading a repository again does not, and counts only
// when it found something wrong.
func (d *Desk) LastProven(ctx context.Context, of Of) (Proof, error) {
	lines, err := d.Lines(ctx, of.Site)
	if err != nil {
		return Proof{}, err
	}
	var last *Line
	for _, l := range lines {
		if of.is(l.Definition) && l.Counts() && (last == nil || worse(l.Standing, last.Standing) || l.Standing == last.Standing && l.Proved.Before(last.Proved)) {
			last = &l
		}
	}
	if last == nil {
		return Proof{Standing: Never}, nil
	}
	p := Proof{Standing: last.Standing}
	if r := last.proof; r != nil && last.Level != Bytes {
		p.At, p.Level, p.Run, p.DataAge = last.Proved, last.Level, r.ID, r.DataAge
	}
	return p, nil
}

// Counts says whether a drill says anything about restores.
func (l Line) Counts() bool {
	return l.Retired == "" && (l.Level != Bytes || l.Standing == NotProven)
}

// Measurement is what one run measured, for estimates. Times are in seconds.
type Measurement struct {
	Run            string    `json:"run"`
	Definition     string    `json:"definition"`
	Class          string    `json:"class"`
	Service        string    `json:"service"`
	Host           string    `json:"host"`
	Level          Level     `json:"level"`
	Bytes          int64     `json:"bytes"` // that were restored
	Files          int64     `json:"files"`
	Streams        int       `json:"streams"`
	Seconds        float64   `json:"seconds"`         // of restoring alone; a dump's loading is part of it
	StartupSeconds float64   `json:"startup_seconds"` // from the start of the service to its first answer
	VerifySeconds  float64   `json:"verify_seconds"`
	HumanSeconds   float64   `json:"human_seconds"`
	DataAge        *float64  `json:"data_age,omitempty"`
	At             time.Time `json:"at"`
}

// Measure is what a run measured; false where it restored nothing, or what it
// restored was not right.
func (r Run) Measure() (Measurement, bool) {
	n := r.Definition
	m := Measurement{Run: r.ID, Definition: n.ID, Class: n.Class, Service: n.Service, Host: n.Host, Level: n.Level, Bytes: r.Bytes, Files: r.Files, Streams: max(r.Streams, 1),
		Seconds: r.seconds(phaseRestore, phaseRewind, phaseLoad), StartupSeconds: r.seconds(phaseStart), HumanSeconds: r.HumanSeconds(), DataAge: r.DataAge, At: r.EndedAt,
		VerifySeconds: r.seconds(phaseCompare, phaseManifest, phaseSurvey, phaseAmcheck, phaseTables, phaseAsk, phaseDump, phaseChecksums)}
	return m, r.State == Passed && m.Seconds > 0 && n.Level != Bytes && n.Level != Whole
}

// Measurements lists what the last runs that passed measured about something,
// the newest first, at most limit of each drill (50 when 0).
func (d *Desk) Measurements(ctx context.Context, of Of, limit int) ([]Measurement, error) {
	if limit <= 0 || limit > remembered {
		limit = remembered
	}
	all, err := d.Definitions(ctx, of.Site)
	if err != nil {
		return nil, err
	}
	var out []Measurement
	for _, n := range all {
		if !of.is(n) {
			continue
		}
		list, err := d.all(ctx, kindRun, n.ID, Passed, limit, 0)
		if err != nil {
			return nil, err
		}
		runs, err := decodeAll[Run](list)
		if err != nil {
			return nil, err
		}
		for _, r := range runs {
			if m, ok := r.Measure(); ok {
				out = append(out, m)
			}
		}
	}
	return out, nil
}
