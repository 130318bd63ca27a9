package action

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/auth/standing"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
)

func nightly() Policy {
	d := standing.Draft{Kind: "isolate", Class: "", Severity: 4, Certain: true, Lease: time.Hour, Most: 2, Tell: "院長 内線100"}
	return Policy{Name: "夜間の隔離", Site: "callcentre", Text: d.Text(), Why: "夜は情報担当がいない"}
}

// holding proposes and approves a policy.
func (b *bench) holding(p Policy) Policy {
	b.t.Helper()
	p, err := b.Propose(b.t.Context(), p, tanaka)
	b.must(err)
	b.must(b.ApprovePolicy(b.t.Context(), p.ID, suzuki))
	return p
}

func TestPolicyNeedsASecondPersonAndEndsByOne(t *testing.T) {
	b := newBench(t)
	here := auth.Person{ID: "pe-9", Site: "hospital", Roles: []auth.Role{auth.Approver}}
	p, err := b.Propose(t.Context(), nightly(), both)
	b.must(err)
	seen := b.seen("al-1", "pc", "certain")
	wants := func(n int) {
		t.Helper()
		todo, _, err := b.Automatic(t.Context(), seen)
		b.must(err)
		if len(todo) != n {
			t.Fatalf("%d answers, want %d", len(todo), n)
		}
	}
	wants(0)
	wantFault(t, b.ApprovePolicy(t.Context(), p.ID, both), fault.Denied, "policy.own")
	wantFault(t, b.ApprovePolicy(t.Context(), p.ID, tanaka), fault.Denied, "action.not-approver")
	wantFault(t, b.ApprovePolicy(t.Context(), p.ID, here), fault.Denied, "policy.other-site")
	b.must(b.ApprovePolicy(t.Context(), p.ID, suzuki))
	wantFault(t, b.ApprovePolicy(t.Context(), p.ID, suzuki), fault.Conflict, "policy.not-waiting")
	wants(1)

	next := nightly()
	next.Replaces, next.Text = p.ID, strings.Replace(next.Text, "principal.certain", "!principal.certain", 1)
	q := b.holding(next)
	wants(0)
	if old, err := b.Policy(t.Context(), p.ID); err != nil || old.State != PolicyEnded {
		t.Errorf("the old policy is %s, %v", old.State, err)
	}
	wantFault(t, b.EndPolicy(t.Context(), q.ID, "もう要らない", boss), fault.Denied, "action.not-releaser")
	b.must(b.EndPolicy(t.Context(), q.ID, "もう要らない", tanaka))
	var did []string
	decisions, err := b.Decisions(t.Context(), p.ID)
	b.must(err)
	for _, d := range decisions {
		did = append(did, d.What)
		b.approvalInLedger(d)
	}
	if got := strings.Join(did, " "); got != "policy-proposed policy-approved policy-ended" {
		t.Errorf("written down: %s", got)
	}
	_, err = b.Propose(t.Context(), Policy{Name: "x", Why: "y", Text: "permit"}, tanaka)
	wantFault(t, err, fault.Invalid, "standing.syntax")
}

func TestPolicyThatNobodyApprovedAsItIsHoldsNothing(t *testing.T) {
	b := newBench(t)
	p := b.holding(nightly())
	b.must(b.db.Tx(t.Context(), func(tx *state.Tx) error {
		_, err := tx.ExecContext(t.Context(), `UPDATE action_policy SET body = REPLACE(body, 'severity \u003e= 4', 'severity \u003e= 1') WHERE id = $1`, p.ID)
		return err
	}))
	if q, err := b.Policy(t.Context(), p.ID); err != nil || q.Text == p.Text {
		t.Fatalf("the text was not changed: %v", err)
	}
	if todo, _, err := b.Automatic(t.Context(), b.seen("al-1", "pc", "certain")); err == nil || len(todo) != 0 {
		t.Errorf("a changed text is followed: %v %v", todo, err)
	}
}

func TestPolicyIsFollowedWithinItsLimits(t *testing.T) {
	b := newBench(t)
	p := nightly()
	p.Site = ""
	p.Text = standing.Draft{Kind: "freeze", Severity: 4, Most: 1, Lease: 2 * time.Hour, Tell: "院長 内線100"}.Text()
	p = b.holding(p)
	one, kept := b.seen("al-1", "pc", "certain"), b.seen("al-2", "ct", "certain")
	todo, _, err := b.Automatic(t.Context(), one)
	b.must(err)
	if len(todo) != 1 {
		t.Fatalf("%v", todo)
	}
	b.must(b.Follow(t.Context(), todo[0], one, "in-1"))
	b.must(b.Follow(t.Context(), todo[0], one, "in-1"))
	all, _, err := b.List(t.Context(), Filter{Host: "pc", Active: true})
	b.must(err)
	var a Action
	for _, x := range all {
		if x.Kind == Freeze {
			a = x
		}
	}
	if a.State != Approved || a.Auto != p.ID || a.DecidedBy != suzuki.ID || a.RequestedBy != Hub || a.Tell != "院長 内線100" || a.Lease != 2*time.Hour || len(all) != 2 {
		t.Errorf("%+v of %d", a, len(all))
	}
	if todo, refused, err := b.Automatic(t.Context(), kept); err != nil || len(todo)+len(refused) != 0 {
		t.Errorf("a machine on the keep-list: %v %v %v", todo, refused, err)
	}
	other := b.seen("al-3", "gw", "certain")
	_, refused, err := b.Automatic(t.Context(), other)
	b.must(err)
	if len(refused) != 1 || keyOf(refused[0]) != "policy.limit" {
		t.Errorf("a second machine within an hour: %v", refused)
	}
	b.pass(time.Hour + time.Minute)
	if todo, _, _ := b.Automatic(t.Context(), other); len(todo) != 1 {
		t.Errorf("an hour later: %v", todo)
	}
}

