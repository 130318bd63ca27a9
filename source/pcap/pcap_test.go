package pcap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/flow"
)

var at = time.Date(2026, 11, 21, 9, 0, 0, 123456789, time.UTC)

// all reads a whole stream and keeps the packets.
func all(r io.Reader) (got []Packet, err error) {
	err = Read(r, func(p Packet) error {
		p.Data = bytes.Clone(p.Data)
		got = append(got, p)
		return nil
	})
	return got, err
}

// classicFile makes a pcap file with two packets, the second cut by the capture.
func classicFile(o binary.AppendByteOrder, magic uint32, frac uint32) []byte {
	b := o.AppendUint32(nil, magic)
	b = o.AppendUint16(o.AppendUint16(b, 2), 4)
	b = append(b, make([]byte, 8)...)
	b = o.AppendUint32(o.AppendUint32(b, 65535), 1)
	for _, p := range []struct {
		data   string
		length uint32
	}{{"first", 5}, {"second", 900}} {
		b = o.AppendUint32(o.AppendUint32(b, uint32(at.Unix())), frac)
		b = o.AppendUint32(o.AppendUint32(b, uint32(len(p.data))), p.length)
		b = append(b, p.data...)
	}
	return b
}

func TestReadClassic(t *testing.T) {
	for name, tt := range map[string]struct {
		order binary.AppendByteOrder
		magic uint32
		frac  uint32
		want  time.Time
	}{
		"little-endian, microseconds": {binary.LittleEndian, 0xa1b2c3d4, 123456, at.Truncate(time.Microsecond)},
		"big-endian, microseconds":    {binary.BigEndian, 0xa1b2c3d4, 123456, at.Truncate(time.Microsecond)},
		"little-endian, nanoseconds":  {binary.LittleEndian, 0xa1b23c4d, 123456789, at},
		"big-endian, nanoseconds":     {binary.BigEndian, 0xa1b23c4d, 123456789, at},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := all(iotest.OneByteReader(bytes.NewReader(classicFile(tt.order, tt.magic, tt.frac))))
			if err != nil {
				t.Fatal(err)
			}
			want := []Packet{
				{At: tt.want, Link: flow.LinkEthernet, Data: []byte("first"), Length: 5, Number: 1},
				{At: tt.want, Link: flow.LinkEthernet, Data: []byte("second"), Length: 900, Number: 2},
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// ng builds pcapng files block by block.
type ng struct {
	o binary.AppendByteOrder
	b []byte
}

func (n *ng) block(kind uint32, body []byte) *ng {
	for len(body)%4 != 0 {
		body = append(body, 0)
	}
	size := uint32(len(body) + 12)
	n.b = n.o.AppendUint32(n.o.AppendUint32(n.b, kind), size)
	n.b = n.o.AppendUint32(append(n.b, body...), size)
	return n
}

func (n *ng) section() *ng {
	b := n.o.AppendUint32(nil, sectionMagic)
	b = n.o.AppendUint16(n.o.AppendUint16(b, 1), 0)
	return n.block(blockSection, append(b, bytes.Repeat([]byte{0xff}, 8)...))
}

func (n *ng) iface(link uint16, snap uint32, options ...byte) *ng {
	b := n.o.AppendUint16(n.o.AppendUint16(nil, link), 0)
	return n.block(blockInterface, append(n.o.AppendUint32(b, snap), options...))
}

func (n *ng) option(code uint16, v ...byte) []byte {
	b := n.o.AppendUint16(n.o.AppendUint16(nil, code), uint16(len(v)))
	b = append(b, v...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func (n *ng) packet(iface uint32, units uint64, data string) *ng {
	b := n.o.AppendUint32(nil, iface)
	b = n.o.AppendUint32(n.o.AppendUint32(b, uint32(units>>32)), uint32(units))
	b = n.o.AppendUint32(n.o.AppendUint32(b, uint32(len(data))), uint32(len(data)))
	return n.block(blockEnhanced, append(b, data...))
}

func TestReadNG(t *testing.T) {
	for _, o := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		t.Run(fmt.Sprint(o), func(t *testing.T) {
			f := &ng{o: o}
			f.section().
				iface(1, 0).                               // microseconds, the default
				iface(101, 0, f.option(9, 9)...).          // nanoseconds
				iface(113, 3, append(f.option(9, 0x80|10), // 1/1024 s, an hour behind
					f.option(14, o.AppendUint64(nil, 3600)...)...)...).
				block(0x0bad, []byte("nobody knows this block")).
				packet(0, uint64(at.UnixMicro()), "Ethernet").
				packet(1, uint64(at.UnixNano()), "raw").
				packet(2, uint64(at.Unix()-3600)<<10|512, "cooked").
				block(blockPacketOld, append(o.AppendUint32(o.AppendUint32(o.AppendUint32(o.AppendUint32(o.AppendUint16(o.AppendUint16(nil, 1), 7),
						uint32(at.UnixNano()>>32)), uint32(at.UnixNano())), 3), 60), "old"...)).
				section(). // interfaces of the first section are gone
				iface(1, 4).
				block(blockSimple, append(o.AppendUint32(nil, 9), "simp"...))
			got, err := all(iotest.HalfReader(bytes.NewReader(f.b)))
			if err != nil {
				t.Fatal(err)
			}
			want := []Packet{
				{At: at.Truncate(time.Microsecond), Link: flow.LinkEthernet, Data: []byte("Ethernet"), Length: 8, Number: 1},
				{At: at, Link: flow.LinkRaw, Data: []byte("raw"), Length: 3, Number: 2},
				{At: at.Truncate(time.Second).Add(time.Second / 2), Link: flow.LinkLinuxSLL, Data: []byte("cooked"), Length: 6, Number: 3},
				{At: at, Link: flow.LinkRaw, Data: []byte("old"), Length: 60, Number: 4},
				{At: time.Unix(0, 0).UTC(), Link: flow.LinkEthernet, Data: []byte("simp"), Length: 9, Number: 5},
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestDamageIsNamedAndWhatComesBeforeIsDelivered(t *testing.T) {
	le := binary.LittleEndian
	good := func() *ng { f := &ng{o: le}; return f.section().iface(1, 0).packet(0, 1, "good") }
	start := int64(len(good().b))
	change := func(b []byte, at int, v uint32) []byte { le.PutUint32(b[at:], v); return b }
	classic := classicFile(le, 0xa1b2c3d4, 1)
	for name, tt := range map[string]struct {
		file   []byte
		before int
		offset int64
		what   string
	}{
		"a pcap that ends in a packet":     {classic[:len(classic)-2], 1, 45, "ends inside a packet"},
		"a pcap that ends in a header":     {classic[:50], 1, 45, "ends inside a record header"},
		"a pcap that ends in its header":   {classic[:20], 0, 0, "ends inside the file header"},
		"a pcap of another version":        {change(classicFile(le, 0xa1b2c3d4, 1), 4, 9), 0, 0, "version 9"},
		"a pcap with an endless packet":    {change(classicFile(le, 0xa1b2c3d4, 1), 45+8, 1<<31), 1, 45, "2147483648 bytes"},
		"a block of 8 bytes":               {append(good().b, 1, 0, 0, 0, 8, 0, 0, 0), 1, start, "a block of 8 bytes"},
		"a block of 13 bytes":              {append(good().b, 1, 0, 0, 0, 13, 0, 0, 0), 1, start, "a block of 13 bytes"},
		"an unknown block that ends early": {append(good().b, 99, 0, 0, 0, 0, 0, 0, 128), 1, start, "ends inside a block"},
		"an interface never described":     {good().packet(1, 1, "x").b, 1, start, "interface 1, which was not described"},
		"two lengths of one block":         {change(good().packet(0, 1, "abcd").b, int(start)+32, 40), 1, start, "36 bytes at its beginning and 40 at its end"},
		"a packet larger than its block":   {change(good().packet(0, 1, "abcd").b, int(start)+20, 5), 1, start, "a packet of 5 bytes in a block of 36"},
		"an option over the end":           {good().iface(1, 0, 9, 0, 200, 0).b, 1, start, "an option of 200 bytes"},
		"an impossible resolution":         {good().iface(1, 0, 9, 0, 1, 0, 77, 0, 0, 0).b, 1, start, "a time resolution of 0x4d"},
		"no byte order":                    {change(good().section().b, int(start)+8, 7), 1, start, "byte order mark"},
		"a simple packet of nobody":        {(&ng{o: le}).section().block(blockSimple, make([]byte, 8)).b, 0, 28, "interface 0, which was not described"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := all(bytes.NewReader(tt.file))
			var d *DamageError
			if !errors.As(err, &d) || !errors.Is(err, ErrDamaged) {
				t.Fatalf("error %v, want a DamageError", err)
			}
			if d.Offset != tt.offset || !strings.Contains(d.What, tt.what) {
				t.Errorf("%v, want %q at offset %d", err, tt.what, tt.offset)
			}
			if len(got) != tt.before {
				t.Errorf("%d packets before the damage, want %d", len(got), tt.before)
			}
		})
	}
}

func TestReadRefusesOtherFormats(t *testing.T) {
	for name, b := range map[string]string{"nothing": "", "two bytes": "\xd4\xc3", "text": "not a capture at all, but long enough to be one"} {
		if _, err := all(strings.NewReader(b)); !errors.Is(err, ErrFormat) || !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: error %v, want ErrFormat", name, err)
		}
	}
}

func TestErrorsOfOthersAreKept(t *testing.T) {
	broken := errors.New("the disk is gone")
	file := classicFile(binary.LittleEndian, 0xa1b2c3d4, 1)
	for n := range len(file) {
		r := io.MultiReader(bytes.NewReader(file[:n]), iotest.ErrReader(broken))
		if _, err := all(r); !errors.Is(err, broken) {
			t.Errorf("after %d bytes: error %v, want %v", n, err, broken)
		}
	}
	enough := errors.New("enough")
	if err := Read(bytes.NewReader(file), func(Packet) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("error %v, want the function's", err)
	}
}

// TestEveryCutIsSurvived cuts a file at every byte: the packets before are
// delivered, and unless the cut is between two blocks the damage is named.
func TestEveryCutIsSurvived(t *testing.T) {
	f := &ng{o: binary.LittleEndian}
	ends := map[int]int{}
	mark := func(n int) { ends[len(f.b)] = n }
	f.section()
	mark(0)
	f.iface(1, 0)
	mark(0)
	f.packet(0, 1, "one")
	mark(1)
	f.block(77, []byte("skip"))
	mark(1)
	f.packet(0, 2, "two")
	mark(2)
	whole := 0
	for n := 4; n <= len(f.b); n++ {
		got, err := all(bytes.NewReader(f.b[:n]))
		want, clean := ends[n]
		if clean {
			whole = want
		}
		if len(got) != whole || (err == nil) != clean {
			t.Errorf("cut at %d: %d packets, error %v; want %d, clean %v", n, len(got), err, whole, clean)
		}
	}
}

func TestWriterIsReadBackAndByTcpdump(t *testing.T) {
	ip := []byte{0x45, 0, 0, 33, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, 0x9c, 0x40, 0x9c, 0x41, 0, 13, 0, 0, 'h', 'e', 'l', 'l', 'o'}
	ether := append([]byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0}, ip...)
	want := []Packet{
		{At: at, Link: flow.LinkEthernet, Data: ether, Length: len(ether), Number: 1},
		{At: at.Add(1), Link: flow.LinkEthernet, Data: ether[:40], Length: len(ether), Number: 2},
		{At: at.Add(time.Hour), Link: flow.LinkRaw, Data: ip, Length: len(ip), Number: 3},
	}
	for name, packets := range map[string][]Packet{"one link": want[:2], "two links": want, "none": nil} {
		t.Run(name, func(t *testing.T) {
			var buf bytes.Buffer
			w, err := NewWriter(&buf, "sonae test")
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range packets {
				if err := w.Write(p); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
			got, err := all(bytes.NewReader(buf.Bytes()))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(packets, got); d != "" {
				t.Error(d)
			}
			if name == "one link" { // libpcap opens files of one link type only
				checkTcpdump(t, buf.Bytes())
			}
		})
	}
	w, err := NewWriter(io.Discard, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(Packet{Link: 1 << 16}); err == nil {
		t.Error("a link type that the format cannot say was accepted")
	}
	if err := w.Write(Packet{Data: make([]byte, MaxPacket+1)}); err == nil {
		t.Error("a packet that no reader accepts was written")
	}
}

func checkTcpdump(t *testing.T, file []byte) {
	t.Helper()
	tcpdump, err := exec.LookPath("tcpdump")
	if err != nil {
		t.Skip("tcpdump is not installed: it must be able to read what is written")
	}
	path := filepath.Join(t.TempDir(), "w.pcapng")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(tcpdump, "-nn", "-tt", "--nano", "-r", path).Output()
	if err != nil {
		t.Fatalf("tcpdump: %v", err)
	}
	for _, want := range []string{"1795251600.123456789 IP 192.0.2.1.40000 > 192.0.2.2.40001: UDP, length 5", "1795251600.123456790 IP"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("tcpdump says\n%swant %q", out, want)
		}
	}
}

// TestTwoReadersAgree reads every shared capture and compares the number of
// packets with tcpdump's.
func TestTwoReadersAgree(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join("..", "..", "..", "shared", "data", "net", "*", "*", "*.pcap*"))
	tcpdump, err := exec.LookPath("tcpdump")
	if err != nil || len(files) == 0 {
		t.Skip("tcpdump or the shared captures are not here")
	}
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := all(f)
		f.Close()
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		out, err := exec.Command(tcpdump, "-nn", "--count", "-r", path).Output()
		if err != nil {
			t.Errorf("tcpdump %s: %v", path, err)
			continue
		}
		if want := fmt.Sprintf("%d packet", len(got)); !strings.HasPrefix(string(out), want) {
			t.Errorf("%s: %d packets, tcpdump says %s", path, len(got), out)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(classicFile(binary.LittleEndian, 0xa1b2c3d4, 1))
	f.Add(classicFile(binary.BigEndian, 0xa1b23c4d, 1))
	for _, o := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		n := &ng{o: o}
		f.Add(n.section().iface(1, 0, n.option(9, 9)...).packet(0, 1, "x").block(blockSimple, make([]byte, 8)).section().b)
	}
	for _, pattern := range []string{"bt-http.pcapng", "bt_search.pcap", "hl7.pcap"} {
		if b, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "data", "net", "fetched", "ndpi", pattern)); err == nil {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n, size := 0, 0
		err := Read(bytes.NewReader(b), func(p Packet) error {
			n++
			size += len(p.Data)
			if p.Number != n || len(p.Data) > MaxPacket || p.Length < len(p.Data) {
				t.Errorf("%+v", p)
			}
			return nil
		})
		if size > len(b) {
			t.Errorf("%d bytes of packets from %d bytes", size, len(b))
		}
		var d *DamageError
		if errors.As(err, &d) && (d.Offset < 0 || d.Offset > int64(len(b))) {
			t.Errorf("%v in a file of %d bytes", err, len(b))
		}
		if err != nil && !errors.Is(err, ErrDamaged) {
			t.Errorf("error %v is not about the file", err)
		}
	})
}
