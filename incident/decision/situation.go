package decision

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/ready/asset"
)

// situation is all that the measures are read from.
type situation struct {
	now    time.Time
	in     incident.Incident
	hosts  []asset.Host // of its sites and in its scope, trusted
	alerts []alert.Alert
	facts  *duty.Facts // nil: nobody stated any
}

// bounds of what is read for one evaluation.
const (
	pageSize  = 200
	maxAlerts = 5000
	maxHosts  = 20000
)

// look reads what is known of an incident now.
func (d *Desk) look(ctx context.Context, id string) (situation, error) {
	in, err := d.deps.Incidents.Get(ctx, id)
	if err != nil {
		return situation{}, err
	}
	s := situation{now: d.moment(), in: in}
	if s.hosts, err = d.hostsOf(ctx, in); err != nil {
		return situation{}, err
	}
	for from := 0; from < maxAlerts; from += pageSize {
		list, _, err := d.deps.Alerts.List(ctx, alert.Filter{Incident: id, Limit: pageSize, Offset: from})
		if err != nil {
			return situation{}, fmt.Errorf("alerts of %s: %w", id, err)
		}
		if s.alerts = append(s.alerts, list...); len(list) < pageSize {
			break
		}
	}
	a, err := d.deps.Duties.Assess(ctx, id)
	switch {
	case err == nil:
		s.facts = &a.Facts
	case fault.Of(err) != fault.Missing:
		return situation{}, err
	}
	return s, nil
}

func (d *Desk) hostsOf(ctx context.Context, in incident.Incident) ([]asset.Host, error) {
	var all []asset.Host
	add := func(h asset.Host) {
		if h.RemovedAt.IsZero() && h.Drill == in.Drill && !slices.ContainsFunc(all, func(o asset.Host) bool { return o.ID == h.ID }) {
			all = append(all, h)
		}
	}
	for _, id := range in.Scope.Hosts {
		h, err := d.deps.Hosts.Host(ctx, id)
		if fault.Of(err) == fault.Missing { // it left the register; the chronology still names it
			continue
		}
		if err != nil {
			return nil, err
		}
		add(h)
	}
	named := len(all)
	for _, site := range in.Scope.Sites {
		for from := 0; from < maxHosts; from += pageSize {
			list, _, err := d.deps.Hosts.Hosts(ctx, asset.Filter{Site: site, Limit: pageSize, Offset: from})
			if err != nil {
				return nil, err
			}
			for _, h := range list {
				if h.Drill == in.Drill && !slices.ContainsFunc(all[:named], func(o asset.Host) bool { return o.ID == h.ID }) {
					all = append(all, h)
				}
			}
			if len(list) < pageSize {
				break
			}
		}
	}
	return all, nil
}

// KeyOf names a service of a machine.
func KeyOf(h asset.Host, s asset.Service) string { return h.Site + "/" + s.ID }

func (s situation) inScope(host string) bool { return slices.Contains(s.in.Scope.Hosts, host) }

// services lists those of the situation, the ones in scope first; the incident
// as a whole where no machine in scope carries one.
func (s situation) services() []Service {
	by := map[string]*Service{}
	for _, h := range s.hosts {
		for _, x := range h.Services {
			key := KeyOf(h, x)
			v := by[key]
			if v == nil {
				v = &Service{Key: key, Site: h.Site, Name: x.Name, Hosts: []string{}, Hit: []string{}}
				by[key] = v
			}
			if !slices.Contains(v.Hosts, h.ID) {
				v.Hosts = append(v.Hosts, h.ID)
				if s.inScope(h.ID) {
					v.Hit = append(v.Hit, h.ID)
				}
			}
		}
	}
	var hit, others []Service
	for _, v := range by {
		slices.Sort(v.Hosts)
		slices.Sort(v.Hit)
		if len(v.Hit) > 0 {
			hit = append(hit, *v)
		} else {
			others = append(others, *v)
		}
	}
	for _, list := range [][]Service{hit, others} {
		slices.SortFunc(list, func(a, b Service) int { return strings.Compare(a.Key, b.Key) })
	}
	if len(hit) == 0 {
		hit = []Service{s.whole()}
	}
	return append(hit, others...)
}

