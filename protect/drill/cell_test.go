package drill

import (
	"bufio"
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
)

const childEnv = "SONAE_DRILL_CHILD"

// child is the process that is killed: it starts something in a cell and waits.
func child() {
	c, err := newCell(os.Getenv(childEnv))
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	p, err := launch(c.command("sleep", "600"))
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	fmt.Println(p.cmd.Process.Pid)
	<-p.done
}

func flipByte(t *testing.T, path string, at int64) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[at] ^= 0x20
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func scratchOf(t *testing.T) string {
	t.Helper()
	dir, err := (&Desk{Deps: Deps{Dir: t.TempDir()}}).scratch("rr-1")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// What was restored may be an intruder's: it sees nothing and reaches nothing.
func TestACellKeepsWhatIsInIt(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("鍵"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := newCell(scratchOf(t))
	if err != nil {
		t.Fatal(err)
	}
	for what, tt := range map[string]struct {
		script, want string
	}{
		"it is not root":                {"id -u", strconv.Itoa(c.uid)},
		"it has no capability":          {"grep -c 'CapBnd:\t0000000000000000' /proc/self/status", "1"},
		"it gains no rights":            {"grep NoNewPrivs /proc/self/status | tr -cd 0-9", "1"},
		"it has no network but its own": {"ip -o link | grep -vc ' lo:' || :", "0"},
		"it reaches nobody":             {"ip route | wc -l", "0"},
		"it sees no other process":      {"ls /proc | grep -c '^[0-9]*$' | awk '{print ($1 < 8)}'", "1"},
		"it cannot write":               {"touch /usr/x /etc/x /run/x /tmp/x 2>/dev/null; ls /usr/x /etc/x /run/x /tmp/x 2>/dev/null | wc -l", "0"},
		"it cannot mount":               {"mount -t tmpfs x /run/drill/tmp 2>/dev/null || echo no", "no"},
		"it writes where it may":        {"echo yes >tmp/x; cat tmp/x", "yes"},
		"it finds no socket":            {"find /run /tmp /var/run/ -type s 2>/dev/null | wc -l", "0"},
		"it reads no secret":            {"cat " + secret + " 2>/dev/null || echo no", "no"},
	} {
		out, stderr, rc, err := call(t.Context(), c.command("sh", "-c", tt.script))
		if got := strings.TrimSpace(out); err != nil || rc != 0 || got != tt.want {
			t.Errorf("%s: %q, %q, status %d, %v; want %q", what, got, stderr, rc, err, tt.want)
		}
	}
}

func TestNothingOutlivesTheHub(t *testing.T) {
	dir := scratchOf(t)
	if err := os.WriteFile(filepath.Join(dir, "patient"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatalf("the child says %q", line)
	}
	// it has entered the cell when it has become what it shall run
	await(t, "it runs in its cell", func() bool { b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); return string(b) == "sleep\n" })
	// a mount that a killed hub leaves
	if err := os.Mkdir(filepath.Join(dir, mountedIn), 0o755); err != nil {
		t.Fatal(err)
	}
	precious := t.TempDir()
	if err := os.WriteFile(filepath.Join(precious, "keep"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(precious, filepath.Join(dir, mountedIn), "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	await(t, "what ran in the cell is gone", func() bool { return unix.Kill(pid, 0) == unix.ESRCH })
	if err := sweep(filepath.Dir(dir)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the scratch folder is still there: %v", err)
	}
	if _, err := os.Stat(filepath.Join(precious, "keep")); err != nil {
		t.Errorf("what was mounted was removed with it: %v", err)
	}
}

// await polls for what another process does.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain: %s", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
