//go:build !linux && !windows

package owner

import "net/netip"

// Finder finds nothing on this system.
type Finder struct{}

// New returns a Finder that finds nothing.
func New(Config) *Finder { return &Finder{} }

// Note remembers nothing.
func (*Finder) Note(string, netip.AddrPort, netip.AddrPort, Process) {}

// Of finds nothing.
func (*Finder) Of(string, netip.AddrPort, netip.AddrPort) (Process, bool) { return Process{}, false }
