package sheet

import (
	"cmp"
	"slices"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/report"
)

// silentAfter is after how long without a sign a machine of the incident does
// not count as running. Others are often simply switched off.
const silentAfter = 3 * time.Minute

// rank orders states from the best to the worst.
func (s State) rank() int {
	return slices.Index([]State{"", Running, Restarting, Degraded, Stopped}, s)
}

// standing says how each machine stands: what is in force counts most, then
// what comes back, then what the incident is about.
type standing struct {
	k        known
	stopped  map[string]bool // hosts
	back     map[string]bool // hosts whose isolation is being ended
	limited  map[string]bool // hosts of which a part is stopped
	involved map[string]bool // hosts in scope, or with an alert that is not closed
	cut      map[string]bool // sites, or parts of them, that are cut
}

func (k known) standing() standing {
	s := standing{k: k, stopped: map[string]bool{}, back: map[string]bool{}, limited: map[string]bool{}, involved: map[string]bool{}, cut: map[string]bool{}}
	for _, h := range k.in.Scope.Hosts {
		s.involved[h] = true
	}
	for _, a := range k.alerts {
		if a.Host != "" && a.Severity >= event.Medium && a.State != alert.Closed {
			s.involved[a.Host] = true
		}
	}
	for _, a := range k.actions {
		s.take(a)
	}
	for _, c := range k.cuts {
		if c.State == action.CutBegun || c.State == action.CutHolds || c.State == action.CutReleasing {
			s.cut[c.Site] = true
		}
	}
	return s
}

// take notes what an action does to its machine.
func (s standing) take(a action.Action) {
	network := a.Kind == action.Isolate || a.Kind == action.Block // either way nobody reaches it
	switch {
	case a.Host == "" || a.Kind == action.Preserve:
	case network && (a.State == action.Applied || a.State == action.Verified):
		s.stopped[a.Host] = true
	case network && a.State == action.Releasing:
		s.back[a.Host] = true
	case inForce(a):
		s.limited[a.Host] = true
	}
}

// inForce says whether an action holds something back now.
func inForce(a action.Action) bool {
	return a.Kind != action.Preserve && a.Kind != action.Kill && (a.State == action.Applied || a.State == action.Verified || a.State == action.Releasing)
}

func (s standing) of(h asset.Host) State {
	over := s.k.in.State == incident.Ended
	switch {
	case s.stopped[h.ID] || h.Health.Isolated:
		return Stopped
	case s.limited[h.ID] || s.cut[h.Site]:
		return Degraded
	case over:
		return Running
	case s.back[h.ID] || s.involved[h.ID] && s.k.in.State == incident.Recovering:
		return Restarting
	case s.involved[h.ID]:
		return Degraded
	}
	return Running
}

// silent says whether a machine of the incident is not heard any more.
func (s standing) silent(h asset.Host) bool {
	return s.involved[h.ID] && s.k.in.State != incident.Ended && s.k.now.Sub(h.LastSeen) > silentAfter
}

// tally counts the machines of a cell.
type tally struct {
	total, stopped, restarting, degraded int
}

func (t *tally) add(s State) {
	t.total++
	switch s {
	case Stopped:
		t.stopped++
	case Restarting:
		t.restarting++
	case Degraded:
		t.degraded++
	}
}

// cell folds machines into one state: a system is stopped when nothing of it
// runs, and degraded when a part of it does not run as usual.
func (t tally) cell() Cell {
	c := Cell{State: Running, Affected: t.stopped + t.restarting + t.degraded, Total: t.total}
	switch {
	case t.total == 0:
		c.State = ""
	case t.stopped == t.total:
		c.State = Stopped
	case t.stopped+t.restarting == t.total && t.restarting > 0:
		c.State = Restarting
	case t.stopped+t.degraded > 0:
		c.State = Degraded
	case t.restarting > 0:
		c.State = Restarting
	}
	return c
}

// matrix makes the table of systems and sites, cut to what the page holds.
func (k known) matrix() Matrix {
	by, all := k.tallies()
	for _, x := range k.hands { // a system that the register does not have
		if by[x.System] == nil {
			by[x.System] = map[string]*tally{}
		}
	}
	sites := k.columns(all)
	m := Matrix{MoreSites: max(0, len(sites)-mostSites), Sites: []string{}, Rows: []Row{}}
	if len(sites) > mostSites { // what is out of sight must not decide the order of the rows
		sites = sites[:mostSites]
	}
	for _, s := range sites {
		m.Sites = append(m.Sites, s.Name)
	}
	for name, cells := range by {
		r := line(report.Plain(name), cells, sites)
		for i := range r.Cells {
			r.Cells[i].Hand = k.hand(name, sites[i].ID)
		}
		m.Rows = append(m.Rows, r)
	}
	slices.SortFunc(m.Rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(b.worst(), a.worst()), cmp.Compare(b.affected(), a.affected()), cmp.Compare(a.Name.JA, b.Name.JA))
	})
	m.Rows = slices.DeleteFunc(m.Rows, func(r Row) bool { return r.worst() == 0 }) // only at sites that were cut
	most := k.mostRows()
	m.MoreRows = max(0, len(m.Rows)-most)
	m.Rows = m.Rows[:min(len(m.Rows), most)]
	if len(sites) > 0 && len(k.hosts) > 0 {
		m.Rows = append(m.Rows, line(report.Word("sheet.machines", nil), all, sites))
	}
	return m
}

