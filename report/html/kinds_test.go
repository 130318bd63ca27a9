package html

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/report"
	"github.com/sonae/sonae/report/reporttest"
)

// golden compares with a file, which -update writes anew.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("run with -update after looking at the difference:\n%s", diff)
	}
}

func TestEveryKindHasItsPage(t *testing.T) {
	for _, k := range report.Kinds() {
		for _, lang := range []string{"ja", "en"} {
			t.Run(k.ID+"."+lang, func(t *testing.T) {
				page := render(t, reporttest.Full(k), lang)
				golden(t, filepath.Join("kinds", k.ID+"."+lang+".html"), page)
				for _, bad := range []string{"⟦", "<script", "ZgotmplZ", "{{", "https:", "src="} {
					if bytes.Contains(page, []byte(bad)) {
						t.Errorf("the page contains %q", bad)
					}
				}
				if v := (&view{Data: reporttest.Full(k), Lang: lang, kind: k}); !strings.Contains(string(page), v.T("draft-sheet")) {
					t.Error("a page that nobody approved does not say so")
				}
			})
		}
	}
}

// What nobody stated is marked; no box is left empty, and nothing is made up.
func TestMissingItemsAreMarked(t *testing.T) {
	for _, k := range report.Kinds() {
		for _, lang := range []string{"ja", "en"} {
			d := reporttest.Gaps(k)
			page := string(render(t, d, lang))
			asked, err := Pages{}.Asks(d)
			if err != nil {
				t.Fatal(err)
			}
			if marks := strings.Count(page, `class="missing"`); len(asked) > 0 && marks == 0 || k.ID != "indicators" && marks < 3 {
				t.Errorf("%s.%s: %d marks for %d fields", k.ID, lang, marks, len(asked))
			}
			empty := strings.Count(page, "<td></td>")
			if k.ID == "first-call" { // the log is filled in by hand
				empty -= 24
			}
			if empty != 0 {
				t.Errorf("%s.%s: %d empty boxes", k.ID, lang, empty)
			}
			for field, word := range reporttest.Words() {
				if len([]rune(word)) > 4 && strings.Contains(page, word) && field != "signatory" && field != "chronology" {
					t.Errorf("%s.%s: %q was made up", k.ID, lang, word)
				}
			}
		}
	}
}

func TestASitesTemplateReplacesTheShippedOne(t *testing.T) {
	press, _ := report.KindOf("press")
	for name, tt := range map[string]struct {
		file, text string
		want       string // in the page
		problem    string // of the folder
	}{
		"good":             {"press.ja.html", `<h1>自院の様式</h1><p>{{.Value "cause"}}</p>`, "自院の様式", ""},
		"for all":          {"press.html", `<h1>自院の様式</h1>`, "自院の様式", ""},
		"unknown field":    {"press.ja.html", "<h1>自院の様式</h1>\n<p>\n{{.Value \"nmae\"}}</p>", "press.ja.html:3: ", `press.ja.html:3: executing "press.ja.html" at <.Value>: error calling Value: there is no field "nmae" in this kind of document`},
		"syntax":           {"press.ja.html", "<p>\n\n{{if}}</p>", "press.ja.html:3: ", "press.ja.html:3: missing value for if"},
		"unknown method":   {"press.ja.html", "<p>{{.Nonsense}}</p>", "press.ja.html:1: ", ""},
		"script":           {"press.ja.html", "<p>x</p>\n<script>x</script>", "press.ja.html:2: ", `press.ja.html:2: "<script" must not stand in a template`},
		"place of a proof": {"press.ja.html", `<td class="sonae-digest">0</td>`, "press.ja.html:1: ", `press.ja.html:1: "sonae-digest" must not stand in a template`},
		"open comment":     {"press.ja.html", "<p>x</p><!-- ", "template-fault", ""},
		"empty":            {"press.ja.html", " \n", "press.ja.html: the file is empty", "press.ja.html: the file is empty"},
		"calls itself":     {"press.ja.html", "x\n{{template \"press.ja.html\" .}}", "press.ja.html:2: ", `press.ja.html:2: there is no part "press.ja.html"`},
		"defines":          {"press.ja.html", `{{define "a"}}{{template "a" .}}{{end}}`, "press.ja.html:1: ", "press.ja.html:1: a template must not define others"},
		"uses a part":      {"press.ja.html", `<h1>自院の様式</h1>{{template "chronology" .}}`, "自院の様式", ""},
		"no such kind":     {"novel.ja.html", "<p>x</p>", "報道関係者", "novel.ja.html: no document has a template of this name"},
	} {
		t.Run(name, func(t *testing.T) {
			pages := Pages{Dir: t.TempDir()}
			if err := os.WriteFile(filepath.Join(pages.Dir, tt.file), []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			if err := pages.Write(&b, reporttest.Full(press), "ja"); err != nil {
				t.Fatal(err)
			}
			page := b.String()
			if tt.want == "template-fault" {
				tt.want = "出荷時の様式を使いました"
			}
			if !strings.Contains(page, tt.want) {
				t.Errorf("the page lacks %q", tt.want)
			}
			if good := strings.HasPrefix(tt.want, "自院"); good == strings.Contains(page, "出荷時の様式を使いました") && tt.file != "novel.ja.html" {
				t.Error("the page does not say which template was used")
			}
			found, err := pages.Problems()
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(tt.want, "自院") != (len(found) == 0) {
				t.Errorf("problems %v", found)
			}
			if tt.problem != "" && (len(found) != 1 || found[0].Error() != tt.problem) {
				t.Errorf("problems %v, want %s", found, tt.problem)
			}
			if _, err := Fill(b.Bytes(), Digest(b.Bytes()), nil, ""); err != nil {
				t.Errorf("the page cannot be sealed: %v", err)
			}
		})
	}
	if found, err := (Pages{Dir: filepath.Join(t.TempDir(), "none")}).Problems(); err != nil || len(found) != 0 {
		t.Errorf("no folder: %v, %v", found, err)
	}
}

func TestShippedTemplatesAreHandedOut(t *testing.T) {
	if b, err := (Pages{}).Shipped("press.ja.html"); err != nil || len(b) == 0 {
		t.Error(err)
	}
	for _, name := range []string{"shell.html", "page.css", "../html.go", "novel.html", ""} {
		if _, err := (Pages{}).Shipped(name); err == nil {
			t.Errorf("%q was handed out", name)
		}
	}
}

// FuzzTemplate: whatever a site writes, there is a page that can be sealed.
func FuzzTemplate(f *testing.F) {
	for _, name := range []string{"press.ja.html", "nine.html", "first-call.html"} {
		b, err := files.ReadFile("templates/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	for _, s := range []string{`{{.Value "x"}}`, `{{`, `<a href="{{.Title}}">`, `<td class="sonae-` + `{{"digest"}}">`, `<!--`, `<p {{.Title}}=x>`, `{{define "head"}}x{{end}}`, `</main>`} {
		f.Add(s)
	}
	kind, _ := report.KindOf("press")
	data := reporttest.Full(kind)
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "range") { // a site that counts to a million harms only itself
			return
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "press.html"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := (Pages{Dir: dir}).Write(&b, data, "ja"); err != nil {
			t.Fatal(err)
		}
		page, err := Fill(b.Bytes(), Digest(b.Bytes()), nil, "")
		if err != nil {
			t.Fatalf("%v:\n%s", err, text)
		}
		if blank, _, err := open(page); err != nil || !bytes.Equal(blank, b.Bytes()) {
			t.Fatalf("the page does not open again: %v:\n%s", err, text)
		}
	})
}
