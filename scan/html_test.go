package scan

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/i18n"
)

const pageRules = `title: Root logged in
id: root
level: high
author: Sonae
tags: [attack.t1078]
logsource: {product: test}
detection: {s: {User: root}, condition: s}
---
title: </style><script>alert(1)</script>
id: evil
level: low
author: '<b>Mallory</b>'
logsource: {product: test}
detection: {s: {User|startswith: '<'}, condition: s}
---
title: Never
id: never
level: low
logsource: {product: elsewhere}
detection: {s: {User: x}, condition: s}
---
title: Hungry
id: hungry
level: low
logsource: {product: test}
detection: {s: {Missing: x}, condition: s}
---
title: Broken
id: broken
level: low
logsource: {product: test}
detection: {s: {A|nope: x}, condition: s}
`

// pageScan scans a small folder with something of everything in it.
func pageScan(t *testing.T) (*Result, detect.Report) {
	t.Helper()
	engine, report, err := detect.Load(fstest.MapFS{"r.yml": {Data: []byte(pageRules)}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	t.Chdir(dir)
	noon := time.Date(2026, 11, 28, 3, 0, 0, 0, time.UTC)
	var a strings.Builder
	for i := range 120 {
		fmt.Fprintf(&a, `{"product":"test","User":"root","host":"pc-%d","time":%q,"CommandLine":"cat /etc/shadow %d"}`+"\n", i%3, noon.Add(time.Duration(i*i)*time.Second).Format(time.RFC3339), i)
	}
	a.WriteString(`{"product":"test","User":"<img src=x onerror=alert(1)>","host":"\u202eevil\u0007","Long":"` + strings.Repeat("x", 1000) + `"}` + "\n")
	a.WriteString(`{"product":"unruled","User":"x"}` + "\n")
	for name, text := range map[string]string{"logs/a.jsonl": a.String(), "logs/broken.jsonl": "{\"a\":\n", "logs/notes.txt": "hello\n", "logs/<i>.jsonl": "{}\n"} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r, err := Run(t.Context(), Options{Paths: []string{"logs"}, Engine: engine, Hash: true, TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	r.Stats.Loaded, r.Stats.Rejected = len(report.Loaded), len(report.Rejected)
	return r, report
}

var updateGolden = flag.Bool("update-pages", false, "rewrite the golden pages")

func TestPage(t *testing.T) {
	golden, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	r, report := pageScan(t)
	for _, lang := range i18n.Languages() {
		var b bytes.Buffer
		made := time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC)
		if err := writePage(&b, r, report, words{lang, clock.Tokyo()}, made, "v1.2.3"); err != nil {
			t.Fatal(err)
		}
		page := b.String()
		wellFormed(t, page)
		for _, bad := range []string{"<script", "<img", "onerror=alert(1)>", "http:", "https:", "src=", "\u202e", "⟦"} {
			if strings.Contains(strings.ReplaceAll(page, "&lt;img src=x", ""), bad) {
				t.Errorf("%s: the page holds %q", lang, bad)
			}
		}
		file := filepath.Join(golden, "page."+lang+".html")
		if *updateGolden {
			if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), page); diff != "" {
			t.Errorf("%s (-want +got), -update-pages rewrites it:\n%.3000s", file, diff)
		}
	}
}

// wellFormed reads the page as XML would be read: every element is closed.
func wellFormed(t *testing.T, page string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(page))
	d.Strict, d.Entity = true, xml.HTMLEntity
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("the page is not well formed: %v", err)
		}
	}
}

