package drill

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/restic"
	"github.com/sonae/sonae/protect/restic/restictest"
	"github.com/sonae/sonae/state/statetest"
)

// shelf is a repository of dumps.
type shelf struct {
	*bench
	dir string
}

func newShelf(t *testing.T) *shelf {
	t.Helper()
	s := &shelf{newBench(t), t.TempDir()}
	s.program.Run(t, "init")
	return s
}

// put backs a dump up as an agent does: as a stream, which becomes a file.
func (s *shelf) put(name string, dump []byte) string {
	s.t.Helper()
	cmd := s.program.Command(s.t.Context(), "backup", "--tag", "policy:bp-1", "--tag", "source:"+strings.SplitN(name, ".", 2)[0], "--stdin", "--stdin-filename", "/"+name)
	cmd.Stdin = bytes.NewReader(dump)
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("%v: %s", err, out)
	}
	return "/" + name
}

// dumped is what a program that makes a dump writes.
func dumped(t *testing.T, cmd *exec.Cmd) []byte {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout = &out
	_, stderr, rc, err := call(t.Context(), cmd)
	if err != nil || rc != 0 {
		t.Fatalf("%v: status %d, %v: %s", cmd.Args, rc, err, stderr)
	}
	return out.Bytes()
}

func (o *origin) dump(args ...string) []byte {
	o.t.Helper()
	return dumped(o.t, o.c.command(o.bin+"/"+args[0], append([]string{"-h", socket, "-U", "postgres"}, args[1:]...)...))
}

// cutAt is a dump that was cut where a part of it begins.
func cutAt(t *testing.T, dump []byte, part string) []byte {
	t.Helper()
	i := bytes.Index(dump, []byte(part))
	if i < 0 {
		t.Fatalf("the dump has no %q", part)
	}
	return dump[:i]
}

