package sensor

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	disk "github.com/sonae/sonae/agent/ring"
	"github.com/sonae/sonae/flow"
	"github.com/sonae/sonae/source/pcap"
	"github.com/sonae/sonae/source/pcap/filter"
)

// The test program starts itself again inside network namespaces that it made,
// in one of these roles.
const roleVar = "SONAE_SENSOR_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVar) {
	case "":
		os.Exit(m.Run())
	case "sensor":
		os.Exit(runSensor(os.Args[1]))
	case "server":
		os.Exit(runServer(os.Args[1]))
	case "client":
		os.Exit(runClient(os.Args[1], os.Args[2]))
	case "sender":
		os.Exit(runSender(os.Args[1], os.Args[2]))
	}
	os.Exit(2)
}

// answer is what the sensor says when asked.
type answer struct {
	Stats
	Slowest time.Duration // between the kernel's time and the call
	Ticks   int
	Queues  []uint64 // packets of each
	Flows   []flow.Flow
	Ring    int
	Error   string
}

// setting is how a sensor is started.
type setting struct {
	Interfaces  []string
	Promiscuous bool
	Filter      string
	Queues      int
	KernelBytes int
	Disk        string // folder of a ring on disk, "" for one in memory
	Blind       bool   // packets are counted, nothing more
}

func (s setting) String() string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// testLane is a lane of a flow.Group that remembers how it did.
type testLane struct {
	*flow.Lane
	blind   bool
	mu      sync.Mutex
	slowest time.Duration
	ticks   int
	packets uint64
}

func (l *testLane) Packet(at time.Time, link flow.LinkType, frame []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.packets++
	if l.blind {
		return
	}
	l.slowest = max(l.slowest, time.Since(at))
	l.Lane.Packet(at, link, frame)
}

func (l *testLane) Tick(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ticks++
	l.Lane.Tick(now)
}

// runSensor captures until its input ends; for every line of input it flushes
// the flows, writes the packets that it keeps to the file named by the line,
// and answers. An empty line asks only how many packets there were.
func runSensor(words string) int {
	var set setting
	if err := json.Unmarshal([]byte(words), &set); err != nil {
		panic(err)
	}
	var flows []flow.Flow
	group := flow.NewGroup(set.Queues, flow.Config{Emit: func(f flow.Flow) {
		if f.Phase == flow.End {
			flows = append(flows, f)
		}
	}})
	conf := Config{Interfaces: set.Interfaces, Promiscuous: set.Promiscuous, Queues: set.Queues, KernelBytes: set.KernelBytes, RingBytes: 16 << 20,
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	var kept *disk.Ring
	var err error
	if set.Disk != "" {
		if kept, err = disk.Open(disk.Config{Dir: set.Disk, Lanes: max(set.Queues, 1), Log: conf.Log, MinFree: 1}); err == nil {
			conf.Keep, conf.RingBytes = func(i int) Keeper { return kept.Lane(i) }, -1
		}
	}
	if err == nil && set.Filter != "" {
		conf.Filter, err = filter.Parse(set.Filter)
	}
	var s *Sensor
	if err == nil {
		s, err = Open(conf)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	all := make([]*testLane, group.Lanes())
	lanes := make([]Lane, len(all))
	for i := range all {
		all[i] = &testLane{Lane: group.Lane(i), blind: set.Blind}
		lanes[i] = all[i]
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, lanes) }()
	fmt.Println("ready")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		a := answer{Stats: s.Stats()}
		for _, l := range all {
			l.mu.Lock() // until the flows are flushed
			a.Slowest, a.Ticks = max(a.Slowest, l.slowest), a.Ticks+l.ticks
			a.Queues = append(a.Queues, l.packets)
		}
		if in.Text() != "" {
			group.Flush()
			a.Flows, flows = flows, nil
		}
		for _, l := range all {
			l.mu.Unlock()
		}
		if in.Text() != "" {
			if a.Ring, err = dump(s, kept, in.Text()); err != nil {
				a.Error = err.Error()
			}
		}
		if err := json.NewEncoder(os.Stdout).Encode(a); err != nil {
			return 1
		}
	}
	stop()
	if err := <-done; err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func dump(s *Sensor, kept *disk.Ring, path string) (int, error) {
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if kept != nil {
		return kept.Cut(context.Background(), disk.Query{}, f)
	}
	return s.WriteRing(context.Background(), f)
}

// runServer sends back what it receives on every connection.
func runServer(address string) int {
	l, err := net.Listen("tcp", address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(l.Addr())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		l.Close()
	}()
	for {
		c, err := l.Accept()
		if err != nil {
			return 0
		}
		go func() {
			defer c.Close()
			io.Copy(c, c)
		}()
	}
}

// runClient sends a BitTorrent handshake and filler, size bytes in all, and
// reads them back.
func runClient(address, size string) int {
	var n int
	if _, err := fmt.Sscan(size, &n); err != nil {
		return 2
	}
	b := make([]byte, n)
	copy(b, "\x13BitTorrent protocol")
	c, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(30 * time.Second))
	go c.Write(b)
	if _, err := io.CopyN(io.Discard, c, int64(n)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// twoHosts makes two namespaces joined by a cable and returns their names. In
// each the interface is called "cable"; the addresses are 198.51.100.1 and .2.
func twoHosts(t *testing.T) (pc, peer string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("packet capture in namespaces needs root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("the program ip (package iproute2) is not installed")
	}
	pc, peer = fmt.Sprintf("sns%da", os.Getpid()), fmt.Sprintf("sns%db", os.Getpid())
	for _, ns := range []string{pc, peer} {
		ip(t, "netns", "add", ns)
		t.Cleanup(func() { exec.Command("ip", "netns", "del", ns).Run() })
		ip(t, "-n", ns, "link", "set", "lo", "up")
	}
	plug(t, pc, peer)
	return pc, peer
}

func plug(t *testing.T, pc, peer string) {
	t.Helper()
	ip(t, "-n", pc, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", peer)
	for i, ns := range []string{pc, peer} {
		ip(t, "-n", ns, "addr", "add", fmt.Sprintf("198.51.100.%d/24", i+1), "dev", "cable")
		ip(t, "-n", ns, "link", "set", "cable", "up")
	}
}

// role is a copy of this program in a namespace.
type role struct {
	t   *testing.T
	in  io.WriteCloser
	out *bufio.Reader
}

func begin(t *testing.T, ns, name string, args ...string) (r *role, first string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "ip", append([]string{"netns", "exec", ns, os.Args[0]}, args...)...)
	cmd.Env = append(os.Environ(), roleVar+"="+name)
	cmd.Stderr = t.Output()
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
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil && t.Context().Err() == nil {
			t.Errorf("%s: %v", name, err)
		}
	})
	r = &role{t: t, in: in, out: bufio.NewReader(out)}
	return r, r.line()
}

