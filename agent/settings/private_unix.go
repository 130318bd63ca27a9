//go:build unix

package settings

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

var errPublic = errors.New("only its owner may read and write it, and it must be the agent's own: chown root, chmod 600")

// private refuses a file that others could have written: it names commands that
// the agent runs, and holds passwords.
func private(info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if info.Mode().Perm()&0o077 != 0 || ok && int(st.Uid) != os.Geteuid() && st.Uid != 0 {
		return errPublic
	}
	return nil
}
