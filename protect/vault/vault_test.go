package vault

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/backup"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/protect/repository"
	"github.com/sonae/sonae/protect/restic"
	"github.com/sonae/sonae/protect/restic/restictest"
)

// tree makes something to back up.
func tree(t *testing.T) string {
	src := filepath.Join(t.TempDir(), "src")
	restictest.Write(t, filepath.Join(src, "カルテ", "1.txt"), bytes.Repeat([]byte("診療記録 "), 2000))
	restictest.Write(t, filepath.Join(src, "2.txt"), []byte("two"))
	return src
}

func same(t *testing.T, a, b string) {
	t.Helper()
	if out, err := exec.Command("diff", "-r", a, b).CombinedOutput(); err != nil {
		t.Errorf("%s and %s differ: %s", a, b, out)
	}
}

// TestSheetAloneBringsEverythingBack uses what is printed and the folder, and
// nothing of the hub: its keys, its state and its programs are not touched.
func TestSheetAloneBringsEverythingBack(t *testing.T) {
	w, ctx, src := newWorld(t), t.Context(), tree(t)
	p := w.agent("ho-1")
	p.Run(t, "init")
	p.Run(t, "backup", "--host", "ho-1", src)
	first, one, err := backup.NewIdentity()
	w.ok(err)
	_, two, err := backup.NewIdentity()
	w.ok(err)

	if _, err := w.NewSheet(ctx, "ho-1", anna); keyOf(err) != "vault.no-recipients" {
		t.Errorf("a sheet for nobody: %v", err)
	}
	for key, list := range map[string][]Recipient{
		"vault.recipients":      {{"院長の金庫", one}},
		"vault.recipient-twice": {{"院長の金庫", one}, {"事務長", one}},
		"vault.recipient-name":  {{"", one}, {"事務長", two}},
		"backup.recipient":      {{"院長の金庫", "age1nonsense"}, {"事務長", two}},
	} {
		w.is(w.SetRecipients(ctx, list, "最初の設定", anna), fault.Invalid, key)
	}
	w.ok(w.SetRecipients(ctx, []Recipient{{"院長の金庫", one}, {"事務長", two}}, "最初の設定", anna))
	w.ok(w.keepEscrow(ctx, "ho-1"))
	w.ok(w.keepEscrow(ctx, "ho-1")) // once is enough
	sealed, err := w.Sheet(ctx, "ho-1")
	w.ok(err)
	if sealed.Password != "" || len(sealed.For) != 2 || sealed.Escrow.Open {
		t.Errorf("sheet %+v", sealed)
	}
	identity, err := backup.Identities(first)
	w.ok(err)
	password, err := backup.OpenText(identity, sealed.Escrow.Sealed)
	w.ok(err)
	stranger, _, err := backup.NewIdentity()
	w.ok(err)
	other, err := backup.Identities(stranger)
	w.ok(err)
	if _, err := backup.OpenText(other, sealed.Escrow.Sealed); fault.Of(err) != fault.Denied {
		t.Errorf("opened by a stranger: %v", err)
	}
	open, err := w.NewSheet(ctx, "ho-1", anna)
	w.ok(err)
	if again, err := w.Sheet(ctx, "ho-1"); err != nil || again.Password != "" || !again.Escrow.Open {
		t.Errorf("the password is told again: %v", err)
	}
	w.ok(w.Close())

	folder := filepath.Join(t.TempDir(), "carried away")
	w.ok(os.CopyFS(folder, os.DirFS(open.Folder)))
	for name, sheet := range map[string]Sheet{"open": open, "sealed": {Escrow: sealed.Escrow, Password: password}} {
		target := filepath.Join(t.TempDir(), name)
		dir := t.TempDir()
		var script strings.Builder
		for _, step := range sheet.Steps() {
			script.WriteString(strings.NewReplacer("FOLDER", "'"+folder+"'", "TARGET", "'"+target+"'").Replace(step.Command) + "\n")
		}
		cmd := exec.Command("sh", "-ec", script.String())
		cmd.Dir, cmd.Env = dir, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), sheet.Escrow.Check+"\n") {
			t.Fatalf("%s: %v: %s", name, err, out)
		}
		same(t, src, filepath.Join(target, src))
	}
}

