package duty

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/statetest"
)

var ben = auth.Person{ID: "pe-2"}

// room is a desk with one incident whose clock can be moved.
type room struct {
	*Desk
	t   *testing.T
	now time.Time
	in  incident.Incident
}

func newRoom(t *testing.T, now, contractor string) *room {
	t.Helper()
	x := &room{t: t, now: at(t, now)}
	x.Desk = desk(t, x.now)
	x.Desk.now = func() time.Time { return x.now }
	x.in = incident.Incident{ID: "in-1", No: 7, KnownAt: x.now.Add(-time.Hour).UTC()}
	if err := x.Start(t.Context(), x.in, contractor); err != nil {
		t.Fatal(err)
	}
	return x
}

func (x *room) assess() Assessment {
	x.t.Helper()
	a, err := x.Assess(x.t.Context(), x.in.ID)
	if err != nil {
		x.t.Fatal(err)
	}
	return a
}

// state states the facts anew, as anna.
func (x *room) state(reason string, change func(*Facts)) error {
	x.t.Helper()
	f := x.assess().Facts
	change(&f)
	return x.Restate(x.t.Context(), x.in.ID, f, reason, anna)
}

func (x *room) must(err error) {
	x.t.Helper()
	if err != nil {
		x.t.Fatal(err)
	}
}

// TestWhatWasKnownThenAndWhatFollowed plays a night: what was known at nine, at
// ten and at eleven, and which dates followed from it each time.
func TestWhatWasKnownThenAndWhatFollowed(t *testing.T) {
	x := newRoom(t, "2026-11-22 21:00", "callcentre")
	x.must(x.state("", func(f *Facts) { f.Personal, f.Sensitive, f.MyNumber, f.BadIntent = Yes, Yes, No, No }))
	x.now = at(t, "2026-11-22 22:00")
	if err := x.state("", func(f *Facts) { f.BadIntent = Yes }); fault.Of(err) != fault.Invalid {
		t.Fatalf("what was said before was changed without a reason: %v", err)
	}
	x.must(x.state("不正な持ち出しを警察が確認", func(f *Facts) { f.BadIntent = Yes }))
	x.now = at(t, "2026-11-22 23:00")
	x.must(x.state("受付の職員が前日に気づいていた", func(f *Facts) {
		f.Knowledge = []Knowledge{{Side: OwnSide, Who: "医事課", What: "見慣れない画面", At: at(t, "2026-11-21 18:00")},
			{Side: ContractorSide, Who: "コールセンター 班長", At: at(t, "2026-11-20 09:00")}}
	}))

	history, err := x.History(t.Context(), x.in.ID)
	x.must(err)
	var got []string
	for _, s := range history {
		for _, m := range s.Moved {
			if m.Clock == "appi_26.final" || m.Clock == "contractor.notice" {
				got = append(got, strings.Join([]string{s.Reason, m.Clock, string(m.Was), string(m.Is), day(m.From), day(m.To)}, " "))
			}
		}
	}
	want := []string{
		" appi_26.final unknown yes 2026-12-21 2026-12-21", // 30 days are the 21st, a Monday
		" contractor.notice unknown yes 2026-11-26 2026-11-26",
		"不正な持ち出しを警察が確認 appi_26.final yes yes 2026-12-21 2027-01-20",
		"受付の職員が前日に気づいていた appi_26.final yes yes 2027-01-20 2027-01-19",
		"受付の職員が前日に気づいていた contractor.notice yes yes 2026-11-26 2026-11-24",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("moves (-want +got):\n%s", diff)
	}
	if a := x.assess(); a.Counted == nil || a.Counted.Who != "医事課" || !a.Facts.KnownAt.Equal(at(t, "2026-11-21 18:00")) {
		t.Errorf("counted from %+v", a.Counted)
	}
	for when, want := range map[string]string{"2026-11-22 21:30": "2026-12-21", "2026-11-22 22:30": "2027-01-20", "2026-11-22 23:00": "2027-01-19"} {
		a, s, err := x.At(t.Context(), x.in.ID, at(t, when))
		x.must(err)
		if got := day(find(t, a, "appi_26.final").Due); got != want || !a.MadeAt.Equal(at(t, when)) || s.At.After(at(t, when)) {
			t.Errorf("at %s the final report was due %s, want %s", when, got, want)
		}
	}
	if _, _, err := x.At(t.Context(), x.in.ID, at(t, "2026-11-22 20:59")); fault.Of(err) != fault.Missing {
		t.Errorf("before anything was known: %v", err)
	}
	if _, _, err := x.At(t.Context(), x.in.ID, x.now.Add(time.Hour)); fault.Of(err) != fault.Invalid {
		t.Errorf("in the future: %v", err)
	}
	changes := Changes(history[1].Facts, history[2].Facts)
	if diff := cmp.Diff([]Change{{"bad_intent", "no", "yes", "answer"}}, changes); diff != "" {
		t.Errorf("changes: %s", diff)
	}
}

