package collect

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
)

// recordKind is what a record of the kernel's part tells.
type recordKind uint32

// As in bpf/telemetry.bpf.c.
const (
	recordExec recordKind = iota + 1
	recordFork
	recordExit
	recordOpened
	recordAccepted

	recordHead       = 48
	recordConnection = recordHead + 40
	recordMost       = recordHead + 8192 + 256 + 16384

	familyIPv4 = 2
	familyIPv6 = 10

	protoTCP   = 6
	protoUDP   = 17
	protoMPTCP = 262
)

// record is what the kernel's part tells.
type record struct {
	kind        recordKind
	pid, parent int
	uid         uint32 // effective
	at          uint64 // ns since the machine started
	started     uint64 // of the process, clock ticks since the machine started
	code        uint32 // wait status

	// Of a program that begins.
	image, dir, group string // "" when more folders lie above than are told
	command           string
	whole             bool // command has all of the arguments

	// Of a connection.
	proto         string // tcp or udp
	local, remote netip.AddrPort
}

// tick is the length of the ticks of /proc/PID/stat in ns.
const tick = 10_000_000

var errRecord = errors.New("a record of the kernel is not whole")

// parseRecord reads one record. It never keeps b.
func parseRecord(b []byte) (record, error) {
	if len(b) < recordHead || len(b) > recordMost+8 {
		return record{}, errRecord
	}
	u32, u64 := binary.NativeEndian.Uint32, binary.NativeEndian.Uint64
	r := record{kind: recordKind(u32(b)), pid: int(int32(u32(b[4:]))), parent: int(int32(u32(b[8:]))), uid: u32(b[12:]),
		at: u64(b[16:]), started: u64(b[24:]) / tick, code: u32(b[32:])}
	switch r.kind {
	case recordExec:
		return r, r.program(b[recordHead:], u32(b[36:]), u32(b[40:]), u32(b[44:]))
	case recordFork, recordExit:
		return r, nil
	case recordOpened, recordAccepted:
		return r, r.connection(b[recordHead:])
	}
	return record{}, errRecord
}

// program reads file, folder, group and the arguments, told bytes of args.
func (r *record) program(b []byte, args, told, cut uint32) error {
	for i, to := range []*string{&r.image, &r.dir, &r.group} {
		path, rest, ok := untold(b)
		if !ok {
			return errRecord
		}
		if b = rest; cut>>i&1 == 0 {
			*to = path
		}
	}
	if uint64(told) > uint64(len(b)) {
		return errRecord
	}
	r.command, r.whole = joined(b[:told]), told == args
	return nil
}

// untold reads one path, told from its last part to its first.
func untold(b []byte) (path string, rest []byte, ok bool) {
	var parts []string
	for {
		part, after, ok := bytes.Cut(b, []byte{0})
		if !ok {
			return "", nil, false
		}
		b = after
		if len(part) == 0 {
			break
		}
		parts = append(parts, string(part))
	}
	var s strings.Builder
	for i := len(parts) - 1; i >= 0; i-- {
		s.WriteByte('/')
		s.WriteString(parts[i])
	}
	if s.Len() == 0 {
		return "/", b, true
	}
	return s.String(), b, true
}

// connection reads the ends of a connection.
func (r *record) connection(b []byte) error {
	if len(b) < recordConnection-recordHead {
		return errRecord
	}
	u16 := binary.NativeEndian.Uint16
	switch u16(b) {
	case protoTCP, protoMPTCP:
		r.proto = "tcp"
	case protoUDP:
		r.proto = "udp"
	}
	address := func(b []byte, port uint16) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b)).Unmap(), port)
	}
	if u16(b[2:]) == familyIPv4 {
		address = func(b []byte, port uint16) netip.AddrPort {
			return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b)), port)
		}
	}
	r.local, r.remote = address(b[8:24], u16(b[4:])), address(b[24:40], u16(b[6:]))
	return nil
}
