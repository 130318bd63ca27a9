package backup_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/protect/restic/restictest"
)

// maria is a real MariaDB server of the account nobody on a socket, and an
// account of it that may read everything, whose password stands in ~/.my.cnf.
type maria struct {
	t         *testing.T
	dir, home string
	server    *exec.Cmd
}

func startMaria(t *testing.T) *maria {
	t.Helper()
	if _, err := exec.LookPath("mariadbd"); err != nil || os.Geteuid() != 0 {
		t.Skip("MariaDB is not installed (Debian: mariadb-server), or the test is not root")
	}
	dir, err := os.MkdirTemp("/tmp", "sonae-my") // a socket's name is short, and its account must be able to enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	m := &maria{t: t, dir: dir, home: t.TempDir()}
	t.Setenv("HOME", m.home)
	m.must(exec.Command("chown", "nobody", dir))
	m.must(exec.Command("mariadb-install-db", "--no-defaults", "--user=nobody", "--datadir="+dir+"/data", "--auth-root-authentication-method=normal", "--skip-test-db", "--innodb-flush-method=nosync", "--tmpdir="+dir))
	m.start()
	m.sql("", "CREATE USER backup@localhost IDENTIFIED BY '合言葉'; GRANT ALL ON *.* TO backup@localhost")
	m.password("合言葉")
	return m
}

func (m *maria) start() {
	m.t.Helper()
	m.server = exec.Command("mariadbd", "--no-defaults", "--user=nobody", "--datadir="+m.dir+"/data", "--socket="+m.socket(), "--pid-file="+m.dir+"/pid", "--tmpdir="+m.dir, "--skip-networking",
		"--innodb-flush-method=nosync", "--innodb-buffer-pool-size=32M", "--innodb-log-file-size=8M", "--skip-log-bin")
	m.server.Stderr = m.t.Output()
	if err := m.server.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(m.stop)
	for end := time.Now().Add(time.Minute); m.root("", "SELECT 1").Run() != nil; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			m.t.Fatal("MariaDB does not run")
		}
	}
}

func (m *maria) stop() {
	if m.server != nil {
		_ = m.server.Process.Signal(os.Interrupt)
		_ = m.server.Process.Kill()
		_ = m.server.Wait()
		m.server = nil
	}
}

func (m *maria) socket() string { return m.dir + "/sock" }

func (m *maria) root(db, text string) *exec.Cmd {
	return exec.Command("mariadb", "--no-defaults", "--socket="+m.socket(), "--user=root", "--default-character-set=utf8mb4", "--batch", "--skip-column-names", "--execute="+text, "--database="+db)
}

func (m *maria) sql(db, text string) string { m.t.Helper(); return m.must(m.root(db, text)) }

