package decision

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/ready/asset"
)

func ptr(n int) *int { return &n }

func from(s string) detect.Text { return detect.Text{"ja": s, "en": s} }

func TestTheStrictestCriterionCallsAndCareHoldsItBack(t *testing.T) {
	pause3 := Criterion{"hosts", 3, Pause, from("board")}
	stop5 := Criterion{"hosts", 5, Stop, from("board")}
	encrypting := Criterion{"encrypting", 1, Stop, from("board")}
	wards := Criterion{"wards", 2, Pause, from("director")}
	yen := Criterion{"yen", 100, Keep, from("director")}
	known := func(pairs ...any) map[string]Seen {
		out := map[string]Seen{}
		for i := 0; i < len(pairs); i += 2 {
			out[pairs[i].(string)] = Seen{Measure: pairs[i].(string), Known: true, Value: int64(pairs[i+1].(int)), From: "scope"}
		}
		return out
	}
	for name, tt := range map[string]struct {
		criteria        []Criterion
		seen            map[string]Seen
		want            Verdict
		called, limited int
		unknown         int
	}{
		"nothing fired: it runs on":                                 {[]Criterion{pause3, encrypting}, known("hosts", 2, "encrypting", 0), Keep, -1, -1, 0},
		"exactly the number fires":                                  {[]Criterion{pause3}, known("hosts", 3), Pause, 0, -1, 0},
		"the strictest counts, wherever it stands":                  {[]Criterion{pause3, stop5}, known("hosts", 5), Stop, 1, -1, 0},
		"of two alike the first is named":                           {[]Criterion{stop5, encrypting}, known("hosts", 9, "encrypting", 1), Stop, 0, -1, 0},
		"care holds it back":                                        {[]Criterion{encrypting, wards}, known("encrypting", 1, "wards", 2), Pause, 0, 1, 0},
		"care below its number does not":                            {[]Criterion{encrypting, wards}, known("encrypting", 1, "wards", 1), Stop, 0, -1, 0},
		"the strongest care counts":                                 {[]Criterion{encrypting, wards, yen}, known("encrypting", 1, "wards", 2, "yen", 100), Keep, 0, 2, 0},
		"care does not make anything stop":                          {[]Criterion{pause3, wards}, known("hosts", 0, "wards", 9), Keep, -1, -1, 0},
		"care does not hold back what is no stricter":               {[]Criterion{pause3, wards}, known("hosts", 3, "wards", 9), Pause, 0, -1, 0},
		"what is not known does not fire, and is counted":           {[]Criterion{pause3, encrypting}, known("hosts", 1), Keep, -1, -1, 1},
		"care that is not known does not hold back, and is counted": {[]Criterion{encrypting, wards}, known("encrypting", 1), Stop, 0, -1, 1},
		"nothing known: nothing is recommended":                     {[]Criterion{pause3, encrypting}, known(), "", -1, -1, 2},
		"only care known: nothing is recommended":                   {[]Criterion{pause3, wards}, known("wards", 2), "", -1, -1, 1},
		"no criteria: nothing is recommended":                       {nil, known("hosts", 9), "", -1, -1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var e Evaluation
			e.judge(tt.criteria, tt.seen)
			got := []any{e.Verdict, e.Called, e.Limited, e.Unknown, len(e.Results)}
			if d := cmp.Diff([]any{tt.want, tt.called, tt.limited, tt.unknown, len(tt.criteria)}, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// at is the moment of these tests.
var at = time.Date(2026, 11, 28, 3, 0, 0, 0, time.UTC)

// ward is a situation: two servers of a hospital in scope, one of them carries
// the records with their wards, a third machine within reach.
func ward() situation {
	records := asset.Service{ID: "ehr", Name: "電子カルテ", Effect: "紙に切り替える", Wards: []string{"3東", "4西"}, Clinics: []string{}, Yen: ptr(120_000), Persons: ptr(85_000), Data: []string{"personal", "sensitive"}}
	return situation{now: at,
		in: incident.Incident{ID: "in-1", Severity: event.High, Scope: incident.Scope{Sites: []string{"hospital"}, Hosts: []string{"ho-1", "ho-2"}}},
		hosts: []asset.Host{
			{ID: "ho-1", Site: "hospital", Services: []asset.Service{records}, Keep: "手術室"},
			{ID: "ho-2", Site: "hospital"},
			{ID: "ho-3", Site: "hospital", Services: []asset.Service{{ID: "ehr", Name: "電子カルテ", Wards: []string{"4西", "ICU"}}, {ID: "print", Name: "印刷"}}},
		},
		alerts: []alert.Alert{
			{ID: "a", Host: "ho-1", RaisedAt: at.Add(-10 * time.Minute), Rule: detect.Rule{Tags: []string{"attack.impact", "attack.t1486"}}},
			{ID: "b", Host: "ho-2", RaisedAt: at.Add(-time.Hour), Rule: detect.Rule{Tags: []string{"attack.exfiltration"}}},
			{ID: "c", Host: "ho-2", RaisedAt: at.Add(-61 * time.Minute)},
		},
	}
}

func TestMeasuresSayWhatIsKnownAndFromWhere(t *testing.T) {
	yes, no := duty.Yes, duty.No
	for name, tt := range map[string]struct {
		change  func(*situation)
		measure string
		want    Seen
	}{
		"machines in scope":                  {nil, "hosts", Seen{"hosts", true, 2, "scope"}},
		"no machine named":                   {func(s *situation) { s.in.Scope.Hosts = nil }, "hosts", Seen{"hosts", false, 0, "scope"}},
		"machines of the service":            {nil, "service-hosts", Seen{"service-hosts", true, 1, "register"}},
		"severity":                           {nil, "severity", Seen{"severity", true, 3, "incident"}},
		"signs of encryption":                {nil, "encrypting", Seen{"encrypting", true, 1, "alerts"}},
		"signs that data leaves":             {nil, "leaving", Seen{"leaving", true, 1, "alerts"}},
		"machines with an alert":             {nil, "alert-hosts", Seen{"alert-hosts", true, 2, "alerts"}},
		"alerts of the last hour":            {nil, "alerts-hour", Seen{"alerts-hour", true, 2, "alerts"}},
		"growth":                             {nil, "growth", Seen{"growth", true, 200, "alerts"}},
		"no growth without an hour before":   {func(s *situation) { s.alerts = s.alerts[:1] }, "growth", Seen{"growth", false, 0, "alerts"}},
		"within reach":                       {nil, "reachable", Seen{"reachable", true, 1, "register"}},
		"isolated ones are not within reach": {func(s *situation) { s.hosts[2].Health.Isolated = true }, "reachable", Seen{"reachable", true, 0, "register"}},
		"all of the scope isolated: nothing is within reach": {func(s *situation) {
			s.hosts[0].Health.Isolated, s.hosts[1].Health.Isolated = true, true
		}, "reachable", Seen{"reachable", true, 0, "register"}},
		"one of the scope is not in the register: it may still reach": {func(s *situation) {
			s.hosts[0].Health.Isolated, s.hosts[1].Health.Isolated = true, true
			s.in.Scope.Hosts = append(s.in.Scope.Hosts, "printer")
		}, "reachable", Seen{"reachable", true, 1, "register"}},
		"no site: reach is not known":         {func(s *situation) { s.in.Scope.Sites = nil }, "reachable", Seen{"reachable", false, 0, "register"}},
		"persons of the register":             {nil, "persons", Seen{"persons", true, 85_000, "register"}},
		"persons as stated, when more":        {func(s *situation) { s.facts = &duty.Facts{Confirmed: 3, Maximum: 130_000} }, "persons", Seen{"persons", true, 130_000, "facts"}},
		"persons as stated, when fewer":       {func(s *situation) { s.facts = &duty.Facts{Confirmed: 3} }, "persons", Seen{"persons", true, 85_000, "register"}},
		"persons that nobody said":            {func(s *situation) { s.hosts[0].Services = nil }, "persons", Seen{"persons", false, 0, "register"}},
		"personal data that surely is not":    {func(s *situation) { s.hosts[0].Services = nil; s.facts = &duty.Facts{Personal: no} }, "persons", Seen{"persons", true, 0, "facts"}},
		"sensitive by the register":           {nil, "sensitive", Seen{"sensitive", true, 85_000, "register"}},
		"sensitive of how many nobody said":   {func(s *situation) { s.hosts[0].Services[0].Persons = nil }, "sensitive", Seen{"sensitive", true, 1, "register"}},
		"My Number: the register says no":     {nil, "my-number", Seen{"my-number", true, 0, "register"}},
		"My Number as stated":                 {func(s *situation) { s.facts = &duty.Facts{MyNumber: yes, Confirmed: 20} }, "my-number", Seen{"my-number", true, 20, "facts"}},
		"My Number that nobody said":          {func(s *situation) { s.hosts[0].Services[0].Data = nil }, "my-number", Seen{"my-number", false, 0, "register"}},
		"public: nobody stated anything":      {nil, "public", Seen{"public", false, 0, "facts"}},
		"public: stated as not known":         {func(s *situation) { s.facts = &duty.Facts{Public: duty.Unknown} }, "public", Seen{"public", false, 0, "facts"}},
		"public: yes":                         {func(s *situation) { s.facts = &duty.Facts{Public: yes} }, "public", Seen{"public", true, 1, "facts"}},
		"bad intent: no":                      {func(s *situation) { s.facts = &duty.Facts{BadIntent: no} }, "bad-intent", Seen{"bad-intent", true, 0, "facts"}},
		"wards of all its machines":           {nil, "wards", Seen{"wards", true, 3, "register"}},
		"no clinic, as somebody said":         {nil, "clinics", Seen{"clinics", true, 0, "register"}},
		"calls that nobody said":              {nil, "calls", Seen{"calls", false, 0, "register"}},
		"yen":                                 {nil, "yen", Seen{"yen", true, 120_000, "register"}},
		"machines that must not be cut off":   {nil, "kept", Seen{"kept", true, 1, "register"}},
		"another service has no such machine": {func(s *situation) { s.hosts[0].Services = nil }, "kept", Seen{"kept", true, 0, "register"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := ward()
			if tt.change != nil {
				tt.change(&s)
			}
			v := s.services()[0]
			for _, x := range s.services() {
				if x.Key == "hospital/ehr" {
					v = x
				}
			}
			if d := cmp.Diff(tt.want, s.seen(v, s.stopCost(v))[tt.measure]); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestServicesInScopeComeFirst(t *testing.T) {
	s := ward()
	got := s.services()
	want := []Service{{"hospital/ehr", "hospital", "電子カルテ", []string{"ho-1", "ho-3"}, []string{"ho-1"}}, {"hospital/print", "hospital", "印刷", []string{"ho-3"}, []string{}}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	s.in.Scope.Hosts = []string{"ho-2"}
	if got := s.services(); len(got) != 3 || got[0].Key != "" || len(got[0].Hit) != 1 {
		t.Errorf("no service in scope: %+v", got)
	}
}

func TestDefaultsHaveSourcesAndFire(t *testing.T) {
	all, err := Defaults()
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]bool{}
	for _, c := range all {
		kinds[c.Kind()] = true
		if c.Source["ja"] == "" || c.Source["en"] == "" {
			t.Errorf("%s has no source in both languages", c.Measure)
		}
	}
	if len(kinds) != 4 {
		t.Errorf("kinds: %v", kinds)
	}
	s := ward()
	e := s.evaluate(s.services()[0], SheetRef{From: Shipped}, all)
	// encryption and 85,000 persons call for a stop; three wards hold it back
	if e.Verdict != Pause || e.CalledBy().Criterion.Measure != "encrypting" || e.LimitedBy().Criterion.Measure != "wards" {
		t.Errorf("recommended %q, called by %+v, held back by %+v", e.Verdict, e.CalledBy(), e.LimitedBy())
	}
	for _, lang := range []string{"ja", "en"} {
		for _, r := range e.Results {
			if say := r.Say(lang); strings.ContainsAny(say, "⟦{") {
				t.Errorf("%s reads %q", r.Criterion.Measure, say)
			}
		}
	}
	if got, want := e.CalledBy().Say("ja"), "暗号化の兆候の警報: 1件(基準 1件以上)"; got != want {
		t.Errorf("said %q, want %q", got, want)
	}
}

func TestAdviceSpeaksOfWhatIsNotDecidedYet(t *testing.T) {
	eval := func(key string, v Verdict, hit bool) Evaluation {
		e := Evaluation{Service: Service{Key: key, Name: key}, Verdict: v, Called: -1, Limited: -1}
		if hit {
			e.Service.Hit = []string{"ho-1"}
		}
		return e
	}
	done := func(key string, no int) Decision {
		return Decision{No: no, Service: Service{Key: key}, Verdict: Pause, ReviewAt: at.Add(time.Hour)}
	}
	all := []Evaluation{eval("h/a", Stop, true), eval("h/b", Stop, true), eval("h/c", Keep, true), eval("h/d", Stop, false)}
	for name, tt := range map[string]struct {
		made    []Decision
		now     time.Time
		want    string
		decided bool
		overdue bool
	}{
		"nothing decided":                   {nil, at, "h/a", false, false},
		"the first is decided":              {[]Decision{done("h/a", 1)}, at, "h/b", false, false},
		"all strict ones in scope decided":  {[]Decision{done("h/a", 1), done("h/b", 2)}, at, "h/a", true, false},
		"its review is over":                {[]Decision{done("h/a", 1), done("h/b", 2)}, at.Add(2 * time.Hour), "h/a", true, true},
		"a newer decision is the one there": {[]Decision{done("h/a", 1), done("h/b", 2), done("h/a", 3)}, at, "h/a", true, false},
	} {
		t.Run(name, func(t *testing.T) {
			a := advise(all, InForce(tt.made), tt.now)
			if a.Service.Key != tt.want || (a.Decided != nil) != tt.decided || a.Overdue != tt.overdue {
				t.Errorf("advice speaks of %q, decided %v, overdue %v", a.Service.Key, a.Decided, a.Overdue)
			}
		})
	}
}

func TestWrongCriteriaAreNamedByTheirLine(t *testing.T) {
	good := Criterion{"hosts", 3, Pause, from("board")}
	for name, tt := range map[string]struct {
		second Criterion
		want   string
	}{
		"unknown measure":          {Criterion{"mood", 1, Stop, from("x")}, "decision.measure"},
		"keep is no call":          {Criterion{"persons", 1, Keep, from("x")}, "decision.verdict-line"},
		"care calls for no stop":   {Criterion{"wards", 1, Stop, from("x")}, "decision.verdict-line"},
		"no such verdict":          {Criterion{"persons", 1, "maybe", from("x")}, "decision.verdict-line"},
		"zero always fires":        {Criterion{"persons", 0, Stop, from("x")}, "decision.threshold"},
		"yes or no is 1":           {Criterion{"public", 2, Stop, from("x")}, "decision.threshold"},
		"severity ends at 4":       {Criterion{"severity", 5, Stop, from("x")}, "decision.threshold"},
		"a source is needed":       {Criterion{"persons", 1, Stop, nil}, "decision.source"},
		"the same twice":           {Criterion{"hosts", 9, Pause, from("x")}, "decision.twice"},
		"a source is not a report": {Criterion{"persons", 1, Stop, from(strings.Repeat("長", 501))}, "decision.source"},
	} {
		t.Run(name, func(t *testing.T) {
			err := check([]Criterion{good, tt.second})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("err = %v, want %s", err, tt.want)
			}
		})
	}
	if err := check([]Criterion{good, {"hosts", 5, Stop, from("x")}, {"wards", 1, Keep, from("x")}}); err != nil {
		t.Error(err)
	}
}
