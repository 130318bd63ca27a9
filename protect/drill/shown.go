package drill

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/protect/restic"
)

// Thing is what a snapshot says that it is of: a source of a policy. Empty: it
// says nothing.
type Thing struct {
	Policy string `json:"policy,omitempty"`
	Source string `json:"source,omitempty"`
}

// thingsOf are those of snapshots, by the tags that agents give them.
func thingsOf(all ...restic.Snapshot) (out []Thing) {
	for _, s := range all {
		var t Thing
		for _, tag := range s.Tags {
			if id, ok := strings.CutPrefix(tag, "policy:"); ok {
				t.Policy = clean(id, maxName)
			}
			if name, ok := strings.CutPrefix(tag, "source:"); ok {
				t.Source = clean(name, maxName)
			}
		}
		if t.Policy != "" && !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return out
}

// Shown is what a drill last showed of one thing.
type Shown struct {
	Thing            // empty: the run did not say of what it was; Class and Paths are what is known then
	Class  string    // of the drill
	Paths  []string  // of the drill
	At     time.Time // end of the run
	Passed bool
	Level  Level
	Run    string
}

// Shown is what each drill of a machine showed last of each thing that it
// restored. Where one found damage and could not even say in what, it is of all
// that it showed before. Reading a repository again restores nothing and proves no
// restore, but what is found wrong then speaks against all of it.
func (d *Desk) Shown(ctx context.Context, host string) (out []Shown, _ error) {
	all, err := d.Definitions(ctx, "")
	if err != nil {
		return nil, err
	}
	for _, n := range all {
		if n.Host != host || n.Retired != "" || n.Level == Whole {
			continue
		}
		runs, err := d.Runs(ctx, n.ID, remembered, 0)
		if err != nil {
			return nil, err
		}
		out = append(out, shown(n, runs)...)
	}
	return out, nil
}

// shown is what runs of one drill showed, the newest first.
func shown(n Definition, runs []Run) (out []Shown) {
	var wrong *Run // and of what is not known
	seen := map[Thing]bool{}
	for i := range runs {
		r := &runs[i]
		if r.State != Passed && r.State != Failed || r.Definition.Host != n.Host {
			continue
		}
		if n.Level == Bytes || r.Definition.Level == Bytes { // the drill may have been another one once
			if r.State == Failed && i == decided(runs) {
				out = append(out, Shown{At: r.EndedAt, Level: Bytes, Run: r.ID})
			}
			continue
		}
		of := []Thing{{}}
		if r.Snapshot != nil && len(r.Snapshot.Of) > 0 {
			of = r.Snapshot.Of
		}
		if r.Snapshot == nil && r.State == Failed && wrong == nil {
			wrong = r
			continue
		}
		for _, t := range of {
			if seen[t] || r.State == Passed && r.Snapshot != nil && slices.Contains(r.Snapshot.Part, t) {
				continue
			}
			seen[t] = true
			s := Shown{Thing: t, Class: r.Definition.Class, Paths: r.Definition.Paths, At: r.EndedAt, Passed: r.State == Passed, Level: r.Definition.Level, Run: r.ID}
			if wrong != nil {
				s.At, s.Passed, s.Run = wrong.EndedAt, false, wrong.ID
			}
			out = append(out, s)
		}
	}
	if wrong != nil && len(out) == 0 {
		out = append(out, Shown{Class: n.Class, Paths: n.Paths, At: wrong.EndedAt, Level: n.Level, Run: wrong.ID})
	}
	return out
}

// decided is the place of the newest run that showed anything.
func decided(runs []Run) int {
	return slices.IndexFunc(runs, func(r Run) bool { return r.State == Passed || r.State == Failed })
}