// TestEncryptionExemptsOnlyWithProofAndASecondPerson
func TestEncryptionExemptsOnlyWithProofAndASecondPerson(t *testing.T) {
	x := newRoom(t, "2026-11-22 21:00", "")
	x.must(x.state("", func(f *Facts) { f.Personal, f.Sensitive, f.MyNumber, f.BadIntent, f.Encrypted = Yes, Yes, No, No, Yes }))
	due := func() bool {
		return slices.ContainsFunc(x.assess().Clocks, func(c Clock) bool { return c.ID == "appi_26.prompt" && c.Applies == Yes })
	}
	sign := func(choice string, by auth.Person) error {
		return x.Sign(t.Context(), x.in.ID, NewDecision{Choice: choice, Reason: "仕様書と鍵の台帳を見た", Digest: x.assess().Exempt.Digest}, by)
	}
	if diff := cmp.Diff([]string{"unreadable", "listed", "algorithm", "evidence", "key", "by_attacker", "signature"}, x.assess().Exempt.Lacks); diff != "" {
		t.Error(diff)
	}
	if err := sign(Accept, ben); fault.Of(err) != fault.Conflict || !due() {
		t.Errorf("signed without proof: %v", err)
	}
	x.must(x.state("", func(f *Facts) {
		f.Exemption = Proof{Algorithm: "AES-256-XTS", Listed: Yes, Unreadable: Yes, KeyApart: Yes, KeySafe: Yes, ByAttacker: No, Evidence: "証拠袋 bag-1"}
	}))
	if !x.assess().Exempt.Complete() || !due() {
		t.Fatalf("the proof: %+v, due %v", x.assess().Exempt, due())
	}
	if err := sign(Accept, anna); fault.Of(err) != fault.Denied || !due() {
		t.Errorf("who stated it signed: %v", err)
	}
	old := x.assess().Exempt.Digest
	x.must(sign(Refuse, ben))
	if !due() {
		t.Error("refused, and yet exempt")
	}
	x.must(sign(Accept, ben))
	if a := x.assess(); due() || !a.Exempt.Holds || a.Exempt.By != ben.ID {
		t.Errorf("signed: %+v", a.Exempt)
	}
	decisions, err := x.Decisions(t.Context(), x.in.ID)
	x.must(err)
	if len(decisions) != 2 || !slices.ContainsFunc(decisions[1].Moved, func(m Move) bool { return m.Clock == "appi_26.prompt" && m.Is == No }) {
		t.Errorf("decisions %+v", decisions)
	}
	x.must(x.state("鍵も持ち出されていた", func(f *Facts) { f.Exemption.KeySafe = No }))
	if !due() {
		t.Error("the signature holds for another proof")
	}
	if err := x.Sign(t.Context(), x.in.ID, NewDecision{Choice: Accept, Reason: "見た", Digest: old}, ben); fault.Of(err) != fault.Conflict {
		t.Errorf("signed what was not read: %v", err)
	}
}

