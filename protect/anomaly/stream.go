package anomaly

import (
	"cmp"
	"context"
	"slices"

	"github.com/sonae/sonae/protect/restic"
)

// Bounds of what is read of streams for one snapshot, and what a stream is.
const (
	maxStreams  = 64
	maxGrains   = 48        // blobs of one stream that are read, on each side
	allGrains   = 192       // of all streams, on each side; each of them may have leastGrains
	leastGrains = 4         //
	leastStream = 256 << 10 // bytes
	heavy       = 50        // one of so many bytes of a snapshot, at least, lies in a stream
)

// Stream is a file of which a snapshot has few, and that weighs much: a dump, a
// base backup, the image of a disk. Shares of files say nothing about it. Sizes
// are in bytes; parts that are empty, as the holes of a disk, are left out.
type Stream struct {
	Path string `json:"path"`
	Was  string `json:"was,omitempty"` // path before, where it is another one
	Size uint64 `json:"size"`

	Due     string `json:"due,omitempty"` // form in which its source writes
	Wrong   bool   `json:"wrong,omitempty"`
	OldForm string `json:"old_form,omitempty"` // in which it began before
	Form    string `json:"form,omitempty"`     // in which it begins now; empty: none that is known
	Even    bool   `json:"even,omitempty"`     // its first bytes look random
	Alien   bool   `json:"alien,omitempty"`    // there is in it what text cannot hold

	Known     bool   `json:"known,omitempty"` // there was a version before, of the same path
	OldStored uint64 `json:"old_stored,omitempty"`
	OldSlack  uint64 `json:"old_slack,omitempty"`
	Stored    uint64 `json:"stored"` // as the repository compresses it
	Slack     uint64 `json:"slack"`  // that compressing saves

	// Gone are the parts that only the version before has, Fresh those that only
	// this one has. Of both a sample is read.
	Gone  Grain `json:"gone,omitzero"`
	Fresh Grain `json:"fresh"`
}

// Grain is what a sample says of all parts that it was taken from.
type Grain struct {
	Bytes  uint64 `json:"bytes"`
	Random uint64 `json:"random"` // as encrypted bytes are, and compressed ones are not
	Loose  uint64 `json:"loose"`  // that have some order
}

// content is how much of a stream is not empty.
func (s Stream) content() uint64 { return s.Stored + s.Slack }

// key is the path under which a stream is remembered.
func (s Stream) key() string { return cmp.Or(s.Was, s.Path) }

// weigh keeps a change that may be of a stream until all are known.
func (m *meter) weigh(c change) {
	if c.Now == nil || c.Old != nil && slices.Equal(c.Old.Content, c.Now.Content) || c.Now.Size < leastStream && m.due(c) == "" {
		return
	}
	if m.big = append(m.big, c); len(m.big) == 2*maxStreams {
		m.heaviest()
	}
}

func (m *meter) due(c change) string { return due(m.source, cmp.Or(c.Was, c.Path)) }

