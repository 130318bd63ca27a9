//go:build e2e

package e2e

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/e2e/netns"
)

// database is a PostgreSQL server of a machine, reached by its socket.
type database struct {
	host   *netns.Host
	bin    string // folder of PostgreSQL's programs
	dir    string // of data and socket; owned by postgres
	server *netns.Process
}

// visits is what a ward's program writes: one row after the other, each in a
// transaction with the counter that numbers it. So what a restored state must be
// can be told from the counter alone.
const visits = `
CREATE EXTENSION amcheck;
CREATE TABLE counter (n bigint NOT NULL);
INSERT INTO counter VALUES (0);
CREATE TABLE visit (id bigint PRIMARY KEY, patient text NOT NULL, note text NOT NULL, digest text NOT NULL);
CREATE INDEX ON visit (patient);
CREATE INDEX ON visit (digest);
`

// writing is what pgbench does again and again.
const writing = `BEGIN;
UPDATE counter SET n = n + 1 RETURNING n \gset
INSERT INTO visit VALUES (:n, 'patient ' || :n % 977, repeat('note ' || :n || ' ', 12), md5('visit ' || :n));
COMMIT;
`

// newDatabase makes a folder for a server; dir must be one that postgres reaches.
func newDatabase(t *testing.T, h *netns.Host, dir string) *database {
	t.Helper()
	bins, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil || len(bins) == 0 {
		t.Fatal("PostgreSQL is not installed (Debian: apt install postgresql)")
	}
	c := &database{host: h, bin: bins[len(bins)-1], dir: dir}
	must(t, os.MkdirAll(dir, 0o755))
	openForAll(t, filepath.Join(dir, "data"))
	c.own(t, dir)
	return c
}

func (c *database) data() string { return filepath.Join(c.dir, "data") }

// own gives files to the account of the server.
func (c *database) own(t *testing.T, path string) {
	t.Helper()
	if out, err := exec.Command("chown", "-R", "postgres:postgres", path).CombinedOutput(); err != nil {
		t.Fatalf("chown: %v: %s", err, out)
	}
}

// command is a program of PostgreSQL, as the account that it wants.
func (c *database) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	as := []string{"--reuid", "postgres", "--regid", "postgres", "--clear-groups", filepath.Join(c.bin, program)}
	cmd := c.host.Command(ctx, "setpriv", append(as, args...)...)
	cmd.Dir, cmd.Env = "/", append(os.Environ(), "PGHOST="+c.dir, "PGUSER=postgres", "LC_ALL=C.UTF-8")
	return cmd
}

// run runs a program of PostgreSQL to its end.
func (c *database) run(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := c.command(t.Context(), program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", program, err, out)
	}
	return strings.TrimSpace(string(out))
}

// begin makes a new database with the tables and starts it.
func (c *database) begin(t *testing.T) {
	t.Helper()
	c.run(t, "initdb", "-D", c.data(), "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--data-checksums", "--no-instructions")
	c.start(t)
	c.ask(t, visits)
}

// start starts the server on the data that are there, and waits for it.
func (c *database) start(t *testing.T) {
	t.Helper()
	cmd := c.command(context.WithoutCancel(t.Context()), "postgres", "-D", c.data(), "-k", c.dir, "-c", "listen_addresses=", "-c", "wal_keep_size=256MB")
	logged(t, cmd, "PostgreSQL in "+c.dir)
	var err error
	if c.server, err = c.host.Start(cmd); err != nil {
		t.Fatal(err)
	}
	await(t, 2*time.Minute, "PostgreSQL answering", func() bool {
		select {
		case <-c.server.Done():
			t.Fatal("PostgreSQL ended")
		default:
		}
		return c.command(t.Context(), "pg_isready", "-q").Run() == nil
	})
}

// ask runs SQL and returns what it says, without ornament.
func (c *database) ask(t *testing.T, sql string) string {
	t.Helper()
	return c.run(t, "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-c", sql)
}

// written is how many rows are committed.
func (c *database) written(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(c.ask(t, "SELECT n FROM counter"))
	must(t, err)
	return n
}

// write lets a program write rows until the world ends or the server does.
func (c *database) write(t *testing.T) {
	t.Helper()
	script := filepath.Join(c.dir, "writing.sql")
	must(t, os.WriteFile(script, []byte(writing), 0o644))
	cmd := c.command(context.WithoutCancel(t.Context()), "pgbench", "-n", "-M", "simple", "-c", "1", "-R", "150", "-T", "3600", "-f", script, "postgres")
	logged(t, cmd, "the program that writes")
	if _, err := c.host.Start(cmd); err != nil {
		t.Fatal(err)
	}
	await(t, time.Minute, "rows being written", func() bool { return c.written(t) > 100 })
}

// sound runs amcheck over every table and index, with every row of the heap
// looked up in its indexes, and PostgreSQL's own dump, which reads every row.
func (c *database) sound(t *testing.T) {
	t.Helper()
	c.run(t, "pg_amcheck", "--all", "--install-missing", "--heapallindexed", "--parent-check", "--rootdescend")
	c.run(t, "pg_dump", "-d", "postgres", "-f", "/dev/null")
}

// holds wants all rows up to the counter, none twice, none missing, each as it
// was written, and the counter between two numbers.
func (c *database) holds(t *testing.T, least, most int) int {
	t.Helper()
	n := c.written(t)
	if n < least || n > most {
		t.Errorf("the restored database has %d rows; %d were committed before the backup began, %d when it was over", n, least, most)
	}
	all := md5.New()
	for i := range n {
		sum := md5.Sum(fmt.Appendf(nil, "visit %d", i+1))
		fmt.Fprint(all, hex.EncodeToString(sum[:]))
	}
	want := fmt.Sprintf("%d|1|%d|0|%x", n, n, all.Sum(nil))
	got := c.ask(t, `SELECT count(*), min(id), max(id), count(*) FILTER (WHERE digest <> md5('visit ' || id) OR patient <> 'patient ' || id % 977 OR note <> repeat('note ' || id || ' ', 12)), md5(string_agg(digest, '' ORDER BY id)) FROM visit`)
	if got != want {
		t.Errorf("rows: %s, want %s", got, want)
	}
	return n
}
