package policy

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/ready/asset"
)

type copiesOf []Copy

func (c copiesOf) CopiesOf(context.Context, []string) ([]Copy, error) { return c, nil }

type proofsOf []Proof

func (p proofsOf) ProofsOf(context.Context, []string) ([]Proof, error) { return p, nil }

type forecastOf Estimate

func (f forecastOf) IfNow(context.Context, string) (Estimate, bool, error) {
	return Estimate(f), f.P50 > 0, nil
}

// marks are the checks of a rule as "key have/want mark".
func marks(v Cover, rule string) map[string]Mark {
	out := map[string]Mark{}
	for _, r := range v.Rules {
		for _, c := range r.Checks {
			if r.Key == rule {
				out[c.Key] = c.Mark
			}
		}
	}
	return out
}

func TestWhatNobodyConfirmedIsNotThere(t *testing.T) {
	w := newWard(t, "sv")
	o, err := w.Overview(t.Context(), "")
	w.must(err)
	if len(o.Covers) != 1 || o.Line.Any || o.Known {
		t.Fatalf("%+v", o)
	}
	for key, m := range marks(o.Covers[0], "32110") {
		if m != NotMet {
			t.Errorf("without a policy %s is %s", key, m)
		}
	}
	w.save(w.nightly())
	w.look(at.Add(31*time.Minute), w.hosts...)
	r := w.runs(Filter{})[0]
	w.must(w.Ended(t.Context(), r.Host, w.says(r, job.OK))) // the agent says it is done, but the repository has nothing
	w.now = w.now.Add(time.Hour)
	o, err = w.Overview(t.Context(), "")
	w.must(err)
	want := map[string]Mark{"copies": NotMet, "media": NotMet, "away": NotMet, "unreachable": NotMet, "zero": NotMet}
	if diff := cmp.Diff(want, marks(o.Covers[0], "32110")); diff != "" {
		t.Error(diff)
	}
	if l := o.Line; !l.Any || l.Time != nil || l.Loss != -1 || l.Proof != Never {
		t.Errorf("%+v", l)
	}
	if m := marks(o.Covers[0], "own"); m["loss"] != NotMet || m["targets"] != NotMet {
		t.Errorf("%v", m)
	}
	w.look(at.Add(31*time.Hour), w.hosts...)
	o, err = w.Overview(t.Context(), "")
	w.must(err)
	if m := marks(o.Covers[0], "own"); m["fresh"] != NotMet {
		t.Errorf("a night later: %v", m)
	}
}

