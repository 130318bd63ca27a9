package anomaly

import (
	"math"
	"slices"
	"time"

	"github.com/sonae/sonae/clock"
)

// Rules, as they stand in records and in words.
const (
	RuleCanary   = "canary"   // a file was touched that nobody has a reason to touch
	RuleDamage   = "damage"   // many files were made unusable
	RuleSlow     = "slow"     // few files each time, but again and again
	RuleNoise    = "noise"    // random files came where others went
	RuleRemoved  = "removed"  // many files are gone and in no archive
	RuleEnding   = "ending"   // many files bear an ending that the machine never had
	RuleSqueeze  = "squeeze"  // what changed cannot be compressed any more
	RuleRewrote  = "rewrote"  // much was written anew, of which nothing stayed
	RuleQuestion = "question" // many files were encrypted by a program that people use

	RuleHead      = "head"      // a stream does not begin as it must
	RuleInside    = "inside"    // text holds what text cannot hold
	RuleScrambled = "scrambled" // a stream has turned random
)

// Verdict is what a score means.
type Verdict string

// Verdicts.
const (
	First    Verdict = "first"    // there was nothing to compare it with
	Calm     Verdict = "calm"     //
	Watch    Verdict = "watch"    // something stands out, not enough for an alert
	Question Verdict = "question" // somebody must say whether it was meant
	Flagged  Verdict = "flagged"
	Unread   Verdict = "unread" // the repository could not be read
)

// Points that a verdict needs, of 100.
const (
	pointsFlagged = 70
	pointsWatch   = 30
)

// Thresholds. Measured ones have their place in doc/bench-anomaly.md.
const (
	leastFiles   = 5     // fewer files are never many
	leastShare   = 0.004 // of all files; a host of 60,000: 240
	leastZ       = 3.5   // deviations above what is usual
	removedShare = 0.05
	endingShare  = 0.01
	noiseShare   = 0.01
	slowSlack    = 1.0 // files lost of 1,000 at each snapshot that are not counted
	slowLimit    = 4.0 // files lost of 1,000 that came together
	slowMost     = 40.0
	keepDays     = 56 // snapshots that the usual is made of
	likeDays     = 28
	fewDays      = 5 // fewer say nothing about what is usual
)

// Reason is one rule that spoke, with its numbers.
type Reason struct {
	Rule     string   `json:"rule"`
	Points   int      `json:"points"`
	N        int      `json:"n"`                // files
	Of       int      `json:"of,omitempty"`     // files that N is a part of
	Limit    int      `json:"limit,omitempty"`  // N that the rule speaks at
	Z        float64  `json:"z,omitempty"`      // deviations above the usual; 0: too little is known
	Before   float64  `json:"before,omitempty"` // ratio before
	After    float64  `json:"after,omitempty"`  // ratio now
	Ending   string   `json:"ending,omitempty"`
	Form     string   `json:"form,omitempty"`  // in which a stream must begin
	Since    string   `json:"since,omitempty"` // first snapshot that it is about, RFC 3339
	Examples []string `json:"examples,omitempty"`
}

// Day is what is remembered of a snapshot for the usual.
type Day struct {
	At      time.Time `json:"at"`
	Touched int       `json:"touched"`
	Lost    int       `json:"lost"`
	Removed int       `json:"removed"` // and not archived
	Noise   int       `json:"noise"`
}

// Usual is what is known of the snapshots before: of those without an alert
// only.
type Usual struct {
	Days    []Day          `json:"days"`
	Endings map[string]int `json:"endings"`
	Slow    float64        `json:"slow"` // files lost of 1,000 beyond the slack, summed up
	Sum     int            `json:"sum"`  // files lost since Since
	Since   time.Time      `json:"since"`

	Streams map[string]Course `json:"streams,omitempty"` // by path
}

// Score is what Judge makes of numbers.
type Score struct {
	Verdict Verdict  `json:"verdict"`
	Points  int      `json:"points"` // 0 to 100
	Reasons []Reason `json:"reasons"`
}

// like returns a number of the days like at, working days or days off, oldest
// first; of all days when there are few.
func (u Usual) like(at time.Time, number func(Day) int) []float64 {
	var same, all []float64
	for _, d := range u.Days {
		n := math.Log1p(float64(number(d)))
		all = append(all, n)
		if off(d.At) == off(at) {
			same = append(same, n)
		}
	}
	if len(same) < fewDays {
		same = all
	}
	return same[max(0, len(same)-likeDays):]
}

func off(at time.Time) bool {
	d := at.In(clock.Tokyo()).Weekday()
	return d == time.Saturday || d == time.Sunday
}

