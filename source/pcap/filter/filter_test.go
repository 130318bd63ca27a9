package filter

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/net/bpf"

	"github.com/sonae/sonae/flow"
	"github.com/sonae/sonae/source/pcap"
)

// expressions cover the language; most find something in the captures.
func expressions() []string {
	all := []string{
		"host 10.99.0.1", "src host 10.99.0.1", "dst host 10.99.0.1", "src 10.99.0.1", "ip host 10.99.0.2", "arp host 10.99.0.2", "host 2001:db8::1",
		"net 10.0.0.0/8", "net 10", "net 192.168", "net 192.168.1", "src net 10.0.0.0/9", "dst net 172.16.0.0/12", "ip net 10.0.0.0/8", "arp net 10.0.0.0/8",
		"net fe80::/10", "src net 2001::/16", "net 2001:db8::/33", "ip6 net ff00::/8", "net ff02::/127", "net 0.0.0.0/0", "net 128.0.0.0/1",
		"port 53", "src port 53", "dst port 53", "tcp port 80", "udp port 53", "sctp port 80", "tcp src port 443", "udp dst port 53",
		"portrange 1-1023", "tcp portrange 6881-6999", "udp portrange 40000-65535", "src portrange 0-65535", "portrange 90-80", "portrange 80",
		"tcp", "udp", "icmp", "icmp6", "sctp", "ip", "ip6", "arp",
		"not tcp", "! udp", "not not tcp", "tcp or udp", "tcp and port 80", "tcp && port 80 || icmp", "icmp or tcp and port 80", "tcp and (port 80 or port 443)",
		"port 80 or 443 or 53", "host 10.99.0.1 or 10.99.0.2", "not (tcp or udp)", "not port 53 and not port 80", "tcp and not host 10.99.0.1",
		"vlan", "vlan 5", "vlan 100 and tcp", "vlan and host 10.0.0.1", "vlan and vlan", "vlan and vlan 1 and ip", "not vlan", "vlan or ip", "ip or vlan and udp",
		"tcp port 80 and not net 10.0.0.0/8 and not arp",
	}
	var long []string // comparisons that jump farther than one can
	for i := range 60 {
		long = append(long, fmt.Sprintf("host 10.%d.0.%d", i, i))
	}
	return append(all, strings.Join(long, " or "), "not ("+strings.Join(long, " or ")+") and tcp")
}

// captures are files with many kinds of packets: those of the shared data where
// it is at hand, and what the tests bring along.
func captures(t *testing.T) (all []string) {
	t.Helper()
	for _, pattern := range []string{"*/*.pcap*", "*/*/*.pcap*"} {
		list, err := filepath.Glob(filepath.Join("../../../../shared/data/net", pattern))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, list...)
	}
	return append(all, made(t))
}

// made writes a capture of frames as they are seldom met.
func made(t *testing.T) string {
	t.Helper()
	be := binary.BigEndian
	ip4 := func(proto byte, frag uint16, options int, payload ...byte) []byte {
		b := append([]byte{byte(0x45 + options), 0, 0, 60, 0, 0}, be.AppendUint16(nil, frag)...)
		b = append(b, 64, proto, 0, 0, 10, 99, 0, 1, 10, 99, 0, 2)
		return append(append(b, make([]byte, 4*options)...), payload...)
	}
	ip6 := func(next byte, payload ...byte) []byte {
		b := append([]byte{0x60, 0, 0, 0, 0, 40, next, 64}, bytes.Repeat([]byte{0x20, 0x01, 0x0d, 0xb8}, 8)...)
		return append(b, payload...)
	}
	ports := []byte{0, 80, 0, 53, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0, 0, 0, 0, 0, 0, 0}
	arp := append([]byte{0, 1, 8, 0, 6, 4, 0, 1, 1, 1, 1, 1, 1, 1}, 10, 99, 0, 1, 2, 2, 2, 2, 2, 2, 10, 99, 0, 2)
	var frames [][]byte
	add := func(kind uint16, body []byte) {
		macs := make([]byte, 12)
		for _, tags := range [][]uint16{nil, {0x8100, 5}, {0x88a8, 100, 0x8100, 1}, {0x9100, 0x2005}} {
			f := bytes.Clone(macs)
			for _, v := range tags {
				f = be.AppendUint16(f, v)
			}
			f = append(be.AppendUint16(f, kind), body...)
			frames = append(frames, f)
			if len(tags) > 2 {
				frames = append(frames, f[:16], f[:20]) // cut off
			}
		}
	}
	for _, proto := range []byte{1, 6, 17, 132, 47} {
		add(0x0800, ip4(proto, 0, 0, ports...))
		add(0x0800, ip4(proto, 0x2000, 0, ports...)) // the first fragment
		add(0x0800, ip4(proto, 0x0010, 0, ports...)) // a later one
		add(0x0800, ip4(proto, 0, 5, ports...))
		add(0x0800, ip4(proto, 0, 0, 0, 80)) // no room for both ports
		add(0x86dd, ip6(proto, ports...))
		add(0x86dd, ip6(44, append([]byte{proto, 0, 0, 1, 0, 0, 0, 0}, ports...)...))
	}
	add(0x86dd, ip6(58, 128, 0))
	add(0x0806, arp)
	add(0x8035, arp)
	add(0x88cc, []byte("LLDP"))
	path := filepath.Join(t.TempDir(), "made.pcap")
	b := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	b = append(b, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0)
	for _, f := range frames {
		b = append(b, make([]byte, 8)...)
		b = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(b, uint32(len(f))), uint32(len(f)))
		b = append(b, f...)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// theirs asks tcpdump for its program for an expression and the link type of a
// file; nil when it has none.
func theirs(t *testing.T, path, expression string) *bpf.VM {
	t.Helper()
	var errs bytes.Buffer
	cmd := exec.Command("tcpdump", "-ddd", "-r", path, expression)
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		if !strings.Contains(errs.String(), "no VLAN support") && !strings.Contains(errs.String(), "rejects all packets") {
			t.Fatalf("tcpdump -d %s %q: %v: %s", path, expression, err, errs.String())
		}
		return nil
	}
	var raw []bpf.RawInstruction
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n")[1:] {
		var r bpf.RawInstruction
		if _, err := fmt.Sscan(line, &r.Op, &r.Jt, &r.Jf, &r.K); err != nil {
			t.Fatal(err)
		}
		raw = append(raw, r)
	}
	insns, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatalf("the program of tcpdump for %q is not understood", expression)
	}
	vm, err := bpf.NewVM(insns)
	if err != nil {
		t.Fatal(err)
	}
	return vm
}

