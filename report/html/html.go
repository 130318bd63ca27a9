// Package html prints report data as one self-contained HTML file for A4, and
// checks such a file offline.
//
// In: report.Data, templates, the digest and the ledger's proof; or a file. Out:
// a page without scripts and without anything from elsewhere; or what is wrong
// with the file. Always true: the same data gives the same bytes; every byte of a
// finished file is covered, the places of digest and proof because they follow
// from the rest, everything else by the digest that the ledger recorded.
package html

import (
	"bytes"
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

//go:embed templates sheet.html sheet.css
var files embed.FS

// Pages is the printer as report.Desk wants it.
type Pages struct {
	// Dir is the folder with a site's own templates, see Templates; empty: none.
	// It is read whenever a page is made, so that a change counts at once.
	Dir string
}

// Write renders data, see Write.
func (p Pages) Write(w io.Writer, d report.Data, lang string) error {
	_, err := p.write(w, d, lang)
	return err
}

// Asks returns the ids of the fields that the page asks for, in any language.
func (p Pages) Asks(d report.Data) ([]string, error) {
	var all []string
	for _, lang := range i18n.Languages() {
		asked, err := p.write(io.Discard, d, lang)
		if err != nil {
			return nil, err
		}
		all = append(all, asked...)
	}
	return all, nil
}

// Digest is the digest of a page with blank places, see Digest.
func (Pages) Digest(blank []byte) string { return Digest(blank) }

// Fill puts digest and proof into their places, see Fill.
func (Pages) Fill(blank []byte, digest string, proof []byte, checkpoint string) ([]byte, error) {
	return Fill(blank, digest, proof, checkpoint)
}

// Write renders data in lang (ja or en) with the templates that come with
// Sonae, with the places for digest and proof left blank; Fill fills them.
func Write(w io.Writer, d report.Data, lang string) error { return Pages{}.Write(w, d, lang) }

func (p Pages) write(w io.Writer, d report.Data, lang string) (asked []string, err error) {
	if !i18n.Known(lang) {
		return nil, fmt.Errorf("print document: unknown language %q", lang)
	}
	kind, ok := report.KindOf(d.Kind)
	if !ok {
		return nil, fmt.Errorf("print document: unknown kind %q", d.Kind)
	}
	style, err := files.ReadFile("templates/page.css")
	if err != nil {
		return nil, fmt.Errorf("print document: %w", err)
	}
	v := &view{Data: d, Lang: lang, kind: kind, Style: template.CSS(strings.TrimSpace(string(style)))}
	if err := p.body(v); err != nil {
		return nil, fmt.Errorf("print document: %w", err)
	}
	var page bytes.Buffer
	if err := shell().Execute(&page, v); err != nil {
		return nil, fmt.Errorf("print document: %w", err)
	}
	_, err = w.Write(page.Bytes())
	return v.asked, err
}

// shell is what stands around every page. A template of ours that does not
// parse is a bug, found by every test of this package.
var shell = sync.OnceValue(func() *template.Template {
	return template.Must(template.ParseFS(files, "templates/shell.html"))
})

// view is what the templates see: the data, and methods that return words,
// times and sizes in the reader's language, all escaped. doc/user/en/documents.md
// lists those that a site may count on.
type view struct {
	report.Data
	Lang  string
	Style template.CSS
	Body  template.HTML
	Fault string // why the site's own template is not used

	kind   report.Kind
	asked  []string
	fields map[string]report.Field
}

// Title is what the document is called.
func (v *view) Title() string { return i18n.T(v.Lang, "report.kind."+v.Kind, nil) }

// Law is what it follows from, empty for kinds that follow from no article.
func (v *view) Law() string {
	if key := "report.law." + v.Kind; i18n.Has(key) {
		return i18n.T(v.Lang, key, nil)
	}
	return ""
}

// Face is which page of the document this is.
func (v *view) Face() string {
	if v.Approval != nil {
		return "approved/" + v.Lang
	}
	return v.Lang
}

// Outward says whether the sheet for checking is kept and not sent.
func (v *view) Outward() bool { return v.kind.Audience.Outward() }

// ReadingAid says whether this page only helps to read the Japanese one.
func (v *view) ReadingAid() bool {
	return v.Lang != i18n.Japanese && v.kind.Audience == report.Authority
}

// Value is a field by its id: its text, or the mark that it is missing. What
// Sonae filled in is marked until the document is approved. An id that no
// field has is an error of the template.
func (v *view) Value(id string) (template.HTML, error) {
	f, err := v.field(id)
	if err != nil {
		return "", err
	}
	if f.Missing {
		return template.HTML(`<span class="missing">` + template.HTMLEscapeString(v.T("missing")) + `</span>`), nil
	}
	out := `<span class="text">` + template.HTMLEscapeString(f.Value.In(v.Lang)) + `</span>`
	if f.Suggested && v.Approval == nil {
		out += ` <span class="auto">` + template.HTMLEscapeString(v.T("auto")) + `</span>`
	}
	return template.HTML(out), nil
}

// Has says whether a field is stated.
func (v *view) Has(id string) (bool, error) {
	f, err := v.field(id)
	return !f.Missing, err
}

// Rows are lines of a table, one for each id: what the field is called, and
// its value.
func (v *view) Rows(ids ...string) (template.HTML, error) {
	var out strings.Builder
	for _, id := range ids {
		value, err := v.Value(id)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&out, "<tr><th scope=\"row\">%s</th><td>%s</td></tr>\n", template.HTMLEscapeString(v.fields[id].Label.In(v.Lang)), value)
	}
	return template.HTML(out.String()), nil
}

