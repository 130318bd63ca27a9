package duty

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/quick"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/i18n"
)

func rules(t testing.TB) Rules {
	t.Helper()
	r, err := LoadRules()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// at reads a time of Japan.
func at(t testing.TB, s string) time.Time {
	t.Helper()
	v, err := time.ParseInLocation("2006-01-02 15:04", s, clock.Tokyo())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func find(t testing.TB, a Assessment, id string) Clock {
	t.Helper()
	i := slices.IndexFunc(a.Clocks, func(c Clock) bool { return c.ID == id })
	if i < 0 {
		t.Fatalf("no clock %s in %+v", id, a.Clocks)
	}
	return a.Clocks[i]
}

func day(t time.Time) string { return t.In(clock.Tokyo()).Format(time.DateOnly) }

// patients is the usual case of a hospital: patient data may have leaked.
func patients(known time.Time) Facts {
	return Facts{KnownAt: known, LegalClass: "private_business", Personal: Yes, Sensitive: Yes, Property: No, BadIntent: Unknown,
		Public: No, MyNumber: No, PublicSystem: No, Encrypted: No, LocalSensitive: No}
}

// The worked examples of our fact base: day 1, day 3, day 5, 30 days raw and
// due, 60 days raw and due. The fifth day is the raw one; due is the last open
// day on or before it.
func TestWorkedExamples(t *testing.T) {
	r := rules(t)
	for _, v := range []struct{ known, three, five, alarm, raw30, due30, raw60, due60 string }{
		{"2026-11-21", "2026-11-23", "2026-11-25", "2026-11-25", "2026-12-20", "2026-12-21", "2027-01-19", "2027-01-19"},
		{"2026-12-01", "2026-12-03", "2026-12-05", "2026-12-04", "2026-12-30", "2027-01-04", "2027-01-29", "2027-01-29"},
		{"2026-12-02", "2026-12-04", "2026-12-06", "2026-12-04", "2026-12-31", "2027-01-04", "2027-01-30", "2027-02-01"},
		{"2026-11-05", "2026-11-07", "2026-11-09", "2026-11-09", "2026-12-04", "2026-12-04", "2027-01-03", "2027-01-04"},
		{"2026-04-06", "2026-04-08", "2026-04-10", "2026-04-10", "2026-05-05", "2026-05-07", "2026-06-04", "2026-06-04"},
		{"2026-07-22", "2026-07-24", "2026-07-26", "2026-07-24", "2026-08-20", "2026-08-20", "2026-09-19", "2026-09-24"},
	} {
		for _, hour := range []string{"00:00", "09:30", "23:59"} { // the hour does not matter, in Japan
			t.Run(v.known+" "+hour, func(t *testing.T) {
				known := at(t, v.known+" "+hour).UTC()
				f := patients(known)
				a := Evaluate(r, f, known)
				p, f30, f60 := find(t, a, "appi_26.prompt"), find(t, a, "appi_26.final"), find(t, a, "appi_26.final_alternative")
				got := []string{day(p.From), day(p.Target), day(p.Raw), day(p.Due), day(f30.Raw), day(f30.Due), day(f60.Raw), day(f60.Due)}
				if diff := cmp.Diff([]string{v.known, v.three, v.five, v.alarm, v.raw30, v.due30, v.raw60, v.due60}, got); diff != "" {
					t.Error(diff)
				}
				if f30.Slid != (v.raw30 != v.due30) || f60.Days != 60 || f30.Days != 30 || f60.Applies != Unknown || f30.Applies != Yes {
					t.Errorf("30: %+v\n60: %+v", f30, f60)
				}
				f.BadIntent = Yes // now the sixty days hold, and the thirty stay in sight
				a = Evaluate(r, f, known)
				if got := find(t, a, "appi_26.final"); day(got.Due) != v.due60 || got.Applies != Yes {
					t.Errorf("with bad intent: %+v", got)
				}
				if got := find(t, a, "appi_26.final_alternative"); day(got.Due) != v.due30 || got.Applies != Unknown {
					t.Errorf("with bad intent, beside it: %+v", got)
				}
				if got := p.Due.Format("15:04:05 -07:00"); got != "23:59:59 +09:00" {
					t.Errorf("the last moment is %s", got)
				}
			})
		}
	}
}

func TestTriggersAndClocks(t *testing.T) {
	known := at(t, "2026-11-09 10:00") // a Monday; the fifth day is a Friday
	for name, tt := range map[string]struct {
		change func(f *Facts)
		yes    []string // triggers
		maybe  []string
		clocks []string // id and answer
		notes  []string
	}{
		"nothing known at all": {func(f *Facts) { *f = Facts{KnownAt: known, LegalClass: "private_business"} }, nil,
			[]string{"appi_1", "appi_2", "appi_3", "appi_4", "mn_1", "mn_2", "mn_3", "mn_4"},
			[]string{"appi_26.prompt unknown", "mynumber_29_4.prompt unknown", "appi_26.final unknown", "mynumber_29_4.final unknown", "appi_26.final_alternative unknown", "mynumber_29_4.final_alternative unknown"}, nil},
		"one patient is enough": {func(f *Facts) { f.BadIntent, f.Maximum = No, 1 }, []string{"appi_1"}, nil,
			[]string{"appi_26.prompt yes", "appi_26.final yes"}, nil},
		"1000 persons are not more than 1000": {func(f *Facts) { f.Sensitive, f.BadIntent, f.Maximum = No, No, 1000 }, nil, nil, nil, nil},
		"1001 are":                            {func(f *Facts) { f.Sensitive, f.BadIntent, f.Maximum = No, No, 1001 }, []string{"appi_4"}, nil, []string{"appi_26.prompt yes", "appi_26.final yes"}, nil},
		"a count that is not known":           {func(f *Facts) { f.Sensitive, f.BadIntent = No, No }, nil, []string{"appi_4"}, []string{"appi_26.prompt unknown", "appi_26.final unknown"}, nil},
		"no personal data":                    {func(f *Facts) { f.Personal, f.MyNumber = No, Unknown }, nil, nil, nil, nil},
		"strong encryption that nobody proved": {func(f *Facts) { f.Encrypted, f.BadIntent, f.Maximum = Yes, No, 1 }, []string{"appi_1"}, nil,
			[]string{"appi_26.prompt yes", "appi_26.final yes"}, []string{"duty.note.encryption-open"}},
		"unlawful use of a My Number without a leak": {func(f *Facts) {
			f.Personal, f.BadIntent, f.Maximum, f.MyNumber, f.Misuse = No, No, 101, Yes, Yes
		}, []string{"mn_4"}, nil, []string{"mynumber_29_4.prompt yes", "mynumber_29_4.final yes"}, nil},
		"an ordinance's own kind": {func(f *Facts) {
			f.LegalClass, f.Sensitive, f.BadIntent, f.Maximum, f.LocalSensitive = "administrative_organ", No, No, 1, Yes
		}, []string{"appi68_5"}, nil, []string{"appi_68.prompt yes", "appi_68.final yes"}, nil},
		"ransomware without a copy": {func(f *Facts) {
			f.Personal, f.Sensitive, f.Maximum, f.Ransomware, f.IdenticalCopy = Unknown, No, 5, Yes, No
		}, []string{"appi_3"}, nil, []string{"appi_26.prompt yes", "appi_26.final_alternative unknown", "appi_26.final yes"}, nil},
		"ransomware with a copy and signs": {func(f *Facts) {
			f.Personal, f.Sensitive, f.Maximum, f.Ransomware, f.IdenticalCopy, f.Indicators = Unknown, No, 5, Yes, Yes, []string{"c2_traffic"}
		}, []string{"appi_3"}, nil, []string{"appi_26.prompt yes", "appi_26.final_alternative unknown", "appi_26.final yes"}, nil},
		"ransomware with a copy and no sign waits for a person": {func(f *Facts) {
			f.Personal, f.Sensitive, f.Maximum, f.Ransomware, f.IdenticalCopy, f.NoIndicator = Unknown, No, 5, Yes, Yes, Yes
		}, nil, []string{"appi_3"}, []string{"appi_26.prompt unknown", "appi_26.final unknown"}, []string{"duty.note.review"}},
		"a shared file is open to all": {func(f *Facts) {
			f.Personal, f.Sensitive, f.BadIntent, f.Maximum, f.P2P, f.Shared, f.MyNumber, f.Public = Unknown, Yes, No, 1, Yes, Yes, Yes, Unknown
		}, []string{"appi_1", "mn_3"}, nil, []string{"appi_26.prompt yes", "mynumber_29_4.prompt yes", "appi_26.final yes", "mynumber_29_4.final yes"}, nil},
		"a program that shared nothing": {func(f *Facts) { f.Personal, f.MyNumber, f.P2P, f.Shared = No, No, Yes, No }, nil, nil, nil, []string{"duty.note.p2p-policy"}},
		"what people deny stays denied": {func(f *Facts) { f.Personal, f.P2P, f.Shared = No, Yes, Yes }, nil, nil, nil, []string{"duty.note.contradiction"}},
		"intent alone, suspected":       {func(f *Facts) { f.Sensitive, f.Maximum = No, 3 }, nil, []string{"appi_3"}, []string{"appi_26.prompt unknown", "appi_26.final unknown"}, nil},
		"one My Number open to all": {func(f *Facts) { f.Sensitive, f.BadIntent, f.Maximum, f.MyNumber, f.Public = No, No, 1, Yes, Yes }, []string{"mn_3"}, nil,
			[]string{"mynumber_29_4.prompt yes", "mynumber_29_4.final yes"}, nil},
		"100 My Numbers are asked for, not demanded": {func(f *Facts) { f.Sensitive, f.BadIntent, f.Maximum, f.MyNumber = No, No, 100, Yes }, nil, nil, nil, []string{"duty.note.try-to-report"}},
		"101 My Numbers": {func(f *Facts) { f.Sensitive, f.BadIntent, f.Maximum, f.MyNumber = No, No, 101, Yes }, []string{"mn_4"}, nil,
			[]string{"mynumber_29_4.prompt yes", "mynumber_29_4.final yes"}, nil},
		"a city hall has 101": {func(f *Facts) {
			f.LegalClass, f.Sensitive, f.BadIntent, f.Maximum = "administrative_organ", No, No, 101
		}, []string{"appi68_4"}, nil, []string{"appi_68.prompt yes", "appi_68.final yes"}, nil},
		"both laws": {func(f *Facts) { f.BadIntent, f.MyNumber = Yes, Yes }, []string{"appi_1", "appi_3", "mn_2"}, []string{"appi_4", "mn_4"},
			[]string{"appi_26.prompt yes", "mynumber_29_4.prompt yes", "appi_26.final_alternative unknown", "mynumber_29_4.final_alternative unknown", "appi_26.final yes", "mynumber_29_4.final yes"}, nil},
		"before the rules": {func(f *Facts) { f.KnownAt = at(t, "2023-05-01 10:00") }, nil, nil, nil, []string{"duty.note.no-rules"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := patients(known)
			tt.change(&f)
			a := Evaluate(rules(t), f, known)
			var yes, maybe, clocks []string
			for _, g := range a.Triggers {
				switch g.Applies {
				case Yes:
					yes = append(yes, g.ID)
				case Unknown:
					maybe = append(maybe, g.ID)
				}
			}
			for _, c := range a.Clocks {
				if c.Kind == KindNotice { // there whenever a report is due
					continue
				}
				clocks = append(clocks, fmt.Sprint(c.ID, " ", c.Applies))
			}
			if diff := cmp.Diff(tt.maybe, maybe); diff != "" {
				t.Errorf("may apply:\n%s", diff)
			}
			if diff := cmp.Diff(tt.yes, yes); diff != "" {
				t.Errorf("apply:\n%s", diff)
			}
			if diff := cmp.Diff(tt.clocks, clocks); diff != "" {
				t.Errorf("clocks:\n%s", diff)
			}
			for _, n := range tt.notes {
				if !slices.Contains(a.Notes, n) {
					t.Errorf("notes %v lack %s", a.Notes, n)
				}
			}
		})
	}
}

func TestContractor(t *testing.T) {
	r := rules(t)
	known, told := at(t, "2026-11-09 10:00"), at(t, "2026-11-07 18:00") // told on a Saturday, noticed on Monday
	f := patients(known)
	f.Contractor = "callcentre"
	a := Evaluate(r, f, known)
	c := find(t, a, "contractor.notice")
	if !c.Target.Equal(known.Add(2*time.Hour)) || day(c.Due) != "2026-11-13" || !c.DoneAt.IsZero() || c.Applies != Yes {
		t.Errorf("open notice: %+v", c)
	}
	if !slices.Contains(a.Notes, "duty.note.contractor-reports-itself") {
		t.Errorf("notes %v", a.Notes)
	}
	f.ContractorKnownAt, f.NotifiedAt = at(t, "2026-11-07 17:10"), told
	a = Evaluate(r, f, known)
	if c = find(t, a, "contractor.notice"); !c.From.Equal(f.ContractorKnownAt) || !c.DoneAt.Equal(told) || day(c.Raw) != "2026-11-11" {
		t.Errorf("notice given: %+v", c)
	}
	if p := find(t, a, "appi_26.prompt"); !p.From.Equal(told) || p.Fact != "duty.fact.notified" {
		t.Errorf("the principal's clock runs from %v (%s), want from the notice", p.From, p.Fact)
	}
	f.NotifiedAt = known.Add(time.Hour) // the principal knew before it was told
	if p := find(t, Evaluate(r, f, known), "appi_26.prompt"); !p.From.Equal(known) || p.Fact != "duty.fact.known" {
		t.Errorf("the principal's clock runs from %v (%s), want from its own knowledge", p.From, p.Fact)
	}
}

func TestClocksAlwaysHold(t *testing.T) {
	r := rules(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	first := at(t, "2025-01-01 00:00")
	moment := func() time.Time { return first.Add(time.Duration(random.Int64N(int64(6 * 365 * 24 * time.Hour)))) }
	assess := func(known time.Time) (prompt, f30, f60 Clock) {
		a := Evaluate(r, patients(known), known)
		return find(t, a, "appi_26.prompt"), find(t, a, "appi_26.final"), find(t, a, "appi_26.final_alternative")
	}
	for range 5000 {
		known := moment()
		p, f30, f60 := assess(known)
		for _, c := range []Clock{f30, f60} {
			if c.Due.Before(c.Raw) || r.Closed(c.Due) || c.Slid != r.Closed(c.Raw) || c.Raw.Sub(dayOf(known)) != time.Duration(c.Days)*24*time.Hour-time.Second {
				t.Fatalf("known %v: %+v", known, c)
			}
		}
		if p.Due.After(p.Raw) || p.Due.Before(known) || p.Target.After(p.Due) || r.Closed(p.Due) && !p.Due.Equal(p.Raw) {
			t.Fatalf("known %v: %+v", known, p)
		}
		if f60.Due.Before(f30.Due) || f30.Due.Before(p.Due) {
			t.Fatalf("known %v: prompt %v, 30 %v, 60 %v", known, p.Due, f30.Due, f60.Due)
		}
		later := known.Add(time.Duration(random.Int64N(int64(10 * 24 * time.Hour))))
		lp, l30, l60 := assess(later)
		if lp.Due.Before(p.Due) || l30.Due.Before(f30.Due) || l60.Due.Before(f60.Due) {
			t.Fatalf("known later (%v, %v) means due earlier", known, later)
		}
	}
}

// TestMoreKnowledgeNeverHides: to answer an open question with yes never ends a
// duty, and whatever is answered, both final dates are shown while bad intent
// is open or suspected beside another category.
func TestMoreKnowledgeNeverHides(t *testing.T) {
	r := rules(t)
	answers := []Answer{Yes, No, Unknown}
	check := func(known uint32, pick [8]uint8, which uint8, maximum uint16) bool {
		f := Facts{KnownAt: at(t, "2025-01-01 00:00").Add(time.Duration(known%(5*365*24)) * time.Hour), LegalClass: "private_business", Encrypted: No, Maximum: int(maximum)}
		names := []string{"personal", "sensitive", "property", "bad_intent", "public", "my_number", "public_system", "ransomware"}
		for i, name := range names {
			f.Set(name, answers[pick[i]%3])
		}
		before := Evaluate(r, f, f.KnownAt)
		for _, c := range before.Clocks {
			if c.Basis == "" || c.Fact == "" {
				t.Logf("%s does not say where it comes from", c.ID)
				return false
			}
		}
		applies := func(a Assessment, id string) Answer {
			for _, g := range a.Triggers {
				if g.ID == id {
					return g.Applies
				}
			}
			return No
		}
		for _, regime := range []struct{ id, intent, other string }{{"appi_26", "appi_3", "appi_1"}, {"mynumber_29_4", "mn_2", "mn_3"}} {
			if applies(before, regime.intent) != No && applies(before, regime.other) == Yes {
				days := map[int]bool{}
				for _, c := range before.Clocks {
					if c.Regime == regime.id && c.Days >= 30 {
						days[c.Days] = true
					}
				}
				if !days[30] || !days[60] {
					t.Logf("%s shows %v", regime.id, days)
					return false
				}
			}
		}
		name := names[int(which)%len(names)]
		if f.Answer(name) != Unknown {
			return true
		}
		f.Set(name, Yes)
		after := Evaluate(r, f, f.KnownAt)
		for _, c := range before.Clocks {
			if !slices.ContainsFunc(after.Clocks, func(x Clock) bool { return x.Regime == c.Regime && x.Kind == KindPrompt || x.ID == c.ID }) {
				t.Logf("%s answered yes, and %s is gone", name, c.ID)
				return false
			}
		}
		return true
	}
	if err := quick.Check(check, &quick.Config{MaxCount: 3000}); err != nil {
		t.Error(err)
	}
}

func TestWhatIsSaidAboutHolidays(t *testing.T) {
	for known, want := range map[string]string{"2026-03-02 10:00": "", "2027-12-10 10:00": "duty.note.holidays-assumed", "2030-12-20 10:00": "duty.note.holidays-missing"} {
		a := Evaluate(rules(t), patients(at(t, known)), at(t, known))
		got := strings.Join(slices.DeleteFunc(slices.Clone(a.Notes), func(n string) bool { return !strings.Contains(n, "holidays") }), " ")
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("known %s: notes %q, want %q", known, got, want)
		}
	}
}

func TestEveryKeyHasItsSentence(t *testing.T) {
	r := rules(t)
	seen := map[string]bool{}
	say := func(key string) {
		if !seen[key] && !i18n.Has(key) {
			t.Errorf("no sentence for %s", key)
		}
		seen[key] = true
	}
	answers := []Answer{Yes, No, Unknown}
	random := rand.New(rand.NewPCG(1, 2))
	pick := func() Answer { return answers[random.IntN(3)] }
	for range 3000 {
		f := Facts{KnownAt: at(t, "2027-12-10 10:00"), LegalClass: append(r.LegalClasses.Known, "")[random.IntN(5)], Personal: pick(), Sensitive: pick(), Property: pick(),
			BadIntent: pick(), Public: pick(), MyNumber: pick(), PublicSystem: pick(), Encrypted: pick(), Maximum: random.IntN(3) * 900,
			Misuse: pick(), LocalSensitive: pick(), Ransomware: pick(), IdenticalCopy: pick(), P2P: pick(), Shared: pick(), ForGain: pick(), DDoS: pick(), NoIndicator: pick()}
		a := Evaluate(r, f, f.KnownAt)
		for _, g := range a.Triggers {
			say(g.Because)
			say("duty.trigger." + g.ID)
			say("duty.regime." + g.Regime)
		}
		for _, c := range a.Clocks {
			say("duty.clock." + c.Kind)
			say("duty.regime." + c.Regime)
			say(c.Fact)
		}
		for _, n := range a.Notes {
			say(n)
		}
		for _, m := range a.Missing {
			say("duty.item." + m)
		}
		for _, q := range a.Ask {
			say("duty.question." + q)
		}
		for _, d := range a.Derived {
			say("duty.row." + d.Row)
		}
	}
	for _, k := range []string{"duty.note.encryption-open", "duty.note.review", "duty.note.contradiction", "duty.note.no-rules", "duty.note.p2p-policy", "duty.fact.decided", "duty.clock.person_notice", "duty.regime.person_notice", "duty.question.persons", "duty.fact.unknown", "duty.fact.notified", "duty.fact.contractor-known", "duty.note.contractor-reports-itself", "duty.note.holidays-missing", "duty.regime.contractor", "duty.clock.contractor", "duty.answer.yes", "duty.answer.no", "duty.answer.unknown"} {
		say(k)
	}
	for _, f := range FactNames() {
		say("duty.question." + f)
	}
	for _, table := range r.Tables {
		for _, row := range table.Rows {
			say("duty.row." + row.ID)
		}
	}
	for _, p := range append(ProofAnswers(), "algorithm", "evidence", "key", Signature) {
		say("duty.proof." + p)
	}
	for _, f := range append(append(RansomFields(), DDoSFields()...), "nco_sharing") {
		say("duty.form." + f)
	}
	for kind, list := range choices {
		for _, c := range list {
			say("duty.choice." + kind + "." + c)
			say("entry." + Decision{Kind: kind, Choice: c}.Key())
		}
	}
	for _, g := range r.PersonNotice.MayWaitIf {
		say("duty.ground." + g)
	}
	for _, m := range r.PersonNotice.Substitute {
		say("duty.means." + m)
	}
	for _, c := range r.LegalClasses.Known {
		say("duty.class." + c)
	}
	for _, i := range r.Indicators {
		say("duty.indicator." + i.ID)
	}
	for _, c := range r.Contacts {
		say("duty.contact." + c.ID)
		say("duty.contact-when." + c.ID)
	}
}

// Filing one report meets its deadlines under every law, and no other ones.
func TestWhatWasFiledIsDone(t *testing.T) {
	known := at(t, "2026-11-22 14:00")
	f := patients(known)
	f.MyNumber, f.Contractor = Yes, "callcentre"
	f.PromptFiledAt = known.Add(24 * time.Hour)
	prompts, others := 0, 0
	for _, c := range Evaluate(rules(t), f, known).Clocks {
		if c.Kind == KindPrompt && c.DoneAt.Equal(f.PromptFiledAt) {
			prompts++
		} else if c.DoneAt.IsZero() {
			others++
		} else {
			t.Errorf("%s is done at %s", c.ID, c.DoneAt)
		}
	}
	if prompts != 2 || others < 3 {
		t.Errorf("%d prompt reports done, %d others open", prompts, others)
	}
	f.FinalFiledAt = known.Add(48 * time.Hour)
	for _, c := range Evaluate(rules(t), f, known).Clocks {
		if (c.Kind == KindFinal || c.Kind == KindFinalOther) != c.DoneAt.Equal(f.FinalFiledAt) {
			t.Errorf("%s is done at %s", c.ID, c.DoneAt)
		}
	}
}

// Statements made before the times of filing existed keep their digest.
func TestOldStatementsKeepTheirForm(t *testing.T) {
	b, err := json.Marshal(patients(at(t, "2026-11-22 14:00")))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), "filed_at") {
		t.Errorf("facts without filing: %s", b)
	}
}
