package bus

import (
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/fault"
)

// room watches the free space of the disk. Intake must be refused while there
// is still room for the stages to finish what was accepted.
type room struct {
	dir  string
	min  uint64
	mu   sync.Mutex
	seen time.Time
	free uint64
	err  error
}

// check asks the file system at most once a second.
func (r *room) check() error {
	if r.min == 0 {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); now.Sub(r.seen) > time.Second {
		var st unix.Statfs_t
		r.err = unix.Statfs(r.dir, &st)
		r.free, r.seen = st.Bavail*uint64(st.Bsize), now
	}
	if r.err != nil {
		return fmt.Errorf("free space of %s: %w", r.dir, r.err)
	}
	if r.free < r.min {
		return fault.New(fault.Busy, "bus.disk", r.free>>20, r.min>>20)
	}
	return nil
}

// Room says whether the disk has Config.MinFree left: fault.Busy when not. It
// is cheap enough to be asked for every piece of what comes in.
func (b *Bus) Room() error { return b.room.check() }
