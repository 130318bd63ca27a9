package scan

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/sonae/sonae/event"
)

// writeLines prints one object per finding, and per connection with Options.Flows.
func writeLines(w io.Writer, r *Result) error {
	out := bufio.NewWriter(w)
	line := func(v any) error {
		b, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("encode %T: %w", v, err)
		}
		_, err = out.Write(append(b, '\n'))
		return err
	}
	err := r.Each(func(f Finding) error { return line(f) }, func(c Connection) error { return line(c) })
	if err != nil {
		return err
	}
	return out.Flush()
}

// screen prints a result for people, in columns that fit a width.
type screen struct {
	words
	out   *bufio.Writer
	width int
}

// minWidth is what every terminal has.
const minWidth = 80

// text prints findings, then counts, then what the rules could not see.
func text(w io.Writer, r *Result, say words, width int) error {
	s := &screen{say, bufio.NewWriter(w), max(width, minWidth)}
	if err := r.Each(s.finding, s.connection); err != nil {
		return err
	}
	sum, err := r.Summary()
	if err != nil {
		return err
	}
	s.summary(r, sum)
	s.blind(r)
	return s.out.Flush()
}

func (s *screen) line(indent int, text string) {
	s.out.WriteString(strings.Repeat(" ", indent))
	s.out.WriteString(text)
	s.out.WriteByte('\n') // Flush returns its error
}

// levelWidth is the sign, a space and the longest word.
func (s *screen) levelWidth() int {
	n := 0
	for l := event.Info; l <= event.Critical; l++ {
		n = max(n, columns(s.level(l)))
	}
	return n
}

func (s *screen) level(l event.Severity) string { return s.Sign(l) + " " + s.Level(l) }

// finding prints when, how grave, what; and below where and on which machine.
func (s *screen) finding(f Finding) error {
	const stamp = len("2006-01-02 15:04:05")
	left := pad(s.When(f.Time), stamp) + "  " + pad(s.level(f.Rule.Level), s.levelWidth()) + "  "
	for i, part := range wrap(printable(f.title(s.lang)), s.width-columns(left)) {
		if i == 0 {
			s.line(0, left+part)
			continue
		}
		s.line(columns(left), part)
	}
	s.line(4, s.Host(f.Host)+"  "+printable(f.Rule.ID))
	s.line(4, s.At(f.Source))
	if f.Flow != nil {
		s.line(4, printable(f.Flow.String()))
	} else if name, value := telling(f.Fields); name != "" {
		s.line(4, cut(printable(name+": "+value), s.width-4))
	}
	return nil
}

func (s *screen) connection(c Connection) error {
	s.line(0, s.T("flow")+"  "+printable(c.Flow.String()))
	return nil
}

// telling picks the field that says most about an event at a glance.
func telling(fields map[string]string) (name, value string) {
	for _, n := range []string{"CommandLine", "ScriptBlockText", "TargetObject", "TargetFilename", "ImageLoaded", "PipeName", "QueryName", "ServiceName",
		"TaskName", "DestinationHostname", "DestinationIp", "TargetUserName", "cs-uri-stem", "query", "Image", "Message", "MESSAGE", "message"} {
		if v := fields[n]; v != "" {
			return n, v
		}
	}
	return "", ""
}

// maxListed bounds the tables on a terminal.
const maxListed = 20

func (s *screen) summary(r *Result, sum *Summary) {
	if len(sum.Rules) > 0 {
		s.rules(sum)
		s.hosts(sum)
	}
	s.line(0, "")
	if len(sum.Rules) == 0 {
		s.line(0, s.T("none")+" "+s.T("none.why"))
	}
	s.line(0, s.T("total", "findings", s.N(r.Stats.Findings), "events", s.U(r.Stats.Events), "files", s.N(r.Stats.Files), "bytes", s.Size(r.Stats.Bytes)))
	if len(sum.Rules) > 0 {
		s.line(0, s.T("zone", "zone", s.Zone(sum.Last)))
	}
	if r.Stats.Packets > 0 {
		s.line(0, s.T("packets", "packets", s.U(r.Stats.Packets)))
	}
	if r.Outside > 0 {
		s.line(0, s.T("outside", "n", s.U(r.Outside)))
	}
	if r.Untimed > 0 {
		s.line(0, s.T("untimed", "n", s.U(r.Untimed)))
	}
	if r.Suppressed > 0 {
		s.line(0, s.T("suppressed", "n", s.U(r.Suppressed)))
	}
}

func (s *screen) rules(sum *Summary) {
	number := columns(s.T("col.findings"))
	machines := columns(s.T("col.hosts"))
	for _, c := range sum.Rules {
		number = max(number, len(s.N(c.Findings)))
	}
	lw := max(s.levelWidth(), columns(s.T("col.level")))
	s.line(0, "")
	s.line(0, pad(s.T("col.level"), lw)+"  "+padLeft(s.T("col.findings"), number)+"  "+s.T("col.hosts")+"  "+s.T("col.rule"))
	for i, c := range sum.Rules {
		if i == maxListed {
			s.line(0, s.T("rules.more", "n", s.N(len(sum.Rules)-i)))
			break
		}
		left := pad(s.level(c.Rule.Level), lw) + "  " + padLeft(s.N(c.Findings), number) + "  " + padLeft(s.N(c.Hosts), machines) + "  "
		s.line(0, left+cut(printable(c.Rule.title(s.lang)), s.width-columns(left)))
	}
}

func (s *screen) hosts(sum *Summary) {
	number, name := columns(s.T("col.findings")), columns(s.T("col.host"))
	for i, h := range sum.Hosts {
		if i < maxListed {
			number, name = max(number, len(s.N(h.Findings))), max(name, columns(s.Host(h.Host)))
		}
	}
	name = min(name, s.width-number-2*2-2*19-2-s.levelWidth())
	lw := max(s.levelWidth(), columns(s.T("col.level")))
	s.line(0, "")
	s.line(0, pad(s.T("col.level"), lw)+"  "+padLeft(s.T("col.findings"), number)+"  "+pad(s.T("col.host"), name)+"  "+pad(s.T("col.first"), 19)+"  "+s.T("col.last"))
	for i, h := range sum.Hosts {
		if i == maxListed {
			break
		}
		s.line(0, pad(s.level(h.Worst), lw)+"  "+padLeft(s.N(h.Findings), number)+"  "+pad(cut(s.Host(h.Host), name), name)+"  "+pad(s.When(h.First), 19)+"  "+s.When(h.Last))
	}
	if more := sum.MoreHosts + rest(sum.Hosts); more > 0 {
		s.line(0, s.T("hosts.more", "n", s.N(more)))
	}
}

// rest counts the findings on machines that are not listed.
func rest(hosts []HostCount) (n int) {
	for i, h := range hosts {
		if i >= maxListed {
			n += h.Findings
		}
	}
	return n
}
