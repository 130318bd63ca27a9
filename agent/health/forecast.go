package health

import (
	"slices"
	"time"
)

// sample is how much of something was used at a moment.
type sample struct {
	at   time.Time
	used float64
}

// Bounds of a forecast.
const (
	forecastEvery = 5 * time.Minute // between two samples
	forecastKept  = 144             // 12 hours
	forecastLeast = 12              // an hour: less says nothing about a day
	forecastAgree = 0.8             // share of the pairs of samples that must show growth
	forecastFar   = 90 * 24         // hours: beyond that, it is no forecast but a guess
)

// series is the past of one volume. Not for concurrent use.
type series struct{ past []sample }

// add keeps a sample, when the last one is long enough ago. A clock that was set
// back starts anew.
func (s *series) add(now time.Time, used float64) {
	if n := len(s.past); n > 0 {
		switch age := now.Sub(s.past[n-1].at); {
		case age < 0:
			s.past = nil
		case age < forecastEvery:
			return
		}
	}
	if len(s.past) == forecastKept {
		s.past = s.past[1:]
	}
	s.past = append(s.past, sample{now, used})
}

// full is in how many hours capacity is reached, at the median of the slopes
// between all pairs of samples (Theil–Sen: a file that is written and deleted
// again moves it little). ok is false when it cannot be said: too few samples,
// no steady growth, or too far away.
func (s *series) full(capacity float64) (hours float64, ok bool) {
	n := len(s.past)
	if n < forecastLeast {
		return 0, false
	}
	slopes := make([]float64, 0, n*(n-1)/2)
	growing := 0
	for i := range s.past {
		for j := i + 1; j < n; j++ {
			slope := (s.past[j].used - s.past[i].used) / s.past[j].at.Sub(s.past[i].at).Hours()
			slopes = append(slopes, slope)
			if slope > 0 {
				growing++
			}
		}
	}
	slices.Sort(slopes)
	median := slopes[len(slopes)/2]
	if median <= 0 || float64(growing) < forecastAgree*float64(len(slopes)) {
		return 0, false
	}
	hours = max(0, capacity-s.past[n-1].used) / median
	return hours, hours <= forecastFar
}
