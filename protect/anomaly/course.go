package anomaly

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// Thresholds about streams.
const (
	turnedShare = 0.25 // of what could be compressed: it is flagged
	turnedWatch = 0.10
	turnedSlack = 0.005 // at each snapshot that is not counted
	leastSlack  = 0.05  // of a stream; of one that is compressed already it says nothing
	halfLife    = 30 * 24 * time.Hour
	jumpShare   = 0.25     // of a stream that came at once, and as much of another kind went
	leastLarge  = 1 << 20  // bytes of a stream from which on its content says something
	leastDue    = 64 << 10 // of one whose source says what it is
	maxCourses  = 128
)

// Course is what is remembered of a stream from snapshot to snapshot.
type Course struct {
	At     time.Time `json:"at"`
	Form   string    `json:"form,omitempty"` // in which it began
	Stored uint64    `json:"stored"`
	Slack  uint64    `json:"slack"`
	Random float64   `json:"random"` // share of what was new that looked random
	// Turned are the bytes that could be compressed and look random since Since, of
	// Base that could be: who encrypts a disk little by little passes every other
	// limit.
	Turned float64   `json:"turned,omitempty"`
	Base   uint64    `json:"base,omitempty"`
	Since  time.Time `json:"since,omitzero"`
	Wrong  time.Time `json:"wrong,omitzero"` // since when it does not begin as it must
	Meant  bool      `json:"meant,omitempty"`
}

// course is what is known of a stream: of one under a new name, as dumps with a
// date have, that of the newest whose name is the same but for its numbers.
func (u Usual) course(s Stream) Course {
	if c, ok := u.Streams[s.key()]; ok || s.Known {
		return c
	}
	var found Course
	for _, name := range slices.Sorted(maps.Keys(u.Streams)) {
		if c := u.Streams[name]; plain(name) == plain(s.key()) && !c.At.Before(found.At) {
			found = c
		}
	}
	return found
}

// plain is a path without its numbers.
func plain(name string) string {
	var b strings.Builder
	digits := false
	for _, r := range name {
		if digit := r >= '0' && r <= '9'; !digit {
			b.WriteRune(r)
		} else if !digits {
			b.WriteByte('0')
		}
		digits = r >= '0' && r <= '9'
	}
	return b.String()
}

// before fills in what is not known of the version before from what is
// remembered.
func (s Stream) before(c Course) Stream {
	if s.Known || c.At.IsZero() {
		return s
	}
	s.OldForm, s.OldStored, s.OldSlack = c.Form, c.Stored, c.Slack
	all := c.Stored + c.Slack
	s.Gone = Grain{Bytes: all, Random: uint64(c.Random * float64(all)), Loose: all}
	s.Fresh.Loose = 0 // the parts that stayed are not known
	return s
}

// turned are the bytes that could be compressed in the version before, and look
// random now; below zero where it went the other way. Each of its bounds is one
// of the things that encrypting does and that growing, deleting, compressing and
// writing anew do not do: it takes away what compressing saves, it fills the
// repository, it makes random bytes, and what had some order is gone.
func (s Stream) turned() float64 {
	slack, stored := float64(s.OldSlack)-float64(s.Slack), float64(s.Stored)-float64(s.OldStored)
	if slack < 0 && stored < 0 {
		return max(slack, stored)
	}
	return max(0, min(slack, stored, float64(s.Fresh.Random)-float64(s.Gone.Random), float64(s.Gone.Loose)-float64(s.Fresh.Loose)))
}

// jumped is the share of a stream that became random at once, where what went was
// not, whether it was compressed or not.
func (s Stream) jumped() float64 {
	all := float64(max(1, s.content()))
	gone, fresh := float64(s.Gone.Bytes), float64(s.Fresh.Bytes)
	if s.Size < leastLarge || gone < jumpShare*all || fresh < jumpShare*all || float64(s.Gone.Random) > 0.1*gone || float64(s.Fresh.Random) < 0.9*fresh {
		return 0
	}
	return min(1, float64(s.Fresh.Random)/all)
}

// kept says whether a stream is of the kind that it was: another kind has another
// content, and what people encrypt is asked about.
func (s Stream) kept() bool {
	return s.Form == s.OldForm && s.Form != kindSealed && (s.Size >= leastLarge || s.Due != "" && s.Size >= leastDue)
}

