package playbook

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/notify"
)

// variables writes playbook_variables; an empty value is none.
func variables(pairs ...string) string {
	var all []string
	for i := 0; i+1 < len(pairs); i += 2 {
		v := `{"type":"string"}`
		if pairs[i+1] != "" {
			v = fmt.Sprintf(`{"type":"string","value":%q}`, pairs[i+1])
		}
		all = append(all, fmt.Sprintf("%q:%s", pairs[i], v))
	}
	return `{"playbook_variables":{` + strings.Join(all, ",") + `}}`
}

// ours writes our extension of a step.
func ours(text string) string { return fmt.Sprintf(`"step_extensions":{%q:%s}`, ExtensionID, text) }

var (
	sA, sB, sC, sD = uid("action", 1), uid("action", 2), uid("action", 3), uid("action", 4)
	e1, e2, e3     = uid("end", 1), uid("end", 2), uid("end", 3)
	ask            = ours(`{"decision":{"variable":"__v__","options":[{"value":"x"},{"value":"y"}]}}`)
)

func around(first string, more map[string]string) map[string]string {
	all := map[string]string{uid("start", 1): start(first), e1: end}
	for k, v := range more {
		all[k] = v
	}
	return all
}

// TestEveryTypeOfStep walks through playbooks that hold one type of step each.
// The script says what is open, and what people say to it.
func TestEveryTypeOfStep(t *testing.T) {
	par, cond, loop, sw := uid("parallel", 1), uid("if-condition", 1), uid("while-condition", 1), uid("switch-condition", 1)
	for name, tt := range map[string]struct {
		source string
		script []string // "open steps": "step=what[:chosen]"
		keys   string
		state  RunState
	}{
		"parallel: all branches, then what follows": {
			book(around(par, map[string]string{par: fmt.Sprintf(`{"type":"parallel","next_steps":[%q,%q],%s}`, sA, sB, then(sC)),
				sA: manual("A", then(e2)), sB: manual("B", then(sD)), sD: manual("D", then(e3)), sC: manual("C", then(e1)), e2: end, e3: end})),
			[]string{"A, B", "B=done", "A, D", "A=done", "D", "D=done", "C", "C=done", ""},
			"begun parallel done done done done finished", Finished},
		"if: the value decides": {
			book(around(sA, map[string]string{sA: manual("A", then(cond), ask), cond: fmt.Sprintf(`{"type":"if-condition","condition":"__v__:value = 'x'","on_true":%q,"on_false":%q,%s}`, sB, sC, then(sD)),
				sB: manual("B", then(e2)), sC: manual("C", then(e3)), sD: manual("D", then(e1)), e2: end, e3: end}), variables("__v__", "")),
			[]string{"A", "A=done:y", "C", "C=done", "D", "D=done", ""},
			"begun answered condition done done finished", Finished},
		"if: nobody knows, people decide": {
			book(around(cond, map[string]string{cond: fmt.Sprintf(`{"type":"if-condition","name":"Q","condition":"__v__:value = 'x'","on_true":%q,%s}`, sB, then(sD)),
				sB: manual("B", then(e2)), sD: manual("D", then(e1)), e2: end}), variables("__v__", "")),
			[]string{"Q", "Q=done:true", "B", "B=done", "D", "D=done", ""},
			"begun undecided decided done done finished", Finished},
		"if: false without a branch goes on": {
			book(around(cond, map[string]string{cond: fmt.Sprintf(`{"type":"if-condition","condition":"incident:severity = 'low'","on_true":%q,%s}`, sB, then(sD)),
				sB: manual("B", then(e2)), sD: manual("D", then(e1)), e2: end})),
			[]string{"D", "D=done", ""}, "begun condition done finished", Finished},
		"while: again until the value changes": {
			book(around(loop, map[string]string{loop: fmt.Sprintf(`{"type":"while-condition","condition":"__v__:value != 'x'","on_true":%q,%s}`, sA, then(sB)),
				sA: manual("A", then(e2), ask), sB: manual("B", then(e1)), e2: end}), variables("__v__", "start")),
			[]string{"A", "A=done:y", "A", "A=done:x", "B", "B=done", ""},
			"begun condition answered condition answered condition done finished", Finished},
		"while: a branch that leads back to it": {
			book(around(loop, map[string]string{loop: fmt.Sprintf(`{"type":"while-condition","condition":"__v__:value != 'x'","on_true":%q,%s}`, sA, then(e1)),
				sA: manual("A", then(loop), ask)}), variables("__v__", "start")),
			[]string{"A", "A=done:y", "A", "A=done:x", ""},
			"begun condition answered condition answered condition finished", Finished},
		"switch: the case of the value": {
			book(around(sA, map[string]string{sA: manual("A", then(sw), ask), sw: fmt.Sprintf(`{"type":"switch-condition","switch":"__v__:value","cases":{"x":%q,"default":%q},%s}`, sB, sC, then(sD)),
				sB: manual("B", then(e2)), sC: manual("C", then(e3)), sD: manual("D", then(e1)), e2: end, e3: end}), variables("__v__", "")),
			[]string{"A", "A=done:y", "C", "C=done", "D", "D=done", ""},
			"begun answered switch done done finished", Finished},
		"a problem without a way stays open": {
			book(around(sA, map[string]string{sA: manual("A", then(e1))})),
			[]string{"A", "A=problem", "A", "A=done", ""}, "begun problem done finished", Finished},
		"a problem goes the way for failures": {
			book(around(sA, map[string]string{sA: manual("A", fmt.Sprintf(`"on_success":%q,"on_failure":%q`, sB, sC)), sB: manual("B", then(e1)), sC: manual("C", then(e1))})),
			[]string{"A", "A=problem", "C", "C=done", ""}, "begun failed done finished", Finished},
		"a playbook that is not known here": {
			book(around(uid("playbook-action", 1), map[string]string{uid("playbook-action", 1): fmt.Sprintf(`{"type":"playbook-action","name":"P","playbook_id":%q,%s}`, uid("playbook", 9), then(e1))})),
			[]string{"P", "P=done", ""}, "begun elsewhere done finished", Finished},
	} {
		t.Run(name, func(t *testing.T) {
			x := newTable(t)
			r := x.begin(tt.source)
			for i, s := range tt.script {
				if i%2 == 0 {
					if got := x.openSteps(r); got != s {
						t.Fatalf("line %d: open is %q, want %q", i, got, s)
					}
					continue
				}
				step, what, _ := strings.Cut(s, "=")
				what, value, _ := strings.Cut(what, ":")
				x.open() // a hub that starts again in between changes nothing
				r = x.say(r, step, what, chosen(value))
			}
			if r.State != tt.state {
				t.Errorf("the run is %s, want %s", r.State, tt.state)
			}
			if got := x.keys(r); got != tt.keys {
				t.Errorf("transitions\n%s, want\n%s", got, tt.keys)
			}
			x.intact()
		})
	}
}

