// Package store keeps what an action must remember in one file of JSON.
//
// In: a value to change. Out: the file that holds it. Always true: one change
// happens at a time on a machine, whatever process makes it; the file holds
// the value before or after a change and nothing between; a file that cannot
// be read is put aside, never taken for an empty one without a word.
package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
)

// ErrSame ends a With whose value did not change: nothing is written.
var ErrSame = errors.New("store: nothing changed")

// File is where a T is kept. The zero value of T is what an absent file holds.
type File[T any] struct {
	Dir  string // 0700, made when it is missing
	Name string
	// Sync waits for the disk. What is void after a power cut need not wait.
	Sync bool
	Log  *slog.Logger
}

// With hands the value to change, alone on this machine, and writes it back
// unless change fails. save writes what is there so far.
func (f File[T]) With(change func(v *T, save func() error) error) error {
	if err := os.MkdirAll(f.Dir, 0o700); err != nil {
		return fmt.Errorf("lock %s: %w", f.Name, err)
	}
	unlock, err := lock(filepath.Join(f.Dir, f.Name+".lock"))
	if err != nil {
		return fmt.Errorf("lock %s: %w", f.Name, err)
	}
	defer unlock()
	v, err := f.Load()
	if err != nil {
		return err
	}
	save := func() error { return f.write(v) }
	if err := change(&v, save); err != nil {
		if errors.Is(err, ErrSame) {
			return nil
		}
		return err
	}
	return save()
}

// Load reads the value; it waits for nobody.
func (f File[T]) Load() (T, error) {
	var v T
	path := filepath.Join(f.Dir, f.Name)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return v, nil
	}
	if err != nil {
		return v, fmt.Errorf("read %s: %w", f.Name, err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		f.Log.Error("state is damaged and was put aside", "file", f.Name, "err", err)
		if err := os.Rename(path, path+".damaged"); err != nil {
			return v, fmt.Errorf("put damaged %s aside: %w", f.Name, err)
		}
		var empty T
		return empty, nil
	}
	return v, nil
}

func (f File[T]) write(v T) error {
	b, err := json.Marshal(v)
	if err == nil {
		err = f.replace(b)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", f.Name, err)
	}
	return nil
}

func (f File[T]) replace(b []byte) error {
	path := filepath.Join(f.Dir, f.Name)
	w, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	if err == nil && f.Sync {
		err = w.Sync()
	}
	if e := w.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err == nil && f.Sync {
		err = syncDir(f.Dir)
	}
	return err
}