func TestAlarmCutsThePathAndAPersonReleasesIt(t *testing.T) {
	w, ctx, src := newWorld(t), t.Context(), tree(t)
	p := w.agent("ho-1")
	p.Run(t, "init")
	p.Run(t, "backup", "--host", "ho-1", src)
	name := w.one("ho-1", "snapshots")

	// with the credentials of the agent somebody removes and looks elsewhere
	w.denied("protect.append-only", "ho-1", "DELETE", "ho-1/snapshots/"+name, "")
	w.denied("protect.role", "ho-2", "GET", "ho-1/config", "")
	w.denied("asset.host-untrusted", "ho-3", "GET", "ho-3/config", "")
	w.denied("protect.stranger", "", "GET", "ho-1/config", "")
	f := w.findings(RuleTampering)
	if f[0].Host != "ho-1" || f[0].Site != "hospital" || !strings.Contains(f[0].Events[0].Fields["What"], name) || !Alarming(f[0]) {
		t.Errorf("finding %+v", f[0])
	}
	c, fresh, err := w.Alarm(ctx, f[0])
	if err != nil || !fresh || len(c.Paths) != 1 || c.Site != "hospital" {
		t.Fatalf("cut %+v, %v", c, err)
	}
	if _, again, err := w.Alarm(ctx, frozen("ho-1", "hospital")); err != nil || again {
		t.Errorf("cut twice: %v", err)
	}
	if s := emitted[Suspect](w, SubjectSuspect); len(s) != 1 || s[0].Agent != "ho-1" || !s[0].At.Equal(c.At) {
		t.Errorf("suspect: %+v", s)
	}
	for _, kind := range []string{"locks", "data", "index", "snapshots", "keys"} {
		w.denied("protect.cut", "ho-1", "POST", "ho-1/"+kind+"/"+strings.Repeat("ab", 32), "a backup behind the cut")
	}
	p.Run(t, "snapshots", "--no-lock") // reading goes on
	w.agent("ho-2").Run(t, "init")     // and another site

	w.ok(w.Attach(ctx, c.ID, "in-1"))
	w.is(w.Release(ctx, c.ID, " ", anna), fault.Invalid, "vault.reason")
	w.is(w.Release(ctx, c.ID, "理由", auth.Person{ID: "pe-3"}), fault.Denied, "vault.not-releaser")
	w.ok(w.Release(ctx, c.ID, "保守の手違いと確かめた", anna))
	w.is(w.Release(ctx, c.ID, "もう一度", anna), fault.Conflict, "vault.released")
	if _, again, err := w.Alarm(ctx, f[0]); err != nil || again {
		t.Errorf("the finding that was answered cuts again: %v", err)
	}
	p.Run(t, "backup", "--host", "ho-1", src)
	lines := []string{}
	for _, m := range emitted[Changed](w, Subject) {
		if m.Incident == "in-1" {
			lines = append(lines, m.Key)
			if m.Key == "vault.cut" && !m.Happened.Equal(c.At) {
				t.Errorf("cut at %s, told as of %s", c.At, m.Happened)
			}
		}
	}
	if want := []string{"vault.cut", "vault.released"}; !slices.Equal(lines, want) {
		t.Errorf("lines %v", lines)
	}
	r, err := w.Get(ctx, "ho-1")
	if err != nil || r.Refused != 1 || r.Cut != "" || r.Snapshots != 2 {
		t.Errorf("%+v, %v", r, err)
	}
}

