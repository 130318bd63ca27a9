package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/agent/linktest"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source/agentlink/wire"
)

// measured is the agent as it is built, with the port of a hub to talk to.
type measured struct {
	h       *linktest.Hub
	cmd     *exec.Cmd
	backend string

	mu      sync.Mutex
	arrived map[string]time.Time // command line → when the hub had it
	told    int                  // events
}

// TestBenchAgent measures what the agent costs and how fast it tells, and
// writes the tables of doc/bench-agent.md (make bench-agent).
func TestBenchAgent(t *testing.T) {
	page := os.Getenv("SONAE_BENCH_AGENT")
	if page == "" {
		t.Skip("make bench-agent")
	}
	span, err := time.ParseDuration(os.Getenv("SONAE_BENCH_SPAN"))
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(t.TempDir(), "sonae-agent")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", bin, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	sources := manySources(t, 100)
	var idle, fast, busy bytes.Buffer
	var plain []work
	all := map[string][]work{}
	backends := []string{"ebpf", "connector"}
	for _, b := range backends {
		a := measure(t, bin, b)
		a.idle(t, &idle, span)
		a.latency(t, &fast)
		a.stop()
	}
	const rounds = 3
	for range rounds { // in turn, so that what else the machine does meets all of them
		plain = append(plain, compile(t, sources, nil))
		for _, b := range backends {
			a := measure(t, bin, b)
			all[b] = append(all[b], compile(t, sources, a))
			a.stop()
		}
	}
	base := middle(plain)
	fmt.Fprintf(&busy, "| none | %.1f | %.1f | | | | |\n", base.cpu.Seconds(), base.wall.Seconds())
	for _, b := range backends {
		w := middle(all[b])
		fmt.Fprintf(&busy, "| %s | %.1f | %.1f | %.2f | %.1f %% | %+.1f %% | %d MiB |\n", b, w.cpu.Seconds(), w.wall.Seconds(), w.agent.Seconds(),
			100*w.agent.Seconds()/w.wall.Seconds(), 100*((w.cpu+w.agent).Seconds()/base.cpu.Seconds()-1), w.rss>>10)
	}
	text := fmt.Sprintf("At rest for %v, guard on:\n\n| processes are seen by | processor, of one core | memory (RSS) | largest | events told meanwhile |\n|---|---:|---:|---:|---:|\n%s\n"+
		"From the start of a program that ends at once to its event at the hub's port:\n\n| by | programs | told with arguments | p50 | p95 | longest |\n|---|---:|---:|---:|---:|---:|\n%s\n"+
		"Compiling %d files of C with two at once (gcc -O2), medians of %d rounds in turn:\n\n| by | compile, processor s | clock s | agent, processor s | agent, of one core | all processor time | memory |\n|---|---:|---:|---:|---:|---:|---:|\n%s",
		span, idle.String(), fast.String(), len(sources), rounds, busy.String())
	t.Log("\n" + text)
	writeBetween(t, page, text)
}

// measure starts the built agent with its guard on, and waits until it settled.
func measure(t *testing.T, bin, backend string) *measured {
	t.Helper()
	a := &measured{h: linktest.Start(t), backend: backend, arrived: map[string]time.Time{}}
	a.h.Onward(func(_ context.Context, _, _ string, body []byte) error {
		b, err := wire.DecodeStamped(body)
		a.mu.Lock()
		defer a.mu.Unlock()
		a.told += len(b.Events)
		for _, e := range b.Events {
			if e.Category == "process_creation" {
				a.arrived[e.Fields[event.FieldCommand]] = time.Now()
			}
		}
		return err
	})
	dir := t.TempDir()
	if err := command(t, dir, "enroll", "--token", a.h.Token("callcentre").Encode(), "--name", "pc").Run(); err != nil {
		t.Fatal(err)
	}
	a.cmd = exec.Command(bin, "run", "--dir", dir, "--telemetry", backend, "--guard", privateVolume(t), "--interface", quietInterface(t))
	a.cmd.Stderr = t.Output()
	if err := a.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.stop)
	linktest.Await(t, "the first event", func() bool { a.mu.Lock(); defer a.mu.Unlock(); return a.told > 0 })
	fillRing(t)
	time.Sleep(10 * time.Second) // what is done once at the start is over
	return a
}

// quietInterface is one on which nothing happens: what else the machine says to
// others is not what is measured.
func quietInterface(t *testing.T) string {
	t.Helper()
	const name = "sonae-quiet"
	_ = exec.Command("ip", "link", "del", name).Run() // of a test that was killed
	for _, args := range [][]string{{"link", "add", name, "type", "veth", "peer", "name", otherEnd}, {"link", "set", name, "up"}, {"link", "set", otherEnd, "up"}} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Skipf("no interface of our own: %v: %s", err, out)
		}
	}
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", name).Run() })
	return name
}

// otherEnd is where packets come from that are seen at quietInterface.
const otherEnd = "sonae-quiet-2"

