package anomaly

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// server is a real database server of the account nobody on a socket.
type server struct {
	t   *testing.T
	dir string
	bin string // folder of the programs of PostgreSQL
}

func newServer(t *testing.T, needs ...string) *server {
	t.Helper()
	bins, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t}
	if len(bins) > 0 {
		s.bin = bins[len(bins)-1]
	}
	for _, name := range needs {
		if _, err := exec.LookPath(name); err != nil && (s.bin == "" || !exists(filepath.Join(s.bin, name))) || os.Geteuid() != 0 {
			t.Skip(name + " is not installed, or the test is not root")
		}
	}
	if s.dir, err = os.MkdirTemp("/tmp", "sonae-st"); err != nil { // its account must be able to enter, and a socket's name is short
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(s.dir) })
	s.out(exec.Command("chown", "nobody", s.dir))
	return s
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

// as runs a program as nobody.
func (s *server) as(name string, args ...string) *exec.Cmd {
	if at := filepath.Join(s.bin, name); s.bin != "" && exists(at) {
		name = at
	}
	cmd := exec.Command("setpriv", append([]string{"--reuid=nobody", "--regid=nogroup", "--clear-groups", name}, args...)...)
	cmd.Dir = "/"
	return cmd
}

func (s *server) out(cmd *exec.Cmd) []byte {
	s.t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	b, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("%v: %v: %s", cmd.Args, err, stderr.Bytes())
	}
	return b
}

// serve starts a server, and waits until a question is answered.
func (s *server) serve(cmd *exec.Cmd, ask func() *exec.Cmd) {
	s.t.Helper()
	cmd.Stderr = s.t.Output()
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // nobody is connected any more
		_ = cmd.Wait()
	})
	for end := time.Now().Add(time.Minute); ask().Run() != nil; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatal("the server does not run")
		}
	}
}

// postgres starts a PostgreSQL.
func postgres(t *testing.T) *server {
	s := newServer(t, "initdb", "postgres", "pg_dump", "pg_dumpall", "pg_basebackup", "psql")
	s.out(s.as("initdb", "-D", s.dir+"/data", "-U", "nobody", "--auth=trust", "--locale=C", "--encoding=UTF8", "--no-sync"))
	s.serve(s.as("postgres", "-D", s.dir+"/data", "-c", "listen_addresses=", "-c", "port=15434", "-c", "unix_socket_directories="+s.dir, "-c", "fsync=off"),
		func() *exec.Cmd { return s.pg("psql", "-Atc", "SELECT 1") })
	return s
}

// pg runs a client of it.
func (s *server) pg(name string, args ...string) *exec.Cmd {
	cmd := s.as(name, args...)
	cmd.Env = append(os.Environ(), "PGHOST="+s.dir, "PGPORT=15434", "PGDATABASE=postgres")
	return cmd
}

// dumped is what a stream is on one day, and what must be said of it.
type dumped struct {
	name    string
	b       []byte
	verdict Verdict
	rule    string
}

// pourAll backs streams up one after the other.
func pourAll(t *testing.T, source, name string, all []dumped) {
	t.Helper()
	w := newWard(t, own(t), 0)
	for i, x := range all {
		s := w.pour(source, name, x.b)
		want := x.verdict
		if i == 0 {
			want = First
		}
		if _, ok := reason(s, x.rule); s.Verdict != want || x.rule != "" && !ok {
			t.Errorf("%s: got %+v, want %s because of %q\n%+v", x.name, s.Score, want, x.rule, s.Numbers.Streams)
		}
	}
}

// What the agent's sources write of a real PostgreSQL, day after day: work, growth
// and tidying up are quiet, and what an intruder does to it is not.
func TestRealStreamsOfPostgreSQL(t *testing.T) {
	s := postgres(t)
	sql := func(text string) { t.Helper(); s.out(s.pg("psql", "-v", "ON_ERROR_STOP=1", "-c", text)) }
	sql("CREATE TABLE visits AS SELECT n, md5(n::text) AS note, repeat('経過観察 ', 1 + n % 9) AS more FROM generate_series(1, 40000) n")
	dump := func() []byte { return s.out(s.pg("pg_dump", "--format=custom", "--compress=0")) }
	whole := func() []byte {
		return s.out(s.pg("pg_basebackup", "--pgdata=-", "--format=tar", "--wal-method=fetch", "--checkpoint=fast"))
	}
	dumps, bases, packed := []dumped{{"first", dump(), Calm, ""}}, []dumped{{"first", whole(), Calm, ""}}, []dumped{}
	for _, step := range []struct{ name, sql string }{
		{"work", "UPDATE visits SET note = md5(note) WHERE n % 5 = 0"},
		{"growth", "INSERT INTO visits SELECT n, md5(n::text), '新患' FROM generate_series(40001, 90000) n"},
		{"tidied up", "DELETE FROM visits WHERE n % 2 = 0"},
		{"VACUUM FULL", "VACUUM FULL"},
		{"photographs", "CREATE TABLE photos AS SELECT n, decode(string_agg(md5((n * 1000 + m)::text), ''), 'hex') AS jpeg FROM generate_series(1, 200) n, generate_series(1, 500) m GROUP BY n"},
		{"truncated", "TRUNCATE visits"},
		{"filled again", "INSERT INTO visits SELECT n, md5(n::text), '経過観察' FROM generate_series(1, 60000) n"},
	} {
		sql(step.sql)
		dumps = append(dumps, dumped{step.name, dump(), Calm, ""})
		if step.name != "work" && step.name != "tidied up" { // a whole server is large
			bases = append(bases, dumped{step.name, whole(), Calm, ""})
		}
		packed = append(packed, dumped{step.name, s.out(s.pg("pg_dump", "--format=custom")), Calm, ""})
	}
	newest := func(all []dumped) []byte { return all[len(all)-1].b }
	t.Run("dump", func(t *testing.T) {
		pourAll(t, "emr", "/emr.postgres.dump", append(dumps, dumped{"encrypted behind its head", encrypted(newest(dumps), 4096), Flagged, RuleScrambled}, dumped{"encrypted", encrypted(newest(dumps), 0), Flagged, RuleHead}))
	})
	t.Run("base backup", func(t *testing.T) {
		pourAll(t, "whole", "/whole.base.tar", append(bases, dumped{"encrypted behind its head", encrypted(newest(bases), 4096), Flagged, RuleScrambled}, dumped{"encrypted", encrypted(newest(bases), 0), Flagged, RuleHead}))
	})
	t.Run("dump that is compressed already", func(t *testing.T) {
		pourAll(t, "emr", "/emr.postgres.dump", append(packed, dumped{"encrypted", encrypted(newest(packed), 0), Flagged, RuleHead}))
	})
	t.Run("roles", func(t *testing.T) {
		roles := s.out(s.pg("pg_dumpall", "--globals-only"))
		pourAll(t, "emr", "/emr.roles.sql", []dumped{{"roles", roles, Calm, ""}, {"more", slices.Concat(roles, []byte("\n")), Calm, ""}, {"encrypted", encrypted(roles, 0), Flagged, RuleHead}})
	})
	t.Run("log", func(t *testing.T) {
		all, err := filepath.Glob(s.dir + "/data/pg_wal/0*")
		if err != nil || len(all) == 0 {
			t.Fatalf("%d segments, %v", len(all), err)
		}
		for _, at := range all {
			b, err := os.ReadFile(at)
			if err != nil {
				t.Fatal(err)
			}
			if !begins(due("wal", at), b) || begins(FormWAL, encrypted(b, 0)) {
				t.Errorf("%s: % x", at, b[:16])
			}
		}
	})
}