// heaviest keeps what a source says something about, and then the largest.
func (m *meter) heaviest() {
	slices.SortFunc(m.big, func(a, b change) int {
		if x, y := m.due(a) != "", m.due(b) != ""; x != y {
			if x {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(b.Now.Size, a.Now.Size), cmp.Compare(a.Path, b.Path))
	})
	m.big = m.big[:min(len(m.big), maxStreams)]
}

// streams looks into those among the changes.
func (m *meter) streams(ctx context.Context) error {
	m.heaviest()
	m.big = slices.DeleteFunc(m.big, func(c change) bool { return m.due(c) == "" && c.Now.Size*heavy < m.n.Bytes })
	for _, c := range m.big {
		s, err := m.stream(ctx, c, max(leastGrains, min(maxGrains, allGrains/len(m.big))))
		if err != nil {
			return err
		}
		m.n.Streams = append(m.n.Streams, s)
	}
	slices.SortFunc(m.n.Streams, func(a, b Stream) int { return cmp.Compare(a.Path, b.Path) })
	return nil
}

// stream measures one, of which so many blobs are read.
func (m *meter) stream(ctx context.Context, c change, most int) (Stream, error) {
	s := Stream{Path: c.Path, Was: c.Was, Size: c.Now.Size, Due: m.due(c), Known: c.Old != nil}
	if err := m.heads(ctx, &s, c); err != nil || s.Due == FormWAL { // of which there are many
		return s, err
	}
	var err error
	if s.Stored, s.Slack, err = m.sums(c.Now); err != nil {
		return s, err
	}
	if s.Known {
		if s.OldStored, s.OldSlack, err = m.sums(c.Old); err != nil {
			return s, err
		}
		if s.Gone, _, err = m.sift(ctx, c.Old, c.Now, most); err != nil {
			return s, err
		}
	}
	dense := false
	s.Fresh, dense, err = m.sift(ctx, c.Now, c.Old, most)
	s.Alien = dense && isWords(s.Due)
	return s, err
}

// heads says how both versions begin.
func (m *meter) heads(ctx context.Context, s *Stream, c change) error {
	now, err := m.head(ctx, c.Now)
	if err != nil {
		return err
	}
	s.Form, s.Even = formOf(now), even(now[:min(len(now), window)])
	s.Wrong = s.Due != "" && !begins(s.Due, now) && (s.Due != FormWAL || s.Form == "" && s.Even)
	if c.Old == nil {
		return nil
	}
	before, err := m.head(ctx, c.Old)
	s.OldForm = formOf(before)
	return err
}

func (m *meter) head(ctx context.Context, n *restic.Node) ([]byte, error) {
	if len(n.Content) == 0 {
		return nil, nil
	}
	return m.repo.Blob(ctx, restic.DataBlob, n.Content[0], nil)
}

// lengths of a blob, and whether it is worth a look: holes of a disk are not.
func (m *meter) lengths(id restic.ID) (plain, stored uint64, full bool, err error) {
	plain, stored, err = m.repo.Lengths(id)
	stored -= min(stored, restic.Overhead)
	return plain, stored, stored*200 >= plain, err
}

// sums says how far a version is compressed.
func (m *meter) sums(n *restic.Node) (stored, slack uint64, err error) {
	for _, id := range n.Content {
		long, kept, full, err := m.lengths(id)
		if err != nil {
			return 0, 0, err
		}
		if full {
			stored, slack = stored+min(kept, long), slack+long-min(kept, long)
		}
	}
	return stored, slack, nil
}

// sift reads some of the blobs that only n has. dense says that some of them
// cannot be text.
func (m *meter) sift(ctx context.Context, n, other *restic.Node, most int) (all Grain, dense bool, err error) {
	own, err := m.own(n, other, &all)
	if err != nil || len(own) == 0 {
		return all, false, err
	}
	var s sieve
	for i := range min(most, len(own)) {
		b, err := m.repo.Blob(ctx, restic.DataBlob, own[i*len(own)/min(most, len(own))], nil)
		if err != nil {
			return all, false, err
		}
		s.add(b)
	}
	s.empty(true)
	part := float64(all.Bytes) / float64(max(1, s.seen))
	all.Random, all.Loose = uint64(part*float64(s.random)), uint64(part*float64(s.loose))
	return all, s.dense >= 4*window || 2*s.dense > s.seen, nil
}

// own are the blobs of n that other does not have, each once; all counts them.
func (m *meter) own(n, other *restic.Node, all *Grain) (own []restic.ID, err error) {
	seen := map[restic.ID]bool{}
	if other != nil {
		for _, id := range other.Content {
			seen[id] = true
		}
	}
	for _, id := range n.Content {
		if seen[id] {
			continue
		}
		seen[id] = true
		long, _, full, err := m.lengths(id)
		if err != nil {
			return nil, err
		}
		if full {
			own, all.Bytes = append(own, id), all.Bytes+long
		}
	}
	return own, nil
}

// Limits of a sieve. Of 1 MiB that gzip, xz, zstd or bzip2 wrote chi-square is 430
// or more, of encrypted bytes 255 with a deviation of 23 whatever their number.
const (
	randomChi2  = 350
	enoughBytes = 256 << 10 // of fewer, chi-square cannot tell one from the other
)

// sieve tells windows that look random from those that have some order.
type sieve struct {
	seen, dense, random, loose int // bytes
	counts                     [256]int
	held                       int // bytes that are counted in counts, and not judged yet
}

func (s *sieve) add(b []byte) {
	s.seen += len(b)
	for at := 0; at < len(b); at += window {
		w := b[at:min(at+window, len(b))]
		switch e := entropy(w); {
		case len(w) < 256 || e < 0.02:
		case e <= 0.97:
			s.loose += len(w)
		default:
			s.dense, s.held = s.dense+len(w), s.held+len(w)
			for _, c := range w {
				s.counts[c]++
			}
		}
	}
	if s.held >= enoughBytes {
		s.empty(false)
	}
}

// empty judges what is held. The last few bytes of many say nothing.
func (s *sieve) empty(last bool) {
	if last && s.held < enoughBytes && s.seen > 4*enoughBytes {
		return
	}
	if s.held > 0 && chi2(&s.counts, s.held) < randomChi2 {
		s.random += s.held
	}
	s.counts, s.held = [256]int{}, 0
}
