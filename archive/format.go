package archive

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"


	"github.com/sonae/sonae/event"
)

// rowsOf makes the rows of a batch that came at a time.
func rowsOf(b event.Batch, at time.Time) []row {
	columns := map[string]textColumn{}
	for _, c := range textColumns() {
		columns[c.field] = c
	}
	rows := make([]row, len(b.Events))
	for i := range b.Events {
		rows[i] = rowOf(b, i, at.UnixNano(), columns)
	}
	return rows
}

// writeFresh writes a fresh segment under a temporary name, syncs it, gives it
// its name and syncs the folder; e gets what is known of it.
func (a *Archive) writeFresh(ctx context.Context, e *entry, rows []row) error {
	full := a.full(e.Path)
	if err := makeFolder(filepath.Dir(full)); err != nil {
		return err
	}
	if err := writeRows(full+temporary, rows, e, true); err != nil {
		return fmt.Errorf("write segment: %w", err)
	}
	if err := os.Rename(full+temporary, full); err != nil {
		return fmt.Errorf("write segment: %w", err)
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

func writeRows(path string, rows []row, e *entry, sync bool) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	slices.SortStableFunc(rows, func(x, y row) int { return cmp.Compare(x.Time, y.Time) })
	describe(e, rows)
	sum := sha256.New()
	buf := bufio.NewWriterSize(io.MultiWriter(f, sum), 256<<10)
	w := newWriter()
	w.Reset(buf)
	_, err = w.Write(rows)
	if err == nil {
		err = errors.Join(w.Close(), buf.Flush())
	}
	if err == nil && sync {
		err = f.Sync()
	}
	info, serr := f.Stat()
	if err := errors.Join(err, serr, f.Close()); err != nil {
		return errors.Join(err, removeIfThere(path))
	}
	e.SHA256, e.Bytes = hex.EncodeToString(sum.Sum(nil)), info.Size()
	return nil
}

// describe fills in what is known of sorted rows.
func describe(e *entry, rows []row) {
	sites, hosts, kinds := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for i := range rows {
		sites[rows[i].Site], hosts[rows[i].Host], kinds[rows[i].Kind] = true, true, true
	}
	e.Rows, e.From, e.To = int64(len(rows)), time.Unix(0, rows[0].Time).UTC(), time.Unix(0, rows[len(rows)-1].Time).UTC()
	e.Sites, e.Hosts, e.Kinds = slices.Sorted(maps.Keys(sites)), slices.Sorted(maps.Keys(hosts)), slices.Sorted(maps.Keys(kinds))
}


// writeTail writes rows for queries only: quickly, and not for good.
func writeTail(path string, rows []row, e *entry) error { return writeRows(path, rows, e, false) }
