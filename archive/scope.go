package archive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sonae/sonae/archive/lang"
	"github.com/sonae/sonae/archive/segment"
	"github.com/sonae/sonae/event"
)

// scope is what a query has to read: files, and in them row groups.
type scope struct {
	files []file  // their rows are those of the row groups, about
	parts []int64 // row groups by their column part, ascending; nil: all
	whole []int64 // numbers of files of which all row groups are to be read besides
	rows  int64   // of all files
}

// maxParts bounds a list of row groups in a statement; beyond, too little is
// skipped to be worth it.
const maxParts = 4096

// prune leaves out the files and row groups that, by their sketches, cannot
// hold what x looks for.
func (a *Archive) prune(ctx context.Context, files []file, x lang.Expr) (scope, error) {
	need := lang.Needs(x)
	if need == nil {
		all := scope{files: files}
		for _, f := range files {
			all.rows += f.rows
		}
		return all, nil
	}
	files, err := a.bringSketches(ctx, files)
	if err != nil {
		return scope{}, err
	}
	type answer struct {
		of, parts []int64
		known     bool
	}
	told := make([]answer, len(files))
	if err := atOnceEach(ctx, len(files), func(i int) error {
		if sketch := a.sketchOf(files[i]); sketch != nil {
			of := sketch.Parts()
			told[i] = answer{of, fulfil(sketch, of, need), true}
		}
		return nil
	}); err != nil {
		return scope{}, err
	}
	s := scope{parts: []int64{}}
	for i, f := range files {
		t := &told[i]
		if !t.known {
			n, _ := segment.Number(f.path)
			s.files, s.whole, s.rows = append(s.files, f), append(s.whole, n), s.rows+f.rows
			continue
		}
		if len(t.parts) == 0 {
			continue
		}
		f.rows = f.rows * int64(len(t.parts)) / int64(len(t.of))
		s.files, s.parts, s.rows = append(s.files, f), append(s.parts, t.parts...), s.rows+f.rows
	}
	if len(s.parts)+len(s.whole) > maxParts {
		s.parts, s.whole = nil, nil
	}
	slices.Sort(s.parts)
	return s, nil
}