func packedBytes(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Of many a program only dumps are had. One that comes back is a proof with its
// times; one that is cut, lacks a table or rows, or does not load, is none.
func TestADumpOfPostgreSQLIsLoadedAndAsked(t *testing.T) {
	statetest.OnlySQLite(t, heavy)
	s := newShelf(t)
	o := newOrigin(t, "")
	o.patients(20_000)
	o.sql("emr", `CREATE ROLE "医事 課" NOLOGIN; CREATE ROLE ward NOLOGIN; CREATE ROLE reader NOLOGIN;
		CREATE TABLE visit (n int PRIMARY KEY, patient int REFERENCES patient, note text); INSERT INTO visit SELECT i, i, '所見 ' || i FROM generate_series(1, 3000) i;
		ALTER TABLE visit OWNER TO "医事 課"; GRANT SELECT ON visit TO reader, ward; ALTER TABLE visit ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON visit FOR SELECT TO ward, reader USING (true);
		CREATE VIEW open AS SELECT count(*) AS n FROM visit; ALTER VIEW open OWNER TO ward`)
	o.sql("postgres", `CREATE DATABASE old ENCODING 'EUC_JP' TEMPLATE template0 LOCALE 'C'`)
	o.run("env", "PGCLIENTENCODING=UTF8", o.bin+"/psql", "-Xq", "-h", socket, "-U", "postgres", "-d", "old", "-c", "CREATE TABLE 病棟 (名 text); INSERT INTO 病棟 VALUES ('東三')")
	custom, plain := o.dump("pg_dump", "--format=custom", "--compress=0", "emr"), o.dump("pg_dump", "emr")
	roles, old := o.dump("pg_dumpall", "--globals-only"), o.dump("pg_dump", "--format=custom", "--compress=0", "old")
	checks := []Check{{Query: Query{"emr", "SELECT count(*) FROM patient"}, Min: number(20_000), Max: number(20_000)}, {Query: Query{"emr", "SELECT n FROM open"}, Is: "3000"}}
	server := Server{Checks: checks, Last: Query{"emr", "SELECT max(at) FROM patient"}}
	try := func(server Server, paths ...string) Run {
		t.Helper()
		return s.hold(s.define(Definition{Level: Dump, Class: "カルテ", Paths: paths, Server: server}))
	}

	good := s.put("emr.emr.dump", custom)
	r := try(server, good)
	wants(t, r, Passed, "")
	for _, phase := range []string{phaseRestore, phaseSurvey, phaseStart, phaseLoad, phaseAmcheck, phaseAsk, phaseStop, phaseWipe} {
		if p, ok := r.Phase(phase); !ok || p.Seconds <= 0 {
			t.Errorf("%s was not measured: %+v", phase, p)
		}
	}
	if load, _ := r.Phase(phaseLoad); load.Bytes != int64(len(custom)) || load.Note != "2 tables, 23000 rows; archives without owners, privileges and tablespaces; 2 roles were made that no dump makes" { // of the policy
		t.Errorf("%+v", load)
	}
	if m, ok := r.Measure(); !ok || m.Seconds <= r.seconds(phaseRestore) || m.StartupSeconds <= 0 || m.VerifySeconds <= 0 || m.Bytes != int64(len(custom)) {
		t.Errorf("%+v, %v", m, ok)
	}
	if r.DataAge == nil || *r.DataAge < 0 || *r.DataAge > 600 || len(r.Answers) != 2 || r.Answers[0].Got != "20000" {
		t.Errorf("%v %+v", r.DataAge, r.Answers)
	}
	if diff := cmp.Diff([]Thing{{"bp-1", "emr"}}, r.Snapshot.Of); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(strings.Join(r.Versions, " "), "PostgreSQL ") {
		t.Errorf("%q", r.Versions)
	}
	if p, err := s.LastProven(t.Context(), Of{Class: "カルテ"}); err != nil || p.Standing != Proven || p.Level != Dump {
		t.Errorf("%+v, %v", p, err)
	}

	// the whole server: roles of the site first, in whatever order they are named
	all := Server{Checks: append(slices.Clone(checks), Check{Query: Query{"old", "SELECT 名 FROM 病棟"}, Is: "東三"}, Check{Query: Query{"emr", "SELECT count(*) FROM pg_roles WHERE rolname = 'reader' AND NOT rolsuper"}, Is: "1"})}
	r = try(all, good, s.put("emr.old.dump", old), s.put("emr.roles.sql", roles))
	wants(t, r, Passed, "")
	if len(r.Answers) != 4 || r.Files != 3 {
		t.Errorf("%d files, %+v", r.Files, r.Answers)
	}

	// as a vendor's program leaves it: SQL, packed, one a day, with a log beside it
	restictest.Write(t, filepath.Join(s.dir, "daily/1124.sql"), cutAt(t, plain, "COPY public.visit"))
	time.Sleep(10 * time.Millisecond)
	restictest.Write(t, filepath.Join(s.dir, "daily/1125.sql.gz"), packedBytes(t, plain))
	restictest.Write(t, filepath.Join(s.dir, "daily/z.log"), []byte("done"))
	b := filepath.Join(s.dir, "daily")
	s.program.Run(t, "backup", b)
	r = try(server, b)
	wants(t, r, Passed, "")
	if load, _ := r.Phase(phaseLoad); load.Note != "2 tables, 23000 rows; 4 roles were made that no dump makes" || r.Files != 1 {
		t.Errorf("%d files, %+v", r.Files, load)
	}
	// that first drops what is not there, and makes what is there: what sites look over
	whole := o.dump("pg_dumpall", "--no-role-passwords", "--clean")
	wants(t, try(all, s.put("all.sql", whole)), Passed, "")
	wants(t, try(server, s.put("again.sql", o.dump("pg_dump", "--clean", "--schema=public", "emr"))), Passed, "")
	wants(t, try(server, s.put("emr.public.dump", o.dump("pg_dump", "--format=custom", "--schema=public", "emr"))), Passed, "")

	half := packedBytes(t, plain)
	damage := bytes.Replace(plain, []byte("CREATE TABLE public.visit ("), []byte("CREATE TABEL public.visit ("), 1)
	for name, tt := range map[string]struct {
		dump []byte
		file string
		part string
	}{
		"an archive that is cut in its rows":         {custom[:len(custom)/2], "emr.a.dump", "load: emr.a.dump: pg_restore: error:"},
		"an archive that is cut in its list":         {custom[:2000], "emr.b.dump", "survey: emr.b.dump: pg_restore: error:"},
		"an archive whose last rows are cut":         {custom[:len(custom)-20], "emr.c.dump", "load: "},
		"SQL that is cut between rows":               {cutAt(t, plain, "1500\t1500\t"), "c.sql", "ends before its end"},
		"SQL that is cut between tables":             {cutAt(t, plain, "--\n-- Data for Name: visit"), "d.sql", "ends before its end"},
		"what was packed is cut":                     {half[:len(half)-5], "e.sql.gz", "unexpected EOF"},
		"a statement that no server takes":           {damage, "f.sql", `load: f.sql: psql:<stdin>`},
		"without one of its tables":                  {o.dump("pg_dump", "--format=custom", "-T", "visit", "-T", "open", "emr"), "emr.g.dump", `relation "open" does not exist`},
		"with fewer rows":                            {slices.Concat(cutAt(t, plain, "15000\tpatient"), plain[bytes.Index(plain, []byte("\\.\n")):]), "h.sql", "14999, not 20000"},
		"the schema alone":                           {o.dump("pg_dump", "--format=custom", "--schema-only", "emr"), "emr.i.dump", "no row in its 2 tables"},
		"what is no dump, as an encryptor leaves it": {restictest.Noise(300_000), "emr.j.dump", "is no dump of"},
		"a file of nothing":                          {[]byte("\n"), "emr.k.dump", "is no dump of"},
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			r := try(server, s.put(tt.file, tt.dump))
			wants(t, r, Failed, tt.part)
			if _, measured := r.Measure(); measured {
				t.Error("it measured something")
			}
			for _, p := range r.Problems {
				if strings.Contains(p.Text, "所見") || strings.Contains(p.Text, "patient 1") {
					t.Errorf("a row is in what is told: %s", p.Text)
				}
			}
		})
	}
	s.t = t
	for name, tt := range map[string]struct {
		dump []byte
		part string
	}{
		"a newer server":                {bytes.Replace(plain, []byte("-- Dumped from database version "), []byte("-- Dumped from database version 9"), 1), "no-program"},
		"an extension that is not here": {bytes.Replace(plain, []byte("CREATE TABLE public.patient ("), []byte("CREATE EXTENSION nowhere;\nCREATE TABLE public.patient ("), 1), "no-program"},
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			wants(t, try(server, s.put("x"+fmt.Sprint(len(name))+".sql", tt.dump)), Impossible, tt.part)
		})
	}
}

