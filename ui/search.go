package ui

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/a-h/templ"
	"golang.org/x/sync/errgroup"

	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/archive/lang"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/evidence"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/search"
	"github.com/sonae/sonae/ui/view"
)

const (
	// firstWait is how long a page waits for a search before it is shown with
	// what was found so far. Most answers are whole by then.
	firstWait = 900 * time.Millisecond
	// longestWait is how long it waits for somebody without script who asks to
	// go on.
	longestWait = 25 * time.Second
	// between is the least time between two pieces of a streamed answer.
	between = 250 * time.Millisecond

	perPage  = 100 // events on a page
	topField = 15  // values of a field
)

// lookFrom reads the search that an address or a form names. Without a range
// it is the last 24 hours.
func (c *call) lookFrom(get func(string) string) view.Look {
	l := view.Look{Query: get("q"), Span: get("range"), After: get("after")}
	from, to := seconds(get("from")), seconds(get("to"))
	if l.Span == view.OwnSpan && (!from.IsZero() || !to.IsZero()) {
		if to.IsZero() || to.After(c.at) {
			to = c.at
		}
		if from.IsZero() || !from.Before(to) {
			from = to.Add(-24 * time.Hour)
		}
		l.From, l.To = from, to
		return l
	}
	if view.SpanLength(l.Span) == 0 {
		l.Span = "24h"
	}
	l.To = c.at
	l.From = l.To.Add(-view.SpanLength(l.Span))
	return l
}

// seconds reads a datetime-local field as Japan time; the zero time when it is
// none.
func seconds(v string) time.Time {
	for _, layout := range []string{view.SecondsInput, view.LocalInput} {
		if t, err := time.ParseInLocation(layout, v, clock.Tokyo()); err == nil {
			return t
		}
	}
	return time.Time{}
}

// look is the search of the address.
func (c *call) look() view.Look {
	l := c.lookFrom(c.query)
	if c.r.Method == http.MethodPost { // a form that came back, or carries its search along
		l = c.lookFrom(c.r.Form.Get)
	}
	return l
}

// asked is a look as the archive understands it, for what the viewer may see.
func (c *call) asked(l view.Look) archive.Search {
	return archive.Search{Query: l.Query, From: l.From, To: l.To, Sites: search.Sites(c.who), Limit: perPage, After: l.After, Zone: clock.Tokyo()}
}

// searchPage is the page with the query, and with what was found when there is
// one in the address.
func (c *call) searchPage() (screen, error) {
	d, err := c.searchData()
	if err != nil {
		return screen{}, err
	}
	p := c.page("search", c.t("search.title"))
	if !d.Asked {
		return screen{page: p, body: view.Search(p, d)}, nil
	}
	if d.Wrong = c.wrong(d.Look.Query); d.Wrong != nil {
		return screen{page: p, body: view.Search(p, d), status: http.StatusUnprocessableEntity}, nil
	}
	if err := c.Searches.Asked(c.ctx(), search.Question{What: search.Searched, Query: d.Look.Query, Span: d.Look.Kept()}, c.who); err != nil {
		return screen{}, err
	}
	wait := firstWait
	if s := c.number("wait"); s > 0 {
		wait = min(time.Duration(s)*time.Second, longestWait)
	}
	if err := c.find(&d, wait); err != nil {
		return screen{}, err
	}
	if !d.Results.Done && d.Results.Fault == nil {
		d.Stream = string(d.Look.At("/search/stream"))
	}
	return screen{page: p, body: view.Search(p, d)}, nil
}

// searchData is the page without what was found.
func (c *call) searchData() (view.SearchData, error) {
	d := view.SearchData{Look: c.look(), Asked: c.r.Form.Has("q") || c.r.URL.Query().Has("q"), Rules: c.Rules != nil, MaxBatch: evidence.MaxEvents}
	var err error
	if d.Saved, err = c.Searches.Saved(c.ctx(), c.who); err != nil {
		return d, err
	}
	if d.Past, err = c.Searches.History(c.ctx(), c.who); err != nil {
		return d, err
	}
	d.Hints = c.hints(d.Past)
	if d.MayTake = c.may(auth.Preserve, auth.Resource{Kind: "event", Site: c.who.Site}); d.MayTake {
		d.Active, err = c.activeIncidents()
	}
	d.Results.MayTake, d.Results.Picked = d.MayTake, c.r.PostForm["event"]
	return d, err
}

func (c *call) activeIncidents() ([]incident.Incident, error) {
	list, _, err := c.Incidents.List(c.ctx(), incident.Filter{Active: true, Site: c.who.Site, Limit: 50})
	if err != nil {
		return nil, fmt.Errorf("list active incidents: %w", err)
	}
	return list, nil
}

// hints are what a browser without script offers while somebody types: their
// own searches, and the names of fields.
func (c *call) hints(past []search.Past) []view.Hint {
	var out []view.Hint
	for _, p := range past {
		out = append(out, view.Hint{Value: p.Query, Label: c.t("search.hint.past")})
	}
	for _, f := range lang.Fields() {
		out = append(out, view.Hint{Value: f.Name + ":", Label: c.t(f.Words)})
	}
	return out
}

