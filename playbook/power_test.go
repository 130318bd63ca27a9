package playbook

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/incident"
)

// TestPowerFailsInEveryTypeOfStep goes through a playbook that has every type
// of step, another playbook with arguments both ways among them, and lets the
// power fail at each boundary in turn. Both runs must end with the transitions
// and values that they have without a failure.
func TestPowerFailsInEveryTypeOfStep(t *testing.T) {
	x := newTable(t)
	inner := strings.Replace(book(around(sA, map[string]string{sA: manual("Inner", then(e1), `"out_args":["__found__"]`)}),
		`{"playbook_variables":{"__host__":{"type":"string","external":true},"__found__":{"type":"bool"}}}`), uid("playbook", 1), uid("playbook", 2), 1)
	par, cond, loop, sw, call := uid("parallel", 1), uid("if-condition", 1), uid("while-condition", 1), uid("switch-condition", 1), uid("playbook-action", 1)
	outer := book(around(sA, map[string]string{
		sA:   manual("Collect", then(par), ours(`{"action":{"kind":"preserve"}}`)),
		par:  fmt.Sprintf(`{"type":"parallel","next_steps":[%q,%q],%s}`, call, loop, then(cond)),
		call: fmt.Sprintf(`{"type":"playbook-action","name":"P","playbook_id":%q,"in_args":["__host__"],"out_args":["__found__"],%s}`, uid("playbook", 2), then(e2)),
		loop: fmt.Sprintf(`{"type":"while-condition","condition":"__done__:value = false","on_true":%q,%s}`, sB, then(e3)),
		sB:   manual("B", then(loop), `"out_args":["__done__"]`),
		cond: fmt.Sprintf(`{"type":"if-condition","condition":"__found__:value = true","on_true":%q,%s}`, sC, then(sw)), sC: manual("C", then(uid("end", 4))),
		sw: fmt.Sprintf(`{"type":"switch-condition","switch":"__kind__:value","cases":{"x":%q,"default":%q},%s}`, sD, uid("end", 5), then(e1)), sD: manual("D", then(uid("end", 6))),
		e2: end, e3: end, uid("end", 4): end, uid("end", 5): end, uid("end", 6): end,
	}), `{"playbook_variables":{"__host__":{"type":"string","value":"ehr-1"},"__found__":{"type":"bool"},"__done__":{"type":"bool","value":"false"},"__kind__":{"type":"string","value":"x"}}}`)
	for _, source := range []string{inner, outer} {
		if _, err := x.Import(t.Context(), []byte(source), anna); err != nil {
			t.Fatal(err)
		}
	}
	want, boundaries := x.powerless(t, -1)
	if boundaries < 30 || !strings.Contains(want, "child") || !strings.Contains(want, "switch") || strings.Count(want, " finished map") != 2 {
		t.Fatalf("%d boundaries:\n%s", boundaries, want)
	}
	for fail := range boundaries {
		if got, _ := x.powerless(t, fail); got != want {
			t.Errorf("the power failed at boundary %d:\n%s\nwant\n%s", fail, got, want)
		}
	}
	t.Logf("%d boundaries", boundaries)
	x.intact()
}

// powerless takes the playbook to its end in an incident of its own; the power
// fails once, at a boundary. It returns what became of all runs, and how many
// boundaries there were.
func (x *table) powerless(t *testing.T, fail int) (string, int) {
	t.Helper()
	in, err := x.room.Open(t.Context(), incident.NewIncident{Title: fmt.Sprint("power ", fail), Severity: event.High, Sites: []string{"clinic"}, Hosts: []string{"ho-1"}}, anna)
	if err != nil {
		t.Fatal(err)
	}
	x.acts.by, x.acts.asked = map[string]*action.Action{}, nil
	n := 0
	boundary := func() error {
		if n++; n-1 == fail {
			return errPower
		}
		return nil
	}
	up := func(err error) {
		t.Helper()
		if errors.Is(err, errPower) {
			x.open()
			x.boundary = boundary
			err = x.Resume(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	x.boundary = boundary
	for range 200 {
		runs, err := x.Runs(t.Context(), in.ID)
		if err != nil {
			t.Fatal(err)
		}
		if len(runs) == 0 {
			_, err := x.Begin(t.Context(), in.ID, uid("playbook", 1), anna)
			up(err)
			continue
		}
		i := slices.IndexFunc(runs, func(r Run) bool { return firstOpen(r) != nil })
		switch {
		case i >= 0:
			b, err := x.Book(t.Context(), runs[i].Version)
			if err != nil {
				t.Fatal(err)
			}
			_, err = x.Report(t.Context(), runs[i].ID, whateverFits(b, &runs[i], firstOpen(runs[i])), anna)
			up(err)
		case slices.ContainsFunc(runs, func(r Run) bool { return r.State == Running }):
			x.acts.all(action.Verified)
			up(x.Result(t.Context(), action.Action{ID: "ac-1", Incident: in.ID}))
		default:
			x.boundary = nil
			return x.became(runs), n
		}
	}
	t.Fatalf("boundary %d: the runs do not end", fail)
	return "", 0
}

func (x *table) became(runs []Run) string {
	var out []string
	for _, r := range runs {
		out = append(out, fmt.Sprintf("%s %s %v", r.State, x.keys(r), r.Values))
	}
	return strings.Join(append(out, fmt.Sprint(len(x.acts.by), " actions")), "\n")
}
