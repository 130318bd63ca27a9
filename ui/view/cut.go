package view

import (
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/ready/asset"
)

// CutData is the preview of the cutting of a site that somebody may request.
type CutData struct {
	Incident   incident.Incident
	Site       string
	Sites      []asset.Site
	Plan       *action.Cutting // nil when it cannot be planned, the fault says why
	Kept       []asset.Host    // machines of the site on the keep-list
	Before     []action.Cutting
	Reason     string
	Only       action.Stage
	Lease      time.Duration
	NoApprover bool
}

// CuttingData is one cutting with its actions by their ids.
type CuttingData struct {
	Cutting  action.Cutting
	Incident incident.Incident
	Actions  map[string]action.Action
}

// cutLeases are those that leave room for what earlier stages hold longer.
func cutLeases() []time.Duration {
	return slices.DeleteFunc(Leases(), func(d time.Duration) bool { return d > 23*time.Hour })
}

// CutText writes how a site is cut as people enter it: a path a line, its
// columns apart by "|". names are those of carriers by their ids.
func CutText(c action.Cut, names map[string]string) string {
	var b strings.Builder
	for _, s := range c.Sections {
		via, to := s.Via, strings.Join(s.Targets, " ")
		if n, ok := names[via]; ok {
			via = n
		}
		if s.Kind == action.Isolate {
			to = s.Forbidden
		}
		b.WriteString(strings.Join([]string{string(s.Stage), s.Name, string(s.Kind), via, to, s.Stops}, " | ") + "\n")
	}
	return b.String()
}

// ParseCut reads CutText; a line of another form is a fault with its number.
func ParseCut(text string, names map[string]string) ([]action.Section, error) {
	out, no := []action.Section{}, 0
	for line := range strings.Lines(text) {
		no++
		if strings.TrimSpace(line) == "" {
			continue
		}
		f := strings.Split(line, "|")
		if len(f) != 6 {
			return nil, fault.New(fault.Invalid, "cut.line", no)
		}
		for i := range f {
			f[i] = strings.TrimSpace(f[i])
		}
		s := action.Section{Stage: action.Stage(f[0]), Name: f[1], Kind: action.Kind(f[2]), Via: f[3], Stops: f[5]}
		for id, name := range names {
			if name == s.Via {
				s.Via = id
			}
		}
		if s.Kind == action.Isolate {
			s.Forbidden = f[4]
		} else {
			s.Targets = strings.Fields(f[4])
		}
		out = append(out, s)
	}
	return out, nil
}
