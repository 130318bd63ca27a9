package archive

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/sonae/sonae/archive/lang"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
)

// Limits of a query.
const (
	DefaultLimit = 100
	MaxLimit     = 1000
)

// Query asks for events by what programs know of them; people use Search.
// Empty fields do not restrict; set ones must all hold.
type Query struct {
	From, To time.Time // From ≤ time < To, by the clock of the host
	Site     string
	Host     string
	Kind     event.Kind
	Text     string   // part of the original line or of any text field, upper and lower case alike
	IDs      []string // event ids, at most MaxLimit
	Limit    int      // 0 means DefaultLimit; more than MaxLimit means MaxLimit
}

// Query returns matching events, newest first, under the limits of a Search.
func (a *Archive) Query(ctx context.Context, q Query) ([]event.Event, error) {
	if len(q.IDs) > MaxLimit {
		return nil, fault.New(fault.Invalid, "archive.too-many-ids").With(fmt.Errorf("%d ids", len(q.IDs)))
	}
	if q.Limit <= 0 {
		q.Limit = DefaultLimit
	}
	r := request{options: lang.Options{Now: a.now()}, from: q.From, to: q.To, limit: min(q.Limit, MaxLimit)}
	r.Where = q.expr()
	if q.Site != "" {
		r.sites = []string{q.Site}
	}
	var found []event.Event
	each := func(p Part) error {
		found = append(found, p.Events...)
		return nil
	}
	err := a.run(ctx, r, func(ctx context.Context, files []file) error {
		if answered, err := a.look(ctx, r, files, each); answered || err != nil {
			return err
		}
		return a.searchEvents(ctx, r, files, each)
	})
	if err != nil {
		return nil, fmt.Errorf("query archive: %w", err)
	}
	return found, nil
}

// expr is what the query asks of an event, apart from its time and site.
func (q Query) expr() lang.Expr {
	var all []lang.Expr
	if q.Host != "" {
		all = append(all, lang.Match{Field: "host", Op: lang.Equals, Values: []string{q.Host}})
	}
	if q.Kind != "" {
		all = append(all, lang.Match{Field: "kind", Op: lang.Equals, Values: []string{string(q.Kind)}})
	}
	if q.Text != "" {
		all = append(all, lang.Text{Value: q.Text, Phrase: true})
	}
	if len(q.IDs) > 0 {
		all = append(all, lang.Match{Field: "id", Op: lang.In, Values: q.IDs})
	}
	if len(all) == 0 {
		return nil
	}
	return lang.And{All: all}
}

// cutLast splits an event id as agents make it into batch and row.
func cutLast(id string) (batch, row string, ok bool) {
	i := strings.LastIndexByte(id, '-')
	if i < 0 {
		return "", "", false
	}
	return id[:i], id[i+1:], true
}
