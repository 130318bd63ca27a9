package action

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/auth/standing"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ready/asset"
)

// written is how the call centre is cut, out of order.
func (b *bench) written() {
	b.t.Helper()
	b.must(b.SetCut(b.t.Context(), Cut{Site: "callcentre", Sections: []Section{
		{Stage: Border, Name: "3階のスイッチ", Stops: "3階の端末から病院の予約が見えない", Kind: Block, Via: "dev-1", Targets: []string{"10.1.0.7"}},
		{Stage: ExternalLine, Name: "インターネット", Stops: "メールと検索が止まる", Kind: Block, Via: "gw", Targets: []string{"line:wan0"}},
		{Stage: BackupPath, Name: "控えの倉庫", Stops: "夜の控えが取れない", Kind: Block, Via: "gw", Targets: []string{"10.9.0.9"}},
	}}, tanaka))
}

func cutting() NewCutting {
	return NewCutting{Site: "callcentre", Incident: "in-1", Reason: "暗号化が広がっている", Lease: time.Hour}
}

// begun is a cutting that another person approved.
func (b *bench) begun(q NewCutting) Cutting {
	b.t.Helper()
	c, err := b.RequestCutting(b.t.Context(), q, tanaka)
	b.must(err)
	b.pass(time.Second)
	c, err = b.ApproveCutting(b.t.Context(), c.ID, suzuki)
	b.must(err)
	return c
}

// now is the cutting after the desk's look at the time.
func (b *bench) cuttingNow(id string) Cutting {
	b.t.Helper()
	b.must(b.Expire(b.t.Context()))
	c, err := b.Cutting(b.t.Context(), id)
	b.must(err)
	return c
}

// holds has the carrier of a part say that it holds.
func (b *bench) holds(p CuttingPart) {
	b.t.Helper()
	b.must(b.answer(b.fetched(p.Action), order.Applied, func(r *order.Result) {
		r.Checks = []order.Check{{Name: "hub-reachable", OK: true, At: b.now()}, {Name: "block-holds", OK: true, At: b.now()}}
	}))
}

// undone has the carrier of a part say that it is released.
func (b *bench) undone(p CuttingPart) {
	b.t.Helper()
	all, err := list[order.Signed](b.t.Context(), b.db, `SELECT signed FROM action_order WHERE action = $1 AND kind = 'unblock'`, p.Action)
	b.must(err)
	if len(all) != 1 {
		b.t.Fatalf("%d orders to undo %s", len(all), p.Name)
	}
	o, err := order.Read(all[0])
	b.must(err)
	b.must(b.answer(o, order.Released, func(r *order.Result) { r.Cause = "order" }))
}

func startedParts(c Cutting) (names []string) {
	for _, p := range c.Parts {
		if p.Action != "" {
			names = append(names, p.Name)
		}
	}
	return names
}

func noteKeys(c Cutting) (keys []string) {
	for _, n := range c.Notes {
		keys = append(keys, n.Key)
	}
	return keys
}

