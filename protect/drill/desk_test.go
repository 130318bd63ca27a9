package drill

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/protect/restic"
	"github.com/sonae/sonae/protect/restic/restictest"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/statetest"
)

// start is Sunday 22 November 2026, 14:05 in Japan.
var (
	start = time.Date(2026, 11, 22, 5, 5, 0, 0, time.UTC)
	anna  = auth.Person{ID: "pe-1"}
)

// heavy is why a drill is held on one engine of the state only.
const heavy = "what is tested is what was restored"

// hosts knows two machines.
type hosts struct{}

func (hosts) Host(_ context.Context, id string) (asset.Host, error) {
	switch id {
	case "ho-1":
		return asset.Host{ID: id, Site: "hospital"}, nil
	case "ho-2":
		return asset.Host{ID: id, Site: "callcentre"}, nil
	}
	return asset.Host{}, fault.New(fault.Missing, "asset.host-missing")
}

// vault keeps one folder for every host, and knows of each file when it came.
type vault struct {
	program restictest.Program
	dir     string
	err     error
}

func (v *vault) Open(ctx context.Context, host string, asOf time.Time) (Restorer, error) {
	if v.err != nil {
		return nil, v.err
	}
	return Kept{Program: v.program.Path, Dir: v.dir, Password: func(context.Context, string) (string, error) { return restictest.Password, nil },
		View: func(_ context.Context, _ string, asOf time.Time) (restic.Backend, string, error) {
			back, err := restic.OpenFolder(v.program.Repo)
			return came{back, v.program.Repo, asOf}, v.program.Repo, err
		}}.Open(ctx, host, asOf)
}

// came is what came into a folder by a time.
type came struct {
	*restic.Folder
	dir string
	by  time.Time
}

func (c came) List(ctx context.Context, kind restic.Kind, each func(string, int64) error) error {
	return c.Folder.List(ctx, kind, func(name string, size int64) error {
		info, err := os.Stat(filepath.Join(c.dir, kind.Path(name)))
		if err != nil || !c.by.IsZero() && info.ModTime().After(c.by) {
			return err
		}
		return each(name, size)
	})
}

