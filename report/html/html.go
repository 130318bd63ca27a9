// Package html prints report data as one self-contained HTML file for A4, and
// checks such a file offline.
//
// In: report.Data, the digest and the ledger's proof; or a file. Out: a page
// without scripts and without anything from elsewhere; or what is wrong with
// the file. Always true: the same data gives the same bytes; every byte of a
// finished file is covered, the places of digest and proof because they follow
// from the rest, everything else by the digest that the ledger recorded.
package html

import (
	"embed"
	"fmt"
	"html/template"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/report"
)

//go:embed page.html page.css sheet.html sheet.css
var files embed.FS

// Pages is the printer as report.Desk wants it.
type Pages struct{}

// Write renders data, see Write.
func (Pages) Write(w io.Writer, d report.Data, lang string) error { return Write(w, d, lang) }

// Digest is the digest of a page with blank places, see Digest.
func (Pages) Digest(blank []byte) string { return Digest(blank) }

// Fill puts digest and proof into their places, see Fill.
func (Pages) Fill(blank []byte, digest string, proof []byte, checkpoint string) ([]byte, error) {
	return Fill(blank, digest, proof, checkpoint)
}

// Write renders data in lang (ja or en) with the places for digest and proof
// left blank; Fill fills them.
func Write(w io.Writer, d report.Data, lang string) error {
	if !i18n.Known(lang) {
		return fmt.Errorf("print report: unknown language %q", lang)
	}
	style, err := files.ReadFile("page.css")
	if err != nil {
		return fmt.Errorf("print report: %w", err)
	}
	v := view{Data: d, Lang: lang, Style: template.CSS(strings.TrimSpace(string(style)))}
	if err := parsed().Execute(w, v); err != nil {
		return fmt.Errorf("print report: %w", err)
	}
	return nil
}

// parsed reads the embedded template once. A template that does not parse is a
// bug of ours, found by every test of this package.
var parsed = sync.OnceValue(func() *template.Template {
	return template.Must(template.ParseFS(files, "page.html"))
})

// view is what the template sees. Its methods return words, times and sizes in
// the reader's language; the template escapes all of them.
type view struct {
	report.Data
	Lang  string
	Style template.CSS
}

// T is a word of the form.
func (v view) T(key string) string { return i18n.T(v.Lang, "report.page."+key, nil) }

// TN is a word of the form with a number in it.
func (v view) TN(key string, n int) string {
	return i18n.T(v.Lang, "report.page."+key, map[string]string{"n": strconv.Itoa(n)})
}

// In is a text in the reader's language.
func (v view) In(t report.Text) string { return t.In(v.Lang) }

// When is a day with the time to the minute, in Japan.
func (v view) When(t time.Time) string {
	if t.IsZero() {
		return "—"
	}
	return i18n.Date(v.Lang, t) + " " + i18n.Clock(t)
}

// Short is a time without the year, to the second, for the chronology.
func (v view) Short(t time.Time) string { return i18n.TimeSeconds(v.Lang, t) }

// Span is the time from one moment to another; the day of the end is left out
// where it is the same.
func (v view) Span(from, to time.Time) string {
	if i18n.Date(v.Lang, from) == i18n.Date(v.Lang, to) && !from.IsZero() {
		return v.Short(from) + " – " + to.In(clock.Tokyo()).Format("15:04:05")
	}
	return v.Short(from) + " – " + v.Short(to)
}

// Day is a day with its year.
func (v view) Day(t time.Time) string { return i18n.Date(v.Lang, t) }

// Target is a day, or a moment when it is not the end of a day.
func (v view) Target(t time.Time) string {
	if t.IsZero() {
		return "—"
	}
	if t.In(clock.Tokyo()).Format("15:04:05") == "23:59:59" {
		return i18n.Date(v.Lang, t)
	}
	return v.When(t)
}

// Size is a number of bytes.
func (v view) Size(n int64) string { return i18n.Bytes(n) }

// Or is the text, or a dash.
func (v view) Or(s string) string {
	if s == "" {
		return "—"
	}
	return s
}

// Join lists ids.
func (v view) Join(s []string) string { return v.Or(strings.Join(s, ", ")) }

// By is who wrote an entry: a person's name, or the hub itself.
func (v view) By(name string) string {
	if name == "sonae" {
		return i18n.T(v.Lang, "app.name", nil)
	}
	return name
}

// Late says whether an entry was written down noticeably after it happened, so
// that both times are shown.
func (v view) Late(l report.Line) bool { return l.EnteredAt.Sub(l.OccurredAt) >= time.Minute }

// Check is one verification result in the reader's language.
func (v view) Check(line string) string {
	name, rest, _ := strings.Cut(line, " ")
	target, result, _ := strings.Cut(rest, " ")
	if key := "report.check." + name; i18n.Has(key) {
		name = i18n.T(v.Lang, key, nil)
	}
	return name + " " + target + " " + i18n.T(v.Lang, "report.check."+result, nil)
}

// Foot is the line at the foot of every sheet. Like Head and Ledger it goes
// into the style sheet: numbers and fixed words only, nothing a person wrote.
func (v view) Foot() template.CSS {
	return quoted(v.TN("foot-incident", v.Incident.No) + " · " + v.TN("foot-version", v.No) + " · " + v.When(v.MadeAt))
}

// Head is the line at the head of every sheet.
func (v view) Head() template.CSS {
	if v.Drill {
		return quoted(v.T("drill-short") + " " + v.T("title") + " " + v.T("drill-short"))
	}
	return quoted(v.T("title"))
}

// Ledger is the word before the checkpoint.
func (v view) Ledger() template.CSS { return quoted(v.T("foot-ledger")) }

// quoted makes a CSS string.
func quoted(text string) template.CSS {
	return template.CSS(`"` + strings.NewReplacer(`"`, ``, `\`, ``, `<`, ``, "\n", " ").Replace(text) + `"`)
}
