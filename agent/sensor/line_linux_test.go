package sensor

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/source/pcap"
	"github.com/sonae/sonae/source/pcap/filter"
)

// runSender sends UDP packets of many connections, in both directions by
// exchanging the ends, as raw frames on an interface: as many as are asked for,
// as quickly as the system takes them. It prints how many went out.
func runSender(name, words string) int {
	parts := strings.Split(words, ",") // packets, bytes of each, connections
	var n [3]int
	for i := range n {
		n[i], _ = strconv.Atoi(parts[i])
	}
	iface, err := net.InterfaceByName(name)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: iface.Index})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var frames [][]byte
	for i := range 2 * max(n[2], -n[2]) {
		frame := udpFrame(i, n[1], max(n[2], -n[2]))
		if n[2] < 0 { // in VLAN 5
			frame = slices.Concat(frame[:12], []byte{0x81, 0, 0, 5}, frame[12:])
		}
		frames = append(frames, frame)
	}
	began := time.Now()
	sent := 0
	for i := range n[0] {
		if err := send(fd, frames[i%len(frames)]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		sent++
	}
	b, _ := json.Marshal(map[string]any{"sent": sent, "seconds": time.Since(began).Seconds()})
	fmt.Println(string(b))
	return 0
}

// send waits when the queue of the device is full.
func send(fd int, frame []byte) error {
	for {
		_, err := unix.Write(fd, frame)
		if !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// udpFrame is packet i of so many connections between 192.0.2.x and
// 203.0.113.y; every second packet of a connection goes back.
func udpFrame(i, size, connections int) []byte {
	c := i / 2 % connections
	be := binary.BigEndian
	src, dst := []byte{192, 0, 2, byte(c % 200)}, []byte{203, 0, 113, byte(c / 200 % 200)}
	sport, dport := uint16(20000+c), uint16(4000)
	if i%2 == 1 {
		src, dst, sport, dport = dst, src, dport, sport
	}
	b := append(make([]byte, 0, size), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 0)
	b = append(b, 0x45, 0)
	b = be.AppendUint16(b, uint16(size-14))
	b = append(b, 0, 0, 0, 0, 64, 17, 0, 0)
	b = append(append(b, src...), dst...)
	b = be.AppendUint16(be.AppendUint16(b, sport), dport)
	b = be.AppendUint16(be.AppendUint16(b, uint16(size-34)), 0)
	return b[:size]
}

type sending struct {
	Sent    uint64
	Seconds float64
}

func shoot(t *testing.T, ns, name string, packets, size, connections int) sending {
	t.Helper()
	_, said := begin(t, ns, "sender", name, fmt.Sprintf("%d,%d,%d", packets, size, connections))
	var s sending
	if err := json.Unmarshal([]byte(said), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// ours counts the packets of a sender that are in the flows, and checks that
// both directions of each connection are in one.
func ours(t *testing.T, a *answer) (packets uint64) {
	t.Helper()
	seen := map[string]bool{}
	for _, f := range a.Flows {
		if !strings.HasPrefix(f.Src.String(), "192.0.2.") && !strings.HasPrefix(f.Src.String(), "203.0.113.") {
			continue
		}
		packets += uint64(f.PacketsOut + f.PacketsIn)
		ends := []string{f.Src.String(), f.Dst.String()}
		slices.Sort(ends)
		if seen[fmt.Sprint(ends)] || f.PacketsOut == 0 || f.PacketsIn == 0 {
			t.Fatalf("the two directions of %v are not together: %d out, %d in", ends, f.PacketsOut, f.PacketsIn)
		}
		seen[fmt.Sprint(ends)] = true
	}
	return packets
}

// slow is how long a test waits for what has to come: a sensor may get no time
// to run for seconds on a busy machine.
const slow = 20 * time.Second

// settle asks until what is expected has come, and then until nothing more
// comes, so that what is counted twice is seen. What does not come in time is
// missing in the answer.
func (r *role) settle(path string, enough func(*answer) bool) (all answer) {
	r.t.Helper()
	last, quiet, end := ^uint64(0), 0, time.Now().Add(slow)
	for quiet < 3 || time.Now().Before(end) && !enough(&all) {
		if quiet == 0 && time.Now().After(end.Add(slow)) {
			r.t.Fatal("packets go on coming")
		}
		time.Sleep(200 * time.Millisecond)
		a := r.ask(path)
		if quiet++; a.Packets != last {
			quiet = 0
		}
		last = a.Packets
		a.Flows = append(all.Flows, a.Flows...)
		all = a
	}
	return all
}

func TestBothDirectionsComeToOneQueue(t *testing.T) {
	pc, peer := twoHosts(t)
	s, _ := begin(t, pc, "sensor", setting{Interfaces: []string{"cable"}, Queues: 4, KernelBytes: 16 << 20}.String())
	time.Sleep(100 * time.Millisecond) // what the flush of a flow would cut in two must not come before
	const packets, connections = 20000, 500
	sent := shoot(t, peer, "cable", packets, 200, connections)
	s.settle("", func(a *answer) bool { // does not flush
		var n uint64
		for _, q := range a.Queues {
			n += q
		}
		return n >= sent.Sent
	})
	a := s.ask(filepath.Join(t.TempDir(), "ring"))
	if n := ours(t, &a); n != sent.Sent || a.Drops != 0 {
		t.Errorf("%d of %d packets, %d drops", n, sent.Sent, a.Drops)
	}
	for i, n := range a.Queues {
		if n < packets/4/3 {
			t.Errorf("queue %d got %d packets of %d", i, n, packets)
		}
	}
	t.Logf("queues %v", a.Queues)
}

// TestNothingIsLostAtTheSendersLimit sends as quickly as a sender can. Both
// have to share the machine, so the kernel's ring is made large enough for the
// moments in which the sensor does not run.
func TestNothingIsLostAtTheSendersLimit(t *testing.T) {
	pc, peer := twoHosts(t)
	for name, set := range map[string]setting{
		"one queue":                    {Interfaces: []string{"cable"}, KernelBytes: 64 << 20},
		"two queues, kept on disk":     {Interfaces: []string{"cable"}, Queues: 2, KernelBytes: 64 << 20, Disk: t.TempDir()},
		"all interfaces, with filter":  {KernelBytes: 64 << 20, Filter: "udp port 4000"},
		"several interfaces, promisc.": {Interfaces: []string{"lo", "cable"}, Promiscuous: true, KernelBytes: 64 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := begin(t, pc, "sensor", set.String())
			sent := shoot(t, peer, "cable", 60_000, 300, 1000)
			a := s.settle(filepath.Join(t.TempDir(), "ring"), func(a *answer) bool { return shot(a) >= sent.Sent })
			if n := shot(&a); n != sent.Sent || a.Drops != 0 {
				t.Errorf("%d of %d packets in the flows, %d drops", n, sent.Sent, a.Drops)
			}
			if set.Disk != "" && a.Ring < int(sent.Sent) {
				t.Errorf("%d of %d packets on disk", a.Ring, sent.Sent)
			}
			t.Logf("%d packets in %.2f s (%.0f a second), %d handed out", sent.Sent, sent.Seconds, float64(sent.Sent)/sent.Seconds, a.Packets)
		})
	}
}

// shot counts the packets to and from the sender's port.
func shot(a *answer) (n uint64) {
	for _, f := range a.Flows {
		if f.Dst.Port() == 4000 || f.Src.Port() == 4000 {
			n += uint64(f.PacketsOut + f.PacketsIn)
		}
	}
	return n
}

// bridged puts a box with a bridge of two ports between two hosts, and gives
// the bridge an address. In the box the ports are "left" and "right".
func bridged(t *testing.T) (pc, box, peer string) {
	t.Helper()
	pc, peer = twoHosts(t)
	box = pc + "x"
	ip(t, "netns", "add", box)
	t.Cleanup(func() { ip(t, "netns", "del", box) })
	ip(t, "-n", pc, "link", "del", "cable")
	ip(t, "-n", box, "link", "add", "br0", "type", "bridge")
	for i, h := range []struct{ ns, port string }{{pc, "left"}, {peer, "right"}} {
		ip(t, "-n", h.ns, "link", "add", "cable", "type", "veth", "peer", "name", h.port, "netns", box)
		ip(t, "-n", h.ns, "addr", "add", fmt.Sprintf("198.51.100.%d/24", i+1), "dev", "cable")
		ip(t, "-n", h.ns, "link", "set", "cable", "up")
		ip(t, "-n", box, "link", "set", h.port, "master", "br0", "up")
	}
	ip(t, "-n", box, "addr", "add", "198.51.100.9/24", "dev", "br0")
	ip(t, "-n", box, "link", "set", "br0", "up")
	return pc, box, peer
}

// TestABridgeCountsAPacketOnce watches a bridge in all the ways that one can.
func TestABridgeCountsAPacketOnce(t *testing.T) {
	pc, box, peer := bridged(t)
	for name, set := range map[string]setting{
		"all interfaces":     {},
		"both ports":         {Interfaces: []string{"left", "right"}, Promiscuous: true},
		"one port":           {Interfaces: []string{"right"}, Promiscuous: true},
		"the bridge":         {Interfaces: []string{"br0"}, Promiscuous: true},
		"bridge and ports":   {Interfaces: []string{"br0", "left", "right"}},
		"ports, two queues":  {Interfaces: []string{"left", "right"}, Queues: 2},
		"bridge and one end": {Interfaces: []string{"br0", "left", "right"}, Queues: 2, Promiscuous: true},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := begin(t, box, "sensor", set.String())
			_, address := begin(t, peer, "server", "198.51.100.2:0")
			time.Sleep(300 * time.Millisecond)
			talk(t, pc, address, 100_000)
			through(t, s, address)
		})
	}
	// What the box itself says and hears counts once as well.
	for name, set := range map[string]setting{"all interfaces": {}, "bridge and ports": {Interfaces: []string{"br0", "left", "right"}}} {
		t.Run("own traffic, "+name, func(t *testing.T) {
			s, _ := begin(t, box, "sensor", set.String())
			_, address := begin(t, peer, "server", "198.51.100.2:0")
			time.Sleep(300 * time.Millisecond)
			talk(t, box, address, 100_000)
			through(t, s, address)
		})
	}
}

// through checks that 100,000 bytes each way were seen once.
func through(t *testing.T, s *role, address string) {
	t.Helper()
	seen := func(a *answer) (out, in int64) {
		for _, f := range a.Flows {
			if f.Dst.String() == address {
				out, in = out+f.Out, in+f.In
			}
		}
		return out, in
	}
	a := s.settle(filepath.Join(t.TempDir(), "ring"), func(a *answer) bool {
		out, in := seen(a)
		return min(out, in) >= 100_000
	})
	out, in := seen(&a)
	for way, n := range map[string]int64{"out": out, "in": in} {
		if n < 100_000 || n > 120_000 {
			t.Errorf("%d bytes %s, want 100,000 and their headers: counted twice or not at all", n, way)
		}
	}
}

// TestFiltersInTheKernel sends frames with a VLAN tag and without to a sensor
// with a filter: the kernel takes the tag out before the filter looks.
func TestFiltersInTheKernel(t *testing.T) {
	pc, peer := twoHosts(t)
	const packets = 400                         // of each kind
	for text, want := range map[string][2]bool{ // tagged, not tagged
		"":                        {true, true},
		"vlan 5":                  {true, false},
		"vlan 5 and udp":          {true, false},
		"vlan and vlan":           {false, false},
		"not vlan":                {false, true},
		"vlan 6":                  {false, false},
		"udp port 4000":           {true, true},
		"src net 192.0.2.0/24":    {true, true}, // and the half of the packets that go back is left out
		"host 203.0.113.0":        {true, true},
		"tcp":                     {false, false},
		"udp portrange 1-3999":    {false, false},
		"vlan 5 and dst port 1":   {false, false},
		"not net 192.0.2.0/24":    {false, false},
		"ip and not vlan 6":       {true, true},
		"ip6 or udp port 4000":    {true, true},
		"vlan 5 or udp port 4000": {true, true},
	} {
		t.Run(text, func(t *testing.T) {
			s, _ := begin(t, pc, "sensor", setting{Interfaces: []string{"cable"}, Filter: text, Disk: t.TempDir()}.String())
			shoot(t, peer, "cable", packets, 200, 100)
			shoot(t, peer, "cable", packets, 200, -100)
			var expect [2]int
			for i := range expect {
				switch {
				case want[i] && strings.HasPrefix(text, "src"):
					expect[i] = packets / 2
				case want[i] || text == "host 203.0.113.0":
					expect[i] = packets
				}
			}
			path := filepath.Join(t.TempDir(), "ring")
			s.settle(path, func(*answer) bool {
				got := tagged(t, path)
				return got[0] >= expect[0] && got[1] >= expect[1]
			})
			if got := tagged(t, path); got != expect {
				t.Errorf("%d packets of VLAN 5 and %d of none, want %d", got[0], got[1], expect)
			}
		})
	}
}

// tagged counts the packets of a capture that have a VLAN tag, and those that
// have none.
func tagged(t *testing.T, path string) (n [2]int) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		return n // not asked yet
	}
	defer f.Close()
	if err := pcap.Read(f, func(p pcap.Packet) error {
		switch binary.BigEndian.Uint16(p.Data[12:]) {
		case 0x8100:
			n[0]++
		case 0x0800:
			n[1]++
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestChoose(t *testing.T) {
	all := []link{
		{index: 1, name: "lo"}, {index: 2, name: "eth0", master: 4}, {index: 3, name: "eth1", master: 4}, {index: 4, name: "br0", kind: "bridge"},
		{index: 5, name: "eth2"}, {index: 6, name: "eth2.7", kind: "vlan", lower: 5}, {index: 7, name: "vrf", kind: "vrf"}, {index: 8, name: "eth3", master: 7},
		{index: 9, name: "empty", kind: "bridge"}, {index: 10, name: "veth", kind: "veth", lower: 5},
	}
	for names, want := range map[string]string{
		"":            "2i 3i 4o 6- rest",
		"eth0":        "2io",
		"eth0,eth1":   "2i 3i",
		"br0":         "4io",
		"br0,eth0":    "2i 4o",
		"eth2.7":      "6io",
		"eth2,eth2.7": "5io 6-",
		"eth3,vrf":    "7io 8io",
		"nothing,lo":  "1io missing nothing",
	} {
		var asked []string
		if names != "" {
			asked = strings.Split(names, ",")
		}
		rules, rest, missing := choose(all, asked)
		var got []string
		for _, r := range rules {
			way := map[[2]bool]string{{true, true}: "io", {true, false}: "i", {false, true}: "o", {false, false}: "-"}[[2]bool{r.in, r.out}]
			got = append(got, fmt.Sprint(r.index, way))
		}
		if rest {
			got = append(got, "rest")
		}
		if len(missing) > 0 {
			got = append(got, "missing", strings.Join(missing, ","))
		}
		if strings.ReplaceAll(strings.Join(got, " "), " ", "") != strings.ReplaceAll(want, " ", "") {
			t.Errorf("%s: %v, want %s", names, got, want)
		}
	}
}

// TestManyInterfaces: the rules of hundreds of containers are a program that
// the kernel takes.
func TestManyInterfaces(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("a packet socket needs root")
	}
	k, err := openSocket(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	defer k.close()
	f, err := filter.Parse("tcp port 80 or udp port 53")
	if err != nil {
		t.Fatal(err)
	}
	then, err := f.Live()
	if err != nil {
		t.Fatal(err)
	}
	var rules []rule
	for i := range 700 {
		rules = append(rules, rule{index: i, in: true})
	}
	for _, rest := range []bool{true, false} {
		if err := k.attach(program(rules, rest, then)); err != nil {
			t.Error(err)
		}
	}
	if err := k.attach(program(nil, true, []bpf.Instruction{bpf.RetConstant{Val: 1}})); err != nil {
		t.Error(err)
	}
}

func FuzzParseLink(f *testing.F) {
	f.Add(make([]byte, 40))
	f.Fuzz(func(t *testing.T, b []byte) {
		if l, err := parseLink(b); err == nil && len(b) < sizeIfinfo {
			t.Fatalf("%+v", l)
		}
	})
}
