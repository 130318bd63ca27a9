// Command anomaly measures what the scores of backups catch and how often they
// cry wolf, on a labelled set that it makes.
//
// In: the project's source; Debian's restic, PostgreSQL, gpg, zip and packages
// of its mirrors. Out: tables in Markdown. Always true: backups are made by
// the real restic of real files; the attacks are those of the guard's
// simulator, in folders that it made itself.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/sonae/sonae/bench/guard/proof"
	"github.com/sonae/sonae/protect/anomaly"
)

type options struct {
	out, root, dir string
	houses, days   int
	parts          string
}

func main() { os.Exit(start(os.Args[1:])) }

func start(args []string) int {
	var o options
	set := flag.NewFlagSet("anomaly", flag.ContinueOnError)
	set.StringVar(&o.out, "out", "", "Markdown page that gets the tables between its markers (default: print them)")
	set.StringVar(&o.root, "root", ".", "the project's source")
	set.StringVar(&o.dir, "dir", "", "folder for what is made (default: a temporary one)")
	set.IntVar(&o.houses, "houses", 8, "machines with ordinary days")
	set.IntVar(&o.days, "days", 180, "ordinary days of each")
	set.StringVar(&o.parts, "parts", "attacks,days", "what is measured")
	if err := set.Parse(args); err != nil {
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := measure(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "anomaly:", err)
		return 1
	}
	return 0
}

func measure(ctx context.Context, o options) (err error) {
	if o.root, err = filepath.Abs(o.root); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(o.dir, "sonae-bench-anomaly-")
	if err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // PostgreSQL's user must get through
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	w, err := open(ctx, o.root, dir, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return err
	}
	if err := w.packages(ctx, "libssl3", "openssh-client", "curl", "libpython3.11-minimal", "perl-base", "tzdata"); err != nil {
		return err
	}
	if err := w.serve(ctx); err != nil {
		return err
	}
	defer w.pg.stop()
	for _, part := range []struct {
		name string
		make func(context.Context, options, *strings.Builder) error
	}{{"attacks", w.attacks}, {"days", w.ordinaryDays}} {
		if !strings.Contains(o.parts, part.name) {
			continue
		}
		var page strings.Builder
		fmt.Fprintf(&page, "Measured on %s, %d cores, restic %s. One snapshot a day; a machine has about 1,000 files.\n\n", time.Now().UTC().Format("2006-01-02"), runtime.NumCPU(), version(ctx))
		if err := part.make(ctx, o, &page); err != nil {
			return err
		}
		if err := put(o.out, part.name, page.String()); err != nil {
			return err
		}
	}
	return nil
}

// attacks tries every shape of the simulator at several speeds on a machine
// with three weeks of ordinary days, while the ordinary work goes on.
func (w *world) attacks(ctx context.Context, _ options, page *strings.Builder) error {
	base, err := w.build(ctx, "base", size{10, 36, 330, true, true}, 77)
	if err != nil {
		return err
	}
	defer base.close()
	for i := range 15 {
		extra := map[int]string{4: "package upgrade", 7: "photo import", 11: "zip archiving"}[i]
		if _, err := base.pass(ctx, extra); err != nil {
			return err
		}
	}
	page.WriteString("| attack | 5 % of files a day: day 0 | files | 1 % a day: caught on day | files a day | 0.3 % a day: caught on day |\n|---|---|---:|---:|---:|---:|\n")
	for i, shape := range proof.Shapes() {
		fmt.Fprintf(os.Stderr, "%s %s\n", time.Now().Format(time.TimeOnly), shape.Name)
		fast, many, err := base.trial(ctx, fmt.Sprintf("fast%d", i), shape, 0.05, 1)
		if err != nil {
			return err
		}
		slow, few, err := base.trial(ctx, fmt.Sprintf("slow%d", i), shape, 0.01, 4)
		if err != nil {
			return err
		}
		creep, _, err := base.trial(ctx, fmt.Sprintf("creep%d", i), shape, 0.003, 5)
		if err != nil {
			return err
		}
		fmt.Fprintf(page, "| %s | %s | %d | %s | %d | %s |\n", shape.Name, yes(fast == 0), many, onDay(slow), few, onDay(creep))
	}
	page.WriteString("\n")
	return nil
}

func yes(b bool) string {
	if b {
		return "caught"
	}
	return "**missed**"
}

func onDay(n int) string {
	if n < 0 {
		return "–"
	}
	return fmt.Sprint(n)
}

// pass is one ordinary day with its backup.
func (h *house) pass(ctx context.Context, extra string) (anomaly.Snapshot, error) {
	if err := h.ordinary(ctx, extra); err != nil {
		return anomaly.Snapshot{}, err
	}
	return h.backup(ctx)
}

