package policy

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sonae/sonae/ready/asset"
)

// Copies tells which copies of the backups of machines there are, as somebody
// confirmed them: the repository by what it received, others by reading back.
type Copies interface {
	CopiesOf(ctx context.Context, hosts []string) ([]Copy, error)
}

// Elsewhere is where a copy is that lies at none of our sites.
const Elsewhere = "elsewhere"

// Copy is where backups of a machine are, besides the machine itself.
type Copy struct {
	Host   string `json:"host"`
	Policy string `json:"policy,omitempty"` // empty: of all policies of the machine
	Medium Medium `json:"medium"`
	Place  string `json:"place"` // in words: a bucket, a safe, a site
	Site   string `json:"site"`  // site where it is; Elsewhere: none of ours; empty: nobody said
	// Why malware with all rights of the machine and of the network cannot change
	// it; each is false when nobody knows.
	AppendOnly  bool      `json:"append_only"`           // whoever writes can neither change nor delete
	LockedUntil time.Time `json:"locked_until,omitzero"` // object lock
	Offline     bool      `json:"offline"`               // taken out, no wire leads there
	Oldest      time.Time `json:"oldest"`                // backup of the policy in it
	Newest      time.Time `json:"newest"`                //
	Generations int       `json:"generations"`           // backups of the policy in it that lie apart; not snapshots, of which a run makes many
	TooOld      bool      `json:"too_old,omitempty"`     // Newest is older than the policy lets a copy be: it counts for nothing
	ReadBack    time.Time `json:"read_back,omitzero"`    // when all of it was last read and found whole
	Damage      string    `json:"damage,omitempty"`      // what was found wrong then; empty: nothing
}

// Reach says why malware cannot reach a copy: the key of the reason, or "".
func (c Copy) Reach(now time.Time) string {
	switch {
	case c.Offline:
		return "offline"
	case c.LockedUntil.After(now):
		return "locked"
	case c.AppendOnly:
		return "append-only"
	}
	return ""
}

// Drills tells what restore drills proved.
type Drills interface {
	ProofsOf(ctx context.Context, hosts []string) ([]Proof, error)
}

// Proof is what restore drills show now of something on a machine.
type Proof struct {
	Host   string    `json:"host"`
	Policy string    `json:"policy,omitempty"` // empty: of all policies of the machine
	Source string    `json:"source,omitempty"` // name of the policy's source that it is of; empty: of all
	At     time.Time `json:"at"`
	Passed bool      `json:"passed"` // false: what was found wrong is not mended yet
	What   string    `json:"what"`   // what was proved, in words
	Path   string    `json:"path"`   // of its page
}

// Forecast tells how long it would take until everything of a site (empty: of
// all) works again if it happened now; false when nobody can say.
type Forecast interface {
	IfNow(ctx context.Context, site string) (Estimate, bool, error)
}

// Estimate is a time that is as likely too short as too long, and one that holds
// in nine cases of ten.
type Estimate struct {
	P50        time.Duration `json:"p50"`
	P90        time.Duration `json:"p90"`
	Calibrated bool          `json:"calibrated"` // from rates that enough drills measured
	Plan       string        `json:"plan"`       // id of the restore plan that takes longest
}

// Mark is how a check ended.
type Mark string

// Marks.
const (
	Met     Mark = "met"
	NotMet  Mark = "not-met"
	Unknown Mark = "unknown" // nobody has said what is needed, or what there is
)

// Check is one requirement held against what is known.
type Check struct {
	Key  string `json:"key"`  // protect.check.…
	Mark Mark   `json:"mark"` //
	Have int    `json:"have"` // what there is, of the machine that has least
	Want int    `json:"want"` //
}

// Rule is a set of checks with its source.
type Rule struct {
	Key    string  `json:"key"` // protect.rule.…
	Checks []Check `json:"checks"`
}

// Met says whether all checks are met.
func (r Rule) Met() bool {
	return !slices.ContainsFunc(r.Checks, func(c Check) bool { return c.Mark != Met })
}

// State of the proof of a class.
const (
	Proven  = "proven"
	Old     = "old"    // longer ago than a year
	Never   = "never"  // not one restore was ever proven
	Refuted = "failed" // the last drill failed
)

// year is how long a proof holds: the ministry asks for a drill about yearly.
const year = 365 * day

// Part is one machine under one policy of a class.
type Part struct {
	Policy Policy `json:"policy"`
	Host   string `json:"host"`
	Fresh  Fresh  `json:"fresh"`
	Copies []Copy `json:"copies"`
	Proof  *Proof `json:"proof,omitempty"` // of the source that is proven worst; nil: one was never proven
	// Unproven are the names of sources that were never proven, where others were.
	Unproven []string `json:"unproven,omitempty"`
}

// Proven says how a part's restore is proven.
func (p Part) Proven(now time.Time) string { return proven(p.Proof, now) }

func proven(p *Proof, now time.Time) string {
	switch {
	case p == nil:
		return Never
	case !p.Passed:
		return Refuted
	case now.Sub(p.At) > year:
		return Old
	}
	return Proven
}

