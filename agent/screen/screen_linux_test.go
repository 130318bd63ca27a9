package screen_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/screen"
)

// terminal opens a pseudoterminal and returns the end that a screen would be,
// and the name of the other, as utmp has it.
func terminal(t *testing.T) (*os.File, string) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	m := os.NewFile(uintptr(fd), "ptmx")
	t.Cleanup(func() { _ = m.Close() })
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	return m, "pts/" + strconv.Itoa(n)
}

// loggedIn writes an utmp(5) in which a user is logged in at a terminal.
func loggedIn(t *testing.T, line, name string) string {
	t.Helper()
	const userProcess = 7
	row := make([]byte, 384)
	binary.NativeEndian.PutUint16(row, userProcess)
	binary.NativeEndian.PutUint32(row[4:], uint32(os.Getpid()))
	copy(row[8:40], line)
	copy(row[44:76], name)
	binary.NativeEndian.PutUint32(row[340:], uint32(time.Now().Unix()))
	path := filepath.Join(t.TempDir(), "utmp")
	if err := os.WriteFile(path, row, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// within runs a command where the system's utmp is another one.
func within(utmp, command string) []string {
	return []string{"unshare", "--mount", "sh", "-c", "mount -t tmpfs none /run && cp " + utmp + " /run/utmp && exec " + command}
}

func TestANoteIsWrittenToTerminals(t *testing.T) {
	if out, err := exec.Command("unshare", "--mount", "true").CombinedOutput(); err != nil {
		t.Skipf("no namespaces here: %s", out)
	}
	master, line := terminal(t)
	utmp := loggedIn(t, line, "sato")
	s := screen.New(screen.Config{Runtime: t.TempDir(), Wall: within(utmp, "wall"), Who: within(utmp, "who")})
	var signs []screen.Sign
	n := order.Note{Title: "【Sonae 緊急】院内網を切ります", Text: "担当者は連絡を。\x1b[2J\x07", Button: "確認", Urgent: true, For: time.Minute}
	if err := s.Show(t.Context(), n, func(g screen.Sign) { signs = append(signs, g) }); err != nil {
		t.Fatal(err)
	}
	if len(signs) != 1 || signs[0] != (screen.Sign{Session: line, User: "sato"}) {
		t.Errorf("signs are %v", signs)
	}
	got := read(t, master, "担当者は連絡を。")
	if !strings.Contains(got, "院内網を切ります") || strings.Contains(got, "\x1b[2J") {
		t.Errorf("the terminal shows %q", got)
	}
}

// read reads what a terminal shows until a text is there.
func read(t *testing.T, m *os.File, until string) string {
	t.Helper()
	if err := m.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var all bytes.Buffer
	b := make([]byte, 4096)
	for !strings.Contains(all.String(), until) {
		n, err := m.Read(b)
		all.Write(b[:n])
		if err != nil {
			t.Fatalf("the terminal shows %q: %v", all.String(), err)
		}
	}
	return all.String()
}

func TestNobodyIsLoggedIn(t *testing.T) {
	s := screen.New(screen.Config{Runtime: t.TempDir(), Who: []string{"true"}, Wall: []string{"false"}})
	err := s.Show(t.Context(), order.Note{Title: "x", For: time.Second}, func(g screen.Sign) { t.Errorf("shown on %v", g) })
	if err != nil {
		t.Fatal(err)
	}
}

// TestADesktopShowsANoteAndAnswers needs a desktop: a session bus, notify-send
// and a program that shows notifications, as SONAE_TEST_DESKTOP says: its
// command, which also presses the button.
func TestADesktopShowsANoteAndAnswers(t *testing.T) {
	command := os.Getenv("SONAE_TEST_DESKTOP")
	if command == "" {
		t.Skip("SONAE_TEST_DESKTOP names no desktop: see make test-desktop")
	}
	dir := filepath.Join(t.TempDir(), strconv.Itoa(os.Getuid()))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	desktop := exec.Command("sh", command) // ended by a signal, which lets it end what it started
	desktop.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+dir, "DBUS_SESSION_BUS_ADDRESS=unix:path="+dir+"/bus")
	desktop.Stdout, desktop.Stderr = t.Output(), t.Output()
	desktop.WaitDelay = 10 * time.Second
	if err := desktop.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = desktop.Process.Signal(unix.SIGTERM); _ = desktop.Wait() })
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, "ready")); err == nil {
			break
		}
	}
	s := screen.New(screen.Config{Runtime: filepath.Dir(dir), Who: []string{"true"}})
	var signs []screen.Sign
	if err := s.Show(t.Context(), order.Note{Title: "訓練", Text: "<b>本文</b>", Button: "確認", For: 30 * time.Second}, func(g screen.Sign) { signs = append(signs, g) }); err != nil {
		t.Fatal(err)
	}
	if len(signs) != 2 || signs[0].Seen || !signs[1].Seen {
		t.Errorf("signs are %v", signs)
	}
}