// whole is the incident itself, as a service without a name.
func (s situation) whole() Service {
	w := Service{Hosts: []string{}, Hit: []string{}}
	if len(s.in.Scope.Sites) == 1 {
		w.Site = s.in.Scope.Sites[0]
	}
	w.Hosts = append(w.Hosts, s.in.Scope.Hosts...)
	w.Hit = append(w.Hit, s.in.Scope.Hosts...)
	return w
}

// stopCost is what the register says of the machines that carry a service.
func (s situation) stopCost(v Service) StopCost {
	c := StopCost{Effects: []string{}, Loads: []string{}, Kept: []Kept{}}
	for _, h := range s.hosts {
		if !slices.Contains(v.Hosts, h.ID) {
			continue
		}
		if h.Keep != "" {
			c.Kept = append(c.Kept, Kept{h.ID, h.Keep})
		}
		for _, x := range h.Services {
			if KeyOf(h, x) != v.Key {
				continue
			}
			c.Effects, c.Loads = oneMore(c.Effects, x.Effect), oneMore(c.Loads, x.Load)
			c.Wards, c.Clinics = union(c.Wards, x.Wards), union(c.Clinics, x.Clinics)
			c.Calls, c.Yen = most(c.Calls, x.Calls), most(c.Yen, x.Yen)
		}
	}
	return c
}

// oneMore adds a text that is not there yet.
func oneMore(all []string, text string) []string {
	if text == "" || slices.Contains(all, text) {
		return all
	}
	return append(all, text)
}

// union keeps nil, which is "nobody said", apart from none.
func union(a, b []string) []string {
	if a == nil && b != nil {
		a = []string{}
	}
	for _, x := range b {
		a = oneMore(a, x)
	}
	return a
}

func most(a, b *int) *int {
	if a == nil || b != nil && *b > *a {
		return b
	}
	return a
}

// seen reads all measures for a service.
func (s situation) seen(v Service, c StopCost) map[string]Seen {
	out := map[string]Seen{}
	put := func(measure, from string, known bool, value int64) {
		out[measure] = Seen{Measure: measure, Known: known, Value: value, From: from}
	}
	scope := len(s.in.Scope.Hosts)
	put("hosts", "scope", scope > 0, int64(scope))
	put("service-hosts", "register", scope > 0 && v.Key != "", int64(len(v.Hit)))
	put("severity", "incident", true, int64(s.in.Severity))
	for measure, value := range s.alarms() {
		put(measure, "alerts", true, value)
	}
	if value, known := s.growth(); known {
		put("growth", "alerts", true, value)
	} else {
		put("growth", "alerts", false, 0)
	}
	value, known := s.reachable()
	put("reachable", "register", known, value)
	s.people(v, put)
	put("wards", "register", c.Wards != nil, int64(len(c.Wards)))
	put("clinics", "register", c.Clinics != nil, int64(len(c.Clinics)))
	put("calls", "register", c.Calls != nil, number(c.Calls))
	put("yen", "register", c.Yen != nil, number(c.Yen))
	put("kept", "register", len(v.Hosts) > 0, int64(len(c.Kept)))
	return out
}

func number(n *int) int64 {
	if n == nil {
		return 0
	}
	return int64(*n)
}

// techniques of ATT&CK that say what an alert is a sign of.
const (
	encryption   = "attack.t1486"
	exfiltration = "attack.exfiltration"
)

// alarms counts alerts by what they are signs of.
func (s situation) alarms() map[string]int64 {
	out := map[string]int64{"encrypting": 0, "leaving": 0, "alert-hosts": 0, "alerts-hour": 0}
	hosts := map[string]bool{}
	for _, a := range s.alerts {
		if slices.Contains(a.Rule.Tags, encryption) {
			out["encrypting"]++
		}
		if slices.Contains(a.Rule.Tags, exfiltration) {
			out["leaving"]++
		}
		if s.now.Sub(a.RaisedAt) <= time.Hour {
			out["alerts-hour"]++
		}
		if a.Host != "" {
			hosts[a.Host] = true
		}
	}
	out["alert-hosts"] = int64(len(hosts))
	return out
}

