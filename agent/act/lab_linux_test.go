package act

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/act/actiontest"
)

// The lab is three network namespaces: the machine, the hub, and a stranger
// beyond, all with IPv4 and IPv6. The machine is this test binary, started
// again inside of its namespace and told what to do line by line, so that it
// can be killed. The sockets of hub and stranger are opened inside of their
// namespaces and served by the test itself.

const agentEnv = "SONAE_ACT_TEST_AGENT"

func TestMain(m *testing.M) {
	if dir := os.Getenv(agentEnv); dir != "" {
		agentMain(dir)
		return
	}
	os.Exit(m.Run())
}

// Addresses of the lab.
const (
	hubV4, hubV6           = "10.77.1.2", "fd77:1::2"
	strangerV4, strangerV6 = "10.77.2.2", "fd77:2::2"
)

type lab struct {
	t                      *testing.T
	machine, hub, stranger string
}

var labs atomic.Int32

func newLab(t *testing.T) *lab {
	t.Helper()
	t.Parallel() // most of a test is waiting
	return makeLab(t)
}

func makeLab(t *testing.T) *lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	n := labs.Add(1)
	l := &lab{t: t}
	for name, to := range map[string]*string{"m": &l.machine, "h": &l.hub, "s": &l.stranger} {
		*to = fmt.Sprintf("sact%d-%d%s", os.Getpid(), n, name)
		ns := *to
		l.ip("netns", "add", ns)
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", ns).Run() })
		l.ip("-n", ns, "link", "set", "lo", "up")
	}
	l.join(l.hub, "eth1", "10.77.1.1", "fd77:1::1", hubV4, hubV6)
	l.join(l.stranger, "eth2", "10.77.2.1", "fd77:2::1", strangerV4, strangerV6)
	return l
}

func (l *lab) ip(args ...string) {
	l.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		l.t.Fatalf("ip %v: %v: %s", args, err, out)
	}
}

// join lays a cable from the machine to another namespace.
func (l *lab) join(ns, dev, here4, here6, there4, there6 string) {
	l.t.Helper()
	l.ip("-n", l.machine, "link", "add", dev, "type", "veth", "peer", "name", "eth0", "netns", ns)
	for _, e := range [][4]string{{l.machine, dev, here4, here6}, {ns, "eth0", there4, there6}} {
		l.ip("-n", e[0], "addr", "add", e[2]+"/24", "dev", e[1])
		l.ip("-n", e[0], "addr", "add", e[3]+"/64", "dev", e[1], "nodad")
		l.ip("-n", e[0], "link", "set", e[1], "up")
	}
}

// inside runs f on a thread that is in the namespace; sockets that it opens
// stay there.
func (l *lab) inside(ns string, f func() error) {
	l.t.Helper()
	errc := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		fd, err := unix.Open("/run/netns/"+ns, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Setns(fd, unix.CLONE_NEWNET)
			_ = unix.Close(fd)
		}
		if err == nil {
			err = f()
		}
		errc <- err
	}()
	if err := <-errc; err != nil {
		l.t.Fatalf("in %s: %v", ns, err)
	}
}

// server answers each line with the same line and counts what it received.
type server struct {
	addr     string
	ln       net.Listener
	received atomic.Int64
	wg       sync.WaitGroup
	mu       sync.Mutex
	conns    []net.Conn
}

func (l *lab) serve(ns, addr string) *server {
	l.t.Helper()
	s := &server{}
	l.inside(ns, func() (err error) {
		s.ln, err = net.Listen("tcp", net.JoinHostPort(addr, "0"))
		return err
	})
	s.addr = s.ln.Addr().String()
	s.wg.Go(s.accept)
	l.t.Cleanup(s.close)
	return s
}

func (s *server) accept() {
	for {
		c, err := s.ln.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns = append(s.conns, c)
		s.mu.Unlock()
		s.wg.Go(func() {
			b := make([]byte, 4096)
			for {
				n, err := c.Read(b)
				s.received.Add(int64(n))
				if err != nil {
					return
				}
				if _, err := c.Write(b[:n]); err != nil {
					return
				}
			}
		})
	}
}

