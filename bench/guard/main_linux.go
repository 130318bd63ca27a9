// Command guard measures the ransomware guard and writes its tables.
//
// In: root on Linux, the project's source; Debian's restic, zstd, git,
// PostgreSQL, ImageMagick, gpg and logrotate for the ordinary work. Out: two
// tables in Markdown, written between the markers of a page. Always true: it
// watches and changes only volumes that it mounted itself.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/sonae/sonae/bench/guard/proof"
)

type options struct {
	count, rounds  int
	out, root, dir string
	backends       []string
	kind           string // of the volume
	only           string // part of the names of shapes and chores
	parts          string // attacks, work
	verbose        bool
}

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	var o options
	set := flag.NewFlagSet("guard", flag.ContinueOnError)
	set.IntVar(&o.count, "count", 30, "runs of each shape")
	set.IntVar(&o.rounds, "rounds", 3, "rounds of the ordinary work, each with and without the guard")
	set.StringVar(&o.out, "out", "", "Markdown page that gets the tables between its markers (default: print them)")
	set.StringVar(&o.root, "root", ".", "the project's source")
	set.StringVar(&o.dir, "dir", "", "folder for what is built and mounted (default: a temporary one)")
	set.StringVar(&o.kind, "volume", "tmpfs", "tmpfs or ext4")
	set.StringVar(&o.only, "only", "", "only shapes and chores whose name has this in it")
	set.StringVar(&o.parts, "parts", "attacks,work", "what is measured")
	set.BoolVar(&o.verbose, "verbose", false, "show what the guard told in each run")
	backends := set.String("backends", "ebpf,fanotify", "backends of the guard")
	if err := set.Parse(args); err != nil {
		return 2
	}
	o.backends = strings.Split(*backends, ",")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := measure(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "guard:", err)
		return 1
	}
	return 0
}

// bench is what both tables need.
type bench struct {
	options
	log           *slog.Logger
	agent, encsim string
	volume        *proof.Volume
	tree          *proof.Tree
	work          string
}

func measure(ctx context.Context, o options) (err error) {
	b := &bench{options: o, log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	if b.root, err = filepath.Abs(o.root); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(o.dir, "sonae-bench-guard-")
	if err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // PostgreSQL's user must get through
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if b.agent, b.encsim, err = proof.Build(b.root, dir); err != nil {
		return err
	}
	b.work = filepath.Join(dir, "work")
	if err := os.Mkdir(b.work, 0o755); err != nil {
		return err
	}
	mount := map[string]func(string, int) (*proof.Volume, error){"tmpfs": proof.Tmpfs, "ext4": proof.Ext4}[o.kind]
	if mount == nil {
		return fmt.Errorf("there is no volume %q", o.kind)
	}
	if b.volume, err = mount(dir, 3000); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.volume.Close()) }()
	if b.tree, err = proof.Plant(b.volume, 100, 48, 1); err != nil {
		return err
	}
	return b.tables(ctx)
}

func (b *bench) tables(ctx context.Context) error {
	page := machine(b.kind)
	for _, part := range []struct {
		name string
		make func(context.Context) (string, error)
	}{{"attacks", b.attacks}, {"work", b.chores}} {
		if !strings.Contains(b.parts, part.name) {
			continue
		}
		table, err := part.make(ctx)
		if err != nil {
			return err
		}
		if b.out == "" {
			fmt.Println(page + table)
			continue
		}
		if err := between(b.out, part.name+"-"+b.kind, page+table); err != nil {
			return err
		}
	}
	return nil
}

// machine says where and when.
func machine(kind string) string {
	cpu := "?"
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, rest, ok := strings.Cut(string(info), "model name\t: "); ok {
			cpu, _, _ = strings.Cut(rest, "\n")
		}
		cpu = fmt.Sprintf("%d × %s", strings.Count(string(info), "model name"), cpu)
	}
	kernel, load := "?", "?"
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		kernel = strings.TrimSpace(string(b))
	}
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		load, _, _ = strings.Cut(string(b), " ")
	}
	return fmt.Sprintf("%s, %s, Linux %s, %s, load at the start %s.\n\n", time.Now().Format(time.DateOnly), cpu, kernel, kind, load)
}

// between replaces what stands between the markers of one table.
func between(path, name, table string) error {
	opening := fmt.Sprintf("<!-- bench-guard: %s (written by make bench-guard) -->", name)
	const closing = "<!-- bench-guard: end -->"
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