// A machine whose clock is ahead: its backups are refused, people hear by how much it
// is off, once, and the site goes on. Three snapshots of another name cut the path.
func TestAWrongClockCutsNothingAndAnotherNameDoes(t *testing.T) {
	w, ctx, src := newWorld(t), t.Context(), tree(t)
	p := w.agent("ho-1")
	p.Run(t, "init")
	p.Run(t, "backup", "--host", "emr-1", src)
	copied := p
	copied.Repo, copied.Options = filepath.Join(t.TempDir(), "copied"), nil
	w.ok(os.CopyFS(copied.Repo, os.DirFS(filepath.Join(w.Dir, "ho-1", "repository"))))
	refused := func(key, host string, at time.Time) { // restic itself would try again for long
		t.Helper()
		before := names(t, copied.Repo)
		copied.Run(t, "backup", "--host", host, "--time", at.Local().Format(time.DateTime), src)
		for name, body := range names(t, copied.Repo) {
			if before[name] == "" {
				w.denied(key, "ho-1", "POST", "ho-1/snapshots/"+name, body)
			}
		}
	}
	all := func(rule string) int {
		ids := map[string]bool{} // the same one again is the same
		for _, some := range emitted[[]detect.Finding](w, "finding.%") {
			for _, f := range some {
				if f.Rule.ID == rule {
					ids[f.ID] = true
				}
			}
		}
		return len(ids)
	}
	for i := range 3 {
		refused("protect.snapshot-time", "emr-1", w.moment().Add(2*time.Hour+time.Duration(i)*time.Second))
		w.ahead.Add(int64(tellAgain)) // so that each is told for itself
	}
	f := w.findings(RuleClock)
	if what := f[0].Rule.What["en"]; f[0].Host != "ho-1" || Alarming(f[0]) || slices.Contains(f[0].Rule.Tags, tagTampering) || f[0].Rule.Level != event.Medium || !strings.Contains(what, "59m") && !strings.Contains(what, "2h0m") {
		t.Errorf("finding %+v", f[0])
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		list, err := w.RefusalsOf(ctx, "ho-1")
		if w.ok(err); len(list) == 3 || time.Now().After(end) {
			if len(list) != 3 || list[0].Key != "protect.snapshot-time" {
				t.Errorf("%+v", list)
			}
			break
		}
	}
	if clock, bad, strange := all(RuleClock), all(RuleTampering), all(RuleOdd); clock != 1 || bad+strange > 0 {
		t.Errorf("%d findings about the clock, %d of tampering, %d odd", clock, bad, strange)
	}
	if cut, err := w.IsCut(ctx, "hospital"); err != nil || cut {
		t.Errorf("cut %v, %v", cut, err)
	}
	p.Run(t, "backup", "--host", "emr-1", src)

	for i := range 3 {
		refused("protect.snapshot", "somebody", w.moment().Add(time.Duration(i)*time.Hour)) // a wrong clock is no excuse
	}
	w.ahead.Add(int64(tellAgain))
	f = w.findings(RuleTampering)
	if _, fresh, err := w.Alarm(ctx, f[0]); err != nil || !fresh {
		t.Errorf("another host's name three times: %v", err)
	}
}

// names are the snapshots of a repository, and what lies there.
func names(t *testing.T, repo string) map[string]string {
	t.Helper()
	out := map[string]string{}
	paths, err := filepath.Glob(filepath.Join(repo, "snapshots", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(path)] = string(b)
	}
	return out
}

