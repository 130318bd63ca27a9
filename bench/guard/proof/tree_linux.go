package proof

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/sonae/sonae/bench/guard/ground"
)

// FileSize is the size of every file of a tree in bytes.
const FileSize = 32 << 10

// Tree is a folder of files as a department has them, with their originals in
// memory.
type Tree struct {
	Dir   string
	Token string // what the simulator must show
	files []original
	at    map[string]int // place of a name in files

	folders map[string]bool
}

type original struct {
	name string // below Dir
	body []byte
}

// Plant makes folders with each files in a new folder below the volume. The
// same seed makes the same files.
func Plant(volume *Volume, folders, each int, seed uint64) (*Tree, error) {
	t := &Tree{Dir: filepath.Join(volume.Dir, "share"), at: map[string]int{}, folders: map[string]bool{}}
	if err := os.Mkdir(t.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("plant the tree: %w", err)
	}
	var err error
	if t.Token, err = ground.Mark(t.Dir); err != nil {
		return nil, err
	}
	r := rand.New(rand.NewPCG(seed, 32))
	for folder := range folders {
		dir := fmt.Sprintf("dept%02d-%s", folder, wards[folder%len(wards)])
		if err := os.Mkdir(filepath.Join(t.Dir, dir), 0o755); err != nil {
			return nil, fmt.Errorf("plant the tree: %w", err)
		}
		t.folders[dir] = true
		for i := range each {
			kind := kinds[(i+folder)%len(kinds)]
			body, err := kind.body(r)
			if err != nil {
				return nil, fmt.Errorf("make a .%s: %w", kind.ending, err)
			}
			name := filepath.Join(dir, fmt.Sprintf("%03d-%x.%s", i, r.Uint32(), kind.ending))
			t.at[name] = len(t.files)
			t.files = append(t.files, original{name, body})
		}
	}
	return t, t.Restore()
}

// Len is the number of files.
func (t *Tree) Len() int { return len(t.files) }

// Files lists the paths below Dir.
func (t *Tree) Files() []string {
	all := make([]string, len(t.files))
	for i, f := range t.files {
		all[i] = f.name
	}
	return all
}

// Lost lists the files that are gone or not what they were.
func (t *Tree) Lost() []string {
	var lost []string
	buf := make([]byte, FileSize+1)
	for _, f := range t.files {
		if !same(filepath.Join(t.Dir, f.name), f.body, buf) {
			lost = append(lost, f.name)
		}
	}
	return lost
}

func same(path string, body, buf []byte) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	n := 0
	for n < len(buf) {
		m, err := f.Read(buf[n:])
		n += m
		if m == 0 || err != nil {
			break
		}
	}
	return bytes.Equal(buf[:n], body)
}

// Restore brings back what was lost and removes from the tree's folders what
// was added. The guard must not be watching.
func (t *Tree) Restore() error {
	for _, name := range t.Lost() {
		if err := os.WriteFile(filepath.Join(t.Dir, name), t.files[t.at[name]].body, 0o644); err != nil {
			return fmt.Errorf("restore the tree: %w", err)
		}
	}
	return t.sweep()
}

// sweep removes every file that is no original, also what the guard and the
// attack left beside the folders.
func (t *Tree) sweep() error {
	for _, level := range []string{"*", "*/*"} {
		there, err := filepath.Glob(filepath.Join(t.Dir, level))
		if err != nil {
			return fmt.Errorf("sweep the tree: %w", err)
		}
		for _, path := range there {
			if t.keeps(path) {
				continue
			}
			if err := os.RemoveAll(path); err != nil {
				return fmt.Errorf("sweep the tree: %w", err)
			}
		}
	}
	return nil
}

// keeps says whether path is an original, one of their folders, or the marker.
func (t *Tree) keeps(path string) bool {
	name, err := filepath.Rel(t.Dir, path)
	if err != nil {
		return true
	}
	_, file := t.at[name]
	return file || t.folders[name] || name == ground.Marker
}