// TestSameAsTcpdump runs our program and that of tcpdump over every packet of
// every capture.
func TestSameAsTcpdump(t *testing.T) {
	if _, err := exec.LookPath("tcpdump"); err != nil {
		t.Skip("tcpdump is not installed")
	}
	type key struct {
		link flow.LinkType
		text string
	}
	programs := map[key]*bpf.VM{}
	found := map[string]int{}
	compared, files := 0, 0
	matchers := map[string]*Matcher{}
	for _, text := range expressions() {
		f, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		matchers[text] = NewMatcher(f)
	}
	for _, path := range captures(t) {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		files++
		seen := 0
		_ = pcap.Read(f, func(p pcap.Packet) error { // a damaged end is no matter here
			if seen++; seen > 3000 {
				return errors.New("enough")
			}
			for _, text := range expressions() {
				k := key{p.Link, text}
				vm, asked := programs[k]
				if !asked {
					if _, err := matchers[text].f.Program(p.Link); err == nil {
						vm = theirs(t, path, text)
					}
					programs[k] = vm
				}
				if vm == nil {
					continue
				}
				n, err := vm.Run(p.Data)
				if err != nil {
					t.Fatal(err)
				}
				ours, err := matchers[text].Match(p.Link, p.Data)
				if err != nil {
					t.Fatal(err)
				}
				compared++
				if ours != (n > 0) {
					t.Fatalf("%s packet %d, %q: ours %v, tcpdump %v\n% x", path, p.Number, text, ours, n > 0, p.Data[:min(len(p.Data), 80)])
				}
				if ours {
					found[text]++
				}
			}
			return nil
		})
		f.Close()
	}
	matched := 0
	for _, n := range found {
		matched += n
	}
	t.Logf("%d files, %d decisions, %d of them yes, %d of %d expressions found something", files, compared, matched, len(found), len(matchers))
	if len(found) < len(matchers)*2/3 {
		t.Errorf("only %d of %d expressions found something", len(found), len(matchers))
	}
}

func TestErrorsNameThePlace(t *testing.T) {
	for text, want := range map[string]Error{
		"":                            {1, "missing at the end"},
		"tcp and":                     {8, "missing at the end"},
		"port":                        {5, "value is missing"},
		"port http":                   {6, `"http" is no port`},
		"tcp port 70000":              {10, "is no port"},
		"port 1-5":                    {6, "write portrange"},
		"host example.org":            {6, "names of hosts are not looked up"},
		"host 10.0.0.0/8":             {6, "write net"},
		"net 10.1.2.3/8":              {5, "is it 10.0.0.0/8"},
		"net 10.0.0.0/33":             {5, "at most 32"},
		"net 1.2.3.4.5":               {5, "no network"},
		"tcp host 10.0.0.1":           {10, "tcp has no hosts"},
		"ip6 host 10.0.0.1":           {10, "no address of IPv6"},
		"ip host ::1":                 {9, "no address of IPv4"},
		"arp port 5":                  {10, "arp has no ports"},
		"(tcp":                        {5, "closing parenthesis"},
		"tcp)":                        {4, "too much"},
		"tcp port 80 host 10.0.0.1":   {13, "too much"},
		"vlan 4096":                   {6, "from 0 to 4095"},
		"ether host 00:00:00:00:00:0": {1, "not understood"},
		"80":                          {1, "Write host, net or port"},
		"tcp or 80":                   {8, "Write host, net or port"},
		"tcp and & udp":               {9, "not understood"},
		"host fe80::1%eth0":           {6, "no address"},
		"tcp\x00":                     {4, "no text"},
		strings.Repeat("(", 200):      {101, "too deep"},
		strings.Repeat("not ", 200):   {401, "too deep"},
		strings.Repeat("port 1 or ", 500) + "port 1": {1, "too long"},
		strings.Repeat(" ", 9000):                    {8193, "too long"},
	} {
		_, err := Parse(text)
		var e *Error
		if !errors.As(err, &e) || e.Pos != want.Pos || !strings.Contains(e.What, want.What) {
			t.Errorf("%.40q: error %v, want %q at %d", text, err, want.What, want.Pos)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range expressions() {
		f.Add(text, []byte("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x08\x00\x45"))
	}
	f.Fuzz(func(t *testing.T, text string, frame []byte) {
		parsed, err := Parse(text)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Pos < 1 || e.Pos > len(text)+1 && e.Pos != maxText+1 {
				t.Fatalf("error %v", err)
			}
			return
		}
		m := NewMatcher(parsed)
		for _, link := range []flow.LinkType{flow.LinkEthernet, flow.LinkRaw, flow.LinkLinuxSLL, flow.LinkLinuxSLL2} {
			if _, err := m.Match(link, frame); err != nil {
				t.Fatalf("%q: %v", text, err)
			}
		}
		live, err := parsed.Live()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := bpf.Assemble(live); err != nil {
			t.Fatal(err)
		}
	})
}
