package jsonl

import (
	"bytes"
	"time"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source"
	"github.com/sonae/sonae/source/eve"
	"github.com/sonae/sonae/source/journal"
	"github.com/sonae/sonae/source/windows"
	"github.com/sonae/sonae/source/zeek"
)

// shaper gives records their time, host, log source and Sigma's names.
type shaper struct {
	opt        source.Options
	zone       *time.Location
	names      source.Names
	categories map[string][]string
	marks      [marked]int32 // where the pairs stand that tell shapes apart, from 1
	journal    journal.Completer
	p          *parser
}

func newShaper(opt source.Options) *shaper {
	return &shaper{opt: opt, zone: opt.Location(), categories: map[string][]string{}}
}

var eventPrefix = []byte("Event.")

// shape completes a record.
func (s *shaper) shape(r *event.Record, p *parser) {
	s.p = p
	if len(r.Pairs) > 0 && (bytes.HasPrefix(r.Pairs[0].Name, eventPrefix) || bytes.HasPrefix(r.Pairs[0].Name, eventAttributes)) {
		s.evtxDump(r)
		return
	}
	s.mark(r)
	s.timeAndHost(r)
	switch {
	case s.has(kind) && s.export(r):
	case s.has(winlogChannel), s.has(winlogID), s.has(winlogProvider):
		s.winlogbeat(r)
	case s.has(channel), s.has(eventID) && s.has(sourceName):
		s.windows(r)
	case s.has(eventType) && s.has(timestamp) && (s.has(flowID) || s.has(inIface) || s.has(srcIP) || s.text(r, eventType) == "stats"):
		eve.Complete(r)
	case s.has(path) && s.has(ts), s.has(uid) && s.has(ts) && s.has(origHost):
		zeek.Complete(r)
	case s.has(realtime):
		s.journal.Complete(r, &s.names)
	case !s.cloud(r):
		s.named(r)
	}
}

// has says whether the pair was there.
func (s *shaper) has(m int) bool { return s.marks[m] > 0 }

// pair returns the pair, which must be there.
func (s *shaper) pair(r *event.Record, m int) *event.Pair { return &r.Pairs[s.marks[m]-1] }

// text returns the text of a pair as it stands there, or nothing.
func (s *shaper) text(r *event.Record, m int) string {
	if !s.has(m) {
		return ""
	}
	return s.names.Of(s.plain(s.pair(r, m)))
}

// plain returns the text of a pair.
func (s *shaper) plain(p *event.Pair) []byte {
	if p.Enc == event.Plain {
		return p.Value
	}
	from := len(s.p.names)
	s.p.names = p.AppendText(s.p.names)
	return s.p.names[from:len(s.p.names):len(s.p.names)]
}

// mark finds the pairs that tell shapes apart.
func (s *shaper) mark(r *event.Record) {
	s.marks = [marked]int32{}
	for i := range r.Pairs {
		if m := marks.of(r.Pairs[i].Name); m > none && s.marks[m] == 0 {
			s.marks[m] = int32(i + 1)
		}
	}
}

// timeAndHost takes the first that can be read.
func (s *shaper) timeAndHost(r *event.Record) {
	for m := firstTime; m <= lastTime; m++ {
		if !s.has(m) {
			continue
		}
		zone := s.zone
		if m == utcTime || m == creationTime {
			zone = time.UTC
		}
		var ok bool
		if r.Time, ok = source.Time(s.pair(r, m).Value, zone); ok {
			break
		}
	}
	r.Host = s.opt.Host
	for m := firstHost; m <= lastHost; m++ {
		if s.has(m) && len(s.pair(r, m).Value) > 0 {
			r.Host = s.text(r, m)
			break
		}
	}
}

// windows completes flat Windows events.
func (s *shaper) windows(r *event.Record) {
	s.unblank(r)
	windows.Complete(r)
}

// unblank takes the blanks out of names, for rules write the names of Windows
// without.
func (s *shaper) unblank(r *event.Record) {
	if !s.p.blanks {
		return
	}
	for i := range r.Pairs {
		name := r.Pairs[i].Name
		if bytes.IndexByte(name, ' ') < 0 {
			continue
		}
		from := len(s.p.names)
		for _, c := range name {
			if c != ' ' {
				s.p.names = append(s.p.names, c)
			}
		}
		r.Pairs[i].Name = s.p.names[from:len(s.p.names):len(s.p.names)]
	}
}

// named takes the log source from an object that names it as Sonae would.
func (s *shaper) named(r *event.Record) {
	r.Product, r.Service = s.text(r, product), s.text(r, service)
	r.Categories = s.categoriesOf(s.text(r, category))
}

// categoriesOf is a list of one, the same for the same category.
func (s *shaper) categoriesOf(category string) []string {
	if category == "" {
		return nil
	}
	if list, ok := s.categories[category]; ok {
		return list
	}
	list := []string{category}
	if len(s.categories) < 256 {
		s.categories[category] = list
	}
	return list
}

var fields = []byte("fields.")

// export reads an event as Sonae writes it; it says no when it is another
// object with a kind.
func (s *shaper) export(r *event.Record) bool {
	switch event.Kind(s.text(r, kind)) {
	case event.KindFlow, event.KindProcess, event.KindLogin, event.KindLog, event.KindHealth, event.KindMessage, event.KindBehaviour:
	default:
		return false
	}
	s.named(r)
	kept := r.Pairs[:0]
	for _, p := range r.Pairs {
		switch {
		case bytes.HasPrefix(p.Name, fields):
			p.Name = p.Name[len(fields):]
			kept = append(kept, p)
		case string(p.Name) == "raw":
			r.Raw = s.plain(&p)
		}
	}
	r.Pairs = kept
	return true
}
