//go:build !linux && !windows

package ring

import (
	"os"
	"syscall"
)

const errFull = syscall.ENOSPC

func create(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

// freeBytes is not known on this system.
func freeBytes(string) (int64, bool) { return 0, false }
