package baseline

import (
	"fmt"
	"strings"
	"time"
)

// What counts as data hidden in names: many different names below one domain,
// each long. Captures of tunnels showed 97 to 222 names of 47 to 84 letters,
// all different; ordinary look-ups 17 to 35 letters, of which half to nine in
// ten are different.
const (
	askWindow   = 10 * time.Minute
	leastNames  = 32
	leastUnique = 0.8  // different names for each question
	leastLetter = 24.0 // letters below the domain, in the mean
	leastHidden = 1600 // letters below the domain, of all names: 1 kB of data
)

// question looks at names below one domain.
func (w *Watch) question(h *host, o *Observation) {
	domain := domainOf(o.Query)
	below := strings.TrimSuffix(strings.TrimSuffix(o.Query, domain), ".")
	if !registered(domain) { // a tunnel straight to its server needs no domain
		domain, below = "("+o.Remote.Addr().String()+")", o.Query
	}
	if !o.Opened || below == "" || reverse(o.Query) || reputation(o.Query) {
		return
	}
	t, _ := w.things[questions].get(w.join(o.Site, o.Host, domain))
	t.fresh(o.At, askWindow)
	t.count += o.Times
	t.example(o.Flow)
	if t.add(idOf(o.Query)) {
		t.out += int64(len(below))
	}
	t.in = max(t.in, int64(len(o.Query)))
	n := len(t.seen)
	if n < leastNames || float64(n) < leastUnique*float64(t.count) && n < maxSeen || t.out < leastHidden || float64(t.out)/float64(n) < leastLetter {
		return
	}
	w.tellTunnel(h, o, t, domain)
}

func (w *Watch) tellTunnel(h *host, o *Observation, t *thing, domain string) {
	n := len(t.seen)
	mean := float64(t.out) / float64(n)
	unique := min(1, float64(n)/float64(t.count))
	f := t.proof(o.At)
	f[FieldDomain], f[FieldCount] = domain, number64(t.count)
	f["UniqueNames"], f["MeanLength"], f["MaxLength"] = number64(int64(n)), fmt.Sprintf("%.0f", mean), number64(t.in)
	f[FieldScore] = score(unique * min(1, mean/(2*leastLetter)) * min(1, float64(n)/(2*leastNames)))
	ja := fmt.Sprintf("%sの下の名前を10分以内に%d種類問い合わせました(平均の長さ %.0f文字、最長 %d文字)。", domain, n, mean, t.in)
	en := fmt.Sprintf("Asked for %d different names below %s within ten minutes (%.0f letters in the mean, %d at most).", n, domain, mean, t.in)
	w.tell(h, o, behaviour{name: Tunnel, about: domain, peer: o.Remote, ja: ja, en: en, fields: f})
}

// reverse says that a name stands for an address, or is one of the machines
// next to it.
func reverse(name string) bool {
	for _, end := range []string{".in-addr.arpa", ".ip6.arpa", ".local", ".lan", ".localdomain", ".home.arpa"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return false
}

// registered says that a domain ends as domains do: with a label of letters, or
// one in another script. A single label is the name of a neighbour.
func registered(domain string) bool {
	at := strings.LastIndexByte(domain, '.')
	if at < 0 {
		return true
	}
	last := domain[at+1:]
	if strings.HasPrefix(last, "xn--") {
		return true
	}
	return len(last) <= longestTop && !strings.ContainsFunc(last, func(r rune) bool { return r < 'a' || r > 'z' })
}

// longestTop is the length of the longest top level domain in letters.
const longestTop = 18

// secondLevel are labels below a country that are given out as domains are:
// example.co.jp is a domain, co.jp is none.
var secondLevel = map[string]bool{"ac": true, "ad": true, "co": true, "com": true, "ed": true, "edu": true, "go": true, "gov": true, "gr": true, "lg": true,
	"ne": true, "net": true, "or": true, "org": true, "gob": true, "nhs": true, "plc": true, "ltd": true, "sch": true}

// domainOf is the part of a name that somebody registered, about: the last two
// labels, or three below a country. An address stays as it is.
func domainOf(name string) string {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	last := strings.LastIndexByte(name, '.')
	if last < 0 || last+1 < len(name) && name[last+1] >= '0' && name[last+1] <= '9' {
		return name
	}
	second := strings.LastIndexByte(name[:last], '.')
	if second < 0 {
		return name
	}
	if len(name)-last-1 == 2 && secondLevel[name[second+1:last]] {
		if third := strings.LastIndexByte(name[:second], '.'); third >= 0 {
			return name[third+1:]
		}
		return name
	}
	return name[second+1:]
}
