package guard

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"time"
)

// WhySuffix is a file that holds noise and was given a new suffix, as others
// were. The backends of this package know more of a file than that.
const WhySuffix Why = "new-suffix"

// Looker judges files by what they hold, for who learns in other ways than this
// package what was done to them. It is not safe for concurrent use.
type Looker struct{ s *sampler }

// NewLooker returns a Looker.
func NewLooker() *Looker { return &Looker{newSampler()} }

// ErrNoFile says that a path is no file with something in it.
var ErrNoFile = errors.New("guard: no file to look at")

// Look samples a file, at the places of an earlier sample where there is one.
func (l *Looker) Look(path string, before Sample) (Sample, os.FileInfo, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return Sample{}, nil, err
	}
	if !info.Mode().IsRegular() || info.Size() == 0 {
		return Sample{}, info, ErrNoFile
	}
	f, err := os.Open(path)
	if err != nil {
		return Sample{}, info, err
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil || !info.Mode().IsRegular() { // it may be another by now
		return Sample{}, info, errors.Join(err, ErrNoFile)
	}
	s, err := l.s.like(f, info.Size(), before)
	return s, info, err
}

// Became says what became of a file that is called name now. Where nothing is
// known from before, its name says what it must hold.
func Became(before, now Sample, name string) Why { return compare(before, now, name) }

// Noise says whether a file of that name holds noise that no compressor says it
// wrote.
func Noise(s Sample, name string) bool {
	return s.Blocks > 0 && s.Random[0] && (s.Kind == kindNone || !s.Kind.named(name))
}

// Uncommon says whether to is from with a suffix added or exchanged that no
// known type goes by.
func Uncommon(from, to string) (suffix string, ok bool) { return uncommon(from, to) }

// Reasons puts losses into words.
func Reasons(all []Loss) []Reason {
	return reasons(verdict{losses: all}, []*culprit{suffixes(all)}, "")
}

func suffixes(all []Loss) *culprit {
	c := &culprit{renamed: map[string]int{}}
	for _, l := range all {
		c.suffix(l.Path, l.Now)
	}
	return c
}

// Decoys are files that nobody has a reason to change, in some folders.
type Decoys struct{ c *canaries }

// OpenDecoys makes those that are missing; dir is where they are remembered.
func OpenDecoys(dir string, folders []string, now time.Time) (*Decoys, error) {
	if dir != "" {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	var there []string
	for _, f := range folders {
		if _, err := os.ReadDir(f); !errors.Is(err, fs.ErrNotExist) && f != "" && !strings.Contains(f, "%") {
			there = append(there, f)
		}
	}
	c, err := openCanaries(dir, there, now)
	return &Decoys{c}, err
}

// Has says whether path is one.
func (d *Decoys) Has(path string) bool { return d.c.has(path) }

// Count is how many there are.
func (d *Decoys) Count() int { return d.c.count() }

// Close takes those away that nothing remembers.
func (d *Decoys) Close() error { return d.c.close() }