// village is a MariaDB that is in use.
type village struct {
	t *testing.T
	c *cell
}

func newVillage(t *testing.T) *village {
	t.Helper()
	if _, err := exec.LookPath("mariadbd"); err != nil {
		t.Fatal("Debian's package mariadb-server is missing")
	}
	c, err := newCell(scratchOf(t))
	if err != nil {
		t.Fatal(err)
	}
	v := &village{t, c}
	m := &mariadb{trial: &trial{Desk: &Desk{}, dir: c.dir, cell: c, r: &Run{}}, daemon: "mariadbd", install: "mariadb-install-db", client: "mariadb"}
	if err := m.raise(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.server.stop(unix.SIGKILL, 10*time.Second) })
	return v
}

func (v *village) sql(text string) {
	v.t.Helper()
	if out, stderr, rc, err := call(v.t.Context(), v.c.command("mariadb", "--no-defaults", "--socket="+mariaSocket, "--user=root", "--default-character-set=utf8mb4", "--execute="+text)); err != nil || rc != 0 {
		v.t.Fatalf("status %d, %v: %s %s", rc, err, out, stderr)
	}
}

// dump makes one as the agent does.
func (v *village) dump(args ...string) []byte {
	v.t.Helper()
	return dumped(v.t, v.c.command("mariadb-dump", append([]string{"--no-defaults", "--socket=" + mariaSocket, "--user=root", "--single-transaction", "--quick", "--routines", "--events", "--triggers", "--hex-blob",
		"--default-character-set=utf8mb4"}, args...)...))
}

