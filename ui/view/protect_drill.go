package view

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/protect/drill"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/protect/policy"
	"github.com/sonae/sonae/ready/asset"
)

// RestoreDrillsData are all drills that the viewer may see.
type RestoreDrillsData struct {
	Lines []drill.Line
	Pages []string // see protectPages
}

// RestoreDrillForm is what the form of a drill holds and offers.
type RestoreDrillForm struct {
	Definition drill.Definition
	Hosts      []asset.Host
	Parts      []drill.Definition // that a whole can be made of
}

// RestoreDrillData is one drill with its runs.
type RestoreDrillData struct {
	Line  drill.Line
	Runs  []drill.Run
	Form  RestoreDrillForm
	Pages []string
}

func (p Page) changesDrills(site string) bool {
	return p.May(auth.ProtectChange, auth.Resource{Kind: "protect", Site: site})
}

func restoreDrillPath(id string) string { return "/protect/drills/" + url.PathEscape(id) }

func restoreDrillRunPath(r drill.Run) string {
	return restoreDrillPath(r.Definition.ID) + "/runs/" + url.PathEscape(r.ID)
}

// red are the drills about which somebody must do something now.
func (d RestoreDrillsData) red() (out []drill.Line) {
	for _, l := range d.Lines {
		if l.Standing.Red() && l.Retired == "" {
			out = append(out, l)
		}
	}
	return out
}

func drillStanding(s drill.Standing) string {
	switch {
	case s == drill.Proven:
		return "done"
	case s.Red():
		return "failed"
	}
	return "waiting"
}

func drillProgress(s drill.State) string {
	switch s {
	case drill.Passed:
		return "done"
	case drill.Failed:
		return "failed"
	case drill.Running:
		return "working"
	}
	return "waiting"
}

// seconds writes how long a machine took.
func drillSeconds(p Page, s float64) string {
	if s >= 120 {
		return p.Span(time.Duration(s * float64(time.Second)))
	}
	return p.T("protect.drill.seconds", "n", strconv.FormatFloat(s, 'f', 1, 64))
}

// rate is bytes per second in words; "" where there is none.
func drillRate(bytes int64, s float64) string {
	if bytes == 0 || s <= 0 {
		return ""
	}
	return i18n.Bytes(int64(float64(bytes)/s)) + "/s"
}

// why says why a run could not run.
func drillWhy(p Page, r *drill.Reason) string {
	pairs := make([]string, 0, 2*len(r.Args))
	for i, a := range r.Args {
		pairs = append(pairs, strconv.Itoa(i), a)
	}
	return p.T("fault."+r.Key, pairs...)
}

func drillAge(p Page, seconds float64) string {
	return p.Span(time.Duration(max(0, seconds) * float64(time.Second)))
}

func drillWhen(p Page, l drill.Definition) string {
	if l.Days == 0 {
		return p.T("protect.drill.by-hand")
	}
	return p.T("protect.drill.each", "days", p.Count(l.Days), "hour", strconv.Itoa(l.Hour))
}

func oneALine(all []string) string { return strings.Join(all, "\n") }

// drillFor is the page on which a drill is written, with what is known of one that
// proves the first source of a part that nobody proved.
func drillFor(x policy.Part) string {
	q := url.Values{"host": {x.Host}, "class": {x.Policy.Class}}
	for _, s := range x.Policy.Sources {
		if len(x.Unproven) > 0 && !slices.Contains(x.Unproven, s.Name) {
			continue
		}
		level, paths := drillOf(s)
		q["level"], q["path"] = []string{string(level)}, paths
		break
	}
	return "/protect/drills/new?" + q.Encode()
}

// drillOf is the level of a drill that proves a source, and the paths of what the
// source makes of it where its description says them.
func drillOf(s job.Source) (level drill.Level, paths []string) {
	stream := func(name, kind string) string { return "/" + s.Name + "." + url.PathEscape(name) + kind }
	switch s.Kind {
	case job.PostgreSQL, job.MariaDB:
		kind := map[job.SourceKind]string{job.PostgreSQL: ".dump", job.MariaDB: ".sql"}[s.Kind]
		for _, name := range s.Databases {
			paths = append(paths, stream(name, kind))
		}
		return drill.Dump, paths
	case job.PostgreSQLBase:
		return drill.Database, []string{stream("base", ".tar")}
	}
	return drill.Files, nil
}

func drillPicks() []string { return []string{drill.Newest, drill.Clean, drill.AsOf} }
