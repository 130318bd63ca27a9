package act

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/action/order"
)

// A database on the machine keeps working while the machine is isolated: the
// ward's software beside it must be able to save.
func TestALocalPostgreSQLKeepsWorkingWhileIsolated(t *testing.T) {
	bins, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(bins) == 0 {
		t.Skip("postgresql is not installed")
	}
	l := newLab(t)
	bin := filepath.Dir(bins[len(bins)-1])
	base, err := os.MkdirTemp("", "sonae-pg") // its user must be able to enter the folders above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	as := func(name string, args ...string) *exec.Cmd {
		return exec.Command("ip", append([]string{"netns", "exec", l.machine, "setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", filepath.Join(bin, name)}, args...)...)
	}
	must := func(c *exec.Cmd) string {
		t.Helper()
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v: %s", c.Args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	must(exec.Command("chown", "nobody", base))
	data := base + "/data"
	must(as("initdb", "-D", data, "-U", "sonae", "--auth=trust", "--locale=C", "--no-instructions"))
	server := as("postgres", "-D", data, "-c", "listen_addresses=127.0.0.1", "-c", "port=15432", "-c", "unix_socket_directories=")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Process.Signal(os.Interrupt); _ = server.Wait() })
	sql := func(text string) *exec.Cmd {
		return as("psql", "-h", "127.0.0.1", "-p", "15432", "-U", "sonae", "-d", "postgres", "-Atc", text)
	}
	if !within(60*time.Second, func() bool { return sql("SELECT 1").Run() == nil }) {
		t.Fatal("the database does not run")
	}
	must(sql("CREATE TABLE ward (n int)"))
	// One connection from before, which goes on through the isolation.
	before := as("psql", "-h", "127.0.0.1", "-p", "15432", "-U", "sonae", "-d", "postgres", "-Atc", "SELECT pg_sleep(3); INSERT INTO ward VALUES (1)")
	if err := before.Start(); err != nil {
		t.Fatal(err)
	}
	hub, peer := l.serve(l.hub, hubV4), l.serve(l.stranger, strangerV4)
	a := l.agent(t.TempDir(), hub.addr)
	r, _ := a.do(isolateOrder("or-1", time.Minute, peer.addr, hub.addr))
	wantPhase(t, r, order.Applied)
	if a.reaches(peer.addr) {
		t.Fatal("not isolated")
	}
	must(sql("INSERT INTO ward VALUES (2)"))
	if err := before.Wait(); err != nil {
		t.Errorf("the connection from before: %v", err)
	}
	if got := must(sql("SELECT sum(n), count(*) FROM ward")); got != "3|2" {
		t.Errorf("the table has %s, want both rows", got)
	}
}
