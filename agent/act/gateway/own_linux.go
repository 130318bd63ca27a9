package gateway

import (
	"bytes"
	"encoding/hex"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// Own returns what this machine itself needs: its addresses, the routers on
// its way out, and its name servers. What cannot be read is left out.
func Own() []netip.Addr {
	var out []netip.Addr
	if found, err := net.InterfaceAddrs(); err == nil {
		for _, f := range found {
			if n, ok := f.(*net.IPNet); ok {
				if a, ok := netip.AddrFromSlice(n.IP); ok {
					out = append(out, a.Unmap())
				}
			}
		}
	}
	out = append(out, routers("/proc/net/route", 2, 4)...)
	out = append(out, routers("/proc/net/ipv6_route", 4, 16)...)
	return append(out, resolvers("/etc/resolv.conf")...)
}

// routers reads the next hops of the kernel's routes: the field of this
// number, an address of so many bytes in hex, IPv4 in the order of the
// machine (little endian on all that we build for).
func routers(path string, field, size int) []netip.Addr {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	var out []netip.Addr
	for line := range bytes.Lines(b) {
		f := strings.Fields(string(line))
		if len(f) <= field {
			continue
		}
		raw, err := hex.DecodeString(f[field])
		if err != nil || len(raw) != size {
			continue
		}
		if size == 4 {
			slices.Reverse(raw)
		}
		if a, ok := netip.AddrFromSlice(raw); ok && !a.IsUnspecified() {
			out = append(out, a)
		}
	}
	return out
}

func resolvers(path string) []netip.Addr {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	var out []netip.Addr
	for line := range bytes.Lines(b) {
		f := strings.Fields(string(line))
		if len(f) < 2 || f[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(f[1]); err == nil {
			out = append(out, a.Unmap().WithZone(""))
		}
	}
	return out
}
