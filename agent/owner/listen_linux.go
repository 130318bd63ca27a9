package owner

import (
	"net/netip"
	"slices"
)

// Listener is a socket that waits for others.
type Listener struct {
	Proto   string // tcp or udp
	Local   netip.AddrPort
	Process Process // zero when it is not known
}

// Listening lists the sockets that wait for others, with who holds them. Of
// UDP those without a peer count.
func Listening() []Listener { return listening("/proc") }

func listening(proc string) []Listener {
	all := readSockets(proc)
	wanted := map[uint64]bool{}
	for c, inode := range all {
		if !c.remote.IsValid() {
			wanted[inode] = true
		}
	}
	held, boot, users := searchHolders(proc, wanted), bootTime(proc), map[uint32]string{}
	known := map[int]Process{}
	var out []Listener
	for c, inode := range all {
		if c.remote.IsValid() {
			continue
		}
		l := Listener{Proto: "tcp", Local: c.local}
		if c.udp {
			l.Proto = "udp"
		}
		if pid := held[inode]; pid > 0 {
			p, ok := known[pid]
			if !ok {
				p, _ = readProcess(proc, pid, boot, users)
				known[pid] = p
			}
			l.Process = p
		}
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b Listener) int { return int(a.Local.Port()) - int(b.Local.Port()) })
	return out
}