func (r *role) line() string {
	r.t.Helper()
	s, err := r.out.ReadString('\n')
	if err != nil {
		r.t.Fatalf("the other program said nothing: %v", err)
	}
	return strings.TrimSpace(s)
}

// ask makes the sensor write its ring to path and say what it saw.
func (r *role) ask(path string) (a answer) {
	r.t.Helper()
	fmt.Fprintln(r.in, path)
	if err := json.Unmarshal([]byte(r.line()), &a); err != nil {
		r.t.Fatal(err)
	}
	if a.Error != "" {
		r.t.Fatal(a.Error)
	}
	return a
}

// until asks again until the flows between the two hosts satisfy ok.
func (r *role) until(path string, ok func([]flow.Flow) bool) (a answer) {
	r.t.Helper()
	var flows []flow.Flow
	for end := time.Now().Add(slow); time.Now().Before(end); {
		time.Sleep(250 * time.Millisecond) // what was sent is on its way, and asking cuts connections in two
		a = r.ask(path)
		flows = append(flows, a.Flows...)
		if ok(flows) {
			a.Flows = flows
			return a
		}
	}
	r.t.Fatalf("the sensor did not see what it should: %+v", flows)
	return a
}

func talk(t *testing.T, ns, address string, size int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "ip", "netns", "exec", ns, os.Args[0], address, fmt.Sprint(size))
	cmd.Env = append(os.Environ(), roleVar+"=client")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("client: %v: %s", err, out)
	}
}

// torrent returns the first connection that was recognised by its handshake.
func torrent(flows []flow.Flow) *flow.Flow {
	for i := range flows {
		if flows[i].Rule == flow.RuleHandshake && flows[i].Ended != "flush" {
			return &flows[i]
		}
	}
	for i := range flows {
		if flows[i].Rule == flow.RuleHandshake {
			return &flows[i]
		}
	}
	return nil
}

