package scan

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
)

// file is one file below the paths that were asked for.
type file struct {
	path  string
	size  int64
	named bool // asked for by name, not met in a folder
}

// Stdin is the path that means standard input.
const Stdin = "-"

// walk lists the files below paths, each folder in the order of its names. It
// follows no symbolic link that it meets in a folder, and opens nothing but
// plain files; note hears of what was left out, damaged of what could not be
// looked at.
func walk(ctx context.Context, paths []string, note, damaged func(path string, err error)) []file {
	var all []file
	for _, root := range paths {
		if root == Stdin {
			all = append(all, file{path: Stdin, named: true})
			continue
		}
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case err != nil:
				damaged(path, err)
				return nil
			case d.IsDir():
				return nil
			}
			f, err := plain(path, d, path == root)
			switch {
			case f != nil:
				all = append(all, *f)
			case path == root || !isSpecial(err):
				damaged(path, err)
			default:
				note(path, err)
			}
			return nil
		})
		if err != nil && ctx.Err() == nil {
			damaged(root, err)
		}
	}
	return all
}

// plain returns a file that can be read like one. Whoever names a link means
// what it points to.
func plain(path string, d fs.DirEntry, named bool) (*file, error) {
	if d.Type()&fs.ModeSymlink != 0 && !named {
		return nil, errLink
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errSpecial
	}
	return &file{path, info.Size(), named}, nil
}

func isSpecial(err error) bool { return err == errLink || err == errSpecial }
