package view

import (
	"strconv"

	"github.com/a-h/templ"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/protect/copy"
	"github.com/sonae/sonae/ready/asset"
)

// CopiesData is all copies that the viewer may see.
type CopiesData struct {
	Pages  []string // that the sub-navigation offers
	Places []copy.Place
	States []copy.State
	Now    map[string]copy.Now
	Media  []copy.Medium
}

// CopyPlaceData is one place, or a new one of a kind.
type CopyPlaceData struct {
	Pages   []string
	Place   copy.Place
	Sites   []asset.Site // to choose from, for a new one
	AnySite bool         // the viewer may choose all sites
	Results []copy.Result
}

// of are the copies at a place.
func (d CopiesData) of(place string) []copy.State {
	var out []copy.State
	for _, s := range d.States {
		if s.PlaceID == place {
			out = append(out, s)
		}
	}
	return out
}

// media are those of a place.
func (d CopiesData) media(place string) []copy.Medium {
	var out []copy.Medium
	for _, m := range d.Media {
		if m.PlaceID == place {
			out = append(out, m)
		}
	}
	return out
}

func protectAt(site string) auth.Resource { return auth.Resource{Kind: "protect", Site: site} }

// copyState is the state of a copy in a word with its progress.
func copyState(s copy.State) (key, progress string) {
	switch {
	case s.Problem != "":
		return s.Problem, "failed"
	case s.Verified():
		return "protect.copy.verified", "done"
	}
	return "protect.copy.unverified", "waiting"
}

// reach says whether malware could get at a copy.
func reach(p Page, s copy.State) string {
	if s.Unreachable(p.Now) {
		return "✓ " + p.T("protect.copy.unreachable")
	}
	return "▲ " + p.T("protect.copy.reachable")
}

func mediumProgress(s copy.MediumState) string {
	switch s {
	case copy.Handed:
		return "done"
	case copy.Ejected, copy.Written:
		return "working"
	}
	return "waiting"
}

func copyPath(id string) string { return "/protect/copies/" + id }

// whereOf is where a place lies, in the words of whoever runs it.
func whereOf(c copy.Place) string {
	switch c.Kind {
	case copy.Lock:
		return c.Endpoint + "/" + c.Bucket
	case copy.Pull:
		return c.From + " → " + c.Dir
	}
	return c.Dir
}

// liesAt is where a copy lies, as people say it.
func liesAt(p Page, where string) string {
	switch where {
	case "":
		return p.T("protect.copy.where.unsaid")
	case copy.Elsewhere:
		return p.T("protect.copy.where.elsewhere")
	}
	return p.Site(where)
}

func numeric(most int) templ.Attributes {
	return templ.Attributes{"inputmode": "numeric", "pattern": "[0-9]+", "maxlength": strconv.Itoa(most)}
}
