package drill

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/protect/restic/restictest"
	"github.com/sonae/sonae/state/statetest"
)

// A read of every byte restores nothing: it neither proves what was never
// restored nor freshens an old proof.
func TestReadingARepositoryProvesNoRestore(t *testing.T) {
	statetest.OnlySQLite(t, heavy)
	b := newBench(t)
	src := t.TempDir()
	restictest.Write(t, filepath.Join(src, "a"), restictest.Noise(200_000))
	b.program.Run(t, "init")
	b.program.Run(t, "backup", "--tag", "policy:bp-1", "--tag", "job:br-1", "--tag", "source:data", src)
	read := b.define(Definition{Level: Bytes, Class: "カルテ"})
	wants(t, b.hold(read), Passed, "")
	if p, err := b.LastProven(t.Context(), Of{Host: "ho-1"}); err != nil || p.Standing != Never || !p.At.IsZero() {
		t.Errorf("read, and never restored: %+v, %v", p, err)
	}
	files := b.define(Definition{Level: Files, Class: "カルテ"})
	r := b.hold(files)
	wants(t, r, Passed, "")
	if diff := cmp.Diff([]Thing{{"bp-1", "data"}}, r.Snapshot.Of); diff != "" {
		t.Error(diff)
	}
	all, err := b.Shown(t.Context(), "ho-1")
	if b.ok(err); len(all) != 1 || !all[0].Passed || all[0].Run != r.ID || all[0].Policy != "bp-1" || all[0].Source != "data" {
		t.Errorf("%+v", all)
	}
	b.now = b.now.AddDate(1, 2, 0)
	wants(t, b.hold(read), Passed, "") // fourteen months later
	if p, err := b.LastProven(t.Context(), Of{Class: "カルテ"}); err != nil || p.Standing != Old || !p.At.Equal(r.EndedAt) || p.Level != Files || p.Run != r.ID {
		t.Errorf("an old restore beside a fresh read: %+v, %v", p, err)
	}
	other := b.define(Definition{Level: Files, Class: "カルテ", Every: 1})
	wants(t, b.hold(other), Passed, "")
	if p, err := b.LastProven(t.Context(), Of{Class: "カルテ"}); err != nil || p.Standing != Old || !p.At.Equal(r.EndedAt) {
		t.Errorf("of two drills the worst counts: %+v, %v", p, err)
	}
	packs, err := filepath.Glob(filepath.Join(b.program.Repo, "data", "*", "*"))
	b.ok(err)
	for _, p := range packs {
		flipByte(t, p, 40)
	}
	wants(t, b.hold(read), Failed, "")
	if p, err := b.LastProven(t.Context(), Of{Host: "ho-1"}); err != nil || p.Standing != NotProven {
		t.Errorf("damage that a read found: %+v, %v", p, err)
	}
	if all, err = b.Shown(t.Context(), "ho-1"); err != nil || len(all) != 3 || all[0].Passed || all[0].Level != Bytes {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestWhatADrillShowedLast(t *testing.T) {
	n := Definition{ID: "rd-1", Host: "ho-1", Class: "cl-1", Level: Files, Paths: []string{"/srv"}}
	run := func(id string, s State, days int, of ...Thing) Run {
		r := Run{ID: id, State: s, Definition: n, EndedAt: start.AddDate(0, 0, days)}
		if of != nil {
			r.Snapshot = &Taken{Of: of}
		}
		return r
	}
	moved := run("rr-moved", Passed, 0, Thing{"bp-1", "db"})
	moved.Definition.Host = "ho-2"
	a, b := Thing{"bp-1", "db"}, Thing{"bp-2", "files"}
	for name, tt := range map[string]struct {
		runs []Run // the newest first
		want []string
	}{
		"never":                          {nil, nil},
		"could not run":                  {[]Run{run("rr-1", Impossible, 0)}, nil},
		"the newest of each":             {[]Run{run("rr-4", Passed, 0, a), run("rr-3", Passed, -1, b), run("rr-2", Failed, -2, a), run("rr-1", Passed, -3, b)}, []string{"bp-1 db rr-4 true", "bp-2 files rr-3 true"}},
		"failed on one":                  {[]Run{run("rr-3", Failed, 0, a), run("rr-2", Passed, -1, b), run("rr-1", Passed, -2, a)}, []string{"bp-1 db rr-3 false", "bp-2 files rr-2 true"}},
		"failed before it knew on what":  {[]Run{run("rr-3", Failed, 0), run("rr-2", Passed, -1, b), run("rr-1", Passed, -2, a)}, []string{"bp-2 files rr-3 false", "bp-1 db rr-3 false"}},
		"mended since":                   {[]Run{run("rr-3", Passed, 0, a), run("rr-2", Failed, -1), run("rr-1", Passed, -2, a)}, []string{"bp-1 db rr-3 true"}},
		"two snapshots in one":           {[]Run{run("rr-1", Passed, 0, a, Thing{"bp-1", "wal"})}, []string{"bp-1 db rr-1 true", "bp-1 wal rr-1 true"}},
		"only failures, nobody knows of": {[]Run{run("rr-2", Failed, 0), run("rr-1", Failed, -1)}, []string{"  rr-2 false"}},
		"of the machine it was of once":  {[]Run{moved}, nil},
	} {
		var got []string
		for _, s := range shown(n, tt.runs) {
			passed := " false"
			if s.Passed {
				passed = " true"
			}
			got = append(got, s.Policy+" "+s.Source+" "+s.Run+passed)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
