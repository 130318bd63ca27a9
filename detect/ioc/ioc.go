// Package ioc knows threat lists: addresses, names, URLs, hashes and client
// fingerprints that somebody calls dangerous.
//
// In: lists as files (Parse), events. Out: indicators, a Set of them, and for
// an event that names one a Hit, which becomes an event of its own that rules
// judge, so that everything people can do about rules works for lists, too.
// Always true: no address of one's own networks and no name of one's own ever
// becomes an indicator (Own); an indicator whose time is over does not match; a
// Set does not change and is safe for concurrent use; nothing is allocated for
// an event that names none.
package ioc

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/event"
)

// Kind is what an indicator is.
type Kind string

// Kinds.
const (
	IP     Kind = "ip"
	Net    Kind = "net" // addresses by prefix
	Domain Kind = "domain"
	URL    Kind = "url"
	Hash   Kind = "hash" // MD5, SHA-1 or SHA-256, told by its length
	JA4    Kind = "ja4"  // TLS client fingerprint
)

// Kinds lists them.
func Kinds() []Kind { return []Kind{IP, Net, Domain, URL, Hash, JA4} }

// Indicator is one thing that is called dangerous. Value is in one form:
// addresses as netip writes them, names in lower case without a dot at the
// end, URLs without scheme and fragment, hashes in lower case.
type Indicator struct {
	Kind       Kind      `json:"kind"`
	Value      string    `json:"value"`
	Confidence int       `json:"confidence,omitempty"` // 1–100; 0: as the list says
	Until      time.Time `json:"until,omitzero"`       // zero: as the list says
	Note       string    `json:"note,omitempty"`
}

// List is a threat list in force.
type List struct {
	ID         string
	Name       string
	Source     string // who says so
	Confidence int    // of indicators that say nothing themselves, 1–100
	Until      time.Time
	Indicators []Indicator
}

// Hit says that an event names an indicator.
type Hit struct {
	List      *List      // read-only
	Indicator *Indicator // read-only
	Field     string     // of the event
	Lists     int        // how many lists hold the indicator
}

// Confidence of the hit, 1–100.
func (h Hit) Confidence() int {
	if h.Indicator.Confidence > 0 {
		return h.Indicator.Confidence
	}
	return h.List.Confidence
}

// Fields of the event of a hit, beside those of the event that names the
// indicator.
const (
	FieldKind       = "IocType"
	FieldValue      = "IocValue"
	FieldList       = "IocList"       // id
	FieldName       = "IocListName"   //
	FieldSource     = "IocSource"     //
	FieldConfidence = "IocConfidence" // 1–100
	FieldSeenIn     = "IocField"      // where the value stood
	FieldNote       = "IocNote"
	FieldProduct    = "IocProduct" // log source of the event that names it
)

// Category and Service are the log source of hits; the product is "sonae".
const (
	Category = "threat_list"
	Service  = "ioc"
)

// Event makes the event of a hit. It keeps the id, so that the alert leads to
// what the archive holds.
func (h Hit) Event(e event.Event) event.Event {
	from := strings.Join(slices.DeleteFunc([]string{e.Product, e.Category, e.Service}, func(s string) bool { return s == "" }), "/")
	e.Fields = maps.Clone(e.Fields)
	if e.Fields == nil {
		e.Fields = map[string]string{}
	}
	for name, value := range map[string]string{FieldKind: string(h.Indicator.Kind), FieldValue: h.Indicator.Value, FieldList: h.List.ID, FieldName: h.List.Name,
		FieldSource: h.List.Source, FieldConfidence: strconv.Itoa(h.Confidence()), FieldSeenIn: h.Field, FieldNote: h.Indicator.Note, FieldProduct: from} {
		if value != "" {
			e.Fields[name] = value
		}
	}
	e.Product, e.Category, e.Service = "sonae", Category, Service
	return e
}

// Own is what must never match: one's own networks and names. Addresses that
// nobody on the Internet has are among them without being named.
type Own struct {
	Networks []netip.Prefix
	Domains  []string // in lower case; what lies below them is meant, too
}

// never are ranges that are inside, or nobody's (RFC 6890).
var never = prefixes("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16",
	"224.0.0.0/4", "240.0.0.0/4", "::/127", "fc00::/7", "fe80::/10", "ff00::/8")

func prefixes(text ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(text))
	for i, t := range text {
		out[i] = netip.MustParsePrefix(t)
	}
	return out
}

// Reason is why a line does not become an indicator; the catalogue has it
// under ioc.reason.REASON.
type Reason string

// Reasons.
const (
	Internal  Reason = "internal"    // an address of one's own networks, or nobody's
	OwnName   Reason = "own"         // a name of one's own, or above it
	TooWide   Reason = "wide"        // so many addresses or names that it would match everything
	Nothing   Reason = "nothing"     // nothing that can be looked for
	Compound  Reason = "compound"    // several things that must be seen together
	NotForUse Reason = "not-for-use" // the list itself says that it is not for detection
	Over      Reason = "over"        // its time is over
	BadTime   Reason = "time"        // a time that cannot be read
	BadNumber Reason = "confidence"  // no number from 1 to 100
)

// refuse says why an indicator must not be one, "" when it may.
func (o Own) refuse(i Indicator) Reason {
	switch i.Kind {
	case IP:
		return o.address(netip.MustParseAddr(i.Value))
	case Net:
		return o.network(netip.MustParsePrefix(i.Value))
	case Domain:
		return o.name(i.Value)
	case URL:
		host := hostOf(i.Value)
		if a, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
			return o.address(a)
		}
		if r := o.name(host); r == OwnName {
			return r
		}
	}
	return ""
}

func (o Own) address(a netip.Addr) Reason {
	for _, list := range [][]netip.Prefix{never, o.Networks} {
		for _, p := range list {
			if p.Contains(a) {
				return Internal
			}
		}
	}
	return ""
}

// Widest prefixes that a list may name: a sixteenth of a percent of IPv4, and
// what one provider has of IPv6.
const (
	widestFour = 10
	widestSix  = 24
)

func (o Own) network(p netip.Prefix) Reason {
	for _, list := range [][]netip.Prefix{never, o.Networks} {
		for _, q := range list {
			if p.Overlaps(q) {
				return Internal
			}
		}
	}
	if p.Addr().Is4() && p.Bits() < widestFour || p.Addr().Is6() && p.Bits() < widestSix {
		return TooWide
	}
	return ""
}

// inside are top-level names of networks that are not the Internet.
var inside = []string{"local", "localhost", "localdomain", "internal", "lan", "home", "corp", "arpa"}

func (o Own) name(name string) Reason {
	for _, own := range append(o.Domains, inside...) {
		if below(name, own) || below(own, name) {
			return OwnName
		}
	}
	if isSuffix(name) {
		return TooWide
	}
	return ""
}

// below says whether a name is another one or lies below it.
func below(name, above string) bool {
	rest, ok := strings.CutSuffix(name, above)
	return ok && (rest == "" || strings.HasSuffix(rest, "."))
}

func hostOf(url string) string {
	host, _, _ := strings.Cut(url, "/")
	if strings.HasPrefix(host, "[") {
		host, _, _ = strings.Cut(host, "]")
		return host + "]"
	}
	host, _, _ = strings.Cut(host, ":")
	return host
}