// trial attacks a copy of a house every day and returns the day on which it was
// flagged, -1 for none of them, and how many files were encrypted on the first.
func (h *house) trial(ctx context.Context, name string, shape proof.Shape, share float64, days int) (caught, files int, err error) {
	c, err := h.clone(ctx, name)
	if err != nil {
		return 0, 0, err
	}
	defer c.close()
	for day := range days {
		if err := c.ordinary(ctx, ""); err != nil {
			return 0, 0, err
		}
		n, err := c.attack(ctx, shape, share)
		if err != nil {
			return 0, 0, err
		}
		if day == 0 {
			files = n
		}
		s, err := c.backup(ctx)
		if err != nil {
			return 0, 0, err
		}
		if s.Verdict == anomaly.Flagged {
			return day, files, nil
		}
		fmt.Fprintf(os.Stderr, "  %s %.3f day %d: %s %d points, %+v\n", shape.Name, share, day, s.Verdict, s.Points, s.Numbers)
	}
	return -1, files, nil
}

// ordinaryDays lets machines live without an attack and counts what is told.
func (w *world) ordinaryDays(ctx context.Context, o options, page *strings.Builder) error {
	kinds := []string{"package upgrade", "photo import", "zip archiving", "folder moved", "files renamed", "folder deleted", "reorganised", "gpg", "zip -e", ""}
	did, flagged, asked := map[string]int{}, map[string]int{}, map[string]int{}
	total, houses, before := 0, 0, processor()
	for i := range o.houses {
		if ctx.Err() != nil {
			break
		}
		h, err := w.build(ctx, fmt.Sprintf("house%d", i), size{8 + i%3*2, 30, 250, true, i%2 == 0}, uint64(i)+100)
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			return err
		}
		houses++
		for day := range o.days {
			extra := h.plan(day)
			s, err := h.pass(ctx, extra)
			if ctx.Err() != nil { // stopped: what was measured counts
				break
			}
			if err != nil {
				return err
			}
			total++
			if extra != "" && h.turns["idle"] > 0 { // no folder was large enough for it
				extra = ""
			}
			did[extra]++
			switch s.Verdict {
			case anomaly.Flagged:
				flagged[extra]++
				fmt.Fprintf(os.Stderr, "  false alarm: house %d day %d %q: %+v, %+v\n", i, day, extra, s.Score, s.Numbers)
			case anomaly.Question:
				asked[extra]++
			}
		}
		fmt.Fprintf(os.Stderr, "%s %d days, alarms %v, questions %v\n", time.Now().Format(time.TimeOnly), total, flagged, asked)
		if err := h.close(); err != nil {
			return err
		}
	}
	false_, meant := 0, 0
	page.WriteString("| ordinary day with | days | false alarms | questions |\n|---|---:|---:|---:|\n")
	for _, k := range kinds {
		name := k
		switch k {
		case "":
			name = "nothing else"
		case "gpg", "zip -e":
			name = "a folder encrypted by hand, " + k
			meant += flagged[k] + asked[k]
		}
		if k != "gpg" && k != "zip -e" {
			false_ += flagged[k] + asked[k]
		}
		fmt.Fprintf(page, "| %s | %d | %d | %d |\n", name, did[k], flagged[k], asked[k])
	}
	years := float64(total) / 365
	fmt.Fprintf(page, "\n%d host-days (%.1f host-years of %d machines; a day takes %.2f s of processor time): %.2f false alarms and questions for each host-year apart from deliberate encryption, with 95 %% confidence fewer than %.2f; of %d folders encrypted by hand %d became a question or an alarm.\n\n",
		total, years, houses, (processor()-before)/float64(max(total, 1)), float64(false_)/years, atMost(false_)/years, did["gpg"]+did["zip -e"], meant)
	return nil
}

// atMost is the mean below which that few events of a Poisson process are seen in
// one of twenty cases only.
func atMost(seen int) float64 {
	low, high := float64(seen), 3*float64(seen)+10
	for range 60 {
		mean := (low + high) / 2
		term, sum := math.Exp(-mean), 0.0
		for i := range seen + 1 {
			sum += term
			term *= mean / float64(i+1)
		}
		if sum > 0.05 {
			low = mean
		} else {
			high = mean
		}
	}
	return high
}

// processor is the processor time of this program and of what it ran, in seconds.
func processor() float64 {
	sum := 0.0
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if syscall.Getrusage(who, &u) == nil { // it fails for no other number
			sum += float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
		}
	}
	return sum
}

// plan says what happens on a day besides the work.
func (h *house) plan(day int) string {
	if day < 10 { // what is usual must be learned first
		return ""
	}
	switch r := h.rnd.IntN(100); {
	case r < 7:
		return "package upgrade"
	case r < 17:
		return "photo import"
	case r < 20:
		return "zip archiving"
	case r < 22:
		return "folder moved"
	case r < 24:
		return "files renamed"
	case r < 26:
		return "folder deleted"
	case r < 28:
		return "reorganised"
	case r == 28:
		return "gpg"
	case r == 29:
		return "zip -e"
	}
	return ""
}