// The hub's clock goes forward by a day, a backup comes, and the clock comes back:
// what comes then is read within the hour, copied, drilled and brought back all the
// same, and people hear of it once.
func TestAClockThatWasSetBackHidesNothing(t *testing.T) {
	w, ctx, src := newWorld(t), t.Context(), tree(t)
	p := w.agent("ho-1")
	p.Run(t, "init")
	w.ahead.Store(int64(24 * time.Hour))
	p.Run(t, "backup", "--host", "emr-1", src)
	w.ok(w.readDue(ctx, "ho-1"))
	w.ahead.Store(0)
	for i, name := range []string{"3.txt", "4.txt"} {
		was, err := w.View(ctx, "ho-1", time.Time{})
		w.ok(err)
		kept := restictest.Noise(20_000 + i)
		restictest.Write(t, filepath.Join(src, name), kept)
		p.Run(t, "backup", "--host", "emr-1", src)
		repo, err := w.Repository(ctx, "ho-1")
		w.ok(err)
		now, err := w.View(ctx, "ho-1", time.Time{}) // copies and drills read this
		w.ok(err)
		if a, b := shown(t, was), shown(t, now); a != i+1 || b != i+2 {
			t.Errorf("%d snapshots before, %d after", a, b)
		}
		w.ahead.Add(int64(newEvery))
		w.ok(w.readDue(ctx, "ho-1"))
		reads, err := w.Reads(ctx, "ho-1")
		w.ok(err)
		reads = slices.DeleteFunc(reads, func(r Read) bool { return r.Scope != ReadNew })
		newest := slices.MaxFunc(reads, func(a, b Read) int { return a.Upto.Compare(b.Upto) })
		if newest.Result != Sound || newest.Packs == 0 || !newest.Upto.Equal(repo.Last()) {
			t.Errorf("what came was not read: %+v", newest)
		}
	}
	last := newestSnapshot(t, w)
	token, err := w.OpenPass(ctx, Opening{For: "rs-1", Agent: "ho-1", Host: "ho-2", Why: "復元", AsOf: w.moment(), Snapshot: last, AskedBy: anna.ID, ApprovedBy: ben.ID})
	w.ok(err)
	if status, _ := w.sendBoth("ho-2", token, "GET", "ho-1/snapshots/"+last, ""); status != http.StatusOK {
		t.Errorf("a restore does not see its snapshot: %d", status)
	}
	token, err = w.OpenPass(ctx, Opening{For: "rs-2", Agent: "ho-1", Host: "ho-2", Why: "復元", AsOf: w.moment(), AskedBy: anna.ID, ApprovedBy: ben.ID})
	w.ok(err)
	if status, _ := w.sendBoth("ho-2", token, "GET", "ho-1/snapshots/"+last, ""); status != http.StatusNotFound {
		t.Errorf("a restore as of a time sees what the log says came later: %d", status)
	}
	f := w.findings(RuleClockBack)
	if f[0].Host != "ho-1" || Alarming(f[0]) || f[0].Rule.Level != event.Medium || len(f) != 1 || !strings.Contains(f[0].Rule.What["en"], "h") {
		t.Errorf("%d findings, %+v", len(f), f[0])
	}
}

