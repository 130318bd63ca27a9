// Package owner says which process and user own a connection of this machine.
//
// In: protocol and addresses of a connection. Out: the process, as /proc shows
// it. Always true: memory is bounded; /proc is read at most every 200 ms and
// for at most a tenth of the time, however often one asks; the owner of a port
// is remembered for half a minute after its socket is gone, so that a process
// that lived shortly still has a name. Only sockets of the network namespace
// that the process was started in are found. It runs on Linux; elsewhere
// nothing is ever found.
package owner

import (
	"net/netip"
	"time"

	"github.com/sonae/sonae/clock"
)

// Process is the owner of a connection.
type Process struct {
	PID     int
	Image   string // executable, "" when it may not be read (kernel threads, other users)
	Deleted bool   // the executable was deleted or replaced since it was started
	Command string // command line, arguments separated by spaces, at most 4 KiB
	User    string // login name of the effective user, or its number
	Start   time.Time
}

// Config bounds a Finder. Zero fields take the value named in the comment.
type Config struct {
	Now      clock.Now     // time.Now
	Proc     string        // where the proc file system is: /proc
	Every    time.Duration // least time between two looks: 200 ms
	Remember time.Duration // an owner is known this long after its socket is gone: 30 s
}

func (c Config) withDefaults() Config {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Proc == "" {
		c.Proc = "/proc"
	}
	if c.Every <= 0 {
		c.Every = 200 * time.Millisecond
	}
	if c.Remember <= 0 {
		c.Remember = 30 * time.Second
	}
	return c
}

// Bounds of what is read and kept.
const (
	maxSockets   = 65536
	maxProcesses = 8192
	maxKnown     = 16384
	maxCommand   = 4096
)

// conn identifies a socket. A zero part matches anything there.
type conn struct {
	udp           bool
	local, remote netip.AddrPort
}

// connOf returns the identity with IPv4 addresses in their own form.
func connOf(proto string, local, remote netip.AddrPort) (conn, bool) {
	if proto != "tcp" && proto != "udp" {
		return conn{}, false
	}
	return conn{proto == "udp", plain(local), plain(remote)}, true
}

// plain turns ::ffff:1.2.3.4 into 1.2.3.4 and drops the zone.
func plain(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// forms lists under what identities the socket of c may be found, the most
// exact first: connected; bound to the local address; bound to any address
// (listening, or UDP that was never connected).
func (c conn) forms() [3]conn {
	any := netip.AddrPortFrom(netip.Addr{}, c.local.Port())
	return [3]conn{c, {c.udp, c.local, netip.AddrPort{}}, {c.udp, any, netip.AddrPort{}}}
}