func TestPageOfNothing(t *testing.T) {
	engine, report, err := detect.Load(fstest.MapFS{"r.yml": {Data: []byte(pageRules)}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := Run(t.Context(), Options{Paths: []string{t.TempDir()}, Engine: engine})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var b bytes.Buffer
	if err := writePage(&b, r, report, words{i18n.English, time.UTC}, time.Time{}, "v1"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Nothing was found.", "This does not mean that nothing happened"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	wellFormed(t, b.String())
}

func TestTimelineFitsItsColumns(t *testing.T) {
	for name, c := range map[string]struct{ from, to time.Duration }{
		"one moment": {0, 0}, "seconds": {0, 30 * time.Second}, "an hour": {0, time.Hour}, "years": {0, 8000 * time.Hour * 24},
		"beyond what a duration holds": {0, 1<<63 - 1},
	} {
		first := time.Date(2026, 1, 1, 0, 0, 1, 0, time.UTC).Add(c.from)
		s := &Summary{First: first, Last: first.Add(c.to)}
		engine, _, err := detect.Load(fstest.MapFS{})
		if err != nil {
			t.Fatal(err)
		}
		r := &Result{lines: newSorter("", 1<<20), opt: Options{Engine: engine}}
		if err := r.steps(s); err != nil {
			t.Fatal(err)
		}
		if len(s.Steps) == 0 || len(s.Steps) > maxSteps || s.Steps[0].At.After(first) || s.Steps[len(s.Steps)-1].At.Add(s.StepSize).Before(s.Last) {
			t.Errorf("%s: %d columns of %s", name, len(s.Steps), s.StepSize)
		}
	}
}

func TestColumnsOfText(t *testing.T) {
	for s, want := range map[string]int{"abc": 3, "緊急": 4, "サーバー1": 9, "ｱ": 1, "e\u0301": 1, "▲": 1} {
		if got := columns(s); got != want {
			t.Errorf("%q takes %d columns, want %d", s, got, want)
		}
	}
	if got := cut("サーバー室", 6); got != "サー…" {
		t.Errorf("cut: %q", got)
	}
	for _, c := range []struct {
		text string
		n    int
		want []string
	}{
		{"one two three", 8, []string{"one two", "three"}},
		{"ログが止められた", 8, []string{"ログが止", "められた"}},
		{"abcdefghij", 4, []string{"abcd", "efgh", "ij"}},
		{"short", 80, []string{"short"}},
	} {
		if diff := cmp.Diff(c.want, wrap(c.text, c.n)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", c.text, diff)
		}
	}
}

func TestForeignTextDoesNotCommandTheTerminal(t *testing.T) {
	if got := printable("a\x1b[31mb\u009bc\u202ed\r\n"); got != "a.[31mb.c.d.." {
		t.Errorf("%q", got)
	}
}

func TestCellsAreNoFormulas(t *testing.T) {
	for in, want := range map[string]string{"=1+1": "'=1+1", "@x": "'@x", "-2": "'-2", "+3": "'+3", "x=1": "x=1", "": ""} {
		if got := safeCell(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
	if n := len(safeCell(strings.Repeat("あ", 20000))); n > maxCell+10 {
		t.Errorf("a cell of %d bytes", n)
	}
}

func TestProgressBar(t *testing.T) {
	p := &Progress{}
	say := words{i18n.Japanese, time.UTC}
	if got := p.bar(say, time.Second); got != "" {
		t.Errorf("before anything is known: %q", got)
	}
	p.total.Store(10e9)
	p.read.Store(25e8)
	p.events.Store(1234567)
	p.findings.Store(42)
	if got, want := p.bar(say, 25*time.Second), " 25%  10.0 GB のうち 2.5 GB  事象 1,234,567  検知 42  100.0 MB/秒  残り約1分"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	p.read.Store(10e9)
	if got, want := p.bar(words{i18n.English, time.UTC}, time.Minute), "bringing together 42 findings"; got != want {
		t.Errorf("%q", got)
	}
	if columns(p.bar(say, time.Hour)) > 79 {
		t.Error("the bar is too wide")
	}
}

func TestTimesOfFlags(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	for in, want := range map[string]string{
		"2026-11-01": "2026-11-01T00:00:00+09:00", "2026-11-01 14:00": "2026-11-01T14:00:00+09:00", "2026-11-01T14:00:00Z": "2026-11-01T14:00:00Z",
		"24h": "2026-11-27T12:00:00Z", "7d": "2026-11-21T12:00:00Z", "90m": "2026-11-28T10:30:00Z",
	} {
		got, err := moment(in, clock.Tokyo(), now)
		if err != nil || got.Format(time.RFC3339) != want {
			t.Errorf("%q: got %s, %v; want %s", in, got.Format(time.RFC3339), err, want)
		}
	}
	for _, in := range []string{"soon", "-1h", "-2d", "2026-13-01", "d"} {
		if _, err := moment(in, time.UTC, now); err == nil {
			t.Errorf("%q was taken", in)
		}
	}
}

func TestFlagsMayStandAnywhere(t *testing.T) {
	env := func(string) string { return "" }
	for line, want := range map[string]string{
		"a b": "a b", "--jobs 2 a --flows b": "a b", "a --jobs 2": "a", "a -- --flows b": "a --flows b", "-- --x": "--x",
	} {
		a, err := parse(strings.Fields(line), env, time.Time{})
		if err != nil || strings.Join(a.opt.Paths, " ") != want {
			t.Errorf("%q: %q, %v", line, a.opt.Paths, err)
		}
	}
	if a, err := parse(strings.Fields("a --flows --jobs 3 b --lang ja --min-level high --zone +09:00"), env, time.Time{}); err != nil || !a.opt.Flows || a.opt.Jobs != 3 || a.lang != "ja" || a.opt.MinLevel.String() != "high" {
		t.Errorf("%+v, %v", a, err)
	}
}
