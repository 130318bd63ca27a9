// Package netns builds small networks of Linux network namespaces for tests:
// several hosts on one machine, joined by a router.
//
// In: host names and addresses. Out: a World whose hosts can run programs and
// be dialled. Always true: nothing outside the World is touched or reachable,
// and Close ends every process that was started in it and removes it.
package netns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// World is a router with hosts around it.
type World struct {
	prefix string
	mu     sync.Mutex
	hosts  map[string]*Host
	procs  []*Process
	links  int
}

// Host is one namespace with one interface, eth0.
type Host struct {
	Name  string
	NS    string // name of the namespace
	Addrs []netip.Prefix
	world *World
	own   int // a process in the host's own process namespace; 0: it shares the machine's
}

// Process is a program that runs on a host.
type Process struct {
	*exec.Cmd
	done  chan struct{}
	err   error
	group group // of its children, which may outlive it
}

// New makes the router. prefix keeps worlds of parallel tests apart and must
// be at most 6 characters.
func New(prefix string) (*World, error) {
	w := &World{prefix: fmt.Sprintf("%s%x", prefix, os.Getpid()&0xfffff), hosts: map[string]*Host{}}
	router := w.ns("rt")
	if err := sh("ip netns add %s", router); err != nil {
		return nil, err
	}
	steps := []string{
		"ip -n %s link set lo up", "ip netns exec %s sysctl -qw net.ipv4.ip_forward=1",
		"ip netns exec %s sysctl -qw net.ipv6.conf.all.forwarding=1", "ip netns exec %s sysctl -qw net.ipv6.conf.default.accept_dad=0",
	}
	for _, s := range steps {
		if err := sh(s, router); err != nil {
			return nil, errors.Join(err, w.Close())
		}
	}
	return w, nil
}

func (w *World) ns(name string) string { return w.prefix + "-" + name }

// Router is the name of the router's namespace, for counters and rules.
func (w *World) Router() string { return w.ns("rt") }

// Gateway is the router as a host, for programs that run on it. Its interfaces
// are v1, v2 … in the order in which hosts were added, and it has no address of
// its own that IP could name.
func (w *World) Gateway() *Host { return &Host{Name: "router", NS: w.Router(), world: w} }

// Add makes a host with the given addresses, such as "192.0.2.7/24" or
// "2001:db8:1::7/64". The router has the first address of each network.
func (w *World) Add(name string, addrs ...string) (*Host, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.add(w.Router(), name, addrs)
}

// Behind makes a host behind another one, which becomes a router: it has the
// first address of each network on an interface v…, which is returned too, and
// the World's router sends what is for those networks to it.
func (w *World) Behind(front *Host, name string, addrs ...string) (*Host, string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h, err := w.add(front.NS, name, addrs)
	if err != nil {
		return nil, "", err
	}
	steps := []string{fmt.Sprintf("ip netns exec %s sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1", front.NS)}
	for _, to := range h.Addrs {
		for _, via := range front.Addrs {
			if to.Addr().Is6() == via.Addr().Is6() {
				steps = append(steps, fmt.Sprintf("ip -n %s route add %s via %s", w.Router(), to.Masked(), via.Addr()))
				break
			}
		}
	}
	for _, s := range steps {
		if err := sh("%s", s); err != nil {
			return nil, "", fmt.Errorf("host %s behind %s: %w", name, front.Name, err)
		}
	}
	return h, fmt.Sprintf("v%d", w.links), nil
}

// add makes a host on a router.
func (w *World) add(router, name string, addrs []string) (*Host, error) {
	h := &Host{Name: name, NS: w.ns(name), world: w}
	w.links++
	far := fmt.Sprintf("v%d", w.links)
	steps := []string{
		fmt.Sprintf("ip netns add %s", h.NS),
		fmt.Sprintf("ip link add %s netns %s type veth peer name eth0 netns %s", far, router, h.NS),
		fmt.Sprintf("ip netns exec %s sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.eth0.accept_dad=0", h.NS),
		fmt.Sprintf("ip netns exec %s sysctl -qw net.ipv6.conf.%s.accept_dad=0", router, far),
		fmt.Sprintf("ip -n %s link set lo up", h.NS),
		fmt.Sprintf("ip -n %s link set eth0 up", h.NS),
		fmt.Sprintf("ip -n %s link set %s up", router, far),
	}
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a)
		if err != nil {
			return nil, fmt.Errorf("host %s: %w", name, err)
		}
		gw := p.Masked().Addr().Next()
		h.Addrs = append(h.Addrs, p)
		family, all, flag := "", "default", ""
		if p.Addr().Is6() {
			family, flag = "-6", " nodad" // else nobody can listen there before the kernel has come round to it
		}
		steps = append(steps,
			fmt.Sprintf("ip -n %s addr add %s dev eth0%s", h.NS, p, flag),
			fmt.Sprintf("ip -n %s addr add %s/%d dev %s%s", router, gw, p.Bits(), far, flag))
		if len(h.Addrs) == 1 || p.Addr().Is6() {
			steps = append(steps, fmt.Sprintf("ip -n %s %s route add %s via %s", h.NS, family, all, gw))
		}
	}
	for _, s := range steps {
		if err := sh("%s", s); err != nil {
			return nil, fmt.Errorf("host %s: %w", name, err)
		}
	}
	w.hosts[name] = h
	return h, nil
}