// deviation is how far n lies above what is usual: in deviations as the median
// of distances gives them, of logarithms. known is false while too little is
// known.
func (u Usual) deviation(at time.Time, n int, number func(Day) int) (z float64, known bool) {
	all := u.like(at, number)
	if len(all) < fewDays {
		return 0, false
	}
	mid := median(all)
	far := make([]float64, len(all))
	for i, v := range all {
		far[i] = math.Abs(v - mid)
	}
	return (math.Log1p(float64(n)) - mid) / (1.4826 * max(median(far), 0.2)), true
}

func median(all []float64) float64 {
	s := slices.Sorted(slices.Values(all))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// day is what numbers add to the usual.
func day(n Numbers, at time.Time) Day {
	return Day{At: at, Touched: n.Touched(), Lost: n.Lost(), Removed: n.Removed - n.Archived, Noise: n.Signs[SignNoise]}
}

// Judge scores numbers, and returns what is usual from now on. It is pure: the
// same numbers and the same past give the same score.
func Judge(n Numbers, u Usual, at time.Time, files []File) (Score, Usual) {
	d := day(n, at)
	next, streams := u.slower(n, d).courses(n, at)
	var s Score
	for _, r := range append([]Reason{canaries(n), damage(n, u, d, next.Since), next.slow(n), noise(n, u, d), removed(n, u, d), newEnding(n), squeeze(n), rewrote(n), question(n)}, streams...) {
		if r.Points == 0 {
			continue
		}
		if r.Examples == nil {
			r.Examples = examples(r, n, files)
		}
		s.add(r)
	}
	s.decide(Calm)
	if s.Verdict != Flagged && s.Verdict != Question { // alerted days stay out
		next.Days = append(slices.Clone(u.Days[max(0, len(u.Days)-keepDays+1):]), d)
	}
	return s, next
}

// begin scores the first snapshot of a series: with nothing to compare it with,
// only what must be so whatever was before speaks.
func begin(n Numbers, u Usual, at time.Time) (Score, Usual) {
	next, streams := u.courses(n, at)
	var s Score
	for _, r := range streams {
		s.add(r)
	}
	s.decide(First)
	return s, next
}

// add counts a reason. A rule that has spoken of all files need not of one.
func (s *Score) add(r Reason) {
	if slices.ContainsFunc(s.Reasons, func(o Reason) bool { return o.Rule == RuleQuestion && r.Rule == RuleQuestion }) {
		return
	}
	s.Reasons = append(s.Reasons, r)
	if r.Rule != RuleQuestion {
		s.Points = min(100, s.Points+r.Points)
	}
}

// decide says what the points mean; calm is for those that mean nothing.
func (s *Score) decide(calm Verdict) {
	asked := slices.ContainsFunc(s.Reasons, func(r Reason) bool { return r.Rule == RuleQuestion })
	switch {
	case s.Points >= pointsFlagged:
		s.Verdict = Flagged
	case asked:
		s.Verdict, s.Points = Question, max(s.Points, pointsWatch)
	case s.Points >= pointsWatch:
		s.Verdict = Watch
	default:
		s.Verdict = calm
	}
}

// slower sums up what is lost at each snapshot (CUSUM): who encrypts little at a
// time passes every other limit.
func (u Usual) slower(n Numbers, d Day) Usual {
	x := 1000 * float64(d.Lost) / float64(max(1, n.Files))
	mean := 0.0
	for _, v := range u.Days {
		mean += float64(v.Lost)
	}
	mean = 1000 * mean / float64(max(1, len(u.Days))) / float64(max(1, n.Files))
	u.Slow = min(slowMost, max(0, u.Slow+x-slowSlack-2*mean))
	if u.Slow == 0 {
		u.Sum, u.Since = 0, time.Time{}
		return u
	}
	if u.Since.IsZero() {
		u.Since = d.At
	}
	u.Sum += d.Lost
	return u
}

// many is the number of files from which on they are many.
func many(n Numbers, share float64) int {
	return max(leastFiles, int(math.Ceil(share*float64(n.Files+n.Removed))))
}

func canaries(n Numbers) Reason {
	if len(n.Canaries) == 0 {
		return Reason{}
	}
	return Reason{Rule: RuleCanary, Points: 100, N: len(n.Canaries), Limit: 1}
}

// damage speaks of files that were made unusable. Where much that changed is
// compressed less, that counts too: encrypted text may be written as text.
func damage(n Numbers, u Usual, d Day, since time.Time) Reason {
	lost, of := n.Lost(), n.Changed+n.Replaced
	if rise := n.Signs[SignRise]; 2*(rise+lost) >= of {
		lost += rise
	}
	limit := many(n, leastShare)
	z, known := u.deviation(d.At, lost, func(d Day) int { return d.Lost })
	if lost < limit || known && z < leastZ {
		return Reason{}
	}
	points := pointsFlagged + int(30*float64(lost)/float64(max(1, of)))
	r := Reason{Rule: RuleDamage, Points: min(100, points), N: lost, Of: of, Limit: limit, Z: z}
	if !since.IsZero() { // less of it was seen before
		r.Since = since.UTC().Format(time.RFC3339)
	}
	return r
}

func (u Usual) slow(n Numbers) Reason {
	if n.Lost() == 0 || u.Slow < slowLimit || u.Sum < leastFiles {
		return Reason{}
	}
	return Reason{Rule: RuleSlow, Points: pointsFlagged, N: u.Sum, Of: n.Files, Limit: max(leastFiles, int(math.Ceil(slowLimit*float64(n.Files)/1000))), Since: u.Since.UTC().Format(time.RFC3339)}
}

// noise speaks of files under new names where others went.
func noise(n Numbers, u Usual, d Day) Reason {
	limit := many(n, noiseShare)
	z, known := u.deviation(d.At, d.Noise, func(d Day) int { return d.Noise })
	if d.Noise < limit || 2*n.Removed < d.Noise || known && z < leastZ {
		return Reason{}
	}
	return Reason{Rule: RuleNoise, Points: pointsFlagged, N: d.Noise, Of: n.New, Limit: limit, Z: z}
}

func removed(n Numbers, u Usual, d Day) Reason {
	limit := many(n, removedShare)
	z, known := u.deviation(d.At, d.Removed, func(d Day) int { return d.Removed })
	if d.Removed < limit || n.Signs[SignSealed] > 0 && 2*n.Signs[SignSealed] >= d.Removed {
		return Reason{}
	}
	r := Reason{Rule: RuleRemoved, Points: pointsFlagged, N: d.Removed, Of: n.Files + n.Removed - n.New, Limit: limit, Z: z}
	if !known || z < leastZ || n.New*2 >= d.Removed { // something came in their place
		r.Points = pointsWatch
	}
	return r
}

func newEnding(n Numbers) Reason {
	limit := max(2*leastFiles, many(n, endingShare))
	if n.Endings < limit || 2*(n.Removed+n.Replaced+n.Moved) < n.Endings {
		return Reason{}
	}
	return Reason{Rule: RuleEnding, Points: 30, N: n.Endings, Of: n.New + n.Replaced + n.Moved, Limit: limit, Ending: n.Ending}
}

func squeeze(n Numbers) Reason {
	if n.Compared < leastFiles || n.OldRatio == 0 || n.OldRatio > 0.85 || n.Ratio-n.OldRatio < 0.15 || n.Ratio < 1.25*n.OldRatio {
		return Reason{}
	}
	return Reason{Rule: RuleSqueeze, Points: 20, N: n.Changed + n.Replaced, Before: n.OldRatio, After: n.Ratio}
}

func rewrote(n Numbers) Reason {
	if n.Bytes == 0 || float64(n.Rewrote) < 0.05*float64(n.Bytes) || n.Changed+n.Replaced < 2*leastFiles {
		return Reason{}
	}
	return Reason{Rule: RuleRewrote, Points: 5, N: n.Changed + n.Replaced, After: float64(n.Rewrote) / float64(n.Bytes)}
}

// question speaks of what a person does, and an intruder may do with the same
// programs: it cannot be told apart by content, so somebody is asked.
func question(n Numbers) Reason {
	limit := many(n, leastShare)
	if s := n.Signs[SignSealed]; s >= limit {
		return Reason{Rule: RuleQuestion, Points: pointsWatch, N: s, Of: n.New + n.Changed + n.Replaced, Limit: limit}
	}
	return Reason{}
}

// maxExamples bounds the files that a reason names.
const maxExamples = 5

// examples names files that a reason is about.
func examples(r Reason, n Numbers, files []File) []string {
	if r.Rule == RuleCanary {
		return n.Canaries[:min(len(n.Canaries), maxExamples)]
	}
	var all []string
	for _, f := range files {
		if len(all) == maxExamples {
			break
		}
		if speaksOf(r, f) {
			all = append(all, f.Path)
		}
	}
	return all
}

func speaksOf(r Reason, f File) bool {
	switch r.Rule {
	case RuleDamage, RuleSlow:
		return f.Sign != SignSealed && f.Sign != SignNoise
	case RuleNoise:
		return f.Sign == SignNoise
	case RuleQuestion:
		return f.Sign == SignSealed
	case RuleEnding:
		return ending(f.Path) == r.Ending
	}
	return false
}
