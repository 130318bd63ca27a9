package auth

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func policies(t *testing.T) *Policies {
	t.Helper()
	p, err := LoadPolicies()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func verbs() []Verb {
	return []Verb{View, Handle, Request, Approve, Release, Preserve, Report, Administer, Audit, Practise, ProtectSee, ProtectChange, ProtectRestore, ProtectDecide}
}

func kinds() []string {
	return []string{"alert", "event", "rule", "incident", "entry", "action", "evidence", "host", "site", "person", "report", "ledger", "page", "policy", "notify", "protect"}
}

// answer is what stands in a cell of the tables.
func answer(d Decision) string {
	if d.Allowed {
		return "yes"
	}
	return strings.TrimPrefix(d.Reason, "denied.")
}

// The whole matrix, in a file that the administrator of a hospital can read:
// for every role, verb and place, the kinds of things it holds for.
func TestMatrix(t *testing.T) {
	p := policies(t)
	var b strings.Builder
	places := []struct{ title, own, site string }{
		{"person of all sites, thing of any site", "", "callcentre"},
		{"person of all sites, thing without site", "", ""},
		{"own site", "callcentre", "callcentre"},
		{"other site", "callcentre", "hospital"},
		{"person of one site, thing without site", "callcentre", ""},
	}
	for _, role := range Roles() {
		fmt.Fprintf(&b, "%s\n", role)
		for _, v := range verbs() {
			got := make([]string, len(places))
			for i, place := range places {
				got[i] = cells(p, Person{ID: "pe-1", Roles: []Role{role}, Site: place.own}, v, place.site)
			}
			if len(slices.Compact(slices.Clone(got))) == 1 {
				fmt.Fprintf(&b, "  %-10s %s\n", v, got[0])
				continue
			}
			fmt.Fprintf(&b, "  %s\n", v)
			for i, place := range places {
				fmt.Fprintf(&b, "    %-40s %s\n", place.title, got[i])
			}
		}
	}
	golden(t, "matrix.txt", b.String())
}

// cells groups the kinds by answer: "yes: alert host; role: evidence".
func cells(p *Policies, who Person, v Verb, site string) string {
	by := map[string][]string{}
	var order []string
	for _, kind := range kinds() {
		a := answer(p.Allow(who, v, Resource{Kind: kind, ID: "x", Site: site, RequestedBy: "pe-2"}))
		if by[a] == nil {
			order = append(order, a)
		}
		by[a] = append(by[a], kind)
	}
	if len(order) == 1 {
		return order[0]
	}
	parts := make([]string, 0, len(order))
	for _, a := range order {
		parts = append(parts, a+": "+strings.Join(by[a], " "))
	}
	return strings.Join(parts, "; ")
}

func TestRules(t *testing.T) {
	p := policies(t)
	all := Roles()
	for name, tt := range map[string]struct {
		who  Person
		verb Verb
		on   Resource
		want Decision
	}{
		"nobody approves what they asked for": {
			Person{ID: "pe-1", Roles: []Role{Approver}}, Approve, Resource{Kind: "action", Site: "hospital", RequestedBy: "pe-1"}, Decision{Reason: deniedOwnRequest}},
		"not even with every role": {
			Person{ID: "pe-1", Roles: all[:4]}, Approve, Resource{Kind: "action", Site: "hospital", RequestedBy: "pe-1"}, Decision{Reason: deniedOwnRequest}},
		"somebody else's request": {
			Person{ID: "pe-1", Roles: []Role{Approver}}, Approve, Resource{Kind: "action", Site: "hospital", RequestedBy: "pe-2"}, Decision{Allowed: true}},
		"whoever may not approve hears of the role first": {
			Person{ID: "pe-1", Roles: []Role{Responder}}, Approve, Resource{Kind: "action", RequestedBy: "pe-1"}, Decision{Reason: deniedRole}},
		"the own request may be ended early": {
			Person{ID: "pe-1", Roles: []Role{Responder}}, Release, Resource{Kind: "action", RequestedBy: "pe-1"}, Decision{Allowed: true}},
		"several roles add up: view by one": {
			Person{ID: "pe-1", Roles: []Role{Auditor, Responder}}, Handle, Resource{Kind: "incident", Site: "hospital"}, Decision{Allowed: true}},
		"several roles add up: audit by the other": {
			Person{ID: "pe-1", Roles: []Role{Auditor, Responder}}, Audit, Resource{Kind: "ledger"}, Decision{Allowed: true}},
		"a disabled administrator": {
			Person{ID: "pe-1", Roles: all, Disabled: true}, View, Resource{Kind: "page"}, Decision{Reason: deniedDisabled}},
		"no role at all": {
			Person{ID: "pe-1"}, View, Resource{Kind: "page"}, Decision{Reason: deniedRole}},
		"a role that does not exist": {
			Person{ID: "pe-1", Roles: []Role{"root"}}, View, Resource{Kind: "page"}, Decision{Reason: deniedRole}},
		"a verb that does not exist": {
			Person{ID: "pe-1", Roles: all[:4]}, "destroy", Resource{Kind: "host"}, Decision{Reason: deniedRole}},
		"a contractor without site reads nothing": {
			Person{ID: "pe-1", Roles: []Role{Contractor}}, View, Resource{Kind: "alert", Site: "hospital"}, Decision{Reason: deniedOtherSite}},
		"an administrator of one site and somebody of all sites": {
			Person{ID: "pe-1", Roles: []Role{Administrator}, Site: "hospital"}, Administer, Resource{Kind: "person"}, Decision{Reason: deniedOtherSite}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := p.Allow(tt.who, tt.verb, tt.on); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestSecondFactorFollowsThePolicies(t *testing.T) {
	p := policies(t)
	for _, site := range []string{"", "callcentre"} {
		for role, want := range map[Role]bool{
			Administrator: true, Approver: true, Responder: false, Executive: false, Contractor: false, Auditor: false,
		} {
			if got := p.NeedsSecondFactor([]Role{role}, site); got != want {
				t.Errorf("%s at %q: %v", role, site, got)
			}
		}
	}
	if !p.NeedsSecondFactor([]Role{Executive, Approver}, "") {
		t.Error("an executive who approves needs none")
	}
}

func TestAmong(t *testing.T) {
	for name, tt := range map[string]struct {
		own   string
		sites []string
		want  string
	}{
		"own site is touched":  {"b", []string{"a", "b"}, "b"},
		"own site is not":      {"c", []string{"a", "b"}, "a"},
		"all sites":            {"", []string{"a", "b"}, "a"},
		"nothing touched yet":  {"c", nil, ""},
		"all sites, no entry":  {"", nil, ""},
		"own site, only entry": {"a", []string{"a"}, "a"},
	} {
		if got := Among(Person{Site: tt.own}, tt.sites); got != tt.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}
