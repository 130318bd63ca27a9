package segment

import (
	"os"

	"golang.org/x/sys/unix"
)

// openPlaces opens a file of which single places are read. The system reads
// what is asked for and nothing besides: otherwise that is megabytes, on a disk
// that is set up for long files.
func openPlaces(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err == nil {
		_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_RANDOM) // it is only slower without
	}
	return f, err
}