// atOnceEach calls do for all numbers below n, some at the same time: when
// little is in memory, waiting for the disk is most of a search. After an error
// those that were not begun are left out.
func atOnceEach(ctx context.Context, n int, do func(int) error) error {
	errs := make([]error, min(n, together))
	var next atomic.Int64
	var failed atomic.Bool
	var wait sync.WaitGroup
	for w := range errs {
		wait.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && !failed.Load(); i = int(next.Add(1)) - 1 {
				if errs[w] = ctx.Err(); errs[w] == nil {
					errs[w] = do(i)
				}
				if errs[w] != nil {
					failed.Store(true)
					return
				}
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

// sketchOf returns the sketch of a file; nil if it has none that is readable.
func (a *Archive) sketchOf(f file) *segment.Sketch {
	if f.sketch.Path == "" {
		return nil
	}
	sketch, err := a.sketches.open(f.sketch)
	if err != nil {
		a.log.Error("sketch of a segment is missing or changed: the segment is read whole", "file", f.sketch.Path, "err", err)
		return nil
	}
	return sketch
}

func fulfil(s *segment.Sketch, all []int64, n *lang.Need) []int64 {
	switch {
	case n == nil:
		return all
	case n.Text != "":
		return s.MayHold(n.Text)
	case n.All != nil:
		found := all
		for _, one := range n.All {
			held := fulfil(s, all, one)
			found = slices.DeleteFunc(slices.Clone(found), func(p int64) bool { return !slices.Contains(held, p) })
		}
		return found
	}
	held := map[int64]bool{}
	for _, one := range n.Any {
		for _, p := range fulfil(s, all, one) {
			held[p] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(p int64) bool { return !held[p] })
}

// relation is the scope as a relation of the engine; more are options of its
// reader. Paths come from the manifest.
func (s scope) relation(more string) string {
	union := ""
	if slices.ContainsFunc(s.files, func(f file) bool { return !f.today }) {
		union = ", union_by_name = true" // all files are opened, one by one, before any is read
	}
	return "read_parquet(" + list(s.files) + ", hive_partitioning = false" + union + more + ")"
}

// condition is that rows are in the row groups of the scope. Segments of the
// first release do not number them.
func (s scope) condition() string {
	if s.parts == nil {
		return "TRUE"
	}
	any := []string{"part IS NULL"}
	if len(s.parts) > 0 {
		texts := make([]string, len(s.parts))
		for i, p := range s.parts {
			texts[i] = strconv.FormatInt(p, 10)
		}
		any = append(any, "part IN ("+strings.Join(texts, ", ")+")")
	}
	for _, n := range s.whole {
		any = append(any, fmt.Sprintf("part BETWEEN %d AND %d", n<<16, n<<16+0xFFFF))
	}
	return "(" + strings.Join(any, " OR ") + ")"
}

// window is what of a request tells which files are needed.
func (r request) window() window {
	w := window{from: r.from, to: r.to, sites: r.sites}
	if p := r.after; p != nil {
		if t := timeOf(p.at).Add(1); w.to.IsZero() || t.Before(w.to) {
			w.to = t
		}
	}
	if hosts := lang.Only(r.Where, "host"); len(hosts) == 1 {
		w.host = hosts[0]
	}
	for _, k := range lang.Only(r.Where, "kind") {
		w.kinds = append(w.kinds, event.Kind(k))
	}
	w.ids = lang.Only(r.Where, "id")
	return w
}

// sketchCache keeps the sketches that were used last. Most searches ask those
// of the newest segments again.
type sketchCache struct {
	mu     sync.Mutex
	held   map[string]*cachedSketch
	proved map[string]segment.Head // of those whose manifest line has none and that were read in whole
	bytes  int64
	tick   int64
}

type cachedSketch struct {
	sketch *segment.Sketch
	used   int64
}

// maxSketches bounds the memory of the cache: the sketches of 16 million events.
const maxSketches = 32 << 20

const maxProved = 1 << 16 // sketches

// kept returns a sketch that is in memory.
func (c *sketchCache) kept(sum string) *segment.Sketch {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.held[sum]
	if h == nil {
		return nil
	}
	c.tick++
	h.used = c.tick
	return h.sketch
}

func (c *sketchCache) open(f segment.SketchFacts) (*segment.Sketch, error) {
	sum := f.SHA256
	if s := c.kept(sum); s != nil {
		return s, nil
	}
	s, err := c.read(f)
	if err != nil {
		return nil, fmt.Errorf("use sketch: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held == nil {
		c.held = map[string]*cachedSketch{}
	}
	if c.held[sum] != nil { // another search read it at the same time
		return s, nil
	}
	c.tick++
	c.held[sum] = &cachedSketch{s, c.tick}
	for c.bytes += s.Size(); c.bytes > maxSketches && len(c.held) > 1; {
		oldest := ""
		for key, h := range c.held {
			if oldest == "" || h.used < c.held[oldest].used {
				oldest = key
			}
		}
		c.bytes -= c.held[oldest].sketch.Size()
		delete(c.held, oldest)
	}
	return s, nil
}

// read reads the head of a sketch, or all of it where the head is not known.
func (c *sketchCache) read(f segment.SketchFacts) (*segment.Sketch, error) {
	head := f.Head
	if head.Bytes == 0 {
		c.mu.Lock()
		head = c.proved[f.SHA256]
		c.mu.Unlock()
	}
	if head.Bytes > 0 {
		return segment.OpenHead(f.Path, head, f.Bytes)
	}
	s, head, err := segment.OpenSketch(f.Path, f.SHA256)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.proved == nil || len(c.proved) > maxProved {
		c.proved = map[string]segment.Head{}
	}
	c.proved[f.SHA256] = head
	return s, nil
}