// fillRing sends twice as many packets as the agent keeps by default, so that
// its memory is that of a machine which has run for days.
func fillRing(t *testing.T) {
	t.Helper()
	nic, err := net.InterfaceByName(otherEnd)
	if err != nil {
		t.Fatal(err)
	}
	s, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(s)
	frame := slices.Concat(bytes.Repeat([]byte{0xff}, 6), nic.HardwareAddr, []byte{0x88, 0xb5}, make([]byte, 1400)) // a type for experiments: nobody answers
	for i := range 16 << 20 / len(frame) {
		if err := unix.Sendto(s, frame, 0, &unix.SockaddrLinklayer{Ifindex: nic.Index}); err != nil {
			t.Fatal(err)
		}
		if i%100 == 0 {
			time.Sleep(5 * time.Millisecond) // the agent keeps up
		}
	}
}

func (a *measured) stop() {
	_ = a.cmd.Process.Kill() // again at the end of the test: it is gone then
	_ = a.cmd.Wait()
	a.h.Stop()
}

// cpu is the processor time of a process and of its children that ended.
func cpu(t *testing.T, pid int) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	var ticks time.Duration
	for _, s := range f[11:15] {
		n, _ := strconv.Atoi(s) // only digits
		ticks += time.Duration(n)
	}
	return ticks * 10 * time.Millisecond
}

func (a *measured) idle(t *testing.T, out *bytes.Buffer, span time.Duration) {
	a.mu.Lock()
	before := a.told
	a.mu.Unlock()
	begin, used, most := time.Now(), cpu(t, a.cmd.Process.Pid), 0
	for time.Since(begin) < span {
		time.Sleep(time.Second)
		most = max(most, resident(t, a.cmd.Process.Pid))
	}
	used = cpu(t, a.cmd.Process.Pid) - used
	a.mu.Lock()
	defer a.mu.Unlock()
	fmt.Fprintf(out, "| %s | %.2f %% | %d MiB | %d MiB | %d |\n", a.backend, 100*used.Seconds()/time.Since(begin).Seconds(), resident(t, a.cmd.Process.Pid)>>10, most>>10, a.told-before)
}

func (a *measured) latency(t *testing.T, out *bytes.Buffer) {
	const programs = 300
	begun := map[string]time.Time{}
	for i := range programs {
		cmd := exec.Command("/bin/true", "latency", strconv.Itoa(i))
		begun[strings.Join(cmd.Args, " ")] = time.Now()
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(37+i%29) * time.Millisecond) // at all places of the second in which events are gathered
	}
	time.Sleep(5 * time.Second)
	a.mu.Lock()
	defer a.mu.Unlock()
	var took []time.Duration
	for line, at := range begun {
		if got, ok := a.arrived[line]; ok {
			took = append(took, got.Sub(at))
		}
	}
	slices.Sort(took)
	if len(took) == 0 {
		t.Fatal("nothing was told")
	}
	at := func(share int) time.Duration { return took[(len(took)-1)*share/100].Round(time.Millisecond) }
	fmt.Fprintf(out, "| %s | %d | %d | %v | %v | %v |\n", a.backend, programs, len(took), at(50), at(95), at(100))
}

// work is one compilation.
type work struct {
	cpu, wall, agent time.Duration
	rss              int // KiB, of the agent when it was over
}

// middle takes the median of each.
func middle(all []work) work {
	of := func(get func(work) time.Duration) time.Duration {
		var v []time.Duration
		for _, w := range all {
			v = append(v, get(w))
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	return work{of(func(w work) time.Duration { return w.cpu }), of(func(w work) time.Duration { return w.wall }), of(func(w work) time.Duration { return w.agent }), all[len(all)-1].rss}
}

// manySources makes files of C, each about what a small driver is.
func manySources(t *testing.T, n int) []string {
	t.Helper()
	dir := t.TempDir()
	var out []string
	for i := range n {
		var b bytes.Buffer
		b.WriteString("#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <sys/socket.h>\n")
		for f := range 40 {
			fmt.Fprintf(&b, "int f%d_%d(char *s, int n) { char b[64]; for (int i = 0; i < n; i++) { if (s[i] == %d) n -= i; snprintf(b, sizeof b, \"%%d %%s\", i, s); } return n + (int)strlen(b); }\n", i, f, f)
		}
		path := filepath.Join(dir, fmt.Sprintf("d%03d.c", i))
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		out = append(out, path)
	}
	return out
}

// compile compiles the files, two at once, with the agent beside it or without.
func compile(t *testing.T, sources []string, a *measured) (w work) {
	t.Helper()
	cmd := exec.Command("xargs", "-P2", "-n1", "gcc", "-O2", "-c", "-o", "/dev/null")
	cmd.Stdin, cmd.Stderr = strings.NewReader(strings.Join(sources, "\n")), t.Output()
	if a != nil {
		w.agent = -cpu(t, a.cmd.Process.Pid)
	}
	begin := time.Now()
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	w.wall = time.Since(begin)
	w.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if a != nil {
		time.Sleep(2 * time.Second) // the last events are on their way
		w.agent += cpu(t, a.cmd.Process.Pid)
		w.rss = resident(t, a.cmd.Process.Pid)
	}
	return w
}

// Markers of the page between which the tables stand.
const (
	tablesBegin = "<!-- tables: make bench-agent -->\n"
	tablesEnd   = "<!-- end -->\n"
)

func writeBetween(t *testing.T, page, text string) {
	t.Helper()
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(b), tablesBegin)
	_, tail, found := strings.Cut(rest, tablesEnd)
	if !ok || !found {
		t.Fatalf("%s has no markers", page)
	}
	if err := os.WriteFile(page, []byte(head+tablesBegin+"\n"+text+"\n"+tablesEnd+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}
