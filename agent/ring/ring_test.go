package ring

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sonae/sonae/flow"
	"github.com/sonae/sonae/source/pcap"
)

var start = time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)

// The test program starts itself again to be killed.
const childVar = "SONAE_RING_TEST_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childVar); dir != "" {
		os.Exit(runChild(dir))
	}
	os.Exit(m.Run())
}

// frame makes an Ethernet frame of IPv4 and UDP with a number and filler.
func frame(src, dst netip.AddrPort, number uint64, size int) []byte {
	b := append(make([]byte, 12), 8, 0)
	b = append(b, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0)
	a4, b4 := src.Addr().As4(), dst.Addr().As4()
	b = append(append(b, a4[:]...), b4[:]...)
	b = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, src.Port()), dst.Port())
	b = append(b, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint64(b, number)
	for len(b) < size {
		b = append(b, byte(number))
	}
	return b
}

func numberOf(data []byte) uint64 { return binary.BigEndian.Uint64(data[42:]) }

func ends(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func open(t testing.TB, c Config) *Ring {
	t.Helper()
	if c.Dir == "" {
		c.Dir = t.TempDir()
	}
	if c.Log == nil {
		c.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	c.MinFree = max(c.MinFree, 1)
	r, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// contents cuts and reads back.
func contents(t testing.TB, r *Ring, q Query) []pcap.Packet {
	t.Helper()
	var b bytes.Buffer
	n, err := r.Cut(t.Context(), q, &b)
	if err != nil {
		t.Fatal(err)
	}
	var got []pcap.Packet
	if err := pcap.Read(&b, func(p pcap.Packet) error {
		p.Data = bytes.Clone(p.Data)
		got = append(got, p)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if n != len(got) {
		t.Errorf("%d packets written, %d read", n, len(got))
	}
	return got
}

func numbers(all []pcap.Packet) (n []uint64) {
	for _, p := range all {
		n = append(n, numberOf(p.Data))
	}
	return n
}

func fixed() time.Time { return start.Add(time.Minute) }

func TestWhatIsCutIsWhatWasAskedFor(t *testing.T) {
	r := open(t, Config{Lanes: 2, Now: fixed})
	a, b, c := ends("10.0.0.1:1000"), ends("10.0.0.2:80"), ends("10.0.0.3:80")
	for i := range uint64(4000) { // the two lanes take turns, and blocks are cut at different places
		from, to := a, b
		switch i % 4 {
		case 1:
			from, to = b, a
		case 2:
			to = c
		case 3:
			from = ends("10.0.0.9:1000")
		}
		r.Lane(int(i/7%2)).Add(start.Add(time.Duration(i)*time.Millisecond), flow.LinkEthernet, frame(from, to, i, 100+int(i)%1400), 9000)
	}
	for name, tt := range map[string]struct {
		q    Query
		want func(i uint64) bool
	}{
		"everything":             {Query{}, func(uint64) bool { return true }},
		"a window":               {Query{From: start.Add(time.Second), To: start.Add(2 * time.Second)}, func(i uint64) bool { return i >= 1000 && i <= 2000 }},
		"a host":                 {Query{Hosts: []netip.Addr{c.Addr()}}, func(i uint64) bool { return i%4 == 2 }},
		"a host in a window":     {Query{From: start.Add(3 * time.Second), Hosts: []netip.Addr{netip.MustParseAddr("::ffff:10.0.0.9")}}, func(i uint64) bool { return i >= 3000 && i%4 == 3 }},
		"a flow":                 {Query{Flows: []Pair{{17, b, a}}}, func(i uint64) bool { return i%4 < 2 }},
		"a flow of another port": {Query{Flows: []Pair{{17, ends("10.0.0.2:81"), a}}}, func(uint64) bool { return false }},
		"a flow of TCP":          {Query{Flows: []Pair{{6, b, a}}}, func(uint64) bool { return false }},
		"a flow or a host":       {Query{Flows: []Pair{{17, a, b}}, Hosts: []netip.Addr{c.Addr()}}, func(i uint64) bool { return i%4 < 3 }},
		"nobody":                 {Query{Hosts: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}, func(uint64) bool { return false }},
	} {
		t.Run(name, func(t *testing.T) {
			var want []uint64
			for i := range uint64(4000) {
				if tt.want(i) {
					want = append(want, i)
				}
			}
			got := contents(t, r, tt.q)
			if fmt.Sprint(numbers(got)) != fmt.Sprint(want) {
				t.Fatalf("%d packets, want %d", len(got), len(want))
			}
			for _, p := range got {
				i := numberOf(p.Data)
				if !p.At.Equal(start.Add(time.Duration(i)*time.Millisecond)) || p.Length != 9000 || len(p.Data) != 100+int(i)%1400 || p.Link != flow.LinkEthernet {
					t.Fatalf("packet %d is %v, %d of %d bytes", i, p.At, len(p.Data), p.Length)
				}
			}
		})
	}
}

func TestTheInsideOfATunnelIsFound(t *testing.T) {
	r := open(t, Config{Now: fixed})
	inner := frame(ends("10.1.0.1:5"), ends("10.1.0.2:6"), 0, 60)
	vxlan := append(frame(ends("10.0.0.1:7"), ends("10.0.0.2:4789"), 0, 0)[:42], 8, 0, 0, 0, 0, 0, 1, 0)
	r.Lane(0).Add(start, flow.LinkEthernet, append(vxlan, inner...), 0)
	arp := append(append(make([]byte, 12), 8, 6), 0, 1, 8, 0, 6, 4, 0, 1, 0, 0, 0, 0, 0, 0, 10, 2, 0, 1, 0, 0, 0, 0, 0, 0, 10, 2, 0, 2)
	r.Lane(0).Add(start, flow.LinkEthernet, arp, 0)
	for addr, want := range map[string]int{"10.1.0.2": 1, "10.0.0.1": 1, "10.2.0.1": 1, "10.2.0.2": 1, "10.2.0.3": 0} {
		if got := contents(t, r, Query{Hosts: []netip.Addr{netip.MustParseAddr(addr)}}); len(got) != want {
			t.Errorf("%s: %d packets, want %d", addr, len(got), want)
		}
	}
	if got := contents(t, r, Query{Flows: []Pair{{17, ends("10.1.0.2:6"), ends("10.1.0.1:5")}}}); len(got) != 1 {
		t.Errorf("%d packets of the flow inside", len(got))
	}
}

// onDisk is what lies in the folder.
func onDisk(t testing.TB, dir string) (size int64) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		info, err := e.Info()
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Fatalf("%s has mode %v", e.Name(), info.Mode())
		}
		size += info.Size()
	}
	return size
}

// fill adds packets until so many bytes are on disk.
func fill(l *Lane, r *Ring, from uint64, bytes int64) uint64 {
	f := frame(ends("10.0.0.1:1"), ends("10.0.0.2:2"), 0, 1400)
	for before := r.Stats().Written; r.Stats().Written-before < uint64(bytes); from++ {
		binary.BigEndian.PutUint64(f[42:], from)
		for lost := r.lost.Load(); ; time.Sleep(time.Millisecond) { // wait for the disk, as a test can
			l.Add(start.Add(time.Duration(from)*time.Microsecond), flow.LinkEthernet, f, 0)
			if now := r.lost.Load(); now == lost {
				break
			} else {
				lost = now
			}
		}
	}
	return from
}

func TestBytesAreBoundedUnderLoad(t *testing.T) {
	const limit = 32 << 20
	dir := t.TempDir()
	r := open(t, Config{Dir: dir, Bytes: limit, Lanes: 2, Now: fixed})
	var stop atomic.Bool
	var watch sync.WaitGroup
	var most int64
	watch.Go(func() {
		for !stop.Load() {
			most = max(most, onDisk(t, dir))
			if got := contents(t, r, Query{From: start, Hosts: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}); len(got) != 0 {
				t.Error("packets of nobody")
			}
		}
	})
	var fillers sync.WaitGroup
	for i := range 2 {
		fillers.Go(func() { fill(r.Lane(i), r, uint64(i)<<40, 5*limit) })
	}
	fillers.Wait()
	stop.Store(true)
	watch.Wait()
	if most > limit || most < limit*3/4 {
		t.Errorf("%d bytes on disk, the limit is %d", most, limit)
	}
	if s := r.Stats(); s.Bytes > limit || s.Trouble != "" {
		t.Errorf("%+v", s)
	}
}

func TestAgeIsBounded(t *testing.T) {
	var now atomic.Int64
	clock := func() time.Time { return start.Add(time.Duration(now.Load())) }
	dir := t.TempDir()
	r := open(t, Config{Dir: dir, Age: time.Hour, Now: clock})
	for i := range uint64(180) { // one packet a minute
		now.Store(int64(i) * int64(time.Minute))
		r.Lane(0).Add(clock(), flow.LinkEthernet, frame(ends("10.0.0.1:1"), ends("10.0.0.2:2"), i, 0), 0)
		if err := r.sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		if age := clock().Sub(r.Stats().Oldest); age > time.Hour*18/16 {
			t.Fatalf("after %d minutes the oldest packet is %v old", i, age)
		}
	}
	if got := numbers(contents(t, r, Query{})); len(got) != 61 || got[0] != 119 {
		t.Errorf("%d packets, from %d", len(got), got[0])
	}
	now.Store(int64(10 * time.Hour)) // quiet: the last file goes too
	(&writer{ring: r}).say((&writer{ring: r}).shrink(0))
	if s := r.Stats(); s.Bytes != 0 || onDisk(t, dir) != 0 {
		t.Errorf("after hours of quiet: %+v", s)
	}
}

func TestAnEarlierRunIsKept(t *testing.T) {
	dir := t.TempDir()
	for run := range uint64(3) {
		r := open(t, Config{Dir: dir, Now: fixed, Lanes: 1 + int(run%2)})
		for i := range uint64(100) {
			r.Lane(0).Add(start.Add(time.Duration(run*100+i)*time.Millisecond), flow.LinkEthernet, frame(ends("10.0.0.1:1"), ends("10.0.0.2:2"), run*100+i, 0), 0)
		}
		got := numbers(contents(t, r, Query{}))
		if len(got) != int(run+1)*100 || got[0] != 0 || got[len(got)-1] != run*100+99 {
			t.Fatalf("run %d: %d packets", run, len(got))
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Cut(t.Context(), Query{}, io.Discard); !errors.Is(err, ErrClosed) {
			t.Errorf("error %v, want ErrClosed", err)
		}
		r.Lane(0).Add(start, flow.LinkEthernet, nil, 0)
		if r.Stats().Lost != 1 {
			t.Error("a packet after Close is not counted as lost")
		}
	}
}

// runChild adds numbered packets as quickly as the disk takes them, and says
// once a while which it added last.
func runChild(dir string) int {
	r, err := Open(Config{Dir: dir, Bytes: 1 << 30, Now: fixed, MinFree: 1})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	f := frame(ends("10.0.0.1:1"), ends("10.0.0.2:2"), 0, 300)
	for i := uint64(0); ; i++ {
		binary.BigEndian.PutUint64(f[42:], i)
		for lost := r.lost.Load(); ; time.Sleep(time.Millisecond) {
			r.Lane(0).Add(start.Add(time.Duration(i)), flow.LinkEthernet, f, 0)
			if now := r.lost.Load(); now == lost {
				break
			} else {
				lost = now
			}
		}
		if i%500 == 0 {
			r.Lane(0).Tick(time.Now())
			fmt.Println(i)
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// TestKilledProcessLeavesWhatItWrote: whatever was added more than a second
// (and one Tick) before kill -9 is there, in one piece.
func TestKilledProcessLeavesWhatItWrote(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVar+"="+dir)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	type said struct {
		number uint64
		at     time.Time
	}
	var all []said
	lines := bufio.NewScanner(out)
	for began := time.Now(); time.Since(began) < 3*time.Second && lines.Scan(); {
		n, err := strconv.ParseUint(lines.Text(), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, said{n, time.Now()})
	}
	killed := time.Now()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	r := open(t, Config{Dir: dir, Bytes: 1 << 30, Now: fixed})
	got := numbers(contents(t, r, Query{}))
	for i, n := range got {
		if n != uint64(i) {
			t.Fatalf("packet %d stands where %d should", n, i)
		}
	}
	must := uint64(0)
	for _, s := range all {
		if s.at.Before(killed.Add(-flushAfter - 500*time.Millisecond)) {
			must = s.number
		}
	}
	if must == 0 || uint64(len(got)) <= must {
		t.Errorf("%d packets after the kill, want more than %d", len(got), must)
	}
	t.Logf("%d packets survived; %d were added, %d of them a second before", len(got), all[len(all)-1].number, must)
}

func TestDamageLosesOneBlock(t *testing.T) {
	dir := t.TempDir()
	r := open(t, Config{Dir: dir, Now: fixed})
	total := fill(r.Lane(0), r, 0, 3<<20)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	f, err := os.OpenFile(files[0], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	count := func() int {
		r := open(t, Config{Dir: dir, Now: fixed})
		defer r.Close()
		return len(contents(t, r, Query{}))
	}
	if _, err := f.WriteAt([]byte("xxxx"), blockSize+headSize+500); err != nil { // the body of the second block
		t.Fatal(err)
	}
	if n := count(); n >= int(total) || n < int(total)-blockSize/1400 {
		t.Errorf("%d packets of %d", n, total)
	}
	if err := f.Truncate(2*blockSize + 5000); err != nil { // and the third is cut off
		t.Fatal(err)
	}
	if n := count(); n == 0 || n > blockSize/1400 {
		t.Errorf("%d packets of the first block", n)
	}
	if _, err := f.WriteAt([]byte("x"), 60); err != nil { // and nothing can be found any more
		t.Fatal(err)
	}
	if n := count(); n != 0 {
		t.Errorf("%d packets of a file without a beginning", n)
	}
}

// TestAFullDisk gives the ring a disk that is smaller than the ring.
func TestAFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting a small disk needs root")
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("mount: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	r := open(t, Config{Dir: filepath.Join(dir, "ring"), Bytes: 64 << 20, Now: fixed})
	last := fill(r.Lane(0), r, 0, 60<<20) // somebody must make room for it
	got := numbers(contents(t, r, Query{}))
	if s := r.Stats(); s.Trouble != "" || len(got) == 0 || got[len(got)-1] != last-1 {
		t.Errorf("%+v, %d packets", s, len(got))
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	// Now another file takes all the room, and then gives it back.
	other := filepath.Join(dir, "other")
	if err := os.RemoveAll(filepath.Join(dir, "ring")); err != nil {
		t.Fatal(err)
	}
	_ = os.WriteFile(other, make([]byte, 24<<20), 0o600) // fails for want of room, as it should
	r = open(t, Config{Dir: filepath.Join(dir, "ring"), Bytes: 64 << 20})
	r.Lane(0).Add(start, flow.LinkEthernet, make([]byte, 100), 0)
	if err := r.sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := r.Stats(); s.Trouble == "" || s.Lost != 1 {
		t.Errorf("a full disk: %+v", s)
	}
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	time.Sleep(retry + 100*time.Millisecond)
	r.Lane(0).Add(time.Now(), flow.LinkEthernet, make([]byte, 100), 0)
	if got := contents(t, r, Query{}); len(got) != 1 || r.Stats().Trouble != "" {
		t.Errorf("%d packets once there is room: %+v", len(got), r.Stats())
	}
}

func FuzzBlock(f *testing.F) {
	k := newBlock()
	k.add(start, flow.LinkEthernet, frame(ends("10.0.0.1:1"), ends("10.0.0.2:2"), 1, 80), 80)
	f.Add(bytes.Clone(k.finish(0, 0)))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, strings.Repeat("0", 16)+suffix), b, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := Open(Config{Dir: dir, MinFree: 1, Now: fixed})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Cut(t.Context(), Query{}, io.Discard); err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if len(b) > headSize { // and without the check sums that a fuzzer cannot guess
			_ = packets(b[headSize:], func(p pcap.Packet) error {
				var e [pcap.MaxEnds]pcap.Ends
				pcap.EndsOf(p.Link, p.Data, &e)
				return nil
			})
		}
	})
}