func TestADumpOfMariaDBIsLoadedAndAsked(t *testing.T) {
	statetest.OnlySQLite(t, heavy)
	s := newShelf(t)
	v := newVillage(t)
	v.sql("CREATE USER app@'%'; GRANT ALL ON *.* TO app@'%'; CREATE DATABASE `電子 カルテ` CHARACTER SET utf8mb4; USE `電子 カルテ`;" +
		"CREATE TABLE visits (n INT PRIMARY KEY, note VARCHAR(40), raw VARBINARY(8), at DATETIME NOT NULL, KEY (note)); INSERT INTO visits SELECT seq, CONCAT('診察 ', seq), UNHEX(LPAD(HEX(seq), 8, '0')), UTC_TIMESTAMP() + INTERVAL 9 HOUR FROM seq_1_to_20000;" +
		"CREATE TABLE drug (id INT PRIMARY KEY) ENGINE=MyISAM; INSERT INTO drug VALUES (1), (2);" +
		"CREATE DEFINER=app@'%' SQL SECURITY DEFINER VIEW newest AS SELECT MAX(n) AS n FROM visits; CREATE PROCEDURE closing() SELECT COUNT(*) FROM visits;" +
		"CREATE EVENT sweep ON SCHEDULE EVERY 1 SECOND DO DELETE FROM drug; CREATE TRIGGER never BEFORE DELETE ON visits FOR EACH ROW SIGNAL SQLSTATE '45000'")
	const name = "電子 カルテ"
	server := Server{Checks: []Check{{Query: Query{name, "SELECT COUNT(*) FROM visits"}, Min: number(20_000), Max: number(20_000)}, {Query: Query{name, "SELECT n FROM newest"}, Is: "20000"},
		{Query: Query{name, "SELECT COUNT(*) FROM drug"}, Is: "2"}}, Last: Query{name, "SELECT MAX(at) FROM visits"}}
	try := func(server Server, paths ...string) Run {
		t.Helper()
		return s.hold(s.define(Definition{Level: Dump, Class: "カルテ", Paths: paths, Server: server}))
	}
	dump := v.dump("--databases", "--", name)
	good := s.put("emr.%E9%9B%BB%E5%AD%90%20%E3%82%AB%E3%83%AB%E3%83%86.sql", dump)
	r := try(server, good)
	wants(t, r, Passed, "")
	for _, phase := range []string{phaseRestore, phaseSurvey, phaseStart, phaseLoad, phaseTables, phaseAsk, phaseStop} {
		if p, ok := r.Phase(phase); !ok || p.Seconds <= 0 {
			t.Errorf("%s was not measured: %+v", phase, p)
		}
	}
	if load, _ := r.Phase(phaseLoad); load.Bytes != int64(len(dump)) || load.Note != "2 tables, 2 of them with rows; 2 accounts were made that no dump makes" {
		t.Errorf("%+v", load)
	}
	if p, _ := r.Phase(phaseTables); !strings.HasSuffix(p.Note, " tables are sound") || strings.HasPrefix(p.Note, "0") {
		t.Errorf("%+v", p)
	}
	if m, ok := r.Measure(); !ok || m.Seconds <= r.seconds(phaseRestore) || m.StartupSeconds <= 0 || m.VerifySeconds <= 0 {
		t.Errorf("%+v, %v", m, ok)
	}
	if r.DataAge == nil || *r.DataAge < 0 || *r.DataAge > 600 || len(r.Answers) != 3 {
		t.Errorf("%v %+v", r.DataAge, r.Answers)
	}
	if said := strings.Join(r.Versions, " "); !strings.Contains(said, "MariaDB 1") {
		t.Errorf("%q", said)
	}
	// with the server's own accounts, as an agent saves them
	wants(t, try(server, s.put("emr.mysql.sql", v.dump("--databases", "--", "mysql")), good), Passed, "")
	// without CREATE DATABASE, and a question that would change something
	wants(t, try(server, s.put("bare.sql", v.dump(name))), Passed, "")
	change := server
	change.Checks = []Check{{Query: Query{name, "DELETE FROM drug; SELECT 1"}, Is: "1"}}
	wants(t, try(change, good), Failed, "READ ONLY transaction")

	bare := v.dump("--ignore-table="+name+".visits", "--databases", "--", name)
	for file, tt := range map[string]struct {
		dump  []byte
		state State
		part  string
	}{
		"cut.sql":    {dump[:len(dump)/2], Failed, "ends before its end"},
		"late.sql":   {cutAt(t, dump, "-- Dump completed"), Failed, "ends before its end"},
		"table.sql":  {bare, Failed, "visits' doesn't exist"},
		"spoilt.sql": {bytes.Replace(dump, []byte("PRIMARY KEY (`n`)"), []byte("PRIMAYR KEY (`n`)"), 1), Failed, "load: spoilt.sql: ERROR 1064"},
		"empty.sql":  {v.dump("--no-data", "--databases", "--", name), Failed, "no row in its 2 tables"},
		"newer.sql":  {bytes.Replace(dump, []byte("COLLATE=utf8mb4_general_ci"), []byte("COLLATE=utf8mb4_future_ci"), 1), Impossible, "no-program"},
	} {
		t.Run(file, func(t *testing.T) {
			s.t = t
			wants(t, try(server, s.put(file, tt.dump)), tt.state, tt.part)
		})
	}
	s.t = t
	fewer := server
	fewer.Checks = []Check{{Query: Query{name, "SELECT COUNT(*) FROM visits"}, Min: number(20_001)}}
	wants(t, try(fewer, good), Failed, "20000, not 20001..")
	// a dump of each kind in one drill is a mistake of who wrote it
	o := newOrigin(t, "")
	o.patients(10)
	wants(t, try(Server{}, good, s.put("emr.emr.dump", o.dump("pg_dump", "--format=custom", "emr"))), Impossible, "two-servers")
}

