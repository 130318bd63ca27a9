package restic

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
)

// What is the sort of a damage.
type What string

// Sorts of damage.
const (
	Missing    What = "missing"    // something names a file or blob that is not there
	Unreadable What = "unreadable" // the storage does not give the bytes
	WrongName  What = "name"       // the bytes are not those that the name is the SHA-256 of
	WrongMAC   What = "mac"        // changed bytes, or bytes that were never made with this key
	WrongID    What = "content"    // decrypted, but not the content that the id says
	Malformed  What = "malformed"  // decrypted, but it makes no sense
	Disagrees  What = "disagrees"  // pack and index say different things
)

// Damage is one thing that is wrong.
type Damage struct {
	File   string // path in the repository, with "/"
	Offset int64  // in the file, in bytes; -1: the whole file
	What   What
	Err    error
}

// Error names file, offset and reason.
func (d Damage) Error() string {
	if d.Offset < 0 {
		return fmt.Sprintf("%s: %s: %v", d.File, d.What, d.Err)
	}
	return fmt.Sprintf("%s: offset %d: %s: %v", d.File, d.Offset, d.What, d.Err)
}

// Unwrap returns the reason.
func (d Damage) Unwrap() error { return d.Err }

func unreadable(err error) What {
	if errors.Is(err, fs.ErrNotExist) {
		return Missing
	}
	return Unreadable
}

func whatOf(err error) What {
	switch {
	case errors.Is(err, ErrMAC):
		return WrongMAC
	case errors.Is(err, errContent), errors.Is(err, errCompressed):
		return WrongID
	}
	return Malformed
}

// Checked is what Verify says of a snapshot.
type Checked struct {
	Snapshot
	Sound bool // all of its trees and contents are there and undamaged
}

// Report is what Verify found.
type Report struct {
	Config    Config
	Packs     int
	Blobs     int
	Bytes     int64 // of packs
	Unindexed int   // packs that no index names: an interrupted backup leaves them, nothing needs them
	Snapshots []Checked
	Damages   []Damage // by file and offset
	More      int      // damages above maxDamages, which are only counted
	Leftovers []string // files that are none of a repository's, or of an interrupted write
}

// Sound says whether nothing is wrong.
func (r *Report) Sound() bool { return len(r.Damages) == 0 }

// maxDamages bounds the list of a Report.
const maxDamages = 10_000

// Progress is how far Verify has come.
type Progress struct {
	Packs, OfPacks int
	Bytes, OfBytes int64
}

// Options of Verify. The zero value is good.
type Options struct {
	Workers int // packs read at a time; 0: one per processor
	// Only chooses the packs that are read, for a read that goes on night after
	// night; snapshots are then not followed to their contents. Nil: all, and
	// they are.
	Only     func(ID) bool
	Progress func(Progress) // called after each pack, one call at a time
	Found    func(Damage)   // called for each damage at once, one call at a time
}

// Verify reads everything: every file's name against its bytes, every MAC,
// every blob against its id, headers against indexes, and the trees of every
// snapshot down to the last content. It goes on behind a damage. The error is
// that of a cancelled ctx or of a storage that cannot even be listed; the
// Report then holds what was found so far.
func (r *Repository) Verify(ctx context.Context, o Options) (*Report, error) {
	v := &verifier{r: r, o: o, report: &Report{}}
	err := v.run(ctx)
	slices.SortStableFunc(v.report.Damages, func(a, b Damage) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Offset, b.Offset))
	})
	slices.Sort(v.report.Leftovers)
	return v.report, err
}

type verifier struct {
	r     *Repository
	o     Options
	index *index

	mu     sync.Mutex // of what follows
	report *Report
	bad    []bool  // entries of the index whose blob cannot be used
	state  []uint8 // of trees, by the first entry: unseen, sound, unsound
	done   Progress
}

func (v *verifier) damage(file string, offset int64, what What, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	d := Damage{file, offset, what, err}
	if len(v.report.Damages) < maxDamages {
		v.report.Damages = append(v.report.Damages, d)
	} else {
		v.report.More++
	}
	if v.o.Found != nil {
		v.o.Found(d)
	}
}

func (v *verifier) run(ctx context.Context) error {
	if err := v.small(ctx); err != nil {
		return err
	}
	ix, err := loadIndex(ctx, v.r.back, v.r.key, func(d Damage) { v.damage(d.File, d.Offset, d.What, d.Err) }, v.leftover)
	if err != nil {
		return err
	}
	v.index, v.bad, v.state = ix, make([]bool, len(ix.entries)), make([]uint8, len(ix.entries))
	if err := v.packs(ctx); err != nil {
		return err
	}
	if v.o.Only != nil {
		return nil
	}
	for i := range v.report.Snapshots {
		s := &v.report.Snapshots[i]
		at := place{Snapshots.Path(s.ID.String()), -1}
		if s.Sound, err = v.tree(ctx, *s.Tree, at, 0); err != nil {
			return err
		}
	}
	return nil
}