func TestRealDumpsOfMariaDB(t *testing.T) {
	s := newServer(t, "mariadbd", "mariadb-install-db", "mariadb-dump", "mariadb")
	s.out(exec.Command("mariadb-install-db", "--no-defaults", "--user=nobody", "--datadir="+s.dir+"/data", "--auth-root-authentication-method=normal", "--skip-test-db", "--innodb-flush-method=nosync", "--tmpdir="+s.dir))
	at := []string{"--no-defaults", "--socket=" + s.dir + "/sock", "--user=root", "--default-character-set=utf8mb4"}
	sql := func(text string) *exec.Cmd { return exec.Command("mariadb", append(at, "--execute="+text)...) }
	s.serve(exec.Command("mariadbd", "--no-defaults", "--user=nobody", "--datadir="+s.dir+"/data", "--socket="+s.dir+"/sock", "--pid-file="+s.dir+"/pid", "--tmpdir="+s.dir, "--skip-networking",
		"--innodb-flush-method=nosync", "--innodb-buffer-pool-size=32M", "--innodb-log-file-size=8M", "--skip-log-bin"), func() *exec.Cmd { return sql("SELECT 1") })
	s.out(sql(`CREATE DATABASE emr; CREATE TABLE emr.visits (n INT PRIMARY KEY, note VARCHAR(80), raw BLOB) CHARACTER SET utf8mb4;
		INSERT INTO emr.visits SELECT seq, CONCAT('診察 ', seq), RANDOM_BYTES(64) FROM emr.seq_1_to_20000`))
	dump := func() []byte {
		args := []string{"--single-transaction", "--quick", "--routines", "--events", "--triggers", "--hex-blob", "--databases", "--", "emr"}
		return s.out(exec.Command("mariadb-dump", append(slices.Clone(at), args...)...))
	}
	all := []dumped{{"first", dump(), Calm, ""}}
	s.out(sql("INSERT INTO emr.visits SELECT seq, 'photo', RANDOM_BYTES(1000) FROM emr.seq_30000_to_31000"))
	all = append(all, dumped{"with photographs", dump(), Calm, ""})
	b := all[1].b
	pourAll(t, "emr", "/emr.emr.sql", append(all, dumped{"encrypted behind its head", encrypted(b, 4096), Flagged, RuleInside}, dumped{"every second 64 KiB encrypted", slices.Concat(b[:4096], striped(b[4096:], 64<<10)), Flagged, RuleInside},
		dumped{"encrypted", encrypted(b, 0), Flagged, RuleHead}, dumped{"again a dump", b, Calm, ""}))
}

func TestRealLDIF(t *testing.T) {
	s := newServer(t, "slapadd", "slapcat")
	config := "dn: cn=config\nobjectClass: olcGlobal\ncn: config\n\ndn: olcDatabase={0}config,cn=config\nobjectClass: olcDatabaseConfig\nolcDatabase: {0}config\n\n"
	if err := os.Mkdir(s.dir+"/config", 0o700); err != nil {
		t.Fatal(err)
	}
	add := exec.Command("slapadd", "-n", "0", "-F", s.dir+"/config")
	add.Stdin = strings.NewReader(config)
	s.out(add)
	b := s.out(exec.Command("slapcat", "-o", "ldif-wrap=no", "-F", s.dir+"/config", "-n", "0"))
	pourAll(t, "dir", "/dir.config.ldif", []dumped{{"first", b, Calm, ""}, {"more", slices.Concat(b, []byte("\n")), Calm, ""}, {"encrypted", encrypted(b, 0), Flagged, RuleHead}})
}
