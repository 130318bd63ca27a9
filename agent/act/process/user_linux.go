package process

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// OfUser lists the processes that run as a user, in whatever of the four ways:
// one that borrowed other rights is still the user's.
func OfUser(uid int) ([]ID, error) {
	all, err := table()
	if err != nil {
		return nil, err
	}
	spare := protected(all)
	var out []ID
	for pid, e := range all {
		if !spare[pid] && !e.kernel && e.state != 'Z' && e.state != 'X' && runsAs(pid, uid) {
			out = append(out, e.ID)
		}
	}
	return out, nil
}

func runsAs(pid, uid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return false
	}
	for line := range bytes.Lines(b) {
		ids, ok := strings.CutPrefix(string(line), "Uid:")
		if !ok {
			continue
		}
		for _, f := range strings.Fields(ids) {
			if f == strconv.Itoa(uid) {
				return true
			}
		}
	}
	return false
}

// EndUser ends all processes of a user, until none is left. They are stopped
// first, so that none is born meanwhile.
func EndUser(ctx context.Context, uid int) error {
	for end := time.Now().Add(settleTime); ; {
		all, err := OfUser(uid)
		if err != nil || len(all) == 0 {
			return err
		}
		if time.Now().After(end) || ctx.Err() != nil {
			return fmt.Errorf("end processes of user %d: %w", uid, ErrRunning)
		}
		for _, sig := range []unix.Signal{unix.SIGSTOP, unix.SIGKILL} {
			for _, id := range all {
				_ = signal(id, sig) // it ended meanwhile
			}
		}
		time.Sleep(time.Millisecond)
	}
}