// small reads config, keys, locks and snapshots.
func (v *verifier) small(ctx context.Context) error {
	c, err := v.r.Config(ctx)
	if err != nil {
		what := whatOf(err)
		if errors.Is(err, fs.ErrNotExist) {
			what = Missing
		}
		v.damage(ConfigFile.Path(""), -1, what, err)
	}
	v.report.Config = c
	for kind, check := range map[Kind]func([]byte) error{
		Keys:      func(raw []byte) error { _, err := ParseKeyFile(raw); return err },
		Locks:     func(raw []byte) error { _, err := v.r.key.Lock(raw); return err },
		Snapshots: v.snapshot,
	} {
		if err := v.each(ctx, kind, check); err != nil {
			return err
		}
	}
	slices.SortFunc(v.report.Snapshots, func(a, b Checked) int {
		return cmp.Or(a.Time.Compare(b.Time), strings.Compare(a.ID.String(), b.ID.String()))
	})
	return nil
}

// leftover notes a file that does not belong here.
func (v *verifier) leftover(path string) {
	if len(v.report.Leftovers) < maxDamages {
		v.report.Leftovers = append(v.report.Leftovers, path)
	}
}

func (v *verifier) snapshot(raw []byte) error {
	s, err := v.r.key.Snapshot(raw)
	if err == nil {
		v.report.Snapshots = append(v.report.Snapshots, Checked{Snapshot: s})
	}
	return err
}

// each reads all files of a kind and hands their bytes to check.
func (v *verifier) each(ctx context.Context, kind Kind, check func(raw []byte) error) error {
	files, err := list(ctx, v.r.back, kind, v.leftover)
	if err != nil {
		return err
	}
	for _, f := range files {
		raw, err := readNamed(ctx, v.r.back, kind, f.name)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		switch {
		case kind == Locks && errors.Is(err, fs.ErrNotExist): // its owner has finished meanwhile
		case errors.Is(err, errName):
			v.damage(kind.Path(f.name), -1, WrongName, err)
		case err != nil:
			v.damage(kind.Path(f.name), -1, unreadable(err), err)
		default:
			if err := check(raw); err != nil {
				v.damage(kind.Path(f.name), -1, whatOf(err), err)
			}
		}
	}
	return nil
}

// job is one pack to read.
type job struct {
	name  string
	size  int64
	known []uint32 // its entries in the index
	live  bool
}

