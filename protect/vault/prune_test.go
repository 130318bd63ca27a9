package vault

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/protect/restic"
	"github.com/sonae/sonae/protect/restic/restictest"
)

// asked is what others say about snapshots.
type asked struct {
	rules    map[string]Generations
	kept     map[string]string
	incident string
}

func (a *asked) Rules(context.Context, string) (map[string]Generations, error) { return a.rules, nil }
func (a *asked) Kept(context.Context, string) (map[string]string, error)       { return a.kept, nil }
func (a *asked) Open(context.Context, string, string) (string, error)          { return a.incident, nil }

// backups makes some backups of a tree that changes.
func (w *world) backups(p restictest.Program, src string, n int) {
	w.t.Helper()
	for i := range n {
		restictest.Write(w.t, filepath.Join(src, "changes"), restictest.Noise(2<<20+i))
		p.Run(w.t, "backup", "--host", "ho-1", "--tag", "policy:po-1", "--tag", "source:files", src)
	}
}

// TestWhatWasApprovedIsCarriedOut: what the policy no longer needs is proposed,
// asked for, approved, cools off, is stopped by whatever holds it, and goes; what
// somebody needs by then is spared. Everything is on record.
func TestWhatWasApprovedIsCarriedOut(t *testing.T) {
	w, ctx, src := newWorld(t), t.Context(), tree(t)
	needs := &asked{rules: map[string]Generations{"po-1": {Last: 2}}, kept: map[string]string{}}
	w.Needs = needs
	p := w.agent("ho-1")
	p.Run(t, "init")
	w.backups(p, src, 5)
	w.ok(w.bindHead(ctx, "ho-1"))
	choices, err := w.PlanPrune(ctx, "ho-1", Generations{})
	w.ok(err)
	if got := (Prune{Choices: choices}).Goes(); len(choices) != 5 || got != 3 || choices[0].Policy != "po-1" || !strings.HasPrefix(choices[0].Of, "files: ") {
		t.Fatalf("%d of %+v go", got, choices)
	}
	clean := choices[4].Snapshot
	needs.kept[clean] = StayClean
	x, err := w.AskPrune(ctx, "ho-1", Generations{}, "保存年限", anna)
	w.ok(err)
	if x.Goes() != 2 {
		t.Fatalf("%d go beside the last clean point", x.Goes())
	}
	w.ok(w.ApprovePrune(ctx, x.ID, ben))
	w.ok(w.pruneDue(ctx, "ho-1")) // it cools off
	w.ahead.Store(int64(cooling + time.Hour))

	stays := func(why, key string) {
		t.Helper()
		_, err := w.MayPrune(ctx, x.ID)
		w.is(err, fault.Conflict, key)
		_, err = w.AskPrune(ctx, "ho-1", Generations{}, "保存年限", anna)
		w.is(err, fault.Conflict, key)
		w.ok(w.pruneDue(ctx, "ho-1"))
		if got, err := w.PruneByID(ctx, x.ID); err != nil || got.State != PruneCooling {
			t.Errorf("%s: %+v %v", why, got, err)
		}
	}
	needs.incident = "in-1"
	stays("an incident is open", "vault.incident")
	needs.incident = ""
	w.ok(w.SetHold(ctx, "ho-1", "警察の照会", anna))
	stays("a person holds it", "vault.held")
	w.is(w.EndHold(ctx, "ho-1", "終わった", anna), fault.Denied, "vault.not-approver")
	w.ok(w.EndHold(ctx, "ho-1", "終わった", ben))
	c, _, err := w.Alarm(ctx, frozen("ho-1", "hospital"))
	w.ok(err)
	stays("the path is cut", "vault.frozen")
	w.ok(w.Release(ctx, c.ID, "誤報", anna))

	proven := x.going()[0]
	needs.kept[proven] = StayProven // by a drill, while it cooled off
	used := func() int64 {
		r, err := w.Get(ctx, "ho-1")
		w.ok(err)
		return r.Used
	}
	before := used()
	w.ok(w.pruneDue(ctx, "ho-1"))
	done, err := w.PruneByID(ctx, x.ID)
	w.ok(err)
	if done.State != PruneDone || done.Did == nil || done.Did.Snapshots != 1 || len(done.Spared) != 1 || done.Spared[0].Snapshot != proven || used() > before-(1<<20) {
		t.Fatalf("%+v %+v; %d bytes of %d", done, done.Did, used(), before)
	}
	gone, err := w.Gone(ctx, "ho-1", time.Time{})
	if err != nil || len(gone) != 1 || gone[0].Snapshot != x.going()[1] || gone[0].Decision != x.ID {
		t.Errorf("gone %+v %v", gone, err)
	}
	w.ok(w.readAll(ctx, "ho-1"))
	if r, err := w.Get(ctx, "ho-1"); err != nil || r.Read.State != LevelSound || r.Snapshots != 4 {
		t.Errorf("%+v %v", r, err)
	}
	w.ok(w.pruneDue(ctx, "ho-1"))
	if again, err := w.PruneByID(ctx, x.ID); err != nil || !again.ClearedAt.IsZero() {
		t.Errorf("cleared at once: %+v %v", again, err)
	}
	w.ahead.Add(int64(clearAfter))
	w.ok(w.pruneDue(ctx, "ho-1"))
	if again, err := w.PruneByID(ctx, x.ID); err != nil || again.ClearedAt.IsZero() {
		t.Errorf("not cleared: %+v %v", again, err)
	}
	w.backups(p, src, 1)
	w.recorded()
}