// wrong says where a query cannot be read; nil when it can.
func (c *call) wrong(query string) *view.WrongQuery {
	_, err := lang.Parse(query)
	if err == nil {
		return nil
	}
	w := &view.WrongQuery{Before: query, At: " ", Message: c.words(err).What}
	at, ok := lang.Offset(err)
	runes := []rune(query)
	if !ok || at > len(runes) {
		return w
	}
	end := min(len(runes), at+1)
	var e *lang.Error
	if errors.As(err, &e) && e.Found != "" {
		end = min(len(runes), at+max(1, len([]rune(e.Found))))
	}
	w.Before, w.After = string(runes[:at]), string(runes[end:])
	if at < end {
		w.At = string(runes[at:end])
	}
	var f *fault.Error
	if e != nil && e.Found == "" && errors.As(err, &f) && len(f.Args) > 1 { // the second says what was found
		args := slices.Clone(f.Args)
		args[1] = c.t("search.wrong.end")
		w.Message = i18n.T(c.lang, "fault."+f.Key, i18n.Args(c.lang, args))
	}
	return w
}

// find searches until it is done or the time is over, and counts meanwhile.
func (c *call) find(d *view.SearchData, wait time.Duration) error {
	ctx, stop := context.WithTimeout(c.ctx(), wait)
	defer stop()
	d.Results.Look, d.Over.Look = d.Look, d.Look
	var g errgroup.Group
	g.Go(func() error {
		err := c.Archive.Search(ctx, c.asked(d.Look), func(p archive.Part) error { add(&d.Results, p); return nil })
		return c.ended(ctx, &d.Results, err)
	})
	g.Go(func() error { return c.count(ctx, &d.Over) })
	if err := g.Wait(); err != nil {
		return fmt.Errorf("search: %w", err)
	}
	return nil
}

// add takes one part of an answer.
func add(r *view.Results, p archive.Part) {
	r.Events = append(r.Events, p.Events...)
	if p.Table != nil {
		r.Table = p.Table
	}
	r.Progress, r.Next, r.Done = p.Progress, p.Next, p.Done
}

// ended decides what an error of a search means: the time of the page is over,
// the archive ended it with a reason, or it is an error of the page.
func (c *call) ended(ctx context.Context, r *view.Results, err error) error {
	switch {
	case err == nil || r.Done:
		return nil
	case ctx.Err() != nil && c.ctx().Err() == nil:
		r.Stopped = true
		return nil
	case fault.Of(err) == fault.Busy, fault.Of(err) == fault.Invalid:
		r.Fault = c.words(err)
		return nil
	}
	return err
}

// count makes the histogram. Without it the results stand all the same.
func (c *call) count(ctx context.Context, o *view.Overview) error {
	s := c.asked(o.Look)
	s.Query, s.After = filterOf(s.Query), ""
	list, err := c.Archive.Histogram(ctx, s, inChart(o.Look.Span))
	switch {
	case err == nil:
		o.Buckets, o.Ready = list, true
		return nil
	case ctx.Err() != nil || fault.Of(err) == fault.Busy || fault.Of(err) == fault.Invalid:
		return nil
	}
	return err
}

// inChart is how many columns a histogram has, so that each is a round time.
func inChart(span string) int {
	switch span {
	case "24h":
		return 24 // hours
	case "7d":
		return 28 // quarters of days
	}
	return 30 // half minutes, two minutes, days
}

// filterOf is a query without its stages.
func filterOf(query string) string {
	filter, _ := search.Split(query)
	return filter
}

// piece is one line of a streamed answer: an element of the page and what it
// becomes.
type piece struct {
	ID   string `json:"id"`
	HTML string `json:"html"`
	Done bool   `json:"done,omitempty"`
}

// searchStream goes on with a search that its page did not wait for. It ends
// when the reader leaves, which also ends the search.
func (c *call) searchStream() (bool, error) {
	l := c.look()
	if err := c.Searches.Asked(c.ctx(), search.Question{What: search.Searched, Query: l.Query, Span: l.Kept()}, c.who); err != nil {
		return false, err
	}
	p := c.page("search", "")
	c.w.Header().Set("Content-Type", "application/x-ndjson; charset=utf-8")
	c.w.Header().Set("X-Accel-Buffering", "no")
	out := &pieces{c: c, control: http.NewResponseController(c.w)}
	r := view.Results{Look: l, MayTake: c.may(auth.Preserve, auth.Resource{Kind: "event", Site: c.who.Site})}
	g, ctx := errgroup.WithContext(c.ctx())
	g.Go(func() error {
		var last time.Time
		err := c.Archive.Search(ctx, c.asked(l), func(part archive.Part) error {
			add(&r, part)
			if now := time.Now(); part.Done || now.Sub(last) >= between {
				last = now
				return out.send(ctx, "search-results", view.SearchResults(p, r), false)
			}
			return nil
		})
		return c.ended(ctx, &r, err)
	})
	g.Go(func() error {
		o := view.Overview{Look: l}
		if err := c.count(ctx, &o); err != nil || !o.Ready {
			return err
		}
		return out.send(ctx, "search-overview", view.SearchOverview(p, o), false)
	})
	err := g.Wait()
	if c.ctx().Err() != nil {
		return true, nil
	}
	if err != nil {
		c.Log.Error("search for a page", "err", err)
		r.Fault = c.words(err)
	}
	_ = out.send(c.ctx(), "search-results", view.SearchResults(p, r), true) // nothing to do about a reader who left
	return true, nil
}

// pieces writes the lines of a streamed answer, one at a time.
type pieces struct {
	c       *call
	control *http.ResponseController
	mu      sync.Mutex
}

// send renders a part of the page as one line.
func (o *pieces) send(ctx context.Context, id string, part templ.Component, done bool) error {
	var b strings.Builder
	if err := part.Render(ctx, &b); err != nil {
		return fmt.Errorf("render %s: %w", id, err)
	}
	return o.write(piece{ID: id, HTML: b.String(), Done: done})
}

func (o *pieces) write(p piece) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := json.NewEncoder(o.c.w).Encode(p); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return o.control.Flush()
}