func (s *server) close() {
	_ = s.ln.Close()
	s.mu.Lock()
	for _, c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// request and reply are the lines between the test and the machine.
type request struct {
	Do      *order.Order `json:"do,omitempty"`
	Resume  bool         `json:"resume,omitempty"`
	Run     bool         `json:"run,omitempty"`     // start watching
	Reports bool         `json:"reports,omitempty"` // what Run reported since the last time
	Status  bool         `json:"status,omitempty"`
	Code    string       `json:"code,omitempty"`
	Dial    string       `json:"dial,omitempty"`   // TCP, one line there and back
	UDP     string       `json:"udp,omitempty"`    // one datagram out, one back
	From    int          `json:"from,omitempty"`   // source port of UDP
	Stream  string       `json:"stream,omitempty"` // keep a connection and send every 5 ms
}

type reply struct {
	Results  []order.Result `json:"results,omitempty"`
	Isolated bool           `json:"isolated,omitempty"`
	Action   string         `json:"action,omitempty"`
	Dropped  uint64         `json:"dropped,omitempty"`
	Err      string         `json:"err,omitempty"`
	Took     time.Duration  `json:"took"`
}

// agent is the machine's agent process.
type agent struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func (l *lab) agent(dir, hub string) *agent {
	l.t.Helper()
	self, err := os.Executable()
	if err != nil {
		l.t.Fatal(err)
	}
	cmd := exec.Command("ip", "netns", "exec", l.machine, self)
	cmd.Env = append(os.Environ(), agentEnv+"="+dir, "SONAE_ACT_TEST_HUB="+hub)
	cmd.Stderr = l.t.Output()
	in, err := cmd.StdinPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	a := &agent{t: l.t, cmd: cmd, in: in, out: bufio.NewScanner(out)}
	l.t.Cleanup(a.kill)
	return a
}

// kill is kill -9.
func (a *agent) kill() {
	_ = a.cmd.Process.Kill() // `ip netns exec` has become the agent by exec
	_ = a.cmd.Wait()
}

func (a *agent) ask(q request) reply {
	a.t.Helper()
	if err := json.NewEncoder(a.in).Encode(q); err != nil {
		a.t.Fatalf("ask the agent: %v", err)
	}
	if !a.out.Scan() {
		a.t.Fatalf("the agent ended: %v", a.out.Err())
	}
	var r reply
	if err := json.Unmarshal(a.out.Bytes(), &r); err != nil {
		a.t.Fatal(err)
	}
	return r
}

func (a *agent) do(o order.Order) (order.Result, time.Duration) {
	a.t.Helper()
	r := a.ask(request{Do: &o})
	return r.Results[0], r.Took
}

func (a *agent) reaches(addr string) bool {
	a.t.Helper()
	return a.ask(request{Dial: addr}).Err == ""
}

// agentMain is the process on the machine.
func agentMain(dir string) {
	hub := os.Getenv("SONAE_ACT_TEST_HUB")
	var hubAddr netip.AddrPort
	if hub != "" {
		hubAddr = netip.MustParseAddrPort(hub)
	}
	a := New(Config{Dir: dir, Now: actiontest.Now(), Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Hub: func() netip.AddrPort { return hubAddr },
		Probe: func(ctx context.Context) error {
			return echo(ctx, "tcp", hub)
		}})
	var mu sync.Mutex
	var reported []order.Result
	out := json.NewEncoder(os.Stdout)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var q request
		if err := json.Unmarshal(lines.Bytes(), &q); err != nil {
			panic(err)
		}
		start := time.Now()
		var r reply
		switch {
		case q.Do != nil:
			r.Results = []order.Result{a.Do(context.Background(), *q.Do)}
		case q.Resume:
			r.Results = a.Resume(context.Background())
		case q.Run:
			go a.Run(context.Background(), func(x order.Result) { mu.Lock(); reported = append(reported, x); mu.Unlock() })
		case q.Reports:
			mu.Lock()
			r.Results, reported = reported, nil
			mu.Unlock()
		case q.Status:
			r.Action, _, r.Isolated = a.Status()
			r.Dropped, _, _ = a.Dropped()
		default:
			r.Err = agentTry(a, q)
		}
		r.Took = time.Since(start)
		if err := out.Encode(r); err != nil {
			panic(err)
		}
	}
}

func agentTry(a *Actor, q request) string {
	ctx, stop := context.WithTimeout(context.Background(), 600*time.Millisecond)
	defer stop()
	var err error
	switch {
	case q.Code != "":
		_, err = a.Release(ctx, q.Code)
	case q.Dial != "":
		err = echo(ctx, "tcp", q.Dial)
	case q.UDP != "" && q.From != 0:
		d := net.Dialer{LocalAddr: &net.UDPAddr{Port: q.From}}
		var c net.Conn
		if c, err = d.DialContext(ctx, "udp", q.UDP); err == nil {
			_, err = c.Write([]byte("out\n"))
			err = errors.Join(err, c.Close())
		}
	case q.UDP != "":
		err = echo(ctx, "udp", q.UDP)
	case q.Stream != "":
		var c net.Conn
		if c, err = net.Dial("tcp", q.Stream); err == nil {
			go func() {
				for b := make([]byte, 1000); ; time.Sleep(5 * time.Millisecond) {
					if _, err := c.Write(b); err != nil {
						return
					}
				}
			}()
			go func() { _, _ = io.Copy(io.Discard, c) }()
		}
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func echo(ctx context.Context, network, addr string) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if end, ok := ctx.Deadline(); ok {
		if err := c.SetDeadline(end); err != nil {
			return err
		}
	}
	if _, err := c.Write([]byte("beat\n")); err != nil {
		return err
	}
	b := make([]byte, 16)
	n, err := c.Read(b)
	if err == nil && n == 0 {
		err = errors.New("no answer")
	}
	return err
}

// within waits until ok, for at most d.
func within(d time.Duration, ok func() bool) bool {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return true
		}
	}
	return ok()
}

func port(addr string) int {
	_, p, _ := net.SplitHostPort(addr)
	n, _ := strconv.Atoi(p)
	return n
}
