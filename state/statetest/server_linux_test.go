package statetest

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sonae/sonae/state"
)

const childEnv = "SONAE_STATETEST_CHILD"

// TestMain is also the process that is killed: it starts a server, says where
// and waits.
func TestMain(m *testing.M) {
	if os.Getenv(childEnv) == "" {
		os.Exit(Main(m))
	}
	s, err := start()
	if err != nil {
		panic(err)
	}
	os.Stdout.WriteString(s.dir + "\n")
	_, _ = os.Stdin.Read(make([]byte, 1)) // until it is killed
}

// TestServerEndsWithItsProcess: kill -9 of the tests leaves no server, and the
// next tests remove the folder.
func TestServerEndsWithItsProcess(t *testing.T) {
	if _, err := programs(); err != nil {
		t.Skip(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(self)
	child.Env = append(os.Environ(), childEnv+"=1")
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	dir, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	dir = strings.TrimSpace(dir)
	sweep() // the folder is lived in
	if n := servers(t, dir); n == 0 {
		t.Fatal("no server runs in", dir)
	}
	if err := child.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // "signal: killed"
	for end := time.Now().Add(30 * time.Second); servers(t, dir) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the server outlives the tests")
		}
	}
	sweep()
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder of the killed tests is still there: %v", err)
	}
}

// servers counts the processes that work in the folder of a server.
func servers(t *testing.T, dir string) (n int) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range all {
		if at, err := os.Readlink(link); err == nil && strings.HasPrefix(at, dir) {
			n++
		}
	}
	return n
}

// TestNothingIsShared: a test finds nothing of an earlier one, whatever that
// one left behind.
func TestNothingIsShared(t *testing.T) {
	for range 3 {
		t.Run("row", func(t *testing.T) {
			db := Open(t)
			var n int
			if err := db.QueryRow(t.Context(), `SELECT COUNT(*) FROM alert_finding`).Scan(&n); err != nil || n != 0 {
				t.Fatalf("%d rows, %v", n, err)
			}
			write(t, db, `INSERT INTO alert_finding (id, at) VALUES ('1', 1)`)
		})
		t.Run("table", func(t *testing.T) { write(t, Open(t), `CREATE TABLE kept AS SELECT * FROM alert_finding`) })
		t.Run("number", func(t *testing.T) {
			db := Open(t)
			Loose(t, db, "alert_finding")
			write(t, db, `INSERT INTO alert_finding (id, at) VALUES ('x', 1)`)
			write(t, db, `UPDATE alert_finding SET at = CAST('12' AS TEXT) WHERE rowid = 1`)
		})
	}
}

func write(t *testing.T, db *state.DB, query string) {
	t.Helper()
	err := db.Tx(t.Context(), func(tx *state.Tx) error {
		res, err := tx.ExecContext(t.Context(), query)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 && !strings.HasPrefix(query, "CREATE") {
			return fmt.Errorf("%s changed %d rows, %w", query, n, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
