package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/fault"
)

// Copy brings a shared archive into the empty folder dir, so that Verify can
// read it there: the lines as they are, and every file of which a line speaks.
// What the store does not have is left out, for Verify to name. Objects that no
// line names prove nothing and are not brought. It changes nothing in the
// store; dir needs as much room as the archive.
func Copy(ctx context.Context, s blob.Store, dir string) error {
	if err := copyArchive(ctx, s, dir); err != nil {
		return fmt.Errorf("copy shared archive: %w", err)
	}
	return nil
}

func copyArchive(ctx context.Context, s blob.Store, dir string) error {
	if err := makeFolder(filepath.Join(dir, segmentsName)); err != nil {
		return err
	}
	manifest, err := os.Create(filepath.Join(dir, manifestName))
	if err != nil {
		return err
	}
	defer manifest.Close()
	if err := copyLines(ctx, s, manifest); err != nil {
		return err
	}
	if _, err := manifest.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return eachLine(manifest, func(raw rawLine) error {
		r, err := parseLine(raw.bytes)
		if err != nil {
			return nil // Verify names it
		}
		for _, name := range r.files() {
			if err := copyObject(ctx, s, name, filepath.Join(dir, filepath.FromSlash(name))); err != nil {
				return err
			}
		}
		return nil
	})
}

// copyLines writes the newest generation and the lines after it.
func copyLines(ctx context.Context, s blob.Store, manifest io.Writer) error {
	var newest string
	if err := s.List(ctx, generationName+"/", "", func(i blob.Info) error { newest = i.Name; return nil }); err != nil {
		return err
	}
	var names []string
	after := ""
	if newest != "" {
		names = append(names, newest)
		number := strings.TrimSuffix(strings.TrimPrefix(newest, generationName+"/"), ".jsonl")
		after = linesName + "/" + number + ".json"
	}
	err := s.List(ctx, linesName+"/", after, func(i blob.Info) error { names = append(names, i.Name); return nil })
	if err != nil {
		return err
	}
	for _, name := range names {
		r, _, err := s.Get(ctx, name)
		if err != nil {
			return err
		}
		b, err := io.ReadAll(io.LimitReader(r, maxGeneration))
		if err = errors.Join(err, r.Close()); err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		if !bytes.HasSuffix(b, []byte("\n")) { // cut short: the next line must not hide it
			b = append(b, '\n')
		}
		if _, err := manifest.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// files are the objects that a line speaks of. A line may have been changed by
// anybody: names that lead elsewhere are left out.
func (r *record) files() (out []string) {
	add := func(name string) {
		if blob.ValidName(name) && (strings.HasPrefix(name, segmentsName+"/") || strings.HasPrefix(name, historyName+"/")) {
			out = append(out, name)
		}
	}
	for _, e := range r.Segments {
		add(e.Path)
		if e.Sketch != nil {
			add(sketchOf(e.Path))
		}
	}
	if r.History != nil {
		add(r.History.Path)
	}
	return out
}

func copyObject(ctx context.Context, s blob.Store, name, to string) (err error) {
	r, _, err := s.Get(ctx, name)
	if fault.Of(err) == fault.Missing {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if err := makeFolder(filepath.Dir(to)); err != nil {
		return err
	}
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, r); err != nil {
		return errors.Join(fmt.Errorf("read %s: %w", name, err), f.Close())
	}
	return f.Close()
}