func (v *view) field(id string) (report.Field, error) {
	if v.fields == nil {
		v.fields = map[string]report.Field{}
		for _, f := range v.Fields() {
			v.fields[f.ID] = f
		}
	}
	f, ok := v.fields[id]
	if !ok {
		return f, fmt.Errorf("there is no field %q in this kind of document", id)
	}
	v.asked = append(v.asked, id)
	return f, nil
}

// Callees are those to be called. A record that is older than the list of
// numbers has none: then the sheet names whom to look up.
func (v *view) Callees() []report.Callee {
	if len(v.Data.Callees) > 0 {
		return v.Data.Callees
	}
	var all []report.Callee
	for _, who := range []string{"vendor", "mhlw", "prefecture", "health-centre", "police", "ppc", "ipa", "jpcert"} {
		all = append(all, report.Callee{Name: report.Word("report.page.call."+who, nil), Verify: true})
	}
	return all
}

// Harmless writes an indicator so that nobody follows it by mistake.
func (v *view) Harmless(s string) string {
	return strings.NewReplacer("http://", "hxxp://", "https://", "hxxps://", ".", "[.]").Replace(s)
}

// DraftMark is the mark at the head of every sheet until it is approved.
func (v *view) DraftMark() template.CSS {
	if v.Approval != nil {
		return quoted("")
	}
	return quoted(v.T("draft-sheet"))
}

// Mark is how far the document may go.
func (v *view) Mark() template.CSS { return quoted(v.TLP) }

// T is a word of the form.
func (v *view) T(key string) string { return i18n.T(v.Lang, "report.page."+key, nil) }

// TN is a word of the form with a number in it.
func (v *view) TN(key string, n int) string {
	return i18n.T(v.Lang, "report.page."+key, map[string]string{"n": strconv.Itoa(n)})
}

// In is a text in the reader's language.
func (v *view) In(t report.Text) string { return t.In(v.Lang) }

// When is a day with the time to the minute, in Japan.
func (v *view) When(t time.Time) string {
	if t.IsZero() {
		return "—"
	}
	return i18n.Date(v.Lang, t) + " " + i18n.Clock(t)
}

// Short is a time without the year, to the second, for the chronology.
func (v *view) Short(t time.Time) string { return i18n.TimeSeconds(v.Lang, t) }

// Span is the time from one moment to another; the day of the end is left out
// where it is the same.
func (v *view) Span(from, to time.Time) string {
	if i18n.Date(v.Lang, from) == i18n.Date(v.Lang, to) && !from.IsZero() {
		return v.Short(from) + " – " + to.In(clock.Tokyo()).Format("15:04:05")
	}
	return v.Short(from) + " – " + v.Short(to)
}

// Day is a day with its year.
func (v *view) Day(t time.Time) string { return i18n.Date(v.Lang, t) }

// Target is a day, or a moment when it is not the end of a day.
func (v *view) Target(t time.Time) string {
	if t.IsZero() {
		return "—"
	}
	if t.In(clock.Tokyo()).Format("15:04:05") == "23:59:59" {
		return i18n.Date(v.Lang, t)
	}
	return v.When(t)
}

// Size is a number of bytes.
func (v *view) Size(n int64) string { return i18n.Bytes(n) }

// Or is the text, or a dash.
func (v *view) Or(s string) string {
	if s == "" {
		return "—"
	}
	return s
}

// Join lists ids.
func (v *view) Join(s []string) string { return v.Or(strings.Join(s, ", ")) }

// By is who wrote an entry: a person's name, or the hub itself.
func (v *view) By(name string) string {
	if name == "sonae" {
		return i18n.T(v.Lang, "app.name", nil)
	}
	return name
}

// Late says whether an entry was written down noticeably after it happened, so
// that both times are shown.
func (v *view) Late(l report.Line) bool { return l.EnteredAt.Sub(l.OccurredAt) >= time.Minute }

// Check is one verification result in the reader's language.
func (v *view) Check(line string) string {
	name, rest, _ := strings.Cut(line, " ")
	target, result, _ := strings.Cut(rest, " ")
	if key := "report.check." + name; i18n.Has(key) {
		name = i18n.T(v.Lang, key, nil)
	}
	return name + " " + target + " " + i18n.T(v.Lang, "report.check."+result, nil)
}

// Foot is the line at the foot of every sheet. Like Head and Ledger it goes
// into the style sheet: numbers and fixed words only, nothing a person wrote.
func (v *view) Foot() template.CSS {
	return quoted(v.TN("foot-incident", v.Incident.No) + " · " + v.TN("foot-version", v.Version) + " · " + v.When(v.MadeAt))
}

// Head is the line at the head of every sheet.
func (v *view) Head() template.CSS {
	if v.Drill {
		return quoted(v.T("drill-short") + " " + v.Title() + " " + v.T("drill-short"))
	}
	return quoted(v.Title())
}

// Ledger is the word before the checkpoint.
func (v *view) Ledger() template.CSS { return quoted(v.T("foot-ledger")) }

// quoted makes a CSS string.
func quoted(text string) template.CSS {
	return template.CSS(`"` + strings.NewReplacer(`"`, ``, `\`, ``, `<`, ``, "\n", " ").Replace(text) + `"`)
}