// recorded says that rows and logs are what the ledger says.
func (w *world) recorded() {
	w.t.Helper()
	rows, err := VerifyRows(w.t.Context(), w.db, func(kind string) []leaf.Leaf { return w.leaves(kind) })
	w.ok(err)
	logs, err := VerifyLogs(w.t.Context(), w.db, w.Dir)
	w.ok(err)
	if len(rows)+len(logs) > 0 {
		w.t.Errorf("differences: %v %v", rows, logs)
	}
}

// damage changes all packs of an agent.
func (w *world) damage(agent string) {
	w.t.Helper()
	all, err := filepath.Glob(filepath.Join(w.Dir, agent, "repository", "data", "*", "*"))
	w.ok(err)
	for _, path := range all {
		b, err := os.ReadFile(path)
		w.ok(err)
		b[20] ^= 1
		w.ok(os.Chmod(path, 0o600))
		w.ok(os.WriteFile(path, b, 0o600))
	}
}

// A pruning that cannot be carried out is told, and nothing goes.
func TestNothingGoesFromADamagedRepository(t *testing.T) {
	w, ctx, src := newWorld(t), t.Context(), tree(t)
	p := w.agent("ho-1")
	p.Run(t, "init")
	w.backups(p, src, 3)
	x, err := w.AskPrune(ctx, "ho-1", Generations{Last: 1}, "容量", anna)
	w.ok(err)
	w.ok(w.ApprovePrune(ctx, x.ID, ben))
	w.ahead.Store(int64(cooling + time.Hour))
	w.damage("ho-1")
	w.ok(w.pruneDue(ctx, "ho-1"))
	got, err := w.PruneByID(ctx, x.ID)
	if err != nil || got.State != PruneFailed || got.Reason == "" {
		t.Errorf("%+v %v", got, err)
	}
	if f := w.findings(RulePrune); f[0].Host != "ho-1" || Alarming(f[0]) {
		t.Errorf("finding %+v", f[0])
	}
	if gone, err := w.Gone(ctx, "ho-1", time.Time{}); err != nil || len(gone) > 0 {
		t.Errorf("gone %v %v", gone, err)
	}
}