// past is alerts of the last month.
type past []alert.Alert

func (p past) List(_ context.Context, f alert.Filter) ([]alert.Alert, int, error) {
	end := min(f.Offset+f.Limit, len(p))
	return p[min(f.Offset, len(p)):end], len(p), nil
}

func TestRehearsalShowsWhatWouldHaveBeenDone(t *testing.T) {
	b := newBench(t)
	at := func(id, host string, ago time.Duration) alert.Alert {
		a := b.seen(id, host, "certain").Alert
		a.RaisedAt = b.now().Add(-ago)
		a.Last = a.RaisedAt
		return a
	}
	history := past{at("al-6", "pc", time.Hour), at("al-5", "ct", 2*time.Hour), at("al-4", "gw", 5*time.Hour), at("al-3", "pc", 5*time.Hour+time.Minute), at("al-2", "dr", 6*time.Hour), at("al-1", "pc", 40*24*time.Hour)}
	history[4].Drill = true
	p := Policy{ID: "po-x", Text: standing.Draft{Kind: "freeze", Severity: 4, Most: 1}.Text()}
	r, err := b.Rehearse(t.Context(), p, history)
	b.must(err)
	var got []string
	for _, w := range r.Would {
		got = append(got, w.Alert+" "+w.Refused)
	}
	if want := "al-3 ,al-4 policy.limit,al-5 policy.kept,al-6 "; strings.Join(got, ",") != want {
		t.Errorf("got %q, want %q", strings.Join(got, ","), want)
	}
	if r.Machines != 1 || r.Alerts != 4 || r.Cut {
		t.Errorf("%+v", r)
	}
	if _, n, _ := b.List(t.Context(), Filter{}); n != 0 {
		t.Error("a rehearsal did something")
	}
}

// TestPolicyThatWasChangedIsNamed: each way to change the table of policies is
// found by the offline verifier.
func TestPolicyThatWasChangedIsNamed(t *testing.T) {
	b := newBench(t)
	p, err := b.Policy(t.Context(), b.holding(nightly()).ID)
	b.must(err)
	differences := func() string {
		t.Helper()
		found, err := VerifyPolicies(t.Context(), b.db, nil)
		b.must(err)
		var out []string
		for _, d := range found {
			out = append(out, d.Kind+" "+d.Ref)
		}
		return strings.Join(out, ", ")
	}
	exec := func(query string, args ...any) {
		t.Helper()
		b.must(b.db.Tx(t.Context(), func(tx *state.Tx) error {
			_, err := tx.ExecContext(t.Context(), query, args...)
			return err
		}))
	}
	var kept string
	b.must(b.db.QueryRow(t.Context(), `SELECT body FROM action_policy WHERE id = $1`, p.ID).Scan(&kept))
	if got := differences(); got != "" {
		t.Fatalf("nothing was changed: %s", got)
	}
	for name, change := range map[string]func(){
		"unreadable": func() { exec(`UPDATE action_policy SET site = 'x'`) },
		"changed": func() {
			q := p
			q.Name = "x"
			exec(`UPDATE action_policy SET body = $1`, state.JSON(q))
		},
		"missing": func() { exec(`DELETE FROM action_policy`) },
	} {
		change()
		if got := differences(); got != name+" "+p.ID {
			t.Errorf("%s: %s", name, got)
		}
		exec(`DELETE FROM action_policy`)
		exec(`INSERT INTO action_policy (id, state, site, proposed_at, body) VALUES ($1, $2, $3, $4, $5)`, p.ID, string(p.State), p.Site, state.Nanos(p.ProposedAt), kept)
	}
	q := p
	q.ID = "po-nobody"
	exec(`INSERT INTO action_policy (id, state, site, proposed_at, body) VALUES ($1, $2, $3, $4, $5)`, q.ID, string(q.State), q.Site, state.Nanos(q.ProposedAt), state.JSON(q))
	if got := differences(); got != "not-in-ledger "+q.ID {
		t.Errorf("got %s", got)
	}
	exec(`DELETE FROM action_policy WHERE id = $1`, q.ID)
	b.must(b.EndPolicy(t.Context(), p.ID, "もう要らない", tanaka))
	if got := differences(); got != "" {
		t.Fatalf("it ended: %s", got)
	}
	exec(`UPDATE action_policy SET state = 'in-force', body = $1`, kept) // it holds again, as it was approved
	if got := differences(); got != "changed "+p.ID {
		t.Errorf("what ended holds again: %s", got)
	}
}
