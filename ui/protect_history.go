package ui

import (
	"context"
	"slices"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/history"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/ui/view"
)

// BackupHistory is what the pages need from protect/history.
type BackupHistory interface {
	List(ctx context.Context, f history.Filter) ([]history.Line, int, error)
}

// protectHistoryRoutes are the page of what happened to backups, and its file.
func protectHistoryRoutes() []route {
	return []route{
		{pattern: "GET /protect/history", verb: auth.ProtectSee, kind: "protect", page: (*call).protectHistory, topics: []string{"protect", "vault", "copy", "restore", "restore-drill"}},
		{pattern: "GET /protect/history.csv", verb: auth.ProtectSee, kind: "protect", raw: (*call).protectHistoryFile, back: (*call).protectHistory},
	}
}

// historyFilter reads what the address asks for. People of one site see theirs.
func (c *call) historyFilter() (f history.Filter, err error) {
	f = history.Filter{Site: c.query("site"), Host: c.query("host"), Class: c.query("class"), Kind: history.Kind(c.query("kind")), Bad: c.query("bad") != ""}
	if c.who.Site != "" {
		f.Site = c.who.Site
	}
	if f.From, err = c.day("from"); err != nil {
		return f, err
	}
	if f.Until, err = c.day("until"); err != nil {
		return f, err
	}
	if f.Until.IsZero() {
		f.Until = c.at.Add(time.Minute)
	} else {
		f.Until = f.Until.AddDate(0, 0, 1) // the day is within
	}
	if f.From.IsZero() {
		f.From = f.Until.Add(-history.Span)
	}
	return f, nil
}

// day reads a day of the address, as it begins in Japan; the zero time where it
// names none.
func (c *call) day(name string) (time.Time, error) {
	text := c.query(name)
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.ParseInLocation(time.DateOnly, text, clock.Tokyo())
	if err != nil {
		return t, fault.New(fault.Invalid, "ui.time", c.t("protect.history."+name))
	}
	return t, nil
}

func (c *call) protectHistory() (screen, error) {
	d := view.ProtectHistoryData{Pages: protectPages(), List: c.list("/protect/history", "from", "until", "site", "host", "class", "kind", "bad"), AnySite: c.who.Site == ""}
	var err error
	if d.Filter, err = c.historyFilter(); err != nil {
		return screen{}, err
	}
	if d.Sites, err = c.sites(); err != nil {
		return screen{}, err
	}
	d.Sites = slices.DeleteFunc(d.Sites, func(s asset.Site) bool { return s.Drill })
	if d.Classes, err = c.BackupPolicies.Classes(c.ctx(), d.Filter.Site); err != nil {
		return screen{}, err
	}
	policies, err := c.BackupPolicies.Policies(c.ctx(), d.Filter.Site)
	if err != nil {
		return screen{}, err
	}
	for _, p := range policies {
		d.Hosts = append(d.Hosts, p.Hosts...)
	}
	if d.Filter.Host != "" {
		d.Hosts = append(d.Hosts, d.Filter.Host)
	}
	slices.Sort(d.Hosts)
	d.Hosts = slices.Compact(d.Hosts)
	f := d.Filter
	f.Limit, f.Offset = d.List.Limit, d.List.Offset
	d.Lines, d.List.Total, err = c.BackupHistory.List(c.ctx(), f)
	p := c.page("protect", c.t("protect.history.title"))
	return screen{page: p, body: view.ProtectHistory(p, d)}, err
}

// protectHistoryFile hands out all lines that the filter chooses as CSV.
func (c *call) protectHistoryFile() (bool, error) {
	f, err := c.historyFilter()
	if err != nil {
		return false, err
	}
	all, _, err := c.BackupHistory.List(c.ctx(), f)
	if err != nil {
		return false, err
	}
	classes, err := c.BackupPolicies.Classes(c.ctx(), f.Site)
	if err != nil {
		return false, err
	}
	names := history.Names{Site: c.siteName, Host: c.hostName, Class: view.ClassNames(classes), Args: c.page("protect", "").NamesIn}
	w := &lateWriter{c: c, header: func() {
		c.w.Header().Set("Content-Type", "text/csv; charset=utf-8")
		c.w.Header().Set("Content-Disposition", `attachment; filename="backup-history.csv"`)
	}}
	return true, w.end(history.WriteCSV(w, all, names, c.lang))
}
