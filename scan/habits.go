package scan

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/detect/baseline"
)

// deed is what a host did, put away until those who read a file together are
// done.
type deed struct {
	Source      Source               `json:"s"`
	Observation baseline.Observation `json:"o"`
}

// watch takes in what a host did, and matches the behaviour that this completes.
// Each file is watched by itself: the hosts of another one may be others.
func (w *worker) watch(o baseline.Observation, ok bool, about *Flow) error {
	if !ok {
		return nil
	}
	if w.aside != nil {
		b, err := json.Marshal(deed{w.at, o})
		if err != nil {
			return fmt.Errorf("put an observation away: %w", err)
		}
		return w.aside.add(timeKey(o.At, w.place, w.at.Record), b)
	}
	if w.habits == nil {
		w.habits = baseline.New(baseline.Config{})
	}
	for _, e := range w.habits.Observe(o) {
		w.hits = w.hits[:0]
		w.matcher.Match(record(e), func(h detect.Hit) { w.hits = append(w.hits, h) })
		if w.broken = w.hit(e, about); w.broken != nil {
			return w.broken
		}
	}
	return nil
}

// together lets several workers read one file, and watches what hosts did in it
// when all was read, in the order of time.
func (w *worker) together(read func() error) error {
	w.aside = newSorter(w.run.opt.TempDir, w.run.opt.Memory/8)
	err := read()
	aside := w.aside
	w.aside = nil
	defer aside.close()
	return errors.Join(err, aside.each(func(b []byte) error {
		var d deed
		if err := json.Unmarshal(b, &d); err != nil {
			return fmt.Errorf("read an observation that was put away: %w", err)
		}
		w.at = d.Source
		return w.watch(d.Observation, true, nil)
	}))
}