// The whole site: the backup path first, each stage when the one before holds,
// and back in reverse order.
func TestASiteIsCutInTheOrderOfTheMinistry(t *testing.T) {
	b := newBench(t)
	b.written()
	shown, err := b.PlanCutting(t.Context(), cutting())
	b.must(err)
	var names []string
	for _, p := range shown.Parts {
		names = append(names, p.Name)
	}
	if d := cmp.Diff([]string{"控えの倉庫", "インターネット", "3階のスイッチ"}, names); d != "" || shown.Parts[2].Consequences[0].Service != "予約電話" {
		t.Fatalf("%s %+v", d, shown.Parts)
	}
	c, err := b.RequestCutting(t.Context(), cutting(), tanaka)
	b.must(err)
	if _, err := b.ApproveCutting(t.Context(), c.ID, tanaka); fault.Of(err) != fault.Denied {
		t.Errorf("the own request: %v", err)
	}
	if _, err := b.RequestCutting(t.Context(), cutting(), suzuki); fault.Of(err) != fault.Conflict {
		t.Errorf("a second one: %v", err)
	}
	if all, n, err := b.List(t.Context(), Filter{Incident: "in-1"}); err != nil || n != 0 {
		t.Fatalf("something began without approval: %v %v", all, err)
	}
	c, err = b.ApproveCutting(t.Context(), c.ID, suzuki)
	b.must(err)
	for i, want := range []int{1, 2, 3} {
		if got := startedParts(b.cuttingNow(c.ID)); len(got) != want {
			t.Fatalf("stage %d: %v began", i, got)
		}
		c = b.cuttingNow(c.ID)
		b.holds(c.Parts[i])
		b.pass(time.Second)
	}
	if c = b.cuttingNow(c.ID); c.State != CutHolds {
		t.Fatalf("%s %v", c.State, noteKeys(c))
	}
	first, err := b.Get(t.Context(), c.Parts[0].Action)
	b.must(err)
	last, err := b.Get(t.Context(), c.Parts[2].Action)
	b.must(err)
	if !first.ExpiresAt.After(last.ExpiresAt) || first.RequestedBy != tanaka.ID || first.DecidedBy != suzuki.ID || last.Lease != time.Hour {
		t.Errorf("leases end at %s and %s", first.ExpiresAt, last.ExpiresAt)
	}
	if o := b.fetched(c.Parts[1].Action); !slices.Contains(o.Keep, hubAddr) || o.Host != "gw" {
		t.Errorf("agents behind the line lose the hub: %+v", o)
	}
	b.must(b.ReleaseCutting(t.Context(), c.ID, "終わった", suzuki))
	for i := 2; i >= 0; i-- {
		c = b.cuttingNow(c.ID)
		for j := range i {
			b.wantState(c.Parts[j].Action, Verified)
		}
		b.undone(c.Parts[i])
	}
	b.cuttingNow(c.ID)
	if c = b.cuttingNow(c.ID); c.State != CutReleased {
		t.Fatalf("%s %v", c.State, noteKeys(c))
	}
	if d := cmp.Diff([]string{"requested", "approved", "stage", "held", "stage", "held", "stage", "held", "done", "releasing", "undo", "undo", "undo", "released"}, noteKeys(c)); d != "" {
		t.Error(d)
	}
	ja := catalogue(t, "ja")
	for _, l := range c.Lines() {
		if _, ok := ja["entry."+l.Key]; !ok {
			t.Errorf("no words for %s", l.Key)
		}
	}
}

// A stage that does not hold is told, and keeps the next one waiting for three
// minutes, or until a person says otherwise.
func TestAStageThatDoesNotHold(t *testing.T) {
	b := newBench(t)
	b.written()
	c := b.begun(cutting())
	b.must(b.answer(b.fetched(c.Parts[0].Action), order.Failed, func(r *order.Result) { r.Detail = "not-applied: x" }))
	b.pass(2 * time.Minute)
	if c = b.cuttingNow(c.ID); len(startedParts(c)) != 1 {
		t.Fatalf("%v began", startedParts(c))
	}
	b.pass(61 * time.Second)
	if c = b.cuttingNow(c.ID); len(startedParts(c)) != 2 || !slices.Contains(noteKeys(c), "open") {
		t.Fatalf("%v began: %v", startedParts(c), noteKeys(c))
	}
	b.must(b.GoOn(t.Context(), c.ID, "線を抜いた", tanaka))
	if c = b.cuttingNow(c.ID); len(startedParts(c)) != 3 {
		t.Fatalf("%v began", startedParts(c))
	}
	b.must(b.ReleaseCutting(t.Context(), c.ID, "終わった", suzuki))
	for range 4 { // an agent that does not answer holds up nothing either
		b.pass(stageWait + time.Second)
		c = b.cuttingNow(c.ID)
	}
	if c.State != CutReleased {
		t.Errorf("%s %v", c.State, noteKeys(c))
	}
}

