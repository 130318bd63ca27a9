package agent

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/sonae/sonae/agent/sensor"
)

// sensorSums adds up what sensors that ended have counted.
type sensorSums struct{ packets, drops atomic.Uint64 }

func (s *sensorSums) add(st sensor.Stats) {
	s.packets.Add(st.Packets)
	s.drops.Add(st.Drops)
}

// sensorStats is what all sensors of this process have counted.
func (a *Agent) sensorStats() sensor.Stats {
	st := sensor.Stats{Packets: a.ended.packets.Load(), Drops: a.ended.drops.Load()}
	if s := a.sensor.Load(); s != nil {
		now := (*s).Stats()
		st.Packets, st.Drops = st.Packets+now.Packets, st.Drops+now.Drops
	}
	return st
}

// Bounds of the alarm about lost packets.
const (
	lossSpan  = time.Minute
	lossLeast = 100 // fewer lost packets are no alarm: a quiet line loses its share with one
	lossKept  = 1024
)

// lossWindow looks at what was seen and lost within the last minute.
type lossWindow struct {
	limit float64 // share of the packets
	past  []counted
	on    bool
}

type counted struct {
	at time.Time
	sensor.Stats
}

// see takes the counters as they stand now. changed says that the alarm went on
// or off, span what was counted within the minute.
func (w *lossWindow) see(now time.Time, st sensor.Stats) (changed bool, span sensor.Stats) {
	if n := len(w.past); n > 0 && (now.Before(w.past[n-1].at) || st.Packets < w.past[n-1].Packets) {
		w.past = nil // the clock was set
	}
	for len(w.past) > 1 && !w.past[1].at.After(now.Add(-lossSpan)) || len(w.past) >= lossKept {
		w.past = w.past[1:]
	}
	w.past = append(w.past, counted{now, st})
	span = sensor.Stats{Packets: st.Packets - w.past[0].Packets, Drops: st.Drops - w.past[0].Drops}
	on := span.Drops >= lossLeast && span.Share() > w.limit
	changed, w.on = on != w.on, on
	return changed, span
}

// watchLoss raises the alarm when too many packets are lost within a minute,
// and takes it back after a minute in which they were not.
func (a *Agent) watchLoss(w *lossWindow) {
	changed, span := w.see(a.now(), a.sensorStats())
	if !changed {
		return
	}
	a.losing.Store(w.on)
	what := "sensor-recovered"
	if w.on {
		what = "sensor-losing"
		a.log.Warn("packets are being lost", "lost", span.Drops, "seen", span.Packets)
	}
	a.urgent(a.own(what, map[string]string{"Lost": strconv.FormatUint(span.Drops, 10), "Seen": strconv.FormatUint(span.Packets, 10),
		"Share": strconv.FormatFloat(span.Share(), 'f', 4, 64)}))
}
