package anomaly

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"path"
	"slices"
	"strings"

	"github.com/sonae/sonae/protect/restic"
)

// Bounds of what is read and remembered for one snapshot.
const (
	maxCompared = 1500      // files whose content is compared with what it was
	maxNew      = 500       // new files that are looked into
	maxRead     = 256 << 20 // bytes of contents
	maxWhole    = 8 << 20   // of a file that is read whole
	maxArchive  = 64 << 20  // of an archive that may explain what is gone
	maxArchives = 20
	maxKeys     = 200_000 // contents that are remembered to find what only moved
	maxEndings  = 4000
)

// File is one file with a sign.
type File struct {
	Path string `json:"path"`
	Was  string `json:"was,omitempty"` // path before, where it is another one
	Sign string `json:"sign"`
	Size uint64 `json:"size"`
	// Before and after; -1 where not known.
	OldEntropy float64 `json:"old_entropy"`
	Entropy    float64 `json:"entropy"`
	OldRatio   float64 `json:"old_ratio"`
	Ratio      float64 `json:"ratio"`
}

// Numbers is what a snapshot is, compared with the one before it. Counts are of
// plain files, sizes in bytes.
type Numbers struct {
	Files    int    `json:"files"`
	Bytes    uint64 `json:"bytes"`
	Changed  int    `json:"changed"`
	New      int    `json:"new"`
	Removed  int    `json:"removed"`
	Replaced int    `json:"replaced"` // by a file whose name is made of the old one
	Moved    int    `json:"moved"`
	Archived int    `json:"archived"` // of the removed ones: found again in a new archive

	Compared int            `json:"compared"` // whose content was looked at, of Changed and Replaced
	Looked   int            `json:"looked"`   // of New
	Signs    map[string]int `json:"signs"`    // how many files bear each, projected onto all changes

	Ending   string  `json:"ending,omitempty"` // the most frequent one that this host never had
	Endings  int     `json:"endings,omitempty"`
	Rewrote  uint64  `json:"rewrote"`   // bytes of changed files of which no blob stayed
	OldRatio float64 `json:"old_ratio"` // stored / size of the compared files, before and after
	Ratio    float64 `json:"ratio"`

	Canaries []string `json:"canaries,omitempty"`
	Streams  []Stream `json:"streams,omitempty"` // that are new or changed
}

// Lost is the number of files that were made unusable.
func (n Numbers) Lost() int {
	sum := 0
	for _, s := range []string{SignMagic, SignStructure, SignTail, SignWindow, SignChi2, SignRatio} {
		sum += n.Signs[s]
	}
	return sum
}

// Touched is the number of files that were there and are not as they were.
func (n Numbers) Touched() int { return n.Changed + n.Replaced + n.Removed }

// key names a content.
type key uint64

func keyOf(n *restic.Node) key {
	h := fnv.New64a()
	for i := range n.Content {
		h.Write(n.Content[i][:8])
	}
	return key(h.Sum64())
}

// nameKey names a file that may lie in an archive now.
func nameKey(name string, size uint64) key {
	h := fnv.New64a()
	_, _ = io.WriteString(h, path.Base(name))
	_ = binary.Write(h, binary.LittleEndian, size)
	return key(h.Sum64())
}

// sample keeps some of many, each as likely as the others.
type sample struct {
	most, seen int
	all        []change
	rnd        *rand.Rand
}

func (s *sample) add(c change) {
	s.seen++
	if len(s.all) < s.most {
		s.all = append(s.all, c)
	} else if i := s.rnd.IntN(s.seen); i < s.most {
		s.all[i] = c
	}
}

// meter counts what changed between two snapshots.
type meter struct {
	repo                               *restic.Repository
	n                                  Numbers
	endings                            map[string]int // known ones; they are not changed here
	strange                            map[string]int // endings that are not
	fresh                              map[string]int // how often each ending came, less how often it went
	canary                             func(path string) bool
	compare                            sample
	news                               sample
	gone                               map[key]int // contents that were removed
	came                               map[key]int // contents that are new
	names                              map[key]int // removed files by name and size
	archives                           []change
	source                             string   // of the job that made the snapshot; empty: not known
	big                                []change // that may be of streams
	left                               int64    // bytes that may still be read
	oldSize, nowSize, oldKept, nowKept uint64
	files                              []File // with a sign
}

