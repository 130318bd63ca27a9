package ring

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

const errFull = unix.ENOSPC

// create makes a file for direct writes: packets are written once and seldom
// read, and must not push out of memory what others need. File systems that
// have no direct writes are written to as usual.
func create(path string) (*os.File, error) {
	const how = os.O_WRONLY | os.O_CREATE | os.O_EXCL
	f, err := os.OpenFile(path, how|unix.O_DIRECT, 0o600)
	if errors.Is(err, unix.EINVAL) {
		_ = os.Remove(path) // made by some systems before they refuse
		return os.OpenFile(path, how, 0o600)
	}
	return f, err
}

// freeBytes is the room on the disk; false when that is not known.
func freeBytes(dir string) (int64, bool) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, false
	}
	return int64(st.Bavail) * st.Bsize, true
}
