package agent

import (
	"testing"
	"time"

	"github.com/sonae/sonae/agent/sensor"
)

// TestAlarmAboutLostPackets: within a minute more than the limit, and not for a
// handful; it ends a minute later.
func TestAlarmAboutLostPackets(t *testing.T) {
	now := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
	w := lossWindow{limit: 0.01}
	var st sensor.Stats
	for i, step := range []struct {
		seen, lost uint64
		changed    bool
	}{
		{10000, 0, false},  // 0 s
		{10000, 90, false}, // 0.9 %
		{10, 9, false},     // too few to matter
		{10000, 300, true}, // 399 of 20,409
		{10000, 300, false},
		{0, 0, false}, {0, 0, false}, {0, 0, false}, {0, 0, false}, {0, 0, false}, {0, 0, false}, // 50 to 100 s
		{10000, 1, false}, // the last loss is 70 s ago here
	} {
		now = now.Add(10 * time.Second)
		st.Packets, st.Drops = st.Packets+step.seen, st.Drops+step.lost
		before := w.on
		changed, span := w.see(now, st)
		if i < 5 && changed != step.changed {
			t.Errorf("step %d: changed %v, span %+v", i, changed, span)
		}
		if !changed && w.on != before {
			t.Errorf("step %d: the alarm changed unsaid", i)
		}
	}
	if w.on {
		t.Error("the alarm goes on although nothing was lost for a minute")
	}
	now = now.Add(-time.Hour) // the clock is set
	if changed, _ := w.see(now, st); changed {
		t.Error("setting the clock is an alarm")
	}
	if len(w.past) > 8 {
		t.Errorf("%d points are kept", len(w.past))
	}
}
