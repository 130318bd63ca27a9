package restore

import (
	"archive/tar"
	"bytes"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/protect/restic/restictest"
	"github.com/sonae/sonae/state/statetest"
)

// night is when the base backup of the tests begins.
var night = time.Date(2026, 11, 20, 1, 0, 0, 0, time.Local)

func at(clock string) time.Time {
	off, err := time.ParseDuration(clock)
	if err != nil {
		panic(err)
	}
	return night.Add(off)
}

// baseTar is what pg_basebackup writes: the label first, the manifest last and
// larger than one piece of a repository.
func baseTar(t *testing.T, begins string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	add := func(name string, content []byte, at time.Time) {
		t.Helper()
		err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(content)), ModTime: at, Format: tar.FormatUSTAR})
		if _, e := w.Write(content); errors.Join(err, e) != nil {
			t.Fatal(err, e)
		}
	}
	add("backup_label", []byte("START WAL LOCATION: 0/5000028 (file "+begins+")\nCHECKPOINT LOCATION: 0/5000060\n"), night)
	add("base/1/1259", restictest.Noise(3<<20), night)
	add("backup_manifest", restictest.Noise(5<<20), at("5m"))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// cluster is a repository with base backups and the WAL of two servers.
type cluster struct {
	*house
	dir      string
	at       []time.Time // of the snapshots
	emr, lab string      // folders of WAL
}

const (
	fifth = "000000010000000000000005"
	tenth = "00000001000000000000000A"
)

func gatheredCluster(t *testing.T) *cluster {
	t.Helper()
	dir := t.TempDir()
	c := &cluster{dir: dir, emr: filepath.Join(dir, "wal", "local_5432"), lab: filepath.Join(dir, "wal", "lab_5433")}
	s := &stock{dir: filepath.Join(t.TempDir(), "repo")}
	p := restictest.Newest(t).At(s.dir)
	p.Run(t, "init")
	save := func(when time.Time, path string) {
		t.Helper()
		p.Run(t, "backup", "--host", "emr-1", "--time", when.Format(time.DateTime), path)
		c.at = append(c.at, when)
	}
	write := func(folder string, files map[string]string) {
		for name, content := range files {
			restictest.Write(t, filepath.Join(folder, name), []byte(content))
		}
	}
	says := func(when time.Time) map[string]string {
		return map[string]string{job.WALReaches: when.UTC().Format("2006-01-02T15:04:05.000000Z")}
	}
	write(c.emr, map[string]string{"000000010000000000000004": "four", fifth + ".partial": "fi", "last-base": tenth})
	write(c.emr, says(at("-10m30s")))
	save(at("-10m"), c.emr)
	for name, begins := range map[string]string{"emr": fifth, "gone": tenth} {
		restictest.Write(t, filepath.Join(dir, name+".base.tar"), baseTar(t, begins))
	}
	restictest.Write(t, filepath.Join(dir, "half.base.tar"), baseTar(t, fifth)[:4<<20])
	save(night, filepath.Join(dir, "emr.base.tar"))
	save(at("1s"), filepath.Join(dir, "gone.base.tar"))
	save(at("2s"), filepath.Join(dir, "half.base.tar"))
	write(c.emr, map[string]string{fifth: "five " + signature, "000000010000000000000006.partial": "si"})
	write(c.emr, says(at("14m30s")))
	save(at("15m"), c.emr)
	write(c.lab, map[string]string{"00000001000000000000000C": "twelve"})
	write(c.lab, says(at("19m30s")))
	save(at("20m"), c.lab)
	write(c.emr, says(at("29m30s")))
	save(at("30m"), c.emr)
	s.open(t, len(c.at))
	c.house = startOn(t, s)
	return c
}

// snapshot is that of a time.
func (c *cluster) snapshot(when time.Time) string { return c.ids[slices.Index(c.at, when)] }

func (c *cluster) wants(name string, taken, moment time.Time) NewRequest {
	return NewRequest{Site: "hq", From: Where{Agent: "emr-1", Snapshot: c.snapshot(taken)}, Paths: []string{filepath.Join(c.dir, name)}, Target: "/srv/back",
		Load: &job.Loading{Kind: job.PostgreSQLBase, Moment: moment}, Download: 500, Reason: "an UPDATE without its WHERE"}
}

