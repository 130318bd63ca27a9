package archive

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// load reads the manifest into the index and removes what an interrupted write
// left: temporary files, an unfinished last line, and the one segment that has
// no line yet. Nothing of it was acknowledged, so it is offered again.
//
// A damaged line elsewhere is not an interrupted write: it is reported and
// left as it is, and then no segment is removed.
func (a *Archive) load(ctx context.Context) error {
	var err error
	path := filepath.Join(a.dir, manifestName)
	if a.manifest, err = os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o640); err != nil {
		return fmt.Errorf("open manifest: %w", err)
	}
	if err := syncFolder(a.dir); err != nil {
		return err
	}
	named, damaged, err := a.readManifest()
	if err != nil {
		return err
	}
	orphans, err := a.removeTemporary(ctx, named)
	if err != nil {
		return err
	}
	return a.removeOrphan(orphans, damaged)
}

// readManifest fills the index and cuts an unfinished last line off.
func (a *Archive) readManifest() (named map[string]bool, damaged int, err error) {
	named = map[string]bool{}
	err = eachLine(a.manifest, func(raw rawLine) error {
		if !raw.ended {
			a.log.Warn("cutting an unfinished line off the manifest", "offset", raw.offset, "bytes", len(raw.bytes))
			return a.cut()
		}
		a.size = raw.offset + int64(len(raw.bytes)) + 1
		l, err := parseLine(raw.bytes)
		if err != nil {
			damaged++
			a.log.Error("manifest line is damaged", "line", raw.number, "offset", raw.offset, "err", err)
			if raw.bytes == nil {
				return errors.New("manifest has a line longer than any that was written")
			}
			return nil
		}
		a.index.add(l, sha256.Sum256(raw.bytes), a.keep)
		named[l.Path] = true
		n, _ := numberOf(l.Path)
		a.next = max(a.next, n+1)
		return nil
	})
	return named, damaged, err
}

// removeTemporary removes temporary files and returns the segments that no
// line names.
func (a *Archive) removeTemporary(ctx context.Context, named map[string]bool) (orphans []string, err error) {
	root := filepath.Join(a.dir, segmentsName)
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return errors.Join(err, ctx.Err())
		}
		rel, err := filepath.Rel(a.dir, path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if _, ok := numberOf(strings.TrimSuffix(rel, temporary)); ok && strings.HasSuffix(rel, temporary) {
			a.log.Warn("removing what an interrupted write left behind", "file", rel)
			return removeIfThere(path)
		}
		if _, ok := numberOf(rel); ok && !named[rel] {
			orphans = append(orphans, rel)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look through segments: %w", err)
	}
	return orphans, nil
}

// removeOrphan removes the segment that a crash between rename and manifest
// line leaves: exactly one, with the next number. Any other segment without a
// line is kept, because then the manifest lost something.
func (a *Archive) removeOrphan(orphans []string, damaged int) error {
	for _, rel := range orphans {
		n, _ := numberOf(rel)
		if len(orphans) == 1 && damaged == 0 && n == a.next {
			a.log.Warn("removing what an interrupted write left behind", "file", rel)
			return removeIfThere(filepath.Join(a.dir, filepath.FromSlash(rel)))
		}
		a.log.Error("segment is not in the manifest", "file", rel)
	}
	for _, rel := range orphans {
		n, _ := numberOf(rel)
		a.next = max(a.next, n+1)
	}
	return nil
}

// removeIfThere removes a file; that it is not there is no error.
func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove: %w", err)
	}
	return nil
}

// makeFolder makes dir and what is missing above it, each durably.
func makeFolder(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	above := filepath.Dir(dir)
	if above != dir {
		if err := makeFolder(above); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make folder: %w", err)
	}
	return syncFolder(above)
}

// syncFolder makes the names in dir durable.
func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("sync folder %s: %w", dir, err)
	}
	return nil
}
