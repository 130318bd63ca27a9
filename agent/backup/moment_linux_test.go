package backup_test

import (
	"archive/tar"
	"cmp"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sonae/sonae/agent/linktest"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/protect/restic/restictest"
)

// A base backup and the WAL that was gathered since come back as a folder on which
// a server starts at the moment before a wrong UPDATE: it waits there, people read
// what was there, and only their word makes it go its own way. The base backup is
// that of a server whose configuration lies elsewhere, and who set a moment once
// before.
func TestAnOrderBringsPostgreSQLBackToAMoment(t *testing.T) {
	c := startCluster(t)
	b := setUp(t, restictest.Newest(t).Path)
	c.must(c.sql("postgres", "CREATE TABLE visits AS SELECT n, 'before ' || n AS note FROM generate_series(1, 1000) n"))
	c.must(c.sql("postgres", "ALTER SYSTEM SET recovery_target_name = 'long ago'"))
	for _, name := range []string{"postgresql.conf", "pg_hba.conf"} { // it has read them
		c.must(exec.Command("mv", filepath.Join(c.data, name), c.base))
	}
	base, wal := c.source(job.PostgreSQLBase), c.source(job.PostgreSQLWAL)
	wal.Name = "emr-wal"
	base.Dir, wal.Dir = c.base+"/wal", c.base+"/wal"
	saved := func(sources ...job.Source) job.Snapshot {
		t.Helper()
		r := b.do(job.Job{Kind: job.Backup, Sources: sources})
		if r.State != job.OK {
			t.Fatalf("%+v", r)
		}
		return r.Sources[0].Snapshots[0]
	}
	saved(wal)
	began := time.Now().Truncate(time.Second)
	whole := saved(base)
	ended := time.Now()
	c.must(c.sql("postgres", "INSERT INTO visits SELECT n, 'since ' || n FROM generate_series(1001, 1500) n; SELECT pg_switch_wal()"))
	const digest = "SELECT count(*) || ' ' || md5(string_agg(n || note, ',' ORDER BY n)) FROM visits"
	want := c.must(c.sql("postgres", digest))
	moment := c.moment()
	c.must(c.sql("postgres", "UPDATE visits SET note = ''")) // the WHERE was forgotten
	gathered := saved(wal)
	if reaches, err := os.ReadFile(filepath.Join(wal.Dir, job.WALReaches)); err != nil || !after(t, string(reaches), moment) {
		t.Errorf("it is said that the WAL reaches %s, %v; not beyond %s", reaches, err, moment)
	}

	to := c.base + "/back 100%'s"
	order := func(to string, change func(*job.Loading)) job.Job {
		j := back(whole, to)
		j.Restore.Include = []string{whole.Path}
		j.Restore.Load = &job.Loading{Kind: job.PostgreSQLBase, Server: c.base, Port: 15433, User: "nobody", Moment: moment, WAL: &job.WAL{Snapshot: gathered.ID, Path: wal.Dir}}
		if change != nil {
			change(j.Restore.Load)
		}
		return j
	}
	got := b.do(order(to, nil))
	r := got.Restore
	if got.State != job.OK || r.Loaded != to+".cluster" || !r.Moment.Equal(moment) || r.Server != filepath.Base(filepath.Dir(c.bin)) || r.Files < 4 || r.Verified != r.Files {
		t.Fatalf("%+v %+v", got, r)
	}
	begins, ends := inTar(t, filepath.Join(to, whole.Path))
	if begins.Name != "backup_label" || ends.Name != "backup_manifest" || ends.ModTime.Before(began) || ends.ModTime.After(ended) {
		t.Errorf("the hub, which reads them, finds %s at the begin and %s of %s at the end of a base backup that was made from %s to %s", begins.Name, ends.Name, ends.ModTime, began, ended)
	}
	if left, _ := filepath.Glob(filepath.Join(b.dir, "backup", "spared-*")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
	c.stop()
	dir := to + ".cluster" // as the page says, but for where its socket is
	c.must(c.cmd("pg_ctl", "start", "-t", "600", "-D", dir, "-l", dir+"/recovery.log", "-o", "-p 15433 -c listen_addresses= -c archive_mode=off -c hot_standby=on -c unix_socket_directories="+c.base))
	c.stop = sync.OnceFunc(func() { _ = c.cmd("pg_ctl", "stop", "-m", "fast", "-D", dir).Run() })
	t.Cleanup(c.stop)
	linktest.Await(t, "the moment", func() bool { return c.must(c.sql("postgres", "SELECT pg_is_wal_replay_paused()")) == "t" })
	if got := c.must(c.sql("postgres", digest)); got != want {
		t.Errorf("at the moment there is %s, want %s", got, want)
	}
	if out, err := c.sql("postgres", "DELETE FROM visits").CombinedOutput(); err == nil || !strings.Contains(string(out), "read-only") {
		t.Errorf("it can be written to before anybody said so: %s, %v", out, err)
	}
	c.must(c.sql("postgres", "SELECT pg_wal_replay_resume()"))
	linktest.Await(t, "the end of the recovery", func() bool { return c.must(c.sql("postgres", "SELECT pg_is_in_recovery()")) == "f" })
	c.must(c.sql("postgres", "INSERT INTO visits VALUES (0, '')"))
	if got := c.must(c.sql("postgres", "SELECT count(*) FROM visits WHERE note <> ''")); got != "1500" {
		t.Errorf("it holds %s rows of before", got)
	}
	c.stop()

	// what is there is left alone, and said before anything comes back
	if got := b.do(order(to, nil)); got.State != job.Failed || !strings.Contains(got.Error, to+".cluster") || got.Restore.Files > 0 {
		t.Errorf("into folders that are there: %+v %+v", got, got.Restore)
	}
	other := c.base + "/other"
	if err := os.Mkdir(other+".wal", 0o700); err != nil {
		t.Fatal(err)
	}
	if got := b.do(order(other, nil)); got.State != job.Failed || !strings.Contains(got.Error, other+".wal") {
		t.Errorf("into WAL that somebody left: %+v", got)
	}
	if _, err := os.Lstat(other + ".cluster"); err == nil {
		t.Error("a cluster was made that has no WAL")
	}
	strange := saved(job.Source{Name: "elsewhere", Kind: job.Folder, Paths: []string{c.another(wal.Dir)}})
	got = b.do(order(c.base+"/third", func(l *job.Loading) { l.WAL = &job.WAL{Snapshot: strange.ID, Path: c.base + "/strange"} }))
	if got.State != job.Failed || !strings.Contains(got.Error, "another server") || got.Restore.Loaded != "" {
		t.Errorf("WAL of another server: %+v", got)
	}
	if _, err := os.Lstat(c.base + "/third.cluster"); err == nil {
		t.Error("a cluster stays that leads to no moment")
	}
}

// inTar is what a tar begins and ends with.
func inTar(t *testing.T, at string) (begins, ends *tar.Header) {
	t.Helper()
	f, err := os.Open(at)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return begins, ends
		}
		if err != nil {
			t.Fatal(err)
		}
		begins, ends = cmp.Or(begins, h), h
	}
}

// moment is now, by the clock of the server.
func (c *cluster) moment() time.Time {
	c.t.Helper()
	at, err := time.Parse("2006-01-02 15:04:05.999999-07", c.must(c.sql("postgres", "SELECT clock_timestamp()")))
	if err != nil {
		c.t.Fatal(err)
	}
	return at
}

func after(t *testing.T, said string, at time.Time) bool {
	t.Helper()
	reaches, err := time.Parse(time.RFC3339Nano, said)
	if err != nil {
		t.Fatal(err)
	}
	return reaches.After(at)
}

// another is a folder of WAL with the names of this one, as a server that is as old
// would write it: each file knows another server.
func (c *cluster) another(wal string) string {
	c.t.Helper()
	to := c.base + "/strange"
	c.must(exec.Command("cp", "-a", wal, to))
	files, err := os.ReadDir(to)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, f := range files {
		at := filepath.Join(to, f.Name())
		raw, err := os.ReadFile(at)
		if err != nil {
			c.t.Fatal(err)
		}
		if len(raw) > 1<<20 {
			raw[24] ^= 1
			restictest.Write(c.t, at, raw)
		}
	}
	return to
}
