package archive

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
)

// unrecorded is how many segments at the end may be unknown to the ledger
// because the hub stopped before it recorded them.
const unrecorded = 16

// Report is what an offline check found.
type Report struct {
	Checked     Checked
	Differences []Difference // empty when everything is as it was recorded
	Leftovers   []Difference // what an interrupted write left, or what was not recorded in the ledger yet
}

// Checked counts what was read.
type Checked struct {
	Files    int
	Bytes    int64
	Segments int
	Events   int64
}

// Difference is one place where the archive is not what was recorded.
type Difference struct {
	File   string // slash separated, below the archive
	Offset int64  // byte in the file; -1 when the whole file is meant
	What   string // in English, for the technical reader
}

// String returns "file: what" or "file, byte offset: what".
func (d Difference) String() string {
	if d.Offset < 0 {
		return d.File + ": " + d.What
	}
	return fmt.Sprintf("%s, byte %d: %s", d.File, d.Offset, d.What)
}

// Verify reads every file of the archive in dir and compares the segments with
// the manifest and the manifest with the ledger's leaves of type "segment",
// which leaves returns. It changes nothing and starts no query engine. An error
// means that dir could not be read or is no archive (fault.Invalid
// "archive.not-one"). Verify the ledger first: its leaves are taken as true.
//
// Segments at the very end that the ledger does not know yet are leftovers, as
// the hub may have been stopped between writing and recording them.
func Verify(ctx context.Context, dir string, leaves func(kind string) []leaf.Leaf) (Report, error) {
	c := &check{ctx: ctx, dir: dir, files: map[string]bool{}, recorded: map[string]leaf.Leaf{}, seen: map[string]bool{}}
	for _, l := range leaves("segment") {
		c.recorded[l.Ref] = l
	}
	if err := c.run(); err != nil {
		return Report{}, fmt.Errorf("verify archive: %w", err)
	}
	return c.report, nil
}

// check is one pass over an archive.
type check struct {
	ctx      context.Context
	dir      string
	files    map[string]bool      // every regular file, by slash-separated path
	recorded map[string]leaf.Leaf // by segment
	seen     map[string]bool      // segments that a line names, intact or not
	last     uint64               // number in the line before
	tail     []Difference         // lines since the last one that the ledger knows
	report   Report
}

func (c *check) run() error {
	if err := c.list(); err != nil {
		return err
	}
	_, segments := os.Stat(filepath.Join(c.dir, segmentsName))
	if !c.files[manifestName] && segments != nil {
		return fault.New(fault.Invalid, "archive.not-one").With(fmt.Errorf("%s holds neither manifest nor segments", c.dir))
	}
	if err := c.manifest(); err != nil {
		return err
	}
	c.missing()
	c.foreign()
	order := func(x, y Difference) int { return cmp.Or(cmp.Compare(x.File, y.File), cmp.Compare(x.Offset, y.Offset)) }
	slices.SortStableFunc(c.report.Differences, order)
	slices.SortStableFunc(c.report.Leftovers, order)
	return nil
}

func (c *check) differ(file string, offset int64, what string, args ...any) {
	c.report.Differences = append(c.report.Differences, Difference{file, offset, fmt.Sprintf(what, args...)})
}

func (c *check) leftover(file string, offset int64, what string) {
	c.report.Leftovers = append(c.report.Leftovers, Difference{file, offset, what})
}

// list notes all files before the manifest is read, so that segments which a
// running hub adds meanwhile are not taken for foreign ones.
func (c *check) list() error {
	return filepath.WalkDir(c.dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path != c.dir {
			return nil
		}
		if err != nil || d.IsDir() {
			return errors.Join(err, c.ctx.Err())
		}
		rel, err := filepath.Rel(c.dir, path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if !d.Type().IsRegular() {
			c.differ(rel, -1, "is not a regular file")
			return nil
		}
		c.files[rel] = true
		return nil
	})
}

