//go:build !linux && !windows

package act

import (
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"time"
)

var errUnsupported = errors.New("isolation is not available on this system")

// fence has no means on this system: every isolation is answered with Failed.
type fence struct{ log *slog.Logger }

func (fence) apply([]netip.AddrPort, time.Duration) error { return errUnsupported }
func (fence) remove() error                               { return errUnsupported }
func (fence) state() (present, running bool, err error)   { return false, false, nil }
func (fence) dropped() (packets, bytes uint64, err error) { return 0, 0, errUnsupported }

func syncDir(string) error { return nil }

// lock is held by the one agent process; there is no other here.
func lock(path string) (func(), error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}
