package policy

import (
	"testing"
	"time"

	"github.com/sonae/sonae/protect/job"
)

// A run makes a snapshot of each source, and what is saved all day long makes one
// every quarter of an hour: neither is a generation of its own.
func TestGenerationsAreBackupsThatLieApart(t *testing.T) {
	every := func(n int, d time.Duration) (all []Made) {
		for i := range n {
			all = append(all, Made{at.Add(time.Duration(i)*d - time.Minute), at.Add(time.Duration(i) * d)})
		}
		return all
	}
	for name, tt := range map[string]struct {
		made []Made
		want int
	}{
		"none":                         {nil, 0},
		"one run":                      {every(1, day), 1},
		"three nights":                 {every(3, day), 3},
		"night and noon":               {every(4, 12*time.Hour), 4},
		"45 minutes of WAL":            {every(4, 15*time.Minute), 1},
		"a day of WAL":                 {every(96, 15*time.Minute), 4},
		"asked for three times at one": {every(3, time.Hour), 1},
	} {
		c := Copy{Medium: AtHub, Place: "x"}.Holding("bp-1", tt.made, func(Made) bool { return true })
		if c.Generations != tt.want || c.Policy != "bp-1" || c.Place != "x" {
			t.Errorf("%s: %d generations, want %d", name, c.Generations, tt.want)
		}
		if n := len(tt.made); n > 0 && (!c.Oldest.Equal(at) || !c.Newest.Equal(tt.made[n-1].At)) {
			t.Errorf("%s: from %v to %v", name, c.Oldest, c.Newest)
		}
	}
	some := Copy{}.Holding("bp-1", every(9, day), func(m Made) bool { return m.At.Before(at.Add(3 * day)) })
	if some.Generations != 3 || !some.Newest.Equal(at.Add(2*day)) {
		t.Errorf("what it does not have: %+v", some)
	}
}

func TestMadeAreTheRunsOfAPolicyThatCount(t *testing.T) {
	w := newWard(t, "sv")
	night, noon := w.nightly(), w.nightly()
	noon.Name, noon.Schedule.Times = "昼", []string{"01:00"}
	night, noon = w.save(night), w.save(noon)
	var ends []time.Time
	for n := range 3 { // both are due at once, and one waits for the other
		first := at.Add(time.Duration(n)*day + 31*time.Minute)
		for i, s := range []job.State{job.OK, []job.State{job.OK, job.Failed, job.Partial}[n]} {
			w.look(first.Add(time.Duration(i)*time.Hour), w.hosts...)
			r := w.runs(Filter{State: Ordered})[0]
			w.now = w.now.Add(10 * time.Minute)
			w.done(r, s)
			if s == job.OK {
				ends = append(ends, w.now)
			}
		}
	}
	made, err := w.Made(t.Context(), w.hosts[0], []Policy{night, noon})
	w.must(err)
	if a, b := made[night.ID], made[noon.ID]; len(a)+len(b) != 4 || len(a) == 0 || len(b) == 0 {
		t.Fatalf("%+v", made)
	}
	for id, all := range made {
		for _, m := range all {
			if m.At.Equal(ends[1]) && !m.From.Equal(ends[0]) {
				t.Errorf("%s: the one that waited is from %v, before %v", id, m.From, ends[0])
			}
			if !m.From.Before(m.At) {
				t.Errorf("%s: %+v", id, m)
			}
		}
	}
}

// A tape of last year protects nobody: it is as unreachable as ever, and holds
// nothing that anybody wants back.
func TestACopyThatIsTooOldIsNone(t *testing.T) {
	w := newWard(t, "sv")
	p := w.nightly()
	p.Targets = []Medium{Taken}
	w.save(p)
	of := func(m Medium, age time.Duration) Copy {
		return Copy{Host: w.hosts[0], Medium: m, Place: string(m), Site: "office", Offline: m == Taken, AppendOnly: true, Oldest: at.AddDate(-1, 0, 0), Newest: at.Add(-age), Generations: 9, ReadBack: at}
	}
	for name, tt := range map[string]struct {
		copies       []Copy
		have         map[string]int
		away, target Mark
	}{
		"all are new":                   {[]Copy{of(AtHub, day), of(Taken, 7*day)}, map[string]int{"copies": 3, "media": 2, "unreachable": 2}, Met, Met},
		"the tape is of 11 months ago":  {[]Copy{of(AtHub, day), of(Taken, 330*day)}, map[string]int{"copies": 2, "media": 1, "unreachable": 1}, Met, NotMet},
		"the tape is a month old":       {[]Copy{of(AtHub, day), of(Taken, 31*day)}, map[string]int{"copies": 3, "media": 2, "unreachable": 2}, Met, Met},
		"and a second":                  {[]Copy{of(AtHub, day), of(Taken, 31*day+time.Second)}, map[string]int{"copies": 2, "media": 1, "unreachable": 1}, Met, NotMet},
		"the hub's is of last week":     {[]Copy{of(AtHub, 7*day)}, map[string]int{"copies": 1, "media": 0, "unreachable": 0}, NotMet, NotMet},
		"the other site's is 3 nights":  {[]Copy{of(Second, 3*day)}, map[string]int{"copies": 2, "media": 1, "unreachable": 1}, Met, NotMet},
		"the locked one is of 4 nights": {[]Copy{of(Objects, 4*day)}, map[string]int{"copies": 1, "media": 0, "unreachable": 0}, NotMet, NotMet},
	} {
		t.Run(name, func(t *testing.T) {
			w.Desk.deps.Copies = copiesOf(tt.copies)
			o, err := w.Overview(t.Context(), "")
			w.must(err)
			v := o.Covers[0]
			for _, c := range v.Rules[0].Checks {
				if want, ok := tt.have[c.Key]; ok && c.Have != want {
					t.Errorf("%s: %d, want %d", c.Key, c.Have, want)
				}
			}
			if a, b := marks(v, "32110")["away"], marks(v, "own")["targets"]; a != tt.away || b != tt.target {
				t.Errorf("away %s, targets %s", a, b)
			}
			if got := marks(v, "ministry")["generations"]; got != mark(tt.have["copies"] > 1) {
				t.Errorf("generations %s", got)
			}
		})
	}
}

func TestHowOldACopyMayBe(t *testing.T) {
	nightly := Policy{Schedule: Schedule{Times: []string{"01:00"}, Window: 240}}
	weekly := Policy{Schedule: Schedule{Days: []time.Weekday{time.Sunday}, Times: []string{"01:00"}, Window: 240}}
	wal := Policy{Schedule: Schedule{Every: 15, Window: 30}}
	patient := nightly
	patient.MaxAge = 40 * day
	for name, tt := range map[string]struct {
		p                 Policy
		hub, second, tape time.Duration
	}{
		"every night":              {nightly, 3 * day, 3 * day, 31 * day},
		"every week":               {weekly, 21 * day, 21 * day, 31 * day},
		"every quarter of an hour": {wal, 2*time.Hour + 45*time.Minute, 3 * day, 31 * day},
		"as people said":           {patient, 40 * day, 40 * day, 40 * day},
	} {
		if a, b, c := tt.p.CopyAge(AtHub), tt.p.CopyAge(Second), tt.p.CopyAge(Taken); a != tt.hub || b != tt.second || c != tt.tape {
			t.Errorf("%s: %v, %v, %v", name, a, b, c)
		}
	}
}
