package ui

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/a-h/templ"

	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/archive/lang"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/search"
	"github.com/sonae/sonae/ui/view"
)

// part answers with a piece of a page for the script that asked for it.
func (c *call) part(body templ.Component) (bool, error) {
	var b bytes.Buffer
	if err := body.Render(c.ctx(), &b); err != nil {
		return false, fmt.Errorf("render part: %w", err)
	}
	c.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = c.w.Write(b.Bytes()) // nothing to do about a reader who left
	return true, nil
}

// whole answers with a page from a route that also answers with parts of it.
func (c *call) whole(sc screen) (bool, error) { return true, c.show(sc) }

// eventPage is one event; script asks for the part that stands beside the
// results.
func (c *call) eventPage() (bool, error) {
	id := c.query("id")
	if err := c.Searches.Opened(c.ctx(), id, c.who); err != nil {
		return false, err
	}
	at, err := time.Parse(time.RFC3339Nano, c.query("at"))
	if err != nil {
		at = time.Time{}
	}
	e, err := c.event(id, at)
	if err != nil {
		return false, err
	}
	d := view.EventData{Event: e, Look: c.look(), Part: c.query("part") != "",
		MayTake: c.may(auth.Preserve, auth.Resource{Kind: "event", Site: c.who.Site})}
	if d.MayTake {
		if d.Active, err = c.activeIncidents(); err != nil {
			return false, err
		}
	}
	p := c.page("search", c.t("search.event"))
	p.Drill = e.Drill
	if d.Part {
		return c.part(view.EventDetail(p, d))
	}
	return c.whole(screen{page: p, body: view.EventPage(p, d)})
}

// event finds one event that the viewer may see; at, when it is known, saves
// looking through everything.
func (c *call) event(id string, at time.Time) (event.Event, error) {
	list, err := c.events([]string{id}, at, at)
	if err != nil {
		return event.Event{}, err
	}
	if len(list) == 0 {
		return event.Event{}, fault.New(fault.Missing, "searchpage.no-event")
	}
	return list[0], nil
}

// events finds events by their ids, between the times of the oldest and the
// newest when these are known.
func (c *call) events(ids []string, oldest, newest time.Time) ([]event.Event, error) {
	query := ""
	for i, id := range ids {
		if i > 0 {
			query += ", "
		}
		query += search.Quote(id)
	}
	s := archive.Search{Query: "id in (" + query + ")", Sites: search.Sites(c.who), Limit: len(ids)}
	if !oldest.IsZero() && !newest.IsZero() {
		s.From, s.To = oldest, newest.Add(time.Nanosecond)
	}
	var out []event.Event
	err := c.Archive.Search(c.ctx(), s, func(p archive.Part) error {
		out = append(out, p.Events...)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("find events: %w", err)
	}
	return out, nil
}

// fieldPage is the statistics of one field among what was found.
func (c *call) fieldPage() (bool, error) {
	l := c.look()
	if err := c.Searches.Asked(c.ctx(), search.Question{What: search.Searched, Query: l.Query, Span: l.Kept()}, c.who); err != nil {
		return false, err
	}
	s := c.asked(l)
	s.Query, s.After = filterOf(l.Query), ""
	stats, err := c.Archive.Field(c.ctx(), s, c.query("field"), topField)
	if err != nil {
		return false, err
	}
	d := view.FieldData{Look: l.For(l.Query), Stats: stats, Part: c.query("part") != ""}
	p := c.page("search", c.t("search.stats.title", "field", stats.Field))
	if d.Part {
		return c.part(view.FieldDetail(p, d))
	}
	return c.whole(screen{page: p, body: view.FieldPage(p, d)})
}

// suggested is what may complete a query.
const suggested = 12

// suggest answers script with values of a field that begin as typed.
func (c *call) suggest() (bool, error) {
	field := c.query("field")
	if field == "" || len(field) > 100 || len(c.query("prefix")) > 200 {
		return false, fault.New(fault.Invalid, "searchpage.suggest")
	}
	known, err := lang.ParseField(field)
	if err != nil {
		return false, err
	}
	if err := c.Searches.Asked(c.ctx(), search.Question{What: search.Hinted, Query: known.Name}, c.who); err != nil {
		return false, err
	}
	list, err := c.Archive.Suggest(c.ctx(), known.Name, c.query("prefix"), search.Sites(c.who), suggested)
	if err != nil {
		return false, err
	}
	type option struct {
		Value string `json:"value"`
		Label string `json:"label,omitempty"`
	}
	out := []option{}
	for _, v := range list {
		o := option{Value: v}
		switch known.Name {
		case "host":
			o.Label = c.hostName(v)
		case "site":
			o.Label = c.siteName(v)
		}
		out = append(out, o)
	}
	c.w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(c.w).Encode(out) // nothing to do about a reader who left
	return true, nil
}
