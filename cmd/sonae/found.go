package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/flow"
)

// The types below are what others build on: see the command line in the
// documentation before changing a name.

// foundLine is one finding.
type foundLine struct {
	Time   time.Time         `json:"time"`
	Rule   foundRule         `json:"rule"`
	Host   string            `json:"host"`
	Source foundSource       `json:"source"`
	Fields map[string]string `json:"fields"`
	Flow   *foundFlow        `json:"flow,omitempty"`
}

type foundRule struct {
	ID    string         `json:"id"`
	Title string         `json:"title"`
	Level event.Severity `json:"level"`
	Tags  []string       `json:"tags"`
}

// foundSource says where it stands; Record is the line or packet from 1.
type foundSource struct {
	Path   string `json:"path"`
	Kind   string `json:"kind"`
	Record int    `json:"record"`
}

// foundFlow is a connection. Src opened it; BytesOut went from Src to Dst.
type foundFlow struct {
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

// flowLine is one connection, for --flows.
type flowLine struct {
	Flow   foundFlow   `json:"flow"`
	Source foundSource `json:"source"`
}

func flowOf(f flow.Flow) foundFlow {
	return foundFlow{Src: f.Src.Addr().String(), Sport: f.Src.Port(), Dst: f.Dst.Addr().String(), Dport: f.Dst.Port(), Proto: f.Proto,
		Label: f.Label, Confidence: string(f.Confidence), Rule: f.Rule, BytesOut: f.Out, BytesIn: f.In, Packets: f.PacketsOut + f.PacketsIn,
		First: f.First, Last: f.Last}
}

// found prints a finding; f is nil unless it is about a connection.
func (s *scan) found(d detect.Finding, at foundSource, f *flow.Flow) {
	s.stats.Findings++
	title := d.Rule.Title["en"]
	if title == "" {
		title = d.Rule.Title["ja"]
	}
	line := foundLine{Time: d.Time, Rule: foundRule{d.Rule.ID, title, d.Rule.Level, d.Rule.Tags}, Host: d.Host, Source: at,
		Fields: d.Events[len(d.Events)-1].Fields}
	if line.Rule.Tags == nil {
		line.Rule.Tags = []string{}
	}
	if line.Fields == nil {
		line.Fields = map[string]string{}
	}
	if f != nil {
		about := flowOf(*f)
		line.Flow = &about
	}
	if s.jsonl {
		s.json(line)
		return
	}
	fmt.Fprintf(s.out, "%s  %-8s  %s: %s\n", line.Time.Format(time.RFC3339), d.Rule.Level, d.Rule.ID, title)
	fmt.Fprintf(s.out, "    %s, %s %d%s\n", at.Path, recordName(at.Kind), at.Record, hostOf(d.Host))
	if f != nil {
		fmt.Fprintf(s.out, "    %s\n", line.Flow)
	}
}

func hostOf(host string) string {
	if host == "" {
		return ""
	}
	return ", host " + printable(host)
}

func recordName(kind string) string {
	if kind == kindJSON {
		return "line"
	}
	return "packet"
}

// printable keeps foreign text from commanding the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '.'
		}
		return r
	}, s)
}

// String is one line for a terminal.
func (f foundFlow) String() string {
	what := f.Label
	if what == "" {
		what = "unknown"
	} else {
		what += ", " + f.Confidence + " by " + f.Rule
	}
	return fmt.Sprintf("%s %s:%d → %s:%d (%s), %d bytes out, %d in", f.Proto, f.Src, f.Sport, f.Dst, f.Dport, what, f.BytesOut, f.BytesIn)
}

// connection prints one connection of a capture.
func (s *scan) connection(f flow.Flow, at foundSource) {
	line := flowLine{flowOf(f), at}
	if s.jsonl {
		s.json(line)
		return
	}
	fmt.Fprintf(s.out, "flow  %s\n", line.Flow)
}

func (s *scan) json(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("scan: encode %T: %v", v, err)) // our own plain types
	}
	s.out.Write(append(b, '\n')) // Flush returns its error
}
