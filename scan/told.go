package scan

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/detect/ioc"
	"github.com/sonae/sonae/event"
	sensors "github.com/sonae/sonae/source/told"
)

// listConfidence is that of indicators whose list says nothing.
const listConfidence = 50

// loadLists reads the threat lists, and says what of them is not looked for.
func (c *command) loadLists() error {
	var lists []ioc.List
	for i, name := range c.lists {
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if len(data) > ioc.MaxBytes {
			return fmt.Errorf("%s: more than %d bytes", name, ioc.MaxBytes)
		}
		p := ioc.Parse(data, "", ioc.Own{}, c.now)
		left := 0
		for _, n := range p.Reasons {
			left += n
		}
		c.say(c.words().T("ioc", "file", name, "format", string(p.Format), "n", strconv.Itoa(len(p.Indicators)), "left", strconv.Itoa(left)))
		lists = append(lists, ioc.List{ID: strconv.Itoa(i), Name: filepath.Base(name), Source: name, Confidence: listConfidence, Indicators: p.Indicators})
	}
	if len(lists) > 0 {
		c.opt.Lists = ioc.NewSet(lists)
	}
	return nil
}

// listed judges what a record names of threat lists.
func (w *worker) listed(r *event.Record) error {
	h, ok := w.run.opt.Lists.Record(r, w.run.opt.Source.Now)
	if !ok {
		return nil
	}
	return w.again(h.Event(r.Event(w.at.id())), nil, nil)
}

// connected judges what another sensor tells of a connection as a connection,
// too, so that rules about connections work without packets. What a rule found
// in the record itself, it does not find once more.
func (w *worker) connected(r *event.Record, before []detect.Hit) error {
	f, ok := sensors.Flow(r)
	if !ok {
		return nil
	}
	about := flowOf(f)
	if w.run.opt.Flows {
		if w.broken = w.run.connection(w.place, w.at, about); w.broken != nil {
			return w.broken
		}
	}
	e := sensors.Event(r, local)
	e.ID = w.at.id() + "/flow"
	e.Host = e.Fields[event.FieldLocalIP]
	return w.again(e, about, before)
}

// again runs the rules over an event that was made of a record.
func (w *worker) again(e event.Event, about *Flow, except []detect.Hit) error {
	known := map[*detect.Rule]bool{}
	for _, h := range except {
		known[h.Rule] = true
	}
	w.hits = w.hits[:0]
	w.matcher.Match(record(e), func(h detect.Hit) { w.hits = append(w.hits, h) })
	w.hits = slices.DeleteFunc(w.hits, func(h detect.Hit) bool { return known[h.Rule] })
	if len(w.hits) > 0 {
		w.broken = w.hit(e, about)
	}
	return w.broken
}
