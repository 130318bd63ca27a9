package sigma

import (
	"bufio"
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sonae/sonae/event"
)

// flat reads one flat JSON object into a record, as a reader of JSON lines
// does: strings keep their escapes. It is only as careful as the data is tidy.
func flat(r *event.Record, line []byte) {
	i := 0
	skip := func(stop string) {
		for i < len(line) && strings.IndexByte(stop, line[i]) < 0 {
			i++
		}
	}
	text := func() []byte {
		i++
		from := i
		for {
			n := bytes.IndexByte(line[i:], '"')
			i += n
			back := i
			for back > from && line[back-1] == '\\' {
				back--
			}
			if i++; (i-1-back)%2 == 0 {
				return line[from : i-1]
			}
		}
	}
	for {
		for i < len(line) && line[i] != '"' {
			i++
		}
		if i >= len(line) {
			return
		}
		name := text()
		for line[i] == ' ' || line[i] == ':' {
			i++
		}
		if line[i] == '"' {
			r.Add(name, text(), event.JSON)
			continue
		}
		from := i
		if line[i] == '[' || line[i] == '{' {
			skip("]}")
			i++
		} else {
			skip(",}")
		}
		if v := line[from:i]; string(v) != "null" {
			r.Add(name, v, event.Plain)
		}
	}
}

// windowsMap says where Windows events belong, without allocating.
type windowsMap struct {
	categories map[string][]string // service and event id
	key        []byte
}

func newWindowsMap() *windowsMap {
	w := &windowsMap{categories: map[string][]string{
		"security 4688": {"process_creation"}, "powershell 4104": {"ps_script"}, "powershell 4103": {"ps_module"},
		"powershell-classic 400": {"ps_classic_start"}, "powershell-classic 600": {"ps_classic_provider_start"},
	}}
	for id, c := range sysmon {
		w.categories["sysmon "+id] = c
	}
	return w
}

var renamed = map[string]string{"SourceName": "Provider_Name", "Hostname": "Computer"}
var renamed4688 = map[string]string{"NewProcessName": "Image", "ParentProcessName": "ParentImage"}

// route sets the log source and adds the names that rules use.
func (w *windowsMap) route(r *event.Record) {
	var channel, id []byte
	for i := range r.Pairs {
		p := &r.Pairs[i]
		if to, ok := renamed[string(p.Name)]; ok && len(p.Value) > 0 {
			r.Pairs = append(r.Pairs, event.Pair{Name: bytesOf(to), Value: p.Value, Enc: p.Enc})
			continue
		}
		switch string(p.Name) {
		case "Channel":
			channel = p.Value
		case "EventID":
			id = p.Value
		}
	}
	r.Product, r.Service = "windows", channels[string(channel)]
	w.key = append(append(append(w.key[:0], r.Service...), ' '), id...)
	r.Categories = w.categories[string(w.key)]
	if string(w.key) == "security 4688" {
		for i := range r.Pairs {
			p := &r.Pairs[i]
			if to, ok := renamed4688[string(p.Name)]; ok && len(p.Value) > 0 {
				r.Pairs = append(r.Pairs, event.Pair{Name: bytesOf(to), Value: p.Value, Enc: p.Enc})
			}
		}
	}
}

// lane is a selection of events with the rules that they meet.
type lane struct {
	name  string
	lines [][]byte
	rules []*Rule
}

func lanes(b *testing.B) []lane {
	all, _ := corpus(b)
	var core, pc, loose []*Rule
	for _, r := range all {
		if !strings.HasPrefix(r.File, "rules/") {
			continue
		}
		core = append(core, r)
		if r.Logsource.Product == "windows" && r.Logsource.Category == "process_creation" {
			pc = append(pc, r)
		}
		free := *r
		free.Logsource = Logsource{}
		loose = append(loose, &free)
	}
	var lines, pcLines, psLines [][]byte
	s := bufio.NewScanner(unzip(b, shared(b, "otrf-windows.ndjson.gz")))
	s.Buffer(nil, 4<<20)
	w, r := newWindowsMap(), &event.Record{}
	for s.Scan() {
		line := bytes.Clone(s.Bytes())
		lines = append(lines, line)
		r.Reset()
		flat(r, line)
		w.route(r)
		for _, c := range r.Categories {
			switch c {
			case "process_creation":
				pcLines = append(pcLines, line)
			case "ps_script", "ps_module":
				psLines = append(psLines, line)
			}
		}
	}
	return []lane{{"pc", pcLines, pc}, {"mixed", lines, core}, {"powershell", psLines, core}, {"unrouted", lines, loose}}
}

// BenchmarkLines goes from the bytes of JSON lines to findings. The rate is
// per second of one processor. With -cpu 2 two matchers share one Set.
func BenchmarkLines(b *testing.B) {
	for _, l := range lanes(b) {
		set := NewSet(l.rules)
		for _, cached := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/cache=%v", l.name, cached), func(b *testing.B) { l.run(b, set, cached) })
		}
	}
}

func (l lane) run(b *testing.B, set *Set, cached bool) {
	bytesRead := 0
	for _, line := range l.lines {
		bytesRead += len(line)
	}
	works := runtime.GOMAXPROCS(0)
	var hands []func(n int)
	for range works {
		hands = append(hands, l.hand(set, cached))
	}
	for _, h := range hands {
		h(2 * len(l.lines)) // warm
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	b.ResetTimer()
	start := cpuTime(b)
	var all sync.WaitGroup
	for _, h := range hands {
		all.Go(func() { h(b.N / works) })
	}
	all.Wait()
	used := time.Duration((cpuTime(b) - start) * 1e6)
	b.StopTimer()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(b.N)/used.Seconds(), "ev/cpu-s")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(b.N), "allocs/ev")
	b.SetBytes(int64(bytesRead / len(l.lines)))
}

// hand returns a worker that goes through n events.
func (l lane) hand(set *Set, cached bool) func(n int) {
	m, w, r, hits := set.NewMatcher(), newWindowsMap(), &event.Record{}, 0
	if !cached {
		m.cache.limit = 0
	}
	hit := func(*Rule) { hits++ }
	at := 0
	return func(n int) {
		for range n {
			r.Reset()
			flat(r, l.lines[at])
			w.route(r)
			m.Match(r, hit)
			if at++; at == len(l.lines) {
				at = 0
			}
		}
	}
}
