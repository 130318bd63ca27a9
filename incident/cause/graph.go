package cause

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/incident"
)

// Lanes of the graph that every incident has; each host that something is about
// has one of its own beside them.
const (
	LaneAlert    = "alert"    // 警報
	LanePeople   = "people"   // what people wrote
	LaneAction   = "action"   // 措置
	LaneEvidence = "evidence" // 証拠
	LaneSystem   = "system"   // what Sonae wrote besides
	LaneHost     = "host"
)

const (
	// columns is how many slots the time of the graph has.
	columns = 40
	// maxHosts is how many hosts have a lane; what is about others stands in one
	// together.
	maxHosts = 8
	// named is how many things of a slot are told one by one.
	named = 5
)

// Graph is an incident over time: lanes of groups. Whatever it shows, it has at
// most columns groups in a lane.
type Graph struct {
	Incident string        `json:"incident"`
	First    time.Time     `json:"first"` // of all that there is
	Last     time.Time     `json:"last"`
	From     time.Time     `json:"from"` // what is shown
	To       time.Time     `json:"to"`
	Step     time.Duration `json:"step"` // width of a slot, in nanoseconds
	Lanes    []Lane        `json:"lanes"`
	Slots    []Slot        `json:"slots"` // the same as text, those that hold something
}

// Lane is one row of the graph.
type Lane struct {
	Kind   string  `json:"kind"`
	Host   string  `json:"host,omitempty"` // id; "" in a lane of hosts: all others
	Groups []Group `json:"groups"`
}

// Group is what lies in one slot of a lane.
type Group struct {
	Slot     int            `json:"slot"` // from 0
	Count    int            `json:"count"`
	Severity event.Severity `json:"severity"` // the highest of alerts
	Entry    int            `json:"entry,omitempty"`
	Alert    string         `json:"alert,omitempty"` // the only thing in it, when it is one
}

// Slot is a span of time with what lies in it, oldest first; no more than a few
// things are named.
type Slot struct {
	No    int       `json:"no"`
	From  time.Time `json:"from"`
	To    time.Time `json:"to"`
	Count int       `json:"count"`
	Items []Item    `json:"items"`
}

// Item is one thing in the graph: an entry or an alert.
type Item struct {
	At    time.Time       `json:"at"`
	Entry *incident.Entry `json:"entry,omitempty"`
	Alert *alert.Alert    `json:"alert,omitempty"`
}

// Graph draws an incident between two times; zero ones mean all of it. Invalid
// when from is not before to.
func (d *Desk) Graph(ctx context.Context, in, site string, from, to time.Time) (Graph, error) {
	var entries []incident.Entry
	for after := 0; ; after = entries[len(entries)-1].No {
		some, err := d.Room.Entries(ctx, in, after, 1000)
		if err != nil {
			return Graph{}, fmt.Errorf("graph of %s: %w", in, err)
		}
		entries = append(entries, some...)
		if len(some) < 1000 {
			break
		}
	}
	alerts, err := d.alerts(ctx, in, site)
	if err != nil {
		return Graph{}, fmt.Errorf("graph of %s: %w", in, err)
	}
	g := Draw(entries, alerts, from, to)
	g.Incident = in
	return g, nil
}

func (d *Desk) alerts(ctx context.Context, in, site string) ([]alert.Alert, error) {
	var all []alert.Alert
	for {
		some, total, err := d.Alerts.List(ctx, alert.Filter{Incident: in, Site: site, Limit: 200, Offset: len(all)})
		if err != nil {
			return nil, err
		}
		if all = append(all, some...); len(all) >= total || len(some) == 0 {
			return all, nil
		}
	}
}

