package copy

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/restic"
)

// Result is what one cycle came to for one agent at one place. Its versions are
// the history of the copy.
type Result struct {
	PlaceID  string `json:"place"`
	Agent    string `json:"agent"`
	MediumID string `json:"medium,omitempty"`

	Began time.Time `json:"began"`
	Ended time.Time `json:"ended"`
	At    time.Time `json:"at"`    // end of the last cycle that brought everything over; zero: never
	Files int       `json:"files"` // brought over in this cycle
	Bytes int64     `json:"bytes"`

	Stopped   bool      `json:"stopped,omitempty"` // a person ended this cycle
	AllFiles  int       `json:"all_files"`         // at the place
	AllBytes  int64     `json:"all_bytes"`
	Snapshots int       `json:"snapshots"`
	Oldest    time.Time `json:"oldest"` // oldest and newest snapshot by their own time; zero: not known
	Newest    time.Time `json:"newest"`

	ReadAt time.Time `json:"read_at"` // when every byte was last read back; zero: never
	Sound  bool      `json:"sound"`   // nothing was wrong then, nor later

	LockedUntil time.Time `json:"locked_until"` // all that the newest state needs (lock)
	Proven      bool      `json:"proven"`       // the storage refused to shorten, remove and overwrite in this cycle (lock)

	Problem  string   `json:"problem,omitempty"`  // key of the words for what is wrong
	Tampered bool     `json:"tampered,omitempty"` // somebody touched it or its lock, whatever Problem says besides
	Why      string   `json:"why,omitempty"`      // for whoever repairs it
	Damaged  []string `json:"damaged,omitempty"`  // the first files that were wrong or gone
	Damages  int      `json:"damages,omitempty"`  // all of them
	Repaired int      `json:"repaired,omitempty"` // of them, laid down anew from the source
}

// Problems of a copy: keys of their words.
const (
	Damage        = "protect.copy.problem.damaged" // bytes are not what they were
	Touched       = "protect.copy.problem.touched" // files were removed or overlaid by somebody
	SourceDamaged = "protect.copy.problem.source"  // the repository at the hub is damaged
	Failed        = "protect.copy.problem.failed"  // the place cannot be reached, or has no room
	LockLost      = "protect.copy.problem.lock"    // the storage does not lock
)

// maxDamaged bounds Result.Damaged.
const maxDamaged = 20

// file is one file of a repository.
type file struct {
	kind restic.Kind
	name string
	size int64
}

type fileKey struct {
	kind restic.Kind
	name string
}

func (f file) key() fileKey { return fileKey{f.kind, f.name} }

// order is that in which files are brought over: what names something comes
// after it, and config, without which nothing is a repository, at last.
var order = []restic.Kind{restic.Data, restic.Index, restic.Snapshots, restic.Keys, restic.ConfigFile}

