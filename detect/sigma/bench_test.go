package sigma

import (
	"bufio"
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
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

var providerName, computer = []byte("Provider_Name"), []byte("Computer")
var renamed4688 = map[string]string{"NewProcessName": "Image", "ParentProcessName": "ParentImage"}

// route sets the log source and adds the names that rules use.
func (w *windowsMap) route(r *event.Record) {
	var channel, id []byte
	for _, p := range r.Pairs {
		switch string(p.Name) {
		case "SourceName":
			r.Add(providerName, p.Value, p.Enc)
		case "Hostname":
			r.Add(computer, p.Value, p.Enc)
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
		if slices.Contains(r.Categories, "process_creation") {
			pcLines = append(pcLines, line)
		}
		if strings.HasPrefix(r.Service, "powershell") {
			psLines = append(psLines, line)
		}
	}
	return []lane{{"pc", pcLines, pc}, {"mixed", lines, core}, {"powershell", psLines, core}, {"unrouted", lines, loose}}
}

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
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
	var hands []func(n int) int
	for range works {
		hands = append(hands, l.hand(set, cached))
	}
	hits := 0
	for _, h := range hands {
		hits = h(2*len(l.lines)) / 2 // warm
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	b.ResetTimer()
	start := cpuTime()
	var all sync.WaitGroup
	for _, h := range hands {
		all.Go(func() { h(b.N / works) })
	}
	all.Wait()
	used := cpuTime() - start
	b.StopTimer()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(b.N)/used.Seconds(), "ev/cpu-s")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(b.N), "allocs/ev")
	b.ReportMetric(float64(hits)/float64(len(l.lines)), "hits/ev")
	b.ReportMetric(float64(bytesRead)/float64(len(l.lines)), "B/ev")
	b.ReportMetric(float64(len(l.rules)), "rules")
}

// hand returns a worker that goes through n events and returns its hits so far.
func (l lane) hand(set *Set, cached bool) func(n int) int {
	m, w, r, hits := set.NewMatcher(), newWindowsMap(), &event.Record{}, 0
	if !cached {
		m.CacheLimit(0)
	}
	hit := func(*Rule) { hits++ }
	at := 0
	return func(n int) int {
		for range n {
			r.Reset()
			flat(r, l.lines[at])
			w.route(r)
			m.Match(r, hit)
			if at++; at == len(l.lines) {
				at = 0
			}
		}
		return hits
	}
}

// BenchmarkNaive is the reference evaluator on events that are already read.
func BenchmarkNaive(b *testing.B) {
	for _, l := range lanes(b)[:2] {
		b.Run(l.name, func(b *testing.B) {
			n, w := NewNaive(l.rules), newWindowsMap()
			r := &event.Record{}
			used := time.Duration(0)
			for i := range b.N {
				r.Reset()
				flat(r, l.lines[i*7919%len(l.lines)])
				w.route(r)
				start := cpuTime()
				n.Match(r, func(*Rule) {})
				used += cpuTime() - start
			}
			b.ReportMetric(float64(b.N)/used.Seconds(), "ev/cpu-s")
		})
	}
}

func heapMB() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / 1e6
}

// BenchmarkHeap weighs all public rules with the classes of all lanes.
func BenchmarkHeap(b *testing.B) {
	for b.Loop() {
		all := lanes(b)
		lines := all[1].lines
		all = nil
		empty := heapMB()
		rules, _ := corpus(b)
		parsed := heapMB()
		set := NewSet(rules)
		l := lane{"all", lines, rules}
		l.hand(set, false)(len(lines))
		full := heapMB()
		m := l.hand(set, true)
		m(len(lines))
		b.ReportMetric(full-empty, "heap-MB")
		b.ReportMetric(parsed-empty, "parsed-MB")
		b.ReportMetric(heapMB()-full, "matcher-MB")
		b.ReportMetric(float64(len(rules)), "rules")
		runtime.KeepAlive(m)
		runtime.KeepAlive(lines)
	}
}
