package copy

import (
	"context"
	"crypto/rand"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/blob/blobtest"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/protect/restic"
	"github.com/sonae/sonae/protect/restic/restictest"
	"github.com/sonae/sonae/secret"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/rows"
	"github.com/sonae/sonae/state/statetest"
)

var anna = auth.Person{ID: "pe-1", Name: "佐藤"}

// house is a hub with one agent whose repository stock restic made.
type house struct {
	*Desk
	t       *testing.T
	repo    restictest.Program
	src     string // what is backed up
	at      time.Time
	ejected []string
}

// Agents and Repository make it a Source.
func (h *house) Agents(context.Context, string) ([]string, error) { return []string{"emr-1"}, nil }

func (h *house) Repository(context.Context, string) (restic.Backend, []string, error) {
	f, err := restic.OpenFolder(h.repo.Repo)
	if err == nil {
		h.t.Cleanup(func() { _ = f.Close() })
	}
	return f, []string{restictest.Password}, err
}

func start(t *testing.T) *house {
	h := empty(t)
	h.repo = restictest.Newest(t).At(filepath.Join(t.TempDir(), "emr-1", repositoryDir))
	h.repo.Run(t, "init")
	h.backup("first")
	return h
}

// empty is a hub without any repository.
func empty(t *testing.T) *house {
	h := &house{t: t, at: time.Now().UTC().Truncate(time.Second), src: t.TempDir()}
	keys, err := secret.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	h.Desk = New(statetest.Open(t), Deps{Source: h, Keys: keys, Now: clock.Now(func() time.Time { return h.at }), Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Eject: func(_ context.Context, dir string) error { h.ejected = append(h.ejected, dir); return nil }})
	return h
}

func (h *house) backup(name string) {
	restictest.Write(h.t, filepath.Join(h.src, name), []byte(strings.Repeat(name+" ", 1000)))
	restictest.Write(h.t, filepath.Join(h.src, name+".bin"), restictest.Noise(100_000+len(name)))
	h.repo.Run(h.t, "backup", "--host", "emr-1", h.src)
}

func (h *house) save(p Place, l blob.Login) Place {
	h.t.Helper()
	p, err := h.Save(h.t.Context(), p, l, anna)
	if err != nil {
		h.t.Fatal(err)
	}
	return p
}