// listing returns all files of a repository. What names something is listed
// before it: whatever is added meanwhile is not missed by what names it.
func listing(ctx context.Context, b restic.Backend) ([]file, error) {
	var all []file
	for _, kind := range slices.Backward(order) {
		if kind == restic.ConfigFile {
			f, err := b.Open(ctx, kind, "")
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			all = append(all, file{kind, "", f.Size()})
			if err := f.Close(); err != nil {
				return nil, err
			}
			continue
		}
		err := b.List(ctx, kind, func(name string, size int64) error {
			if _, err := restic.ParseID(name); err == nil && size >= 0 {
				all = append(all, file{kind, name, size})
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// cycle brings the copy of one agent up to date and proves it.
type cycle struct {
	src       restic.Backend
	passwords []string
	to        target
	limit     *rate.Limiter // nil: no bound
	now       time.Time
	reread    bool // everything is read back, however old the last time is
	progress  func(step string, files, ofFiles int, bytes, ofBytes int64)

	files []file      // of the source
	key   *restic.Key // nil: nobody here knows a password
	mu    sync.Mutex
	res   *Result
	held  bool // the storage held its lock the last time
}

// copiers is how many files are brought over at a time.
const copiers = 4

// run does the whole cycle. What is wrong with the copy stands in the result;
// the error is why the cycle ended early.
func (c *cycle) run(ctx context.Context) error {
	var err error
	if c.files, err = listing(ctx, c.src); err != nil {
		return fmt.Errorf("list the repository: %w", err)
	}
	if len(c.passwords) > 0 {
		if c.key, err = open(ctx, c.src, c.passwords); err != nil {
			return fmt.Errorf("open the repository: %w", err)
		}
	}
	there, err := listing(ctx, c.to)
	if err != nil {
		return fmt.Errorf("list the copy: %w", err)
	}
	if gone := c.res.AllFiles - len(there); gone > 0 {
		c.wrong(Touched, fmt.Sprintf("%d files less than after the last cycle", gone))
	}
	again, err := c.overlaid(ctx)
	if err != nil {
		return err
	}
	if err := c.bring(ctx, append(there, again...)); err != nil {
		return err
	}
	if err := c.lock(ctx); err != nil {
		return err
	}
	return c.readBack(ctx)
}

// wrong notes a problem. The first one is the one that is told; damage comes
// before all others.
func (c *cycle) wrong(problem, why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.res.Problem == "" || problem == Damage {
		c.res.Problem, c.res.Why = problem, why
	}
	c.res.Tampered = c.res.Tampered || tampering(problem, c.held)
	c.res.Sound = false
}

// tampering says whether a problem is somebody's doing: media fail and lines
// break, but no file removes itself and no storage forgets a lock that it held the
// last time. One that never held any was set up wrongly.
func tampering(problem string, held bool) bool {
	return problem == Touched || problem == LockLost && held
}

// harmed notes a file that is not what it was, and whether it is again.
func (c *cycle) harmed(f file, repaired bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.res.Damages++
	if len(c.res.Damaged) < maxDamaged {
		c.res.Damaged = append(c.res.Damaged, f.kind.Path(f.name))
	}
	if repaired {
		c.res.Repaired++
	}
}

// overlaid looks at files over which somebody laid something, and lays them
// down anew: it returns these. What is right was repaired in an earlier cycle.
func (c *cycle) overlaid(ctx context.Context) (again []file, err error) {
	l, ok := c.to.(*locked)
	if !ok {
		return nil, nil
	}
	if err := l.versions(ctx, restic.ConfigFile, l.name(restic.ConfigFile, ""), func(string, int64) error { return nil }); err != nil {
		return nil, err
	}
	touched := map[fileKey]bool{}
	for _, f := range l.touched {
		touched[f.key()] = true
	}
	for _, f := range c.files {
		if !touched[f.key()] {
			continue
		}
		want, err := c.sum(ctx, c.src, f)
		if err != nil {
			return nil, err
		}
		if got, err := c.sum(ctx, c.to, f); err == nil && got == want {
			continue
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		c.wrong(Touched, f.kind.Path(f.name)+" was removed or overlaid")
		if err := c.repair(ctx, f); err != nil {
			return nil, err
		}
		again = append(again, f)
	}
	return again, nil
}

// repair lays a file down anew.
func (c *cycle) repair(ctx context.Context, f file) error {
	if err := c.one(ctx, f, true); err != nil {
		c.harmed(f, false)
		return err
	}
	c.harmed(f, true)
	return nil
}

// bring copies what is not there yet, kind by kind.
func (c *cycle) bring(ctx context.Context, there []file) error {
	have := make(map[fileKey]int64, len(there))
	for _, f := range there {
		have[f.key()] = f.size
	}
	var todo []file
	var files int
	var bytes int64
	for _, f := range c.files {
		size, ok := have[f.key()]
		if ok && size == f.size {
			continue
		}
		if ok {
			c.wrong(Damage, fmt.Sprintf("%s has %d bytes instead of %d", f.kind.Path(f.name), size, f.size))
			if err := c.repair(ctx, f); err != nil {
				return err
			}
			continue
		}
		todo = append(todo, f)
		files, bytes = files+1, bytes+f.size
	}
	for _, kind := range order {
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(copiers)
		for _, f := range todo {
			if f.kind != kind {
				continue
			}
			g.Go(func() error {
				if err := c.one(ctx, f, false); err != nil {
					return err
				}
				c.count(f, files, bytes)
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
	}
	return nil
}

func (c *cycle) count(f file, files int, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.res.Files++
	c.res.Bytes += f.size
	c.progress("copy", c.res.Files, files, c.res.Bytes, bytes)
}

// one copies one file and reads it back.
func (c *cycle) one(ctx context.Context, f file, over bool) error {
	from, err := c.src.Open(ctx, f.kind, f.name)
	if err != nil {
		return fmt.Errorf("read %s of the repository: %w", f.kind.Path(f.name), err)
	}
	defer from.Close()
	r := &proven{ctx: ctx, r: io.NewSectionReader(from, 0, from.Size()), limit: c.limit, want: f}
	if err := c.to.put(ctx, f.kind, f.name, r, f.size, over); err != nil {
		if r.bad != nil {
			return r.bad
		}
		return fmt.Errorf("write %s: %w", f.kind.Path(f.name), err)
	}
	got, err := c.sum(ctx, c.to, f)
	if err != nil {
		return fmt.Errorf("read back %s: %w", f.kind.Path(f.name), err)
	}
	if got != r.sum {
		return fault.New(fault.Conflict, Damage).With(fmt.Errorf("%s is not what was written a moment ago", f.kind.Path(f.name)))
	}
	return nil
}

// sum reads a whole file.
func (c *cycle) sum(ctx context.Context, b restic.Backend, f file) ([sha256.Size]byte, error) {
	in, err := b.Open(ctx, f.kind, f.name)
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	defer in.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, &proven{ctx: ctx, r: io.NewSectionReader(in, 0, in.Size()), limit: c.limit}); err != nil {
		return [sha256.Size]byte{}, err
	}
	return [sha256.Size]byte(hash.Sum(nil)), nil
}

// proven reads slowly enough, and refuses the end of what is not named after
// its SHA-256: a damaged file is then never given its name.
type proven struct {
	ctx   context.Context
	r     io.Reader
	limit *rate.Limiter
	want  file // zero: not compared
	hash  interface {
		io.Writer
		Sum([]byte) []byte
	}
	sum [sha256.Size]byte
	bad error
}

// portion is how much is read at a time where a rate is kept, in bytes.
const portion = 64 << 10

func (p *proven) Read(b []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	if p.bad != nil {
		return 0, p.bad
	}
	if p.hash == nil {
		p.hash = sha256.New()
	}
	n, err := p.r.Read(b[:min(len(b), portion)])
	_, _ = p.hash.Write(b[:n]) // a hash returns no error
	if n > 0 && p.limit != nil {
		if e := p.limit.WaitN(p.ctx, n); e != nil {
			return 0, e
		}
	}
	if errors.Is(err, io.EOF) {
		p.sum = [sha256.Size]byte(p.hash.Sum(nil))
		if p.want.name != "" && restic.ID(p.sum).String() != p.want.name {
			p.bad = fault.New(fault.Conflict, SourceDamaged).With(fmt.Errorf("%s of the repository is not named after its SHA-256", p.want.kind.Path(p.want.name)))
			return 0, p.bad
		}
	}
	return n, err
}

// limiter bounds bytes in a second; nil without a bound.
func limiter(kib int) *rate.Limiter {
	if kib == 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(kib<<10), max(portion, kib<<10/4))
}

// lock extends the locks of all that the newest state needs, and proves that
// the storage holds them.
func (c *cycle) lock(ctx context.Context) error {
	l, ok := c.to.(*locked)
	if !ok {
		return nil
	}
	c.res.Proven, c.res.LockedUntil = false, time.Time{}
	if err := l.prove(ctx); err != nil {
		if fault.Of(err) == fault.Invalid {
			c.wrong(LockLost, err.Error())
		}
		return err
	}
	c.res.Proven = true
	needed, err := c.needed(ctx)
	if err != nil {
		return err
	}
	done := 0
	c.res.LockedUntil, err = l.extend(ctx, needed, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		done++
		c.progress("lock", done, len(needed), 0, 0)
	})
	return err
}

// needed is all files but the packs that no index names any more. Without a
// password that cannot be said, and all are needed.
func (c *cycle) needed(ctx context.Context) ([]file, error) {
	if c.key == nil {
		return c.files, nil
	}
	live, err := livePacks(ctx, c.src, c.key, c.files)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(c.files), func(f file) bool { return f.kind == restic.Data && !live[f.name] }), nil
}

// livePacks are the packs that indexes name which no other index replaces.
func livePacks(ctx context.Context, b restic.Backend, key *restic.Key, files []file) (map[string]bool, error) {
	packs, replaced := map[string][]string{}, map[string]bool{}
	for _, f := range files {
		if f.kind != restic.Index {
			continue
		}
		raw, err := whole(ctx, b, f)
		if err != nil {
			return nil, err
		}
		replaces, err := key.Index(raw, func(p restic.PackBlobs) error {
			packs[f.name] = append(packs[f.name], p.Pack.String())
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.kind.Path(f.name), err)
		}
		for _, id := range replaces {
			replaced[id.String()] = true
		}
	}
	live := map[string]bool{}
	for index, names := range packs {
		for _, name := range names {
			live[name] = live[name] || !replaced[index]
		}
	}
	return live, nil
}

// maxIndex bounds an index that is read at once, in bytes.
const maxIndex = 128 << 20

func whole(ctx context.Context, b restic.Backend, f file) ([]byte, error) {
	if f.size > maxIndex {
		return nil, fmt.Errorf("%s has %d bytes", f.kind.Path(f.name), f.size)
	}
	in, err := b.Open(ctx, f.kind, f.name)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	raw := make([]byte, f.size)
	_, err = io.ReadFull(io.NewSectionReader(in, 0, f.size), raw)
	return raw, err
}

// open finds the key of a repository with the first password that fits.
func open(ctx context.Context, b restic.Backend, passwords []string) (*restic.Key, error) {
	var errs []error
	for _, password := range passwords {
		r, err := restic.Open(ctx, b, password)
		if err == nil {
			return r.Key(), nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// readBack counts what lies at the place, and reads all of it where it is time.
func (c *cycle) readBack(ctx context.Context) error {
	there, err := listing(ctx, c.to)
	if err != nil {
		return fmt.Errorf("list the copy: %w", err)
	}
	c.res.AllFiles, c.res.AllBytes, c.res.Snapshots = len(there), 0, 0
	for _, f := range there {
		c.res.AllBytes += f.size
		if f.kind == restic.Snapshots {
			c.res.Snapshots++
		}
	}
	var repo *restic.Repository
	if c.key != nil { // the copy's key files are the same bytes
		repo = restic.OpenWith(c.to, c.key)
		if c.res.Oldest, c.res.Newest, err = span(ctx, repo); err != nil {
			return err
		}
	}
	if !c.reread {
		return nil
	}
	damaged, err := c.readAll(ctx, repo, there)
	if err != nil {
		return err
	}
	c.res.ReadAt, c.res.Sound = c.now, c.res.Problem == ""
	return c.mend(ctx, damaged)
}

// span is the time of the oldest and of the newest snapshot.
func span(ctx context.Context, repo *restic.Repository) (oldest, newest time.Time, err error) {
	all, err := repo.Snapshots(ctx)
	if err != nil {
		return oldest, newest, fmt.Errorf("read snapshots of the copy: %w", err)
	}
	for _, s := range all {
		if s.Time.After(newest) {
			newest = s.Time
		}
		if oldest.IsZero() || s.Time.Before(oldest) {
			oldest = s.Time
		}
	}
	return oldest.UTC(), newest.UTC(), nil
}

// readAll reads every byte: by our reader of the format, with every MAC and
// every content, or where nobody here knows the password, against the names.
func (c *cycle) readAll(ctx context.Context, repo *restic.Repository, there []file) (damaged []string, err error) {
	if repo != nil {
		report, err := repo.Verify(ctx, restic.Options{Progress: func(p restic.Progress) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.progress("verify", p.Packs, p.OfPacks, p.Bytes, p.OfBytes)
		}})
		if err != nil {
			return nil, fmt.Errorf("read the copy back: %w", err)
		}
		for _, d := range report.Damages {
			if !slices.Contains(damaged, d.File) {
				damaged = append(damaged, d.File)
			}
			c.wrong(Damage, d.Error())
		}
		return damaged, nil
	}
	for i, f := range there {
		if f.kind == restic.ConfigFile { // it has no name to compare with
			continue
		}
		sum, err := c.sum(ctx, c.to, f)
		if err != nil {
			return nil, fmt.Errorf("read the copy back: %w", err)
		}
		if restic.ID(sum).String() != f.name {
			damaged = append(damaged, f.kind.Path(f.name))
			c.wrong(Damage, f.kind.Path(f.name)+": its bytes are not those that its name is the SHA-256 of")
		}
		c.progress("verify", i+1, len(there), 0, 0)
	}
	return damaged, nil
}

// mend lays down anew what is damaged. It counts as sound when the next cycle
// has read everything again.
func (c *cycle) mend(ctx context.Context, damaged []string) error {
	for _, path := range damaged {
		i := slices.IndexFunc(c.files, func(f file) bool { return f.kind.Path(f.name) == path })
		if i < 0 { // only the copy has it
			kind, name, _ := strings.Cut(path, "/")
			c.harmed(file{kind: restic.Kind(kind), name: name[strings.LastIndex(name, "/")+1:]}, false)
			continue
		}
		f := c.files[i]
		want, err := c.sum(ctx, c.src, f)
		if err != nil {
			return err
		}
		if got, err := c.sum(ctx, c.to, f); err == nil && got == want {
			continue // it is as at the source: what is wrong lies in a file that it names
		}
		if err := c.repair(ctx, f); err != nil {
			return err
		}
	}
	return nil
}