// step adds a stream to what is remembered of it, and returns the share of it
// that has turned random by now; 0 when this snapshot adds nothing to that.
func (c Course) step(s Stream, at time.Time) (Course, float64) {
	s = s.before(c)
	next := c
	next.At, next.Form, next.Stored, next.Slack = at, s.Form, s.Stored, s.Slack
	if s.Fresh.Bytes > 0 {
		next.Random = float64(s.Fresh.Random) / float64(s.Fresh.Bytes)
	}
	if !s.kept() || !s.Known && c.At.IsZero() {
		next.Turned, next.Base, next.Since = 0, 0, time.Time{}
		return next, 0
	}
	if !c.At.IsZero() {
		next.Turned *= math.Exp2(-at.Sub(c.At).Hours() / halfLife.Hours())
	}
	if next.Turned < 1 || next.Base == 0 {
		next.Turned, next.Base, next.Since = 0, s.OldSlack, time.Time{}
	}
	share := s.jumped()
	if x := s.turned(); x < 0 || x > turnedSlack*float64(next.Base) {
		next.Turned = max(0, next.Turned+x)
		if x > 0 && float64(next.Base) >= leastSlack*float64(s.OldStored+s.OldSlack) {
			share = max(share, min(1, next.Turned/float64(next.Base)))
		}
	}
	if next.Turned > 0 && next.Since.IsZero() {
		next.Since = at
	}
	return next, share
}

// courses adds the streams of a snapshot to the usual, and returns the reasons
// that they give.
func (u Usual) courses(n Numbers, at time.Time) (Usual, []Reason) {
	if len(n.Streams) == 0 {
		return u, nil
	}
	next := maps.Clone(u.Streams)
	if next == nil {
		next = map[string]Course{}
	}
	var heads, inside, turned, asked []Reason
	for _, s := range n.Streams {
		before := u.course(s)
		c, share := before.step(s, at)
		heads = append(heads, head(s, before, &c, at)...)
		turned = append(turned, scrambled(s, &c, share)...)
		if s.Alien && !s.Wrong {
			inside = append(inside, Reason{Rule: RuleInside, Points: 100, N: 1, Form: worded(s.Due), Examples: []string{s.Path}})
		}
		if old := cmp.Or(s.OldForm, before.Form); s.Due == "" && s.Form == kindSealed && old != "" && old != kindSealed {
			asked = append(asked, Reason{Rule: RuleQuestion, Points: pointsWatch, N: 1, Of: n.New + n.Changed + n.Replaced, Examples: []string{s.Path}})
		}
		next[s.Path] = c
	}
	u.Streams = newest(next)
	return u, slices.Concat(gathered(heads), gathered(inside), gathered(turned), gathered(asked))
}

// head speaks of a stream that does not begin as it must: because of its source,
// whatever was before, else because it began otherwise and looks random now.
func head(s Stream, before Course, c *Course, at time.Time) []Reason {
	if s.Due != "" {
		if !s.Wrong {
			c.Wrong, c.Meant = time.Time{}, false
			return nil
		}
		if c.Wrong.IsZero() {
			c.Wrong = at
		}
		if c.Meant {
			return nil
		}
		return []Reason{{Rule: RuleHead, Points: 100, N: 1, Form: worded(s.Due), Since: earlier(c.Wrong, at), Examples: []string{s.Path}}}
	}
	old := cmp.Or(s.OldForm, before.Form)
	if old == "" || old == kindSealed || s.Form != "" || !s.Even {
		return nil
	}
	return []Reason{{Rule: RuleHead, Points: 90, N: 1, Form: worded(old), Examples: []string{s.Path}}}
}

// scrambled speaks of a stream of which much has turned random. What was told is
// not told again.
func scrambled(s Stream, c *Course, share float64) []Reason {
	r := Reason{Rule: RuleScrambled, Points: pointsWatch, N: 1, After: share, Since: earlier(c.Since, c.At), Examples: []string{s.Path}}
	switch {
	case share < turnedWatch:
		return nil
	case share >= turnedShare:
		r.Points = pointsFlagged + int(30*share)
		c.Turned, c.Base, c.Since = 0, 0, time.Time{}
	}
	return []Reason{r}
}

// earlier is a moment as it stands in reasons, empty when it is no earlier one.
func earlier(at, now time.Time) string {
	if at.IsZero() || !at.Before(now) {
		return ""
	}
	return at.UTC().Format(time.RFC3339)
}

// gathered makes one reason of those about the same form, the strongest of them.
func gathered(all []Reason) (out []Reason) {
	for _, r := range all {
		i := slices.IndexFunc(out, func(o Reason) bool { return o.Form == r.Form })
		if i < 0 {
			out = append(out, r)
			continue
		}
		o := &out[i]
		o.N += r.N
		if len(o.Examples) < maxExamples {
			o.Examples = append(o.Examples, r.Examples...)
		}
		o.Points, o.After = max(o.Points, r.Points), max(o.After, r.After)
		if o.Since == "" || r.Since != "" && r.Since < o.Since {
			o.Since = r.Since
		}
	}
	return out
}

// newest bounds what is remembered.
func newest(all map[string]Course) map[string]Course {
	if len(all) <= maxCourses {
		return all
	}
	names := slices.SortedFunc(maps.Keys(all), func(a, b string) int {
		return cmp.Or(all[b].At.Compare(all[a].At), cmp.Compare(b, a))
	})
	for _, name := range names[maxCourses:] {
		delete(all, name)
	}
	return all
}
