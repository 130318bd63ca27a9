package archive

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// load reads the manifest into the index and removes what an interrupted write
// left: temporary files, an unfinished last line, segments that have no line
// yet or that a line has replaced. Nothing of it is missed: what has no line
// was not acknowledged, and is offered again; what was replaced stands
// elsewhere.
//
// A damaged line elsewhere is not an interrupted write: it is reported and
// left as it is, and then no segment is removed.
func (a *Archive) load(ctx context.Context) error {
	j, err := openJournal(a.dir)
	if err != nil {
		return err
	}
	a.journal = j
	dead, damaged, err := a.readManifest(j)
	if err != nil {
		return err
	}
	a.checkSizes()
	left, err := a.listFiles(ctx)
	if err != nil {
		return err
	}
	if damaged > 0 {
		a.reportForeign(left)
		return nil
	}
	if left, err = a.endMerge(left); err != nil {
		return err
	}
	return a.removeLeft(left, dead)
}

// readManifest fills the index and cuts an unfinished last line off. dead are
// the segments that a later line took away, each with those that replaced it.
func (a *Archive) readManifest(j *fileJournal) (dead map[string][]string, damaged int, err error) {
	dead = map[string][]string{}
	err = eachLine(j.f, func(raw rawLine) error {
		if !raw.ended {
			a.log.Warn("cutting an unfinished line off the manifest", "offset", raw.offset, "bytes", len(raw.bytes))
			return j.cut()
		}
		j.size = raw.offset + int64(len(raw.bytes)) + 1
		r, err := parseLine(raw.bytes)
		if err != nil {
			damaged++
			a.index.seq++
			a.index.lines++
			a.log.Error("manifest line is damaged", "line", raw.number, "offset", raw.offset, "err", err)
			if raw.bytes == nil {
				return errors.New("manifest has a line longer than any that was written")
			}
			return nil
		}
		var by []string
		for i := range r.Segments {
			by = append(by, r.Segments[i].Path)
		}
		for _, s := range a.index.apply(r, sha256.Sum256(raw.bytes), a.keep) {
			dead[s.path] = by
		}
		return nil
	})
	return dead, damaged, err
}

// left is what lies in the folder and that no line needs.
type left struct {
	temporary []string
	segments  []string        // with the files beside them
	there     map[string]bool // all segments, needed or not
}

// listFiles finds what no line of the manifest needs.
func (a *Archive) listFiles(ctx context.Context) (left, error) {
	l := left{there: map[string]bool{}}
	needed := map[string]bool{}
	for _, s := range a.index.segments {
		for _, name := range filesOfSegment(s.path) {
			needed[name] = true
		}
	}
	for i := range a.index.histories {
		needed[a.index.histories[i].Path] = true
	}
	for _, root := range []string{segmentsName, historyName} {
		err := filepath.WalkDir(a.full(root), func(full string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil || d.IsDir() {
				return errors.Join(err, ctx.Err())
			}
			rel, err := filepath.Rel(a.dir, full)
			if err != nil {
				return err
			}
			l.note(filepath.ToSlash(rel), needed)
			return nil
		})
		if err != nil {
			return left{}, fmt.Errorf("look through the archive: %w", err)
		}
	}
	if _, err := os.Lstat(a.full(manifestName + temporary)); err == nil {
		l.temporary = append(l.temporary, manifestName+temporary)
	}
	return l, nil
}

func (l *left) note(rel string, needed map[string]bool) {
	half, cut := strings.CutSuffix(rel, temporary)
	_, whole := numberOf(segmentOf(rel))
	_, started := numberOf(segmentOf(half))
	switch {
	case cut && (started || isHistory(half)), isHistory(rel) && !needed[rel]:
		l.temporary = append(l.temporary, rel)
	case whole:
		l.there[rel] = true
		if !needed[rel] {
			l.segments = append(l.segments, rel)
		}
	}
}

