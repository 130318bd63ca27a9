package baseline

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/flow"
)

// What counts as a beacon. The four parts of the score are those of RITA
// (timing, size, duration, histogram). RITA judges a day at a time and asks for
// hours of duration; here the duration is counted in beats, because a beacon is
// the same at any speed: as many calls as RITA asks for, over as many gaps,
// and 45 seconds at least. Below that it is a page being loaded or a program
// that tries again.
const (
	leastCalls  = 24
	leastSpan   = 45 * time.Second
	leastGap    = 500 * time.Millisecond // median
	mostGap     = 6 * time.Hour
	mostScatter = 0.35 // median distance from the median gap, as a part of it: 0.18 for a jitter of 35 %, 0.69 for chance
	leastScore  = 0.75
	calmParts   = 12 // parts of the span that must each have calls
)

// quietPorts are log-ons to mail boxes, look-ups and clocks: polling is what
// they are for.
var quietPorts = map[uint16]bool{53: true, 123: true, 853: true, 25: true, 110: true, 143: true, 465: true, 587: true, 993: true, 995: true, 1883: true, 8883: true, 5223: true, 5228: true}

// call looks at when a host calls a place outside.
func (w *Watch) call(h *host, o *Observation) {
	web := o.Proto == "tcp" || o.Proto == "udp" && o.Remote.Port() == 443
	if !o.Opened || !web || !o.outside() || o.Received == 0 || o.Proto == "tcp" && o.empty() || quietPorts[o.Remote.Port()] ||
		o.App == flow.LabelBitTorrent || o.App == flow.LabelDNS || vendor(o.Name) {
		return
	}
	w.join(o.Site, o.Host, o.Proto)
	t, _ := w.things[series].get(w.with(o.Remote))
	t.mark(o.First, o.Sent)
	t.example(o.Flow)
	if t.count++; t.count < leastCalls || t.count%4 != 0 {
		return
	}
	if w.settled(h, o) {
		return
	}
	if r := rate(t); r.beacon() {
		w.tellBeacon(h, o, t, r)
	}
}

// settled says whether the host has called the place for as long as it takes to
// learn: what was there before, or was told and left, is usual.
func (w *Watch) settled(h *host, o *Observation) bool {
	day, there := h.since(o.placeID())
	return there && w.learned(h, o.At) && day <= (o.At.Unix()-int64(w.conf.Learn/time.Second))/86400
}

// rhythm is how regular calls are; parts of the score are 0 to 1.
type rhythm struct {
	gap                            time.Duration // median
	span                           time.Duration
	scatter                        float64
	timing, size, lasting, evening float64
}

func (r rhythm) score() float64 { return (r.timing + r.size + r.lasting + r.evening) / 4 }

func (r rhythm) beacon() bool {
	return r.gap >= leastGap && r.gap <= mostGap && r.span >= leastSpan && r.span >= r.gap*(leastCalls-1)*3/4 &&
		r.scatter <= mostScatter && r.lasting >= 0.9 && r.score() >= leastScore
}

func rate(t *thing) rhythm {
	n := len(t.times)
	if n < leastCalls {
		return rhythm{}
	}
	var room [2][maxTimes]int64
	gaps := room[0][:n-1]
	for i := range gaps {
		gaps[i] = t.times[i+1] - t.times[i]
	}
	var r rhythm
	gap, skew, scatter := spread(gaps)
	_, sizeSkew, sizeScatter := spread(append(room[1][:0], t.sizes...))
	r.gap, r.scatter = time.Duration(gap)*time.Millisecond, scatter
	r.span = time.Duration(t.times[n-1]-t.times[0]) * time.Millisecond
	r.timing = (1 - math.Abs(skew) + max(0, 1-scatter)) / 2
	r.size = (1 - math.Abs(sizeSkew) + max(0, 1-sizeScatter)) / 2
	r.lasting, r.evening = shape(t.times)
	return r
}

// spread returns the median, Bowley's skewness (-1 to 1) and the median distance
// from the median as a part of it. It sorts v.
func spread(v []int64) (median int64, skew, scatter float64) {
	slices.Sort(v)
	n := len(v)
	low, mid, high := v[n/4], v[n/2], v[n*3/4]
	if high > low && mid != low && mid != high {
		skew = float64(high+low-2*mid) / float64(high-low)
	}
	for i := range v {
		v[i] = max(v[i]-mid, mid-v[i])
	}
	slices.Sort(v)
	if mid > 0 {
		return mid, skew, float64(v[n/2]) / float64(mid)
	}
	return mid, skew, 1
}

// shape cuts the span into parts and says which part of them has calls, and how
// evenly.
func shape(times []int64) (lasting, evening float64) {
	var parts [calmParts]float64
	from, span := times[0], times[len(times)-1]-times[0]+1
	for _, t := range times {
		parts[(t-from)*calmParts/span]++
	}
	mean, used, square := float64(len(times))/calmParts, 0.0, 0.0
	for _, p := range parts {
		if p > 0 {
			used++
		}
		square += (p - mean) * (p - mean)
	}
	return used / calmParts, max(0, 1-math.Sqrt(square/calmParts)/mean)
}

func (w *Watch) tellBeacon(h *host, o *Observation, t *thing, r rhythm) {
	f := t.proof(o.At)
	f[FieldFrom] = time.UnixMilli(t.times[0]).UTC().Format(time.RFC3339)
	f[FieldCount], f[FieldScore] = number64(t.count), score(r.score())
	f["Interval"] = fmt.Sprintf("%.1f", r.gap.Seconds())
	f["Jitter"], f["Duration"] = score(r.scatter), fmt.Sprintf("%.0f", r.span.Seconds())
	f["ScoreTiming"], f["ScoreSize"], f["ScoreDuration"], f["ScoreHistogram"] = score(r.timing), score(r.size), score(r.lasting), score(r.evening)
	f[event.FieldDstPort] = fmt.Sprint(o.Remote.Port())
	ja := fmt.Sprintf("%sへ、約%.1f秒ごとに%d回、同じように接続しました(間隔のばらつき %.0f %%、規則性 %.2f)。", o.place(), r.gap.Seconds(), t.count, r.scatter*100, r.score())
	en := fmt.Sprintf("Called %s %d times, about every %.1f s and alike (gaps scatter by %.0f %%, regularity %.2f).", o.place(), t.count, r.gap.Seconds(), r.scatter*100, r.score())
	w.tell(h, o, behaviour{name: Beacon, about: o.Remote.String(), peer: o.Remote, ja: ja, en: en, fields: f})
}