func newMeter(repo *restic.Repository, seed restic.ID, endings map[string]int, canary func(string) bool) *meter {
	rnd := func(i uint64) *rand.Rand { return rand.New(rand.NewPCG(binary.LittleEndian.Uint64(seed[:8]), i)) }
	return &meter{repo: repo, endings: endings, strange: map[string]int{}, fresh: map[string]int{}, canary: canary, left: maxRead,
		compare: sample{most: maxCompared, rnd: rnd(1)}, news: sample{most: maxNew, rnd: rnd(2)},
		gone: map[key]int{}, came: map[key]int{}, names: map[key]int{}, n: Numbers{Signs: map[string]int{}}}
}

// measure compares two trees; old is nil for the first snapshot. files and size
// are those of the old one.
func (m *meter) measure(ctx context.Context, old, now *restic.ID, files int, size uint64) (Numbers, error) {
	m.n.Files, m.n.Bytes = files, size
	w := walker{m.repo, m.take}
	if err := w.folder(ctx, old, now, "/", 0); err != nil {
		return Numbers{}, err
	}
	if err := m.streams(ctx); err != nil {
		return Numbers{}, err
	}
	if old == nil { // nothing to compare with
		return Numbers{Files: m.n.Files, Bytes: m.n.Bytes, New: m.n.New, Signs: map[string]int{}, Streams: m.n.Streams}, nil
	}
	m.moved()
	if err := m.look(ctx); err != nil {
		return Numbers{}, err
	}
	if err := m.explain(ctx); err != nil {
		return Numbers{}, err
	}
	m.ending()
	return m.n, nil
}

// take counts one change.
func (m *meter) take(c change) error {
	if c.Now != nil {
		m.n.Bytes += c.Now.Size
	}
	if c.Old != nil {
		m.n.Bytes -= min(m.n.Bytes, c.Old.Size)
	}
	if m.canary != nil && c.Old != nil && (m.canary(c.Path) || c.Was != "" && m.canary(c.Was)) && len(m.n.Canaries) < 20 {
		m.n.Canaries = append(m.n.Canaries, c.Path)
	}
	m.weigh(c)
	switch c.What {
	case Added:
		m.n.New, m.n.Files = m.n.New+1, m.n.Files+1
		m.endingOf(c.Path, 1)
		m.remember(m.came, keyOf(c.Now))
		if len(m.archives) < maxArchives && archiveName(c.Path) && c.Now.Size <= maxArchive {
			m.archives = append(m.archives, c)
		}
		m.news.add(slim(c))
	case Removed:
		m.n.Removed, m.n.Files = m.n.Removed+1, m.n.Files-1
		m.endingOf(c.Path, -1)
		m.remember(m.gone, keyOf(c.Old))
		m.remember(m.names, nameKey(c.Path, c.Old.Size))
	case Replaced:
		m.endingOf(c.Path, 1)
		m.endingOf(c.Was, -1)
		if slices.Equal(c.Old.Content, c.Now.Content) {
			m.n.Moved++
			return nil
		}
		m.n.Replaced++
		m.compare.add(slim(c))
	case Changed:
		m.n.Changed++
		if !overlap(c.Old, c.Now) {
			m.n.Rewrote += c.Now.Size
		}
		m.compare.add(slim(c))
	}
	return nil
}

func (m *meter) remember(all map[key]int, k key) {
	if _, known := all[k]; known || len(all) < maxKeys {
		all[k]++
	}
}

// moved finds files that only lie somewhere else now.
func (m *meter) moved() {
	for k, n := range m.gone {
		both := min(n, m.came[k])
		m.n.Moved, m.n.New, m.n.Removed = m.n.Moved+both, m.n.New-both, m.n.Removed-both
	}
	m.news.all = slices.DeleteFunc(m.news.all, func(c change) bool { return m.gone[keyOf(c.Now)] > 0 })
}

// overlap says whether two versions share a blob.
func overlap(a, b *restic.Node) bool {
	has := make(map[restic.ID]bool, len(a.Content))
	for _, id := range a.Content {
		has[id] = true
	}
	return slices.ContainsFunc(b.Content, func(id restic.ID) bool { return has[id] })
}

