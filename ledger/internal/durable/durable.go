// Package durable replaces small files so that a crash leaves the old or the
// new content, never half of one.
//
// In: a path and its content. Out: a file that is on disk when Write returns.
// Always true: no reader sees a part of the content.
package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Write replaces the file at path and returns once it and its name are on
// disk. It takes the name path+".tmp" for itself; two calls for the same path
// must not run at the same time.
func Write(path string, content []byte, mode fs.FileMode) error {
	return Stream(path, mode, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}

// Stream is Write for what is too large for the memory: fill writes the
// content.
func Stream(path string, mode fs.FileMode, fill func(io.Writer) error) error {
	if err := create(path+".tmp", mode, fill); err != nil {
		return err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

func create(path string, mode fs.FileMode, fill func(io.Writer) error) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) { // a crash left it, perhaps with other rights
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	if err := fill(f); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}

// syncFolder makes a new name in dir durable.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	if err := d.Sync(); err != nil {
		return errors.Join(fmt.Errorf("sync folder %s: %w", dir, err), d.Close())
	}
	return d.Close()
}
