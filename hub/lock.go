package hub

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/fault"
)

// lock keeps a second hub away from the folder. The kernel drops the lock when
// the process ends, however it ends.
func (h *Hub) lock() error {
	f, err := os.OpenFile(h.cfg.path("lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return errors.Join(fault.New(fault.Conflict, "hub.folder-in-use", h.cfg.Dir).With(fmt.Errorf("lock %s: %w", f.Name(), err)), f.Close())
	}
	// A program that is being started holds the file, too, for a moment: the
	// lock is let go of by itself, not with the last of those who hold it.
	h.onClose(func() error { return errors.Join(unix.Flock(int(f.Fd()), unix.LOCK_UN), f.Close()) })
	return nil
}