// ending is the end of a name that says what a file is; numbers are all one.
func ending(name string) string {
	e := strings.ToLower(path.Ext(name))
	switch {
	case len(e) < 2 || len(e) > 24:
		return ""
	case strings.Trim(e[1:], "0123456789") == "":
		return ".0"
	}
	return e
}

func (m *meter) endingOf(name string, n int) {
	e := ending(name)
	if _, known := m.fresh[e]; known || len(m.fresh) < maxEndings {
		m.fresh[e] += n
	}
	if _, known := m.endings[e]; e == "" || known || n < 0 {
		return
	}
	if _, there := m.strange[e]; there || len(m.strange) < maxEndings {
		m.strange[e]++
	}
}

// ending picks the unknown one that came most often.
func (m *meter) ending() {
	for e, n := range m.strange {
		if n > m.n.Endings || n == m.n.Endings && e < m.n.Ending {
			m.n.Ending, m.n.Endings = e, n
		}
	}
}

// fewIDs is how many blobs of a file are remembered until it is looked at.
const fewIDs = 64

// slim forgets most of the blobs of files that have many.
func slim(c change) change {
	cut := func(n *restic.Node) *restic.Node {
		if n == nil {
			return nil
		}
		out := &restic.Node{Name: n.Name, Type: n.Type, Size: n.Size, ModTime: n.ModTime, Content: n.Content}
		if len(n.Content) > fewIDs {
			out.Content = slices.Concat(n.Content[:fewIDs/2], n.Content[len(n.Content)-fewIDs/2:])
		}
		return out
	}
	c.Old, c.Now = cut(c.Old), cut(c.Now)
	return c
}

// look reads contents, within the bounds, and projects what it finds.
func (m *meter) look(ctx context.Context) error {
	found := map[string]int{}
	for _, c := range m.compare.all {
		if m.left <= 0 {
			break
		}
		sign, f, err := m.pairOf(ctx, c)
		if err != nil {
			return err
		}
		m.n.Compared++
		m.note(found, sign, f)
	}
	m.project(found, m.compare.seen, m.n.Compared)
	found = map[string]int{}
	for _, c := range m.news.all {
		if m.left <= 0 {
			break
		}
		now, err := m.version(ctx, c.Now, nil)
		if err != nil {
			return err
		}
		m.n.Looked++
		m.note(found, alone(now), File{Path: c.Path, Size: c.Now.Size, Entropy: now.Entropy, Ratio: now.Ratio, OldEntropy: -1, OldRatio: -1})
	}
	m.project(found, m.n.New, m.n.Looked)
	m.n.OldRatio, m.n.Ratio = share(m.oldKept, m.oldSize), share(m.nowKept, m.nowSize)
	return nil
}

func share(part, all uint64) float64 {
	if all == 0 {
		return 0
	}
	return min(1, float64(part)/float64(all))
}

func (m *meter) note(found map[string]int, sign string, f File) {
	if sign == "" {
		return
	}
	found[sign]++
	f.Sign = sign
	m.files = append(m.files, f)
}

// project takes what was found in some files for all of them.
func (m *meter) project(found map[string]int, all, looked int) {
	for sign, n := range found {
		m.n.Signs[sign] += (n*max(all, looked) + looked/2) / looked
	}
}

// pairOf compares two versions of a file.
func (m *meter) pairOf(ctx context.Context, c change) (string, File, error) {
	old, err := m.version(ctx, c.Old, c.Now)
	if err != nil {
		return "", File{}, err
	}
	now, err := m.version(ctx, c.Now, c.Old)
	if err != nil {
		return "", File{}, err
	}
	m.oldSize, m.oldKept = m.oldSize+old.Size, m.oldKept+uint64(old.Ratio*float64(old.Size))
	m.nowSize, m.nowKept = m.nowSize+now.Size, m.nowKept+uint64(now.Ratio*float64(now.Size))
	return compare(old, now), File{Path: c.Path, Was: c.Was, Size: c.Now.Size, OldEntropy: old.Entropy, Entropy: now.Entropy, OldRatio: old.Ratio, Ratio: now.Ratio}, nil
}

