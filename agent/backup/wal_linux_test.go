package backup_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/protect/restic/restictest"
)

// A server in use is brought back to the moment before a wrong UPDATE, from a
// base backup and the WAL that was gathered since, with stock restic and
// PostgreSQL's own means alone. WAL that no kept base backup needs goes.
func TestPostgreSQLComesBackToAnyMoment(t *testing.T) {
	c := startCluster(t)
	b := setUp(t, restictest.Newest(t).Path)
	c.must(c.sql("postgres", "CREATE TABLE visits (n int PRIMARY KEY, note text)"))
	base, wal := c.source(job.PostgreSQLBase), c.source(job.PostgreSQLWAL)
	wal.Name = "emr-wal"
	base.Dir, wal.Dir = c.base+"/wal", c.base+"/wal"
	do := func(sources ...job.Source) job.Result {
		t.Helper()
		return b.do(job.Job{Kind: job.Backup, Sources: sources})
	}
	good := func(sources ...job.Source) []job.SourceResult {
		t.Helper()
		r := do(sources...)
		if r.State != job.OK {
			t.Fatalf("%+v", r)
		}
		return r.Sources
	}
	segments := func() (out []string) {
		all, err := os.ReadDir(wal.Dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range all {
			if len(f.Name()) == 24 {
				out = append(out, f.Name())
			}
		}
		return out
	}
	first := c.must(c.sql("postgres", "INSERT INTO visits SELECT n, 'before ' || n FROM generate_series(1, 1000) n; SELECT pg_walfile_name(pg_current_wal_lsn())"))
	good(wal) // from here on nothing is missed
	c.must(c.sql("postgres", "SELECT pg_switch_wal()"))
	good(base)
	c.must(c.sql("postgres", "INSERT INTO visits SELECT n, 'between ' || n FROM generate_series(1001, 1500) n; SELECT pg_switch_wal()"))
	good(wal)
	if got := segments(); len(got) == 0 || got[0] != strings.TrimPrefix(first, "INSERT 0 1000\n") {
		t.Errorf("WAL begins with %v, not with %s", got, first)
	}

	ctx, stop := context.WithCancel(t.Context())
	wrote := make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			if err := c.sql("postgres", "INSERT INTO visits SELECT max(n) + 1, 'during' FROM visits").Run(); err != nil {
				wrote <- err
				return
			}
		}
		wrote <- nil
	}()
	second := good(base)
	if got := segments(); len(got) > 0 && got[0] == strings.TrimPrefix(first, "INSERT 0 1000\n") {
		t.Errorf("WAL that only an older base backup needs stays: %v", got)
	}
	time.Sleep(100 * time.Millisecond) // some more rows
	stop()
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
	const digest = "SELECT count(*) || ' ' || md5(string_agg(n || note, ',' ORDER BY n)) FROM visits"
	want := c.must(c.sql("postgres", digest))
	moment := c.must(c.sql("postgres", "SELECT clock_timestamp()"))
	c.must(c.sql("postgres", "UPDATE visits SET note = ''")) // the WHERE was forgotten
	last := good(wal)[0]
	if s := last.Snapshots[0]; s.Files < 2 || !s.Complete {
		t.Errorf("%+v", s)
	}

	to := b.stock(append(second[0].Snapshots, last.Snapshots...)...)
	whole := c.base + "/whole"
	c.must(exec.Command("chmod", "711", to)) // its account must be able to enter
	c.must(exec.Command("cp", "-a", filepath.Join(to, wal.Dir), c.base+"/from"))
	c.must(exec.Command("install", "-d", "-o", "nobody", "-m", "700", whole))
	c.must(exec.Command("tar", "-xf", to+"/emr-db.base.tar", "-C", whole))
	restictest.Write(t, whole+"/recovery.signal", nil)
	settings, err := os.OpenFile(whole+"/postgresql.auto.conf", os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	from := c.base + "/from/%f"
	if _, err := settings.WriteString("restore_command = 'cp " + from + " \"%p\" || cp " + from + ".partial \"%p\"'\nrecovery_target_time = '" + moment + "'\nrecovery_target_action = 'promote'\n"); err != nil {
		t.Fatal(err)
	}
	if err := settings.Close(); err != nil {
		t.Fatal(err)
	}
	c.must(exec.Command("chown", "-R", "nobody", whole, c.base+"/from"))
	c.stop()
	c.serve(whole)
	if got := c.must(c.sql("postgres", digest)); got != want {
		t.Errorf("came back %s, want %s", got, want)
	}

	c.stop()
	if r := do(wal, base); r.State != job.Failed || len(r.Sources[0].Snapshots)+len(r.Sources[1].Snapshots) > 0 || !strings.Contains(r.Sources[0].Errors[0], "connection") {
		t.Errorf("a server that is down: %+v", r)
	}
	c.serve(c.data)
	c.must(c.sql("postgres", "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"))
	for range 3 { // the server lets go of what nobody asks for
		c.must(c.sql("postgres", "UPDATE visits SET note = note || '.'; SELECT pg_switch_wal()"))
	}
	c.must(c.sql("postgres", "CHECKPOINT"))
	c.must(c.sql("postgres", "CHECKPOINT"))
	if r := do(wal); r.State != job.Failed || len(r.Sources[0].Snapshots) > 0 || !strings.Contains(r.Sources[0].Errors[0], "make a base backup") {
		t.Errorf("a gap in the WAL: %+v", r)
	}
}
