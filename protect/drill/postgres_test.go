package drill

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/protect/restic/restictest"
	"github.com/sonae/sonae/state/statetest"
)

// origin is a cluster that is in use: what is backed up.
type origin struct {
	t   *testing.T
	c   *cell
	bin string
	srv *process
}

// newOrigin makes and starts one with an archive of pgBackRest.
func newOrigin(t *testing.T, settings string) *origin {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil || len(found) == 0 {
		t.Fatalf("no PostgreSQL on this machine: %v (Debian's package postgresql)", err)
	}
	c, err := newCell(scratchOf(t))
	if err != nil {
		t.Fatal(err)
	}
	o := &origin{t: t, c: c, bin: found[len(found)-1]}
	for _, name := range []string{"data", "sock", "base", "repo", "lock"} {
		if err := c.folder(name); err != nil {
			t.Fatal(err)
		}
	}
	o.run(o.bin+"/initdb", "-D", inside+"/data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-k", "--no-sync", "--no-instructions")
	args := []string{"-D", inside + "/data", "-c", "listen_addresses=", "-c", "unix_socket_directories=" + socket, "-c", "fsync=off"}
	if settings != "" {
		if err := os.WriteFile(filepath.Join(c.dir, "data", "postgresql.auto.conf"), []byte(settings), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := c.command(o.bin+"/postgres", args...)
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if o.srv, err = launch(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.srv.stop(unix.SIGQUIT, 10*time.Second) })
	await(t, "the cluster is up", func() bool {
		_, _, rc, err := call(context.Background(), c.command(o.bin+"/psql", "-XAtq", "-h", socket, "-U", "postgres", "-c", "SELECT 1"))
		return err == nil && rc == 0
	})
	return o
}

// run runs a program beside the cluster, which must work.
func (o *origin) run(name string, args ...string) string {
	o.t.Helper()
	out, stderr, rc, err := call(o.t.Context(), o.c.command(name, args...))
	if err != nil || rc != 0 {
		o.t.Fatalf("%s: status %d, %v: %s %s", filepath.Base(name), rc, err, out, stderr)
	}
	return strings.TrimSpace(out)
}

func (o *origin) sql(database, query string) string {
	o.t.Helper()
	return o.run(o.bin+"/psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", socket, "-U", "postgres", "-d", database, "-c", query)
}

// patients fills a database with n of them.
func (o *origin) patients(n int) {
	o.t.Helper()
	o.sql("postgres", "CREATE DATABASE emr")
	o.sql("emr", fmt.Sprintf(`CREATE TABLE patient (id int PRIMARY KEY, name text NOT NULL, balance int NOT NULL, at timestamptz NOT NULL);
		INSERT INTO patient SELECT i, 'patient ' || i, i %% 97, now() FROM generate_series(1, %d) i; CREATE INDEX ON patient (name)`, n))
}

// A corrupt cluster is backed up faithfully: restic finds nothing wrong, and
// nobody could work with it. The snapshot before is sound.
func TestADrillFindsWhatACheckCannot(t *testing.T) {
	statetest.OnlySQLite(t, heavy)
	b := newBench(t)
	o := newOrigin(t, "")
	o.patients(20_000)
	file := o.sql("emr", "SELECT pg_relation_filepath('patient')")
	o.run(o.bin+"/pg_basebackup", "-D", inside+"/base", "-h", socket, "-U", "postgres", "-c", "fast", "-X", "fetch", "--no-sync")
	base := filepath.Join(o.c.dir, "base")
	b.program.Run(t, "init")
	b.program.Run(t, "backup", base)
	sound := time.Now()
	const block = 7
	flipByte(t, filepath.Join(base, file), block*8192+4000) // within a tuple, as a bad disk does
	b.program.Run(t, "backup", base)

	b.program.Run(t, "check", "--read-data") // all is well, says restic
	n := Definition{Name: "電子カルテ", Class: "カルテ", Level: Database, Paths: []string{base}, Server: Server{
		Checks: []Check{{Query: Query{"emr", "SELECT count(*) FROM patient"}, Min: number(20_000), Max: number(20_000)}, {Query: Query{"emr", "SELECT sum(balance) > 0 FROM patient"}, Is: "t"}},
		Last:   Query{"emr", "SELECT max(at) FROM patient"}}}
	bad := b.hold(b.define(n))
	wants(t, bad, Failed, "block "+strconv.Itoa(block))
	wants(t, bad, Failed, file)
	finders := map[string]bool{}
	for _, p := range bad.Problems {
		finders[p.Phase] = true
	}
	for _, phase := range []string{phaseManifest, phaseAmcheck, phaseDump, phaseChecksums} {
		if !finders[phase] {
			t.Errorf("%s found nothing: %v", phase, finders)
		}
	}

	n.Pick = Pick{How: AsOf, AsOf: sound}
	good := b.hold(b.define(n))
	wants(t, good, Passed, "")
	if len(good.Answers) != 2 || good.Answers[0].Got != "20000" || good.DataAge == nil || *good.DataAge < 0 || *good.DataAge > 600 || good.Snapshot.ID == bad.Snapshot.ID {
		t.Errorf("%+v", good)
	}
	m, ok := good.Measure()
	if !ok || m.Bytes < 10<<20 || m.Files < 500 || m.StartupSeconds <= 0 || m.VerifySeconds <= 0 {
		t.Errorf("%+v, %v", m, ok)
	}
}

func number(f float64) *float64 { return &f }

// The tar that an agent's base backup sends is as good as the folder; what
// stood in the cluster's configuration is not done.
func TestABaseBackupAsATarIsUnpacked(t *testing.T) {
	statetest.OnlySQLite(t, heavy)
	b := newBench(t)
	o := newOrigin(t, "shared_preload_libraries = ''\nrestore_command = 'touch /run/drill/called'\n")
	o.patients(100)
	o.run("sh", "-c", o.bin+"/pg_basebackup -D - -Ft -X fetch -c fast --no-sync -h "+socket+" -U postgres >base/base.tar")
	tar := filepath.Join(o.c.dir, "base", "base.tar")
	b.program.Run(t, "init")
	b.program.Run(t, "backup", tar)
	// rows that should be there and are not fail a sound cluster too
	r := b.hold(b.define(Definition{Level: Database, Paths: []string{tar}, Server: Server{Last: Query{"emr", "SELECT max(nothing) FROM patient"}, Checks: []Check{
		{Query: Query{"emr", "SELECT count(*) FROM patient"}, Is: "100"}, {Query: Query{"emr", "SELECT count(*) FROM patient"}, Min: number(101)}}}}))
	wants(t, r, Failed, "100, not 101..")
	wants(t, r, Failed, "time of the newest record")
	if len(r.Problems) != 2 || !r.Answers[0].OK {
		t.Errorf("%q", r.Problems)
	}
	if _, ok := r.Phase(phaseManifest); !ok {
		t.Error("the manifest was not looked at")
	}
}

func TestTablespacesNeverLeadToThisMachine(t *testing.T) {
	live := t.TempDir()
	dir := scratchOf(t)
	pg := &postgres{trial: &trial{dir: dir}}
	tblspc := filepath.Join(dir, clusterIn, "pg_tblspc")
	restictest.Write(t, filepath.Join(tblspc, ".keep"), nil)
	if err := os.Symlink(live, filepath.Join(tblspc, "16400")); err != nil {
		t.Fatal(err)
	}
	if err := pg.links(filepath.Join(dir, clusterIn)); err == nil || !strings.Contains(err.Error(), live) {
		t.Errorf("it leads to %s: %v", live, err)
	}
	restictest.Write(t, filepath.Join(dir, restoredIn, live, "PG_15"), nil)
	if err := pg.links(filepath.Join(dir, clusterIn)); err != nil {
		t.Fatal(err)
	}
	if to, _ := os.Readlink(filepath.Join(tblspc, "16400")); to != inside+"/"+restoredIn+live {
		t.Errorf("it leads to %s", to)
	}
}

// A person ran the wrong UPDATE: the data of the moment before it is back, to the
// last row.
func TestPointInTimeIsExact(t *testing.T) {
	statetest.OnlySQLite(t, heavy)
	if _, err := exec.LookPath("pgbackrest"); err != nil {
		t.Fatal("Debian's package pgbackrest is missing")
	}
	b := newBench(t)
	tool := "pgbackrest --config=/run/drill/pgbackrest.conf --stanza=emr"
	o := newOrigin(t, "archive_mode = on\narchive_command = '"+tool+" archive-push %p'\n")
	conf := "[global]\nrepo1-path=/run/drill/repo\nlock-path=/run/drill/lock\nlog-level-file=off\nlog-level-console=error\nstart-fast=y\narchive-async=n\ncompress-type=lz4\n" +
		"[emr]\npg1-path=/run/drill/data\npg1-socket-path=/run/drill/sock\npg1-user=postgres\n"
	if err := os.WriteFile(filepath.Join(o.c.dir, "pgbackrest.conf"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	o.run("sh", "-c", tool+" stanza-create")
	o.patients(5_000)
	o.run("sh", "-c", tool+" --type=full backup")
	o.sql("emr", "SELECT pg_sleep(1.1)") // pgBackRest knows when a backup ended to the second
	o.sql("emr", "INSERT INTO patient SELECT i, 'late ' || i, i, now() FROM generate_series(5001, 5500) i")
	const digest = "SELECT md5(string_agg(p::text, ',' ORDER BY id)) FROM patient p"
	exact := o.sql("emr", digest)
	moment, err := time.Parse(time.RFC3339Nano, o.sql("emr", `SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`))
	b.ok(err)
	o.sql("emr", "UPDATE patient SET balance = 0") // the WHERE was forgotten
	last := o.sql("emr", "SELECT pg_walfile_name(pg_switch_wal())")
	await(t, "the log of changes is archived", func() bool {
		return o.sql("emr", "SELECT coalesce(last_archived_wal >= '"+last+"', false) FROM pg_stat_archiver") == "t"
	})

	repo := filepath.Join(o.c.dir, "repo")
	b.program.Run(t, "init")
	b.program.Run(t, "backup", repo)
	r := b.hold(b.define(Definition{Level: Moment, Paths: []string{repo}, Point: Point{Stanza: "emr", Target: moment}, Server: Server{Checks: []Check{
		{Query: Query{"emr", digest}, Is: exact}, {Query: Query{"emr", "SELECT count(*) FROM patient WHERE balance = 0 AND id > 5000"}, Is: "0"}}}}))
	wants(t, r, Passed, "")
	if len(r.Answers) != 2 || r.Answers[0].Got != exact {
		t.Errorf("%+v", r.Answers)
	}
}

// From a base backup and WAL that an agent gathered, with the segment that was
// being written, the data of the moment before a wrong UPDATE is back, to the
// last row. WAL with a gap is not passed.
func TestPointInTimeFromGatheredWAL(t *testing.T) {
	statetest.OnlySQLite(t, heavy)
	b := newBench(t)
	o := newOrigin(t, "")
	if err := o.c.folder("wal"); err != nil {
		t.Fatal(err)
	}
	receive := func(args ...string) {
		o.run(o.bin+"/pg_receivewal", append([]string{"-h", socket, "-U", "postgres", "-D", inside + "/wal", "-S", "sonae"}, args...)...)
	}
	gather := func() { receive("--no-loop", "--endpos="+o.sql("postgres", "SELECT pg_current_wal_flush_lsn() - 1")) }
	receive("--create-slot")
	gather() // from here on nothing is missed
	o.patients(2_000)
	o.run("sh", "-c", o.bin+"/pg_basebackup -D - -Ft -X fetch -c fast --no-sync -h "+socket+" -U postgres >base/emr.base.tar")
	tar, wal := filepath.Join(o.c.dir, "base", "emr.base.tar"), filepath.Join(o.c.dir, "wal")
	b.program.Run(t, "init")
	b.program.Run(t, "backup", tar)
	o.sql("emr", "INSERT INTO patient SELECT i, 'late ' || i, i, now() FROM generate_series(2001, 2300) i")
	first := o.sql("emr", "SELECT pg_walfile_name(pg_switch_wal())")
	const digest = "SELECT md5(string_agg(p::text, ',' ORDER BY id)) FROM patient p"
	exact := o.sql("emr", digest)
	o.sql("emr", "SELECT pg_sleep(0.01)")
	moment, err := time.Parse(time.RFC3339Nano, o.sql("emr", `SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`))
	b.ok(err)
	o.sql("emr", "UPDATE patient SET balance = 0") // the WHERE was forgotten
	gather()
	b.program.Run(t, "backup", wal)
	n := Definition{Level: Moment, Paths: []string{tar, wal}, Point: Point{Target: moment}, Server: Server{Last: Query{"emr", "SELECT max(at) FROM patient"}, Checks: []Check{
		{Query: Query{"emr", digest}, Is: exact}, {Query: Query{"emr", "SELECT count(*) FROM patient"}, Is: "2300"}}}}
	r := b.hold(b.define(n))
	wants(t, r, Passed, "")
	if len(r.Answers) != 2 || r.Answers[0].Got != exact || r.DataAge == nil || *r.DataAge < 0 || *r.DataAge > 600 {
		t.Errorf("%+v %v", r.Answers, r.DataAge)
	}

	b.ok(os.Remove(filepath.Join(wal, first)))
	b.program.Run(t, "backup", wal)
	wants(t, b.hold(b.define(n)), Failed, "before configured recovery target was reached")
	n.Point.Target = moment.Add(-24 * time.Hour)
	wants(t, b.hold(b.define(n)), Failed, "no base backup")
}
