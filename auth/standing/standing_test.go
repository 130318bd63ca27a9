package standing

import (
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
)

func at(hour int) time.Time { return time.Date(2026, 7, 1, hour, 30, 0, 0, clock.Tokyo()) }

func pc(hour int) Situation {
	return Situation{Alert: "al-1", Rule: "guard", Severity: event.Critical, Certain: true, Host: "ho-1", Name: "CC-PC-07", Site: "callcentre", Class: "pc", Known: true, At: at(hour)}
}

func night() Draft {
	return Draft{Kind: "isolate", Site: "callcentre", Class: "pc", Severity: 4, Certain: true, From: 19, To: 7,
		Lease: time.Hour, Most: 2, Tell: `当直 "田中" 内線1234`, Probe: "192.0.2.9:445"}
}

func compile(t *testing.T, texts map[string]string) *Set {
	t.Helper()
	s, err := Compile(texts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestNightPolicyIsFollowedAtNightOnly(t *testing.T) {
	s := compile(t, map[string]string{"po-1": night().Text()})
	change := func(hour int, f func(*Situation)) Situation { x := pc(hour); f(&x); return x }
	tests := map[string]struct {
		kind string
		x    Situation
		want bool
	}{
		"at night":            {"isolate", pc(23), true},
		"before dawn":         {"isolate", pc(6), true},
		"by day":              {"isolate", pc(12), false},
		"when the day begins": {"isolate", pc(7), false},
		"another action":      {"block", pc(23), false},
		"another site":        {"isolate", change(23, func(x *Situation) { x.Site = "hospital" }), false},
		"a server":            {"isolate", change(23, func(x *Situation) { x.Class = "server" }), false},
		"not certain":         {"isolate", change(23, func(x *Situation) { x.Certain = false }), false},
		"not severe":          {"isolate", change(23, func(x *Situation) { x.Severity = event.Medium }), false},
		"severe enough":       {"isolate", change(23, func(x *Situation) { x.Severity = event.High }), true},
		"on the keep-list":    {"isolate", change(23, func(x *Situation) { x.Keep = true }), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g, ok, err := s.Judge(tt.kind, tt.x)
			if err != nil || ok != tt.want {
				t.Fatalf("granted %v, %v; want %v", ok, err, tt.want)
			}
			want := Grant{Policy: "po-1", Lease: time.Hour, Most: 2, Tell: `当直 "田中" 内線1234`, Probe: "192.0.2.9:445"}
			if ok && g != want {
				t.Errorf("granted %+v", g)
			}
		})
	}
}

func TestWhatOnePolicyForbidsNoOtherPermits(t *testing.T) {
	s := compile(t, map[string]string{
		"po-1": `permit (principal, action, resource);`,
		"po-2": `permit (principal, action == Action::"freeze", resource); forbid (principal, action, resource) when { resource.name == "CC-PC-07" };`,
	})
	if _, ok, err := s.Judge("freeze", pc(12)); ok || err != nil {
		t.Errorf("granted although forbidden: %v", err)
	}
	other := pc(12)
	other.Name = "CC-PC-08"
	g, ok, err := s.Judge("freeze", other)
	if !ok || err != nil || g.Policy != "po-1" || g.Most != defaultMost {
		t.Errorf("%+v %v %v", g, ok, err)
	}
}

func TestNothingIsGrantedWhereAPolicyCannotBeEvaluated(t *testing.T) {
	s := compile(t, map[string]string{ // the trial does not come to the misspelt part
		"po-1": `permit (principal, action, resource);`,
		"po-2": `permit (principal, action, resource) when { resource.site == "hospital" && resource.clas == "pc" };`,
	})
	x := pc(12)
	x.Site = "hospital"
	if _, ok, err := s.Judge("freeze", x); ok || err == nil {
		t.Errorf("granted %v, %v", ok, err)
	}
}

func TestWhatCannotBeUnderstoodIsRefused(t *testing.T) {
	for text, key := range map[string]string{
		`permit (principal, action, resource)`:                                  "standing.syntax",
		`permit (principal, action, resource) when { principal.severty >= 4 };`: "standing.syntax",
		`forbid (principal, action, resource);`:                                 "standing.nothing",
		``:                                                                      "standing.nothing",
		`@lease("3 days") permit (principal, action, resource);`:                          "standing.note",
		`@lease("48h") permit (principal, action, resource);`:                             "standing.note",
		`@most("0") permit (principal, action, resource);`:                                "standing.note",
		`@most("many") permit (principal, action, resource);`:                             "standing.note",
		`@probe("somewhere") permit (principal, action, resource);`:                       "standing.note",
		`@tel("田中") permit (principal, action, resource);`:                                "standing.note",
		`permit (principal, action, resource);` + strings.Repeat(" ", MaxText):            "standing.long",
		`@tell("` + strings.Repeat("x", 300) + `") permit (principal, action, resource);`: "standing.note",
	} {
		if _, err := Compile(map[string]string{"po-1": text}); fault.Of(err) != fault.Invalid || !strings.Contains(err.Error(), key) {
			t.Errorf("%.60q: %v, want %s", text, err, key)
		}
	}
}

func FuzzCompile(f *testing.F) {
	f.Add(night().Text())
	f.Add(`@lease("1h") permit (principal, action, resource); forbid (principal, action, resource) unless { principal.tags.contains("x") };`)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Compile(map[string]string{"po-1": text})
		if err != nil {
			return
		}
		x := pc(3)
		x.Keep = true
		for _, kind := range Kinds() {
			if _, ok, _ := s.Judge(kind, x); ok {
				t.Fatalf("a machine on the keep-list is granted %s", kind)
			}
		}
	})
}

func FuzzDraft(f *testing.F) {
	f.Add(`callcentre`, `pc`, `当直 "x" \`, 19, 7)
	f.Fuzz(func(t *testing.T, site, class, tell string, from, to int) {
		if len(site)+len(class) > 1000 || len(tell) > 100 || strings.ContainsRune(site+class+tell, '\uFFFD') || strings.ToValidUTF8(site+class+tell, "") != site+class+tell {
			return
		}
		d := night()
		d.Site, d.Class, d.Tell, d.From, d.To = site, class, tell, from%24, to%24
		if _, err := Compile(map[string]string{"po-1": d.Text()}); err != nil {
			t.Fatalf("%s: %v", d.Text(), err)
		}
	})
}
