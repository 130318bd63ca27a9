package scan

import (
	"flag"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/i18n"
)

// Exit statuses of scan.
const (
	Scanned  = 0 // it ran, whatever it found
	Unusable = 2 // wrong arguments
	Unread   = 3 // some input could not be read
)

// formats of the output.
const (
	formatText  = "text"
	formatJSONL = "jsonl"
	formatHTML  = "html"
	formatCSV   = "csv"
)

// Flag is one flag of a command, for its help and for completion. What it does
// stands in the catalogue under KEY.flag.NAME.
type Flag struct {
	Name   string
	Arg    string   // what follows, "" for a switch
	Values []string // those that Arg may be, nil when it is free
	Path   bool     // Arg is a path
}

// Flags are all flags of sonae scan, in the order of its help.
func Flags() []Flag {
	return []Flag{
		{Name: "rules", Arg: "PATH", Path: true},
		{Name: "expand", Arg: "DIR", Path: true},
		{Name: "pipeline", Arg: "FILE", Path: true},
		{Name: "min-level", Arg: "LEVEL", Values: levels()},
		{Name: "since", Arg: "TIME"},
		{Name: "until", Arg: "TIME"},
		{Name: "kind", Arg: "FORMAT", Values: Kinds()},
		{Name: "format", Arg: "FORMAT", Values: []string{formatText, formatJSONL, formatHTML, formatCSV}},
		{Name: "html", Arg: "FILE", Path: true},
		{Name: "timeline", Arg: "FILE", Path: true},
		{Name: "flows"},
		{Name: "stats"},
		{Name: "adjust", Arg: "FILE", Path: true},
		{Name: "ioc", Arg: "FILE", Path: true},
		{Name: "zone", Arg: "ZONE"},
		{Name: "jobs", Arg: "N"},
		{Name: "lang", Arg: "LANG", Values: i18n.Languages()},
		{Name: "no-progress"},
	}
}

func levels() []string {
	var names []string
	for s := event.Info; s <= event.Critical; s++ {
		names = append(names, s.String())
	}
	return names
}

// list is a flag that may be given several times.
type list []string