// growth is the alerts of the last hour in percent of those of the hour before;
// with none before there is nothing to compare with.
func (s situation) growth() (percent int64, known bool) {
	var last, before int64
	for _, a := range s.alerts {
		switch age := s.now.Sub(a.RaisedAt); {
		case age <= time.Hour:
			last++
		case age <= 2*time.Hour:
			before++
		}
	}
	if before == 0 {
		return 0, false
	}
	return last * 100 / before, true
}

// reachable counts the machines of the same sites that are neither in scope nor
// isolated; none when every machine in scope is isolated.
func (s situation) reachable() (n int64, known bool) {
	cut, scope := 0, 0
	for _, h := range s.hosts {
		switch {
		case s.inScope(h.ID):
			scope++
			cut += bit(h.Health.Isolated)
		case !h.Health.Isolated:
			n++
		}
	}
	if len(s.in.Scope.Sites) == 0 {
		return 0, false
	}
	if scope > 0 && scope == len(s.in.Scope.Hosts) && cut == scope {
		return 0, true
	}
	return n, true
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// people reads whose data is in danger: what people stated for the duties, and
// what the register says of the services on machines in scope or in reach; the
// larger number counts. Persons of several services may be the same ones, so
// those of the largest count.
func (s situation) people(v Service, put func(measure, from string, known bool, value int64)) {
	for measure, class := range map[string]string{"persons": "", "sensitive": "sensitive", "my-number": "my_number"} {
		value, known := s.registered(v, class)
		from := "register"
		if stated, ok := s.stated(class); ok && (!known || stated > value) {
			value, known, from = stated, true, "facts"
		}
		put(measure, from, known, value)
	}
	for measure, answer := range map[string]func(*duty.Facts) duty.Answer{
		"public": func(f *duty.Facts) duty.Answer { return f.Public }, "bad-intent": func(f *duty.Facts) duty.Answer { return f.BadIntent }} {
		a := duty.Unknown
		if s.facts != nil {
			a = answer(s.facts)
		}
		put(measure, "facts", a == duty.Yes || a == duty.No, int64(bit(a == duty.Yes)))
	}
}

// registered is the largest number of persons whose data of a class a service in
// reach holds. One that holds the class, but nobody said of how many, counts as
// one person.
func (s situation) registered(v Service, class string) (n int64, known bool) {
	for _, h := range s.hosts {
		for _, x := range h.Services {
			if h.Health.Isolated && !s.inScope(h.ID) && KeyOf(h, x) != v.Key {
				continue
			}
			has := slices.Contains(x.Data, class)
			switch {
			case class == "" && x.Persons != nil:
				n, known = max(n, int64(*x.Persons)), true
			case class != "" && has && x.Persons != nil:
				n, known = max(n, int64(*x.Persons)), true
			case class != "" && has:
				n, known = max(n, 1), true
			case class != "" && x.Data != nil:
				known = true
			}
		}
	}
	return n, known
}

// stated is what people said for the duties.
func (s situation) stated(class string) (n int64, known bool) {
	if s.facts == nil {
		return 0, false
	}
	n = int64(max(s.facts.Confirmed, s.facts.Maximum))
	answer := map[string]duty.Answer{"": s.facts.Personal, "sensitive": s.facts.Sensitive, "my_number": s.facts.MyNumber}[class]
	switch {
	case answer == duty.No:
		return 0, true
	case class == "" && n > 0:
		return n, true
	case answer == duty.Yes:
		return max(n, 1), true
	}
	return 0, false
}

// evaluate holds the criteria of a service against the situation.
func (s situation) evaluate(v Service, ref SheetRef, criteria []Criterion) Evaluation {
	cost := s.stopCost(v)
	seen := s.seen(v, cost)
	e := Evaluation{Incident: s.in.ID, At: s.now, Service: v, Sheet: ref, Stop: cost,
		Spread: SpreadCost{Hosts: seen["hosts"], Reachable: seen["reachable"], Persons: seen["persons"], Sensitive: seen["sensitive"], MyNumber: seen["my-number"]}}
	e.judge(criteria, seen)
	return e
}
