package guard

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// proc is a process; numbers are used again, so the time at which it started,
// in ticks of the kernel, belongs to it.
type proc struct {
	pid   int
	start uint64
}

// fileID is a file, whatever it is called.
type fileID struct {
	dev, ino uint64
}

// Limits of the judgement.
const (
	// limit is the score at which a process is stopped: three files.
	limit = 3
	// limitAbove is the score at which what started several processes, such as
	// a script, is stopped for what they did together. It is higher because a
	// person's shell does many things within a minute.
	limitAbove = 4
	levels     = 4 // how far up one looks

	weighCanary = 2
	weighNotes  = 1 // the same new text in noteFolders folders
	weighTamper = 1

	windowOwn   = 10 * time.Minute // slow encryption counts, too
	windowAbove = time.Minute

	noteFolders = 3
	maxCulprits = 4096
	maxLosses   = 256 // of one process that are kept; more are only counted
	maxNotes    = 64
)

// culprit is what one process did.
type culprit struct {
	parent  proc
	losses  []Loss
	more    int
	files   map[fileID]bool
	canary  bool
	notes   map[string]map[string]bool // name → folders
	tamper  []string
	renamed map[string]int // suffix → files
	last    time.Time
	learned bool
}

// verdict is that a process tree must stand still.
type verdict struct {
	root    proc
	score   float64
	lost    int
	losses  []Loss
	reasons []Reason
}

// judge counts per process tree. It is not safe for concurrent use.
type judge struct {
	all map[proc]*culprit
	// parent of a process, false where judging must not go further up.
	parent func(proc) (proc, bool)
	// usual is how many files more than others a process may change.
	usual func(proc) int
	// whole says whether a file that was damaged is whole again: who writes a
	// file anew damages it for a while. nil: none is.
	whole func(Loss) bool
}

func newJudge(parent func(proc) (proc, bool), usual func(proc) int) *judge {
	return &judge{all: map[proc]*culprit{}, parent: parent, usual: usual}
}

func (j *judge) of(p proc, now time.Time) *culprit {
	c := j.all[p]
	if c == nil {
		if len(j.all) >= maxCulprits {
			j.drop()
		}
		c = &culprit{files: map[fileID]bool{}, notes: map[string]map[string]bool{}, renamed: map[string]int{}}
		c.parent, _ = j.parent(p)
		j.all[p] = c
	}
	c.last = now
	return c
}

// drop forgets whoever has done nothing for the longest time.
func (j *judge) drop() {
	var oldest proc
	var at time.Time
	for p, c := range j.all {
		if at.IsZero() || c.last.Before(at) {
			oldest, at = p, c.last
		}
	}
	delete(j.all, oldest)
}

// lose counts a file once.
func (j *judge) lose(p proc, id fileID, l Loss) {
	c := j.of(p, l.At)
	if c.files[id] {
		return
	}
	c.canary = c.canary || l.Canary
	if len(c.losses) >= maxLosses {
		if !l.Canary {
			c.more++
		}
		return
	}
	c.files[id], l.id = true, id
	c.losses = append(c.losses, l)
	c.suffix(l.Path, l.Now)
}

// maxSuffixes bounds how many new suffixes of one process are told apart.
const maxSuffixes = 32

func (c *culprit) suffix(from, to string) {
	suffix, ok := uncommon(from, to)
	if to != "" && ok && (len(c.renamed) < maxSuffixes || c.renamed[suffix] > 0) {
		c.renamed[suffix]++
	}
}

// renamed notes the new name of a file that counts.
func (j *judge) renamed(p proc, from, to string) {
	c := j.all[p]
	if c == nil {
		return
	}
	for i := range c.losses {
		if l := &c.losses[i]; l.Path == from && l.Now == "" {
			l.Now = to
			c.suffix(from, to)
			return
		}
	}
}

// note counts a new small text.
func (j *judge) note(p proc, path string, now time.Time) {
	c := j.of(p, now)
	name := strings.ToLower(filepath.Base(path))
	if c.notes[name] == nil {
		if len(c.notes) >= maxNotes {
			return
		}
		c.notes[name] = map[string]bool{}
	}
	if len(c.notes[name]) < maxNotes {
		c.notes[name][filepath.Dir(path)] = true
	}
}