// mostRows is how many systems the page holds: what is said about states set by
// hand stands below the table and takes the place of a row each.
func (k known) mostRows() int {
	n := mostRows - min(len(k.hands), mostByHand)
	if len(k.hands) > mostByHand { // and a line for how many more
		n--
	}
	return n
}

// tallies counts machines by system and site, and all machines by site.
func (k known) tallies() (by map[string]map[string]*tally, all map[string]*tally) {
	by, all = map[string]map[string]*tally{}, map[string]*tally{}
	st := k.standing()
	count := func(in map[string]*tally, site string, s State) {
		if in[site] == nil {
			in[site] = &tally{}
		}
		in[site].add(s)
	}
	for _, h := range k.hosts {
		s := st.of(h)
		if s == Running && st.silent(h) {
			s = Degraded
		}
		count(all, h.Site, s)
		seen := map[string]bool{}
		for _, v := range h.Services {
			if seen[v.Name] { // a slip in the register must not count a machine twice
				continue
			}
			seen[v.Name] = true
			if by[v.Name] == nil {
				by[v.Name] = map[string]*tally{}
			}
			count(by[v.Name], h.Site, s)
		}
	}
	return by, all
}

// columns are the sites with machines, or with a state that somebody set: those
// in scope first, then those where most is affected.
func (k known) columns(all map[string]*tally) []asset.Site {
	byHand := map[string]int{}
	for _, x := range k.hands {
		byHand[x.Site]++
	}
	affected := func(s asset.Site) int {
		n := byHand[s.ID]
		if t := all[s.ID]; t != nil {
			n += t.cell().Affected
		}
		return n
	}
	sites := slices.DeleteFunc(slices.Clone(k.sites), func(s asset.Site) bool { return all[s.ID] == nil && byHand[s.ID] == 0 })
	outside := func(s asset.Site) int {
		if slices.Contains(k.in.Scope.Sites, s.ID) {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(sites, func(a, b asset.Site) int {
		return cmp.Or(cmp.Compare(outside(a), outside(b)), cmp.Compare(affected(b), affected(a)), cmp.Compare(a.ID, b.ID))
	})
	return sites
}

func line(name Text, cells map[string]*tally, sites []asset.Site) Row {
	r := Row{Name: name}
	for _, s := range sites {
		var c Cell
		if t := cells[s.ID]; t != nil {
			c = t.cell()
		}
		r.Cells = append(r.Cells, c)
	}
	return r
}

func (r Row) worst() int {
	worst := 0
	for _, c := range r.Cells {
		worst = max(worst, c.Now().rank())
	}
	return worst
}

// hand is the state that somebody set for a system at a site.
func (k known) hand(system, site string) State {
	for _, x := range k.hands {
		if x.System == system && x.Site == site {
			return x.State
		}
	}
	return ""
}

// byHand are the states that people set, cut to what the page holds, each with
// what Sonae derives.
func (k known) byHand() (out []Stated, more int) {
	by, _ := k.tallies()
	for _, x := range k.hands[:min(len(k.hands), mostByHand)] {
		s := Stated{System: x.System, Site: k.name(x.Site), State: x.State, Why: x.Why, At: x.At, By: k.person(x.By)}
		if t := by[x.System][x.Site]; t != nil {
			s.Seen = t.cell().State
		}
		out = append(out, s)
	}
	return out, len(k.hands) - len(out)
}

func (r Row) affected() (n int) {
	for _, c := range r.Cells {
		n += c.Affected
	}
	return n
}

// inForce counts what holds the incident.
func (k known) inForce() (f InForce) {
	hosts := map[string]bool{}
	for _, a := range k.actions {
		switch {
		case !inForce(a):
		case a.Kind == action.Isolate:
			hosts[a.Host] = true
		default:
			f.Other++
		}
	}
	f.Isolated = len(hosts)
	sites := map[string]bool{}
	for _, c := range k.cuts {
		if c.State == action.CutBegun || c.State == action.CutHolds {
			sites[c.Site] = true
		}
	}
	f.Cut = len(sites)
	return f
}
