package archive

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/sonae/sonae/archive/segment"
)

// proven is a line of the manifest or its history, with what the ledger says
// of it.
type proven struct {
	record
	ref    string // type and reference of its leaf
	file   string
	offset int64
	number int
	state  int
}

// What the ledger says of a line.
const (
	unknown = iota
	recorded
	different // what it says proves nothing
)

// manifest reads the lines of the manifest and of all files with former lines,
// and compares them with the ledger.
func (c *check) manifest() error {
	for _, name := range c.manifests() {
		if err := c.readFile(name); err != nil {
			return err
		}
	}
	for _, l := range slices.Clone(c.lines) {
		if l.Op != opHistory || l.state == different {
			continue
		}
		if err := c.history(l.History); err != nil {
			return err
		}
	}
	slices.SortStableFunc(c.lines, func(x, y proven) int {
		return cmp.Or(cmp.Compare(x.V, y.V), cmp.Compare(x.order(), y.order()))
	})
	c.void()
	c.gaps()
	return nil
}

// void takes out lines of a shared store that came too late: their number was
// part of a generation already, so that nobody reads them.
func (c *check) void() {
	newest := ""
	for name := range c.files {
		if strings.HasPrefix(name, generationName+"/") && isLine(name) {
			newest = max(newest, name)
		}
	}
	c.lines = slices.DeleteFunc(c.lines, func(l proven) bool {
		gone := l.state == unknown && strings.HasPrefix(l.file, linesName+"/") && generationOf(l.Seq) <= newest
		if gone {
			c.leftover(l.file, -1, "line that came too late and counts for nothing")
		}
		return gone
	})
}