// Know makes the host resolve names as /etc/hosts would, a name with several
// addresses in the order given. It concerns programs that are started later.
func (h *Host) Know(names map[string][]string) error {
	var b strings.Builder
	b.WriteString("127.0.0.1 localhost\n::1 localhost\n")
	for name, addresses := range names {
		for _, a := range addresses {
			fmt.Fprintf(&b, "%s %s\n", a, name)
		}
	}
	if err := os.MkdirAll(h.etc(), 0o755); err != nil {
		return fmt.Errorf("names of %s: %w", h.Name, err)
	}
	if err := os.WriteFile(filepath.Join(h.etc(), "hosts"), []byte(b.String()), 0o644); err != nil {
		return fmt.Errorf("names of %s: %w", h.Name, err)
	}
	return nil
}

// etc is what `ip netns exec` shows a program in place of files in /etc.
func (h *Host) etc() string { return filepath.Join("/etc/netns", h.NS) }

// IP is the host's first address.
func (h *Host) IP() string { return h.Addrs[0].Addr().String() }

// Separate gives the host processes of its own: what runs there sees nothing
// of what runs elsewhere on the machine, like on a real PC.
func (h *Host) Separate() error {
	cmd := h.Command(context.Background(), "unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "sleep", "infinity")
	p, err := h.Start(cmd)
	if err != nil {
		return err
	}
	children := fmt.Sprintf("/proc/%d/task/%d/children", p.Process.Pid, p.Process.Pid)
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		b, err := os.ReadFile(children)
		if err != nil {
			return fmt.Errorf("separate %s: %w", h.Name, err)
		}
		// the child is the namespace's first process once it has become sleep
		pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
		if err != nil {
			continue
		}
		if comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err == nil && string(comm) == "sleep\n" {
			h.own = pid
			return nil
		}
	}
	return fmt.Errorf("separate %s: no process namespace within 10 s", h.Name)
}

// Command prepares a program on the host, in a process group of its own.
func (h *Host) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	enter := []string{"ip", "netns", "exec", h.NS, name}
	if h.own != 0 {
		enter = []string{"nsenter", "--target", strconv.Itoa(h.own), "--net", "--pid", "--mount", name}
	}
	cmd := exec.CommandContext(ctx, enter[0], append(enter[1:], args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// Run runs a program to its end and returns what it printed.
func (h *Host) Run(ctx context.Context, name string, args ...string) (string, error) {
	out, err := h.Command(ctx, name, args...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s: %s %s: %w: %s", h.Name, name, strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// Start starts a prepared program; Close of the World ends it if it still runs.
func (h *Host) Start(cmd *exec.Cmd) (*Process, error) {
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", h.Name, err)
	}
	p := &Process{Cmd: cmd, done: make(chan struct{}), group: group{id: cmd.Process.Pid, net: h.NS}}
	go func() { p.err = cmd.Wait(); close(p.done) }()
	h.world.mu.Lock()
	h.world.procs = append(h.world.procs, p)
	h.world.mu.Unlock()
	return p, nil
}

// Stop asks the program to end, as a service manager does, and waits.
func (p *Process) Stop() {
	_ = p.Process.Signal(syscall.SIGTERM) // may have ended by itself
	<-p.done
}

// CPU is what the program has used so far, in user and system mode; it is
// known of one that has ended, too.
func (p *Process) CPU() (time.Duration, error) {
	select {
	case <-p.done:
		return p.ProcessState.UserTime() + p.ProcessState.SystemTime(), nil
	default:
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Process.Pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:])) // from the third one, see proc_pid_stat(5)
	if len(fields) < 13 {
		return 0, fmt.Errorf("unexpected %q", b)
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * time.Second / ticks, err
}

// ticks is how many units of CPU time Linux tells programs a second to have.
const ticks = 100

// Kill9 ends the program and its children at once and waits.
func (p *Process) Kill9() {
	_ = p.Process.Kill() // says that it has ended, when it has
	for range 500 {      // its children are not ours to wait for
		if p.group.kill() == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	<-p.done
}

// group is the process group of a program on a host. A program that ended long
// ago, and all its children, may have left its number to a stranger: who is
// killed is in the group and in the network namespace of the host.
type group struct {
	id  int
	net string // name of the namespace
}

// kill ends all that are in the group, each through a descriptor that cannot
// come to mean another, and says how many they were.
func (g group) kill() int {
	var home unix.Stat_t
	if unix.Stat(filepath.Join("/run/netns", g.net), &home) != nil {
		return 0
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0
	}
	n := 0
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || !g.has(pid, &home) {
			continue
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue
		}
		if g.has(pid, &home) { // still: the descriptor is of the process that was looked at
			_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) // it ended meanwhile
			gone(fd)
			n++
		}
		_ = unix.Close(fd)
	}
	return n
}

// gone waits until a process that was killed holds nothing any more: it leaves
// its namespaces before it lets go of its files and their locks.
func gone(fd int) {
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 100)
		if n > 0 || err != nil && err != unix.EINTR {
			return
		}
	}
}

