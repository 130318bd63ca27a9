// Command store measures Sonae's archive beside the stores that others use for
// security events: PostgreSQL, ClickHouse (embedded) and Grafana Loki.
//
// In: a number of events, made by package archivetest. Out: a table in Markdown
// with the cost of intake, the bytes on disk, the memory and the time of the
// standard questions, written between two markers of a page. Always true: all
// stores get the same events in the same run, every answer is compared with
// what was counted while the events were made, and a peer that cannot be had is
// named with the reason.
//
// It is a module of its own so that clients of peers never enter the product.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"time"
)

// options are the flags of the program.
type options struct {
	events  int
	days    int
	dir     string // where the stores keep their data; removed at the end
	out     string // page that gets the table
	engines string
	chdb    string // folder with node_modules/chdb
	loki    string // program
	cold    int
	warm    int
	child   bool
	keep    bool // the data stays in dir
	asks    bool // the data is there already
	results string
	profile string
}

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	var o options
	set := flag.NewFlagSet("store", flag.ContinueOnError)
	set.IntVar(&o.events, "n", 10_000_000, "number of events")
	set.IntVar(&o.days, "days", 7, "days over which the events are spread")
	set.StringVar(&o.dir, "dir", "", "folder for the data (default: a temporary one); removed at the end")
	set.StringVar(&o.out, "out", "", "Markdown page that gets the table between its markers (default: print it)")
	set.StringVar(&o.engines, "engines", "sonae,postgresql,clickhouse,loki", "stores to measure; none: write the table of -results")
	set.StringVar(&o.chdb, "chdb", os.Getenv("SONAE_BENCH_CHDB"), "folder in which the npm package chdb is installed (default: install it)")
	set.StringVar(&o.loki, "loki", os.Getenv("SONAE_BENCH_LOKI"), "the program loki (default: build it from its module)")
	set.IntVar(&o.cold, "cold", 3, "cold runs of each question; the median counts")
	set.IntVar(&o.warm, "warm", 5, "warm runs of each question; the median counts")
	set.BoolVar(&o.keep, "keep", false, "keep the data, for another run with -asks")
	set.BoolVar(&o.asks, "asks", false, "ask only: the data is in -dir from an earlier run with -keep")
	set.StringVar(&o.results, "results", "", "JSON file that keeps the results, also of stores that this run does not measure")
	set.BoolVar(&o.child, "sonae-child", false, "serve Sonae's archive on standard input (used by the program itself)")
	set.StringVar(&o.profile, "cpuprofile", "", "file for processor profiles of Sonae's child, a number is added for each start: 1 is the intake")
	if err := set.Parse(args); err != nil {
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	do := measure
	if o.child {
		do = serveChild
	}
	if err := do(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "store:", err)
		return 1
	}
	return 0
}

// measure runs everything and writes the table.
func measure(ctx context.Context, o options) (err error) {
	if o.dir, err = workFolder(o); err != nil {
		return err
	}
	if !o.keep {
		defer func() { err = errors.Join(err, os.RemoveAll(o.dir)) }()
	}
	h := newHaystack(o)
	if o.engines != "" {
		say("counting the answers of %d events", h.g.Options().Events)
		if err := h.count(ctx); err != nil {
			return err
		}
	}
	results, err := readResults(o.results)
	if err != nil {
		return err
	}
	for name := range strings.FieldsFuncSeq(o.engines, func(r rune) bool { return r == ',' }) {
		e, err := newEngine(ctx, name, h, o)
		if err != nil {
			say("%s is left out: %v", name, err)
			results = results.with(result{Name: name, Absent: err.Error()})
			continue
		}
		results = results.with(trial(ctx, e, h, o))
		if err := errors.Join(ctx.Err(), results.write(o.results)); err != nil {
			return err
		}
	}
	return write(o.out, table(h, results))
}

func workFolder(o options) (string, error) {
	if o.dir == "" {
		dir, err := os.MkdirTemp("", "sonae-bench-store-*")
		if err != nil {
			return "", err
		}
		return dir, os.Chmod(dir, 0o755) // PostgreSQL is another user, who must get through
	}
	full, err := filepath.Abs(o.dir)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(full); err == nil && !o.asks {
		return "", fmt.Errorf("folder %s exists: name one that does not, it is removed at the end", full)
	}
	return full, os.MkdirAll(full, 0o755)
}

func newEngine(ctx context.Context, name string, h *haystack, o options) (engine, error) {
	dir := filepath.Join(o.dir, name)
	switch name {
	case "sonae":
		return newSonae(dir, o)
	case "postgresql":
		return newPostgres(dir, h)
	case "clickhouse":
		return newClickHouse(ctx, dir, h, o)
	case "loki":
		return newLoki(ctx, dir, h, o)
	}
	return nil, fmt.Errorf("no store is called %q", name)
}

func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
}

func startProfile(path string) (stop func(), err error) {
	if path == "" {
		return func() {}, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { pprof.StopCPUProfile(); f.Close() }, nil
}
