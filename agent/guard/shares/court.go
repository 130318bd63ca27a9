package shares

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/agent/guard"
	"github.com/sonae/sonae/agent/samba"
)

// who is whom one counts for: a client that connects anew is the same.
type who struct {
	client netip.Addr
	user   string
}

// Limits of the judgement: those of the guard for programs.
const (
	limit       = 3
	weighDecoy  = 2
	window      = 10 * time.Minute
	minute      = time.Minute
	pairWithin  = time.Minute            // between a copy and the end of its original
	quiet       = 100 * time.Millisecond // after which a file is no longer written to
	alike       = 3                      // files with one new suffix
	maxActors   = 1024
	maxLosses   = 256 // that are kept; more are only counted
	maxCounted  = 8192
	maxDirty    = 256
	maxPapers   = 512
	maxSuffixes = 32
	maxPIDs     = 32
)

// actor is what one client did.
type actor struct {
	losses  []guard.Loss
	more    int
	counted map[string]bool
	decoy   bool
	suffix  map[string][]guard.Loss // noise with a new suffix, until there are enough
	dirty   map[string]*file        // opened to be written to
	read    map[string]time.Time    // opened to be read
	changed map[string]time.Time
	made    []paper // noise in new files
	gone    []paper // files that it had read and that are deleted
	pids    []int
	shares  []string
	server  netip.Addr
	machine string
	last    time.Time
}

// file is one that is being changed.
type file struct {
	pre     guard.Sample // zero: it was too late to look
	fresh   bool         // made by who writes to it
	written bool         // since it was judged
	last    time.Time
}

// paper is a file at a time.
type paper struct {
	path string
	at   time.Time
}

// court counts for each client. It is not safe for concurrent use.
type court struct {
	look    *guard.Looker
	isDecoy func(string) bool
	all     map[who]*actor
	dropped uint64 // files that there was no room to follow
}

func newCourt(look *guard.Looker, isDecoy func(string) bool) *court {
	return &court{look: look, isDecoy: isDecoy, all: map[who]*actor{}}
}

func (c *court) of(w who, op samba.Op, now time.Time) *actor {
	a := c.all[w]
	if a == nil {
		if len(c.all) >= maxActors {
			c.drop()
		}
		a = &actor{counted: map[string]bool{}, suffix: map[string][]guard.Loss{}, dirty: map[string]*file{}, read: map[string]time.Time{}, changed: map[string]time.Time{}}
		c.all[w] = a
	}
	a.last, a.server, a.machine = now, op.Server, op.Machine
	if !slices.Contains(a.pids, op.PID) {
		a.pids = append(a.pids, op.PID)
		a.pids = a.pids[max(0, len(a.pids)-maxPIDs):]
	}
	if !slices.Contains(a.shares, op.Share) && len(a.shares) < maxPIDs {
		a.shares = append(a.shares, op.Share)
	}
	return a
}

// drop forgets whoever has done nothing for the longest time.
func (c *court) drop() {
	var oldest who
	var at time.Time
	for w, a := range c.all {
		if at.IsZero() || a.last.Before(at) {
			oldest, at = w, a.last
		}
	}
	delete(c.all, oldest)
}

// take counts one operation.
func (c *court) take(w who, op samba.Op, now time.Time) {
	a := c.of(w, op, now)
	const deletes = 0x10000 // MS-SMB2 2.2.13.1.1
	if c.isDecoy(op.Path) && (changes(op) || op.Verb == samba.Open && op.Access&deletes != 0) {
		a.touched(op.Path, now)
		return
	}
	if !op.OK || op.Folder {
		return
	}
	switch op.Verb {
	case samba.Open:
		c.opened(a, op, now)
	case samba.Write, samba.WriteNow, samba.Cut:
		c.wrote(a, op, now)
	case samba.Rename:
		c.renamed(a, op, now)
	case samba.Delete:
		a.deleted(op.Path, now)
	}
}

// touched notes that somebody wanted to change a decoy.
func (a *actor) touched(path string, now time.Time) {
	if a.decoy = true; !a.counted[path] && len(a.losses) < maxLosses {
		a.counted[path] = true
		a.losses = append(a.losses, guard.Loss{Path: path, Why: guard.WhyCanary, Canary: true, At: now})
	}
}

// opened looks at what a file holds before it is changed, where it is not too
// late for that.
func (c *court) opened(a *actor, op samba.Op, now time.Time) {
	if op.Reads() {
		note(a.read, op.Path, now)
	}
	if !op.Writes() || a.dirty[op.Path] != nil {
		return
	}
	f := c.follow(a, op.Path, now)
	if f == nil {
		return
	}
	f.fresh = op.How == "create" || bornSince(op.Path, op.At)
	if f.fresh || op.At.IsZero() {
		return
	}
	pre, _, err := c.look.Look(op.Path, guard.Sample{})
	if err != nil {
		return
	}
	if info, err := os.Lstat(op.Path); err == nil && info.ModTime().Before(op.At.Add(-coarse)) { // nobody wrote before it was looked at
		f.pre = pre
	}
}