// manifest checks every line and the segment it names.
func (c *check) manifest() error {
	f, err := os.Open(filepath.Join(c.dir, manifestName))
	if errors.Is(err, fs.ErrNotExist) {
		c.differ(manifestName, -1, "is missing")
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	c.report.Checked.Files++
	if err := eachLine(f, c.line); err != nil {
		return err
	}
	for i, d := range c.tail {
		if i < len(c.tail)-unrecorded {
			c.differ(d.File, d.Offset, "%s", d.What)
		} else {
			c.report.Leftovers = append(c.report.Leftovers, d)
		}
	}
	return nil
}

func (c *check) line(raw rawLine) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	c.report.Checked.Bytes += int64(len(raw.bytes)) + 1
	if !raw.ended {
		c.leftover(manifestName, raw.offset, "unfinished last line of an interrupted write")
		return nil
	}
	l, err := parseLine(raw.bytes)
	if err != nil {
		c.differ(manifestName, raw.offset, "line %d: %v", raw.number, err)
		return nil
	}
	n, _ := numberOf(l.Path)
	if c.seen[l.Path] || n <= c.last && raw.number > 1 {
		c.differ(manifestName, raw.offset, "line %d: %s stands out of order", raw.number, l.Path)
	}
	c.seen[l.Path], c.last = true, max(n, c.last)
	sum := sha256.Sum256(raw.bytes)
	known, recorded := c.recorded[l.Path]
	switch {
	case !recorded:
		c.tail = append(c.tail, Difference{manifestName, raw.offset, fmt.Sprintf("line %d: the ledger does not know %s", raw.number, l.Path)})
	case known.Digest != hex.EncodeToString(sum[:]) || !known.At.Equal(l.At):
		c.differ(manifestName, raw.offset, "line %d: is not what the ledger recorded for %s", raw.number, l.Path)
		c.gap()
		return nil // what it says of the segment proves nothing
	default:
		c.gap()
	}
	return c.segment(l)
}

// gap names lines that the ledger does not know although it knows a later one.
func (c *check) gap() {
	c.report.Differences = append(c.report.Differences, c.tail...)
	c.tail = nil
}

// segment compares a file with its line.
func (c *check) segment(l line) error {
	f, err := os.Open(filepath.Join(c.dir, filepath.FromSlash(l.Path)))
	if errors.Is(err, fs.ErrNotExist) {
		c.differ(l.Path, -1, "is missing")
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, io.LimitReader(f, l.Bytes+1))
	if err != nil {
		c.differ(l.Path, n, "cannot be read: %v", err)
		return nil
	}
	c.report.Checked.Files++
	c.report.Checked.Segments++
	c.report.Checked.Bytes += n
	c.report.Checked.Events += l.Rows
	switch got := hex.EncodeToString(sum.Sum(nil)); {
	case n != l.Bytes:
		c.differ(l.Path, min(n, l.Bytes), "does not have the %d bytes that were recorded", l.Bytes)
	case got != l.SHA256:
		c.differ(l.Path, -1, "has SHA-256 %s, recorded is %s", got, l.SHA256)
	}
	return nil
}

// missing names what the ledger recorded and no line names.
func (c *check) missing() {
	for path := range c.recorded {
		if !c.seen[path] {
			c.differ(manifestName, -1, "the line of %s, which the ledger recorded, is missing or damaged", path)
		}
		if !c.seen[path] && !c.files[path] {
			c.differ(path, -1, "is missing")
		}
	}
}

// foreign names files that neither the manifest nor the ledger knows.
func (c *check) foreign() {
	for file := range c.files {
		_, recorded := c.recorded[file]
		if file == manifestName || recorded || c.seen[file] {
			continue
		}
		n, orphan := numberOf(file)
		half, cut := strings.CutSuffix(file, temporary)
		_, number := numberOf(half)
		switch {
		case cut && number:
			c.leftover(file, -1, "temporary file of an interrupted write")
		case orphan && n == c.next():
			c.leftover(file, -1, "segment of an interrupted write, not in the manifest")
		default:
			c.differ(file, -1, "is not in the manifest")
		}
	}
}

// next is the number of the segment after the last line.
func (c *check) next() uint64 {
	if len(c.seen) == 0 {
		return 0
	}
	return c.last + 1
}
