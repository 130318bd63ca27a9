package report

import (
	"encoding/hex"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/fault"
)

// What an indicator can be.
const (
	Address = "address" // of an IPv4 or IPv6 host elsewhere
	Domain  = "domain"
	URL     = "url"
	SHA256  = "sha256"
	SHA1    = "sha1"
	MD5     = "md5"
	Program = "program" // name of a file
)

// Indicator is something others can look for.
type Indicator struct {
	Kind  string    `json:"kind"`
	Value string    `json:"value"`
	First time.Time `json:"first"` // zero: not observed here, but stated
	Last  time.Time `json:"last"`
	Rule  Text      `json:"rule"` // what made it stand out; empty: a person stated it
	Tags  []string  `json:"tags"` // of the rule
}

// mostIndicators bounds a list of them.
const mostIndicators = 1000

var (
	domainForm  = regexp.MustCompile(`^(?i)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]$`)
	programForm = regexp.MustCompile(`(?i)\.(exe|dll|sys|scr|bat|cmd|ps1|vbs|js|hta|lnk|iso|img|zip|7z|rar|docm?|xlsm?|pdf|sh|elf|so|jar|apk|py|bin|msi)$`)
)

// ParseIndicators reads indicators that a person wrote, one on a line. Dots and
// schemes that were made harmless (hxxp, [.]) are read as what they mean.
// Invalid: the line, which is named, is none of what an indicator can be.
func ParseIndicators(text string) ([]Indicator, error) {
	all := []Indicator{}
	no := 0
	for line := range strings.Lines(text) {
		no++
		s := strings.TrimSpace(line)
		if s == "" {
			continue
		}
		i, ok := readIndicator(s)
		if !ok || len(all) == mostIndicators {
			return nil, fault.New(fault.Invalid, "report.indicator", no, shorten(s))
		}
		all = append(all, i)
	}
	return all, nil
}

func shorten(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return s
}

func readIndicator(s string) (Indicator, bool) {
	if len(s) > 2000 || !utf8.ValidString(s) {
		return Indicator{}, false
	}
	s = strings.NewReplacer("[.]", ".", "(.)", ".", "[:]", ":", "hxxp://", "http://", "hxxps://", "https://").Replace(s)
	of := func(kind, value string) (Indicator, bool) {
		return Indicator{Kind: kind, Value: value, Tags: []string{}}, true
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return of(Address, a.Unmap().String())
	}
	if _, err := hex.DecodeString(s); err == nil {
		if kind := map[int]string{64: SHA256, 40: SHA1, 32: MD5}[len(s)]; kind != "" {
			return of(kind, strings.ToLower(s))
		}
	}
	if u, err := url.Parse(s); err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https") {
		return of(URL, s)
	}
	if programForm.MatchString(s) && !strings.ContainsAny(s, "\x00<>|\"*?") {
		return of(Program, baseName(s))
	}
	if domainForm.MatchString(s) && len(s) <= 253 {
		return of(Domain, strings.ToLower(s))
	}
	return Indicator{}, false
}

// baseName is the last part of a path of either system.
func baseName(s string) string { return path.Base(strings.ReplaceAll(s, `\`, "/")) }

// indicators are what the alerts and the people name: addresses elsewhere,
// programs, and what was stated. Addresses of the house itself stay at home.
func (k known) indicators(alerts []Alert) []Indicator {
	all, _ := ParseIndicators(k.particulars.Indicators) // it was checked when it was stated
	for i, a := range k.alerts {
		rule := alerts[i].Title
		for _, p := range a.Peers {
			if at, err := netip.ParseAddrPort(p.Address); err == nil && outside(at.Addr()) {
				all = append(all, Indicator{Address, at.Addr().Unmap().String(), p.First, p.Last, rule, tags(a)})
			}
		}
		for _, p := range a.Process {
			if p.Image != "" {
				all = append(all, Indicator{Program, baseName(p.Image), a.First, a.Last, rule, tags(a)})
			}
		}
	}
	return merged(all)
}

func outside(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsGlobalUnicast() && !a.IsPrivate()
}

func tags(a alert.Alert) []string { return append([]string{}, a.Rule.Tags...) }

// merged holds each indicator once, in the order of kind and value.
func merged(all []Indicator) []Indicator {
	out := []Indicator{}
	at := map[string]int{}
	for _, i := range all {
		key := i.Kind + " " + i.Value
		n, ok := at[key]
		if !ok {
			at[key] = len(out)
			out = append(out, i)
			continue
		}
		o := &out[n]
		if o.First.IsZero() || !i.First.IsZero() && i.First.Before(o.First) {
			o.First = i.First
		}
		if i.Last.After(o.Last) {
			o.Last = i.Last
		}
		if o.Rule.Empty() {
			o.Rule = i.Rule
		}
		for _, t := range i.Tags {
			if !slices.Contains(o.Tags, t) {
				o.Tags = append(o.Tags, t)
			}
		}
	}
	slices.SortFunc(out, func(a, b Indicator) int { return strings.Compare(a.Kind+" "+a.Value, b.Kind+" "+b.Value) })
	return out[:min(len(out), mostIndicators)]
}

var techniqueForm = regexp.MustCompile(`^attack\.(t\d{4}(?:\.\d{3})?)$`)

// techniques are the ATT&CK techniques that the rules of the alerts name, each
// once, sorted.
func (k known) techniques() []string {
	out := []string{}
	for _, a := range k.alerts {
		for _, t := range a.Rule.Tags {
			if m := techniqueForm.FindStringSubmatch(strings.ToLower(t)); m != nil && !slices.Contains(out, strings.ToUpper(m[1])) {
				out = append(out, strings.ToUpper(m[1]))
			}
		}
	}
	slices.Sort(out)
	return out
}
