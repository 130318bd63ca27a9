package archive

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/sonae/sonae/archive/segment"
)

// dayFormat writes the day of a part.
const dayFormat = "2006-01-02"

// writeFresh writes a fresh segment under a temporary name, syncs it, gives it
// its name and syncs the folder; e gets what is known of it.
func (a *Archive) writeFresh(ctx context.Context, e *entry, rows []segment.Row) error {
	full := a.full(e.Path)
	if err := makeFolder(filepath.Dir(full)); err != nil {
		return err
	}
	facts, err := segment.Write(full+temporary, rows, e.Number)
	if err != nil {
		return err
	}
	e.take(&facts)
	e.Content = partsOf(facts.Parts)
	return a.giveName(e.Path)
}

// take fills in what is known of a segment.
func (e *entry) take(f *segment.Facts) {
	e.SHA256, e.Bytes, e.Rows, e.From, e.To = f.SHA256, f.Bytes, f.Rows, f.From, f.To
	e.Sites, e.Hosts, e.Kinds = f.Sites, f.Hosts, f.Kinds
	if f.Sketch.Path != "" {
		h := f.Sketch.Head
		e.Sketch = &sketch{f.Sketch.SHA256, f.Sketch.Bytes, &head{hex.EncodeToString(h.SHA256[:]), h.Bytes}}
	}
}

// giveName gives a segment and its sketch, which are synced, their names.
func (a *Archive) giveName(p string) error {
	full := a.full(p)
	for _, name := range []string{segment.SketchPath(full), full} {
		from := segment.SketchPath(full + temporary)
		if name == full {
			from = full + temporary
		}
		if err := os.Rename(from, name); err != nil {
			return fmt.Errorf("write segment: %w", err)
		}
	}
	return syncFolder(filepath.Dir(full))
}

// undo removes a segment that got no line.
func (a *Archive) undo(p string) error {
	var errs []error
	for _, name := range filesOfSegment(p) {
		errs = append(errs, removeIfThere(a.full(name)), removeIfThere(a.full(name)+temporary))
	}
	return errors.Join(errs...)
}