// has says whether a process that has not ended is in the group and on the host.
func (g group) has(pid int, home *unix.Stat_t) bool {
	id, err := unix.Getpgid(pid)
	if err != nil || id != g.id {
		return false
	}
	var net unix.Stat_t // cannot be read of a process that has ended and waits to be looked at
	return unix.Stat(fmt.Sprintf("/proc/%d/ns/net", pid), &net) == nil && net.Dev == home.Dev && net.Ino == home.Ino
}

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Dial connects from inside the host: the socket stays in the namespace.
func (h *Host) Dial(ctx context.Context, network, addr string) (conn net.Conn, err error) {
	d := net.Dialer{FallbackDelay: -1} // no second goroutine: it would dial from the wrong namespace
	inside := h.inside(func() { conn, err = d.DialContext(ctx, network, addr) })
	return conn, errors.Join(err, inside)
}

// Listen listens inside the host.
func (h *Host) Listen(ctx context.Context, network, addr string) (l net.Listener, err error) {
	var c net.ListenConfig
	inside := h.inside(func() { l, err = c.Listen(ctx, network, addr) })
	return l, errors.Join(err, inside)
}

// ListenPacket listens for datagrams inside the host.
func (h *Host) ListenPacket(ctx context.Context, network, addr string) (l net.PacketConn, err error) {
	var c net.ListenConfig
	inside := h.inside(func() { l, err = c.ListenPacket(ctx, network, addr) })
	return l, errors.Join(err, inside)
}

// inside calls f on a thread that is in the host's namespace. The goroutine is
// its own, so that a thread that cannot return ends with it.
func (h *Host) inside(f func()) error {
	failed := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		leave, err := h.enter()
		if err != nil {
			failed <- err
			return
		}
		f()
		if leave() == nil {
			runtime.UnlockOSThread()
		}
		failed <- nil
	}()
	return <-failed
}

func (h *Host) enter() (leave func() error, err error) {
	old, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("own namespace: %w", err)
	}
	target, err := unix.Open(filepath.Join("/run/netns", h.NS), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("namespace %s: %w", h.NS, err), unix.Close(old))
	}
	defer unix.Close(target)
	if err := unix.Setns(target, unix.CLONE_NEWNET); err != nil {
		return nil, errors.Join(fmt.Errorf("enter %s: %w", h.NS, err), unix.Close(old))
	}
	return func() error { return errors.Join(unix.Setns(old, unix.CLONE_NEWNET), unix.Close(old)) }, nil
}

// Close ends all processes and removes all namespaces.
func (w *World) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.procs {
		p.Kill9()
	}
	var errs []error
	for _, h := range w.hosts {
		errs = append(errs, sh("ip netns del %s", h.NS), os.RemoveAll(h.etc()))
	}
	return errors.Join(append(errs, sh("ip netns del %s", w.Router()))...)
}

func sh(format string, args ...any) error {
	line := strings.Fields(fmt.Sprintf(format, args...))
	out, err := exec.Command(line[0], line[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(line, " "), err, out)
	}
	return nil
}
