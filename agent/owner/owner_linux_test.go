package owner

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const roleVar = "SONAE_OWNER_TEST_ROLE"

// TestMain lets the test program start itself as a short-lived client.
func TestMain(m *testing.M) {
	if os.Getenv(roleVar) == "" {
		os.Exit(m.Run())
	}
	c, err := net.Dial(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(c.LocalAddr())
	io.Copy(io.Discard, os.Stdin) // until the test lets go
	c.Close()
}

func address(a net.Addr) netip.AddrPort { return netip.MustParseAddrPort(a.String()) }

// me checks that p is this test program.
func me(t *testing.T, p Process, ok bool) {
	t.Helper()
	if !ok {
		t.Error("no owner was found")
		return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if p.PID != os.Getpid() || p.Image != exe || p.Deleted || p.User != u.Username || p.Command != strings.Join(os.Args, " ") {
		t.Errorf("%+v, want PID %d, %s, %s", p, os.Getpid(), exe, u.Username)
	}
	if age := time.Since(p.Start); age < -2*time.Second || age > 15*time.Minute {
		t.Errorf("started %v ago", age)
	}
}

// clockAt is a clock that a test moves.
type clockAt struct{ at time.Time }

func (c *clockAt) now() time.Time { return c.at }

func TestRealSockets(t *testing.T) {
	loop := netip.MustParseAddr("127.0.0.1")
	t.Run("TCP, both ends", func(t *testing.T) {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		c, err := net.Dial("tcp4", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		f := New(Config{})
		p, ok := f.Of("tcp", address(c.LocalAddr()), address(c.RemoteAddr()))
		me(t, p, ok)
		p, ok = f.Of("tcp", address(s.LocalAddr()), address(s.RemoteAddr()))
		me(t, p, ok)
		p, ok = f.Of("tcp", address(l.Addr()), netip.AddrPort{})
		me(t, p, ok)
	})
	t.Run("IPv4 through a socket of IPv6", func(t *testing.T) {
		l, err := net.Listen("tcp", "[::]:0")
		if err != nil {
			t.Skipf("no IPv6 here: %v", err)
		}
		defer l.Close()
		port := address(l.Addr()).Port()
		c, err := net.Dial("tcp4", netip.AddrPortFrom(loop, port).String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		f := New(Config{})
		p, ok := f.Of("tcp", netip.AddrPortFrom(loop, port), address(c.LocalAddr()))
		me(t, p, ok)
		// A connection that is refused or not yet accepted belongs to the listener.
		p, ok = f.Of("tcp", netip.AddrPortFrom(loop, port), netip.MustParseAddrPort("203.0.113.7:9"))
		me(t, p, ok)
	})
	t.Run("UDP that was never connected", func(t *testing.T) {
		for _, where := range []string{"0.0.0.0:0", "127.0.0.1:0", "[::]:0"} {
			c, err := net.ListenPacket("udp", where)
			if err != nil {
				t.Skipf("no IPv6 here: %v", err)
			}
			defer c.Close()
			p, ok := New(Config{}).Of("udp", netip.AddrPortFrom(loop, address(c.LocalAddr()).Port()), netip.MustParseAddrPort("203.0.113.7:6881"))
			me(t, p, ok)
		}
	})
	t.Run("UDP that is connected", func(t *testing.T) {
		c, err := net.Dial("udp4", "127.0.0.1:9")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		f := New(Config{})
		p, ok := f.Of("udp", address(c.LocalAddr()), address(c.RemoteAddr()))
		me(t, p, ok)
		if p, ok := f.Of("tcp", address(c.LocalAddr()), address(c.RemoteAddr())); ok {
			t.Errorf("a TCP connection with the addresses of a UDP one belongs to %+v", p)
		}
	})
	t.Run("nobody", func(t *testing.T) {
		f := New(Config{})
		if p, ok := f.Of("tcp", netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("192.0.2.2:2")); ok {
			t.Errorf("%+v", p)
		}
		if _, ok := f.Of("sctp", netip.AddrPort{}, netip.AddrPort{}); ok {
			t.Error("an unknown protocol has an owner")
		}
	})
}

// client starts a copy of this program that connects to an address, and
// returns its end of the connection.
func client(t *testing.T, network, to string) (pid int, local netip.AddrPort, quit func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], network, to, "秘密 no")
	cmd.Env = append(os.Environ(), roleVar+"=client")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid, netip.MustParseAddrPort(strings.TrimSpace(line)), func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
}

func TestAProcessThatLivedShortlyStillHasAName(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	clock := &clockAt{time.Now()}
	f := New(Config{Now: clock.now})
	pid, local, quit := client(t, "tcp4", l.Addr().String())
	// Somebody asks about another connection while the process lives.
	f.Of("tcp", address(l.Addr()), netip.AddrPort{})
	quit()
	for range 3 {
		clock.at = clock.at.Add(5 * time.Second)
		p, ok := f.Of("tcp", local, address(l.Addr()))
		if !ok || p.PID != pid || !strings.HasSuffix(p.Command, "秘密 no") {
			t.Fatalf("found %v: %+v, want PID %d", ok, p, pid)
		}
	}
	clock.at = clock.at.Add(time.Minute)
	if p, ok := f.Of("tcp", local, address(l.Addr())); ok {
		t.Errorf("after a minute the connection still belongs to %+v", p)
	}
	if len(f.known) > len(f.sockets)+1 {
		t.Errorf("%d owners are remembered for %d sockets", len(f.known), len(f.sockets))
	}
}

func TestProcIsNotReadAtEveryQuestion(t *testing.T) {
	clock := &clockAt{time.Now()}
	f := New(Config{Now: clock.now, Every: time.Hour})
	f.Of("tcp", netip.MustParseAddrPort("192.0.2.1:1"), netip.AddrPort{})
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	clock.at = clock.at.Add(time.Minute)
	if _, ok := f.Of("tcp", address(l.Addr()), netip.AddrPort{}); ok {
		t.Error("/proc was read again before its time")
	}
	clock.at = clock.at.Add(time.Hour)
	p, ok := f.Of("tcp", address(l.Addr()), netip.AddrPort{})
	me(t, p, ok)
}

// TestReadsAProcOfItsOwn uses files with known content, for what cannot be
// made to happen with real processes.
func TestReadsAProcOfItsOwn(t *testing.T) {
	dir := t.TempDir()
	write := func(path, text string) {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	link := func(path, to string) {
		write(filepath.Join(filepath.Dir(path), ".dir"), "")
		if err := os.Symlink(to, filepath.Join(dir, path)); err != nil {
			t.Fatal(err)
		}
	}
	write("stat", "cpu 1 2 3\nbtime 1795251600\nprocesses 9\n")
	write("net/udp", "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n"+
		"  10: 0100007F:1AE1 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 777 2 0000 0\n")
	write("42/stat", "42 (a (strange) name) S 1 1 1 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 150 999 888")
	write("42/status", "Name:\tx\nUid:\t12345678\t12345679\t0\t0\n")
	write("42/cmdline", "/tmp/torrent\x00--port\x006881\x00")
	link("42/exe", "/tmp/torrent (deleted)")
	link("42/fd/7", "socket:[777]")
	write("77/stat", "gone")
	link("77/fd/3", "pipe:[5]")
	p, ok := New(Config{Proc: dir}).Of("udp", netip.MustParseAddrPort("127.0.0.1:6881"), netip.MustParseAddrPort("203.0.113.7:1"))
	want := Process{PID: 42, Image: "/tmp/torrent", Deleted: true, Command: "/tmp/torrent --port 6881", User: "12345679", Start: time.Unix(1795251600, 0).Add(1500 * time.Millisecond).UTC()}
	if d := cmp.Diff(want, p); d != "" || !ok {
		t.Errorf("found %v (-want +got):\n%s", ok, d)
	}
}

func FuzzReadTable(f *testing.F) {
	f.Add([]byte("heading\n  10: 0100007F:1AE1 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 777 2 0000 0\n"))
	f.Add([]byte("\n 0: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 5\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		all := make(map[conn]uint64)
		readTable(bytes.NewReader(b), true, all)
		for c, inode := range all {
			if inode == 0 || !c.udp || c.local.Addr().Is4In6() {
				t.Errorf("%+v %d", c, inode)
			}
		}
		if len(all) > bytes.Count(b, []byte("\n"))+1 {
			t.Errorf("%d sockets from %d lines", len(all), bytes.Count(b, []byte("\n")))
		}
	})
}

// What somebody saw happen is known without a look, for as long as an owner is
// remembered, and its memory is bounded.
func TestWhatWasSeenIsNoted(t *testing.T) {
	clock := &clockAt{time.Now()}
	f := New(Config{Now: clock.now, Every: time.Hour})
	f.next = clock.at.Add(time.Hour)
	local, remote := netip.MustParseAddrPort("[::ffff:192.0.2.1]:40000"), netip.MustParseAddrPort("198.51.100.7:443")
	f.Note("tcp", local, remote, Process{PID: 7, Command: "curl"})
	f.Note("icmp", local, remote, Process{PID: 8})
	if p, ok := f.Of("tcp", netip.MustParseAddrPort("192.0.2.1:40000"), remote); !ok || p.PID != 7 {
		t.Errorf("found %v: %+v", ok, p)
	}
	for port := range uint16(65535) {
		f.Note("udp", netip.AddrPortFrom(local.Addr(), port), remote, Process{PID: 9})
	}
	if len(f.known) > maxKnown {
		t.Errorf("%d owners are remembered", len(f.known))
	}
	clock.at = clock.at.Add(time.Minute)
	if p, ok := f.Of("tcp", local, remote); ok {
		t.Errorf("after a minute the connection still belongs to %+v", p)
	}
	f.Note("tcp", local, remote, Process{PID: 10})
	if p, ok := f.Of("tcp", local, remote); !ok || p.PID != 10 {
		t.Errorf("when all were old: %v, %+v", ok, p)
	}
}
