package ui

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/archive/lang"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/evidence"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/search"
	"github.com/sonae/sonae/ui/view"
)

// searches lists the kept searches.
func (c *call) searches() (screen, error) {
	list, err := c.Searches.Saved(c.ctx(), c.who)
	if err != nil {
		return screen{}, err
	}
	p := c.page("search", c.t("search.saved.title"))
	return screen{page: p, body: view.Searches(p, list)}, nil
}

func (c *call) saveSearch() (string, error) {
	l := c.look()
	if _, err := c.Searches.Save(c.ctx(), search.NewSaved{Name: c.form("name"), Query: l.Query, Span: l.Kept(), Shared: c.form("shared") == "1"}, c.who); err != nil {
		return "", err
	}
	return string(l.At("/search", "done", "saved")), nil
}

func (c *call) renameSearch() (string, error) {
	return "/searches?done=saved", c.Searches.Rename(c.ctx(), c.r.PathValue("saved"), c.form("name"), c.who)
}

func (c *call) shareSearch() (string, error) {
	return "/searches?done=saved", c.Searches.Share(c.ctx(), c.r.PathValue("saved"), c.form("shared") == "1", c.who)
}

func (c *call) deleteSearch() (string, error) {
	return "/searches?done=deleted", c.Searches.Delete(c.ctx(), c.r.PathValue("saved"), c.who)
}

func (c *call) forgetSearches() (string, error) {
	return "/search?done=forgotten", c.Searches.Forget(c.ctx(), c.who)
}

// fileType is a file that a search can be taken away as.
type fileType struct{ format, kind, suffix string }

// fileTypes are those that the page offers. A spreadsheet reads Japanese only
// with a byte order mark.
func fileTypes() map[string]fileType {
	return map[string]fileType{
		"csv":     {archive.FormatCSVBOM, "text/csv; charset=utf-8", "csv"},
		"jsonl":   {archive.FormatJSONL, "application/x-ndjson", "jsonl"},
		"parquet": {archive.FormatParquet, "application/vnd.apache.parquet", "parquet"},
	}
}

// exportSearch sends what matches as a file, after that was recorded.
func (c *call) exportSearch() (bool, error) {
	l := c.look()
	t, ok := fileTypes()[c.form("format")]
	if !ok {
		return false, fault.New(fault.Invalid, "search.format")
	}
	if _, err := lang.Parse(l.Query); err != nil { // while there still is a page to say so
		return false, fmt.Errorf("export: %w", err)
	}
	q := search.Question{What: search.Exported, Query: l.Query, Span: l.Kept(), Format: c.form("format")}
	if err := c.Searches.Asked(c.ctx(), q, c.who); err != nil {
		return false, err
	}
	w := &lateWriter{c: c, header: func() {
		c.w.Header().Set("Content-Type", t.kind)
		c.w.Header().Set("Content-Disposition", fmt.Sprintf(`attachment; filename="sonae-%s.%s"`, c.at.UTC().Format("20060102-150405"), t.suffix))
	}}
	err := w.end(c.export(c.asked(l.For(l.Query)), t.format, w))
	return err == nil || w.wrote, err
}

func (c *call) export(s archive.Search, format string, w io.Writer) error {
	s.Limit = 0
	_, err := c.Archive.Export(c.ctx(), s, format, w)
	return err
}

// takeEvents keeps the chosen events as evidence of an incident.
func (c *call) takeEvents() (string, error) {
	i, err := c.Incidents.Get(c.ctx(), c.form("incident"))
	if err != nil {
		return "", err
	}
	if err := c.must(auth.Preserve, auth.Resource{Kind: "evidence", Site: auth.Among(c.who, i.Scope.Sites)}); err != nil {
		return "", err
	}
	events, err := c.chosen(c.r.PostForm["event"])
	if err != nil {
		return "", err
	}
	ids := make([]string, len(events))
	for n, e := range events {
		ids[n] = e.ID
	}
	found, err := c.located(ids)
	if err != nil {
		return "", err
	}
	b, err := c.Evidence.AddEvents(c.ctx(), i.ID, events, found, c.form("purpose"), c.who)
	if err != nil {
		return "", err
	}
	return "/evidence/" + url.PathEscape(b.ID) + "?done=kept", nil
}

const (
	sealWait = 20 * time.Second       // longer than events stay outside of a segment
	sealPoll = 500 * time.Millisecond // between two looks
)

// located says which segments hold the events. Those that arrived just now are
// in none yet; nobody has to press again for that.
func (c *call) located(ids []string) ([]evidence.Location, error) {
	ctx, stop := context.WithTimeout(c.ctx(), sealWait)
	defer stop()
	for {
		found, err := c.Located(c.ctx(), ids)
		if err != nil {
			return nil, fmt.Errorf("locate events: %w", err)
		}
		held := map[string]bool{}
		for _, f := range found {
			held[f.ID] = true
		}
		if len(held) >= len(ids) {
			return found, nil
		}
		select {
		case <-ctx.Done():
			return found, nil // the vault says which is missing
		case <-time.After(sealPoll):
		}
	}
}

// idsAtOnce bounds the ids of one query, which has a greatest length.
const idsAtOnce = 100

// chosen finds the events that a form names.
func (c *call) chosen(values []string) ([]event.Event, error) {
	if len(values) == 0 || len(values) > evidence.MaxEvents {
		return nil, fault.New(fault.Invalid, "evidence.events", evidence.MaxEvents)
	}
	var out []event.Event
	for len(values) > 0 {
		n := min(len(values), idsAtOnce)
		var ids []string
		var oldest, newest time.Time
		for _, v := range values[:n] {
			id, at, ok := view.Picked(v)
			if !ok {
				return nil, fault.New(fault.Missing, "searchpage.no-event")
			}
			ids = append(ids, id)
			if oldest.IsZero() || at.Before(oldest) {
				oldest = at
			}
			if at.After(newest) {
				newest = at
			}
		}
		list, err := c.events(ids, oldest, newest)
		if err != nil {
			return nil, err
		}
		if len(list) != len(ids) {
			return nil, fault.New(fault.Missing, "searchpage.no-event")
		}
		out, values = append(out, list...), values[n:]
	}
	return out, nil
}