// Draw groups entries and alerts between two times; zero ones mean all.
func Draw(entries []incident.Entry, alerts []alert.Alert, from, to time.Time) Graph {
	items := make([]Item, 0, len(entries)+len(alerts))
	for i := range entries {
		items = append(items, Item{At: entries[i].OccurredAt, Entry: &entries[i]})
	}
	for i := range alerts {
		items = append(items, Item{At: alerts[i].First, Alert: &alerts[i]})
	}
	slices.SortStableFunc(items, func(a, b Item) int { return a.At.Compare(b.At) })
	g := Graph{From: from, To: to}
	if len(items) == 0 {
		return g
	}
	g.First, g.Last = items[0].At, items[len(items)-1].At
	if g.From.IsZero() {
		g.From = g.First
	}
	if g.To.IsZero() || !g.To.After(g.From) {
		g.To = g.Last
	}
	g.From = g.From.Truncate(time.Second)
	g.Step = max(time.Second, g.To.Sub(g.From)/columns+1).Round(time.Second)
	if g.From.Add(columns*g.Step).Compare(g.To) <= 0 { // the last thing belongs to the last slot
		g.Step += time.Second
	}
	g.To = g.From.Add(columns * g.Step)
	g.fill(items)
	return g
}

// fill puts what lies between the two times into lanes and slots.
func (g *Graph) fill(items []Item) {
	hosts := hostsOf(items)
	lanes := map[string]*Lane{}
	var order []*Lane
	lane := func(kind, host string) *Lane {
		key := kind + "/" + host
		if lanes[key] == nil {
			lanes[key] = &Lane{Kind: kind, Host: host}
			order = append(order, lanes[key])
		}
		return lanes[key]
	}
	for _, kind := range []string{LaneAlert, LanePeople, LaneAction, LaneEvidence, LaneSystem} {
		lane(kind, "")
	}
	for _, h := range hosts {
		lane(LaneHost, h)
	}
	for _, x := range items {
		if x.At.Before(g.From) || !x.At.Before(g.To) {
			continue
		}
		slot := int(x.At.Sub(g.From) / g.Step)
		lane(x.lane(), "").add(slot, x)
		if h := x.host(); h != "" {
			if !slices.Contains(hosts, h) {
				h = ""
			}
			lane(LaneHost, h).add(slot, x)
		}
		g.note(slot, x)
	}
	for _, l := range order {
		if len(l.Groups) > 0 {
			g.Lanes = append(g.Lanes, *l)
		}
	}
}

// note adds an item to the text beside the drawing; items come in order of
// time.
func (g *Graph) note(slot int, x Item) {
	if n := len(g.Slots); n == 0 || g.Slots[n-1].No != slot {
		from := g.From.Add(time.Duration(slot) * g.Step)
		g.Slots = append(g.Slots, Slot{No: slot, From: from, To: from.Add(g.Step)})
	}
	s := &g.Slots[len(g.Slots)-1]
	s.Count++
	if len(s.Items) < named {
		s.Items = append(s.Items, x)
	}
}

func (l *Lane) add(slot int, x Item) {
	if n := len(l.Groups); n == 0 || l.Groups[n-1].Slot != slot {
		l.Groups = append(l.Groups, Group{Slot: slot})
	}
	p := &l.Groups[len(l.Groups)-1]
	p.Count++
	p.Entry, p.Alert = 0, ""
	if x.Alert != nil {
		p.Severity = max(p.Severity, x.Alert.Severity)
	}
	if p.Count == 1 && x.Alert != nil {
		p.Alert = x.Alert.ID
	} else if p.Count == 1 {
		p.Entry = x.Entry.No
	}
}

func (x Item) lane() string {
	switch {
	case x.Alert != nil:
		return LaneAlert
	case x.Entry.By != incident.System:
		return LanePeople
	case x.Entry.Source == "action":
		return LaneAction
	case x.Entry.Source == "evidence":
		return LaneEvidence
	}
	return LaneSystem
}

// host is the machine that an item is about.
func (x Item) host() string {
	if x.Alert != nil {
		return x.Alert.Host
	}
	return x.Entry.Args["host"]
}

// hostsOf are the hosts that most is about, in the order in which they appear.
func hostsOf(items []Item) []string {
	count, seen := map[string]int{}, []string{}
	for _, x := range items {
		h := x.host()
		if h == "" {
			continue
		}
		if count[h]++; count[h] == 1 {
			seen = append(seen, h)
		}
	}
	if len(seen) <= maxHosts {
		return seen
	}
	most := slices.Clone(seen)
	slices.SortStableFunc(most, func(a, b string) int { return cmp.Compare(count[b], count[a]) })
	most = most[:maxHosts]
	return slices.DeleteFunc(seen, func(h string) bool { return !slices.Contains(most, h) })
}
