package main

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/sonae/sonae/bench/guard/ground"
)

// extension is what a renamed or copied file gets.
const extension = ".locked"

// choose lists the files to encrypt, in the order of the attack: all regular
// files below root (decoys too, the attacker does not know them), or those
// that were named.
func choose(root *os.Root, o options) ([]string, error) {
	if len(o.only) > 0 {
		for _, name := range o.only {
			if !fs.ValidPath(name) || path.Base(name) == ground.Marker {
				return nil, fmt.Errorf("%s: %w", name, ground.ErrRefused)
			}
		}
		return o.only, nil
	}
	var files []string
	err := fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.Type().IsRegular() && d.Name() != ground.Marker && !strings.HasSuffix(name, extension) {
			files = append(files, name)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the files: %w", err)
	}
	slices.Sort(files)
	if o.shuffle {
		r := rand.New(rand.NewPCG(o.seed, 417))
		r.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
	}
	return files, nil
}