func TestCaptureOfRealTraffic(t *testing.T) {
	pc, peer := twoHosts(t)
	for name, where := range map[string]setting{
		"one interface":      {Interfaces: []string{"cable"}},
		"all interfaces":     {Interfaces: []string{"any"}},
		"several queues":     {Interfaces: []string{"cable"}, Queues: 3},
		"kept on disk":       {Interfaces: []string{"cable"}, Disk: t.TempDir()},
		"kept in two queues": {Interfaces: []string{"cable"}, Queues: 2, Disk: t.TempDir()},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := begin(t, pc, "sensor", where.String())
			_, address := begin(t, peer, "server", "198.51.100.2:0")
			const size = 300000
			talk(t, pc, address, size)
			path := filepath.Join(t.TempDir(), "ring.pcapng")
			var out, in int64
			a := s.until(path, func(flows []flow.Flow) bool {
				out, in = 0, 0
				for _, f := range flows {
					if f.Dst.String() == address {
						out, in = out+f.Out, in+f.In
					}
				}
				return out > size && in > size
			})
			f := torrent(a.Flows)
			if f == nil || f.Src.Addr().String() != "198.51.100.1" || f.Dst.String() != address {
				t.Fatalf("no BitTorrent connection: %+v", a.Flows)
			}
			if limit := int64(size * 12 / 10); out > limit || in > limit {
				t.Errorf("%d bytes out and %d in for %d sent: something is counted twice", out, in, size)
			}
			if a.Drops != 0 || a.Slowest > slow/2 {
				t.Errorf("%d drops, slowest packet after %v", a.Drops, a.Slowest)
			}
			t.Logf("%d packets, slowest after %v, %d in the ring", a.Packets, a.Slowest, a.Ring)
			checkRing(t, path, a.Ring)
		})
	}
}

// checkRing reads the written ring with our reader and with tcpdump.
func checkRing(t *testing.T, path string, want int) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := 0
	if err := pcap.Read(f, func(pcap.Packet) error { n++; return nil }); err != nil || n != want || n < 20 {
		t.Errorf("%d packets in the ring, error %v; want %d", n, err, want)
	}
	tcpdump, err := exec.LookPath("tcpdump")
	if err != nil {
		t.Log("tcpdump is not installed: not asked whether it reads the ring")
		return
	}
	out, err := exec.Command(tcpdump, "-nn", "-r", path, "tcp", "and", "host", "198.51.100.2").Output()
	if err != nil || strings.Count(string(out), "\n") < 20 {
		t.Errorf("tcpdump: %v\n%.500s", err, out)
	}
}

func TestLoopbackIsSeenOnce(t *testing.T) {
	pc, _ := twoHosts(t)
	s, _ := begin(t, pc, "sensor", setting{}.String())
	_, address := begin(t, pc, "server", "127.0.0.1:0")
	talk(t, pc, address, 1000)
	var packets int64
	s.until(filepath.Join(t.TempDir(), "ring"), func(flows []flow.Flow) bool {
		packets = 0
		var closed bool
		for _, f := range flows {
			if f.Dst.String() == address {
				packets += f.PacketsOut + f.PacketsIn
				closed = closed || f.In > 1000
			}
		}
		return closed
	})
	if packets > 16 { // 3 to open, 4 for data, 4 to close, and acknowledgements
		t.Errorf("%d packets for one short connection: loopback is counted twice", packets)
	}
}

func TestAnInterfaceThatComesBack(t *testing.T) {
	pc, peer := twoHosts(t)
	s, _ := begin(t, pc, "sensor", setting{Interfaces: []string{"cable"}}.String())
	path := filepath.Join(t.TempDir(), "ring")
	_, address := begin(t, peer, "server", "0.0.0.0:0")
	_, port, err := net.SplitHostPort(strings.Replace(address, "[::]", "0.0.0.0", 1))
	if err != nil {
		t.Fatal(err)
	}
	address = "198.51.100.2:" + port
	seen := func(flows []flow.Flow) bool { return torrent(flows) != nil }

	talk(t, pc, address, 1000)
	s.until(path, seen)

	// The sensor looks for an interface that went every second, so what is sent
	// before may be missed: talk until it is seen.
	again := func(flows []flow.Flow) bool {
		if seen(flows) {
			return true
		}
		talk(t, pc, address, 1000)
		return false
	}
	ip(t, "-n", pc, "link", "set", "cable", "down")
	s.ask(path)
	ip(t, "-n", pc, "link", "set", "cable", "up")
	s.until(path, again)

	ip(t, "-n", pc, "link", "del", "cable")
	s.ask(path)
	plug(t, pc, peer)
	s.until(path, again)
}

func TestOpenNamesWhatIsMissing(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("a packet socket needs root")
	}
	if _, err := Open(Config{Interfaces: []string{"lo", "nosuchcard0"}}); err == nil || !strings.Contains(err.Error(), "nosuchcard0") {
		t.Errorf("error %v, want one that names the interface", err)
	}
	if _, err := Open(Config{Promiscuous: true}); err == nil {
		t.Error("promiscuous mode on all interfaces was accepted")
	}
	s, err := Open(Config{Interfaces: []string{"lo"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Run(t.Context(), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("error %v, want ErrClosed", err)
	}
	if s.Stats().Drops != 0 {
		t.Errorf("%d drops", s.Stats().Drops)
	}
}