// cycleNow does what is due now and returns what is known of the copy.
func (h *house) cycleNow(p Place) State {
	h.t.Helper()
	due, err := h.due(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	i := slices.IndexFunc(due, func(w visit) bool { return w.place.ID == p.ID })
	if i < 0 {
		h.t.Fatalf("nothing is due at %s", p.Name)
	}
	h.visit(h.t.Context(), due[i])
	return h.state(p)
}

func (h *house) state(p Place) State {
	h.t.Helper()
	states, err := h.States(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	for _, s := range states {
		if s.PlaceID == p.ID {
			return s
		}
	}
	h.t.Fatalf("nothing is known of %s", p.Name)
	return State{}
}

// later lets a cycle's time go by.
func (h *house) later(p Place) { h.at = h.at.Add(time.Duration(p.Every) * time.Hour) }

// opens says that stock restic restores the newest snapshot from a copy, byte
// by byte.
func (h *house) opens(p restictest.Program) {
	h.t.Helper()
	p.Run(h.t, "--no-lock", "check", "--read-data")
	to := h.t.TempDir()
	p.Run(h.t, "--no-lock", "restore", "latest", "--target", to)
	same(h.t, h.src, filepath.Join(to, h.src))
}

func same(t *testing.T, a, b string) {
	t.Helper()
	n := 0
	err := filepath.WalkDir(a, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		n++
		rel, _ := filepath.Rel(a, path)
		want, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		got, err := os.ReadFile(filepath.Join(b, rel))
		if string(got) != string(want) {
			t.Errorf("%s is not what it was: %v", rel, err)
		}
		return nil
	})
	if err != nil || n == 0 {
		t.Errorf("compared %d files: %v", n, err)
	}
}

func TestALockedCopySurvivesTheBucketsOwnLogin(t *testing.T) {
	statetest.OnlySQLite(t, "no other rows than those of the other tests")
	server := blobtest.ServeLocked(t)
	h := start(t)
	s3 := server.LockedConfig()
	p := h.save(Place{Name: "off site", Kind: Lock, Endpoint: s3.Endpoint, Bucket: s3.Bucket, Prefix: "hospital", Plain: true, Every: 24, Keep: 30, Reread: 7}, server.Login())
	s := h.cycleNow(p)
	if s.Problem != "" || !s.Verified() || !s.Unreachable(h.at) || s.Snapshots != 1 || s.Newest.IsZero() {
		t.Fatalf("after the first cycle: %+v", s)
	}
	if want := h.at.Add(31 * 24 * time.Hour); !s.LockedUntil.Equal(want) {
		t.Errorf("locked until %s, want %s: the oldest generation and one cycle", s.LockedUntil, want)
	}
	stock := h.repo.At("s3:http://"+s3.Endpoint+"/"+s3.Bucket+"/hospital/emr-1", "-o", "s3.bucket-lookup=path")
	stock.Env = []string{"AWS_ACCESS_KEY_ID=" + server.Login().ID, "AWS_SECRET_ACCESS_KEY=" + server.Login().Secret}
	h.opens(stock)

	h.later(p) // a second backup; the locks of the first go on
	h.backup("second")
	s = h.cycleNow(p)
	if s.Problem != "" || s.Snapshots != 2 || !s.LockedUntil.Equal(h.at.Add(31*24*time.Hour)) {
		t.Errorf("after the second cycle: %+v", s)
	}
	if s.Files == 0 || s.Files >= s.AllFiles {
		t.Errorf("%d of %d files were brought over: not only what is new", s.Files, s.AllFiles)
	}

	if done := server.Attack("hospital/emr-1/", true); len(done) > 0 {
		t.Errorf("the storage let a thief in: %s", strings.Join(done, "; "))
	}
	h.later(p)
	s = h.cycleNow(p)
	if s.Problem != Touched || s.Verified() || s.Repaired == 0 || s.Repaired != s.Damages || s.Repaired != s.AllFiles {
		t.Errorf("after the attack: %+v, want every file laid down anew, and an alarm", s)
	}
	h.opens(stock)
	h.later(p)
	if s = h.cycleNow(p); s.Problem != "" || !s.Verified() || !s.Unreachable(h.at) {
		t.Errorf("after everything was read again: %+v", s)
	}
	if got, err := h.Copies(t.Context(), "emr-1"); err != nil || len(got) != 1 || !got[0].Verified || !got[0].Unreachable || got[0].Snapshots != 2 {
		t.Errorf("got %+v, %v", got, err)
	}
	var told int
	if err := h.db.QueryRow(t.Context(), `SELECT count(*) FROM outbox WHERE subject = $1`, Harmed).Scan(&told); err != nil || told != 1 {
		t.Errorf("%d alarms, %v; want one", told, err)
	}
}

func TestACopyInAFolder(t *testing.T) {
	h := start(t)
	dir := t.TempDir()
	first := h.at
	p := h.save(Place{Name: "annex", Kind: Folder, Where: "callcentre", Dir: dir, Every: 6, Reread: 30}, blob.Login{})
	if s := h.cycleNow(p); s.Problem != "" || !s.Verified() || s.Unreachable(h.at) {
		t.Fatalf("after the first cycle: %+v", s)
	}
	copied := filepath.Join(dir, "emr-1")
	if left, _ := os.ReadDir(filepath.Join(copied, "locks")); len(left) > 0 {
		t.Error("locks were copied")
	}
	h.opens(h.repo.At(copied))

	// one byte changed on the disk: found when all is read, and written anew
	pack := some(t, filepath.Join(copied, "data"))
	flip(t, pack)
	h.at = h.at.Add(31 * 24 * time.Hour)
	if s := h.cycleNow(p); s.Problem != Damage || s.Repaired != 1 || s.Verified() || !strings.HasSuffix(s.Damaged[0], filepath.Base(pack)) {
		t.Errorf("after a flipped byte: %+v", s)
	}
	h.later(p)
	if s := h.cycleNow(p); s.Problem != "" || !s.Verified() {
		t.Errorf("after it was written anew: %+v", s)
	}
	h.opens(h.repo.At(copied))

	// what happened stands in order, and others are told what lies where since when
	past, err := h.Past(t.Context(), first, h.at.Add(time.Minute))
	if err != nil || len(past) != 3 || past[0].Problem != "" || past[1].Problem != Damage || past[2].Place.Name != "annex" {
		t.Errorf("%+v, %v", past, err)
	}
	if past, err = h.Past(t.Context(), first.Add(30*24*time.Hour), h.at.Add(-time.Hour)); err != nil || len(past) != 1 {
		t.Errorf("within a month: %+v, %v", past, err)
	}
	told, err := h.Copies(t.Context(), "emr-1")
	if err != nil || len(told) != 1 || told[0].Where != "callcentre" || told[0].Oldest.IsZero() || told[0].Oldest.After(told[0].Newest) || told[0].ReadAt.IsZero() {
		t.Errorf("%+v, %v", told, err)
	}

	// a file removed: told, and there again
	if err := os.Remove(some(t, filepath.Join(copied, "snapshots"))); err != nil {
		t.Fatal(err)
	}
	h.later(p)
	s := h.cycleNow(p)
	if s.Problem != Touched || s.Snapshots != 1 {
		t.Errorf("after a removed file: %+v", s)
	}
	// … and it is a finding that freezes what is kept of the machine
	if f := (Trouble{Place: p, Result: s.Result}).Finding("hospital"); f.Site != "hospital" || f.Host != "emr-1" || !slices.Contains(f.Rule.Tags, detect.TagTampering) || !slices.Contains(f.Rule.Tags, detect.TagScored) {
		t.Errorf("the finding is %+v", f)
	}

	// what is damaged at the hub is not copied, and no snapshot that needs it
	h.backup("second")
	for _, pack := range packs(t, filepath.Join(h.repo.Repo, "data")) {
		if _, err := os.Stat(filepath.Join(copied, "data", filepath.Base(pack)[:2], filepath.Base(pack))); err != nil {
			flip(t, pack)
		}
	}
	h.later(p)
	if s := h.cycleNow(p); s.Problem != SourceDamaged || s.Snapshots != 1 {
		t.Errorf("with a damaged source: %+v", s)
	} else if f := (Trouble{Place: p, Result: s.Result}).Finding("hospital"); len(f.Rule.Tags) > 0 {
		t.Errorf("a damaged disk is called tampering: %v", f.Rule.Tags)
	}

	// a place that is gone is no damage
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	h.later(p)
	if s := h.cycleNow(p); s.Problem != Failed {
		t.Errorf("without the folder: %+v", s)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("a folder that was not mounted was filled")
	}
	if all, err := h.History(t.Context(), p.ID, "emr-1"); err != nil || len(all) != 6 || all[0].Problem != Failed {
		t.Errorf("got %d results, %v; want all six, the newest first", len(all), err)
	}
	verifies(t, h)
}

// verifies wants every row to be what the ledger was told, and notices one that
// is not.
func verifies(t *testing.T, h *house) {
	t.Helper()
	none := func(string) []leaf.Leaf { return nil }
	if found, err := VerifyRows(t.Context(), h.db, none); err != nil || len(found) > 0 {
		t.Errorf("got %v, %v; want no difference", found, err)
	}
	statetest.Loose(t, h.db, "copy_record")
	err := h.db.Tx(t.Context(), func(tx *state.Tx) error {
		_, err := tx.ExecContext(t.Context(), `UPDATE copy_record SET body = REPLACE(body, 'annex', 'annax') WHERE kind = 'place'`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if found, err := VerifyRows(t.Context(), h.db, none); err != nil || len(found) != 1 || found[0].Kind != rows.Changed {
		t.Errorf("got %v, %v; want the changed place", found, err)
	}
}

func packs(t *testing.T, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all = append(all, path)
		}
		return err
	})
	if err != nil || len(all) == 0 {
		t.Fatalf("no file below %s: %v", dir, err)
	}
	return all
}

func some(t *testing.T, dir string) string { t.Helper(); return packs(t, dir)[0] }

func flip(t *testing.T, path string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err == nil {
		raw[len(raw)/2] ^= 1
		err = os.Chmod(path, 0o600)
	}
	if err == nil {
		err = os.WriteFile(path, raw, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestAnInterruptedCopyGoesOn(t *testing.T) {
	statetest.OnlySQLite(t, "no other rows than those of the other tests")
	h := start(t)
	for i := range 20 {
		restictest.Write(t, filepath.Join(h.src, "more", rand.Text()), restictest.Noise(200_000+i))
	}
	h.repo.Run(t, "backup", "--host", "emr-1", "--pack-size", "4", h.src)
	p := h.save(Place{Name: "annex", Kind: Folder, Dir: t.TempDir(), Every: 6, Reread: 30}, blob.Login{})
	ctx, cancel := context.WithCancel(t.Context())
	res := Result{PlaceID: p.ID, Agent: "emr-1"}
	err := h.cycle(ctx, visit{place: p}, "emr-1", &res, func(step string, files, of int, _, _ int64) {
		if files == 2 {
			cancel()
		}
	})
	if err == nil {
		t.Fatal("the cycle was not interrupted")
	}
	copied := filepath.Join(p.Dir, "emr-1")
	if restic.IsRepository(copied) {
		t.Error("half a copy looks like a repository")
	}
	s := h.cycleNow(p)
	if s.Problem != "" || !s.Verified() || s.Files >= s.AllFiles {
		t.Errorf("gone on: %+v, want only what was missing", s)
	}
	h.opens(h.repo.At(copied))
}

func TestAPersonStopsACopy(t *testing.T) {
	statetest.OnlySQLite(t, "no other rows than those of the other tests")
	h := start(t)
	restictest.Write(t, filepath.Join(h.src, "large"), restictest.Noise(4<<20))
	h.repo.Run(t, "backup", "--host", "emr-1", h.src)
	p := h.save(Place{Name: "slow line", Kind: Folder, Dir: t.TempDir(), Every: 6, Reread: 30, Rate: 64}, blob.Login{})
	due, err := h.due(t.Context())
	if err != nil || len(due) != 1 {
		t.Fatal(due, err)
	}
	done := make(chan struct{})
	go func() { defer close(done); h.visit(t.Context(), due[0]) }()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if now, err := h.Running(t.Context()); err == nil && now[p.ID].Files > 0 {
			break
		} else if time.Now().After(end) {
			t.Fatal("nothing is said of a copy that runs")
		}
	}
	if err := h.Stop(t.Context(), p.ID, anna); err != nil {
		t.Fatal(err)
	}
	<-done // at 64 KiB/s it would take more than a minute
	if s := h.state(p); !s.Stopped || s.Problem != "" || !s.At.IsZero() {
		t.Errorf("%+v", s.Result)
	}
	if due, err := h.due(t.Context()); err != nil || len(due) > 0 {
		t.Errorf("it would begin again at once: %v, %v", due, err)
	}
}

func TestAnotherHubPulls(t *testing.T) {
	statetest.OnlySQLite(t, "no other rows than those of the other tests")
	h := start(t)
	other := filepath.Dir(filepath.Dir(h.repo.Repo)) // the first hub's folder, mounted
	p := h.save(Place{Name: "headquarters", Kind: Pull, From: other, Dir: t.TempDir(), Every: 1, Reread: 7}, blob.Login{})
	if s := h.cycleNow(p); s.Problem != "" || !s.Verified() || !s.Unreachable(h.at) || s.Snapshots != 1 {
		t.Fatalf("%+v", s)
	}
	copied := filepath.Join(p.Dir, "emr-1")
	h.opens(h.repo.At(copied))
	flip(t, some(t, filepath.Join(copied, "data")))
	h.at = h.at.Add(8 * 24 * time.Hour)
	if s := h.cycleNow(p); s.Problem != Damage || s.Repaired != 1 {
		t.Errorf("without a password a flipped byte is found by its name: %+v", s)
	}
}

func TestAMediumGoesThroughManyHands(t *testing.T) {
	h := start(t)
	p := h.save(Place{Name: "disks", Kind: Media, Dir: t.TempDir(), Reread: 1}, blob.Login{})
	m, err := h.AddMedium(t.Context(), p.ID, "月曜の盤", anna)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Run(t.Context(), p.ID, "", anna); fault.Of(err) != fault.Invalid {
		t.Errorf("without a medium: %v", err)
	}
	if err := h.Run(t.Context(), p.ID, m.ID, anna); err != nil {
		t.Fatal(err)
	}
	if now, err := h.Running(t.Context()); err != nil || len(now) != 1 {
		t.Errorf("what waits is not told: %v, %v", now, err)
	}
	s := h.cycleNow(p)
	if s.Problem != "" || !s.Verified() || s.Medium.State != Ejected || !s.Unreachable(h.at) || len(h.ejected) != 1 {
		t.Fatalf("%+v, ejected %v", s, h.ejected)
	}
	h.opens(h.repo.At(filepath.Join(p.Dir, "emr-1")))
	for _, step := range []struct {
		s    Step
		want fault.Kind
	}{
		{Step{What: Handed, To: "高橋"}, fault.Invalid}, // no seal
		{Step{What: Written}, fault.Conflict},
		{Step{What: Handed, From: "佐藤", To: "高橋", Seal: "A-1001", At: h.at.Add(-time.Hour)}, fault.Invalid}, // before it was taken out
		{Step{What: Handed, From: "佐藤", To: "高橋", Seal: "A-1001", Note: "金庫 2"}, ""},
		{Step{What: Ready}, fault.Invalid}, // the seal was not read
		{Step{What: Ready, From: "高橋", Seal: "A-1002"}, ""},
	} {
		if err := h.Move(t.Context(), m.ID, step.s, anna); fault.Of(err) != step.want || (step.want == "") != (err == nil) {
			t.Errorf("%+v: got %v, want %q", step.s, err, step.want)
		}
	}
	got, err := h.Medium(t.Context(), m.ID)
	if err != nil || got.Offline() || len(got.Custody) != 5 || !strings.Contains(got.Custody[4].Note, "A-1001") {
		t.Errorf("got %+v, %v: another seal must be told", got, err)
	}
	if s := h.state(p); s.Unreachable(h.at) {
		t.Error("a medium in the house counts as out of reach")
	}
	other, err := h.AddMedium(t.Context(), p.ID, "火曜の盤", anna)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Run(t.Context(), p.ID, other.ID, anna); err != nil {
		t.Fatal(err)
	}
	if s := h.cycleNow(p); s.Problem != Failed || !strings.Contains(s.Why, "other-medium") {
		t.Errorf("another medium than the one that was asked for: %+v", s)
	}
}

func TestPlacesThatCannotBe(t *testing.T) {
	h := empty(t)
	for name, tt := range map[string]struct {
		p Place
		l blob.Login
	}{
		"no name":            {Place{Kind: Folder, Dir: "/srv/x", Every: 1, Reread: 1}, blob.Login{}},
		"a relative folder":  {Place{Name: "x", Kind: Folder, Dir: "srv", Every: 1, Reread: 1}, blob.Login{}},
		"the root":           {Place{Name: "x", Kind: Folder, Dir: "/", Every: 1, Reread: 1}, blob.Login{}},
		"a folder in itself": {Place{Name: "x", Kind: Pull, From: "/srv/a", Dir: "/srv/a/b", Every: 1, Reread: 1}, blob.Login{}},
		"no log-in":          {Place{Name: "x", Kind: Lock, Endpoint: "s3:443", Bucket: "b", Every: 1, Keep: 1, Reread: 1}, blob.Login{}},
		"no time to keep":    {Place{Name: "x", Kind: Lock, Endpoint: "s3:443", Bucket: "b", Every: 1, Reread: 1}, blob.Login{ID: "a", Secret: "b"}},
		"a URL":              {Place{Name: "x", Kind: Lock, Endpoint: "https://s3", Bucket: "b", Every: 1, Keep: 1, Reread: 1}, blob.Login{ID: "a", Secret: "b"}},
		"never":              {Place{Name: "x", Kind: Folder, Dir: "/srv/x", Reread: 1}, blob.Login{}},
		"no kind":            {Place{Name: "x", Dir: "/srv/x", Every: 1, Reread: 1}, blob.Login{}},
	} {
		if _, err := h.Save(t.Context(), tt.p, tt.l, anna); fault.Of(err) != fault.Invalid {
			t.Errorf("%s: got %v, want invalid", name, err)
		}
	}
	p := h.save(Place{Name: "s3", Kind: Lock, Endpoint: "s3:443", Bucket: "b", Every: 1, Keep: 1, Reread: 1}, blob.Login{ID: "me", Secret: "hush-hush"})
	p.Name = "renamed"
	if p = h.save(p, blob.Login{}); p.Name != "renamed" { // the log-in stays
		t.Error(p)
	}
	if l, err := h.login(t.Context(), p.ID); err != nil || l.Secret != "hush-hush" {
		t.Errorf("got %v, %v", l, err)
	}
	var sealed, bodies string
	if err := h.db.QueryRow(t.Context(), `SELECT sealed, (SELECT body FROM copy_record WHERE kind = 'place' AND no = 2) FROM copy_secret`).Scan(&sealed, &bodies); err != nil ||
		strings.Contains(sealed+bodies, "hush") {
		t.Errorf("the log-in lies open: %v", err)
	}
	if err := h.End(t.Context(), p.ID, anna); err != nil {
		t.Fatal(err)
	}
	if _, err := h.login(t.Context(), p.ID); err == nil {
		t.Error("the log-in of a place that ended is kept")
	}
	if due, err := h.due(t.Context()); err != nil || len(due) > 0 {
		t.Errorf("due at a place that ended: %v, %v", due, err)
	}
}

func TestTheSitesProgramEjectsAMedium(t *testing.T) {
	statetest.OnlySQLite(t, "it has no rows")
	dir := t.TempDir()
	program := filepath.Join(dir, "eject")
	if Ejector(program) != nil {
		t.Error("a program that is not there would be run")
	}
	for script, want := range map[string]string{"#!/bin/sh\necho -n \"$#:$1\" > " + dir + "/ran\n": "", "#!/bin/sh\necho it is busy\nexit 3\n": "it is busy"} {
		if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
		err := Ejector(program)(t.Context(), "/media/a b; c")
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if got, err := os.ReadFile(filepath.Join(dir, "ran")); err != nil || string(got) != "1:/media/a b; c" {
		t.Errorf("it was called with %q, %v", got, err)
	}
}

func TestARateIsKept(t *testing.T) {
	statetest.OnlySQLite(t, "no other rows than those of the other tests")
	h := start(t)
	restictest.Write(t, filepath.Join(h.src, "large"), restictest.Noise(3<<20))
	h.repo.Run(t, "backup", "--host", "emr-1", h.src)
	p := h.save(Place{Name: "slow line", Kind: Folder, Dir: t.TempDir(), Every: 1, Reread: 30, Rate: 8 << 10}, blob.Login{})
	began := time.Now()
	s := h.cycleNow(p)
	least := time.Duration(float64(2*s.Bytes)/float64(8<<20)*float64(time.Second)) - 300*time.Millisecond // there and back, less what may come at once
	if took := time.Since(began); s.Problem != "" || took < least {
		t.Errorf("%d bytes there and back at 8 MiB/s in %s: quicker than %s; %s", s.Bytes, took, least, s.Why)
	}
}
