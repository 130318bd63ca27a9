package scan

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/detect/pack"
)

// softMemory makes the collector work harder before the process grows beyond
// what a small machine can spare.
const softMemory = 256 << 20

// Command is `sonae scan`: it returns the exit status.
func Command(ctx context.Context, words []string, stdout, stderr io.Writer) int {
	c := &command{ctx: ctx, stdout: stdout, stderr: stderr, now: time.Now()}
	a, err := parse(words, os.Getenv, c.now)
	if errors.Is(err, flag.ErrHelp) {
		Help(stdout, "scan", a.lang, Flags())
		return Scanned
	}
	c.args = a
	if err != nil {
		c.say(a.wrong(err))
		return Unusable
	}
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(softMemory))
	return c.run()
}

// wrong is the one line about unusable arguments.
func (a *args) wrong(err error) string {
	var m *misuse
	if !errors.As(err, &m) {
		m = &misuse{"flag", err.Error()}
	}
	return strings.ReplaceAll(m.In(a.lang), "{command}", "scan")
}

// command is one call.
type command struct {
	*args
	ctx    context.Context
	now    time.Time
	stdout io.Writer
	stderr io.Writer
	report detect.Report
}

func (c *command) say(text string) { fmt.Fprintln(c.stderr, "sonae scan:", text) }

func (c *command) words() words { return words{c.lang, c.zone} }

func (c *command) run() int {
	if err := c.load(); err != nil {
		c.say(err.Error())
		return Unusable
	}
	c.opt.Hash = c.html != "" || c.format == formatHTML
	c.opt.Progress = &Progress{}
	c.opt.Stdin = os.Stdin
	stop := func() {}
	if !c.noProgress && terminal(c.stderr) {
		stop = c.opt.Progress.show(c.stderr, c.words())
	}
	res, err := Run(c.ctx, c.opt)
	stop()
	if err != nil {
		c.say(err.Error())
		return Unread
	}
	defer res.Close() // a temporary file that stays is found by the system
	res.Stats.Loaded, res.Stats.Rejected = len(c.report.Loaded), len(c.report.Rejected)
	failed := c.write(res)
	c.problems(res)
	if c.stats {
		_ = json.NewEncoder(c.stderr).Encode(res.Stats) // whoever asked has gone
	}
	if failed || res.Failed() {
		return Unread
	}
	return Scanned
}

// load brings the rules.
func (c *command) load() error {
	opt, err := pack.Options(c.expand, c.pipelines)
	if err != nil {
		return err
	}
	engine, report, err := pack.LoadWith(opt, c.rules)
	if err != nil {
		return err
	}
	c.opt.Engine, c.report = engine, report
	if err := c.loadAdjustments(); err != nil {
		return err
	}
	if err := c.loadLists(); err != nil {
		return err
	}
	if n := len(report.Rejected); n > 0 {
		c.say(c.words().T("unusable", "n", strconv.Itoa(n), "all", strconv.Itoa(n+len(report.Loaded))))
	}
	return nil
}

// loadAdjustments reads what people decided about rules, and says which of it
// no longer holds.
func (c *command) loadAdjustments() error {
	if len(c.adjust) == 0 {
		return nil
	}
	files := map[string][]byte{}
	for _, name := range c.adjust {
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		files[name] = b
	}
	a, err := detect.ReadAdjustments(files, c.adjust, func() time.Time { return c.now })
	if err != nil {
		return err
	}
	for _, x := range a.Expired() {
		c.say(c.words().T("expired", "where", x.File+":"+strconv.Itoa(x.Line), "rule", x.Rule, "owner", x.Owner, "reason", x.Reason))
	}
	c.opt.Engine.Adjust(a)
	return nil
}

// write writes all that was asked for, and says whether something could not be.
func (c *command) write(r *Result) (failed bool) {
	if r.Stopped {
		c.say(c.words().T("stopped"))
	}
	to := func(name string, err error) {
		if err != nil {
			failed = true
			c.say(c.words().T("cannot-write", "file", name, "reason", err.Error()))
		}
	}
	to("stdout", c.print(c.stdout, r))
	if c.timeline != "" {
		to(c.timeline, whole(c.timeline, func(w io.Writer) error {
			if _, err := io.WriteString(w, "\ufeff"); err != nil { // else Excel takes it for the code page of the machine
				return err
			}
			return timeline(w, r, c.words())
		}))
	}
	if c.html != "" {
		to(c.html, whole(c.html, func(w io.Writer) error { return c.page(w, r) }))
	}
	return failed
}

// page writes the report.
func (c *command) page(w io.Writer, r *Result) error {
	return writePage(w, r, c.report, c.words(), c.now, version())
}

// version is that of the program.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "?"
}

// print writes to standard output in the format that was asked for.
func (c *command) print(w io.Writer, r *Result) error {
	switch c.format {
	case formatJSONL:
		return writeLines(w, r)
	case formatCSV:
		return timeline(w, r, c.words())
	case formatHTML:
		return c.page(w, r)
	}
	return text(w, r, c.words(), screenWidth(c.stdout))
}

// whole writes a file all at once: a report that is cut off must not look like
// one.
func whole(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".sonae-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already when all went well
	out := bufio.NewWriter(f)
	err = write(out)
	if err == nil {
		err = out.Flush()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// maxNamed bounds how many files are named on standard error.
const maxNamed = 100

// problems names what could not be read and what was left out.
func (c *command) problems(r *Result) {
	for i, p := range r.LeftOut {
		if i == maxNamed {
			break
		}
		c.say(p.Path + ": " + c.words().T("left-out", "reason", p.Err.Error()))
	}
	for i, p := range r.Damaged {
		if i == maxNamed {
			c.say(c.words().T("more-problems", "n", strconv.Itoa(len(r.Damaged)-i)))
			break
		}
		c.say(about(p))
	}
}

// about names the file once.
func about(p Problem) string {
	reason := printable(strings.ReplaceAll(p.Err.Error(), "\n", "; "))
	if strings.Contains(reason, p.Path) {
		return reason
	}
	return printable(p.Path) + ": " + reason
}