// follow notes a file that is written to.
func (c *court) follow(a *actor, path string, now time.Time) *file {
	if len(a.dirty) >= maxDirty {
		for p := range a.dirty {
			c.judge(a, p, now)
			delete(a.dirty, p)
			c.dropped++
			break
		}
	}
	f := &file{last: now}
	a.dirty[path] = f
	return f
}

// wrote judges what the client wrote to before: it has gone on.
func (c *court) wrote(a *actor, op samba.Op, now time.Time) {
	f := a.dirty[op.Path]
	if f == nil {
		f = c.follow(a, op.Path, now)
	}
	f.written, f.last = true, now
	note(a.changed, op.Path, now)
	for path, other := range a.dirty {
		if path != op.Path && other.written {
			c.judge(a, path, now)
		}
	}
}

// note keeps when something happened to a path.
func note(m map[string]time.Time, path string, now time.Time) {
	if len(m) >= maxCounted {
		for p, at := range m {
			if now.Sub(at) > minute || len(m) >= maxCounted {
				delete(m, p)
			}
		}
	}
	m[path] = now
}

// judge looks what became of a file that was written to.
func (c *court) judge(a *actor, path string, now time.Time) {
	f := a.dirty[path]
	f.written = false
	post, _, err := c.look.Look(path, f.pre)
	if err != nil {
		return
	}
	if f.fresh {
		if guard.Noise(post, path) && !slices.ContainsFunc(a.made, func(p paper) bool { return p.path == path }) {
			a.make(path, now)
		}
		return
	}
	if why := guard.Became(f.pre, post, path); why != guard.WhyNone {
		a.lose(guard.Loss{Path: path, Why: why, At: now})
		delete(a.dirty, path)
	}
}

// lose counts a file once.
func (a *actor) lose(l guard.Loss) {
	if a.counted[l.Path] {
		return
	}
	if len(a.losses) >= maxLosses || len(a.counted) >= maxCounted {
		a.more++
		return
	}
	a.counted[l.Path] = true
	a.losses = append(a.losses, l)
}

// renamed judges a file by both of its names.
func (c *court) renamed(a *actor, op samba.Op, now time.Time) {
	if c.isDecoy(op.To) {
		a.touched(op.To, now)
		return
	}
	f := a.dirty[op.Path]
	delete(a.dirty, op.Path)
	_, changed := a.changed[op.Path]
	if !changed { // who only moves files turns none of them into noise
		return
	}
	delete(a.changed, op.Path)
	note(a.changed, op.To, now)
	if a.counted[op.Path] {
		a.calls(op.Path, op.To)
		return
	}
	if f == nil {
		f = &file{}
	}
	post, _, err := c.look.Look(op.To, f.pre)
	if err != nil {
		return
	}
	suffix, odd := guard.Uncommon(op.Path, op.To)
	why := guard.Became(f.pre, post, op.To)
	if why == guard.WhyNone && odd {
		why = guard.Became(f.pre, post, op.Path)
	}
	i := slices.IndexFunc(a.made, func(p paper) bool { return p.path == op.Path })
	switch {
	case f.fresh || i >= 0: // a new file takes the place of an old one, or will
		if i >= 0 {
			a.made = slices.Delete(a.made, i, i+1)
		}
		if _, had := a.read[op.To]; had && why != guard.WhyNone {
			a.lose(guard.Loss{Path: op.To, Why: guard.WhyReplaced, At: now})
		} else if guard.Noise(post, op.To) {
			a.make(op.To, now)
		}
	case why != guard.WhyNone:
		a.lose(guard.Loss{Path: op.Path, Now: op.To, Why: why, At: now})
	case odd && guard.Noise(post, op.To):
		a.alike(suffix, guard.Loss{Path: op.Path, Now: op.To, Why: guard.WhySuffix, At: now})
	}
}

// calls notes the new name of a file that counts.
func (a *actor) calls(from, to string) {
	a.counted[to] = true
	for i := range a.losses {
		if a.losses[i].Path == from {
			a.losses[i].Now = to
		}
	}
}

// alike counts files with a new suffix once there are several of them.
func (a *actor) alike(suffix string, l guard.Loss) {
	if len(a.suffix) >= maxSuffixes && a.suffix[suffix] == nil {
		return
	}
	if len(a.suffix[suffix]) < alike {
		a.suffix[suffix] = append(a.suffix[suffix], l)
	}
	if len(a.suffix[suffix]) < alike {
		return
	}
	for _, l := range a.suffix[suffix] {
		a.lose(l)
	}
	a.lose(l)
}

