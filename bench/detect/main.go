// Command detect measures the compiled Sigma engine and writes its table.
//
// In: the benchmarks of package detect/sigma and the developers' data set.
// Out: a table in Markdown, written between two markers of a page. Always
// true: rates are per second of one processor as the kernel counts it, not by
// the clock on the wall, because the machine is shared; of several runs the
// best and the worst are shown, because a neighbour can only make one worse.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"
)

const (
	opening = "<!-- bench-detect: begin (written by make bench-detect) -->"
	closing = "<!-- bench-detect: end -->"
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	set := flag.NewFlagSet("detect", flag.ContinueOnError)
	root := set.String("root", "../..", "folder of the project")
	out := set.String("out", "", "Markdown page that gets the table between its markers (default: print it)")
	count := set.Int("count", 3, "runs of each benchmark")
	length := set.String("time", "1s", "length of a run on the wall")
	from := set.String("from", "", "file with the output of go test -bench, instead of running it")
	if err := set.Parse(args); err != nil {
		return 2
	}
	if err := measure(*root, *from, *out, *count, *length); err != nil {
		fmt.Fprintln(os.Stderr, "detect:", err)
		return 1
	}
	return 0
}

func measure(root, from, out string, count int, length string) error {
	text, err := os.ReadFile(from)
	if from == "" {
		text, err = bench(root, count, length)
	}
	if err != nil {
		return err
	}
	page := table(read(string(text)))
	if out == "" {
		fmt.Print(page)
		return nil
	}
	return between(out, page)
}

// bench runs the benchmarks and returns what they print.
func bench(root string, count int, length string) ([]byte, error) {
	cmd := exec.Command("go", "test", "-run", "^$", "-bench", "Lines|Naive|Heap", "-cpu", "1,2", "-count", strconv.Itoa(count), "-benchtime", length, "-timeout", "60m", "./detect/sigma")
	cmd.Dir, cmd.Stderr = root, os.Stderr
	text, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("run the benchmarks: %w\n%s", err, text)
	}
	return text, nil
}

// result holds what one benchmark reported, a value for each run.
type result struct {
	name   string
	values map[string][]float64 // by unit
}

func (r *result) best(unit string) float64 {
	best := 0.0
	for _, v := range r.values[unit] {
		best = max(best, v)
	}
	return best
}

func (r *result) worst(unit string) float64 {
	if len(r.values[unit]) == 0 {
		return 0
	}
	worst := r.values[unit][0]
	for _, v := range r.values[unit] {
		worst = min(worst, v)
	}
	return worst
}

// read collects the lines of go test -bench by name, in order.
func read(text string) []*result {
	var all []*result
	byName := map[string]*result{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 4 || !strings.HasPrefix(f[0], "Benchmark") {
			continue
		}
		name := strings.TrimPrefix(f[0], "Benchmark")
		r := byName[name]
		if r == nil {
			r = &result{name, map[string][]float64{}}
			byName[name] = r
			all = append(all, r)
		}
		for i := 2; i+1 < len(f); i += 2 {
			if v, err := strconv.ParseFloat(f[i], 64); err == nil {
				r.values[f[i+1]] = append(r.values[f[i+1]], v)
			}
		}
	}
	return all
}

func table(all []*result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d × %s, %s, load when measured %s.\n\n", time.Now().Format(time.DateOnly), runtime.NumCPU(), processor(), runtime.Version(), load())
	b.WriteString("| lane | rules | bytes an event | matches an event | value cache | workers | events a processor second, best | worst | allocations an event |\n")
	b.WriteString("|---|---:|---:|---:|---|---:|---:|---:|---:|\n")
	for _, r := range all {
		lane, cached, ok := strings.Cut(strings.TrimPrefix(r.name, "Lines/"), "/cache=")
		if !ok {
			continue
		}
		cached, works, two := strings.Cut(cached, "-")
		if !two {
			works = "1"
		}
		fmt.Fprintf(&b, "| %s | %.0f | %.0f | %.3f | %s | %s | %.0f | %.0f | %.3f |\n", lane, r.best("rules"), r.best("B/ev"), r.best("hits/ev"),
			map[string]string{"true": "yes", "false": "no"}[cached], works, r.best("ev/cpu-s"), r.worst("ev/cpu-s"), r.worst("allocs/ev"))
	}
	b.WriteString("\n")
	for _, r := range all {
		if lane, ok := strings.CutPrefix(r.name, "Naive/"); ok && !strings.Contains(lane, "-") {
			fmt.Fprintf(&b, "* One rule after the other (the reference evaluator, already decoded events), %s: %.0f events a processor second.\n", lane, r.best("ev/cpu-s"))
		}
	}
	for _, r := range all {
		if r.name == "Heap" {
			fmt.Fprintf(&b, "* Heap: %.1f MB with all %.0f public rules loaded and the classes of all lanes compiled, of which the parsed rules are %.1f MB. A matcher with a full value cache adds %.1f MB.\n",
				r.worst("heap-MB"), r.best("rules"), r.worst("parsed-MB"), r.worst("matcher-MB"))
		}
	}
	return b.String()
}

func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo") // where it cannot be read the table says so
	for line := range strings.Lines(string(text)) {
		if name, model, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(model)
		}
	}
	return "an unknown processor"
}

func load() string {
	text, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(text), " ")
	return first
}

// between replaces what stands between the markers of a page.
func between(path, table string) error {
	page, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the page: %w", err)
	}
	before, rest, ok := bytes.Cut(page, []byte(opening))
	if !ok {
		return fmt.Errorf("%s has no line %q", path, opening)
	}
	_, after, ok := bytes.Cut(rest, []byte(closing))
	if !ok {
		return fmt.Errorf("%s has no line %q", path, closing)
	}
	text := string(before) + opening + "\n\n" + table + "\n" + closing + string(after)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	return nil
}
