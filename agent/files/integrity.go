package files

import (
	"bufio"
	"bytes"
	"context"
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
	"strconv"
	"sync"
	"time"

	"github.com/sonae/sonae/agent/collect"
	"github.com/sonae/sonae/event"
)

// record is what is known of a file that must not change.
type record struct {
	Path  string `json:"path"`
	Sum   string `json:"sum"` // SHA-256, hex; of a link its target's name; empty when it was too large or unreadable
	Size  int64  `json:"size"`
	Mode  string `json:"mode"`
	Owner string `json:"owner"` // uid:gid
	Stamp string `json:"stamp"` // inode and times: when it is the same, so is the file
}

// integrity keeps the baseline. touched and again may be called while run works.
type integrity struct {
	roots []string
	deps  Deps
	known map[string]record // run uses it

	mu    sync.Mutex
	soon  map[string]actor // files to look at, with who touched them
	wake  chan struct{}
	whole bool
}

// Bounds and times.
const (
	maxRecords   = 300_000
	maxHashed    = 512 << 20 // bytes of a file; larger ones are compared by size and time
	compareEvery = 15 * time.Minute
	settle       = 300 * time.Millisecond // a file is written in several steps
	hashPortion  = 4 << 20
	hashPause    = 10 * time.Millisecond // after each portion: others need the disk
	maxSoon      = 65_536
	baselineFile = "integrity.jsonl"
)

func newIntegrity(roots []string, d Deps) *integrity {
	return &integrity{roots: roots, deps: d, known: map[string]record{}, soon: map[string]actor{}, wake: make(chan struct{}, 1)}
}

// touched says that somebody did something to a file; done that it may be
// finished.
func (g *integrity) touched(path string, who actor, done bool) {
	g.mu.Lock()
	if len(g.soon) < maxSoon {
		if before, ok := g.soon[path]; !ok || before.image == "" {
			g.soon[path] = who
		}
	} else {
		g.whole = true
	}
	g.mu.Unlock()
	if done {
		g.poke()
	}
}

// again asks for a comparison of everything.
func (g *integrity) again() {
	g.mu.Lock()
	g.whole = true
	g.mu.Unlock()
	g.poke()
}

func (g *integrity) poke() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

func (g *integrity) taken() (soon map[string]actor, whole bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	soon, whole = g.soon, g.whole
	g.soon, g.whole = map[string]actor{}, false
	return soon, whole
}

// run compares until ctx ends. Without a baseline it makes one and says so.
func (g *integrity) run(ctx context.Context, q *collect.Queue) {
	first := g.load()
	g.compare(ctx, q, first)
	tick := time.NewTicker(compareEvery)
	defer tick.Stop()
	for {
		whole := false
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			whole = true
		case <-g.wake:
			if !wait(ctx, settle) {
				return
			}
		}
		soon, all := g.taken()
		changed := false
		for path, who := range soon {
			changed = g.look(ctx, q, path, who, false) || changed
		}
		if changed {
			g.save()
		}
		if whole || all {
			g.compare(ctx, q, false)
		}
	}
}

func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// compare looks at every file, and at those that should be there.
func (g *integrity) compare(ctx context.Context, q *collect.Queue, quiet bool) {
	seen := map[string]bool{}
	changed := quiet
	for _, root := range g.roots {
		_ = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if ctx.Err() != nil || len(seen) >= maxRecords {
				return fs.SkipAll
			}
			if err == nil && !e.IsDir() {
				seen[path] = true
				changed = g.look(ctx, q, path, actor{}, quiet) || changed
			}
			return nil
		})
	}
	if ctx.Err() != nil {
		return
	}
	for path := range g.known {
		if !seen[path] {
			changed = g.look(ctx, q, path, actor{}, quiet) || changed
		}
	}
	if changed {
		g.save()
	}
	if quiet {
		q.Put(event.Event{Time: g.deps.Now().UTC(), Kind: event.KindHealth, Product: "sonae", Service: "integrity",
			Fields: map[string]string{"Event": "baseline", "Files": strconv.Itoa(len(g.known)), "Sha256": g.digest()}})
	}
}

