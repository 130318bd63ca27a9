package search

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/flow"
)

// Limits of what is shown of traffic.
const (
	maxTalks    = 200 // lines of who talks to whom
	maxVerdicts = 50  // connections that were identified
	maxPhases   = 500 // events of one connection
	weeks       = 4   // that the picture of a week is made of
)

// ended are the connections that are over: each is one event with all it sent.
const ended = "kind=flow Phase=end"

// Wanted says which connections are looked for. Empty fields do not restrict.
type Wanted struct {
	Address    string // an address or network, either end
	Host       string // id of the machine whose agent saw it
	Port       string // either end
	Label      string // application; "-" is without one
	Confidence string // certain, probable or hint
	Name       string // a part of the host name that was asked for
}

// Query writes w as a search, without its time.
func (w Wanted) Query(base string) string {
	parts := []string{base}
	add := func(field, value string) {
		if value = strings.TrimSpace(value); value != "" {
			parts = append(parts, Term(field, value, false))
		}
	}
	if a := strings.TrimSpace(w.Address); a != "" {
		parts = append(parts, "ip:"+network(a))
	}
	if p := strings.TrimSpace(w.Port); p != "" {
		parts = append(parts, "port="+Quote(p))
	}
	add("host", w.Host)
	if w.Label == "-" {
		parts = append(parts, "-"+event.FieldApp+":*")
	} else {
		add(event.FieldApp, w.Label)
	}
	add(event.FieldConfidence, w.Confidence)
	if n := strings.TrimSpace(w.Name); n != "" {
		parts = append(parts, flow.FieldName+":/"+strings.NewReplacer("/", `\/`, " ", `\s`).Replace(regexp.QuoteMeta(n))+"/i")
	}
	return strings.Join(parts, " ")
}

// network writes an address or a range of them; what is neither is quoted.
func network(text string) string {
	if a, err := netip.ParseAddr(text); err == nil {
		return Quote(a.String())
	}
	if p, err := netip.ParsePrefix(text); err == nil {
		return p.String()
	}
	return Quote(text)
}

// Check says what in w cannot be searched for: Invalid "searchpage.address".
func (w Wanted) Check() error {
	a := strings.TrimSpace(w.Address)
	_, one := netip.ParseAddr(a)
	_, many := netip.ParsePrefix(a)
	if a != "" && one != nil && many != nil {
		return fault.New(fault.Invalid, "searchpage.address", a)
	}
	return nil
}

// Talk is what one end sent to another, summed over their connections.
type Talk struct {
	Src, Dst    string // who opened the connections, and to whom
	Label       string // application; empty while unknown
	Connections int64
	Out, In     int64 // bytes that left the machine which saw them, and that came
	Last        time.Time
}

// Traffic is who talked to whom.
type Traffic struct {
	Query string // the search for these connections
	Talks []Talk // those with the most bytes first
	More  bool   // there are more than are listed

	Connections, Out, In int64         // of all that are listed
	Now                  []event.Event // identified in the last minutes of the range, newest first
}

// Traffic sums the connections that ended in a range of time, and lists those
// that were identified last. The caller has recorded that by asks (Asked).
//
// Errors: Invalid for what cannot be searched for, and those of the archive.
func (d *Desk) Traffic(ctx context.Context, w Wanted, from, to time.Time, by auth.Person) (Traffic, error) {
	if err := w.Check(); err != nil {
		return Traffic{}, err
	}
	t := Traffic{Query: w.Query(ended)}
	s := archive.Search{From: from, To: to, Sites: Sites(by), By: by.ID}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { t.Talks, t.More, err = d.talks(gctx, s, t.Query, "src, dst", maxTalks); return err })
	g.Go(func() (err error) {
		t.Now, err = d.events(gctx, s, w.Query("kind=flow Phase=identified"), maxVerdicts)
		return err
	})
	if err := g.Wait(); err != nil {
		return Traffic{}, fmt.Errorf("sum traffic: %w", err)
	}
	for _, k := range t.Talks {
		t.Connections, t.Out, t.In = t.Connections+k.Connections, t.Out+k.Out, t.In+k.In
	}
	return t, nil
}