// TestAScoreFreezesAndAPersonCuts: a finding that rests on a score alone takes no
// backups away; what is kept stays, the run is doubted, and one click cuts.
func TestAScoreFreezesAndAPersonCuts(t *testing.T) {
	w, ctx, src := newWorld(t), t.Context(), tree(t)
	p := w.agent("ho-1")
	p.Run(t, "init")
	w.backups(p, src, 2)
	f := frozen("ho-1", "hospital")
	f.Rule.ID, f.Rule.Tags = "sonae-backup-anomaly", append(f.Rule.Tags, detect.TagScored)
	c, fresh, err := w.Alarm(ctx, f)
	w.ok(err)
	if !fresh || !c.Kept || len(c.Paths) != 1 || c.Paths[0].Agent != "ho-1" {
		t.Fatalf("%+v", c)
	}
	if s := emitted[Suspect](w, SubjectSuspect); len(s) != 1 || s[0].Agent != "ho-1" || s[0].At.After(f.Time) {
		t.Errorf("suspect %+v", s)
	}
	w.backups(p, src, 1) // backups go on
	r, err := w.Get(ctx, "ho-1")
	if err != nil || r.Frozen != c.ID || r.Cut != "" || r.Snapshots != 3 {
		t.Errorf("%+v %v", r, err)
	}
	_, err = w.AskPrune(ctx, "ho-1", Generations{Last: 1}, "容量", anna)
	w.is(err, fault.Conflict, "vault.frozen")
	f.ID = "another snapshot"
	if _, again, err := w.Alarm(ctx, f); err != nil || again {
		t.Errorf("frozen twice: %v", err)
	}
	if other, err := w.Get(ctx, "ho-1"); err != nil || other.Frozen != c.ID {
		t.Errorf("%+v %v", other, err)
	}
	w.ok(w.Attach(ctx, c.ID, "in-1"))
	cut, err := w.CutKept(ctx, c.ID, anna)
	w.ok(err)
	w.denied("protect.cut", "ho-1", "POST", "ho-1/data/"+strings.Repeat("ab", 32), "behind the cut")
	if cut.By != anna.ID || cut.Incident != "in-1" || cut.Kept {
		t.Errorf("cut %+v", cut)
	}
	_, err = w.CutKept(ctx, c.ID, anna)
	w.is(err, fault.Conflict, "vault.cut-already")
	w.ok(w.Release(ctx, cut.ID, "圧縮だった", anna))
	w.ok(w.Release(ctx, c.ID, "圧縮だった", anna))
	_, err = w.CutKept(ctx, c.ID, anna)
	w.is(err, fault.Conflict, "vault.released")
	if r, err := w.Get(ctx, "ho-1"); err != nil || r.Frozen != "" || r.Cut != "" {
		t.Errorf("%+v %v", r, err)
	}
	var keys []string
	for _, m := range emitted[Changed](w, Subject) {
		if m.Incident == "in-1" {
			keys = append(keys, m.Key)
		}
	}
	if got := strings.Join(keys, " "); got != "vault.kept-cut vault.cut vault.released vault.kept-released" {
		t.Errorf("lines %s", got)
	}
	// what is certain cuts at once, also behind a freeze
	f.ID = "a third snapshot"
	if _, fresh, err := w.Alarm(ctx, f); err != nil || !fresh {
		t.Errorf("not frozen: %v", err)
	}
	sure := frozen("ho-1", "hospital")
	sure.ID = "decoy"
	if c, fresh, err := w.Alarm(ctx, sure); err != nil || !fresh || c.Kept {
		t.Errorf("not cut: %+v %v", c, err)
	}
	w.recorded()
}

func TestAQuotaIsRefusedAndTold(t *testing.T) {
	w, ctx, src := newWorld(t), t.Context(), tree(t)
	p := w.agent("ho-1")
	p.Run(t, "init")
	p.Run(t, "backup", "--host", "ho-1", src)
	r, err := w.Get(ctx, "ho-1")
	w.ok(err)
	w.ok(w.SetQuota(ctx, "ho-1", r.Used+1<<20, "契約どおり", anna))
	body := restictest.Noise(2 << 20)
	status, answer := w.send("ho-1", "POST", "ho-1/data/"+restic.Sum(body).String(), string(body))
	if status != http.StatusInsufficientStorage || !strings.Contains(answer, "protect.quota") {
		t.Errorf("%d %s", status, answer)
	}
	if f := w.findings(RuleRoom); f[0].Host != "ho-1" || f[0].Rule.Level != event.High || Alarming(f[0]) || f[0].Events[0].Fields["Key"] != "protect.quota" {
		t.Errorf("finding %+v", f[0])
	}
	if refused, err := w.RefusalsOf(ctx, "ho-1"); err != nil || len(refused) != 1 || refused[0].Key != "protect.quota" {
		t.Errorf("refusals %+v %v", refused, err)
	}
	if now, err := w.Get(ctx, "ho-1"); err != nil || now.Used != r.Used || now.Snapshots != 1 || now.Refused != 1 {
		t.Errorf("%+v %v", now, err)
	}
	w.agent("ho-2").Run(t, "init") // others have room
	w.ok(w.SetQuota(ctx, "ho-1", 0, "増やした", anna))
	w.backups(p, src, 1)
}

