package baseline

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// host is what is remembered of one host.
type host struct {
	first, last int64  // seconds, of its observations
	active      uint32 // hours in which it talked to the outside

	hours  [week]uint32 // most KiB that it sent outside in this hour of the week, lately
	hour   int64        // the hour at hand, since 1970 in the configured zone
	sent   int64        // bytes to the outside in it
	day    int64        // the day at hand
	daily  int64        // bytes to the outside in it
	dayMax int64        // most bytes of a day, lately

	known   []known // what it was seen to do, by hash
	outside uint32  // how many of known are places outside
	newest  int64   // when the last of those was new, seconds
}

const week = 7 * 24

// known is something a host was seen to do, by the day.
type known struct {
	hash        uint64
	first, last uint16 // days since 1970
}

// maxKnown bounds what is known of one host.
const maxKnown = 1024

// fade is by how much what was usual is believed less when another week was
// smaller: a burst is forgotten within some weeks.
const fade = 0.8

// hourOfWeek is 0 for Monday from midnight to one.
func hourOfWeek(t time.Time) int { return (int(t.Weekday())+6)%7*24 + t.Hour() }

// turn ends the hour at hand when at lies in a later one.
func (h *host) turn(at time.Time) {
	_, offset := at.Zone()
	local := at.Unix() + int64(offset)
	hour, day := local/3600, local/86400
	if hour > h.hour {
		if h.hour > 0 && h.sent > 0 {
			h.fold()
		}
		h.hour, h.sent = hour, 0
	}
	if day > h.day {
		h.dayMax = max(h.daily, int64(float64(h.dayMax)*0.95))
		h.day, h.daily = day, 0
	}
}

// fold makes the hour at hand part of what is usual. 1970 began on a Thursday.
func (h *host) fold() {
	at := &h.hours[(h.hour+3*24)%week]
	kib := uint32(min(h.sent>>10, 1<<32-1))
	*at = max(kib, uint32(float64(*at)*fade))
	h.active++
}

// usual is the most bytes that the host sent outside about this hour: work
// moves by an hour without being another thing.
func (h *host) usual(hour int) int64 {
	most := uint32(0)
	for _, by := range []int{week - 1, 0, 1} {
		most = max(most, h.hours[(hour+by)%week])
	}
	return int64(most) << 10
}

// idOf is a number for what a host does. It is kept, so it must be the same in
// every process: FNV-1a.
func idOf(parts ...string) uint64 {
	sum := uint64(fnvOffset)
	for _, p := range parts {
		for i := range len(p) {
			sum = (sum ^ uint64(p[i])) * fnvPrime
		}
		sum *= fnvPrime
	}
	return sum
}

// idOfEnd is idOf for something about an address.
func idOfEnd(what string, end netip.AddrPort) uint64 {
	sum := idOf(what)
	for _, c := range end.Addr().As16() {
		sum = (sum ^ uint64(c)) * fnvPrime
	}
	return (sum ^ uint64(end.Port())) * fnvPrime
}

const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

// find returns where something known stands, or would.
func (h *host) find(id uint64) (int, bool) {
	return slices.BinarySearchFunc(h.known, id, func(k known, id uint64) int { return cmp.Compare(k.hash, id) })
}

func (h *host) knows(id uint64) bool {
	_, there := h.find(id)
	return there
}

// since returns the day on which something was seen first.
func (h *host) since(id uint64) (day int64, there bool) {
	i, there := h.find(id)
	if !there {
		return 0, false
	}
	return int64(h.known[i].first), true
}

// seen notes that the host did something, and says whether that was not known.
func (h *host) seen(w *Watch, id uint64, at time.Time) (fresh bool) {
	day := uint16(at.Unix() / 86400)
	i, there := h.find(id)
	if there {
		k := &h.known[i]
		k.last = max(k.last, day)
		return false
	}
	if len(h.known) >= maxKnown {
		oldest := 0
		for j := range h.known {
			if h.known[j].last < h.known[oldest].last {
				oldest = j
			}
		}
		h.known = slices.Delete(h.known, oldest, oldest+1)
		if oldest < i {
			i--
		}
		w.stats.LostKnown++
	}
	h.known = slices.Insert(h.known, i, known{id, day, day})
	return true
}

// thing is something under watch. Each topic uses the parts it needs.
type thing struct {
	from, last int64    // milliseconds
	count      int64    //
	out, in    int64    // bytes, or what the topic says
	seen       []uint64 // different things, at most maxSeen
	times      []int64  // milliseconds, at most maxTimes, oldest first
	sizes      []int64  // beside times
	flows      []string // ids of the first connections, at most maxFlows
}

const (
	maxSeen  = 128
	maxTimes = 96
	maxFlows = 5
)

// fresh begins anew when the window since its begin is over.
func (t *thing) fresh(at time.Time, window time.Duration) {
	ms := at.UnixMilli()
	if ms-t.from > window.Milliseconds() {
		*t = thing{from: ms, seen: t.seen[:0], times: t.times[:0], sizes: t.sizes[:0]}
	}
	t.last = max(t.last, ms)
}

// add notes a thing among the different ones, and says whether it is one more.
func (t *thing) add(id uint64) bool {
	if len(t.seen) >= maxSeen || slices.Contains(t.seen, id) {
		return false
	}
	t.seen = append(t.seen, id)
	return true
}

func (t *thing) example(flow string) {
	if flow != "" && len(t.flows) < maxFlows && !slices.Contains(t.flows, flow) {
		t.flows = append(t.flows, flow)
	}
}

// mark keeps a time and a size; the oldest goes when there are too many. The
// times are kept in order: connections end in another order than they began.
func (t *thing) mark(at time.Time, size int64) {
	ms := at.UnixMilli()
	i, _ := slices.BinarySearch(t.times, ms)
	if len(t.times) >= maxTimes {
		if i == 0 {
			return
		}
		t.times = slices.Delete(t.times, 0, 1)
		t.sizes = slices.Delete(t.sizes, 0, 1)
		i--
	}
	t.times = slices.Insert(t.times, i, ms)
	t.sizes = slices.Insert(t.sizes, i, size)
}