func TestTheRulesAreHeldAgainstTheMachineThatHasLeast(t *testing.T) {
	w := newWard(t, "a", "b")
	w.save(w.nightly())
	hub := func(host string) Copy {
		return Copy{Host: host, Medium: AtHub, Site: "hospital", AppendOnly: true, Oldest: at.AddDate(0, -1, 0), Newest: at, Generations: 12, ReadBack: at}
	}
	tape := func(host string) Copy {
		return Copy{Host: host, Medium: Taken, Site: "office", Offline: true, Oldest: at.AddDate(0, -6, 0), Newest: at, Generations: 3, ReadBack: at}
	}
	proof := func(host string, ago time.Duration, passed bool) Proof {
		return Proof{Host: host, At: at.Add(-ago), Passed: passed}
	}
	a, b := w.hosts[0], w.hosts[1]
	for name, tt := range map[string]struct {
		copies   []Copy
		proofs   []Proof
		three    map[string]Mark
		ministry map[string]Mark
		proof    string
	}{
		"all of it": {[]Copy{hub(a), tape(a), hub(b), tape(b)}, []Proof{proof(a, day, true), proof(b, day, true)},
			map[string]Mark{"copies": Met, "media": Met, "away": Met, "unreachable": Met, "zero": Met},
			map[string]Mark{"methods": Met, "generations": Met, "offline": Met, "drilled": Met}, Proven},
		"one machine without a tape": {[]Copy{hub(a), tape(a), hub(b)}, []Proof{proof(a, day, true), proof(b, day, true)},
			map[string]Mark{"copies": NotMet, "media": NotMet, "away": NotMet, "unreachable": Met, "zero": Met},
			map[string]Mark{"methods": NotMet, "generations": Met, "offline": Met, "drilled": Met}, Proven},
		"append-only that nobody ever restored from": {[]Copy{hub(a), hub(b)}, nil,
			map[string]Mark{"copies": NotMet, "media": NotMet, "away": NotMet, "unreachable": Met, "zero": NotMet},
			map[string]Mark{"methods": NotMet, "generations": Met, "offline": NotMet, "drilled": NotMet}, Never},
		"proven longer ago than a year": {[]Copy{hub(a), tape(a), hub(b), tape(b)}, []Proof{proof(a, day, true), proof(b, 400*day, true)},
			map[string]Mark{"copies": Met, "media": Met, "away": Met, "unreachable": Met, "zero": NotMet},
			map[string]Mark{"methods": Met, "generations": Met, "offline": Met, "drilled": NotMet}, Old},
		"the last drill failed": {[]Copy{hub(a), tape(a), hub(b), tape(b)}, []Proof{proof(a, 9*day, true), proof(a, day, false), proof(b, day, true)},
			map[string]Mark{"copies": Met, "media": Met, "away": Met, "unreachable": Met, "zero": NotMet},
			map[string]Mark{"methods": Met, "generations": Met, "offline": Met, "drilled": NotMet}, Refuted},
		"a damaged copy is none": {[]Copy{hub(a), {Host: a, Medium: Taken, Generations: 3, ReadBack: at, Damage: "x"}, hub(b), tape(b)}, []Proof{proof(a, day, true), proof(b, day, true)},
			map[string]Mark{"copies": NotMet, "media": NotMet, "away": NotMet, "unreachable": Met, "zero": NotMet},
			map[string]Mark{"methods": NotMet, "generations": Met, "offline": Met, "drilled": Met}, Proven},
	} {
		t.Run(name, func(t *testing.T) {
			w.Desk.deps.Copies, w.Desk.deps.Drills = copiesOf(tt.copies), proofsOf(tt.proofs)
			o, err := w.Overview(t.Context(), "hospital")
			w.must(err)
			v := o.Covers[0]
			if diff := cmp.Diff(tt.three, marks(v, "32110")); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tt.ministry, marks(v, "ministry")); diff != "" {
				t.Error(diff)
			}
			if v.Proof != tt.proof || o.Line.Proof != tt.proof {
				t.Errorf("proof %s, line %s, want %s", v.Proof, o.Line.Proof, tt.proof)
			}
		})
	}
}

func TestALockThatRanOutHoldsNobodyBack(t *testing.T) {
	c := Copy{LockedUntil: at}
	if c.Reach(at.Add(-time.Second)) != "locked" || c.Reach(at) != "" {
		t.Error("a lock holds until it ends, and no longer")
	}
}

func TestLineTellsTheWorst(t *testing.T) {
	w := newWard(t, "sv")
	w.save(w.nightly())
	w.Desk.deps.Forecast = forecastOf{P50: 26 * time.Hour, P90: 52 * time.Hour}
	o, err := w.Overview(t.Context(), "")
	w.must(err)
	if l := o.Line; l.Time == nil || l.Time.P90 != 52*time.Hour || l.Loss != -1 {
		t.Errorf("%+v", l)
	}
	w.Desk.deps.Forecast = forecastOf{}
	if o, err = w.Overview(t.Context(), ""); err != nil || o.Line.Time != nil {
		t.Errorf("%+v, %v", o.Line, err)
	}
}

func TestMachinesWithPersonalDataAndWithoutAPolicyAreNamed(t *testing.T) {
	w := newWard(t, "a", "b")
	for i, data := range [][]string{{"sensitive"}, {}} {
		h, err := w.reg.Host(t.Context(), w.hosts[i])
		w.must(err)
		h.Services = []asset.Service{{Name: "予約", Effect: "x", Data: data}}
		w.must(w.reg.SaveHost(t.Context(), h, keeper))
	}
	o, err := w.Overview(t.Context(), "")
	w.must(err)
	if len(o.Bare) != 1 || o.Bare[0].Host.ID != w.hosts[0] || o.Bare[0].Services[0] != "予約" {
		t.Errorf("%+v", o.Bare)
	}
	w.save(w.nightly())
	if o, err = w.Overview(t.Context(), ""); err != nil || len(o.Bare) != 0 || o.Machine != 2 {
		t.Errorf("%+v, %v", o.Bare, err)
	}
}