// talks sums connections by two columns and the application.
func (d *Desk) talks(ctx context.Context, s archive.Search, query, ends string, most int) ([]Talk, bool, error) {
	s.Query = fmt.Sprintf("%s | stats count, sum(bytes_out), sum(bytes_in), max(time) by %s, network_application | sort -sum(bytes_out) | limit %d", query, ends, most+1)
	rows, err := d.table(ctx, s)
	if err != nil {
		return nil, false, err
	}
	var list []Talk
	for _, r := range rows {
		k := Talk{Src: r.text(0), Dst: r.text(1), Label: r.text(2)}
		if k.Connections, err = r.number(3); err == nil {
			k.Out, err = r.number(4)
		}
		if err == nil {
			k.In, err = r.number(5)
		}
		if err == nil {
			k.Last, err = r.time(6)
		}
		if err != nil {
			return nil, false, err
		}
		list = append(list, k)
	}
	slices.SortStableFunc(list, func(a, b Talk) int { return int(max(min(b.Out+b.In-a.Out-a.In, 1), -1)) })
	return list[:min(len(list), most)], len(list) > most, nil
}

// Party is one end of the network: what it is and what it does.
type Party struct {
	Address  string
	Query    string
	Talks    []Talk // connections that it opened, summed by destination
	Serves   []Port // ports at which others reached it
	More     bool
	Week     Week
	Verdicts []event.Event // connections of it that were identified for sure or probably, newest first
}

// Port is one service of a machine as others used it.
type Port struct {
	Number      string
	Label       string
	Connections int64
	Clients     int64
}

// Week counts connections by weekday, Monday first, and hour in Japan, over the
// last four weeks.
type Week [7][24]int64

// Most is the highest of its counts.
func (w Week) Most() int64 {
	var most int64
	for _, day := range w {
		most = max(most, slices.Max(day[:]))
	}
	return most
}

// Party looks at one address in a range of time; its week is that of the last
// four weeks before the end. The caller has recorded that by asks (Asked).
func (d *Desk) Party(ctx context.Context, address string, from, to time.Time, by auth.Person) (Party, error) {
	a, err := netip.ParseAddr(strings.TrimSpace(address))
	if err != nil {
		return Party{}, fault.New(fault.Invalid, "searchpage.address", address)
	}
	p := Party{Address: a.String()}
	p.Query = "kind=flow ip:" + Quote(p.Address)
	s := archive.Search{From: from, To: to, Sites: Sites(by), By: by.ID}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(2) // the archive runs few at once, and others ask too
	g.Go(func() (err error) {
		p.Talks, p.More, err = d.talks(gctx, s, ended+" src:"+Quote(p.Address), "src, dst", topRows*5)
		return err
	})
	g.Go(func() (err error) { p.Serves, err = d.serves(gctx, s, p.Address); return err })
	g.Go(func() (err error) { p.Week, err = d.week(gctx, s, p.Address); return err })
	g.Go(func() (err error) {
		p.Verdicts, err = d.events(gctx, s, p.Query+" Phase=identified Confidence in (certain, probable)", maxVerdicts)
		return err
	})
	if err := g.Wait(); err != nil {
		return Party{}, fmt.Errorf("look at %s: %w", p.Address, err)
	}
	return p, nil
}