// bench is a Desk with a repository.
type bench struct {
	*Desk
	t   *testing.T
	now time.Time
	vault
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, now: start}
	b.program = restictest.Newest(t).At(filepath.Join(t.TempDir(), "repository"))
	b.dir = filepath.Join(t.TempDir(), "drill")
	b.Desk = New(statetest.Open(t), Deps{Hosts: hosts{}, Source: &b.vault, Dir: b.dir, Now: func() time.Time { return b.now }, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	return b
}

func (b *bench) ok(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// define keeps a definition that must be sound.
func (b *bench) define(n Definition) Definition {
	b.t.Helper()
	if n.Host == "" && n.Level != Whole {
		n.Host = "ho-1"
	}
	if n.Name == "" {
		n.Name = "訓練"
	}
	b.now = b.now.Add(time.Millisecond) // in which its place in the order is
	n, err := b.Define(b.t.Context(), n, anna)
	b.ok(err)
	return n
}

// hold runs a drill and returns what came of it.
func (b *bench) hold(n Definition) Run {
	b.t.Helper()
	b.now = b.now.Add(time.Minute)
	r, err := b.Ask(b.t.Context(), n.ID, anna)
	b.ok(err)
	b.ok(b.Look(b.t.Context()))
	r, err = b.Run(b.t.Context(), r.ID)
	b.ok(err)
	left, err := filepath.Glob(filepath.Join(b.Dir, "*"))
	b.ok(err)
	if len(left) > 0 {
		b.t.Errorf("left behind: %v", left)
	}
	b.t.Logf("%s: %s %v %+v %q", n.Name, r.State, r.Why, r.Phases, r.Problems)
	return r
}

// wants compares what came of a run: its state, and a part of a problem or of
// the reason.
func wants(t *testing.T, r Run, state State, part string) {
	t.Helper()
	said := strings.Join(all(r.Problems), "\n")
	if r.Why != nil {
		said += r.Why.Key + r.Why.Detail
	}
	if r.State != state || !strings.Contains(said, part) {
		t.Errorf("%s, %q; want %s, %q", r.State, said, state, part)
	}
}

func all(p []Problem) (out []string) {
	for _, x := range p {
		out = append(out, x.Phase+": "+x.Text)
	}
	return out
}

func TestDefinitionsThatCannotRunAreRefused(t *testing.T) {
	b := newBench(t)
	good := Definition{Name: "電子カルテ", Host: "ho-1", Level: Database, Paths: []string{"/var/lib/postgresql/15/main"}, Days: 7, Hour: 3,
		Server: Server{Checks: []Check{{Query: Query{"emr", "SELECT count(*) FROM patient"}, Is: "3"}}}}
	one := 1.0
	other := b.define(Definition{Level: Files, Host: "ho-2"})
	for name, tt := range map[string]struct {
		change func(*Definition)
		want   fault.Kind
	}{
		"sound":                      {func(*Definition) {}, ""},
		"no name":                    {func(n *Definition) { n.Name = " " }, fault.Invalid},
		"a name of two lines":        {func(n *Definition) { n.Name = "a\nb" }, fault.Invalid},
		"no such level":              {func(n *Definition) { n.Level = "L9" }, fault.Invalid},
		"no host":                    {func(n *Definition) { n.Host = "" }, fault.Invalid},
		"a host that is not there":   {func(n *Definition) { n.Host = "ho-9" }, fault.Missing},
		"no path":                    {func(n *Definition) { n.Paths = nil }, fault.Invalid},
		"a path that climbs":         {func(n *Definition) { n.Paths = []string{"/a/../b"} }, fault.Invalid},
		"a path that begins nowhere": {func(n *Definition) { n.Paths = []string{"main"} }, fault.Invalid},
		"an hour that is none":       {func(n *Definition) { n.Hour = 24 }, fault.Invalid},
		"as of no time":              {func(n *Definition) { n.Pick.How = AsOf }, fault.Invalid},
		"a question for psql":        {func(n *Definition) { n.Server.Checks[0].SQL = `\! id` }, fault.Invalid},
		"a question without answer":  {func(n *Definition) { n.Server.Checks[0].Is = "" }, fault.Invalid},
		"an answer between 1 and 0":  {func(n *Definition) { zero := 0.0; n.Server.Checks[0].Min, n.Server.Checks[0].Max = &one, &zero }, fault.Invalid},
		"a database with options":    {func(n *Definition) { n.Server.Checks[0].Database = "x host=evil" }, fault.Invalid},
		"a moment without moment":    {func(n *Definition) { n.Level, n.Point = Moment, Point{Stanza: "emr"} }, fault.Invalid},
		"a moment, for a shell": {func(n *Definition) {
			n.Level, n.Point, n.Paths = Moment, Point{Stanza: "emr", Before: 60}, []string{"/a;id"}
		}, fault.Invalid},
		"a moment": {func(n *Definition) { n.Level, n.Point = Moment, Point{Stanza: "emr", Before: 60} }, ""},
		"a moment from gathered WAL": {func(n *Definition) {
			n.Level, n.Point, n.Paths = Moment, Point{Before: 60}, []string{"/emr.base.tar", "/wal"}
		}, ""},
		"a moment without WAL": {func(n *Definition) { n.Level, n.Point = Moment, Point{Before: 60} }, fault.Invalid},
		"gathered WAL, for a shell": {func(n *Definition) {
			n.Level, n.Point, n.Paths = Moment, Point{Before: 60}, []string{"/emr.base.tar", "/wal;id"}
		}, fault.Invalid},
		"dumps":                      {func(n *Definition) { n.Level, n.Paths = Dump, []string{"/emr.emr.dump", "/emr.roles.sql"} }, ""},
		"a dump of no path":          {func(n *Definition) { n.Level, n.Paths = Dump, nil }, fault.Invalid},
		"a dump, for psql":           {func(n *Definition) { n.Level, n.Server.Checks[0].SQL = Dump, `\! id` }, fault.Invalid},
		"a guest that says nothing":  {func(n *Definition) { n.Level = Machine }, fault.Invalid},
		"a guest":                    {func(n *Definition) { n.Level, n.Guest = Machine, Guest{Marks: []string{"ready"}} }, ""},
		"a whole of nothing":         {func(n *Definition) { n.Level = Whole }, fault.Invalid},
		"a whole of one that is not": {func(n *Definition) { n.Level, n.Parts = Whole, []string{"rd-9"} }, fault.Missing},
		"a whole of one twice":       {func(n *Definition) { n.Level, n.Parts = Whole, []string{other.ID, other.ID} }, fault.Invalid},
		"a whole":                    {func(n *Definition) { n.Level, n.Parts = Whole, []string{other.ID} }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			n := good
			n.Server.Checks = slices.Clone(good.Server.Checks)
			tt.change(&n)
			got, err := b.Define(t.Context(), n, anna)
			if fault.Of(err) != tt.want || err != nil && tt.want == "" {
				t.Errorf("%v, want %q", err, tt.want)
			}
			if name == "a whole" && got.Site != "callcentre" {
				t.Errorf("site %q", got.Site)
			}
		})
	}
}

// What a run needs and is not there never reads as a proof.
func TestADrillThatCouldNotRunNeverPassed(t *testing.T) {
	statetest.OnlySQLite(t, heavy)
	b := newBench(t)
	src := t.TempDir()
	restictest.Write(t, filepath.Join(src, "a"), []byte("a"))
	b.program.Run(t, "init")
	b.program.Run(t, "backup", src)
	files := Definition{Level: Files, Paths: []string{src}}
	for name, tt := range map[string]struct {
		n     Definition
		spoil func(*bench)
		state State
		part  string
	}{
		"no repository":             {files, func(b *bench) { b.err = fault.New(fault.Missing, "protect.drill.no-source") }, Impossible, "no-source"},
		"no program":                {files, func(b *bench) { b.program.Path = "/nonexistent/restic" }, Impossible, "no-program"},
		"an error of ours":          {files, func(b *bench) { b.err = errors.New("the disk is on fire") }, Impossible, "on fire"},
		"no clean point":            {Definition{Level: Files, Pick: Pick{How: Clean}}, nil, Impossible, "no-clean-point"},
		"a path nobody backed up":   {Definition{Level: Files, Paths: []string{"/nonexistent"}}, nil, Failed, "none of 1 snapshots"},
		"a path that was not there": {Definition{Level: Files, Paths: []string{src + "/b"}}, nil, Failed, "no file"},
		"a file for a cluster":      {Definition{Level: Database, Paths: []string{src}}, nil, Failed, "PG_VERSION"},
	} {
		t.Run(name, func(t *testing.T) {
			b.t = t
			program := b.program
			defer func() { b.program, b.err = program, nil }()
			n := b.define(tt.n)
			if tt.spoil != nil {
				tt.spoil(b)
			}
			r := b.hold(n)
			wants(t, r, tt.state, tt.part)
			if _, told := r.Finding(); !told {
				t.Error("nobody is told")
			}
			if _, measured := r.Measure(); measured {
				t.Error("it measured something")
			}
			if l, err := b.Line(t.Context(), n.ID); err != nil || !l.Standing.Red() {
				t.Errorf("%+v, %v", l, err)
			}
		})
	}
}

func TestFilesAreRestoredAndCompared(t *testing.T) {
	b := newBench(t)
	src := t.TempDir()
	restictest.Odd(t, src)
	restictest.Small(t, filepath.Join(src, "many"), 40)
	b.program.Run(t, "init")
	b.program.Run(t, "backup", src)
	n := b.define(Definition{Level: Files, Class: "カルテ", Every: 3, Days: 7, Hour: 2})

	never, err := b.LastProven(t.Context(), Of{Class: "カルテ"})
	if b.ok(err); never.Standing != Never || !never.At.IsZero() {
		t.Errorf("before the first run: %+v", never)
	}
	r := b.hold(n)
	wants(t, r, Passed, "")
	if r.Files < 50 || r.Compared < 15 || r.Compared > r.Files/3+1 || r.Bytes < 10<<20 || r.Snapshot == nil {
		t.Errorf("%d files, %d compared, %d bytes", r.Files, r.Compared, r.Bytes)
	}
	p, err := b.LastProven(t.Context(), Of{Class: "カルテ", Host: "ho-1"})
	if b.ok(err); p.Standing != Proven || p.Run != r.ID || p.Level != Files {
		t.Errorf("%+v", p)
	}
	if p, err := b.LastProven(t.Context(), Of{Host: "ho-2"}); err != nil || p.Standing != Never {
		t.Errorf("of another host: %+v, %v", p, err)
	}
	at := b.now
	h := Human{What: "金庫から鍵を出す", From: at, Until: at.Add(10 * time.Minute)}
	if err := b.AddHuman(t.Context(), r.ID, h, anna); fault.Of(err) != fault.Invalid {
		t.Errorf("a step that is not over: %v", err)
	}
	b.now = at.Add(time.Hour)
	b.ok(b.AddHuman(t.Context(), r.ID, h, anna))
	b.ok(b.AddHuman(t.Context(), r.ID, Human{What: "電話", From: at.Add(5 * time.Minute), Until: at.Add(15 * time.Minute)}, anna))
	m, err := b.Measurements(t.Context(), Of{Class: "カルテ"}, 0)
	if b.ok(err); len(m) != 1 || m[0].Bytes != r.Bytes || m[0].Files != r.Files || m[0].Seconds <= 0 || m[0].HumanSeconds != 900 || m[0].Streams != 1 {
		t.Errorf("%+v", m)
	}
	for days, want := range map[int]Standing{3: Proven, 10: Stale, 400: Old} {
		b.now = at.AddDate(0, 0, days)
		if p, err := b.LastProven(t.Context(), Of{Class: "カルテ"}); err != nil || p.Standing != want {
			t.Errorf("after %d days: %+v, %v", days, p, err)
		}
	}
}

func TestADamagedRepositoryIsNamed(t *testing.T) {
	statetest.OnlySQLite(t, heavy)
	b := newBench(t)
	src := t.TempDir()
	restictest.Write(t, filepath.Join(src, "a"), restictest.Noise(200_000))
	b.program.Run(t, "init")
	b.program.Run(t, "backup", src)
	read := b.define(Definition{Level: Bytes})
	if r := b.hold(read); r.State != Passed || r.Compared == 0 {
		t.Errorf("%+v", r)
	}
	packs, err := filepath.Glob(filepath.Join(b.program.Repo, "data", "*", "*"))
	b.ok(err)
	for _, p := range packs {
		flipByte(t, p, 40)
	}
	wants(t, b.hold(read), Failed, "offset")
	wants(t, b.hold(b.define(Definition{Level: Files})), Failed, "")
}

func TestDrillsRunByTheirSchedule(t *testing.T) {
	b := newBench(t)
	b.err = fault.New(fault.Missing, "protect.drill.no-source")
	n := b.define(Definition{Level: Files, Days: 2, Hour: 3})
	runs := func() int {
		t.Helper()
		b.ok(b.Look(t.Context()))
		all, err := b.Runs(t.Context(), n.ID, 0, 0)
		b.ok(err)
		return len(all)
	}
	for _, tt := range []struct {
		at   time.Time
		want int
	}{
		{time.Date(2026, 11, 23, 2, 59, 0, 0, clock.Tokyo()), 0},
		{time.Date(2026, 11, 23, 3, 0, 0, 0, clock.Tokyo()), 1},
		{time.Date(2026, 11, 24, 4, 0, 0, 0, clock.Tokyo()), 1},
		{time.Date(2026, 11, 25, 3, 0, 10, 0, clock.Tokyo()), 2},
		{time.Date(2026, 11, 25, 3, 5, 0, 0, clock.Tokyo()), 2},
	} {
		b.now = tt.at
		if got := runs(); got != tt.want {
			t.Errorf("at %v: %d runs, want %d", tt.at, got, tt.want)
		}
	}
	b.ok(b.Retire(t.Context(), n.ID, "サーバーを廃止した", anna))
	b.now = b.now.AddDate(0, 1, 0)
	if got := runs(); got != 2 {
		t.Errorf("%d runs after it was retired", got)
	}
	if _, err := b.Ask(t.Context(), n.ID, anna); fault.Of(err) != fault.Conflict {
		t.Errorf("asked for a retired one: %v", err)
	}
	if _, err := b.Revise(t.Context(), n, anna); fault.Of(err) != fault.Conflict {
		t.Errorf("revised a retired one: %v", err)
	}
}

func TestARunThatAHubLeftIsNotAProof(t *testing.T) {
	b := newBench(t)
	n := b.define(Definition{Level: Files})
	r, err := b.Ask(t.Context(), n.ID, anna)
	b.ok(err)
	if _, err := b.Ask(t.Context(), n.ID, anna); fault.Of(err) != fault.Conflict {
		t.Errorf("asked twice: %v", err)
	}
	b.ok(b.alter(t.Context(), r.ID, Schedule, func(r *Run) error { r.State = Running; return nil }))
	dir, err := b.scratch(r.ID)
	b.ok(err)
	restictest.Write(t, filepath.Join(dir, restoredIn, "patient"), []byte("x"))
	b.ok(b.tidy(t.Context()))
	got, err := b.Run(t.Context(), r.ID)
	b.ok(err)
	wants(t, got, Impossible, "interrupted")
	if left, _ := filepath.Glob(filepath.Join(b.Dir, "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := b.Cancel(t.Context(), r.ID, anna); fault.Of(err) != fault.Conflict {
		t.Errorf("cancelled what is over: %v", err)
	}
	again, err := b.Ask(t.Context(), n.ID, anna)
	b.ok(err)
	b.ok(b.Cancel(t.Context(), again.ID, anna))
	b.ok(b.Look(t.Context()))
	got, err = b.Run(t.Context(), again.ID)
	b.ok(err)
	wants(t, got, Impossible, "cancelled")
	if _, told := got.Finding(); told {
		t.Error("people are told of what somebody cancelled")
	}
}

func TestAWholeEndsAtTheFirstThatDoesNotPass(t *testing.T) {
	statetest.OnlySQLite(t, heavy)
	b := newBench(t)
	src := t.TempDir()
	restictest.Write(t, filepath.Join(src, "a"), []byte("a"))
	b.program.Run(t, "init")
	b.program.Run(t, "backup", src)
	good, bad := b.define(Definition{Name: "AD", Level: Files}), b.define(Definition{Name: "EMR", Level: Files, Paths: []string{"/nonexistent"}})
	passed := b.hold(b.define(Definition{Level: Whole, Parts: []string{good.ID}}))
	if wants(t, passed, Passed, ""); len(passed.Parts) != 1 || passed.Files != 1 {
		t.Errorf("%+v", passed)
	}
	if r := b.hold(b.define(Definition{Level: Whole, Parts: []string{bad.ID, good.ID}})); r.State != Failed || len(r.Parts) != 1 {
		t.Errorf("%+v", r)
	}
}

func TestEveryVersionHasItsLeaf(t *testing.T) {
	b := newBench(t)
	b.err = fault.New(fault.Missing, "protect.drill.no-source")
	n := b.define(Definition{Level: Files})
	n.Every = 5
	_, err := b.Revise(t.Context(), n, anna)
	b.ok(err)
	b.hold(n)
	verify := func() int {
		t.Helper()
		found, err := VerifyRows(t.Context(), b.db, func(string) []leaf.Leaf { return nil }) // all leaves are still in the outbox
		b.ok(err)
		return len(found)
	}
	if got := verify(); got != 0 {
		t.Errorf("%d differences in what nobody touched", got)
	}
	b.ok(b.db.Tx(t.Context(), func(tx *state.Tx) error {
		_, err := tx.ExecContext(t.Context(), `UPDATE drill_record SET body = REPLACE(body, 'could-not-run', 'passed'), state = REPLACE(state, 'could-not-run', 'passed')`)
		return err
	}))
	if got := verify(); got == 0 {
		t.Error("a run that was made to have passed is not noticed")
	}
}

func TestChecksAreReadAsPeopleWriteThem(t *testing.T) {
	text := "emr: SELECT count(*) FROM patient => 1000..\nemr: SELECT max(v) FROM x WHERE a >= 1 => = 7.2 beta\nother: SELECT 1 => 1\nemr: SELECT 2 => ..9.5\nemr: SELECT 3 => 1..2\n"
	all, err := ParseChecks(text)
	if err != nil || len(all) != 5 {
		t.Fatalf("%v, %v", all, err)
	}
	if got := ChecksText(all); got != text {
		t.Errorf("written anew:\n%s", got)
	}
	for _, bad := range []string{"emr SELECT 1 => 1", "emr: SELECT 1", "emr: SELECT 1 => x", "emr: SELECT 1 => ..", "emr: SELECT 1 => =", "=>"} {
		if _, err := ParseChecks(bad); fault.Of(err) != fault.Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzParseChecks(f *testing.F) {
	f.Add("emr: SELECT count(*) FROM patient => 1000..\nemr: SELECT 1 => = x")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := ParseChecks(text)
		if err != nil {
			return
		}
		again, err := ParseChecks(ChecksText(all))
		if err != nil || ChecksText(again) != ChecksText(all) {
			t.Errorf("%q: %v, %v", text, again, err)
		}
	})
}