// look compares one file and tells what changed.
func (g *integrity) look(ctx context.Context, q *collect.Queue, path string, who actor, quiet bool) bool {
	before, known := g.known[path]
	now, err := g.describe(ctx, path, before)
	if ctx.Err() != nil {
		return false
	}
	gone := errors.Is(err, fs.ErrNotExist)
	if err != nil && !gone || gone && !known || known && !gone && now == before || !known && !g.ours(path) {
		return false
	}
	change, category := "created", written
	switch {
	case gone:
		change, category = "deleted", deleted
		delete(g.known, path)
	case known && now.Sum == before.Sum && now.Size == before.Size:
		change = "attributes"
	case known:
		change = "changed"
	}
	if !gone {
		g.known[path] = now
	}
	if quiet || change == "attributes" && now.Mode == before.Mode && now.Owner == before.Owner { // only its times
		return true
	}
	f := map[string]string{"TargetFilename": path, "Change": change}
	for k, v := range map[string]string{"OldSha256": before.Sum, "NewSha256": now.Sum, "OldMode": before.Mode, "NewMode": now.Mode, "OldOwner": before.Owner, "NewOwner": now.Owner} {
		if v != "" {
			f[k] = v
		}
	}
	who.fill(f)
	q.Put(told(g.deps.Now(), category, "integrity", f))
	return true
}

// ours says whether a path belongs to what is compared: the folder of a single
// file tells of its neighbours, too.
func (g *integrity) ours(path string) bool {
	return slices.ContainsFunc(g.roots, func(root string) bool {
		rel, err := filepath.Rel(root, path)
		return err == nil && (rel == "." || filepath.IsLocal(rel))
	})
}

// describe reads a file, its content only when something about it changed.
func (g *integrity) describe(ctx context.Context, path string, before record) (record, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return record{}, err
	}
	if info.IsDir() {
		return record{}, fs.ErrInvalid
	}
	r := record{Path: path, Size: info.Size(), Mode: info.Mode().String()}
	r.Owner, r.Stamp = owner(info)
	if r.Stamp == before.Stamp && r.Size == before.Size && r.Mode == before.Mode && r.Owner == before.Owner {
		r.Sum = before.Sum
		return r, nil
	}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		r.Sum, err = os.Readlink(path)
	case info.Mode().IsRegular() && info.Size() <= maxHashed:
		r.Sum, err = hash(ctx, path)
	}
	return r, err
}

func hash(ctx context.Context, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	for {
		n, err := io.CopyN(h, f, hashPortion)
		if errors.Is(err, io.EOF) {
			return hex.EncodeToString(h.Sum(nil)), nil
		}
		if err != nil {
			return "", fmt.Errorf("hash %s: %w", path, err)
		}
		if n == hashPortion && !wait(ctx, hashPause) {
			return "", ctx.Err()
		}
	}
}

// lines are the baseline as it is stored.
func (g *integrity) lines() []byte {
	paths := make([]string, 0, len(g.known))
	for p := range g.known {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	for _, p := range paths {
		_ = e.Encode(g.known[p]) // a buffer takes all
	}
	return b.Bytes()
}

// digest stands at the hub, so that a baseline that somebody changed is seen.
func (g *integrity) digest() string {
	sum := sha256.Sum256(g.lines())
	return hex.EncodeToString(sum[:])
}

func (g *integrity) save() {
	path := filepath.Join(g.deps.Dir, baselineFile)
	err := os.WriteFile(path+".new", g.lines(), 0o600)
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		g.deps.Log.Error("baseline of files not stored", "err", err)
	}
}

// load reads the baseline and says whether there is none.
func (g *integrity) load() (first bool) {
	f, err := os.Open(filepath.Join(g.deps.Dir, baselineFile))
	if err != nil {
		return true
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Buffer(nil, 64<<10)
	for s.Scan() && len(g.known) < maxRecords {
		var r record
		if json.Unmarshal(s.Bytes(), &r) == nil && g.ours(r.Path) {
			g.known[r.Path] = r
		}
	}
	if err := s.Err(); err != nil {
		g.deps.Log.Warn("baseline of files is damaged", "err", err)
	}
	return len(g.known) == 0
}
