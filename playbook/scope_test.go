package playbook

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/fault"
)

func returning(pairs ...string) func(*Report) {
	return func(r *Report) {
		r.Values = map[string]string{}
		for i := 0; i+1 < len(pairs); i += 2 {
			r.Values[pairs[i]] = pairs[i+1]
		}
	}
}

// TestWhatAStepReturnsDecidesLater: out_args are asked for, checked by their
// type, and a condition behind uses them.
func TestWhatAStepReturnsDecidesLater(t *testing.T) {
	cond := uid("if-condition", 1)
	vars := `{"playbook_variables":{"__ip__":{"type":"ipv4-addr"},"__n__":{"type":"integer","value":"1"},"__site__":{"type":"string","value":"clinic","constant":true}}}`
	source := book(around(sA, map[string]string{
		sA:   manual("A", then(cond), `"in_args":["__site__"],"out_args":["__ip__","__n__"]`),
		cond: fmt.Sprintf(`{"type":"if-condition","condition":"__ip__:value ISSUBSET '192.0.2.0/24' AND __n__:value > 3","on_true":%q,"on_false":%q,%s}`, sB, sC, then(sD)),
		sB:   manual("B", then(e2)), sC: manual("C", then(e3)), sD: manual("D", then(e1)), e2: end, e3: end,
	}), vars)
	x := newTable(t)
	r := x.begin(source)
	b, err := x.Book(t.Context(), r.Version)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(b.Given(&r, 1), b.Returned(&r, 1)); got != "[{__site__ string  clinic true}] [{__ip__ ipv4-addr   false} {__n__ integer  1 true}]" {
		t.Errorf("given and returned: %s", got)
	}
	for what, bad := range map[string]func(*Report){"no address": returning("__ip__", "here"), "no number": returning("__n__", "many"), "not returned": returning("__site__", "x")} {
		if _, err := x.trySay(r, "A", SayDone, anna, bad); fault.Of(err) != fault.Invalid {
			t.Errorf("%s: %v", what, err)
		}
	}
	x.open()
	r = x.say(r, "A", SayDone, returning("__ip__", "192.0.2.7", "__n__", "4"))
	if got := x.openSteps(r); got != "B" {
		t.Errorf("open: %q", got)
	}
	if got := b.Fill(&r, 1, "ping __ip__:value from __site__:value and __other__:value"); got != "ping 192.0.2.7 from clinic and __other__:value" {
		t.Errorf("filled in: %q", got)
	}
	all, err := x.Changes(t.Context(), r.ID)
	if err != nil {
		t.Fatal(err)
	}
	if c := all[1]; c.Key != "playbook.done-with" || c.Args["values"] != "__ip__ = 192.0.2.7, __n__ = 4" {
		t.Errorf("the chronology is told %s %v", c.Key, c.Args)
	}
	x.intact()
}

// TestWhatNobodyKnowsIsLeftOut: then people decide where it would count.
func TestWhatNobodyKnowsIsLeftOut(t *testing.T) {
	sw := uid("switch-condition", 1)
	x := newTable(t)
	r := x.begin(book(around(sA, map[string]string{sA: manual("A", then(sw), `"out_args":["__v__"]`),
		sw: fmt.Sprintf(`{"type":"switch-condition","name":"Q","switch":"__v__:value","cases":{"x":%q,"y":%q},%s}`, sB, sC, then(e1)),
		sB: manual("B", then(e2)), sC: manual("C", then(e3)), e2: end, e3: end}), variables("__v__", "")))
	r = x.say(r, "A", SayDone)
	if got := x.openSteps(r); got != "Q" {
		t.Fatalf("open: %q", got)
	}
	r = x.say(r, "Q", SayDone, chosen("y"))
	if got := x.openSteps(r); got != "C" {
		t.Errorf("open: %q", got)
	}
	x.intact()
}

// TestVariablesOfAStepAreItsOwn: they hide those of the playbook, are known in
// the branches of the step, begin anew each time, and end with it.
func TestVariablesOfAStepAreItsOwn(t *testing.T) {
	loop, inner := uid("while-condition", 1), uid("if-condition", 1)
	own := `"step_variables":{"__v__":{"type":"string","value":"own"}}`
	x := newTable(t)
	r := x.begin(book(around(loop, map[string]string{
		loop:  fmt.Sprintf(`{"type":"while-condition","condition":"__again__:value = 'yes'","on_true":%q,%s}`, inner, then(sD)),
		inner: fmt.Sprintf(`{"type":"if-condition","condition":"__v__:value = 'own'",%s,"on_true":%q,"on_false":%q,%s}`, own, sA, sB, then(e2)),
		sA:    manual("A", then(e3), `"out_args":["__v__","__again__"]`), sB: manual("B", then(e3)), sD: manual("D", then(e1)), e2: end, e3: end,
	}), variables("__v__", "all", "__again__", "yes")))
	b, err := x.Book(t.Context(), r.Version)
	if err != nil {
		t.Fatal(err)
	}
	value := func(visit int) string { v, _ := b.Value(&r, visit, "__v__:value"); return v }
	if got := x.openSteps(r); got != "A" || value(3) != "own" || value(1) != "all" {
		t.Fatalf("open: %q; seen inside %q and outside %q", got, value(3), value(1))
	}
	r = x.say(r, "A", SayDone, returning("__v__", "changed"))
	if value(3) != "changed" || value(1) != "all" {
		t.Errorf("after it was returned: inside %q, outside %q", value(3), value(1))
	}
	if got := x.openSteps(r); got != "A" { // the second time the step's own value is there again
		t.Fatalf("in the second round open: %q", got)
	}
	r = x.say(r, "A", SayDone, returning("__again__", "no"))
	if got := x.openSteps(r); got != "D" {
		t.Errorf("open: %q", got)
	}
	x.intact()
}

