package guard

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// openSame opens a file when it still is the one that was meant; nil when not.
// Any number is meant by 0. It leaves no trace in the file's times.
func openSame(path string, ino uint64) (*os.File, int64) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NOATIME, 0)
	if err != nil {
		return nil, 0
	}
	f := os.NewFile(uintptr(fd), path)
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || ino != 0 && st.Ino != ino {
		f.Close()
		return nil, 0
	}
	return f, st.Size
}

const maxNames = 4096 // of a folder that are looked through

// nameOf is what a file is called now: path, or another name in its folder.
func nameOf(path string, ino uint64) string {
	var st unix.Stat_t
	if unix.Lstat(path, &st) == nil && st.Ino == ino {
		return path
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return path
	}
	defer dir.Close()
	names, err := dir.Readdirnames(maxNames)
	if err != nil {
		return path
	}
	for _, name := range names {
		if now := filepath.Join(dir.Name(), name); unix.Lstat(now, &st) == nil && st.Ino == ino {
			return now
		}
	}
	return path
}

// structure is what a look at a whole file told.
type structure uint8

const (
	isUnknown structure = iota // it is not there, or of no type with a structure
	isWhole
	isBroken
)

func stateOf(path string, ino uint64) structure {
	f, size := openSame(path, ino)
	if f == nil {
		return isUnknown
	}
	defer f.Close()
	head := make([]byte, min(size, blockSize))
	if n, _ := f.ReadAt(head, 0); n < len(head) {
		return isUnknown // it becomes shorter just now
	}
	k := kindOf(head)
	switch {
	case k == kindNone:
		return isUnknown
	case broken(f, size, k):
		return isBroken
	}
	return isWhole
}

// whole says whether a file that was damaged is no longer.
func whole(l Loss) bool {
	path := l.Path
	if l.Now != "" {
		path = l.Now
	}
	return stateOf(nameOf(path, l.id.ino), l.id.ino) == isWhole
}