// TestThePersonsAreDecidedAboutEvery72Hours, and people are reminded of it.
func TestThePersonsAreDecidedAboutEvery72Hours(t *testing.T) {
	x := newRoom(t, "2026-11-22 21:00", "")
	x.must(x.state("", func(f *Facts) { f.Personal, f.Sensitive, f.MyNumber, f.BadIntent = Yes, Yes, No, No }))
	clock := func() Clock { return find(t, x.assess(), "person.notice") }
	if c := clock(); c.Due.Sub(c.From) != 72*time.Hour || !c.From.Equal(x.in.KnownAt) || c.Applies != Yes {
		t.Errorf("at first: %+v", c)
	}
	told := func() (refs []string) {
		list, err := x.Causes(t.Context(), x.in)
		x.must(err)
		for _, n := range list {
			if strings.Contains(n.Ref, "person.notice") {
				refs = append(refs, n.Ref)
			}
		}
		return refs
	}
	x.now = at(t, "2026-11-25 07:00")
	if len(told()) != 0 {
		t.Errorf("told early: %v", told())
	}
	x.now = at(t, "2026-11-25 08:00")
	near := told()
	x.now = at(t, "2026-11-25 20:01")
	over := told()
	if len(near) != 1 || len(over) != 1 || !strings.HasSuffix(near[0], "/near") || !strings.HasSuffix(over[0], "/over") {
		t.Errorf("near %v, over %v", near, over)
	}
	decide := func(n NewDecision) error { n.Kind = KindNotify; return x.Decide(t.Context(), x.in.ID, n, anna) }
	for name, n := range map[string]NewDecision{"no reason": {Choice: NotYet, Grounds: []string{"facts_too_thin_to_help"}}, "no ground": {Choice: NotYet, Reason: "調査中"},
		"another ground": {Choice: NotYet, Reason: "調査中", Grounds: []string{"busy"}}, "another choice": {Choice: "later", Reason: "調査中"}} {
		if err := decide(n); fault.Of(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	x.must(decide(NewDecision{Choice: NotYet, Reason: "誰の情報か、まだわからない", Grounds: []string{"facts_too_thin_to_help"}}))
	if c := clock(); !c.From.Equal(x.now) || c.Due.Sub(x.now) != 72*time.Hour || len(told()) != 0 || !c.DoneAt.IsZero() {
		t.Errorf("after not yet: %+v", c)
	}
	x.now = x.now.Add(24 * time.Hour)
	x.must(decide(NewDecision{Choice: Notified, Reason: "全員に郵送した", Means: []string{"enquiry_desk"}}))
	if c := clock(); !c.DoneAt.Equal(x.now) {
		t.Errorf("after the notice: %+v", c)
	}
	x.now = x.now.Add(100 * time.Hour)
	if len(told()) != 0 {
		t.Errorf("told of what is done: %v", told())
	}
}

// TestARowWaitsForAPerson: ransomware with a sound copy and no sign of a leak.
func TestARowWaitsForAPerson(t *testing.T) {
	x := newRoom(t, "2026-11-22 21:00", "")
	review := func(choice string) error {
		return x.Decide(t.Context(), x.in.ID, NewDecision{Kind: KindReview, About: "ransomware_copy", Choice: choice, Reason: "外部の調査会社が通信の記録を調べた"}, anna)
	}
	if err := review(NoReport); fault.Of(err) != fault.Conflict {
		t.Errorf("nothing waits: %v", err)
	}
	x.must(x.state("", func(f *Facts) {
		f.Ransomware, f.IdenticalCopy, f.NoIndicator, f.MyNumber, f.Maximum = Yes, Yes, Yes, No, 10
	}))
	if a := x.assess(); !slices.Equal(a.Reviews, []string{"ransomware_copy"}) || find(t, a, "appi_26.prompt").Applies != Unknown || len(a.MissingForm) != 5 {
		t.Errorf("waiting: %+v", a)
	}
	x.must(review(NoReport))
	if a := x.assess(); len(a.Clocks) != 0 || len(a.Reviews) != 0 {
		t.Errorf("not reportable: %+v", a.Clocks)
	}
	x.must(review(MustReport)) // somebody thought again
	if a := x.assess(); find(t, a, "appi_26.final").Days != 60 || find(t, a, "appi_26.final").Applies != Yes {
		t.Errorf("reportable: %+v", a.Clocks)
	}
	x.must(x.state("指令先との通信が見つかった", func(f *Facts) { f.NoIndicator, f.Indicators = Unknown, []string{"c2_traffic"} }))
	if a := x.assess(); find(t, a, "appi_26.prompt").Applies != Yes {
		t.Errorf("a sign after the decision: %+v", a.Clocks)
	}
}

// TestNothingIsComputedFromPendingLaw, whatever its date.
func TestNothingIsComputedFromPendingLaw(t *testing.T) {
	r := rules(t)
	now := at(t, "2026-11-22 21:00")
	before := Evaluate(r, patients(now), now)
	due := 0
	for i := range r.Pending {
		if r.Pending[i].Due(now) {
			due++
		}
		r.Pending[i].From = Date{at(t, "2020-01-01 00:00")}
	}
	if diff := cmp.Diff(before, Evaluate(r, patients(now), now)); diff != "" || due != 1 || len(r.Pending) < 2 {
		t.Errorf("%d due; %s", due, diff)
	}
}

// TestTheVersionOfTheDayCounts: a guideline that changes its days.
func TestTheVersionOfTheDayCounts(t *testing.T) {
	r := rules(t)
	newer := r.Counting.Prompt[0]
	r.Counting.Prompt[0].Until, newer.From, newer.LastDay = Date{at(t, "2026-12-01 00:00")}, Date{at(t, "2026-12-01 00:00")}, 7
	r.Counting.Prompt = append(r.Counting.Prompt, newer)
	for known, want := range map[string]int{"2026-11-30 23:59": 5, "2026-12-01 00:00": 7} {
		if got := find(t, Evaluate(r, patients(at(t, known)), at(t, known)), "appi_26.prompt").Days; got != want {
			t.Errorf("known %s: %d days, want %d", known, got, want)
		}
	}
}

func TestContactsAreCheckedBySomebody(t *testing.T) {
	x := newRoom(t, "2026-11-22 21:00", "")
	get := func(id string) *Authority {
		all, err := x.Contacts(t.Context())
		x.must(err)
		i := slices.IndexFunc(all, func(a Authority) bool { return a.ID == id || a.Name == id })
		if i < 0 {
			return nil
		}
		return &all[i]
	}
	if a := get("ppc_main"); a == nil || !a.Stale(x.now) || a.Phone == "" {
		t.Fatalf("as it comes: %+v", a)
	}
	save := func(id string, n NewContact) error { return x.SaveContact(t.Context(), id, n, anna) }
	x.must(save("ppc_main", NewContact{Phone: "03-6457-9680", Note: "漏えい等報告", Verified: true}))
	if a := get("ppc_main"); a.Stale(x.now) || a.VerifiedBy != anna.ID || !a.VerifiedAt.Equal(x.now) || a.Note != "漏えい等報告" {
		t.Errorf("checked: %+v", a)
	}
	if !get("ppc_main").Stale(x.now.AddDate(1, 0, 1)) {
		t.Error("a check holds for ever")
	}
	x.must(save("ppc_main", NewContact{Phone: "03-0000-0000"}))
	if a := get("ppc_main"); !a.Stale(x.now) || a.VerifiedBy != "" {
		t.Errorf("changed after it was checked: %+v", a)
	}
	x.must(save("mext", NewContact{Removed: true}))
	x.must(save("new", NewContact{Name: "顧問弁護士", Phone: "03-1111-2222", Verified: true}))
	own := get("顧問弁護士")
	if get("mext") != nil || own == nil || !own.Own {
		t.Errorf("removed %v, own %+v", get("mext"), own)
	}
	x.must(save(own.ID, NewContact{Removed: true}))
	if get("顧問弁護士") != nil {
		t.Error("still there")
	}
	for name, err := range map[string]error{"no name": save("new", NewContact{Phone: "1234"}), "no number": save("police", NewContact{Phone: "call me"}),
		"no mail": save("police", NewContact{Mail: "police"}), "script": save("police", NewContact{Web: "javascript:alert(1)"}), "nothing checked": save("police", NewContact{Verified: true})} {
		if fault.Of(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := save("au-none", NewContact{Name: "x"}); fault.Of(err) != fault.Missing {
		t.Errorf("an unknown one: %v", err)
	}
}

// TestAChangedDecisionIsNamed changes one byte of each decision, contact and
// list of holidays: verify names each.
func TestAChangedDecisionIsNamed(t *testing.T) {
	x := newRoom(t, "2026-11-22 21:00", "")
	x.must(x.Decide(t.Context(), x.in.ID, NewDecision{Kind: KindNotify, Choice: NotYet, Reason: "調査中", Grounds: []string{"notice_enlarges_harm"}}, anna))
	x.must(x.SaveContact(t.Context(), "police", NewContact{Phone: "110", Verified: true}, anna))
	_, err := x.UpdateHolidays(t.Context(), HolidayUpdate{By: anna.ID, Source: "syukujitsu.csv", Days: official(t, x.rules, 2028)})
	x.must(err)
	check := func() []string {
		found, err := VerifyDecisions(t.Context(), x.db, func(string) []leaf.Leaf { return nil })
		x.must(err)
		var refs []string
		for _, d := range found {
			refs = append(refs, d.Ref)
		}
		return refs
	}
	if got := check(); len(got) != 0 {
		t.Fatalf("honest rows: %v", got)
	}
	for table, ref := range map[string]string{"duty_decision": "in-1/1", "duty_contact": "police/1", "duty_holidays": "1"} {
		var body string
		x.must(x.db.QueryRow(t.Context(), `SELECT body FROM `+table).Scan(&body))
		set := func(text string) {
			x.must(x.db.Tx(t.Context(), func(tx *state.Tx) error {
				_, err := tx.ExecContext(t.Context(), `UPDATE `+table+` SET body = $1`, text)
				return err
			}))
		}
		for i := range len(body) {
			b := []byte(body)
			b[i] ^= 1
			if i%7 != 0 || !statetest.Keeps(string(b)) {
				continue
			}
			set(string(b))
			if got := check(); !slices.Contains(got, ref) {
				t.Errorf("%s, byte %d (%q): %v", table, i, b[i], got)
			}
		}
		set(body)
	}
	x.must(x.db.Tx(context.WithoutCancel(t.Context()), func(tx *state.Tx) error {
		_, err := tx.ExecContext(t.Context(), `DELETE FROM duty_decision`)
		return err
	}))
	if got := check(); !slices.Equal(got, []string{"in-1/1"}) {
		t.Errorf("a removed decision: %v", got)
	}
}
