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

// reaching is a playbook whose steps wait, call a chain and cut the site.
func reaching(next string) string {
	return book(around(sA, map[string]string{
		sA: manual("Later", then(sB), `"delay":600000`),
		sB: manual("Call", next, ours(`{"notify":{"chain":"__chain__"}}`)),
		sC: manual("Cut", then(e1), ours(`{"action":{"kind":"cut-site"}}`)),
		sD: manual("Nobody", then(sC))}),
		`{"playbook_variables":{"__chain__":{"type":"string","external":true}}}`)
}

func TestStepsThatReachOut(t *testing.T) {
	way := fmt.Sprintf(`"on_success":%q,"on_failure":%q`, sC, sD)
	for name, tt := range map[string]struct {
		next string
		call notify.State
		cut  action.CuttingState
		open string // after the call
		keys string
	}{
		"answered, cut":          {way, notify.Answered, action.CutHolds, "Cut", "begun-with waited done called call-answered asked succeeded finished"},
		"nobody answered":        {way, notify.Over, action.CutHolds, "Nobody", "begun-with waited done called call-over done asked succeeded finished"},
		"the cutting is refused": {way, notify.Answered, action.CutRefused, "Cut", "begun-with waited done called call-answered asked problem done finished"},
	} {
		t.Run(name, func(t *testing.T) {
			x := newTable(t)
			b, err := x.Import(t.Context(), []byte(reaching(tt.next)), anna)
			if err != nil {
				t.Fatal(err)
			}
			r, err := x.BeginWith(t.Context(), x.in.ID, b.ID, map[string]string{"__chain__": "夜間"}, anna)
			if err != nil {
				t.Fatal(err)
			}
			if v := r.Visits[0]; v.State != Later || !v.BeginsAt.Equal(x.now.Add(10*time.Minute)) || x.openSteps(r) != "" {
				t.Fatalf("the first step is %+v", v)
			}
			if _, err := x.Report(t.Context(), r.ID, Report{Visit: 1, What: SayDone}, anna); fault.Of(err) != fault.Conflict {
				t.Errorf("a step was done before it began: %v", err)
			}
			r = x.goOn(r, 10*time.Minute-time.Second)
			if x.openSteps(r) != "" {
				t.Error("it began before its delay was over")
			}
			r = x.goOn(r, time.Second)
			r = x.say(r, "Later", SayDone)
			if x.openSteps(r) != "Call" || len(x.far.calls) != 1 {
				t.Fatalf("open: %q, %d calls", x.openSteps(r), len(x.far.calls))
			}
			x.far.became(action.CutRequested, tt.call)
			r = x.goOn(r, 0)
			if got := x.openSteps(r); got != tt.open {
				t.Fatalf("open: %q, want %q", got, tt.open)
			}
			if tt.open == "Nobody" {
				r = x.say(r, "Nobody", SayDone)
			}
			x.far.became(tt.cut, tt.call)
			r = x.goOn(r, 0)
			if tt.cut == action.CutRefused {
				r = x.say(r, "Cut", SayDone)
			}
			if got := x.keys(r); got != tt.keys || r.State != Finished || len(x.far.cuts) != 1 {
				t.Errorf("%s after\n%s, want\n%s; %d cuttings", r.State, got, tt.keys, len(x.far.cuts))
			}
			x.intact()
		})
	}
}

// goOn lets time pass and a hub that starts again go on.
func (x *table) goOn(r Run, d time.Duration) Run {
	x.t.Helper()
	x.now = x.now.Add(d)
	x.open()
	if err := x.Resume(x.t.Context()); err != nil {
		x.t.Fatal(err)
	}
	r, err := x.Run(x.t.Context(), r.ID)
	if err != nil {
		x.t.Fatal(err)
	}
	return r
}

// TestPowerFailsWhileReachingOut lets the power fail at each boundary of steps
// that wait, call and cut: nobody is called and nothing is cut twice.
func TestPowerFailsWhileReachingOut(t *testing.T) {
	const want = "begun-with waited done called call-answered asked succeeded finished"
	fail := 0
	for ; ; fail++ {
		x := newTable(t)
		b, err := x.Import(t.Context(), []byte(reaching(fmt.Sprintf(`"on_success":%q,"on_failure":%q`, sC, sD))), anna)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		boundary := func() error {
			if n++; n-1 == fail {
				return errPower
			}
			return nil
		}
		x.boundary = boundary
		id := ""
		for range 20 {
			runs, err := x.Runs(t.Context(), x.in.ID)
			if err != nil {
				t.Fatal(err)
			}
			x.now = x.now.Add(10 * time.Minute)
			switch {
			case len(runs) == 0:
				_, err = x.BeginWith(t.Context(), x.in.ID, b.ID, map[string]string{"__chain__": "夜間"}, anna)
			case runs[0].State != Running:
				id = runs[0].ID
			case runs[0].Visits[len(runs[0].Visits)-1].State == Open:
				_, err = x.Report(t.Context(), runs[0].ID, Report{Visit: len(runs[0].Visits), What: SayDone}, anna)
			default:
				x.far.became(action.CutHolds, notify.Answered)
				err = x.Resume(t.Context())
			}
			if errors.Is(err, errPower) {
				x.open()
				x.boundary, err = boundary, nil
			}
			if err != nil {
				t.Fatal(err)
			}
			if id != "" {
				break
			}
		}
		r, err := x.Run(t.Context(), id)
		if err != nil {
			t.Fatalf("boundary %d: %v", fail, err)
		}
		if got := x.keys(r); got != want || len(x.far.calls) != 1 || len(x.far.cuts) != 1 {
			t.Errorf("boundary %d: %s, %d calls, %d cuttings", fail, got, len(x.far.calls), len(x.far.cuts))
		}
		if n <= fail {
			break
		}
	}
	if fail < 10 {
		t.Errorf("only %d boundaries were tried", fail)
	}
}