// shown is how many snapshots a view has.
func shown(t *testing.T, v *repository.View) (n int) {
	t.Helper()
	if err := v.List(t.Context(), restic.Snapshots, func(string, int64) error { n++; return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

// newestSnapshot is the one that was received last.
func newestSnapshot(t *testing.T, w *world) string {
	t.Helper()
	repo, err := w.Repository(t.Context(), "ho-1")
	w.ok(err)
	last := ""
	for _, x := range repo.Receipts() {
		if x.Kind == restic.Snapshots {
			last = x.Name
		}
	}
	return last
}

// A disk with no room but for the rest of the hub: people hear of it, nothing is cut.
func TestNoRoomOnTheDiskIsTold(t *testing.T) {
	w := newWorld(t, func(d *Deps) { d.MinFree = 1 << 60 })
	_, err := w.Password(t.Context(), "ho-1")
	w.ok(err)
	if status, answer := w.send("ho-1", "POST", "ho-1/keys/"+strings.Repeat("ab", 32), "a key"); status != http.StatusInsufficientStorage || !strings.Contains(answer, "protect.full") {
		t.Errorf("%d %s", status, answer)
	}
	if f := w.findings(RuleRoom); f[0].Host != "ho-1" || Alarming(f[0]) || !strings.Contains(f[0].Events[0].Fields["Reason"], "are to be left") {
		t.Errorf("finding %+v", f[0])
	}
}

func TestOnlyAlarmingFindingsCut(t *testing.T) {
	w := newWorld(t)
	for name, change := range map[string]func(d *findingOf){
		"a drill":         func(d *findingOf) { d.Drill = true },
		"of no site":      func(d *findingOf) { d.Site = "" },
		"not serious":     func(d *findingOf) { d.Rule.Level = event.Medium },
		"something other": func(d *findingOf) { d.Rule.Tags = []string{"attack.t1048"} },
	} {
		f := findingOf(frozen("ho-1", "hospital"))
		change(&f)
		if c, fresh, err := w.Alarm(t.Context(), toFinding(f)); err != nil || fresh || c.ID != "" {
			t.Errorf("%s: %+v %v", name, c, err)
		}
	}
	if _, fresh, err := w.Alarm(t.Context(), frozen("ho-1", "hospital")); err != nil || !fresh {
		t.Errorf("not cut: %v", err)
	}
	_, err := w.CutPath(t.Context(), "hospital", "", "理由", anna)
	w.is(err, fault.Conflict, "vault.cut-already")
}

func TestReadingNeedsTwoPeopleAndEnds(t *testing.T) {
	w, ctx, src := newWorld(t), t.Context(), tree(t)
	p := w.agent("ho-1")
	p.Run(t, "init")
	p.Run(t, "backup", "--host", "ho-1", src)
	early := w.moment()
	restictest.Write(t, filepath.Join(src, "3.txt"), []byte("by an intruder"))
	p.Run(t, "backup", "--host", "ho-1", src)

	packs := 0 // an agent reads no contents without a pass, only folders
	w.ok(filepath.WalkDir(filepath.Join(w.Dir, "ho-1", "repository", "data"), func(_ string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if status, _ := w.send("ho-1", "GET", "ho-1/data/"+d.Name(), ""); status == 403 {
				packs++
			}
		}
		return err
	}))
	if packs == 0 {
		t.Error("an agent reads contents without a pass")
	}
	_, err := w.AskPass(ctx, NewPass{Agent: "ho-1", Why: "復元", Lasts: 100 * time.Hour}, anna)
	w.is(err, fault.Invalid, "vault.lasts")
	pass, err := w.AskPass(ctx, NewPass{Agent: "ho-1", Why: "暗号化の前へ戻す", AsOf: early, Incident: "in-1"}, anna)
	w.ok(err)
	_, err = w.TakeToken(ctx, pass.ID, anna)
	w.is(err, fault.Conflict, "vault.pass-over")
	w.is(w.ApprovePass(ctx, pass.ID, anna), fault.Denied, "vault.own")
	w.ok(w.ApprovePass(ctx, pass.ID, ben))
	old, err := w.TakeToken(ctx, pass.ID, anna)
	w.ok(err)
	token, err := w.TakeToken(ctx, pass.ID, anna)
	w.ok(err)
	for name, bad := range map[string]string{"the one before": old, "a guess": pass.ID + ".AAAA", "nonsense": "nonsense", "of none": "vp-none.AAAA"} {
		_, err := w.Reader(ctx, "", bad)
		if fault.Of(err) != fault.Denied {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = w.Reader(ctx, "ho-3", token)
	w.is(err, fault.Denied, "asset.host-untrusted")

	target := t.TempDir()
	reader := w.reader("ho-1", token)
	reader.Run(t, "restore", "latest", "--target", target)
	if _, err := os.Stat(filepath.Join(target, src, "3.txt")); err == nil {
		t.Error("the pass shows what came after its time")
	}
	if _, err := os.Stat(filepath.Join(target, src, "2.txt")); err != nil {
		t.Error(err)
	}
	w.denied("protect.role", token, "POST", "ho-1/data/"+strings.Repeat("ab", 32), "a pass for reading writes")
	w.denied("protect.role", token, "GET", "ho-2/config", "")
	w.denied("vault.token", old, "GET", "ho-1/config", "")
	w.ahead.Store(int64(PassLasts + time.Minute))
	if _, err := w.Reader(ctx, "", token); fault.Of(err) != fault.Denied {
		t.Errorf("after its time: %v", err)
	}
	w.ahead.Store(0)
	w.ok(w.EndPass(ctx, pass.ID, "終わった", ben))
	if _, err := w.Reader(ctx, "", token); fault.Of(err) != fault.Denied {
		t.Errorf("after its end: %v", err)
	}
	for _, x := range emitted[json.RawMessage](w, "%") { // nothing that is told holds a token
		if strings.Contains(string(x), strings.TrimPrefix(token, pass.ID+".")) {
			t.Error("a message holds the token")
		}
	}
}

func TestDamageIsNamedUntilAllIsSoundAgain(t *testing.T) {
	w, ctx, src := newWorld(t), t.Context(), tree(t)
	p := w.agent("ho-1")
	p.Run(t, "init")
	p.Run(t, "backup", "--host", "ho-1", src)
	level := func(want LevelState) Level {
		t.Helper()
		r, err := w.Get(ctx, "ho-1")
		if err != nil || r.Read.State != want {
			t.Errorf("level %+v instead of %s, %v", r.Read, want, err)
		}
		return r.Read
	}
	level(LevelNever)
	w.ok(w.readDue(ctx, "ho-1"))
	level(LevelSound)
	before, err := w.Reads(ctx, "ho-1")
	w.ok(err)
	w.ok(w.readDue(ctx, "ho-1"))
	if again, err := w.Reads(ctx, "ho-1"); err != nil || len(again) != len(before) {
		t.Errorf("%d reads became %d: %v", len(before), len(again), err)
	}

	pack := w.one("ho-1", "data")
	pack = filepath.Join(w.Dir, "ho-1", "repository", "data", pack[:2], pack)
	sound, err := os.ReadFile(pack)
	w.ok(err)
	bad := bytes.Clone(sound)
	bad[20] ^= 1
	write := func(b []byte) {
		w.ok(os.Chmod(pack, 0o600))
		w.ok(os.WriteFile(pack, b, 0o600))
	}
	write(bad)
	w.ok(w.readAll(ctx, "ho-1"))
	if l := level(LevelDamaged); !strings.Contains(l.Why, filepath.Base(pack)) {
		t.Errorf("the damaged pack is not named: %s", l.Why)
	}
	if f := w.findings(RuleDamage); !strings.Contains(f[0].Rule.What["ja"], filepath.Base(pack)) || Alarming(f[0]) {
		t.Errorf("finding %+v", f[0])
	}
	write(sound)
	level(LevelDamaged) // nobody has read it yet
	w.ok(w.readAll(ctx, "ho-1"))
	level(LevelSound)
}

// A thief with the key sends a pack with a true table whose contents are junk, and its
// index: both are let in, and the read within the hour names it before backups that
// build on it are older than that.
func TestAPackOfJunkWithATrueTableIsNamedWithinTheHour(t *testing.T) {
	w, ctx, src := newWorld(t), t.Context(), tree(t)
	p := w.agent("ho-1")
	p.Run(t, "init")
	p.Run(t, "backup", "--host", "emr-1", src)
	w.ok(w.readDue(ctx, "ho-1"))
	repo, err := w.Repository(ctx, "ho-1")
	w.ok(err)
	view, err := w.View(ctx, "ho-1", time.Time{})
	w.ok(err)
	reader, err := view.Reader(ctx)
	w.ok(err)
	raw, err := os.ReadFile(filepath.Join(repo.Folder(), "index", w.one("ho-1", "index")))
	w.ok(err)
	var packs []restic.PackBlobs
	_, err = reader.Key().Index(raw, func(p restic.PackBlobs) error { packs = append(packs, p); return nil })
	w.ok(err)
	name := packs[0].Pack.String()
	pack, err := os.ReadFile(filepath.Join(repo.Folder(), "data", name[:2], name))
	w.ok(err)
	pack[packs[0].Blobs[0].Offset+20] ^= 1
	packs[0].Pack = restic.Sum(pack)
	index, err := reader.Key().SealIndex(packs[:1])
	w.ok(err)
	for _, f := range []struct {
		kind string
		body []byte
	}{{"data", pack}, {"index", index}} {
		if status, answer := w.send("ho-1", "POST", "ho-1/"+f.kind+"/"+restic.Sum(f.body).String(), string(f.body)); status != http.StatusOK {
			t.Fatalf("%s: %d %s", f.kind, status, answer)
		}
	}
	w.ahead.Store(int64(newEvery))
	w.ok(w.readDue(ctx, "ho-1"))
	r, err := w.Get(ctx, "ho-1")
	if w.ok(err); r.Read.State != LevelDamaged || !strings.Contains(r.Read.Why, packs[0].Pack.String()) {
		t.Errorf("level %+v", r.Read)
	}
	if f := w.findings(RuleDamage); !strings.Contains(f[0].Rule.What["en"], packs[0].Pack.String()) {
		t.Errorf("finding %+v", f[0])
	}
}

func TestEveryChangedRowAndLineIsNamed(t *testing.T) {
	w, ctx, src := newWorld(t), t.Context(), tree(t)
	p := w.agent("ho-1")
	p.Run(t, "init")
	w.ok(w.bindHead(ctx, "ho-1"))
	p.Run(t, "backup", "--host", "ho-1", src)
	w.ok(w.bindHead(ctx, "ho-1"))
	w.ok(w.bindHead(ctx, "ho-1")) // nothing new
	w.ok(w.SetQuota(ctx, "ho-1", 1<<30, "契約どおり", anna))
	all := w.leaves(leafType)
	leaves := func(kind string) []leaf.Leaf {
		if kind == leafType {
			return all
		}
		return nil
	}
	found := func() string {
		d, err := VerifyRows(ctx, w.db, leaves)
		w.ok(err)
		more, err := VerifyLogs(ctx, w.db, w.Dir)
		w.ok(err)
		var text []string
		for _, x := range append(d, more...) {
			text = append(text, x.String())
		}
		return strings.Join(text, "; ")
	}
	if got := found(); got != "" || len(all) != 4 {
		t.Fatalf("an honest state: %s, %d leaves", got, len(all))
	}
	password, err := w.Password(ctx, "ho-1")
	w.ok(err)
	for _, l := range all {
		if b, err := json.Marshal(l); err != nil || strings.Contains(string(b), password) {
			t.Errorf("leaf %s", b)
		}
	}
	w.exec(`UPDATE vault_record SET site = 'x' WHERE id = 'ho-1' AND no = 2`)
	if got := found(); !strings.Contains(got, "ho-1/2") {
		t.Errorf("another site: %s", got)
	}
	w.exec(`UPDATE vault_record SET site = 'hospital' WHERE id = 'ho-1' AND no = 2`)
	log := filepath.Join(w.Dir, "ho-1", "received.jsonl")
	text, err := os.ReadFile(log)
	w.ok(err)
	lines := bytes.SplitAfter(text, []byte("\n"))
	w.ok(os.WriteFile(log, bytes.Join(lines[:len(lines)-2], nil), 0o600)) // the newest snapshot never came
	if got := found(); !strings.Contains(got, "receive log of ho-1") {
		t.Errorf("a shorter log: %s", got)
	}
	w.ok(os.WriteFile(log, bytes.Replace(text, []byte(`"size":`), []byte(`"size":1`), 1), 0o600))
	if got := found(); !strings.Contains(got, "line 1") {
		t.Errorf("a changed line: %s", got)
	}
	w.ok(os.WriteFile(log, text, 0o600))
}
