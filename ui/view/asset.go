package view

import (
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/ready/asset"
)

// HostsData is the register of sites and hosts.
type HostsData struct {
	Sites  []asset.Site
	Hosts  []asset.Host
	Paging Paging
	Site   string // filter
	Tokens []asset.Token
}

// enrolSites are those that a machine may enrol at: not the ones for practice.
func (d HostsData) enrolSites() []asset.Site {
	return slices.DeleteFunc(slices.Clone(d.Sites), func(s asset.Site) bool { return s.Drill })
}

// HostData is one host with what happened to it.
type HostData struct {
	Host   asset.Host
	Alerts []AlertLine
	Frozen []action.Action // processes that stand still
}

// TokenData is a new enrolment token, shown once.
type TokenData struct {
	Site      string
	ExpiresAt time.Time
	Command   string // the line to paste on the machine
}

// missingAfter is the silence after which an agent counts as not connected;
// it beats several times a minute.
const missingAfter = 3 * time.Minute

// Missing says whether the agent of h has not been heard of for too long.
func Missing(h asset.Host, now time.Time) bool { return now.Sub(h.LastSeen) > missingAfter }

// SiteKinds are the kinds of sites to choose from.
func SiteKinds() []asset.SiteKind {
	return []asset.SiteKind{asset.Hospital, asset.Contractor, asset.DataCentre, asset.Office}
}

// Classes of hosts to choose from.
func Classes() []string { return []string{"pc", "server", "medical", "vm", "other"} }

// ServiceLines writes services one a line: name | effect | load.
func ServiceLines(list []asset.Service) string {
	var b strings.Builder
	for _, s := range list {
		b.WriteString(strings.Join([]string{s.Name, s.Effect, s.Load}, " | ") + "\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// ParseServices reads what ServiceLines writes; the id of a service is its
// place in the list unless old has one of the same name.
func ParseServices(text string, old []asset.Service) []asset.Service {
	known := map[string]asset.Service{}
	for _, s := range old {
		known[s.Name] = s
	}
	var out []asset.Service
	for _, line := range lines(text) {
		parts := strings.SplitN(line, "|", 3)
		name := strings.TrimSpace(parts[0])
		if name == "" {
			continue
		}
		s := known[name] // with what stopping it costs
		s.Name, s.Effect, s.Load = name, "", ""
		if s.ID == "" {
			s.ID = name
		}
		if len(parts) > 1 {
			s.Effect = strings.TrimSpace(parts[1])
		}
		if len(parts) > 2 {
			s.Load = strings.TrimSpace(parts[2])
		}
		out = append(out, s)
	}
	return out
}