func (m *maria) must(cmd *exec.Cmd) string {
	m.t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		m.t.Fatalf("%v: %v: %s", cmd.Args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// password writes the password that the agent's account uses.
func (m *maria) password(p string) {
	m.t.Helper()
	restictest.Write(m.t, filepath.Join(m.home, ".my.cnf"), []byte("[client]\nuser=backup\npassword=\""+p+"\"\n"))
}

// A MariaDB server is saved while people write; each database is of one moment,
// comes back with stock restic and is complete. What cannot be saved is said.
func TestMariaDBIsSavedAndComesBack(t *testing.T) {
	m := startMaria(t)
	b := setUp(t, restictest.Newest(t).Path)
	m.sql("", "CREATE DATABASE `電子 カルテ` CHARACTER SET utf8mb4; CREATE DATABASE rota")
	m.sql("電子 カルテ", `CREATE TABLE visits (n INT PRIMARY KEY, note VARCHAR(40), raw VARBINARY(8)); INSERT INTO visits SELECT seq, CONCAT('診察 ', seq), UNHEX(LPAD(HEX(seq), 8, '0')) FROM seq_1_to_20000;
		CREATE TABLE money (who INT PRIMARY KEY, yen INT NOT NULL); INSERT INTO money VALUES (1, 5000), (2, 5000);
		CREATE PROCEDURE closing() SELECT SUM(yen) FROM money;
		CREATE TRIGGER never BEFORE DELETE ON visits FOR EACH ROW SIGNAL SQLSTATE '45000'`)
	m.sql("rota", "CREATE TABLE t (x INT); INSERT INTO t VALUES (7)")
	source := job.Source{Name: "emr", Kind: job.MariaDB, Server: m.socket()}
	do := func(s job.Source) job.SourceResult {
		t.Helper()
		r := b.do(job.Job{Kind: job.Backup, Sources: []job.Source{s}})
		if len(r.Sources) != 1 || r.State != r.Sources[0].State {
			t.Fatalf("%+v", r)
		}
		return r.Sources[0]
	}

	ctx, stop := context.WithCancel(t.Context())
	wrote := make(chan error, 1)
	go func() { // money moves in one transaction: its sum never changes
		text := strings.Repeat("START TRANSACTION; UPDATE money SET yen = yen - 1 WHERE who = 1; UPDATE money SET yen = yen + 1 WHERE who = 2; COMMIT; ", 500)
		for ctx.Err() == nil {
			if out, err := m.root("電子 カルテ", text).CombinedOutput(); err != nil {
				wrote <- fmt.Errorf("%w: %s", err, out)
				return
			}
		}
		wrote <- nil
	}()
	saved := do(source)
	stop()
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
	if saved.State != job.OK || len(saved.Snapshots) != 3 { // mysql, rota and the records
		t.Fatalf("%+v", saved)
	}
	to := b.stock(saved.Snapshots...)
	sum := "SELECT COUNT(*), SUM(n), MD5(GROUP_CONCAT(note, raw ORDER BY n SEPARATOR '')) FROM visits WHERE n < 20000"
	want := m.sql("電子 カルテ", sum)
	m.sql("", "DROP DATABASE `電子 カルテ`; DROP DATABASE rota")
	for _, name := range []string{"rota", "%E9%9B%BB%E5%AD%90%20%E3%82%AB%E3%83%AB%E3%83%86"} {
		dump, err := os.Open(filepath.Join(to, "emr."+name+".sql"))
		if err != nil {
			t.Fatal(err)
		}
		load := m.root("", "")
		load.Args = load.Args[:len(load.Args)-2]
		load.Stdin = dump
		m.must(load)
		_ = dump.Close()
	}
	if got := m.sql("電子 カルテ", sum); got != want {
		t.Errorf("came back %s, want %s", got, want)
	}
	if got := m.sql("電子 カルテ", "CALL closing()"); got != "10000" {
		t.Errorf("the dump is not of one moment: %s yen", got)
	}
	if got := m.sql("rota", "SELECT x FROM t"); got != "7" {
		t.Errorf("rota: %s", got)
	}
	if out, err := m.root("電子 カルテ", "DELETE FROM visits").CombinedOutput(); err == nil {
		t.Errorf("the trigger did not come back: %s", out)
	}

	only := source
	only.Databases = []string{"none", "rota"}
	if r := do(only); r.State != job.Failed || len(r.Snapshots) != 1 || len(r.Errors) != 1 || !strings.Contains(r.Errors[0], "Unknown database 'none'") {
		t.Errorf("one of two databases is not there: %+v", r)
	}
	m.password("違う")
	if r := do(source); r.State != job.Failed || len(r.Snapshots) > 0 || !strings.Contains(strings.Join(r.Errors, ""), "Access denied") {
		t.Errorf("a wrong password: %+v", r)
	}
	m.password("合言葉")
	m.stop()
	if r := do(source); r.State != job.Failed || len(r.Snapshots) > 0 || !strings.Contains(strings.Join(r.Errors, ""), "connect") {
		t.Errorf("a server that is down: %+v", r)
	}
}
