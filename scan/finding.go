package scan

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/flow"
)

// The types below are what others build on: see the command line in the
// documentation before changing a name.

// Finding is what a rule found.
type Finding struct {
	Time   time.Time         `json:"time"`
	Rule   Rule              `json:"rule"`
	Host   string            `json:"host"`
	Source Source            `json:"source"`
	Fields map[string]string `json:"fields"`
	Flow   *Flow             `json:"flow,omitempty"`
}

// Rule is what is said of the rule.
type Rule struct {
	ID    string         `json:"id"`
	Title string         `json:"title"`
	Level event.Severity `json:"level"`
	Tags  []string       `json:"tags"`

	titles detect.Text
}

// Source says where it stands; Record is the record id of EVTX, else the line
// or packet from 1. The path of a member is that of its archive, "!" and its
// name there.
type Source struct {
	Path   string `json:"path"`
	Kind   string `json:"kind"`
	Record uint64 `json:"record"`
}

func (s Source) id() string { return s.Path + "#" + strconv.FormatUint(s.Record, 10) }

// Flow is a connection. Src opened it; BytesOut went from Src to Dst.
type Flow struct {
	Src        string    `json:"src"`
	Sport      uint16    `json:"sport"`
	Dst        string    `json:"dst"`
	Dport      uint16    `json:"dport"`
	Proto      string    `json:"proto"`
	Label      string    `json:"label"`
	Confidence string    `json:"confidence"`
	Rule       string    `json:"rule"`
	BytesOut   int64     `json:"bytes_out"`
	BytesIn    int64     `json:"bytes_in"`
	Packets    int64     `json:"packets"`
	First      time.Time `json:"first"`
	Last       time.Time `json:"last"`
}

// Connection is one connection of a capture, with Options.Flows.
type Connection struct {
	Flow   Flow   `json:"flow"`
	Source Source `json:"source"`
}

func flowOf(f flow.Flow) *Flow {
	return &Flow{Src: f.Src.Addr().String(), Sport: f.Src.Port(), Dst: f.Dst.Addr().String(), Dport: f.Dst.Port(), Proto: f.Proto,
		Label: f.Label, Confidence: string(f.Confidence), Rule: f.Rule, BytesOut: f.Out, BytesIn: f.In, Packets: f.PacketsOut + f.PacketsIn,
		First: f.First, Last: f.Last}
}

// String is one line for a terminal.
func (f *Flow) String() string {
	what := f.Label
	if what == "" {
		what = "unknown"
	} else {
		what += ", " + f.Confidence + " by " + f.Rule
	}
	return fmt.Sprintf("%s %s:%d → %s:%d (%s), %d bytes out, %d in", f.Proto, f.Src, f.Sport, f.Dst, f.Dport, what, f.BytesOut, f.BytesIn)
}

// kept is a line of the result as the sorter holds it.
type kept struct {
	Rule   string            `json:"r,omitempty"` // first: findings of a record stand in the order of their rules
	Level  event.Severity    `json:"l"`
	Time   time.Time         `json:"t"`
	Host   string            `json:"h,omitempty"`
	Source Source            `json:"s"`
	Fields map[string]string `json:"f,omitempty"`
	Flow   *Flow             `json:"c,omitempty"`
}

// found keeps a finding, unless nobody wants to see it.
func (r *run) found(place uint64, at Source, rule string, level event.Severity, e event.Event, about *Flow) error {
	if level < r.opt.MinLevel {
		return nil
	}
	r.opt.Progress.findings.Add(1)
	return r.line(key{place, at.Record, 1}, kept{rule, level, e.Time, e.Host, at, e.Fields, about})
}

// connection keeps a connection. It stands before what was found about it.
func (r *run) connection(place uint64, at Source, f *Flow) error {
	return r.line(key{place, at.Record, 0}, kept{Source: at, Flow: f})
}

func (r *run) line(k key, line kept) error {
	b, err := json.Marshal(line)
	if err != nil {
		panic(fmt.Sprintf("scan: encode %T: %v", line, err)) // our own plain types
	}
	return r.lines.add(k, b)
}

// Each calls finding and connection for everything that was found, in the
// order of paths and records. connection may be nil.
func (r *Result) Each(finding func(Finding) error, connection func(Connection) error) error {
	rules := map[string]detect.Rule{}
	for _, rule := range r.opt.Engine.Rules() {
		rules[rule.ID] = rule
	}
	return r.lines.each(func(b []byte) error {
		var k kept
		if err := json.Unmarshal(b, &k); err != nil {
			return fmt.Errorf("read a finding that was put away: %w", err)
		}
		if k.Rule == "" {
			if connection == nil {
				return nil
			}
			return connection(Connection{*k.Flow, k.Source})
		}
		return finding(k.finding(rules[k.Rule]))
	})
}

func (k kept) finding(rule detect.Rule) Finding {
	f := Finding{Time: k.Time, Rule: Rule{k.Rule, title(rule.Title, "en", k.Rule), k.Level, slices.Clone(rule.Tags), rule.Title}, Host: k.Host, Source: k.Source, Fields: k.Fields, Flow: k.Flow}
	if f.Rule.Tags == nil {
		f.Rule.Tags = []string{}
	}
	if f.Fields == nil {
		f.Fields = map[string]string{}
	}
	return f
}

// title is the title in a language, in another one, or the id.
func title(titles detect.Text, lang, id string) string {
	for _, l := range []string{lang, "en", "ja"} {
		if t := titles[l]; t != "" {
			return t
		}
	}
	return id
}

func (r Rule) title(lang string) string { return title(r.titles, lang, cmp.Or(r.Title, r.ID)) }

func (f Finding) title(lang string) string { return f.Rule.title(lang) }

// ByTime calls f for every finding, the oldest first.
func (r *Result) ByTime(f func(Finding) error) error {
	s := newSorter(r.opt.TempDir, r.opt.Memory)
	defer s.close()
	err := r.lines.each(func(b []byte) error {
		var k struct {
			Rule string    `json:"r"`
			Time time.Time `json:"t"`
		}
		if err := json.Unmarshal(b, &k); err != nil {
			return fmt.Errorf("read a finding that was put away: %w", err)
		}
		if k.Rule == "" {
			return nil
		}
		return s.add(timeKey(k.Time, uint64(s.count()), 0), b)
	})
	if err != nil {
		return err
	}
	byTime := Result{lines: s, opt: r.opt}
	return byTime.Each(f, nil)
}

// timeKey orders by time, then by place and record. A time that nanoseconds of
// 64 bits cannot tell, none among them, counts as the first or the last.
func timeKey(t time.Time, place, record uint64) key {
	n := t.UnixNano()
	switch {
	case t.Year() < 1678:
		n = math.MinInt64
	case t.Year() > 2261:
		n = math.MaxInt64
	}
	return key{uint64(n) ^ 1<<63, place, record}
}