// serves lists the ports at which an address was reached.
func (d *Desk) serves(ctx context.Context, s archive.Search, address string) ([]Port, error) {
	s.Query = fmt.Sprintf("%s dst:%s bytes_in > 0 bytes_out > 0 | stats count, distinct(src) by destination_port, network_application | sort -count | limit %d", ended, Quote(address), topRows*2)
	rows, err := d.table(ctx, s)
	if err != nil {
		return nil, err
	}
	var list []Port
	for _, r := range rows {
		p := Port{Number: r.text(0), Label: r.text(1)}
		if p.Connections, err = r.number(2); err == nil {
			p.Clients, err = r.number(3)
		}
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

// week counts the connections of an address by the hour of the week.
func (d *Desk) week(ctx context.Context, s archive.Search, address string) (Week, error) {
	var w Week
	s.From = s.To.Add(-weeks * 7 * 24 * time.Hour)
	s.Query, s.Zone = ended+" ip:"+Quote(address)+" | timeline 1h", clock.Tokyo()
	rows, err := d.table(ctx, s)
	if err != nil {
		return w, err
	}
	for _, r := range rows {
		at, err := r.time(0)
		if err != nil {
			return w, err
		}
		n, err := r.number(1)
		if err != nil {
			return w, err
		}
		at = at.In(clock.Tokyo())
		w[(int(at.Weekday())+6)%7][at.Hour()] += n
	}
	return w, nil
}

// Connections finds single connections, each by what was last said of it.
type Connections struct {
	Query  string
	Events []event.Event // newest first
	Next   string        // cursor of older ones
}

// Connections lists connections that match, newest first, a page of limit.
func (d *Desk) Connections(ctx context.Context, w Wanted, from, to time.Time, after string, limit int, by auth.Person) (Connections, error) {
	if err := w.Check(); err != nil {
		return Connections{}, err
	}
	c := Connections{Query: w.Query(ended)}
	s := archive.Search{Query: c.Query, From: from, To: to, Sites: Sites(by), By: by.ID, After: after, Limit: limit}
	err := d.archive.Search(ctx, s, func(p archive.Part) error {
		c.Events, c.Next = append(c.Events, p.Events...), p.Next
		return nil
	})
	if err != nil {
		return Connections{}, fmt.Errorf("find connections: %w", err)
	}
	return c, nil
}

// Connection returns what was said of one connection, oldest first. at is a
// time at which it lived. Missing when nothing is known of it.
func (d *Desk) Connection(ctx context.Context, id string, at time.Time, by auth.Person) ([]event.Event, error) {
	s := archive.Search{From: at.Add(-24 * time.Hour), To: at.Add(24 * time.Hour), Sites: Sites(by), By: by.ID}
	list, err := d.events(ctx, s, "kind=flow "+event.FieldFlowID+"="+Quote(id), maxPhases)
	if err != nil {
		return nil, fmt.Errorf("look up connection: %w", err)
	}
	if len(list) == 0 {
		return nil, fault.New(fault.Missing, "searchpage.no-connection")
	}
	slices.Reverse(list)
	return list, nil
}

// events returns the newest events that match.
func (d *Desk) events(ctx context.Context, s archive.Search, query string, most int) ([]event.Event, error) {
	s.Query, s.Limit = query, most
	var list []event.Event
	err := d.archive.Search(ctx, s, func(p archive.Part) error { list = append(list, p.Events...); return nil })
	return list, err
}

// row is a line of a table with what its columns mean.
type row []string

func (r row) text(i int) string {
	if i >= len(r) {
		return ""
	}
	return r[i]
}

// number reads a sum; what was never said counts as nothing.
func (r row) number(i int) (int64, error) {
	if r.text(i) == "" {
		return 0, nil
	}
	v, err := strconv.ParseFloat(r.text(i), 64)
	if err != nil {
		return 0, fmt.Errorf("column %d of a table: %w", i, err)
	}
	return int64(v), nil
}

func (r row) time(i int) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, r.text(i))
	if err != nil {
		return t, fmt.Errorf("column %d of a table: %w", i, err)
	}
	return t, nil
}

// table returns the last state of the table that answers s.
func (d *Desk) table(ctx context.Context, s archive.Search) ([]row, error) {
	var rows []row
	err := d.archive.Search(ctx, s, func(p archive.Part) error {
		if p.Table == nil {
			return nil
		}
		rows = make([]row, len(p.Table.Rows))
		for i, r := range p.Table.Rows {
			rows[i] = r
		}
		return nil
	})
	return rows, err
}