// tampered notes that a process was told to destroy backups.
func (j *judge) tampered(p proc, command string, now time.Time) {
	if c := j.of(p, now); len(c.tamper) < 4 {
		c.tamper = append(c.tamper, command)
	}
}

// decide says whether p, or what started it, must be stopped. A verdict is
// given once: what led to it is forgotten.
func (j *judge) decide(p proc, now time.Time) (verdict, bool) {
	own := func(q proc) bool { return q == p }
	if v, ok := j.weigh(p, own, windowOwn, float64(limit+j.usual(p)), now); ok {
		return v, true
	}
	root := p
	for range levels {
		up, ok := j.parent(root)
		if !ok {
			return verdict{}, false
		}
		root = up
		below := func(q proc) bool { return j.descends(q, root) }
		if v, ok := j.weigh(root, below, windowAbove, limitAbove, now); ok {
			return v, true
		}
	}
	return verdict{}, false
}

// descends says whether q is root, or was started by it within few levels.
func (j *judge) descends(q, root proc) bool {
	for range levels + 1 {
		if q == root {
			return true
		}
		c := j.all[q]
		if c == nil || c.parent == (proc{}) {
			up, ok := j.parent(q)
			if !ok {
				return false
			}
			q = up
			continue
		}
		q = c.parent
	}
	return false
}

// weigh adds up what the processes of a tree did within a window.
func (j *judge) weigh(root proc, in func(proc) bool, window time.Duration, limit float64, now time.Time) (verdict, bool) {
	v := verdict{root: root}
	var all []*culprit
	var whose []proc
	canary, real := false, false
	for p, c := range j.all {
		if now.Sub(c.last) > window || !in(p) {
			continue
		}
		all, whose = append(all, c), append(whose, p)
		canary = canary || c.canary
		v.lost += c.more
		for _, l := range c.losses {
			if now.Sub(l.At) > window {
				continue
			}
			real = true
			v.losses = append(v.losses, l)
			if !l.Canary {
				v.lost++
			}
		}
	}
	v.score = float64(v.lost)
	if canary {
		v.score += weighCanary
	}
	notes := commonNote(all)
	if notes != "" {
		v.score += weighNotes
	}
	tamper := slices.ContainsFunc(all, func(c *culprit) bool { return len(c.tamper) > 0 })
	if tamper {
		v.score += weighTamper
	}
	if !real || v.score < limit { // notes and commands alone are for a person to judge
		return verdict{}, false
	}
	if j.mended(all) {
		return j.weigh(root, in, window, limit, now)
	}
	slices.SortStableFunc(v.losses, func(a, b Loss) int { return a.At.Compare(b.At) })
	v.reasons = reasons(v, all, notes)
	for _, p := range whose {
		delete(j.all, p)
	}
	return v, true
}

// mended takes back what was counted of files that are whole again. It says
// whether there were any.
func (j *judge) mended(all []*culprit) bool {
	some := false
	for _, c := range all {
		c.losses = slices.DeleteFunc(c.losses, func(l Loss) bool {
			again := l.Why == WhyDamaged && j.whole != nil && j.whole(l)
			if again {
				delete(c.files, l.id)
				some = true
			}
			return again
		})
	}
	return some
}

// commonNote is the name of a text that was put into several folders.
func commonNote(all []*culprit) string {
	folders := map[string]map[string]bool{}
	for _, c := range all {
		for name, dirs := range c.notes {
			if folders[name] == nil {
				folders[name] = map[string]bool{}
			}
			maps.Copy(folders[name], dirs)
		}
	}
	for name, dirs := range folders {
		if len(dirs) >= noteFolders {
			return name
		}
	}
	return ""
}

// forget drops what was counted of a process that a person let go on.
func (j *judge) forget(p proc) { delete(j.all, p) }

// turned is how many files a process changed so far.
func (j *judge) turned(p proc) int {
	if c := j.all[p]; c != nil {
		return len(c.losses) + c.more
	}
	return 0
}