// make notes noise in a new file, and looks for the original that it is of.
func (a *actor) make(path string, now time.Time) {
	for i, g := range slices.Backward(a.gone) {
		if now.Sub(g.at) < pairWithin && copyOf(path, g.path) {
			a.lose(guard.Loss{Path: g.path, Now: path, Why: guard.WhyDeleted, At: now})
			a.gone = slices.Delete(a.gone, i, i+1)
			return
		}
	}
	a.made = append(a.made, paper{path, now})
	a.made = a.made[max(0, len(a.made)-maxPapers):]
}

// deleted looks for the copy of what is gone.
func (a *actor) deleted(path string, now time.Time) {
	if f := a.dirty[path]; f != nil || slices.ContainsFunc(a.made, func(p paper) bool { return p.path == path }) {
		delete(a.dirty, path)
		a.made = slices.DeleteFunc(a.made, func(p paper) bool { return p.path == path })
		return
	}
	read, had := a.read[path]
	delete(a.read, path)
	best := -1
	for i, m := range a.made {
		if now.Sub(m.at) > pairWithin {
			continue
		}
		if copyOf(m.path, path) {
			best = i
			break
		}
		if best < 0 && had && !read.After(m.at) { // it read this, then wrote that
			best = i
		}
	}
	if best >= 0 {
		a.lose(guard.Loss{Path: path, Now: a.made[best].path, Why: guard.WhyDeleted, At: now})
		a.made = slices.Delete(a.made, best, best+1)
		return
	}
	if had {
		a.gone = append(a.gone, paper{path, now})
		a.gone = a.gone[max(0, len(a.gone)-maxPapers):]
	}
}

// copyOf says whether a name is made of that of another file.
func copyOf(path, original string) bool {
	base := filepath.Base(original)
	stem := strings.TrimSuffix(base, filepath.Ext(base))
	return path != original && len(stem) > 2 && strings.HasPrefix(filepath.Base(path), stem)
}

// settle judges what is no longer written to, and returns whose it was.
func (c *court) settle(now time.Time) (changed []who) {
	for w, a := range c.all {
		for path, f := range a.dirty {
			if now.Sub(f.last) < quiet {
				continue
			}
			if f.written {
				c.judge(a, path, now)
				changed = append(changed, w)
			}
			if now.Sub(f.last) > minute {
				delete(a.dirty, path)
			}
		}
	}
	return changed
}

// waiting says whether a file will have to be judged soon.
func (c *court) waiting() bool {
	for _, a := range c.all {
		for _, f := range a.dirty {
			if f.written {
				return true
			}
		}
	}
	return false
}

// decide says whether a client must be stopped. What led to it is forgotten.
func (c *court) decide(w who, now time.Time) (Found, bool) {
	a := c.all[w]
	if a == nil || len(a.losses) == 0 {
		return Found{}, false
	}
	f := Found{Client: w.client, User: w.user, Server: a.server, Machine: a.machine, Shares: a.shares, PIDs: a.pids, Lost: a.more, At: now}
	for _, l := range a.losses {
		if now.Sub(l.At) > window {
			continue
		}
		if f.Files = append(f.Files, l); !l.Canary {
			f.Lost++
		}
	}
	f.Score = float64(f.Lost)
	if a.decoy {
		f.Score += weighDecoy
	}
	if f.Score < limit || f.Lost == 0 && len(f.Files) < limit { // one decoy alone may be a curious person
		return Found{}, false
	}
	for _, at := range a.changed {
		if now.Sub(at) < minute {
			f.Changed++
		}
	}
	f.First, f.Reasons = f.Files[0].At, guard.Reasons(f.Files)
	delete(c.all, w)
	return f, true
}

// tidy forgets who has done nothing for a while, and what is too old to count.
func (c *court) tidy(now time.Time) {
	for w, a := range c.all {
		if now.Sub(a.last) > window {
			delete(c.all, w)
			continue
		}
		for p, at := range a.read {
			if now.Sub(at) > minute {
				delete(a.read, p)
			}
		}
		if len(a.losses) > 0 && now.Sub(a.losses[len(a.losses)-1].At) > window {
			a.losses, a.more, a.decoy = nil, 0, false
			clear(a.counted)
			clear(a.suffix)
		}
	}
}

// coarse is more than the clock of file systems may be behind.
const coarse = 20 * time.Millisecond

// bornSince says whether a file is not older than a moment. A file system that
// does not keep that says nothing.
func bornSince(path string, at time.Time) bool {
	born, ok := birth(path)
	return ok && !at.IsZero() && !born.Before(at.Add(-coarse))
}