// manifests returns the files with lines: one in a folder; in a shared store
// generations, and an object for each line, some of which are in a generation,
// too.
func (c *check) manifests() []string {
	if c.files[manifestName] {
		return []string{manifestName}
	}
	var names []string
	for name := range c.files {
		if isLine(name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		c.differ(manifestName, -1, "is missing")
	}
	slices.Sort(names)
	return names
}

// isLine says whether an object of a shared store holds lines.
func isLine(name string) bool {
	var n uint64
	if _, err := fmt.Sscanf(name, generationName+"/%d.jsonl", &n); err == nil && name == generationOf(n) {
		return true
	}
	_, err := fmt.Sscanf(name, linesName+"/%d.json", &n)
	return err == nil && name == lineName(n)
}

func (c *check) readFile(name string) error {
	f, err := os.Open(filepath.Join(c.dir, filepath.FromSlash(name)))
	if err != nil {
		return err
	}
	defer f.Close()
	c.report.Checked.Files++
	c.explained[name] = true
	return c.read(name, f)
}

// order is the place of a line among those of its version.
func (r *record) order() uint64 {
	if r.V == 1 {
		return uint64(r.Segments[0].Number)
	}
	return r.Seq
}

// history reads a file with former lines. When it was changed, which is said,
// it is read all the same as far as possible: each line stands for itself.
func (c *check) history(h *history) error {
	c.explained[h.Path] = true
	switch whole, err := c.file(h.Path, h.Bytes, h.SHA256); {
	case err != nil:
		return err
	case !whole:
		c.damaged, c.blind = append(c.damaged, h.Path), true
	}
	b, err := os.ReadFile(filepath.Join(c.dir, filepath.FromSlash(h.Path)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	z, err := zstd.NewReader(bytes.NewReader(b), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20), zstd.WithDecoderMaxWindow(8<<20))
	if err != nil {
		return err
	}
	defer z.Close()
	return c.read(h.Path, &untilError{r: z})
}

// untilError ends where reading fails.
type untilError struct{ r io.Reader }

func (u *untilError) Read(p []byte) (int, error) {
	n, err := u.r.Read(p)
	if err != nil {
		err = io.EOF
	}
	return n, err
}

// read takes the lines of a file over and names those that are damaged, out of
// order or not what the ledger knows.
func (c *check) read(file string, r io.Reader) error {
	var last *proven
	return eachLine(r, func(raw rawLine) error {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		c.report.Checked.Bytes += int64(len(raw.bytes)) + 1
		c.report.Checked.Lines++
		if !raw.ended {
			if file == manifestName {
				c.leftover(file, raw.offset, "unfinished last line of an interrupted write")
			} else {
				c.differ(file, raw.offset, "line %d: has no end", raw.number)
			}
			return nil
		}
		r, err := parseLine(raw.bytes)
		if err != nil {
			c.blind = true
			c.differ(file, raw.offset, "line %d: %v", raw.number, err)
			return nil
		}
		l := proven{record: *r, file: file, offset: raw.offset, number: raw.number}
		l.Batches = nil // which are many, and prove nothing here
		if last != nil && (last.V > l.V || last.V == l.V && last.order() >= l.order()) {
			c.differ(file, raw.offset, "line %d: %s stands out of order", raw.number, l.name())
		}
		c.compare(&l, sha256.Sum256(raw.bytes))
		if last = &l; !c.have[l.ref] || l.state == different {
			c.lines = append(c.lines, l)
			c.have[l.ref] = true
		}
		return nil
	})
}

// name is how a line is called in a report.
func (r *record) name() string {
	if r.Op == opAdd {
		return r.Segments[0].Path
	}
	return refOf(r.Seq)
}

func (c *check) compare(l *proven, sum [32]byte) {
	want := l.leaf(sum)
	l.ref = want.Type + " " + want.Ref
	for i := range l.Segments {
		for _, name := range filesOfSegment(l.Segments[i].Path) {
			c.explained[name] = true
		}
	}
	known, there := c.recorded[l.ref]
	switch {
	case !there:
	case known.Digest != hex.EncodeToString(sum[:]) || !known.At.Equal(l.At):
		l.state = different
		c.differ(l.file, l.offset, "line %d: is not what the ledger recorded for %s", l.number, l.name())
	default:
		l.state = recorded
	}
}

// gaps names lines that the ledger does not know. The last ones it may not
// know yet.
func (c *check) gaps() {
	last := len(c.lines)
	for last > 0 && c.lines[last-1].state == unknown {
		last--
	}
	last = max(last, len(c.lines)-unrecorded)
	for i := range c.lines {
		l := &c.lines[i]
		if l.state != unknown {
			continue
		}
		d := Difference{l.file, l.offset, fmt.Sprintf("line %d: the ledger does not know %s", l.number, l.name())}
		if i >= last {
			c.report.Leftovers = append(c.report.Leftovers, d)
		} else {
			c.report.Differences = append(c.report.Differences, d)
		}
	}
}

// replay is what the lines say, one after the other.
type replay struct {
	live    map[int64]*entry
	order   []int64           // numbers of all segments, as they came
	parts   map[int64][]part  // what fresh segments that were merged held, as their lines said
	origins map[int64][]int64 // of merged segments
	gone    map[string]bool   // paths of segments that were taken away
	next    int64             // number of the next fresh segment
	seq     uint64            // and line
}

// replay applies all lines in their order and names those that cannot be.
func (c *check) replay() *replay {
	p := &replay{live: map[int64]*entry{}, parts: map[int64][]part{}, origins: map[int64][]int64{}, gone: map[string]bool{}}
	seen := map[int64]bool{}
	for i := range c.lines {
		l := &c.lines[i]
		p.seq = max(p.seq+1, l.Seq+1)
		for j := range l.Segments {
			if n := l.Segments[j].Number; !isMerged(n) {
				p.next = max(p.next, n+1)
			}
		}
		if l.state == different {
			continue
		}
		for j := range l.Contents {
			p.parts[l.Contents[j].Number] = l.Contents[j].Parts
		}
		var held []int64
		for _, n := range l.Gone {
			e := p.live[n]
			if e == nil {
				if !c.blind {
					c.differ(l.file, l.offset, "line %d: takes away segment %d, which is not there", l.number, n)
				}
				continue
			}
			held = append(held, p.take(e)...)
		}
		for j := range l.Segments {
			e := &l.Segments[j]
			if seen[e.Number] {
				c.differ(l.file, l.offset, "line %d: %s stands in an earlier line", l.number, e.Path)
				continue
			}
			seen[e.Number] = true
			p.add(e, held)
		}
	}
	return p
}

// add makes a segment live.
func (p *replay) add(e *entry, held []int64) {
	p.live[e.Number] = e
	p.order = append(p.order, e.Number)
	if !isMerged(e.Number) {
		return
	}
	day := dayIn(e.Path)
	for _, n := range held {
		if slices.ContainsFunc(p.parts[n], func(q part) bool { return q.Day == day && q.Source == e.Kinds[0] }) {
			p.origins[e.Number] = append(p.origins[e.Number], n)
		}
	}
}

// take makes a segment part of the past and returns its origins.
func (p *replay) take(e *entry) []int64 {
	delete(p.live, e.Number)
	p.gone[e.Path] = true
	if isMerged(e.Number) {
		held := p.origins[e.Number]
		delete(p.origins, e.Number)
		return held
	}
	if e.Content != nil {
		p.parts[e.Number] = e.Content
	}
	return []int64{e.Number}
}

// planned says whether the plan of an interrupted merge names a segment.
func (p *replay) planned(dir, path string) bool {
	b, err := os.ReadFile(filepath.Join(dir, planName))
	var of plan
	return err == nil && json.Unmarshal(b, &of) == nil && slices.Contains(of.Out, path)
}

// contents compares what a segment holds with the lines of those that it was
// made of, so that a merge which lost, changed or invented an event is named.
// A fresh segment is its own witness: its digest stands in its line.
func (c *check) contents(p *replay, e *entry) error {
	if !isMerged(e.Number) {
		return nil
	}
	want := map[int64]part{}
	day := dayIn(e.Path)
	for _, n := range p.origins[e.Number] {
		for _, q := range p.parts[n] {
			if q.Day == day && q.Source == e.Kinds[0] {
				want[n] = q
			}
		}
	}
	got, err := segment.Parts(c.ctx, filepath.Join(c.dir, filepath.FromSlash(e.Path)))
	if c.ctx.Err() != nil {
		return c.ctx.Err()
	}
	if err != nil {
		c.differ(e.Path, -1, "cannot be read: %v", err)
		return nil
	}
	for i := range got {
		g := &got[i]
		w, there := want[g.Number]
		if !there && c.blind {
			continue
		}
		if !there || w.Digest != g.Sum.Digest() || g.Day.Format(dayFormat) != day || g.Kind != e.Kinds[0] {
			c.differ(e.Path, -1, "its %d events from segment %d are not the %d that were added there", g.Sum.Rows, g.Number, w.Rows)
		}
		delete(want, g.Number)
	}
	for n, w := range want {
		c.differ(e.Path, -1, "the %d events from segment %d are missing", w.Rows, n)
	}
	return nil
}