// The WAL that leads to a moment is found: the oldest that reaches it. What cannot
// be had is refused, and it is said what can.
func TestTheWALThatLeadsToAMomentIsFound(t *testing.T) {
	statetest.OnlySQLite(t, "it is about the repository")
	c := gatheredCluster(t)
	emr := func(moment time.Time) NewRequest { return c.wants("emr.base.tar", night, moment) }
	for name, tt := range map[string]struct {
		n    NewRequest
		wal  time.Time // of the snapshot
		key  string    // of the refusal
		says string
	}{
		"soon after the base backup":            {emr(at("5m1s1ns")), time.Time{}, "protect.restore.moment-early", shownTime(at("5m1s"))},
		"a little later":                        {emr(at("5m2s")), at("15m"), "", ""},
		"until what a run says":                 {emr(at("14m30s")), at("15m"), "", ""},
		"later than it says, before it is over": {emr(at("14m45s")), at("30m"), "", ""},
		"the last moment":                       {emr(at("29m30s")), at("30m"), "", ""},
		"after the last":                        {emr(at("29m30s1us")), time.Time{}, "protect.restore.moment-late", shownTime(at("29m30s"))},
		"in the future":                         {emr(at("24h")), time.Time{}, "protect.restore.moment-late", shownTime(at("29m30s"))},
		"before the base backup":                {emr(at("-5m")), time.Time{}, "protect.restore.moment-early", shownTime(at("5m1s"))},
		"WAL that was let go":                   {c.wants("gone.base.tar", at("1s"), at("10m")), time.Time{}, "protect.restore.wal-none", ""},
		"half a base backup":                    {c.wants("half.base.tar", at("2s"), at("10m")), time.Time{}, "protect.restore.moment-base", ""},
		"what is none": {func() NewRequest {
			n := emr(at("10m"))
			n.From.Snapshot, n.Paths = c.snapshot(at("15m")), []string{filepath.Join(c.emr, fifth)}
			return n
		}(), time.Time{}, "protect.restore.moment-base", ""},
		"a dump": {func() NewRequest {
			n := emr(at("10m"))
			n.Load = &job.Loading{Kind: job.PostgreSQL, Database: "emr", Moment: at("10m")}
			return n
		}(), time.Time{}, "protect.restore.moment-base", ""},
		"WAL without a moment": {func() NewRequest {
			n := emr(time.Time{})
			n.Load.WAL = &job.WAL{Path: c.emr}
			return n
		}(), time.Time{}, "protect.restore.load", ""},
		"another folder of WAL": {func() NewRequest {
			n := emr(at("10m"))
			n.Load.WAL = &job.WAL{Path: c.lab}
			return n
		}(), time.Time{}, "protect.restore.wal-none", ""},
	} {
		r, err := c.Ask(t.Context(), tt.n, anna)
		if tt.key == "" {
			if err != nil || *r.WAL() != (job.WAL{Snapshot: c.snapshot(tt.wal), Path: c.emr}) || r.Latest() != r.WAL().Snapshot || r.Job().Check() != nil || !r.Load.Moment.Equal(tt.n.Load.Moment) {
				t.Errorf("%s: %+v, %v", name, r.Load, err)
			}
			continue
		}
		var f *fault.Error
		if !errors.As(err, &f) || f.Key != tt.key || tt.says != "" && !strings.Contains(f.Args[0].(string), tt.says) {
			t.Errorf("%s: %v, want %s %s", name, err, tt.key, tt.says)
		}
	}
}

// Two servers whose WAL has the same names cannot be told apart by them: a person
// says which folder is meant.
func TestAmongSeveralFoldersOfWALAPersonChooses(t *testing.T) {
	statetest.OnlySQLite(t, "it is about the repository")
	c := gatheredCluster(t)
	twin := filepath.Join(c.dir, "wal", "twin_5434")
	restictest.Write(t, filepath.Join(twin, fifth), []byte("of a twin"))
	restictest.Newest(t).At(c.house.dir).Run(t, "backup", "--host", "emr-1", "--time", at("25m").Format(time.DateTime), twin)
	c.at = slices.Insert(c.at, len(c.at)-1, at("25m"))
	c.stock.open(t, len(c.at))
	c.house = startOn(t, c.stock)
	n := c.wants("emr.base.tar", night, at("10m"))
	var f *fault.Error
	if _, err := c.Ask(t.Context(), n, anna); !errors.As(err, &f) || f.Key != "protect.restore.wal-several" || f.Args[0] != c.emr+" "+twin {
		t.Errorf("%v", err)
	}
	n.Load.WAL = &job.WAL{Path: twin}
	if r, err := c.Ask(t.Context(), n, anna); err != nil || r.WAL().Path != twin || r.WAL().Snapshot != c.snapshot(at("25m")) {
		t.Errorf("%+v, %v", r.Load, err)
	}
}

// WAL is looked at like everything that comes to a machine; and a machine that did
// not lead the cluster to the moment has not done what was asked for.
func TestTheWALIsScannedAndTheMomentIsReached(t *testing.T) {
	statetest.OnlySQLite(t, "it is about the repository")
	c := gatheredCluster(t)
	for name, tt := range map[string]struct {
		moment time.Time
		want   State
	}{
		"an agent that knows no moments": {time.Time{}, Failure},
		"another moment":                 {at("11m"), Failure},
		"the moment":                     {at("10m"), Restored},
	} {
		r, err := c.Ask(t.Context(), c.wants("emr.base.tar", night, at("10m")), anna)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Approve(t.Context(), r.ID, ben); err != nil {
			t.Fatal(err)
		}
		c.works()
		got := c.is(r.ID, Held)
		if got.Scan.Finds != 1 || got.Scan.Found[0].Path != filepath.Join(c.emr, fifth) || got.Scan.Files != 7 {
			t.Fatalf("%+v", got.Scan)
		}
		if _, err := c.Pass(t.Context(), r.ID, "it is a picture in a table", ben); err != nil {
			t.Fatal(err)
		}
		c.works()
		sent := c.sent[len(c.sent)-1]
		if sent.Check() != nil || sent.Limits.Download != 500 || sent.Restore.Load.WAL.Path != c.emr {
			t.Errorf("sent %+v", sent)
		}
		done := job.Result{Job: r.ID, Kind: job.Restore, State: job.OK, Restore: &job.Restored{Files: 7, Verified: 7, Loaded: "/srv/back.cluster", Moment: tt.moment}}
		if err := c.Ended(t.Context(), "emr-1", done); err != nil {
			t.Fatal(err)
		}
		if got, err := c.Request(t.Context(), r.ID); err != nil || got.State != tt.want {
			t.Errorf("%s: %s %s, %v", name, got.State, got.Why, err)
		}
	}
}