// TestUnusualGrowthOfRealUploadsIsTold: a week of ordinary backups, then a day on
// which everything comes anew. The first backup is no growth.
func TestUnusualGrowthOfRealUploadsIsTold(t *testing.T) {
	w, ctx, src := newWorld(t), t.Context(), tree(t)
	w.Floor = 1 << 20
	p := w.agent("ho-1")
	p.Run(t, "init")
	restictest.Write(t, filepath.Join(src, "first"), restictest.Noise(5<<20))
	p.Run(t, "backup", "--host", "ho-1", src)
	w.ok(w.watchGrowth(ctx, "ho-1"))
	for i := range 6 {
		w.ahead.Add(int64(24 * time.Hour))
		restictest.Write(t, filepath.Join(src, "daily"), restictest.Noise(300_000+i))
		p.Run(t, "backup", "--host", "ho-1", src)
		w.ok(w.watchGrowth(ctx, "ho-1"))
	}
	if got := emitted[json.RawMessage](w, "finding.%"); len(got) > 0 {
		for _, g := range got {
			if bytes.Contains(g, []byte(RuleGrowth)) {
				t.Errorf("an ordinary day is told: %s", g)
			}
		}
	}
	w.ahead.Add(int64(24 * time.Hour))
	restictest.Write(t, filepath.Join(src, "encrypted"), restictest.Noise(4<<20+1))
	p.Run(t, "backup", "--host", "ho-1", src)
	w.ok(w.watchGrowth(ctx, "ho-1"))
	w.ok(w.watchGrowth(ctx, "ho-1")) // once a day: the same finding
	f := w.findings(RuleGrowth)
	if f[0].Host != "ho-1" || f[0].Site != "hospital" || Alarming(f[0]) || f[len(f)-1].ID != f[0].ID {
		t.Errorf("findings %+v", f)
	}
	r, err := w.Get(ctx, "ho-1")
	if err != nil || r.Day < 4<<20 || r.Usual < 300_000 || r.Usual > 1<<20 {
		t.Errorf("%d bytes came, usually %d: %v", r.Day, r.Usual, err)
	}
}

// TestACutEndsUploadsThatAreOnTheirWay: what comes while the path is cut is not
// taken, and its sender is told before it has sent all of it.
func TestACutEndsUploadsThatAreOnTheirWay(t *testing.T) {
	w, ctx, src := newWorld(t), t.Context(), tree(t)
	p := w.agent("ho-1")
	p.Run(t, "init")
	p.Run(t, "backup", "--host", "ho-1", src)
	repo, err := w.Repository(ctx, "ho-1")
	w.ok(err)
	lines, _ := repo.Head()
	body := restictest.Noise(1 << 20)
	slow := &gate{from: bytes.NewReader(body), half: len(body) / 2, reached: make(chan struct{}), open: make(chan struct{})}
	ended := make(chan error, 1)
	go func() { ended <- repo.Put(ctx, "ho-1", restic.Data, restic.Sum(body).String(), int64(len(body)), slow) }()
	<-slow.reached
	c, err := w.CutPath(ctx, "hospital", "", "手で切る", anna)
	w.ok(err)
	if len(c.Paths) != 1 {
		t.Errorf("%+v", c)
	}
	close(slow.open)
	w.is(<-ended, fault.Denied, "protect.cut")
	if slow.from.Len() == 0 {
		t.Error("all of it was read")
	}
	if now, _ := repo.Head(); now != lines {
		t.Errorf("%d files became %d", lines, now)
	}
	w.ok(w.Release(ctx, c.ID, "確かめた", anna))
	w.backups(p, src, 1)
}

// gate stops in the middle until it is opened.
type gate struct {
	from    *bytes.Reader
	half    int
	reached chan struct{}
	open    chan struct{}
}

func (g *gate) Read(p []byte) (int, error) {
	if g.from.Len() <= g.half {
		select {
		case <-g.reached:
		default:
			close(g.reached)
		}
		<-g.open
	}
	return g.from.Read(p[:min(len(p), 64<<10)])
}