// The backup path alone, asked for, and by a policy: also where the alert is
// about a machine on the keep-list, which itself is not touched.
func TestTheBackupPathAlone(t *testing.T) {
	b := newBench(t)
	b.written()
	q := cutting()
	q.Only = BackupPath
	c := b.begun(q)
	b.holds(c.Parts[0])
	if c = b.cuttingNow(c.ID); len(c.Parts) != 1 || c.State != CutHolds {
		t.Fatalf("%+v", c)
	}
	if _, err := b.RequestCutting(t.Context(), q, tanaka); fault.Of(err) != fault.Conflict {
		t.Errorf("the same again: %v", err)
	}
	if _, err := b.RequestCutting(t.Context(), cutting(), tanaka); err != nil {
		t.Errorf("all the rest after it: %v", err)
	}
}

// What may no longer be done when it is approved is not done.
func TestWhatChangedBeforeTheApproval(t *testing.T) {
	b := newBench(t)
	b.written()
	q := cutting()
	q.Only = BackupPath
	c, err := b.RequestCutting(t.Context(), q, tanaka)
	b.must(err)
	gw := b.hosts.(register).hosts["gw"]
	gw.Health.Gateway = false
	b.hosts.(register).hosts["gw"] = gw
	if _, err := b.ApproveCutting(t.Context(), c.ID, suzuki); keyOf(err) != "cut.nothing" {
		t.Errorf("nothing can be done: %v", err)
	}
	b.pass(waitForPerson + time.Second)
	if c = b.cuttingNow(c.ID); c.State != CutExpired {
		t.Errorf("%s", c.State)
	}
}

func TestAPolicyCutsTheBackupPath(t *testing.T) {
	b := newBench(t)
	b.written()
	d := standing.Draft{Kind: string(CutBackup), Site: "callcentre", Severity: 5, Lease: 2 * time.Hour, Tell: "院長"}
	p := b.holding(Policy{Name: "控えを守る", Site: "callcentre", Text: d.Text(), Why: "夜は情報担当がいない"}).ID
	tr := b.seen("al-1", "pc", "certain")
	tr.Host = asset.Host{ID: "srv", Name: "EMR", Site: "callcentre", Keep: "院長の判断が要る"}
	todo, refused, err := b.Automatic(t.Context(), tr)
	b.must(err)
	if len(todo) != 1 || len(refused) != 0 {
		t.Fatalf("%+v %v", todo, refused)
	}
	b.must(b.Follow(t.Context(), todo[0], tr, "in-1"))
	b.must(b.Follow(t.Context(), todo[0], tr, "in-1")) // changes nothing
	all, err := b.Cuttings(t.Context(), "callcentre", "in-1")
	b.must(err)
	if len(all) != 1 || all[0].State != CutBegun || all[0].Only != BackupPath || all[0].Auto != p || all[0].Tell != "院長" || all[0].Parts[0].Action == "" {
		t.Fatalf("%+v", all)
	}
	if todo, _, err := b.Automatic(t.Context(), tr); err != nil || len(todo) != 0 {
		t.Errorf("again: %+v %v", todo, err)
	}
}

func TestWhatCannotBeCutIsRefusedWhenItIsWritten(t *testing.T) {
	b := newBench(t)
	for name, s := range map[string]Section{
		"no stage":         {Name: "x", Kind: Block, Via: "gw", Targets: []string{"10.9.0.9"}},
		"no name":          {Stage: Border, Kind: Block, Via: "gw", Targets: []string{"10.9.0.9"}},
		"no gateway":       {Stage: Border, Name: "x", Kind: Block, Via: "pc", Targets: []string{"10.9.0.9"}},
		"the hub":          {Stage: Border, Name: "x", Kind: Block, Via: "gw", Targets: []string{"192.0.2.1"}},
		"a line by device": {Stage: Border, Name: "x", Kind: Block, Via: "dev-1", Targets: []string{"line:wan0"}},
		"an unusable line": {Stage: Border, Name: "x", Kind: Block, Via: "gw", Targets: []string{"line:a b"}},
		"a kill":           {Stage: Border, Name: "x", Kind: Kill, Via: "pc"},
		"no probe":         {Stage: Border, Name: "x", Kind: Isolate, Via: "pc"},
	} {
		if err := b.SetCut(t.Context(), Cut{Site: "callcentre", Sections: []Section{s}}, tanaka); fault.Of(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := b.PlanCutting(t.Context(), cutting()); keyOf(err) != "cut.nothing" {
		t.Errorf("an empty cut: %v", err)
	}
}
