//go:build !linux

package gateway

import (
	"errors"
	"log/slog"
	"net/netip"
)

var errUnsupported = errors.New("blocking others is not available on this system")

// rules has no means on this system: every block is answered with Failed.
type rules struct{ log *slog.Logger }

func (rules) sync(wanted) error           { return errUnsupported }
func (rules) hold(wanted) (bool, error)   { return false, errUnsupported }
func (rules) forget([]netip.Addr)         {}
func (rules) counters() (Counters, error) { return Counters{}, errUnsupported }