// prove finds the proof of the part: that of the source which is proven worst. A
// drill of one source says nothing about another.
func (p *Part) prove(all []Proof, now time.Time) {
	all = slices.DeleteFunc(slices.Clone(all), func(x Proof) bool {
		return x.Host != p.Host || x.Policy != "" && x.Policy != p.Policy.ID
	})
	var worst *Proof
	for _, s := range p.Policy.Sources {
		one := proofOf(s.Name, all)
		if one == nil {
			p.Unproven = append(p.Unproven, s.Name)
			continue
		}
		if worst == nil || worse(proven(one, now), one.At, proven(worst, now), worst.At) {
			worst = one
		}
	}
	if len(p.Unproven) == 0 || worst != nil && !worst.Passed {
		p.Proof = worst
	}
	if len(p.Unproven) == len(p.Policy.Sources) { // it is no more than never
		p.Unproven = nil
	}
}

// proofOf is the newest proof of a source; one that found something wrong which is
// not mended counts before all others.
func proofOf(source string, all []Proof) (found *Proof) {
	for _, x := range all {
		if x.Source != "" && x.Source != source {
			continue
		}
		if found == nil || found.Passed && !x.Passed || found.Passed == x.Passed && x.At.After(found.At) {
			found = &x
		}
	}
	return found
}

// Cover is what protects a class of data.
type Cover struct {
	Class  Class         `json:"class"`
	Parts  []Part        `json:"parts"`
	Oldest time.Time     `json:"oldest,omitzero"` // generation in any copy
	Newest time.Time     `json:"newest,omitzero"` // backup, of the part whose newest is oldest; zero: one has none
	Loss   time.Duration `json:"loss"`            // how much newest data would be lost now; -1: all of some part
	Proof  string        `json:"proof"`           // of the part that is proven worst
	Proved time.Time     `json:"proved,omitzero"` // when that part was last proven
	Rules  []Rule        `json:"rules"`
	Late   bool          `json:"late"` // some part's newest backup is older than allowed
}

// Bare is a machine that holds personal data and is in no policy.
type Bare struct {
	Host     asset.Host `json:"host"`
	Services []string   `json:"services"` // names of those that hold it
	Data     []string   `json:"data"`     // asset.DataClasses
}

// Reduced is a machine whose newest backup was made by a restic that lacks
// something that matters.
type Reduced struct {
	Host   string   `json:"host"`
	Run    string   `json:"run"` // id
	Restic string   `json:"restic"`
	Lacks  []string `json:"lacks"` // keys of the words protect.engine.lacks.…
}

// Overview is how well a site, or all of them, is protected.
type Overview struct {
	At      time.Time `json:"at"`
	Covers  []Cover   `json:"covers"`
	Bare    []Bare    `json:"bare"`
	Reduced []Reduced `json:"reduced"` // machines that work with less, one line each
	Line    Line      `json:"line"`
	Machine int       `json:"machines"` // that are in any policy
	Known   bool      `json:"known"`    // somebody tells which copies there are
}

// Line is the sentence for executives: if it happened now.
type Line struct {
	Time   *Estimate     `json:"time,omitempty"` // nil: not yet known
	Loss   time.Duration `json:"loss"`           // at most; -1: all of some class
	Proof  string        `json:"proof"`          // of the class that is proven worst
	Proved time.Time     `json:"proved,omitzero"`
	Any    bool          `json:"any"` // there is a class with a policy
}

// Overview holds the classes of a site, or of all when it is empty, against what
// is known now.
func (d *Desk) Overview(ctx context.Context, site string) (Overview, error) {
	o := Overview{At: d.moment(), Covers: []Cover{}, Bare: []Bare{}, Reduced: []Reduced{}, Known: d.deps.Copies != nil}
	classes, err := d.Classes(ctx, site)
	if err != nil {
		return o, err
	}
	policies, err := d.Policies(ctx, site)
	if err != nil {
		return o, err
	}
	parts, err := d.parts(ctx, policies)
	if err != nil {
		return o, err
	}
	covered := map[string]bool{}
	for _, p := range parts {
		covered[p.Host] = true
	}
	o.Machine = len(covered)
	for _, c := range classes {
		of := slices.DeleteFunc(slices.Clone(parts), func(p Part) bool { return p.Policy.Class != c.ID })
		o.Covers = append(o.Covers, Judge(c, of, o.At))
	}
	if o.Bare, err = d.bare(ctx, site, covered); err != nil {
		return o, err
	}
	if o.Reduced, err = d.reduced(ctx, policies); err != nil {
		return o, err
	}
	o.Line = Sum(o.Covers)
	if d.deps.Forecast == nil {
		return o, nil
	}
	e, ok, err := d.deps.Forecast.IfNow(ctx, site)
	if err != nil {
		return o, fmt.Errorf("forecast for %q: %w", site, err)
	}
	if ok {
		o.Line.Time = &e
	}
	return o, nil
}

