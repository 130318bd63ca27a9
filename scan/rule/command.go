// Package rule is the workbench of those who write and keep rules: `sonae rule`.
//
// In: rules, and logs where they are given. Out: what is in a pack, what is
// wrong with it, what it costs and how often it would fire; a pack that takes
// the place of another. Always true: nothing is changed but by update, and by
// update only after what changes was shown.
package rule

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/detect/pack"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/scan"
)

// Exit statuses.
const (
	good     = 0
	bad      = 1 // a rule cannot be used, or does not do what it should
	unusable = 2
)

// tool is one of the tools.
type tool struct {
	name  string
	flags []scan.Flag
	run   func(*call) int
}

func tools() []tool {
	events := scan.Flag{Name: "events", Arg: "PATH", Path: true}
	lang := scan.Flag{Name: "lang", Arg: "LANG", Values: i18n.Languages()}
	return []tool{
		{"list", []scan.Flag{lang}, (*call).list},
		{"stats", []scan.Flag{events, lang}, (*call).stats},
		{"test", []scan.Flag{lang}, (*call).test},
		{"check", []scan.Flag{events, lang}, (*call).check},
		{"update", []scan.Flag{{Name: "sha256", Arg: "HEX"}, {Name: "key", Arg: "KEY", Path: true}, {Name: "dry-run"}, {Name: "back"}, lang}, (*call).update},
		{"pack", []scan.Flag{{Name: "sign", Arg: "FILE", Path: true}, {Name: "new-key", Arg: "NAME"}, lang}, (*call).pack},
	}
}

// Tools names the tools, for completion.
func Tools() map[string][]scan.Flag {
	all := map[string][]scan.Flag{}
	for _, t := range tools() {
		all[t.name] = t.flags
	}
	return all
}

// call is one call of a tool.
type call struct {
	ctx    context.Context
	out    io.Writer
	errs   io.Writer
	lang   string
	events list
	sum    string
	key    string
	sign   string
	newKey string
	dry    bool
	back   bool
	paths  []string
}

type list []string

// String and Set are what package flag asks for.
func (l *list) String() string     { return strings.Join(*l, " ") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

// Command is `sonae rule`: it returns the exit status.
func Command(ctx context.Context, words []string, stdout, stderr io.Writer) int {
	c := &call{ctx: ctx, out: stdout, errs: stderr, lang: scan.Language(words)}
	if len(words) == 0 {
		c.say(c.t("wrong.tool"))
		return unusable
	}
	if words[0] == "--help" || words[0] == "-h" || words[0] == "help" {
		c.help()
		return good
	}
	for _, t := range tools() {
		if t.name == words[0] {
			return c.call(t, words[1:])
		}
	}
	c.say(c.t("wrong.no-tool", "arg", words[0]))
	return unusable
}

func (c *call) call(t tool, words []string) int {
	fs := flag.NewFlagSet("sonae rule "+t.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	for _, f := range t.flags {
		switch f.Name {
		case "events":
			fs.Var(&c.events, f.Name, "")
		case "lang":
			fs.StringVar(&c.lang, f.Name, c.lang, "")
		case "sha256":
			fs.StringVar(&c.sum, f.Name, "", "")
		case "key":
			fs.StringVar(&c.key, f.Name, "", "")
		case "sign":
			fs.StringVar(&c.sign, f.Name, "", "")
		case "new-key":
			fs.StringVar(&c.newKey, f.Name, "", "")
		case "dry-run":
			fs.BoolVar(&c.dry, f.Name, false, "")
		case "back":
			fs.BoolVar(&c.back, f.Name, false, "")
		}
	}
	paths, err := scan.Interleaved(fs, words)
	switch {
	case errors.Is(err, flag.ErrHelp):
		c.help()
		return good
	case err != nil:
		c.say(c.t("wrong.flag", "arg", err.Error()))
		return unusable
	case !i18n.Known(c.lang):
		c.lang = i18n.English
		c.say(i18n.T(c.lang, "scan.wrong.lang", nil))
		return unusable
	}
	c.paths = paths
	return t.run(c)
}

func (c *call) say(text string) { fmt.Fprintln(c.errs, "sonae rule:", text) }

func (c *call) t(key string, pairs ...string) string {
	args := map[string]string{}
	for i := 0; i+1 < len(pairs); i += 2 {
		args[pairs[i]] = pairs[i+1]
	}
	return i18n.T(c.lang, "rulework."+key, args)
}

func (c *call) help() {
	fmt.Fprintln(c.out, c.t("help"))
	for _, t := range tools() {
		fmt.Fprintf(c.out, "\n%s\n", c.t("help."+t.name))
		for _, f := range t.flags {
			if f.Name == "lang" {
				continue
			}
			left := strings.TrimSpace("--" + f.Name + " " + f.Arg)
			fmt.Fprintf(c.out, "    %-16s %s\n", left, c.t("flag."+f.Name))
		}
	}
	fmt.Fprintf(c.out, "\n%s\n", c.t("help.exit"))
}

// load loads the rules; no means that there are none to work with.
func (c *call) load() (*detect.Engine, detect.Report, bool) {
	engine, report, err := pack.Load(c.paths)
	if err != nil {
		c.say(err.Error())
		return nil, report, false
	}
	if len(report.Loaded)+len(report.Rejected) == 0 {
		c.say(c.t("wrong.none"))
		return nil, report, false
	}
	return engine, report, true
}

// rejected prints what cannot be used, and returns the exit status for it.
func (c *call) rejected(report detect.Report) int {
	for _, r := range report.Rejected {
		what := "rejected"
		if r.Unbuilt {
			what = "not supported"
		}
		fmt.Fprintf(c.out, "%s %s:%d: %s\n", what, r.File, r.Line, r.Reason)
	}
	if len(report.Rejected) > 0 {
		return bad
	}
	return good
}

// scanned runs the rules over the events that were given.
func (c *call) scanned(engine *detect.Engine) (*scan.Result, bool) {
	r, err := scan.Run(c.ctx, scan.Options{Paths: c.events, Engine: engine})
	if err != nil {
		c.say(err.Error())
		return nil, false
	}
	for _, p := range r.Damaged {
		c.say(p.Path + ": " + p.Err.Error())
	}
	return r, true
}

// fileOr returns what is in the file s, or s when there is no such file: keys
// are given in either way.
func fileOr(s string) (string, error) {
	b, err := os.ReadFile(s)
	if errors.Is(err, os.ErrNotExist) || s == "" {
		return s, nil
	}
	return strings.TrimSpace(string(b)), err
}
