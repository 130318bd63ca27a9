// Package ground says which folder may be destroyed: one in which the harness
// wrote a marker with a secret of this run, and no other.
//
// In: a folder. Out: a marker and its token; or the folder, opened so that no
// name leads out of it. Always true: without the marker and its token, and for
// a folder that is the root of a file system of the machine, Open refuses.
package ground

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Marker is the name of the file that permits destruction.
const Marker = ".encsim-may-destroy-this-folder"

// ErrRefused says that a folder is not one that may be destroyed.
var ErrRefused = errors.New("this folder was not made to be destroyed")

// Mark permits the destruction of dir and returns the token that the
// destroyer must show. dir must be empty: nobody's files end up inside.
func Mark(dir string) (string, error) {
	there, err := os.ReadDir(dir)
	if err != nil {
		return "", fmt.Errorf("mark the ground: %w", err)
	}
	if len(there) > 0 {
		return "", fmt.Errorf("mark %s: it is not empty", dir)
	}
	token := rand.Text()
	if err := os.WriteFile(filepath.Join(dir, Marker), []byte(token), 0o400); err != nil {
		return "", fmt.Errorf("mark the ground: %w", err)
	}
	return token, nil
}

// Open opens dir if its marker holds token. Every access through the root
// stays below dir, whatever symbolic links lie there.
func Open(dir, token string) (*os.Root, error) {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, fmt.Errorf("open the ground: %w", err)
	}
	if real, err = filepath.Abs(real); err != nil || filepath.Dir(real) == real {
		return nil, fmt.Errorf("open %s: %w", dir, ErrRefused)
	}
	root, err := os.OpenRoot(real)
	if err != nil {
		return nil, fmt.Errorf("open the ground: %w", err)
	}
	if err := checkMarker(root, token); err != nil {
		root.Close()
		return nil, err
	}
	return root, nil
}

func checkMarker(root *os.Root, token string) error {
	info, err := root.Lstat(Marker)
	if err != nil || !info.Mode().IsRegular() || info.Size() > 128 {
		return fmt.Errorf("open %s: %w", root.Name(), ErrRefused)
	}
	held, err := root.ReadFile(Marker)
	if err != nil {
		return fmt.Errorf("read the marker: %w", err)
	}
	if len(token) < 16 || subtle.ConstantTimeCompare(held, []byte(token)) != 1 {
		return fmt.Errorf("open %s: %w", root.Name(), ErrRefused)
	}
	return nil
}