// A server that is not on this machine is no reason to say anything of a dump.
func TestWithoutItsServerADumpIsNotTried(t *testing.T) {
	if _, err := programs(99); fault.Of(err) != fault.Missing {
		t.Errorf("PostgreSQL 99: %v", err)
	}
	exact, err := programs(major("15.18 (Debian 15.18-1)"))
	if err != nil || exact != "/usr/lib/postgresql/15/bin" {
		t.Errorf("%s, %v", exact, err)
	}
	if older, err := programs(9.6); err != nil || older == "" {
		t.Errorf("what an older server wrote is for a newer one: %v", err)
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := program("sonae-nowhere"); fault.Of(err) != fault.Missing {
		t.Errorf("%v", err)
	}
}

func TestWhatADumpSaysOfItself(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		want survey
	}{
		"of pg_dump": {"--\n-- PostgreSQL database dump\n--\n\n\\restrict x\n-- Dumped from database version 9.6.24\n-- Dumped by pg_dump version 14.2\nSET client_encoding = 'EUC_JP';\nCREATE SCHEMA public;\n" +
			"ALTER TABLE public.a OWNER TO \"医事 \"\"課\"\"\";\nCREATE POLICY p ON public.a FOR SELECT TO ward, reader USING (true);\nGRANT SELECT ON TABLE public.a TO PUBLIC;\nREVOKE ALL ON SCHEMA public FROM pg_monitor;\n" +
			"COPY public.a (t) FROM stdin;\nGRANT x TO nobody;\n-- PostgreSQL database dump complete\n\\.\n--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict x\n",
			survey{server: ofPostgreSQL, whole: true, public: true, encoding: "EUC_JP", version: 14, needs: []string{`医事 "課"`, "ward", "reader"}, lines: 22}},
		"of pg_dump, cut in its rows": {"-- PostgreSQL database dump\nCOPY public.a (t) FROM stdin;\n-- PostgreSQL database dump complete\n", survey{server: ofPostgreSQL, copying: true, lines: 3}},
		"of pg_dumpall": {"-- PostgreSQL database cluster dump\r\nCREATE ROLE ward;\nALTER ROLE ward WITH NOSUPERUSER;\nGRANT ward TO staff GRANTED BY postgres;\n-- PostgreSQL database dump complete\n\n-- PostgreSQL database cluster dump complete\n",
			survey{server: ofPostgreSQL, cluster: true, creates: true, whole: true, needs: []string{"staff", "postgres"}, made: []string{"ward"}, lines: 7}},
		"of pg_dump --clean": {"-- PostgreSQL database dump\nALTER TABLE ONLY public.a DROP CONSTRAINT a_pkey;\nDROP TABLE public.a;\n-- Name: a; Type: TABLE\nDROP TABLE public.b;\n",
			survey{server: ofPostgreSQL, cleans: true, begun: true, lines: 5}},
		"of pg_dumpall, cut behind its first database": {"-- PostgreSQL database cluster dump\n-- PostgreSQL database dump complete\n", survey{server: ofPostgreSQL, cluster: true, creates: true, lines: 2}},
		"of mariadb-dump": {"/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump 10.19  Distrib\n--\n-- Host: localhost    Database: emr\n/*!50013 DEFINER=`app`@`%` SQL SECURITY DEFINER */\nINSERT INTO t VALUES ('DEFINER=`x`@`y`');\n-- Dump completed on 2026-11-29  1:02:03",
			survey{server: ofMariaDB, whole: true, database: "emr", needs: []string{"`app`@`%`"}, lines: 7}},
		"of mysqldump --databases": {"-- MySQL dump 10.13\n-- Host: h    Database: \nUSE `emr`;\n-- Dump completed\nCREATE TABLE late (x INT);\n", survey{server: ofMariaDB, creates: true, lines: 5}},
		"of something else":        {"PK\x03\x04 -- MySQL dump", survey{lines: 1}},
	} {
		var s survey
		for b := []byte(tt.text); len(b) > 0; b = b[min(7, len(b)):] { // in whatever pieces it comes
			_, _ = s.Write(b[:min(7, len(b))])
		}
		s.end()
		if diff := cmp.Diff(tt.want, s, cmp.AllowUnexported(survey{})); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func FuzzSurvey(f *testing.F) {
	f.Add([]byte("-- PostgreSQL database dump\nALTER TABLE a OWNER TO b;\nCOPY a FROM stdin;\n\\.\n-- PostgreSQL database dump complete\n"), 3)
	f.Add([]byte("-- MySQL dump\n/*!50013 DEFINER=`a`@`b` */\nUSE `x`;\n-- Dump completed"), 1)
	f.Fuzz(func(t *testing.T, dump []byte, n int) {
		var once, pieces survey
		_, _ = once.Write(dump)
		once.end()
		for n, b := max(1, n%512), dump; len(b) > 0; b = b[min(n, len(b)):] {
			_, _ = pieces.Write(b[:min(n, len(b))])
		}
		pieces.end()
		if diff := cmp.Diff(once, pieces, cmp.AllowUnexported(survey{})); diff != "" || len(once.needs) > maxNeeds {
			t.Error(diff)
		}
	})
}

func TestWhatMariaDBSaysOfItsTablesIsRead(t *testing.T) {
	sound, bad := checked("emr.visits                                         OK\nemr.drug\nwarning  : 1 client is using or hasn't closed the table properly\nerror    : Found key at page 1024 that points to record outside datafile\nerror    : Corrupt\n" +
		"mysql.x\nnote     : The storage engine for the table doesn't support check\nemr.y\nstatus   : OK\nemr.z\nCorrupt\n")
	if want := []string{"emr.drug: Found key at page 1024 that points to record outside datafile", "emr.drug: Corrupt", "emr.z: corrupt"}; sound != 2 || !slices.Equal(bad, want) {
		t.Errorf("%d sound, %q", sound, bad)
	}
}

// What came back is proved, and nothing else: each dump says itself of what it is.
func TestAllThatWasLoadedIsProved(t *testing.T) {
	snap := func(source string) restic.Snapshot {
		return restic.Snapshot{Tags: []string{"policy:bp-1", "job:bj-1", "source:" + source}}
	}
	d := &trial{snap: snap("emr"), dumps: []*stored{{snap: snap("emr")}, {snap: snap("rota")}}}
	if diff := cmp.Diff([]Thing{{"bp-1", "emr"}, {"bp-1", "rota"}}, thingsOf(d.tried()...)); diff != "" {
		t.Error(diff)
	}
}

// A source of several databases is proved by a drill that loads all of them: who
// named one of two has proved nothing, an older drill of both still counts, and
// roles, other backups and other sources do not matter.
func TestOneDumpOfTwoProvesNothing(t *testing.T) {
	ids := byte(0)
	snap := func(job, source, path string) restic.Snapshot {
		ids++
		return restic.Snapshot{ID: restic.ID{ids}, Paths: []string{path}, Tags: []string{"source:" + source, "policy:bp-1", "job:" + job}}
	}
	a, b := snap("bj-2", "emr", "/emr.a.dump"), snap("bj-2", "emr", "/emr.b.dump")
	all := []restic.Snapshot{a, b, snap("bj-2", "emr", "/emr.roles.sql"), snap("bj-1", "emr", "/emr.gone.dump"), snap("bj-2", "rota", "/rota.c.dump")}
	held := func(tried ...restic.Snapshot) Run {
		d := &trial{r: &Run{State: Passed, Definition: Definition{Level: Dump}, Snapshot: &Taken{}}}
		for _, s := range tried {
			d.dumps = append(d.dumps, &stored{snap: s})
		}
		d.snap = tried[0]
		d.r.Snapshot.Of = thingsOf(d.tried()...)
		d.leave(all)
		return *d.r
	}
	n := Definition{Level: Dump}
	one, both := held(a), held(b, a)
	if len(shown(n, []Run{one})) != 0 {
		t.Error("one of two proves both")
	}
	both.ID = "older"
	if out := shown(n, []Run{one, both}); len(out) != 1 || !out[0].Passed || out[0].Run != "older" || out[0].Source != "emr" {
		t.Errorf("%+v", out)
	}
	one.State = Failed
	if out := shown(n, []Run{one, both}); len(out) != 1 || out[0].Passed {
		t.Errorf("what fails speaks against all of it: %+v", out)
	}
}

func TestADumpOfEachDayMeansTheNewest(t *testing.T) {
	statetest.OnlySQLite(t, heavy)
	s := newShelf(t)
	at := time.Date(2026, 11, 20, 3, 0, 0, 0, time.UTC)
	for i, name := range []string{"20261119.dmp", "20261121.dmp", "20261120.dmp.gz", "dump.log"} {
		restictest.Write(t, filepath.Join(s.dir, name), []byte(name))
		s.ok(os.Chtimes(filepath.Join(s.dir, name), at, at.AddDate(0, 0, []int{0, 2, 1, 3}[i])))
	}
	s.program.Run(t, "backup", s.dir)
	for path, want := range map[string]string{s.dir: "20261121.dmp", s.dir + "/20261120.dmp.gz": "20261120.dmp.gz", s.dir + "/dump.log": "dump.log"} {
		tr := &trial{Desk: s.Desk, n: Definition{Host: "ho-1", Level: Dump, Paths: []string{path}}, r: &Run{}}
		s.ok(tr.open(t.Context()))
		if err := tr.find(t.Context(), tr.dumps[0]); err != nil || filepath.Base(tr.dumps[0].file) != want {
			t.Errorf("%s: %+v, %v; want %s", path, tr.dumps[0], err, want)
		}
		s.ok(tr.repo.Close())
	}
}

// What a program says tells a machine that lacks something from a dump that is
// wrong. Rows that it repeats are not read: they could say anything.
func TestWhatThisMachineLacksIsNoFaultOfTheDump(t *testing.T) {
	for said, want := range map[string]string{
		"pg_restore: error: unsupported version (1.16) in file header":                                                                                         "protect.drill.no-program",
		"psql:<stdin>:5: error: invalid command \\restrict":                                                                                                    "protect.drill.no-program",
		"psql:<stdin>:9: ERROR:  unrecognized configuration parameter \"transaction_timeout\"":                                                                 "protect.drill.no-program",
		"pg_restore: error: could not execute query: ERROR:  could not open extension control file \"/usr/share/x.control\": No such file or directory":        "protect.drill.no-program",
		"psql:<stdin>:2: ERROR:  invalid locale name: \"ja_JP.UTF-8\"":                                                                                         "protect.drill.no-program",
		"pg_restore: error: could not execute query: ERROR:  collation \"pg_catalog.ja_JP.utf8\" for encoding \"UTF8\" does not exist":                         "protect.drill.no-program",
		"psql:<stdin>:53: ERROR:  invalid value for parameter \"default_tablespace\": \"fast\"":                                                                "protect.drill.no-program",
		"psql:<stdin>:3: ERROR:  directory \"/data/fast\" does not exist":                                                                                      "protect.drill.no-program",
		"ERROR 1193 (HY000) at line 24: Unknown system variable 'GTID_PURGED'":                                                                                 "protect.drill.no-program",
		"ERROR 1286 (42000) at line 3: Unknown storage engine 'ROCKSDB'":                                                                                       "protect.drill.no-program",
		"pg_restore: error: COPY failed for table \"x\": ERROR:  could not extend file \"base/5/1\": No space left on device":                                  "protect.drill.full",
		"ERROR 1114 (HY000) at line 60: The table 'visits' is full":                                                                                            "protect.drill.full",
		"psql:<stdin>:53: ERROR:  relation \"a\" does not exist":                                                                                               "",
		"--------------\nINSERT INTO t VALUES ('ERROR 1114 No space left on device')\n--------------\nERROR 1062 (23000) at line 5: Duplicate entry":           "",
		"pg_restore: error: COPY failed for table \"x\": ERROR:  extra data after last expected column\nCONTEXT:  COPY x, line 1: \"No space left on device\"": "",
	} {
		var f *fault.Error
		key := ""
		if err := lacking(said); errors.As(err, &f) {
			key = f.Key
		} else if err != nil {
			key = err.Error()
		}
		if key != want {
			t.Errorf("%s: %q, want %q", said, key, want)
		}
	}
	if err := lacking("psql:<stdin>:7: server closed the connection unexpectedly\npsql:<stdin>:7: error: connection to server was lost"); err == nil || fault.Of(err) != "" {
		t.Errorf("the server ended: %v", err)
	}
}

func TestWhatADumpDropsFirstIsLeftOut(t *testing.T) {
	const head, rest = "-- PostgreSQL database dump\nSET row_security = off;\n", "-- Name: a; Type: TABLE\nDROP TABLE late;\nrows without end"
	got, err := io.ReadAll(unclean(strings.NewReader(head + "ALTER TABLE ONLY public.a DROP CONSTRAINT a_pkey;\nDROP INDEX public.i;\nDROP TABLE public.a;\n" + rest)))
	if err != nil || string(got) != head+rest {
		t.Errorf("%q, %v", got, err)
	}
}
