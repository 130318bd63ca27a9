package html

import (
	"fmt"
	"html/template"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/report/sheet"
)

// Sheets is the printer as sheet.Desk wants it.
type Sheets struct{}

// Write renders a sheet as a file of its own for A3, with the places for digest
// and proof left blank.
func (Sheets) Write(w io.Writer, s sheet.Sheet, lang string) error {
	return draw(w, "paper", sheetView{Sheet: s, Lang: lang, Paper: true})
}

// Digest is the digest of a page with blank places, see Digest.
func (Sheets) Digest(blank []byte) string { return Digest(blank) }

// Fill puts digest and proof into their places, see Fill.
func (Sheets) Fill(blank []byte, digest string, proof []byte, checkpoint string) ([]byte, error) {
	return Fill(blank, digest, proof, checkpoint)
}

// Screen writes the same sheet as a part of a page, without a style of its own:
// the pages carry sheet.css. may tells by id which approvals the reader can
// give; they are forms that post to where approvals are given anyway.
func Screen(w io.Writer, s sheet.Sheet, lang string, may map[string]bool) error {
	return draw(w, "sheet", sheetView{Sheet: s, Lang: lang, Screen: true, May: may})
}

func draw(w io.Writer, name string, v sheetView) error {
	if !i18n.Known(v.Lang) {
		return fmt.Errorf("draw sheet: unknown language %q", v.Lang)
	}
	style, err := files.ReadFile("sheet.css")
	if err != nil {
		return fmt.Errorf("draw sheet: %w", err)
	}
	v.Style = template.CSS(strings.TrimSpace(string(style)))
	if err := parsedSheet().ExecuteTemplate(w, name, v); err != nil {
		return fmt.Errorf("draw sheet: %w", err)
	}
	return nil
}

// parsedSheet reads the embedded template once, see parsed.
var parsedSheet = sync.OnceValue(func() *template.Template {
	return template.Must(template.ParseFS(files, "sheet.html"))
})

// sheetView is what the template sees. Paper is a file of its own, Screen a
// part of a page.
type sheetView struct {
	sheet.Sheet
	Lang          string
	Paper, Screen bool
	May           map[string]bool
	Style         template.CSS
}

// T is a word of the sheet; pairs are placeholders and values.
func (v sheetView) T(key string, pairs ...any) string {
	args := map[string]string{}
	for i := 0; i+1 < len(pairs); i += 2 {
		args[fmt.Sprint(pairs[i])] = fmt.Sprint(pairs[i+1])
	}
	return i18n.T(v.Lang, "sheet."+key, args)
}

// In is a text in the reader's language.
func (v sheetView) In(t sheet.Text) string { return t.In(v.Lang) }

// Or is a name, or the word for nobody.
func (v sheetView) Or(name, key string) string {
	if name == "" {
		return v.T(key)
	}
	return name
}

// When is a moment to the minute.
func (v sheetView) When(t time.Time) string {
	if t.IsZero() {
		return "—"
	}
	return i18n.Time(v.Lang, t)
}

// Back is what is expected of a recovery, as one line.
func (v sheetView) Back(r sheet.Recovery) string {
	key := "back.now"
	if r.Begun {
		key = "back.begun"
	}
	line := v.T(key, "p50", i18n.Span(v.Lang, r.P50), "p90", i18n.Span(v.Lang, r.P90), "time", v.When(r.Changed))
	if r.Loss < 0 {
		line += v.T("back.loss.unknown")
	} else {
		line += v.T("back.loss", "loss", i18n.Span(v.Lang, r.Loss))
	}
	if r.LastProven.IsZero() {
		return line + v.T("back.unproven")
	}
	return line + v.T("back.proven", "date", i18n.Date(v.Lang, r.LastProven))
}

// most is the largest number that a box of the sheet holds.
const most = 99_999

// Num is a number, as far as a box holds it.
func (v sheetView) Num(n int) string {
	if n > most {
		return i18n.Count(most) + "+"
	}
	return i18n.Count(int64(n))
}

// Long is the attribute of a box whose number is set smaller, to fit.
func (v sheetView) Long(n int) template.HTMLAttr {
	if n < 1000 {
		return ""
	}
	return ` class="sheet-long"`
}

// Share is how many machines of a cell are affected; of very many, what share.
func (v sheetView) Share(c sheet.Cell) string {
	if c.Total < 1000 {
		return strconv.Itoa(c.Affected) + "/" + strconv.Itoa(c.Total)
	}
	return strings.ReplaceAll(i18n.Percent(float64(c.Affected)/float64(c.Total)), " ", "")
}

// People is a number of persons.
func (v sheetView) People(n int) string { return v.T("people", "n", i18n.Count(int64(n))) }

// Shape is the shape of a level, the same as that of the severity it comes
// from.
func (sheetView) Shape(l sheet.Level) string {
	return map[sheet.Level]string{sheet.High: "▲", sheet.Medium: "■", sheet.Low: "●"}[l]
}

// Sign is the shape of a state. All shapes are of JIS X 0208: every printer in
// Japan has them.
func (sheetView) Sign(s sheet.State) string {
	return map[sheet.State]string{sheet.Running: "○", sheet.Degraded: "△", sheet.Stopped: "×", sheet.Restarting: "↑"}[s]
}

// Mark is the shape of a verdict.
func (sheetView) Mark(x sheet.Verdict) string {
	return map[sheet.Verdict]string{sheet.Stop: "×", sheet.Pause: "△", sheet.Keep: "○"}[x]
}

// Box is the shape of an answer.
func (sheetView) Box(answer string) string {
	switch answer {
	case "yes":
		return "■"
	case "no":
		return "□"
	}
	return "？"
}

// Over says whether the time of a deadline is over.
func (v sheetView) Over(d sheet.Deadline) bool { return d.Left(v.MadeAt) < 0 }

// Left is the time that is left, or by how much it is exceeded: minutes within
// the last hour, else hours. Begun hours do not count as left.
func (v sheetView) Left(d sheet.Deadline) template.HTML {
	left, key := d.Left(v.MadeAt), "left"
	if left < 0 {
		left, key = -left, "over"
	}
	n, unit := int(left/time.Hour), "hours"
	if left < time.Hour {
		n, unit = int(left/time.Minute), "minutes"
	}
	esc := template.HTMLEscapeString
	number := "<b>" + i18n.Count(int64(n)) + "</b>"
	text := strings.Replace(esc(v.T(key+"-"+unit)), "{n}", number, 1)
	if days := int(left / (24 * time.Hour)); days >= 4 {
		text += `<small>` + esc(v.T("days", "n", strconv.Itoa(days))) + `</small>`
	}
	return template.HTML(text) // numbers and words of the catalogue only
}

// Approve is where an approval is given.
func (sheetView) Approve(x sheet.Approval) string {
	if x.Cutting {
		return "/cuttings/" + x.ID + "/approve"
	}
	return "/actions/" + x.ID + "/approve"
}

// Version is the number of the sheet.
func (v sheetView) Version() string {
	if v.No == 0 {
		return v.T("no", "no", v.Incident.No) + " " + v.T("not-kept")
	}
	return v.T("version", "no", v.Incident.No, "version", v.No)
}

// Ref is how the ledger calls the page.
func (v sheetView) Ref() string {
	if v.ID == "" {
		return "—"
	}
	return v.ID + "/" + v.Lang
}
