package owner

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"

	"github.com/sonae/sonae/agent/winproc"
)

// Finder finds owners in the tables of the IP Helper. It is safe for
// concurrent use.
type Finder struct {
	conf  Config
	mu    sync.Mutex
	pids  map[conn]int
	known map[conn]remembered
	next  time.Time
}

// remembered is an owner and until when it is believed without a socket.
type remembered struct {
	process Process
	until   time.Time
}

// New makes a Finder.
func New(c Config) *Finder {
	return &Finder{conf: c.withDefaults(), pids: map[conn]int{}, known: map[conn]remembered{}}
}

// Of returns the owner of the connection of proto ("tcp" or "udp") between the
// local and the remote address. An invalid remote asks for whoever has the
// local port open.
func (f *Finder) Of(proto string, local, remote netip.AddrPort) (Process, bool) {
	c, ok := connOf(proto, local, remote)
	if !ok {
		return Process{}, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.conf.Now()
	if !now.Before(f.next) {
		f.look(now)
	}
	for _, form := range c.forms() {
		if pid, ok := f.pids[form]; ok {
			return f.remember(form, pid, now), true
		}
	}
	for _, form := range c.forms() {
		if k, ok := f.known[form]; ok && now.Before(k.until) {
			return k.process, true
		}
	}
	return Process{}, false
}

// Note remembers nothing: here nobody sees connections happen.
func (*Finder) Note(string, netip.AddrPort, netip.AddrPort, Process) {}

// look reads the tables, and notes who holds what is new: the process may be
// gone when somebody asks.
func (f *Finder) look(now time.Time) {
	begin := time.Now()
	f.pids = sockets()
	for c, pid := range f.pids {
		if _, ok := f.known[c]; !ok {
			f.remember(c, pid, now)
		}
	}
	for c, k := range f.known {
		if !now.Before(k.until) {
			delete(f.known, c)
		}
	}
	f.next = now.Add(max(f.conf.Every, 10*time.Since(begin)))
}

func (f *Finder) remember(c conn, pid int, now time.Time) Process {
	if k, ok := f.known[c]; ok && k.process.PID == pid {
		f.known[c] = remembered{k.process, now.Add(f.conf.Remember)}
		return k.process
	}
	q := winproc.Fill(winproc.Process{PID: pid})
	p := Process{PID: pid, Image: q.Image, Command: q.Command[:min(len(q.Command), maxCommand)], User: q.User, Start: q.Start}
	if len(f.known) < maxKnown {
		f.known[c] = remembered{p, now.Add(f.conf.Remember)}
	}
	return p
}

var (
	iphlpapi = windows.NewLazySystemDLL("iphlpapi.dll")
	tcpTable = iphlpapi.NewProc("GetExtendedTcpTable")
	udpTable = iphlpapi.NewProc("GetExtendedUdpTable")
)

// Table classes of iprtrmib.h.
const (
	tcpOwnerPIDAll = 5 // TCP_TABLE_OWNER_PID_ALL
	udpOwnerPID    = 1 // UDP_TABLE_OWNER_PID
)

// row says where in a row of a table things stand, in bytes.
type row struct {
	size                                      int
	local, localPort, remote, remotePort, pid int
	v6                                        bool
}

// sockets reads the four tables: MIB_TCPROW_OWNER_PID, MIB_TCP6ROW_OWNER_PID,
// MIB_UDPROW_OWNER_PID, MIB_UDP6ROW_OWNER_PID.
func sockets() map[conn]int {
	out := map[conn]int{}
	for _, t := range []struct {
		proc   *windows.LazyProc
		family uintptr
		class  uintptr
		udp    bool
		row    row
	}{
		{tcpTable, windows.AF_INET, tcpOwnerPIDAll, false, row{size: 24, local: 4, localPort: 8, remote: 12, remotePort: 16, pid: 20}},
		{tcpTable, windows.AF_INET6, tcpOwnerPIDAll, false, row{size: 56, local: 0, localPort: 20, remote: 24, remotePort: 44, pid: 52, v6: true}},
		{udpTable, windows.AF_INET, udpOwnerPID, true, row{size: 12, local: 0, localPort: 4, remote: -1, pid: 8}},
		{udpTable, windows.AF_INET6, udpOwnerPID, true, row{size: 28, local: 0, localPort: 20, remote: -1, pid: 24, v6: true}},
	} {
		b := table(t.proc, t.family, t.class)
		if len(b) < 4 {
			continue
		}
		n := min(int(binary.LittleEndian.Uint32(b)), maxSockets, (len(b)-4)/t.row.size)
		for i := range n {
			c, pid := t.row.read(b[4+i*t.row.size:][:t.row.size], t.udp)
			if pid != 0 { // of those that wait for late packets nobody is the owner any more
				out[c] = pid
			}
		}
	}
	return out
}

func (r row) read(b []byte, udp bool) (conn, int) {
	c := conn{udp: udp, local: r.end(b, r.local, r.localPort)}
	if r.remote >= 0 {
		if other := r.end(b, r.remote, r.remotePort); other.Port() != 0 {
			c.remote = other
		}
	}
	return c, int(binary.LittleEndian.Uint32(b[r.pid:]))
}

// end reads an address; the port is in network order. An address that is not
// specified matches any.
func (r row) end(b []byte, addr, port int) netip.AddrPort {
	p := binary.BigEndian.Uint16(b[port:])
	size := 4
	if r.v6 {
		size = 16
	}
	a, _ := netip.AddrFromSlice(b[addr : addr+size]) // its size is right
	if a = a.Unmap(); a.IsUnspecified() {
		a = netip.Addr{}
	}
	return netip.AddrPortFrom(a, p)
}

// table calls until the room suffices; the table may grow in between.
func table(proc *windows.LazyProc, family, class uintptr) []byte {
	size := uint32(16 << 10)
	for range 4 {
		b := make([]byte, size)
		code, _, _ := proc.Call(uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&size)), 0, family, class, 0)
		switch windows.Errno(code) {
		case windows.ERROR_SUCCESS:
			return b
		case windows.ERROR_INSUFFICIENT_BUFFER:
			size += 4 << 10
		default:
			return nil
		}
	}
	return nil
}
