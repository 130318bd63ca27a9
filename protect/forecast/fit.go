package forecast

import (
	"math"
	"slices"
	"time"

	"github.com/sonae/sonae/protect/plan"
)

// calibrated is from how many drills on a rate is called measured.
const calibrated = 5

// unproven is the spread (standard deviation of the logarithm) of a rate that
// is not calibrated yet.
const unproven = 0.25

// Restore is one restore that was measured.
type Restore struct {
	At      time.Time `json:"at"`
	Source  string    `json:"source"`            // of the plan, where the copy lay
	Service string    `json:"service,omitempty"` // of the plan, when it was one
	Bytes   int64     `json:"bytes"`
	Files   int64     `json:"files"`
	Streams int       `json:"streams"` // side by side; 0 counts as 1
	Seconds float64   `json:"seconds"`
	Ref     string    `json:"ref,omitempty"` // the drill, or what it was
}

// Rate is how long one stream of a source takes: Start + Byte·bytes + File·files
// seconds, times a factor whose logarithm has the standard deviation Spread.
// Creating a file costs time whatever is in it: a server with six million files
// is slow at any bandwidth.
type Rate struct {
	Start  float64   `json:"start"`  // s
	Byte   float64   `json:"byte"`   // s per byte
	File   float64   `json:"file"`   // s per file
	Spread float64   `json:"spread"` // without what age adds
	Drills int       `json:"drills"`
	Last   time.Time `json:"last"` // newest drill; zero: none
}

// Seconds is how long so many bytes and files take with n streams.
func (r Rate) Seconds(bytes, files int64, n float64) float64 {
	return r.Start + (r.Byte*float64(bytes)+r.File*float64(files))/n
}

// Calibrated says whether enough drills stand behind it.
func (r Rate) Calibrated() bool { return r.Drills >= calibrated }

// Wide is the spread at a time: what was measured long ago is less sure.
func (r Rate) Wide(now time.Time) float64 { return math.Hypot(r.Spread, unproven*r.years(now)) }

func (r Rate) years(now time.Time) float64 {
	if r.Last.IsZero() {
		return 0
	}
	return max(0, now.Sub(r.Last).Hours()/(365.25*24))
}

// Confidence is from 0, a guess, towards 1: it grows with the number of drills
// and halves with each year since the last one.
func (r Rate) Confidence(now time.Time) float64 {
	n := float64(r.Drills)
	return n / (n + calibrated) * math.Exp2(-r.years(now))
}

// assumed is the rate of a source that nobody has measured.
func assumed(s plan.Source) Rate {
	return Rate{Byte: 1 / (s.Rate * 1e6), File: 1 / s.Files, Spread: unproven}
}

// Fit finds the rate of a source from measured restores. From three on it is
// fitted, with fewer the assumption is scaled by what they took.
func Fit(s plan.Source, all []Restore) Rate {
	r := assumed(s)
	all = slices.DeleteFunc(slices.Clone(all), func(m Restore) bool {
		return m.Source != s.Key || m.Seconds <= 0 || m.Bytes < 0 || m.Files < 0 || m.Bytes+m.Files == 0
	})
	if len(all) == 0 {
		return r
	}
	if len(all) < 3 {
		sum := 0.0
		for _, m := range all {
			sum += math.Log(m.Seconds / r.Seconds(m.Bytes, m.Files, m.streams()))
		}
		factor := math.Exp(sum / float64(len(all)))
		r.Byte, r.File = r.Byte*factor, r.File*factor
	} else {
		r.Start, r.Byte, r.File = leastSquares(all)
	}
	r.Drills, r.Spread = len(all), spread(r, all)
	for _, m := range all {
		if m.At.After(r.Last) {
			r.Last = m.At
		}
	}
	return r
}

func (m Restore) streams() float64 { return float64(max(1, m.Streams)) }

// spread is that of the measured times around the rate, not below 5 %.
func spread(r Rate, all []Restore) float64 {
	sum := 0.0
	for _, m := range all {
		d := math.Log(m.Seconds / r.Seconds(m.Bytes, m.Files, m.streams()))
		sum += d * d
	}
	s := math.Sqrt(sum / math.Max(1, float64(len(all)-3)))
	if len(all) < calibrated {
		return math.Max(s, unproven)
	}
	return math.Max(s, 0.05)
}

// leastSquares fits start, byte and file so that the relative errors are
// smallest and none is negative. With three unknowns the best set of those that
// are not zero is found by trying all.
func leastSquares(all []Restore) (start, perByte, perFile float64) {
	rows := make([][3]float64, len(all))
	for i, m := range all { // scaled to GB and thousands, so that the sums stay of one size
		n := m.streams()
		rows[i] = [3]float64{1 / m.Seconds, float64(m.Bytes) / 1e9 / n / m.Seconds, float64(m.Files) / 1e3 / n / m.Seconds}
	}
	best, found := math.Inf(1), [3]float64{}
	for set := 1; set < 8; set++ {
		x, ok := solve(rows, set)
		if !ok || slices.ContainsFunc(x[:], func(v float64) bool { return v < 0 }) || x[1]+x[2] == 0 {
			continue
		}
		e := residual(rows, x)
		if x[1] < leastByte { // few small restores may say that bytes cost nothing; that of a large service would take no time
			e += freeBytes
		}
		if e < best-1e-12 {
			best, found = e, x
		}
	}
	return found[0], found[1] / 1e9, found[2] / 1e3
}

// A fit in which a gigabyte takes less than leastByte seconds, which no disk can,
// is taken only where there is no other: freeBytes is more than any residual.
const (
	leastByte = 0.01
	freeBytes = 1e12
)

func residual(rows [][3]float64, x [3]float64) float64 {
	sum := 0.0
	for _, r := range rows {
		e := r[0]*x[0] + r[1]*x[1] + r[2]*x[2] - 1
		sum += e * e
	}
	return sum
}

// solve is the least squares solution in which only the unknowns of set, a bit
// mask, are not zero; not ok when they cannot be told apart.
func solve(rows [][3]float64, set int) (x [3]float64, ok bool) {
	var on []int
	for i := range 3 {
		if set&(1<<i) != 0 {
			on = append(on, i)
		}
	}
	n := len(on)
	a := make([][]float64, n) // normal equations with the right side as last column
	for i := range a {
		a[i] = make([]float64, n+1)
		for _, r := range rows {
			for j := range n {
				a[i][j] += r[on[i]] * r[on[j]]
			}
			a[i][n] += r[on[i]]
		}
	}
	for i := range n {
		p := i
		for k := i + 1; k < n; k++ {
			if math.Abs(a[k][i]) > math.Abs(a[p][i]) {
				p = k
			}
		}
		a[i], a[p] = a[p], a[i]
		if math.Abs(a[i][i]) < 1e-12 {
			return x, false
		}
		for k := range n {
			if k == i {
				continue
			}
			f := a[k][i] / a[i][i]
			for j := i; j <= n; j++ {
				a[k][j] -= f * a[i][j]
			}
		}
	}
	for i, unknown := range on {
		x[unknown] = a[i][n] / a[i][i]
	}
	return x, true
}