// parts gathers what is known of each machine under each policy.
func (d *Desk) parts(ctx context.Context, policies []Policy) ([]Part, error) {
	fresh, err := d.Freshness(ctx, policies)
	if err != nil {
		return nil, err
	}
	by, hosts := map[string]Policy{}, []string{}
	for _, p := range policies {
		by[p.ID] = p
		hosts = append(hosts, p.Hosts...)
	}
	hosts, now := sorted(hosts), d.moment()
	var copies []Copy
	if d.deps.Copies != nil && len(hosts) > 0 {
		if copies, err = d.deps.Copies.CopiesOf(ctx, hosts); err != nil {
			return nil, fmt.Errorf("copies: %w", err)
		}
	}
	var proofs []Proof
	if d.deps.Drills != nil && len(hosts) > 0 {
		if proofs, err = d.deps.Drills.ProofsOf(ctx, hosts); err != nil {
			return nil, fmt.Errorf("drills: %w", err)
		}
	}
	out := make([]Part, 0, len(fresh))
	for _, f := range fresh {
		p := Part{Policy: by[f.Policy], Host: f.Host, Fresh: f, Copies: []Copy{}}
		for _, c := range copies {
			if c.Host == f.Host && (c.Policy == "" || c.Policy == f.Policy) {
				c.TooOld = now.Sub(c.Newest) > p.Policy.CopyAge(c.Medium)
				p.Copies = append(p.Copies, c)
			}
		}
		p.prove(proofs, now)
		out = append(out, p)
	}
	return out, nil
}

// Judge says what protects a class, by the part of it that is protected least.
func Judge(c Class, parts []Part, now time.Time) Cover {
	v := Cover{Class: c, Parts: parts, Proof: Never, Loss: -1}
	for i, p := range parts {
		v.Late = v.Late || p.Fresh.Late(now)
		if i == 0 || p.Fresh.Newest.Before(v.Newest) {
			v.Newest = p.Fresh.Newest
		}
		for _, x := range p.Copies {
			if !x.Oldest.IsZero() && (v.Oldest.IsZero() || x.Oldest.Before(v.Oldest)) {
				v.Oldest = x.Oldest
			}
		}
		state, at := p.Proven(now), time.Time{}
		if p.Proof != nil && p.Proof.Passed {
			at = p.Proof.At
		}
		if i == 0 || worse(state, at, v.Proof, v.Proved) {
			v.Proof, v.Proved = state, at
		}
	}
	if len(parts) > 0 && !v.Newest.IsZero() {
		v.Loss = now.Sub(v.Newest)
	}
	v.Rules = rules(c, parts, v, now)
	return v
}

// worse says whether one state of a proof is worse than another.
func worse(a string, at time.Time, b string, bt time.Time) bool {
	rank := []string{Never, Refuted, Old, Proven}
	if x, y := slices.Index(rank, a), slices.Index(rank, b); x != y {
		return x < y
	}
	return at.Before(bt)
}

// Sum is the line about all classes: the worst of each. Time is left out.
func Sum(all []Cover) Line {
	var l Line
	for _, v := range all {
		if len(v.Parts) == 0 {
			continue
		}
		if !l.Any {
			l = Line{Any: true, Loss: v.Loss, Proof: v.Proof, Proved: v.Proved}
			continue
		}
		if v.Loss < 0 || l.Loss >= 0 && v.Loss > l.Loss {
			l.Loss = v.Loss
		}
		if worse(v.Proof, v.Proved, l.Proof, l.Proved) {
			l.Proof, l.Proved = v.Proof, v.Proved
		}
	}
	return l
}

// reduced lists machines whose newest backup was made with a reduced restic.
func (d *Desk) reduced(ctx context.Context, policies []Policy) ([]Reduced, error) {
	out := []Reduced{}
	var hosts []string
	for _, p := range policies {
		hosts = append(hosts, p.Hosts...)
	}
	for _, host := range sorted(hosts) {
		r, err := d.newestOf(ctx, host, policies)
		if err != nil {
			return nil, err
		}
		if r.Result != nil && r.Result.Degraded() {
			out = append(out, Reduced{Host: host, Run: r.ID, Restic: r.Result.Restic, Lacks: r.Result.Reduced})
		}
	}
	return out, nil
}

// bare lists machines that hold personal data and are in no policy.
func (d *Desk) bare(ctx context.Context, site string, covered map[string]bool) ([]Bare, error) {
	out := []Bare{}
	const page = 500
	for from := 0; ; from += page {
		all, total, err := d.deps.Hosts.Hosts(ctx, asset.Filter{Site: site, Limit: page, Offset: from})
		if err != nil {
			return nil, fmt.Errorf("machines without a policy: %w", err)
		}
		for _, h := range all {
			if h.Drill || !h.RemovedAt.IsZero() || covered[h.ID] {
				continue
			}
			b := Bare{Host: h}
			for _, s := range h.Services {
				if len(s.Data) > 0 {
					b.Services, b.Data = append(b.Services, s.Name), append(b.Data, s.Data...)
				}
			}
			if b.Data = sorted(b.Data); len(b.Data) > 0 {
				out = append(out, b)
			}
		}
		if len(all) == 0 || from+len(all) >= total {
			return out, nil
		}
	}
}