// removeLeft removes what an interrupted write, merge or removal left. A crash
// between rename and manifest line leaves exactly one fresh segment without a
// line, with the next number. Any other is kept, because then the manifest
// lost something.
func (a *Archive) removeLeft(l left, dead map[string][]string) error {
	for _, rel := range l.temporary {
		a.log.Warn("removing what an interrupted write left behind", "file", rel)
		if err := removeIfThere(a.full(rel)); err != nil {
			return err
		}
	}
	var orphans []string
	for _, rel := range l.segments {
		by, replaced := dead[segmentOf(rel)]
		whole := !slices.ContainsFunc(by, func(p string) bool { return a.index.needs(p) && !l.there[p] })
		switch {
		case replaced && whole:
			if err := removeIfThere(a.full(rel)); err != nil {
				return err
			}
		case replaced:
			a.log.Error("segment is kept because what replaced it is missing", "file", rel)
		default:
			orphans = append(orphans, rel)
		}
	}
	return a.removeOrphan(orphans)
}

// needs says whether the segment at p stands in the archive.
func (x *index) needs(p string) bool {
	n, _ := numberOf(p)
	return x.segments[n] != nil
}

func (a *Archive) removeOrphan(orphans []string) error {
	numbers := map[int64]bool{}
	for _, rel := range orphans {
		n, _ := numberOf(segmentOf(rel))
		numbers[n] = true
	}
	for _, rel := range orphans {
		n, _ := numberOf(segmentOf(rel))
		if len(numbers) == 1 && n == a.index.next {
			a.log.Warn("removing what an interrupted write left behind", "file", rel)
			if err := removeIfThere(a.full(rel)); err != nil {
				return err
			}
			continue
		}
		a.log.Error("segment is not in the manifest", "file", rel)
		defer a.index.count(n)
	}
	return nil
}

// reportForeign names segments without a line beside a damaged manifest, and
// makes sure that their numbers are not given again.
func (a *Archive) reportForeign(l left) {
	for _, rel := range l.segments {
		n, _ := numberOf(segmentOf(rel))
		a.index.count(n)
		a.log.Error("segment is not in the manifest", "file", rel)
	}
}

// plan is what a merge is about to do, written down before its segments get
// their names.
type plan struct {
	In, Out []string // paths
}

// endMerge undoes a merge that was interrupted before its line: its new
// segments go, because all that they were made of is still there. If that is
// not so, the manifest lost something, and all stays.
func (a *Archive) endMerge(l left) (left, error) {
	b, err := os.ReadFile(a.full(planName))
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	var p plan
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	if err != nil { // it was not yet synced, so no segment has its name yet
		a.log.Warn("plan of an interrupted merge cannot be read", "err", err)
		return l, removeIfThere(a.full(planName))
	}
	for _, in := range p.In {
		if !a.index.needs(in) || !l.there[in] {
			return l, removeIfThere(a.full(planName)) // done, or something is missing
		}
	}
	for _, out := range p.Out {
		if n, ok := numberOf(out); !ok || a.index.segments[n] != nil {
			continue
		}
		a.log.Warn("removing what an interrupted merge left behind", "file", out)
		for _, name := range filesOfSegment(out) {
			if err := removeIfThere(a.full(name)); err != nil {
				return l, err
			}
			l.segments = slices.DeleteFunc(l.segments, func(s string) bool { return s == name })
		}
	}
	return l, removeIfThere(a.full(planName))
}

// filesOfSegment returns the path of a segment and of the file beside it.
func filesOfSegment(p string) []string { return []string{p, sketchOf(p)} }

func sketchOf(p string) string { return strings.TrimSuffix(p, ".parquet") + ".sketch" }

// segmentOf returns the segment that a file belongs to.
func segmentOf(p string) string {
	if rest, ok := strings.CutSuffix(p, ".sketch"); ok {
		return rest + ".parquet"
	}
	return p
}

// isHistory says whether p is the path of a file with former lines.
func isHistory(p string) bool {
	var n uint64
	_, err := fmt.Sscanf(p, historyName+"/%d.jsonl.zst", &n)
	return err == nil && p == historyPath(n)
}

func historyPath(seq uint64) string {
	return path.Join(historyName, fmt.Sprintf("%012d.jsonl.zst", seq))
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
