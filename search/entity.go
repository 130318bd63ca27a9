package search

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
)

// Limits of what is shown of an entity.
const (
	maxValue = 500 // characters of its name
	topRows  = 10  // values of one relation
	maxDays  = 31
	maxNodes = 29 // around the entity in its graph
)

// Entity is one host, user, address, file or program and what it had to do
// with others, in a range of time.
type Entity struct {
	Kind    Kind
	Value   string
	Query   string // the search that finds its events
	From    time.Time
	To      time.Time
	Count   int64
	First   time.Time // zero when there is no event
	Last    time.Time
	Days    []archive.Bucket
	Related []Relation
}

// Relation is the values of one field that stand beside the entity.
type Relation struct {
	Field    string // name in queries
	Kind     Kind   // of the values; empty: no entities
	Distinct int64
	Top      []archive.Value
}

// relations are the fields that tell of an entity, by kind.
func relations(k Kind) []string {
	switch k {
	case Host:
		return []string{"User", "DestinationIp", "SourceIp", "Image", "Application", "DestinationPort"}
	case User:
		return []string{"host", "SourceIp", "DestinationIp", "Image", "category"}
	case Address:
		return []string{"host", "User", "SourceIp", "DestinationIp", "Image", "Application", "DestinationPort"}
	case Hash:
		return []string{"host", "User", "Image", "TargetFilename"}
	}
	return []string{"host", "User", "DestinationIp", "ParentImage", "Application", "CommandLine"}
}

// Entity looks an entity up. The caller has recorded that by asks (Asked).
//
// Errors: Invalid for an unknown kind or an unusable value, and those of the
// archive.
func (d *Desk) Entity(ctx context.Context, k Kind, value string, from, to time.Time, by auth.Person) (Entity, error) {
	value = strings.TrimSpace(value)
	if !slices.Contains(Kinds(), k) || value == "" || utf8.RuneCountInString(value) > maxValue || !utf8.ValidString(value) {
		return Entity{}, fault.New(fault.Invalid, "searchpage.entity")
	}
	if a, err := netip.ParseAddr(value); k == Address && err != nil {
		return Entity{}, fault.New(fault.Invalid, "searchpage.address", value)
	} else if k == Address {
		value = a.String()
	}
	e := Entity{Kind: k, Value: value, Query: k.Find(value), From: from, To: to}
	s := archive.Search{Query: e.Query, From: from, To: to, Sites: Sites(by), By: by.ID}
	fields := relations(k)
	found := make([]archive.FieldStats, len(fields))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(2) // the archive runs few at once, and others ask too
	g.Go(func() error { return d.span(gctx, s, &e) })
	g.Go(func() (err error) { e.Days, err = d.archive.Histogram(gctx, s, days(from, to)); return err })
	for i, f := range fields {
		g.Go(func() (err error) { found[i], err = d.archive.Field(gctx, s, f, topRows); return err })
	}
	if err := g.Wait(); err != nil {
		return Entity{}, fmt.Errorf("look up %s: %w", k, err)
	}
	for i, f := range fields {
		if r := related(f, found[i], value); len(r.Top) > 0 {
			e.Related = append(e.Related, r)
		}
	}
	return e, nil
}

// days is how many columns show a range: one for each day, or for each hour of
// less than two days.
func days(from, to time.Time) int {
	span := to.Sub(from)
	if span < 48*time.Hour {
		return max(1, int(span/time.Hour))
	}
	return min(int(span/(24*time.Hour)), maxDays)
}

// span finds how many events there are, the first and the last.
func (d *Desk) span(ctx context.Context, s archive.Search, e *Entity) error {
	s.Query += " | stats count, min(time), max(time)"
	return d.archive.Search(ctx, s, func(p archive.Part) error {
		if p.Table == nil || len(p.Table.Rows) == 0 || len(p.Table.Rows[0]) < 3 {
			return nil
		}
		row := p.Table.Rows[0]
		n, err := strconv.ParseInt(row[0], 10, 64)
		if err != nil {
			return fmt.Errorf("count %q: %w", row[0], err)
		}
		e.Count = n
		if n == 0 {
			return nil
		}
		if e.First, err = time.Parse(time.RFC3339Nano, row[1]); err != nil {
			return fmt.Errorf("first event: %w", err)
		}
		if e.Last, err = time.Parse(time.RFC3339Nano, row[2]); err != nil {
			return fmt.Errorf("last event: %w", err)
		}
		return nil
	})
}

// related leaves out the entity itself: an address stands in its own events.
func related(field string, s archive.FieldStats, self string) Relation {
	r := Relation{Field: field, Distinct: s.Distinct}
	for _, v := range s.Top {
		if v.Text == self {
			r.Distinct--
			continue
		}
		if k, ok := KindOf(field, v.Text); ok {
			r.Kind = k
		}
		r.Top = append(r.Top, v)
	}
	return r
}

// Node is one neighbour in the graph of an entity.
type Node struct {
	Kind  Kind
	Value string
	Field string // how it is related
	Count int64
}

// Nodes are the neighbours to draw, the most frequent of each relation in
// turn, so that a busy relation does not push the others out; at most 29.
func (e Entity) Nodes() []Node {
	var out []Node
	seen := map[string]bool{}
	for rank := range topRows {
		for _, r := range e.Related {
			if rank >= len(r.Top) || r.Kind == "" || len(out) == maxNodes {
				continue
			}
			v := r.Top[rank]
			key := string(r.Kind) + "\x00" + v.Text
			if seen[key] {
				continue
			}
			seen[key] = true
			out = append(out, Node{r.Kind, v.Text, r.Field, v.Count})
		}
	}
	slices.SortStableFunc(out, func(a, b Node) int {
		return cmp.Or(slices.Index(Kinds(), a.Kind)-slices.Index(Kinds(), b.Kind), cmp.Compare(b.Count, a.Count), strings.Compare(a.Value, b.Value))
	})
	return out
}
