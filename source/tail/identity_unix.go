//go:build unix

package tail

import (
	"fmt"
	"os"
	"syscall"
)

// identity tells files of one name apart.
func identity(i os.FileInfo) string {
	if s, ok := i.Sys().(*syscall.Stat_t); ok {
		return fmt.Sprintf("%d:%d", s.Dev, s.Ino)
	}
	return "0:0"
}