// String and Set are what package flag asks for.
func (l *list) String() string     { return strings.Join(*l, " ") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

// args are the arguments of one call.
type args struct {
	opt        Options
	rules      list
	adjust     list
	lists      list
	expand     string
	pipelines  list
	format     string
	html       string
	timeline   string
	stats      bool
	noProgress bool
	lang       string
	zone       *time.Location
}

// parse reads the arguments; flags and paths may stand in any order. env gives
// the environment, now is the time that relative times count from.
func parse(words []string, env func(string) string, now time.Time) (*args, error) {
	a := &args{lang: language(words, env)}
	fs := flag.NewFlagSet("sonae scan", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	fs.Var(&a.rules, "rules", "")
	fs.Var(&a.adjust, "adjust", "")
	fs.Var(&a.lists, "ioc", "")
	fs.StringVar(&a.expand, "expand", "", "")
	fs.Var(&a.pipelines, "pipeline", "")
	level := fs.String("min-level", event.Info.String(), "")
	since, until := fs.String("since", "", ""), fs.String("until", "", "")
	fs.StringVar(&a.opt.Kind, "kind", "", "")
	fs.StringVar(&a.format, "format", formatText, "")
	fs.StringVar(&a.html, "html", "", "")
	fs.StringVar(&a.timeline, "timeline", "", "")
	fs.BoolVar(&a.opt.Flows, "flows", false, "")
	fs.BoolVar(&a.stats, "stats", false, "")
	zone := fs.String("zone", "", "")
	fs.IntVar(&a.opt.Jobs, "jobs", 0, "")
	fs.StringVar(&a.lang, "lang", a.lang, "")
	fs.BoolVar(&a.noProgress, "no-progress", false, "")
	paths, err := Interleaved(fs, words)
	if err != nil {
		return a, err
	}
	a.opt.Paths = paths
	return a, a.check(*level, *zone, *since, *until, now)
}

// Interleaved parses words in which flags and other arguments are mixed, and
// returns the others; behind "--" there are no more flags.
func Interleaved(fs *flag.FlagSet, words []string) ([]string, error) {
	var others []string
	for {
		if err := fs.Parse(words); err != nil {
			return nil, err
		}
		rest := fs.Args()
		taken := words[:len(words)-len(rest)]
		if len(rest) == 0 {
			return others, nil
		}
		if len(taken) > 0 && taken[len(taken)-1] == "--" {
			return append(others, rest...), nil
		}
		others, words = append(others, rest[0]), rest[1:]
	}
}

// check makes sense of what the flags say.
func (a *args) check(level, zone, since, until string, now time.Time) error {
	var err error
	if !i18n.Known(a.lang) {
		a.lang = i18n.English
		return wrong("lang")
	}
	if len(a.opt.Paths) == 0 {
		return wrong("paths")
	}
	if a.opt.MinLevel, err = event.ParseSeverity(level); err != nil {
		return wrong("level", strings.Join(levels(), ", "))
	}
	if !oneOf(a.format, formatText, formatJSONL, formatHTML, formatCSV) {
		return wrong("format")
	}
	if a.opt.Kind != "" && !oneOf(a.opt.Kind, Kinds()...) {
		return wrong("kind", strings.Join(Kinds(), ", "))
	}
	if a.opt.Jobs < 0 {
		return wrong("jobs")
	}
	if a.zone, err = zoneOf(zone); err != nil {
		return err
	}
	if a.opt.Since, err = moment(since, a.zone, now); err != nil {
		return err
	}
	if a.opt.Until, err = moment(until, a.zone, now); err != nil {
		return err
	}
	a.opt.Source.Zone, a.opt.Source.Now = a.zone, now
	return nil
}

// misuse is what is wrong with the arguments; the sentence stands in the
// catalogue under scan.wrong.KEY.
type misuse struct {
	key string
	arg string
}

func wrong(key string, arg ...string) error { return &misuse{key, strings.Join(arg, " ")} }

// Error is for logs; people read In.
func (m *misuse) Error() string { return m.In(i18n.English) }

// In says it in a language.
func (m *misuse) In(lang string) string {
	return i18n.T(lang, "scan.wrong."+m.key, map[string]string{"arg": m.arg})
}

func oneOf(s string, all ...string) bool {
	for _, one := range all {
		if s == one {
			return true
		}
	}
	return false
}

// language is that of --lang, else of the environment: needed before the flags
// are read, because their errors are said in it.
func language(words []string, env func(string) string) string {
	for i, w := range words {
		w = strings.TrimPrefix(w, "-")
		if v, ok := strings.CutPrefix(w, "-lang="); ok && i18n.Known(v) {
			return v
		}
		if w == "-lang" && i+1 < len(words) && i18n.Known(words[i+1]) {
			return words[i+1]
		}
	}
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if v := env(name); v != "" {
			if strings.HasPrefix(v, i18n.Japanese) {
				return i18n.Japanese
			}
			return i18n.English
		}
	}
	return i18n.English
}

// Language is the one the environment asks for.
func Language(words []string) string { return language(words, os.Getenv) }

// zoneOf reads a time zone: a name, an offset such as +09:00, or nothing for
// that of this machine.
func zoneOf(s string) (*time.Location, error) {
	switch s {
	case "":
		return time.Local, nil
	case "JST":
		return clock.Tokyo(), nil
	}
	if t, err := time.Parse("-07:00", s); err == nil {
		_, seconds := t.Zone()
		return time.FixedZone("UTC"+s, seconds), nil
	}
	z, err := time.LoadLocation(s)
	if err != nil {
		return nil, wrong("zone", s)
	}
	return z, nil
}

// moment reads a time: a day, a day with the time, RFC 3339, or how long ago
// (90m, 24h, 7d).
func moment(s string, zone *time.Location, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, form := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(form, s, zone); err == nil {
			return t, nil
		}
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n >= 0 && n < 100_000 {
			return now.AddDate(0, 0, -n), nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	return time.Time{}, wrong("time", s)
}
