package ioc

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"
)

// Format is how a list is written.
type Format string

// Formats.
const (
	CSV   Format = "csv"   // columns value, type, confidence, until, note, in any order when the first line names them
	MISP  Format = "misp"  // events or attributes of MISP as JSON, a feed of them
	STIX  Format = "stix"  // a STIX 2.1 bundle; its indicators are read
	Hosts Format = "hosts" // a hosts file: address, name
	Lines Format = "lines" // one value a line
)

// Formats lists them.
func Formats() []Format { return []Format{CSV, MISP, STIX, Hosts, Lines} }

// Bounds of a list.
const (
	MaxBytes      = 32 << 20
	MaxIndicators = 500_000
	maxRefused    = 200 // that are named; more are counted
	maxNote       = 300 // bytes of a note
	maxLine       = 8 << 10
)

// Refused is a line or object that did not become an indicator.
type Refused struct {
	Line   int // from 1; of JSON the number of the object
	Value  string
	Reason Reason
}

// Parsed is what a file holds.
type Parsed struct {
	Format     Format
	Name       string // what the list calls itself, where it does
	Indicators []Indicator
	Twice      int // values that stood there before
	Refused    []Refused
	Reasons    map[Reason]int // how many of each
	Cut        bool           // there were more than MaxIndicators
}

// Parse reads a list. format "" finds out. now tells which indicators are over.
// Nothing in a file is an error: what cannot be read is among the Refused.
func Parse(data []byte, format Format, own Own, now time.Time) Parsed {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if format == "" {
		format = guess(data)
	}
	p := &parsing{own: own, now: now, seen: map[key]bool{}}
	p.out.Format, p.out.Reasons = format, map[Reason]int{}
	switch format {
	case CSV:
		p.csv(data)
	case MISP:
		p.misp(data)
	case STIX:
		p.stix(data)
	case Hosts:
		p.eachLine(data, p.hosts)
	default:
		p.eachLine(data, func(n int, line string) {
			p.value(n, "", line, Indicator{})
		})
	}
	return p.out
}

type key struct {
	kind  Kind
	value string
}

type parsing struct {
	own  Own
	now  time.Time
	out  Parsed
	seen map[key]bool
}

// guess tells the format by the first bytes.
func guess(data []byte) Format {
	text := bytes.TrimSpace(data)
	if len(text) > 0 && (text[0] == '{' || text[0] == '[') {
		head := text[:min(len(text), 64<<10)]
		if bytes.Contains(head, []byte(`"bundle"`)) || bytes.Contains(head, []byte(`"spec_version"`)) {
			return STIX
		}
		return MISP
	}
	hosts, commas := 0, 0
	for line := range bytes.Lines(text[:min(len(text), 64<<10)]) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		f := bytes.Fields(line)
		if _, ok := readIP(string(f[0])); ok && len(f) > 1 && f[1][0] != '#' {
			hosts++
		}
		if bytes.IndexByte(line, ',') >= 0 {
			commas++
		}
	}
	switch {
	case commas > 0 && commas >= hosts:
		return CSV
	case hosts > 0:
		return Hosts
	}
	return Lines
}

// eachLine calls each for the lines that are neither empty nor a comment.
func (p *parsing) eachLine(data []byte, each func(n int, line string)) {
	n := 0
	for line := range bytes.Lines(data) {
		n++
		text := strings.TrimSpace(string(line[:min(len(line), maxLine)]))
		if text == "" || strings.HasPrefix(text, "#") || strings.HasPrefix(text, "//") || strings.HasPrefix(text, ";") {
			continue
		}
		text, _, _ = strings.Cut(text, " #")
		text, _, _ = strings.Cut(text, "\t#")
		each(n, strings.TrimSpace(text))
	}
}

// hosts takes the names of a line of a hosts file; the address is where they
// are led to, and says nothing.
func (p *parsing) hosts(n int, line string) {
	f := strings.Fields(line)
	if _, ok := readIP(f[0]); ok {
		f = f[1:]
	}
	for _, name := range f {
		if strings.HasPrefix(name, "#") {
			return
		}
		if hostsOwn[name] { // every hosts file begins with these
			continue
		}
		p.value(n, Domain, name, Indicator{})
	}
}

var hostsOwn = map[string]bool{"localhost": true, "localhost.localdomain": true, "local": true, "broadcasthost": true, "0.0.0.0": true,
	"ip6-localhost": true, "ip6-loopback": true, "ip6-localnet": true, "ip6-mcastprefix": true, "ip6-allnodes": true, "ip6-allrouters": true, "ip6-allhosts": true}

// value takes one value; about holds what is said of it.
func (p *parsing) value(n int, kind Kind, value string, about Indicator) {
	i, ok := Read(kind, value)
	if !ok {
		p.refuse(n, value, Nothing)
		return
	}
	if !about.Until.IsZero() && !about.Until.After(p.now) {
		p.refuse(n, value, Over)
		return
	}
	if r := p.own.refuse(i); r != "" {
		p.refuse(n, value, r)
		return
	}
	k := key{i.Kind, i.Value}
	if p.seen[k] {
		p.out.Twice++
		return
	}
	if len(p.out.Indicators) >= MaxIndicators {
		p.out.Cut = true
		return
	}
	p.seen[k] = true
	i.Confidence, i.Until, i.Note = about.Confidence, about.Until, cut(about.Note)
	p.out.Indicators = append(p.out.Indicators, i)
}

func cut(note string) string {
	note = strings.ToValidUTF8(strings.Join(strings.Fields(note), " "), "\uFFFD")
	if len(note) <= maxNote {
		return note
	}
	return strings.ToValidUTF8(note[:maxNote], "") + "…"
}

func (p *parsing) refuse(n int, value string, why Reason) {
	p.out.Reasons[why]++
	if len(p.out.Refused) < maxRefused {
		p.out.Refused = append(p.out.Refused, Refused{n, cut(value), why})
	}
}

// moment reads a time of a list: RFC 3339, or a date, which ends with its day.
func moment(text string) (time.Time, bool) {
	text = strings.TrimSpace(text)
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t.UTC(), true
	}
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		return t.AddDate(0, 0, 1).UTC(), true
	}
	return time.Time{}, false
}

// objects reads JSON: one value, or several one after the other.
func objects(data []byte, each func(any)) bool {
	d := json.NewDecoder(bytes.NewReader(data))
	for d.More() {
		var v any
		if err := d.Decode(&v); err != nil {
			return false
		}
		each(v)
	}
	return true
}
