package pack

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/detect/pack/box"
)

// Archives shows the rules in all packs of a folder, at any depth, as one tree:
// a.yml of vendor/all.zip is called vendor/all.zip!a.yml. The pack before, which
// `sonae rule update` keeps, is left out. A pack that does not open, or for
// which there is no room, is told and leaves the others alone; an error means
// that the folder could not be read.
func Archives(dir fs.FS) (fs.FS, []detect.Rejected, error) {
	files, total := map[string][]byte{}, 0
	var damaged []detect.Rejected
	err := fs.WalkDir(dir, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !isArchive(name) {
			return err
		}
		f, err := dir.Open(name)
		if err != nil {
			return err
		}
		inside, size, err := rulesOf(name, f)
		if err == nil && (total+size > box.MaxBytes || len(files)+len(inside) > box.MaxFiles) {
			err = errLarge
		}
		if err != nil {
			damaged = append(damaged, detect.Rejected{File: name, Reason: "the pack cannot be opened: " + err.Error()})
			return nil
		}
		total += size
		for n, data := range inside {
			files[name+"!"+n] = data
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("open packs: %w", err)
	}
	all, err := tree(files)
	return all, damaged, err
}

func isArchive(name string) bool {
	lower := strings.ToLower(path.Base(name))
	if lower == Previous {
		return false
	}
	for _, ext := range []string{".zip", ".tar.gz", ".tgz", ".pack"} {
		if strings.HasSuffix(lower, ext) {
			return true
		}
	}
	return false
}

// rulesOf reads the rule files of a pack, and says how many bytes they have.
func rulesOf(name string, f fs.File) (files map[string][]byte, size int, err error) {
	b, err := readFile(f)
	if err != nil {
		return nil, 0, err
	}
	inside, err := unpack(name, b)
	if err != nil {
		return nil, 0, err
	}
	all, err := box.Files(inside)
	if err != nil {
		return nil, 0, err
	}
	files = map[string][]byte{}
	for n, data := range all {
		if isRule(n) {
			files[n] = data
			size += len(data)
		}
	}
	return files, size, nil
}
