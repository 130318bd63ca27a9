package baseline_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/detect/baseline"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/flow"
)

// inside says that the test program runs again, in a network of its own.
const inside = "SONAE_BASELINE_INSIDE"

// TestPasswordsTriedAgainstSSHAreFound lets a real client fail to log on to a
// real server, on an address of a loopback that nobody else uses, and then lets a
// program log on with its key as often: only the first is told.
func TestPasswordsTriedAgainstSSHAreFound(t *testing.T) {
	if os.Getenv(inside) == "" {
		again(t)
		return
	}
	run(t, "ip", "link", "set", "lo", "up")
	run(t, "ip", "address", "add", "10.77.0.1/32", "dev", "lo")
	run(t, "ip", "address", "add", "10.77.0.2/32", "dev", "lo")
	s := startSSH(t)
	for name, tt := range map[string]struct {
		log  func(i int) error
		want string
	}{
		"failing": {func(int) error { return s.logOn("-o", "IdentityFile="+s.file("wrong")) }, baseline.BruteForce},
		"working": {func(int) error { return s.logOn("-o", "IdentityFile="+s.file("right"), "true") }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var found []event.Event
			stop := listen(t, func(e event.Event) { found = append(found, e) })
			for i := range 16 {
				if err := tt.log(i); (err == nil) != (tt.want == "") {
					t.Fatal(err)
				}
			}
			stop()
			got := map[string]bool{}
			for _, e := range found {
				got[e.Service] = true
				t.Log(e.Service, e.Fields[baseline.FieldReason])
			}
			if tt.want != "" && !got[tt.want] || len(got) > 1 || tt.want == "" && len(got) > 0 {
				t.Errorf("found %v, want %q", got, tt.want)
			}
		})
	}
}

// again runs the test in namespaces of its own.
func again(t *testing.T) {
	for _, tool := range []string{"/usr/sbin/sshd", "ssh", "ssh-keygen", "ip"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not here", tool)
		}
	}
	if os.Getuid() != 0 {
		t.Skip("needs root: sshd and a network of its own")
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("inside: %v", err)
	}
}

func run(t *testing.T, words ...string) {
	t.Helper()
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v %s", words, err, out)
	}
}

// sshServer is a server on 10.77.0.1 port 2022.
type sshServer struct{ dir string }

func (s sshServer) file(name string) string { return filepath.Join(s.dir, name) }

func startSSH(t *testing.T) sshServer {
	t.Helper()
	s := sshServer{t.TempDir()}
	for _, key := range []string{"host", "right", "wrong"} {
		run(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", s.file(key))
	}
	public, err := os.ReadFile(s.file("right.pub"))
	if err == nil {
		err = os.WriteFile(s.file("authorized"), public, 0o600)
	}
	if err == nil {
		err = os.MkdirAll("/run/sshd", 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/usr/sbin/sshd", "-D", "-e", "-f", "/dev/null", "-h", s.file("host"), "-p", "2022", "-o", "ListenAddress=10.77.0.1", "-o", "PidFile="+s.file("pid"),
		"-o", "AuthorizedKeysFile="+s.file("authorized"), "-o", "StrictModes=no", "-o", "PermitRootLogin=yes", "-o", "UsePAM=no", "-o", "MaxStartups=100")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for range 100 {
		if s.logOn("-o", "IdentityFile="+s.file("right"), "true") == nil {
			return s
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("sshd does not answer")
	return s
}

func (s sshServer) logOn(words ...string) error {
	ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
	defer stop()
	base := []string{"-F", "none", "-p", "2022", "-b", "10.77.0.2", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
		"-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR"}
	var options, command []string
	for i := 0; i < len(words); i++ {
		if words[i] == "-o" {
			options = append(options, words[i], words[i+1])
			i++
			continue
		}
		command = append(command, words[i])
	}
	args := append(append(append(base, options...), "root@10.77.0.1"), command...)
	cmd := exec.CommandContext(ctx, "ssh", args...)
	cmd.Stdout = &bytes.Buffer{}
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(said.String()))
	}
	return nil
}

// listen watches the packets of the loopback until stop is called.
func listen(t *testing.T, tell func(event.Event)) (stop func()) {
	t.Helper()
	proto := uint16(unix.ETH_P_ALL<<8 | unix.ETH_P_ALL>>8)
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, int(proto))
	if err == nil {
		err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50000})
	}
	if err != nil {
		t.Fatal(err)
	}
	w, n := baseline.New(baseline.Config{}), 0
	table := flow.New(flow.Config{Emit: func(f flow.Flow) {
		e := flow.Event(f, func(a netip.Addr) bool { return a == netip.MustParseAddr("10.77.0.2") })
		n++
		e.ID, e.Host = strconv.Itoa(n), hex.EncodeToString([]byte("h"))
		if f.Phase == flow.End {
			t.Log(f.Label, f.Out, f.In, f.Last.Sub(f.First))
		}
		if o, ok := baseline.Of(&e); ok {
			for _, b := range w.Observe(o) {
				tell(b)
			}
		}
	}})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 1<<17)
		for ctx.Err() == nil {
			size, from, err := unix.Recvfrom(fd, buf, 0)
			if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil {
				t.Error(err)
				return
			}
			if l, ok := from.(*unix.SockaddrLinklayer); ok && l.Pkttype != unix.PACKET_OUTGOING { // the loopback shows each twice
				table.Packet(time.Now(), flow.LinkEthernet, buf[:size])
			}
		}
	})
	return func() {
		time.Sleep(200 * time.Millisecond)
		cancel()
		wg.Wait()
		_ = unix.Close(fd)
		table.Flush()
	}
}