// packs reads all packs.
func (v *verifier) packs(ctx context.Context) error {
	jobs, err := v.jobs(ctx)
	if err != nil {
		return err
	}
	queue := make(chan job)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(queue)
		for _, j := range jobs {
			select {
			case queue <- j:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for range cmp.Or(v.o.Workers, runtime.GOMAXPROCS(0)) {
		g.Go(func() error {
			var p packReader
			for j := range queue {
				if err := v.pack(ctx, &p, j); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// jobs lists the packs, and names those that only an index knows.
func (v *verifier) jobs(ctx context.Context) ([]job, error) {
	files, err := list(ctx, v.r.back, Data, v.leftover)
	if err != nil {
		return nil, err
	}
	there := make([]bool, len(v.index.packs))
	jobs := make([]job, 0, len(files))
	for _, f := range files {
		id, _ := ParseID(f.name) // list returns no other names
		j := job{name: f.name, size: f.size}
		if n, ok := v.index.number[id]; ok && v.index.starts[n] < v.index.starts[n+1] {
			j.known, j.live, there[n] = v.index.of(n), true, true
		} else {
			v.report.Unindexed++
		}
		if v.o.Only != nil && !v.o.Only(id) {
			continue
		}
		v.done.OfPacks++
		v.done.OfBytes += f.size
		jobs = append(jobs, j)
	}
	for n, ok := range there {
		if ok {
			continue
		}
		for _, i := range v.index.of(uint32(n)) {
			v.bad[i] = true
		}
		if v.index.live[n] && len(v.index.of(uint32(n))) > 0 { // else an index that was replaced names what was removed since
			v.damage(Data.Path(v.index.packs[n].String()), -1, Missing, errors.New("an index names this pack, which is not there"))
		}
	}
	return jobs, nil
}

func (v *verifier) pack(ctx context.Context, p *packReader, j job) error {
	f, err := v.r.back.Open(ctx, Data, j.name)
	if err != nil {
		v.damage(Data.Path(j.name), -1, unreadable(err), err)
		v.spoil(j.known)
		return ctx.Err()
	}
	defer f.Close()
	blobs := v.header(f, j)
	p.begin(f, j.size)
	precise := blobs == nil
	if blobs == nil { // what the index says of it is as good for finding what is lost
		for _, i := range j.known {
			blobs = append(blobs, v.index.entries[i].blob())
		}
	}
	for _, b := range blobs {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := p.blob(v.r.key, b); err != nil {
			precise = true
			what := whatOf(err)
			if p.err != nil {
				what = Unreadable
			}
			v.damage(Data.Path(j.name), int64(b.Offset), what, fmt.Errorf("%s blob %s: %w", b.Kind, b.ID, err))
			v.spoilBlob(j.known, b)
		}
	}
	if sum, err := p.end(ctx); err != nil {
		v.damage(Data.Path(j.name), -1, Unreadable, err)
	} else if sum.String() != j.name && !precise {
		v.damage(Data.Path(j.name), -1, WrongName, errName)
	}
	v.progress(j.size, len(blobs))
	return ctx.Err()
}

// header reads a pack's own table and compares it with the index. It returns
// nil when there is none that can be read.
func (v *verifier) header(f File, j job) []Blob {
	blobs, at, err := v.r.key.Header(f, j.size)
	if err != nil {
		if at < 0 {
			at = max(0, j.size-lengthSize)
		}
		v.damage(Data.Path(j.name), at, whatOf(err), err)
		return nil
	}
	if !j.live {
		return blobs
	}
	said := make(map[Blob]bool, len(blobs))
	for _, b := range blobs {
		said[b] = true
	}
	for _, i := range j.known {
		b := v.index.entries[i].blob()
		if said[b] {
			delete(said, b)
			continue
		}
		v.damage(Data.Path(j.name), int64(b.Offset), Disagrees, fmt.Errorf("an index says that %s blob %s lies here, the pack's header does not", b.Kind, b.ID))
		v.spoil([]uint32{i})
	}
	for _, b := range blobs { // in their order
		if said[b] {
			v.damage(Data.Path(j.name), int64(b.Offset), Disagrees, fmt.Errorf("the pack's header names %s blob %s, no index does", b.Kind, b.ID))
		}
	}
	return blobs
}

// spoil marks entries of the index whose blobs cannot be used.
func (v *verifier) spoil(entries []uint32) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, i := range entries {
		v.bad[i] = true
	}
}

func (v *verifier) spoilBlob(known []uint32, b Blob) {
	for _, i := range known {
		if v.index.entries[i].blob() == b {
			v.spoil([]uint32{i})
		}
	}
}

func (v *verifier) progress(bytes int64, blobs int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.report.Packs++
	v.report.Bytes += bytes
	v.report.Blobs += blobs
	v.done.Packs++
	v.done.Bytes += bytes
	if v.o.Progress != nil {
		v.o.Progress(v.done)
	}
}

// packReader reads a pack once from its beginning to its end. Its buffers are
// used again for the next one.
type packReader struct {
	f      io.ReaderAt
	size   int64
	at     int64
	err    error // of the storage
	sum    [sha256.Size]byte
	hasher hasher
	box    []byte
	text   []byte
}

type hasher interface {
	io.Writer
	Sum([]byte) []byte
	Reset()
}

func (p *packReader) begin(f io.ReaderAt, size int64) {
	if p.hasher == nil {
		p.hasher = sha256.New()
	}
	p.hasher.Reset()
	p.f, p.size, p.at, p.err = f, size, 0, nil
}

// piece is how much is read at a time where there is no blob.
const piece = 1 << 20

// blob checks one blob; its bytes go into the sum too. Blobs come by offset;
// what lies between them is read over.
func (p *packReader) blob(k *Key, b Blob) error {
	if int64(b.Offset)+int64(b.Length) > p.size {
		return fmt.Errorf("it ends behind the end of the pack at %d", p.size)
	}
	if int64(b.Offset) < p.at {
		return errors.New("it lies upon the blob before")
	}
	if err := p.skip(int64(b.Offset)); err != nil {
		return err
	}
	box, err := p.take(int64(b.Length))
	if err != nil {
		return err
	}
	text, err := k.blob(box, b, p.text)
	if b.Plain > 0 && cap(text) > cap(p.text) {
		p.text = text
	}
	return err
}

// take reads the next n bytes into the buffer.
func (p *packReader) take(n int64) ([]byte, error) {
	if p.err != nil {
		return nil, p.err
	}
	if int64(cap(p.box)) < n {
		p.box = make([]byte, n)
	}
	box := p.box[:n]
	if _, err := io.ReadFull(io.NewSectionReader(p.f, p.at, n), box); err != nil {
		p.err = fmt.Errorf("read at %d: %w", p.at, err)
		return nil, p.err
	}
	p.at += n
	_, _ = p.hasher.Write(box) // a hash.Hash returns no error
	return box, nil
}

func (p *packReader) skip(to int64) error {
	for p.at < to {
		if _, err := p.take(min(piece, to-p.at)); err != nil {
			return err
		}
	}
	return nil
}

// end reads the rest and returns the sum of all.
func (p *packReader) end(ctx context.Context) (ID, error) {
	for p.at < p.size {
		if err := ctx.Err(); err != nil {
			return ID{}, err
		}
		if _, err := p.take(min(piece, p.size-p.at)); err != nil {
			return ID{}, err
		}
	}
	return ID(p.hasher.Sum(p.sum[:0])), nil
}

// States of a tree.
const (
	unseen uint8 = iota
	sound
	unsound
)

// place is where something is named.
type place struct {
	file   string
	offset int64
}

// tree checks a tree and all below it; namedAt is what names it. Each is read
// once, however many snapshots share it.
func (v *verifier) tree(ctx context.Context, id ID, namedAt place, depth int) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	lo, hi := v.index.find(TreeBlob, id)
	if lo == hi {
		v.damage(namedAt.file, namedAt.offset, Missing, fmt.Errorf("it names tree blob %s: %w", id, ErrMissing))
		return false, nil
	}
	if s := v.state[lo]; s != unseen {
		return s == sound, nil
	}
	v.state[lo] = unsound // until the end is reached
	if depth > maxDepth {
		v.damage(namedAt.file, namedAt.offset, Malformed, fmt.Errorf("folders lie more than %d deep", maxDepth))
		return false, nil
	}
	raw, e := v.load(ctx, lo, hi)
	if raw == nil {
		return false, ctx.Err() // the damage was named where it lies
	}
	at := place{Data.Path(v.index.packs[e.pack].String()), int64(e.offset)}
	subtrees, ok := v.nodes(raw, at)
	for _, sub := range subtrees {
		below, err := v.tree(ctx, sub, at, depth+1)
		if err != nil {
			return false, err
		}
		ok = ok && below
	}
	if ok {
		v.state[lo] = sound
	}
	return ok, nil
}

// load reads the first copy of a blob that can be used.
func (v *verifier) load(ctx context.Context, lo, hi int) ([]byte, *entry) {
	for i := lo; i < hi; i++ {
		if v.bad[i] {
			continue
		}
		e := &v.index.entries[i]
		raw, err := v.r.read(ctx, v.index.packs[e.pack], e.blob(), nil)
		if err == nil {
			return raw, e
		}
		if ctx.Err() == nil { // it could be read a moment ago
			v.damage(Data.Path(v.index.packs[e.pack].String()), int64(e.offset), whatOf(err), err)
		}
	}
	return nil, nil
}

// nodes checks the entries of a tree and returns the trees below it.
func (v *verifier) nodes(raw []byte, at place) (subtrees []ID, ok bool) {
	lost, unsound := 0, false
	var first error
	err := parseTree(raw, func(n *Node) error {
		if n.Subtree != nil {
			subtrees = append(subtrees, *n.Subtree)
		}
		size := uint64(0)
		for _, id := range n.Content {
			lo, hi := v.index.find(DataBlob, id)
			if lo == hi {
				if lost++; first == nil {
					first = fmt.Errorf("content %s of %.80q: %w", id, n.Name, ErrMissing)
				}
				continue
			}
			size += uint64(v.index.entries[lo].blob().Size())
			unsound = unsound || !slices.Contains(v.bad[lo:hi], false)
		}
		if first == nil && n.Type == "file" && size != n.Size {
			first = fmt.Errorf("%.80q has %d bytes, its content %d", n.Name, n.Size, size)
			lost++
		}
		return nil
	})
	if err != nil {
		v.damage(at.file, at.offset, Malformed, fmt.Errorf("tree: %w", err))
		return subtrees, false
	}
	if lost > 0 {
		v.damage(at.file, at.offset, Missing, fmt.Errorf("tree: %d contents are lost, the first: %w", lost, first))
	}
	return subtrees, lost == 0 && !unsound
}