// TestAnotherPlaybookTakesAndReturnsValues: in_args reach its external
// variables and no others; out_args come back.
func TestAnotherPlaybookTakesAndReturnsValues(t *testing.T) {
	x := newTable(t)
	inner := strings.Replace(book(around(sA, map[string]string{sA: manual("Inner", then(e1), `"in_args":["__host__","__secret__"],"out_args":["__found__"]`)}),
		`{"playbook_variables":{"__host__":{"type":"string","external":true},"__secret__":{"type":"string","value":"kept"},"__found__":{"type":"bool"}}}`), uid("playbook", 1), uid("playbook", 2), 1)
	if _, err := x.Import(t.Context(), []byte(inner), anna); err != nil {
		t.Fatal(err)
	}
	call, cond := uid("playbook-action", 1), uid("if-condition", 1)
	r := x.begin(book(around(call, map[string]string{
		call: fmt.Sprintf(`{"type":"playbook-action","name":"P","playbook_id":%q,"in_args":["__host__","__secret__"],"out_args":["__found__"],%s}`, uid("playbook", 2), then(cond)),
		cond: fmt.Sprintf(`{"type":"if-condition","condition":"__found__:value = true","on_true":%q,%s}`, sB, then(e1)), sB: manual("B", then(e2)), e2: end,
	}), variables("__host__", "ehr-1", "__secret__", "mine", "__found__", "")))
	child, err := x.Run(t.Context(), r.Visits[0].Child)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(child.Values); got != "map[__host__:ehr-1 __secret__:kept]" {
		t.Errorf("the other playbook begins with %s", got)
	}
	x.open()
	x.say(child, "Inner", SayDone, returning("__found__", "true"))
	if r, err = x.Run(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	if got := x.openSteps(r); got != "B" {
		t.Errorf("open: %q, values %v", got, r.Values)
	}
	x.intact()
}

// TestActionsOnWhatAStepFound: the thing that an action is done to comes from
// variables; one that is not known is left to people, who can ask again.
func TestActionsOnWhatAStepFound(t *testing.T) {
	for name, tt := range map[string]struct{ wanted, want string }{
		"freeze":          {`{"kind":"freeze","host":"ho-1","pid":"__a__","image":"__b__"}`, "freeze 17 x.exe"},
		"block peer":      {`{"kind":"block-peer","targets":["__a__","evil.example"]}`, "block-peer [17 evil.example]"},
		"stop service":    {`{"kind":"stop-service","object":"__b__"}`, "stop-service x.exe"},
		"disable account": {`{"kind":"disable-account","object":"nurse"}`, "disable-account nurse"},
	} {
		t.Run(name, func(t *testing.T) {
			x := newTable(t)
			r := x.begin(book(around(sA, map[string]string{sA: manual("A", then(sB), `"out_args":["__a__","__b__"]`),
				sB: manual("Contain", then(e1), ours(fmt.Sprintf(`{"action":%s}`, tt.wanted)))}), variables("__a__", "", "__b__", "")))
			r = x.say(r, "A", SayDone, returning("__a__", "17", "__b__", "x.exe"))
			if len(x.acts.asked) != 1 || r.Visits[1].State != Waiting {
				t.Fatalf("asked for %d, the step is %s %s", len(x.acts.asked), r.Visits[1].State, r.Visits[1].Stuck)
			}
			if got := thing(x.acts.asked[0]); got != tt.want {
				t.Errorf("asked for %q, want %q", got, tt.want)
			}
			x.acts.all(action.Verified)
			if err := x.Result(t.Context(), action.Action{ID: "ac-1", Incident: x.in.ID}); err != nil {
				t.Fatal(err)
			}
			if r, err := x.Run(t.Context(), r.ID); err != nil || r.State != Finished {
				t.Errorf("the run is %s: %v", r.State, err)
			}
			x.intact()
		})
	}
	x := newTable(t)
	r := x.begin(book(around(sA, map[string]string{sA: manual("Contain", then(e1), ours(`{"action":{"kind":"stop-service","object":"__a__"}}`))}), variables("__a__", "")))
	if v := r.Visits[0]; v.State != Open || v.Stuck != "unknown-value" || len(x.acts.asked) != 0 {
		t.Errorf("without the value the step is %s %s", v.State, v.Stuck)
	}
	x.say(r, "Contain", SayDone)
}

func thing(q action.NewRequest) string {
	out := string(q.Kind)
	if q.Process != nil {
		out += fmt.Sprint(" ", q.Process.PID, " ", q.Process.Image)
	}
	if len(q.Targets) > 0 {
		out += fmt.Sprint(" ", q.Targets)
	}
	if q.Object != "" {
		out += " " + q.Object
	}
	return out
}

func TestExtensionsThatCannotWorkAreRefused(t *testing.T) {
	for name, tt := range map[string]struct{ extension, want string }{
		"a kind that is none of ours":  {`{"action":{"kind":"kill"}}`, "not \"kill\""},
		"an action on nothing":         {`{"action":{"kind":"stop-service"}}`, "needs an object"},
		"a process without a program":  {`{"action":{"kind":"freeze","pid":"7"}}`, "needs a pid and an image"},
		"a variable that is not there": {`{"action":{"kind":"block-peer","targets":["__nowhere__"]}}`, "__nowhere__ is not among"},
		"a question about a constant":  {`{"decision":{"variable":"__c__"}}`, "__c__ is a constant"},
	} {
		source := book(around(sA, map[string]string{sA: manual("A", then(e1), ours(tt.extension))}), `{"playbook_variables":{"__c__":{"type":"string","value":"1","constant":true}}}`)
		if _, err := Parse([]byte(source)); fault.Of(err) != fault.Invalid || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
