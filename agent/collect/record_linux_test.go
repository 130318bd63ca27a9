package collect

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// execRecord is a record of a program that begins.
func execRecord(args, told, cut uint32, rest string) []byte {
	b := make([]byte, recordHead, recordHead+len(rest))
	for i, v := range []uint32{uint32(recordExec), 7, 1, 33} {
		binary.NativeEndian.PutUint32(b[4*i:], v)
	}
	binary.NativeEndian.PutUint64(b[16:], 5)
	binary.NativeEndian.PutUint64(b[24:], 9*tick+1)
	for i, v := range []uint32{0, args, told, cut} {
		binary.NativeEndian.PutUint32(b[32+4*i:], v)
	}
	return append(b, rest...)
}

const someProgram = "sh\x00bin\x00\x00\x00\x00sh\x00-c\x00a b\x00" // /bin/sh in / of the first group

func TestRecords(t *testing.T) {
	whole := record{kind: recordExec, pid: 7, parent: 1, uid: 33, at: 5, started: 9, image: "/bin/sh", dir: "/", group: "/", command: "sh -c a b", whole: true}
	cut := whole
	cut.dir, cut.command, cut.whole = "", "sh -", false
	for name, tt := range map[string]struct {
		b    []byte
		want record
	}{
		"a program":       {execRecord(10, 10, 0, someProgram), whole},
		"not all of it":   {execRecord(9000, 4, 2, someProgram), cut},
		"a connection":    {connectionRecord(protoTCP, familyIPv4), record{kind: recordAccepted, proto: "tcp", local: netip.MustParseAddrPort("192.0.2.1:22"), remote: netip.MustParseAddrPort("198.51.100.2:4000")}},
		"neither of both": {connectionRecord(132, familyIPv4), record{kind: recordAccepted, local: netip.MustParseAddrPort("192.0.2.1:22"), remote: netip.MustParseAddrPort("198.51.100.2:4000")}},
	} {
		got, err := parseRecord(tt.b)
		if d := cmp.Diff(tt.want, got, cmp.AllowUnexported(record{}), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, d)
		}
	}
	for name, b := range map[string][]byte{"nothing": nil, "no kind": make([]byte, recordHead), "half a path": execRecord(1, 1, 0, "sh\x00bin"), "more arguments than there are": execRecord(99, 99, 0, someProgram),
		"half a connection": connectionRecord(protoTCP, familyIPv4)[:recordConnection-1]} {
		if r, err := parseRecord(b); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func connectionRecord(protocol, family uint16) []byte {
	b := make([]byte, recordConnection)
	binary.NativeEndian.PutUint32(b, uint32(recordAccepted))
	for i, v := range []uint16{protocol, family, 22, 4000} {
		binary.NativeEndian.PutUint16(b[recordHead+2*i:], v)
	}
	copy(b[recordHead+8:], []byte{192, 0, 2, 1})
	copy(b[recordHead+24:], []byte{198, 51, 100, 2})
	return b
}

func FuzzParseRecord(f *testing.F) {
	f.Add(execRecord(10, 10, 0, someProgram))
	f.Add(execRecord(9000, 4, 7, someProgram))
	f.Add(connectionRecord(protoUDP, familyIPv6))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRecord(b)
		if err == nil && len(r.image)+len(r.dir)+len(r.group) > len(b)+3 || len(r.command) > 3*len(b) {
			t.Errorf("%d bytes became %+v", len(b), r)
		}
	})
}

func TestContainersAreKnownByTheirGroup(t *testing.T) {
	const id = "4f6d0b1c2a3948576655443322110099aabbccddeeff00112233445566778899"
	for group, want := range map[string]string{
		"/system.slice/docker-" + id + ".scope": id, "/kubepods/burstable/pod12/" + id: id, "/machine.slice/libpod-" + id + ".scope/container": id,
		"/": "", "": "", "/user.slice/user-0.slice": "", "/x/" + id + "0": "", "/deadbeef-" + id[:63]: "",
	} {
		if got := container(group); got != want {
			t.Errorf("%q: %q, want %q", group, got, want)
		}
	}
}