func TestWhatCannotBeReachedIsLeftToPeople(t *testing.T) {
	x := newTable(t)
	r := x.begin(strings.Replace(reaching(fmt.Sprintf(`"on_success":%q,"on_failure":%q`, sC, sD)), `"delay":600000`, `"delay":0`, 1)) // nobody named the chain
	r = x.say(r, "Later", SayDone)
	if v := r.Visits[1]; v.State != Open || v.Stuck != "unknown-value" {
		t.Fatalf("the step is %+v", v)
	}
	r = x.say(r, "Call", SayDone)
	if len(x.far.calls) != 0 {
		t.Error("somebody was called")
	}
	x.intact()
}

func TestARunIsBegunWithValues(t *testing.T) {
	x := newTable(t)
	source := book(around(sA, map[string]string{sA: manual("A", then(e1), `"out_args":["__n__","__found__"]`)}),
		`{"playbook_variables":{"__n__":{"type":"integer","external":true,"description":"how many"},"__found__":{"type":"bool"}}}`)
	b, err := x.Import(t.Context(), []byte(source), anna)
	if err != nil {
		t.Fatal(err)
	}
	if got := b.External(); len(got) != 1 || got[0].About != "how many" || got[0].Known {
		t.Errorf("asked for %+v", got)
	}
	for _, bad := range []map[string]string{{"__n__": "many"}, {"__found__": "true"}, {"__other__": "1"}} {
		if _, err := x.BeginWith(t.Context(), x.in.ID, b.ID, bad, anna); fault.Of(err) != fault.Invalid {
			t.Errorf("%v was taken: %v", bad, err)
		}
	}
	r, err := x.BeginWith(t.Context(), x.in.ID, b.ID, map[string]string{"__n__": " 7 "}, anna)
	if err != nil || r.Values["__n__"] != "7" {
		t.Fatalf("%v, %v", r.Values, err)
	}
	if _, err := b.Written(&r, 1, "1;true;3"); fault.Of(err) != fault.Invalid {
		t.Errorf("three values in two boxes: %v", err)
	}
	values, err := b.Written(&r, 1, "；true")
	if err != nil || len(values) != 1 || values["__found__"] != "true" {
		t.Fatalf("written on paper: %v, %v", values, err)
	}
	if r, err = x.Report(t.Context(), r.ID, Report{Visit: 1, What: SayDone, Paper: true, Values: values}, anna); err != nil || r.Values["__found__"] != "true" {
		t.Errorf("%v, %v", r.Values, err)
	}
	x.intact()
}

func TestSignaturesOfPlaybooks(t *testing.T) {
	x := newTable(t)
	b, err := x.Import(t.Context(), []byte(book(around(sA, map[string]string{sA: manual("A", then(e1))}))), anna)
	if err != nil {
		t.Fatal(err)
	}
	if got := x.Signatures(b); len(got) != 0 {
		t.Errorf("unsigned, it has %+v", got)
	}
	x.now = x.now.Add(time.Minute) // the newest version is the one that came last
	signed, err := x.Sign(t.Context(), b.ID, anna)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.Sign(t.Context(), b.ID, anna); fault.Of(err) != fault.Conflict {
		t.Errorf("signed twice: %v", err)
	}
	got := x.Signatures(signed)
	if len(got) != 1 || got[0].Trust != Verified || len(got[0].Key) != 64 {
		t.Errorf("%+v", got)
	}
	changed, err := Parse([]byte(strings.Replace(string(signed.Source), `"A"`, `"B"`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	if got := x.Signatures(changed); len(got) != 1 || got[0].Trust != NotVerified || got[0].Why == "" {
		t.Errorf("changed: %+v", got)
	}
	x.key = x.key[:0:0]
	x.key = append(x.key, make([]byte, 64)...)
	x.key[63] = 1
	x.open()
	if got := x.Signatures(signed); len(got) != 1 || got[0].Trust != UnknownKey {
		t.Errorf("another hub's: %+v", got)
	}
	x.intact()
}