func TestAnotherPlaybookIsAStep(t *testing.T) {
	x := newTable(t)
	inner := strings.Replace(book(around(sA, map[string]string{sA: manual("Inner", then(e1))})), uid("playbook", 1), uid("playbook", 2), 1)
	if _, err := x.Import(t.Context(), []byte(inner), anna); err != nil {
		t.Fatal(err)
	}
	call := uid("playbook-action", 1)
	r := x.begin(book(around(call, map[string]string{call: fmt.Sprintf(`{"type":"playbook-action","name":"P","playbook_id":%q,%s}`, uid("playbook", 2), then(sB)), sB: manual("B", then(e1))})))
	child, err := x.Run(t.Context(), r.Visits[0].Child)
	if err != nil {
		t.Fatal(err)
	}
	if got := x.openSteps(child); got != "Inner" || r.Visits[0].State != Waiting {
		t.Fatalf("open in the other run: %q, the step is %s", got, r.Visits[0].State)
	}
	x.say(child, "Inner", SayDone)
	if r, err = x.Run(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	if got := x.openSteps(r); got != "B" {
		t.Errorf("afterwards open: %q", got)
	}
	x.say(r, "B", SayDone)
	x.intact()
}

// automatic is a playbook whose first step asks for evidence.
func automatic(next string) string {
	return book(around(sA, map[string]string{sA: manual("Collect", next, ours(`{"action":{"kind":"preserve"}}`)), sB: manual("B", then(e1)), sC: manual("C", then(e1))}))
}

func TestActionsAreAskedForAndWaitedFor(t *testing.T) {
	both := fmt.Sprintf(`"on_success":%q,"on_failure":%q`, sB, sC)
	for name, tt := range map[string]struct {
		next  string
		state action.State
		open  string
	}{
		"verified":               {both, action.Verified, "B"},
		"refused":                {both, action.Refused, "C"},
		"failed, no way for it":  {then(sB), action.Failed, "Collect"},
		"not decided yet":        {both, action.Requested, "Collect"},
		"approved, not done yet": {both, action.Approved, "Collect"},
	} {
		t.Run(name, func(t *testing.T) {
			x := newTable(t)
			source := automatic(tt.next)
			if tt.next == then(sB) {
				source = book(around(sA, map[string]string{sA: manual("Collect", tt.next, ours(`{"action":{"kind":"preserve"}}`)), sB: manual("B", then(e1))}))
			}
			r := x.begin(source)
			if len(x.acts.by) != 1 || r.Visits[0].State != Waiting {
				t.Fatalf("asked for %d actions, the step is %s", len(x.acts.by), r.Visits[0].State)
			}
			if _, err := x.trySay(r, "Collect", SayDone, anna); fault.Of(err) != fault.Conflict {
				t.Errorf("a step that waits for its action was done by word: %v", err)
			}
			x.acts.all(tt.state)
			if err := x.Result(t.Context(), action.Action{ID: "ac-1", Incident: x.in.ID}); err != nil {
				t.Fatal(err)
			}
			r, err := x.Run(t.Context(), r.ID)
			if err != nil {
				t.Fatal(err)
			}
			if got := x.openSteps(r); got != tt.open {
				t.Errorf("open: %q, want %q", got, tt.open)
			}
			if tt.state == action.Failed { // people ask once more: another action
				r = x.say(r, "Collect", SayAgain)
				if len(x.acts.by) != 2 || r.Visits[0].Try != 2 {
					t.Errorf("asked again: %d actions, try %d", len(x.acts.by), r.Visits[0].Try)
				}
			}
			x.intact()
		})
	}
}

func TestWhatCannotBeAskedForIsLeftToPeople(t *testing.T) {
	x := newTable(t)
	x.acts.fault = fault.New(fault.Conflict, "action.no-hub-address")
	r := x.begin(automatic(fmt.Sprintf(`"on_success":%q,"on_failure":%q`, sB, sC)))
	if v := r.Visits[0]; v.State != Open || v.Stuck != "unasked" {
		t.Fatalf("the step is %+v", v)
	}
	x.say(r, "Collect", SayDone)
	x.intact()
}

func TestApprovalNeedsAnother(t *testing.T) {
	x := newTable(t)
	r := x.begin(book(around(sA, map[string]string{sA: manual("A", then(e1), ours(`{"approval":{"m_of_n":1}}`))})))
	r = x.say(r, "A", SayDone)
	if _, err := x.trySay(r, "A", SayDone, anna); fault.Of(err) != fault.Denied {
		t.Errorf("the same person agreed to it: %v", err)
	}
	r, err := x.trySay(r, "A", SayDone, ben)
	if err != nil || r.State != Finished {
		t.Errorf("after the second person: %s, %v", r.State, err)
	}
	x.intact()
}

// TestPeopleAreNeverTimedOut passes the time of a step by days: it is told
// once, and stays open.
func TestPeopleAreNeverTimedOut(t *testing.T) {
	x := newTable(t)
	r := x.begin(book(around(sA, map[string]string{sA: manual("A", then(e1), `"timeout":1000`, ours(`{"deadline":{"basis":"known","calendar":"minutes","offset":10}}`))})))
	if want := x.in.KnownAt.Add(10 * time.Minute); !r.Visits[0].DueAt.Equal(want) {
		t.Fatalf("due at %s, want %s", r.Visits[0].DueAt, want)
	}
	x.now = x.now.Add(72 * time.Hour)
	for range 3 {
		x.open()
		if err := x.Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	r, err := x.Run(t.Context(), r.ID)
	if err != nil {
		t.Fatal(err)
	}
	if r.Visits[0].State != Open || x.keys(r) != "begun overdue" {
		t.Errorf("the step is %s after %s", r.Visits[0].State, x.keys(r))
	}
	causes := func() []notify.Cause {
		t.Helper()
		list, err := x.Causes(t.Context(), r.ID)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	c := causes()
	if len(c) != 1 || c[0].Kind != notify.OfStep || c[0].Ref != r.ID+"/1" || c[0].Incident != x.in.ID || c[0].Path != "/incidents/"+x.in.ID+"/runs/"+r.ID+"#v1" {
		t.Fatalf("people are told of %+v", c)
	}
	if text := c[0].Title["ja"] + c[0].Title["en"]; strings.ContainsAny(text, "⟦⟧{}") || !strings.Contains(text, "「A」") {
		t.Errorf("title %q", text)
	}
	x.say(r, "A", SayDone)
	if c := causes(); len(c) != 0 {
		t.Errorf("after it was done people are told of %+v", c)
	}
	x.intact()
}

func TestARunKeepsItsVersion(t *testing.T) {
	x := newTable(t)
	old := book(around(sA, map[string]string{sA: manual("Old", then(sB)), sB: manual("Old too", then(e1))}))
	r := x.begin(old)
	if _, err := x.Begin(t.Context(), x.in.ID, r.Book, ben); fault.Of(err) != fault.Conflict {
		t.Errorf("the same playbook began twice: %v", err)
	}
	x.now = x.now.Add(time.Minute)
	fresh := book(around(sA, map[string]string{sA: manual("New", then(e1))}))
	if _, err := x.Import(t.Context(), []byte(fresh), ben); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Import(t.Context(), []byte(fresh), ben); fault.Of(err) != fault.Conflict {
		t.Errorf("the same version was imported twice: %v", err)
	}
	x.open()
	r = x.say(r, "Old", SayDone)
	if got := x.openSteps(r); got != "Old too" {
		t.Errorf("open: %q", got)
	}
	x.say(r, "Old too", SayDone)
	again, err := x.Begin(t.Context(), x.in.ID, r.Book, ben)
	if err != nil || x.openSteps(again) != "New" {
		t.Errorf("a run that begins later: %v, %v", again, err)
	}
	x.intact()
}

var errPower = errors.New("the power failed")

// TestPowerFailsAtEveryBoundary lets the power fail before and after each
// transition in turn. Whatever had happened stays, whatever had not is done
// once: the run ends with the same transitions, and nothing is asked twice.
func TestPowerFailsAtEveryBoundary(t *testing.T) {
	loop, par := uid("while-condition", 1), uid("parallel", 1)
	source := book(around(sA, map[string]string{sA: manual("Collect", then(par), ours(`{"action":{"kind":"preserve"}}`)),
		par: fmt.Sprintf(`{"type":"parallel","next_steps":[%q,%q],%s}`, sB, loop, then(sD)),
		sB:  manual("B", then(e2)), e2: end,
		loop: fmt.Sprintf(`{"type":"while-condition","condition":"__v__:value != 'x'","on_true":%q,%s}`, sC, then(e3)), e3: end,
		sC: manual("C", then(loop), ask), sD: manual("D", then(e1))}), variables("__v__", "start"))
	const want = "begun asked succeeded parallel condition done answered condition answered condition done finished"
	boundaries := 0
	for fail := 0; ; fail++ {
		x := newTable(t)
		n := 0
		x.boundary = func() error {
			if n++; n-1 == fail {
				return errPower
			}
			return nil
		}
		x.story(t, source, want)
		if n <= fail {
			boundaries = fail
			break
		}
		if fail > 200 {
			t.Fatal("the story has no end")
		}
	}
	if boundaries < 20 {
		t.Errorf("only %d boundaries were tried", boundaries)
	}
	t.Logf("%d boundaries", boundaries)
}

// story runs a playbook to its end, starting the desk anew after each power
// failure, as a hub does; people press again what got no answer.
func (x *table) story(t *testing.T, source, want string) {
	t.Helper()
	b, err := x.Import(t.Context(), []byte(source), anna)
	if err != nil {
		t.Fatal(err)
	}
	up := func(err error) {
		t.Helper()
		if err == nil {
			return
		}
		if !errors.Is(err, errPower) {
			t.Fatal(err)
		}
		x.open()
		if err := x.Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	_, err = x.Begin(t.Context(), x.in.ID, b.ID, anna)
	up(err)
	runs, err := x.Runs(t.Context(), x.in.ID)
	if err != nil {
		t.Fatal(err)
	}
	if len(runs) == 0 { // it failed before the run was there
		r, err := x.Begin(t.Context(), x.in.ID, b.ID, anna)
		if err != nil {
			t.Fatal(err)
		}
		runs = []Run{r}
	}
	id := runs[0].ID
	x.acts.all(action.Verified)
	up(x.Result(t.Context(), action.Action{ID: "ac-1", Incident: x.in.ID}))
	for _, s := range []struct{ step, value string }{{"B", ""}, {"C", "y"}, {"C", "x"}, {"D", ""}} {
		r, err := x.Run(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		_, err = x.trySay(r, s.step, SayDone, anna, chosen(s.value))
		up(err)
		if after, err := x.Run(t.Context(), id); err != nil {
			t.Fatal(err)
		} else if after.Changes == r.Changes { // it failed before it was taken
			x.say(r, s.step, SayDone, chosen(s.value))
		}
	}
	r, err := x.Run(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if r.State != Finished {
		up(x.Resume(t.Context()))
		r, _ = x.Run(t.Context(), id)
	}
	if got := x.keys(r); got != want {
		t.Errorf("transitions\n%s, want\n%s", got, want)
	}
	if len(x.acts.by) != 1 {
		t.Errorf("%d actions were asked for", len(x.acts.by))
	}
	x.intact()
}
