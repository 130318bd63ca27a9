package standing

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

// Draft is the usual policy in the words of a form. Its Cedar text is what
// people then read, change and approve.
type Draft struct {
	Kind     string
	Site     string // "": all sites
	Class    string // "": all classes
	Severity int    // the least, 1 to 5
	Certain  bool
	From, To int    // hours of the day, both 0: always; may pass midnight
	Rule     string // "": all rules

	Lease time.Duration
	Most  int
	Tell  string
	Via   string
	Probe string
}

// Text writes the draft as a policy.
func (d Draft) Text() string {
	var b strings.Builder
	note := func(key, value string) {
		if value != "" {
			fmt.Fprintf(&b, "@%s(%s)\n", key, quote(value))
		}
	}
	if d.Lease > 0 {
		note("lease", d.Lease.String())
	}
	if d.Most > 0 {
		note("most", fmt.Sprint(d.Most))
	}
	note("tell", d.Tell)
	note("via", d.Via)
	note("probe", d.Probe)
	fmt.Fprintf(&b, "permit (principal, action == Action::%s, resource)\nwhen {\n    %s\n};\n", quote(d.Kind), strings.Join(d.conditions(), " &&\n    "))
	return b.String()
}

func (d Draft) conditions() []string {
	out := []string{fmt.Sprintf("principal.severity >= %d", min(max(d.Severity, 1), 5))}
	if d.Certain {
		out = append(out, "principal.certain")
	}
	if d.Rule != "" {
		out = append(out, "principal.rule == "+quote(d.Rule))
	}
	if d.Site != "" {
		out = append(out, "resource.site == "+quote(d.Site))
	}
	if d.Class != "" {
		out = append(out, "resource.class == "+quote(d.Class))
	}
	switch {
	case d.From < d.To:
		out = append(out, fmt.Sprintf("context.hour >= %d && context.hour < %d", d.From, d.To))
	case d.From > d.To: // past midnight
		out = append(out, fmt.Sprintf("(context.hour >= %d || context.hour < %d)", d.From, d.To))
	}
	return out
}

// quote writes a text as Cedar does.
func quote(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
