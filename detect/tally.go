package detect

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sonae/sonae/detect/correlate"
	"github.com/sonae/sonae/event"
)

// tally is what correlations have counted.
type tally struct {
	mu   sync.Mutex
	plan *plan
	key  []byte // used again
	heir *tally // counts instead, since it took over
}

// evidence is an event that a correlation counts. Below a correlation that
// counts another one stand the events of that one.
type evidence struct {
	Event event.Event   `json:"event"`
	Below []event.Event `json:"below,omitempty"`
}

func newTally(p *plan) *tally { return &tally{plan: p} }

func byRule(a, b Match) int { return cmp.Compare(a.Rule, b.Rule) }

// lock locks the tally that counts now.
func (t *tally) lock() *tally {
	for {
		t.mu.Lock()
		if t.heir == nil {
			return t
		}
		heir := t.heir
		t.mu.Unlock()
		t = heir
	}
}

// count takes matches in, in their order, and appends what is found.
func (t *tally) count(matches []Match, out []Finding) []Finding {
	if len(matches) == 0 {
		return out
	}
	t = t.lock()
	defer t.mu.Unlock()
	for i := range matches {
		for _, e := range t.plan.feeds[matches[i].Rule] {
			out = t.observe(e, evidence{Event: matches[i].Event}, out)
		}
	}
	return out
}

// observe tells a correlation of an event and, where it fires, those that
// stand on it.
func (t *tally) observe(at edge, ev evidence, out []Finding) []Finding {
	n := at.to
	o, ok := n.observation(&t.key, at.ref, ev)
	if !ok {
		return out
	}
	for _, f := range n.window.Add(o, nil) {
		if len(f.Events) == 0 { // they had to be forgotten
			f.Events = []evidence{ev}
		}
		found := n.finding(f)
		if !n.silent {
			out = append(out, found)
		}
		for _, up := range n.up {
			out = t.observe(up, evidence{Event: f.Events[len(f.Events)-1].Event, Below: found.Events}, out)
		}
	}
	return out
}

// observation is what a correlation sees of an event. An event without a field
// of the group belongs to none, and one without the value is not counted: an
// absent field is not an empty one.
func (n *node) observation(key *[]byte, ref int, ev evidence) (correlate.Observation[evidence], bool) {
	e := &ev.Event
	o := correlate.Observation[evidence]{At: e.Time, Rule: ref, ID: e.ID, Event: ev}
	k := part((*key)[:0], e.Site) // people of one site must not learn of another
	k = part(k, strconv.FormatBool(e.Drill))
	if n.threshold {
		k = part(k, e.Host)
	}
	for _, name := range n.GroupBy {
		v, ok := value(e, n.FieldOf(name, ref))
		if !ok {
			return o, false
		}
		k = part(k, v)
	}
	o.Group, *key = k, k
	for i, name := range n.Fields {
		v, ok := value(e, n.FieldOf(name, ref))
		switch {
		case !ok:
			return o, false
		case n.Config.Numeric():
			o.Num = parse(v)
		case i == 0:
			o.Text = v
		default:
			o.Text += "\x00" + v
		}
	}
	return o, true
}

// parse reads a number; what is none counts as unfit.
func parse(s string) float64 {
	v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil {
		return math.NaN()
	}
	return v
}

func part(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// parts undoes part.
func parts(key string) []string {
	var out []string
	for b := []byte(key); len(b) > 0; {
		n, used := binary.Uvarint(b)
		if used <= 0 || n > uint64(len(b)-used) {
			return out
		}
		out = append(out, string(b[used:used+int(n)]))
		b = b[used+int(n):]
	}
	return out
}

// hostNames are what rules call the machine, whose name stands beside the
// fields here: "host" in those that are made of searches, the others in public
// ones.
var hostNames = []string{"host", "ComputerName", "Computer", "Hostname", "host.name", "Host"}

func value(e *event.Event, field string) (string, bool) {
	v, ok := e.Fields[field]
	if !ok && e.Host != "" && slices.Contains(hostNames, field) {
		return e.Host, true
	}
	return v, ok
}

// finding describes what fired.
func (n *node) finding(f correlate.Firing[evidence]) Finding {
	last := f.Events[len(f.Events)-1].Event
	names := append([]string{"", ""}, n.GroupBy...)
	if n.threshold {
		names = append([]string{"", "", "host"}, n.GroupBy...)
	}
	c := &Correlated{Value: f.Value, Count: f.Count, From: f.From, To: f.To}
	for i, v := range parts(f.Group) {
		if i < len(names) && names[i] != "" {
			c.Group = append(c.Group, GroupValue{names[i], v})
		}
	}
	id := findingID(n.ID, f.Group, f.At.Format(time.RFC3339Nano), strconv.FormatUint(uint64(f.Event), 16))
	return Finding{ID: id, Rule: n.shown, Time: f.At, Site: last.Site, Host: last.Host, Drill: last.Drill, Events: contributed(f.Events), Correlated: c}
}

// contributed lists the events of a firing, each once, the oldest first: of
// many the first and the last.
func contributed(list []evidence) []event.Event {
	var out []event.Event
	seen := map[string]bool{}
	for _, ev := range list {
		for _, e := range append(slices.Clip(ev.Below), ev.Event) {
			if e.ID == "" || !seen[e.ID] {
				seen[e.ID] = true
				out = append(out, e)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b event.Event) int { return a.Time.Compare(b.Time) })
	if n := len(out); n > 2*correlate.MaxShown {
		out = append(out[:correlate.MaxShown:correlate.MaxShown], out[n-correlate.MaxShown:]...)
	}
	return out
}

// adopt takes over the windows of correlations that are the same in old.
func (t *tally) adopt(old *tally) {
	old.mu.Lock()
	defer old.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	windows := map[string]*node{}
	for _, n := range old.plan.nodes {
		windows[n.ID] = n
	}
	for _, n := range t.plan.nodes {
		if o := windows[n.ID]; o != nil && o.digest == n.digest {
			n.window = o.window
		}
	}
	old.heir = t
}

// Counts tells, by correlation, what is held and what had to be left out: more
// than 0 there means that a slow attack may have been missed.
func (e *Engine) Counts() map[string]correlate.Stats {
	t := e.tally.lock()
	defer t.mu.Unlock()
	out := make(map[string]correlate.Stats, len(t.plan.nodes))
	for _, n := range t.plan.nodes {
		out[n.ID] = n.window.Stats()
	}
	return out
}