// version reads what is needed of a file: all of a small one, else its ends and
// some of what the other version does not have.
func (m *meter) version(ctx context.Context, n, other *restic.Node) (version, error) {
	v := version{Size: n.Size}
	if len(n.Content) == 0 {
		return v, nil
	}
	stored, err := m.repo.Footprint(n)
	if err != nil {
		return v, err
	}
	if len(n.Content) < fewIDs {
		v.Ratio = share(stored-min(stored, uint64(len(n.Content)*restic.Overhead)), n.Size)
	}
	p, err := m.read(ctx, n, other)
	if err == nil {
		v.Look = inspect(p)
	}
	return v, err
}

func (m *meter) read(ctx context.Context, n, other *restic.Node) (piece, error) {
	if n.Size <= maxWhole {
		var b bytes.Buffer
		if err := m.repo.Content(ctx, n, &b); err != nil {
			return piece{}, err
		}
		m.left -= int64(b.Len())
		return piece{b.Bytes(), b.Bytes(), [][]byte{b.Bytes()}, true}, nil
	}
	var p piece
	blobs := map[restic.ID][]byte{}
	get := func(id restic.ID) ([]byte, error) {
		if b, ok := blobs[id]; ok {
			return b, nil
		}
		b, err := m.repo.Blob(ctx, restic.DataBlob, id, nil)
		m.left -= int64(len(b))
		blobs[id] = b
		return b, err
	}
	var err error
	if p.head, err = get(n.Content[0]); err != nil {
		return p, err
	}
	if p.end, err = get(n.Content[len(n.Content)-1]); err != nil {
		return p, err
	}
	for _, id := range someOf(n, other) {
		b, err := get(id)
		if err != nil {
			return p, err
		}
		p.fresh = append(p.fresh, b)
	}
	return p, nil
}

// someOf picks the first, the middle and the last blob that the other version
// does not have.
func someOf(n, other *restic.Node) []restic.ID {
	has := map[restic.ID]bool{}
	if other != nil {
		for _, id := range other.Content {
			has[id] = true
		}
	}
	var own []restic.ID
	for _, id := range n.Content {
		if !has[id] {
			own = append(own, id)
		}
	}
	if len(own) == 0 {
		return nil
	}
	return slices.Compact([]restic.ID{own[0], own[len(own)/2], own[len(own)-1]})
}

func archiveName(name string) bool {
	name = strings.ToLower(name)
	return strings.HasSuffix(name, ".zip") || strings.HasSuffix(name, ".tar.gz") || strings.HasSuffix(name, ".tgz") || strings.HasSuffix(name, ".tar")
}

// explain finds removed files again in archives that are new: somebody tidied
// up.
func (m *meter) explain(ctx context.Context) error {
	for _, c := range m.archives {
		if m.n.Removed == 0 || m.left <= 0 {
			return nil
		}
		var b bytes.Buffer
		if err := m.repo.Content(ctx, c.Now, &b); err != nil {
			return err
		}
		m.left -= int64(b.Len())
		for _, k := range listed(b.Bytes()) {
			if m.names[k] > 0 && m.n.Archived < m.n.Removed {
				m.names[k]--
				m.n.Archived++
			}
		}
	}
	return nil
}

// listed are the files that an archive really holds. One that is damaged, or
// that nobody can read without a password, holds none.
func listed(b []byte) []key {
	if z, err := zip.NewReader(bytes.NewReader(b), int64(len(b))); err == nil {
		if zipState(b) != Sound {
			return nil
		}
		var all []key
		for _, f := range z.File {
			if f.Flags&1 == 0 {
				all = append(all, nameKey(f.Name, f.UncompressedSize64))
			}
		}
		return all
	}
	var r io.Reader = bytes.NewReader(b)
	if z, err := gzip.NewReader(r); err == nil {
		r = z
	} else {
		r = bytes.NewReader(b)
	}
	var all []key
	for t := tar.NewReader(io.LimitReader(r, 16*maxArchive)); ; {
		h, err := t.Next()
		if err != nil {
			if err == io.EOF {
				return all
			}
			return nil
		}
		all = append(all, nameKey(h.Name, uint64(max(0, h.Size))))
	}
}
