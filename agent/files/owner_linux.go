package files

import (
	"fmt"
	"io/fs"
	"syscall"
)

// owner is who owns a file, and what tells a changed one from one that is the same.
func owner(info fs.FileInfo) (owner, stamp string) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", info.ModTime().String()
	}
	return fmt.Sprintf("%d:%d", st.Uid, st.Gid), fmt.Sprintf("%d %d.%d %d.%d", st.Ino, st.Mtim.Sec, st.Mtim.Nsec, st.Ctim.Sec, st.Ctim.Nsec)
}