// A drill of one policy, or of one of its sources, says nothing about another one
// of the same machine.
func TestADrillProvesOnlyWhatItRestored(t *testing.T) {
	w := newWard(t, "sv")
	db := w.nightly()
	db.Name, db.Sources = "データベース", []job.Source{{Name: "db", Kind: job.PostgreSQL}, {Name: "wal", Kind: job.PostgreSQLWAL}}
	db = w.save(db)
	files := w.nightly()
	files.Name, files.Sources = "書類", files.Sources[:1]
	files = w.save(files)
	host := w.hosts[0]
	proof := func(p Policy, source string, ago time.Duration, passed bool) Proof {
		return Proof{Host: host, Policy: p.ID, Source: source, At: at.Add(-ago), Passed: passed}
	}
	for name, tt := range map[string]struct {
		proofs    []Proof
		db, files string
		line      string
		lacks     []string // of the policy db
	}{
		"files alone":           {[]Proof{proof(files, "data", day, true)}, Never, Proven, Never, nil},
		"one source of two":     {[]Proof{proof(files, "data", day, true), proof(db, "db", day, true)}, Never, Proven, Never, []string{"wal"}},
		"all of it":             {[]Proof{proof(files, "data", day, true), proof(db, "db", day, true), proof(db, "wal", day, true)}, Proven, Proven, Proven, nil},
		"a database long ago":   {[]Proof{proof(files, "data", day, true), proof(db, "db", 420*day, true), proof(db, "wal", day, true)}, Old, Proven, Old, nil},
		"damage in one source":  {[]Proof{proof(files, "data", day, true), proof(db, "db", day, true), proof(db, "wal", 9*day, false), proof(db, "wal", day, true)}, Refuted, Proven, Refuted, nil},
		"damage in all of it":   {[]Proof{proof(files, "data", day, true), proof(db, "db", day, true), proof(db, "wal", day, true), {Host: host, At: at.Add(-9 * day)}}, Refuted, Refuted, Refuted, nil},
		"of another machine":    {[]Proof{{Host: "ho-x", At: at, Passed: true}}, Never, Never, Never, nil},
		"of a policy that went": {[]Proof{{Host: host, Policy: "bp-x", Source: "db", At: at, Passed: true}}, Never, Never, Never, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w.Desk.deps.Drills = proofsOf(tt.proofs)
			o, err := w.Overview(t.Context(), "")
			w.must(err)
			got := map[string]Part{}
			for _, p := range o.Covers[0].Parts {
				got[p.Policy.ID] = p
			}
			if a, b := got[db.ID].Proven(at), got[files.ID].Proven(at); a != tt.db || b != tt.files || o.Line.Proof != tt.line {
				t.Errorf("database %s, files %s, line %s; want %s, %s, %s", a, b, o.Line.Proof, tt.db, tt.files, tt.line)
			}
			if diff := cmp.Diff(tt.lacks, got[db.ID].Unproven); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The overview names machines whose newest backup was made by an old restic, also
// when it failed, and no others.
func TestMachinesWithAReducedResticAreNamed(t *testing.T) {
	w := newWard(t, "a", "b", "c")
	w.save(w.nightly())
	told := map[string]job.Result{
		w.hosts[0]: {State: job.OK, Restic: "0.14.0", Reduced: []string{"acl", "chunker"}},
		w.hosts[1]: {State: job.OK, Restic: "0.17.3", Reduced: []string{job.LacksChunker}},
		w.hosts[2]: {State: job.Failed, Restic: "0.14.0", Reduced: []string{"acl", "chunker"}, Error: "no room"},
	}
	for i := range w.hosts { // not all of a site work at once
		w.look(at.Add(31*time.Minute+time.Duration(i)*time.Minute), w.hosts...)
		for _, r := range w.runs(Filter{Going: true}) {
			result := told[r.Host]
			result.Job, result.Kind, result.Start, result.End = r.ID, job.Backup, w.now, w.now
			w.must(w.Ended(t.Context(), r.Host, result))
		}
	}
	o, err := w.Overview(t.Context(), "")
	w.must(err)
	var got []string
	for _, x := range o.Reduced {
		got = append(got, x.Host+" "+x.Restic+" "+x.Lacks[0])
	}
	if diff := cmp.Diff(sorted([]string{w.hosts[0] + " 0.14.0 acl", w.hosts[2] + " 0.14.0 acl"}), got); diff != "" {
		t.Error(diff)
	}
}
