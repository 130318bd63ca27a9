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

// unrecorded is how many lines at the end may be unknown to the ledger because
// the hub stopped before it recorded them.
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
	Lines    int // of the manifest, former ones included
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

// Verify reads every file of the archive in dir and compares the segments and
// the files beside them with the manifest, what merged segments hold with what
// the lines of the fresh ones said of it, and all lines, former ones included,
// with the ledger's leaves of the types "segment", "merge", "drop", "hold" and
// "history", which leaves returns. It changes nothing and starts no query
// engine. An error means that dir could not be read or is no archive
// (fault.Invalid "archive.not-one"). Verify the ledger first: its leaves are
// taken as true.
//
// Lines at the very end that the ledger does not know yet are leftovers, as
// the hub may have been stopped between writing and recording them. It needs
// memory for about 300 bytes of every line that was ever written.
func Verify(ctx context.Context, dir string, leaves func(kind string) []leaf.Leaf) (Report, error) {
	c := &check{ctx: ctx, dir: dir, files: map[string]bool{}, recorded: map[string]leaf.Leaf{}, explained: map[string]bool{}, have: map[string]bool{}}
	for _, kind := range leafTypes() {
		for _, l := range leaves(kind) {
			c.recorded[kind+" "+l.Ref] = l
		}
	}
	if err := c.run(); err != nil {
		return Report{}, fmt.Errorf("verify archive: %w", err)
	}
	return c.report, nil
}

// check is one pass over an archive.
type check struct {
	ctx       context.Context
	dir       string
	files     map[string]bool      // every regular file, by slash-separated path
	recorded  map[string]leaf.Leaf // by type and reference
	lines     []proven             // of the manifest and its history
	explained map[string]bool      // files that a line names or has named, trusted or not
	have      map[string]bool      // references of lines that were read
	said      map[string]bool      // references of lines
	// Lines that tell what became of segments are damaged or missing, which is
	// said; what follows from that is not said file by file.
	blind     bool
	damaged   []string // files of the history
	undecided []string // files that cannot be judged for that reason
	report    Report
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
	c.lookForMissing()
	past := c.replay()
	if err := c.segments(past); err != nil {
		return err
	}
	for name := range past.gone {
		if c.files[name] {
			c.leftover(name, -1, "segment that was replaced or dropped, still to be removed")
		}
	}
	c.missing()
	c.foreign(past)
	if n := len(c.undecided); n > 0 {
		c.differ(append(c.damaged, manifestName)[0], -1, "without the missing lines %d files cannot be judged, %s the first", n, slices.Min(c.undecided))
	}
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
// running hub adds meanwhile are not taken for foreign ones. What lies in the
// folder of the tail is on the bus, too, and proves nothing.
func (c *check) list() error {
	return filepath.WalkDir(c.dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path != c.dir {
			return nil
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(c.dir, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if rel == tailName || rel == ".blob" { // the latter is the shared store's own
				return fs.SkipDir
			}
			return c.ctx.Err()
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

// segments compares the files that the lines name with what they say of them.
func (c *check) segments(past *replay) error {
	for _, n := range past.order {
		e := past.live[n]
		if e == nil {
			continue
		}
		whole, err := c.file(e.Path, e.Bytes, e.SHA256)
		if err != nil {
			return err
		}
		if e.Sketch != nil {
			if _, err := c.file(sketchOf(e.Path), e.Sketch.Bytes, e.Sketch.SHA256); err != nil {
				return err
			}
		}
		if !whole {
			continue
		}
		c.report.Checked.Segments++
		c.report.Checked.Events += e.Rows
		if err := c.contents(past, e); err != nil {
			return err
		}
	}
	return nil
}

// file compares a file with its size and digest.
func (c *check) file(name string, size int64, sha string) (whole bool, err error) {
	if err := c.ctx.Err(); err != nil {
		return false, err
	}
	f, err := os.Open(filepath.Join(c.dir, filepath.FromSlash(name)))
	if errors.Is(err, fs.ErrNotExist) {
		if c.blind {
			c.undecided = append(c.undecided, name)
		} else {
			c.differ(name, -1, "is missing")
		}
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, io.LimitReader(f, size+1))
	if err != nil {
		c.differ(name, n, "cannot be read: %v", err)
		return false, nil
	}
	c.report.Checked.Files++
	c.report.Checked.Bytes += n
	switch got := hex.EncodeToString(sum.Sum(nil)); {
	case n != size:
		c.differ(name, min(n, size), "does not have the %d bytes that were recorded", size)
	case got != sha:
		c.differ(name, -1, "has SHA-256 %s, recorded is %s", got, sha)
	default:
		return true, nil
	}
	return false, nil
}

// lookForMissing finds out whether lines are missing that tell what became of
// segments.
func (c *check) lookForMissing() {
	c.said = map[string]bool{}
	for i := range c.lines {
		c.said[c.lines[i].ref] = true
		c.blind = c.blind || c.lines[i].state == different && c.lines[i].Op != opAdd
	}
	for ref, l := range c.recorded {
		c.blind = c.blind || !c.said[ref] && l.Type != "segment" && l.Type != opHold
	}
}

// missing names what the ledger recorded and no line says.
func (c *check) missing() {
	lost := 0
	for ref, l := range c.recorded {
		switch {
		case c.said[ref]:
		case len(c.damaged) > 0:
			lost++
		default:
			c.differ(manifestName, -1, "the line of %s, which the ledger recorded, is missing or damaged", l.Ref)
			c.missingSegment(l)
		}
	}
	if lost > 0 {
		c.differ(c.damaged[0], -1, "%d lines that the ledger recorded cannot be read", lost)
	}
}

func (c *check) missingSegment(l leaf.Leaf) {
	if l.Type != "segment" {
		return
	}
	if !c.files[l.Ref] && !c.blind {
		c.differ(l.Ref, -1, "is missing")
	}
	for _, name := range filesOfSegment(l.Ref) {
		c.explained[name] = true
	}
}

// foreign names files that neither the manifest nor the ledger knows.
func (c *check) foreign(past *replay) {
	for file := range c.files {
		if c.explained[file] {
			continue
		}
		n, segment := numberOf(segmentOf(file))
		half, cut := strings.CutSuffix(file, temporary)
		_, started := numberOf(segmentOf(half))
		switch {
		case cut && (started || isHistory(half) || half == manifestName || half == planName):
			c.leftover(file, -1, "temporary file of an interrupted write")
		case file == planName:
			c.leftover(file, -1, "plan of an interrupted merge")
		case segment && c.files[planName] && past.planned(c.dir, segmentOf(file)):
			c.leftover(file, -1, "segment of an interrupted merge, not in the manifest")
		case segment && n == past.next:
			c.leftover(file, -1, "segment of an interrupted write, not in the manifest")
		case isHistory(file) && file == historyPath(past.seq):
			c.leftover(file, -1, "former lines, of an interrupted write")
		case segment && !c.files[manifestName]: // in a shared store anybody may have been stopped at any time
			c.leftover(file, -1, "object that no line names, still to be removed")
		case segment && c.blind && isMerged(n):
			c.undecided = append(c.undecided, file)
		default:
			c.differ(file, -1, "is not in the manifest")
		}
	}
}
