// Package xlsx writes what a document lists as a workbook: items, chronology,
// alerts, actions, evidence, clocks and indicators, one sheet each.
//
// In: the data of a document. Out: an .xlsx file. Always true: every cell is
// text or a number, never a formula; every sheet prints with the incident's
// number, version, time, page number and the ledger at its foot.
package xlsx

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/xuri/excelize/v2"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/ledger"
	"github.com/sonae/sonae/report"
)

// sheet is a list with its columns.
type sheet struct {
	name    string
	columns []column
	rows    [][]any
}

type column struct {
	name  string
	width float64 // in characters
}

// Make is a report.Maker.
func Make(_ context.Context, s report.Source) ([]byte, error) {
	w := &book{Source: s, file: excelize.NewFile()}
	defer w.file.Close()
	for i, sh := range w.sheets() {
		if err := w.write(i, sh); err != nil {
			return nil, fmt.Errorf("write xlsx sheet %s: %w", sh.name, err)
		}
	}
	w.file.SetActiveSheet(0)
	err := w.file.SetDocProps(&excelize.DocProperties{Title: w.title(), Creator: s.Data.MadeBy, Identifier: s.Data.Document + "/" + s.Face, Created: s.Data.MadeAt.UTC().Format(time.RFC3339), Modified: s.Data.MadeAt.UTC().Format(time.RFC3339)})
	if err != nil {
		return nil, fmt.Errorf("write xlsx: %w", err)
	}
	var out bytes.Buffer
	if err := w.file.Write(&out); err != nil {
		return nil, fmt.Errorf("write xlsx: %w", err)
	}
	return out.Bytes(), nil
}

type book struct {
	report.Source
	file    *excelize.File
	printed *printed // of a list; nil: the document says it
}

func (b *book) t(key string) string { return i18n.T(b.Lang, "report.page."+key, nil) }

func (b *book) n(key string, n int) string {
	return i18n.T(b.Lang, "report.page."+key, map[string]string{"n": fmt.Sprint(n)})
}

func (b *book) in(t report.Text) string { return t.In(b.Lang) }

func (b *book) title() string { return i18n.T(b.Lang, "report.kind."+b.Kind.ID, nil) }

// when is a time in Japan that sorts as text.
func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.In(clock.Tokyo()).Format("2006-01-02 15:04:05")
}

func (b *book) value(f report.Field) string {
	if f.Missing {
		return "【" + b.t("missing") + "】"
	}
	if f.Suggested && b.Data.Approval == nil {
		return b.in(f.Value) + "【" + b.t("auto") + "】"
	}
	return b.in(f.Value)
}

// sheets are the lists of a document. Indicators go out alone, because the
// reader of those is another organisation.
func (b *book) sheets() []sheet {
	if b.Kind.ID == "indicators" {
		return []sheet{b.indicators(), b.about()}
	}
	return []sheet{b.items(), b.chronology(), b.alerts(), b.actions(), b.bags(), b.clocks(), b.indicators(), b.about()}
}

func (b *book) items() sheet {
	s := sheet{b.t("items"), []column{{b.t("entry-no"), 6}, {b.t("items"), 26}, {b.t("content"), 28}, {b.t("content"), 70}}, nil}
	for _, f := range b.Data.Reporter {
		s.rows = append(s.rows, []any{"", b.t("reporter"), b.in(f.Label), b.value(f)})
	}
	for _, it := range b.Data.Items {
		for _, f := range it.Fields {
			s.rows = append(s.rows, []any{it.No, b.in(it.Label), b.in(f.Label), b.value(f)})
		}
	}
	for _, f := range b.Data.Particulars {
		if f.ID != "indicators" {
			s.rows = append(s.rows, []any{"", i18n.T(b.Lang, "documents.particulars", nil), b.in(f.Label), b.value(f)})
		}
	}
	return s
}

func (b *book) chronology() sheet {
	s := sheet{b.t("chronology"), []column{{b.t("entry-no"), 6}, {b.t("occurred-at"), 20}, {b.t("entered-at"), 20}, {b.t("content"), 70}, {b.t("certainty"), 24}, {b.t("made-by"), 16}}, nil}
	for _, e := range b.Data.Entries {
		text := b.in(e.Text)
		if e.CorrectedBy > 0 {
			text += " " + b.n("corrected-by", e.CorrectedBy)
		}
		if e.Corrects > 0 {
			text = b.n("corrects", e.Corrects) + " " + text
		}
		by := e.By
		if by == "sonae" {
			by = i18n.T(b.Lang, "app.name", nil)
		}
		s.rows = append(s.rows, []any{e.No, when(e.OccurredAt), when(e.EnteredAt), text, b.in(e.Certainty) + " · " + b.in(e.Source), by})
	}
	return s
}

func (b *book) alerts() sheet {
	s := sheet{b.t("alerts"), []column{{b.t("severity"), 10}, {b.t("content"), 60}, {b.t("host"), 20}, {b.t("site"), 18}, {b.t("first"), 20}, {b.t("last"), 20}, {b.t("sent"), 14}, {b.t("received"), 14}}, nil}
	for _, a := range b.Data.Alerts {
		s.rows = append(s.rows, []any{b.in(a.Severity), b.in(a.Title) + "\n" + b.in(a.What), a.Host, a.Site, when(a.First), when(a.Last), a.Sent, a.Received})
	}
	return s
}

func (b *book) actions() sheet {
	s := sheet{b.t("actions"), []column{{b.t("action"), 24}, {b.t("host"), 20}, {b.t("state"), 24}, {b.t("reason"), 40}, {b.t("requested-by"), 16}, {b.t("decided-by"), 16}, {b.t("applied"), 20}, {b.t("verified"), 20}, {b.t("ended"), 20}}, nil}
	for _, a := range b.Data.Actions {
		s.rows = append(s.rows, []any{b.in(a.Kind), a.Host, b.in(a.State), a.Reason, a.Requested, a.Decided, when(a.At), when(a.Verified), when(a.Ended)})
	}
	return s
}

func (b *book) bags() sheet {
	s := sheet{b.t("bags"), []column{{b.t("bag"), 34}, {b.t("host"), 20}, {b.t("state"), 20}, {b.t("times"), 20}, {b.t("entry-no"), 8}, {b.t("digest"), 68}}, nil}
	for _, g := range b.Data.Bags {
		s.rows = append(s.rows, []any{g.ID, g.Host, b.in(g.State), when(g.SealedAt), g.Items, g.Digest})
	}
	return s
}

func (b *book) clocks() sheet {
	s := sheet{b.t("clocks"), []column{{b.t("clock"), 24}, {b.t("regime"), 34}, {b.t("target"), 20}, {b.t("due"), 20}, {b.t("done"), 20}, {b.t("clock-note"), 60}}, nil}
	for _, c := range b.Data.Clocks {
		note := c.Basis
		if !c.Sure {
			note = b.t("precaution") + " " + note
		}
		s.rows = append(s.rows, []any{b.in(c.Label), b.in(c.Regime), when(c.Target), when(c.Due), when(c.DoneAt), note})
	}
	return s
}

func (b *book) indicators() sheet {
	s := sheet{b.t("indicators"), []column{{b.t("indicator-kind"), 14}, {b.t("indicator"), 68}, {b.t("first"), 20}, {b.t("last"), 20}, {b.t("indicator-rule"), 40}, {"ATT&CK", 24}}, nil}
	for _, i := range b.Data.Indicators {
		s.rows = append(s.rows, []any{b.t("indicator." + i.Kind), i.Value, when(i.First), when(i.Last), b.in(i.Rule), strings.Join(i.Tags, " ")})
	}
	return s
}

func (b *book) words() string {
	if w, ok := ledger.WordsOf(b.Checkpoint); ok {
		return w.String()
	}
	return "—"
}

// about says which document this is and how it is checked.
func (b *book) about() sheet {
	s := sheet{b.t("check"), []column{{b.t("document"), 30}, {b.t("content"), 100}}, nil}
	approved := b.t("not-approved")
	if a := b.Data.Approval; a != nil {
		approved = when(a.At) + " " + a.Name
	}
	for _, r := range [][2]string{
		{b.t("incident-no"), b.n("no", b.Data.Incident.No) + " " + b.Data.Incident.Title}, {b.t("made"), b.title() + " " + b.n("version-n", b.Data.Version)},
		{b.t("made-at"), when(b.Data.MadeAt)}, {b.t("made-by"), b.Data.MadeBy}, {b.t("approved"), approved}, {b.t("tlp"), b.Data.TLP},
		{b.t("document"), b.Data.Document + "/" + b.Face}, {"HTML " + b.t("sha256"), b.Digest}, {b.t("words"), b.words()}, {b.t("checkpoint"), b.Checkpoint}, {b.t("check"), b.t("check-how")},
	} {
		s.rows = append(s.rows, []any{r[0], r[1]})
	}
	return s
}

func (b *book) write(no int, s sheet) error {
	name := sheetName(s.name, no)
	f := b.file
	if no == 0 {
		if err := f.SetSheetName("Sheet1", name); err != nil {
			return err
		}
	} else if _, err := f.NewSheet(name); err != nil {
		return err
	}
	head, body, err := b.styles()
	if err != nil {
		return err
	}
	for c, col := range s.columns {
		letter, err := excelize.ColumnNumberToName(c + 1)
		if err != nil {
			return err
		}
		if err := f.SetColWidth(name, letter, letter, col.width); err != nil {
			return err
		}
		if err := put(f, name, c+1, 1, col.name); err != nil {
			return err
		}
	}
	for r, row := range s.rows {
		for c, v := range row {
			if err := put(f, name, c+1, r+2, v); err != nil {
				return err
			}
		}
	}
	return b.dress(name, len(s.columns), len(s.rows)+1, head, body)
}

// put writes a value; text stays text, whatever it begins with.
func put(f *excelize.File, sheet string, col, row int, v any) error {
	cell, err := excelize.CoordinatesToCellName(col, row)
	if err != nil {
		return err
	}
	switch v := v.(type) {
	case int:
		return f.SetCellInt(sheet, cell, int64(v))
	case int64:
		return f.SetCellInt(sheet, cell, v)
	case float64:
		return f.SetCellFloat(sheet, cell, v, 1, 64)
	case string:
		return f.SetCellStr(sheet, cell, v)
	}
	return fmt.Errorf("a cell cannot hold %T", v)
}

func (b *book) styles() (head, body int, err error) {
	border := []excelize.Border{{Type: "left", Color: "555555", Style: 1}, {Type: "top", Color: "555555", Style: 1}, {Type: "right", Color: "555555", Style: 1}, {Type: "bottom", Color: "555555", Style: 1}}
	align := &excelize.Alignment{Vertical: "top", WrapText: true}
	head, err = b.file.NewStyle(&excelize.Style{Border: border, Alignment: align, Font: &excelize.Font{Bold: true}, Fill: excelize.Fill{Type: "pattern", Pattern: 1, Color: []string{"ECECEC"}}})
	if err != nil {
		return 0, 0, err
	}
	body, err = b.file.NewStyle(&excelize.Style{Border: border, Alignment: align})
	return head, body, err
}

// dress makes a sheet readable and printable.
func (b *book) dress(name string, columns, rows, head, body int) error {
	f := b.file
	last, err := excelize.ColumnNumberToName(columns)
	if err != nil {
		return err
	}
	if err := f.SetCellStyle(name, "A1", last+"1", head); err != nil {
		return err
	}
	if rows > 1 {
		if err := f.SetCellStyle(name, "A2", fmt.Sprintf("%s%d", last, rows), body); err != nil {
			return err
		}
	}
	if err := f.SetPanes(name, &excelize.Panes{Freeze: true, YSplit: 1, TopLeftCell: "A2", ActivePane: "bottomLeft"}); err != nil {
		return err
	}
	landscape, a4, wide, tall := "landscape", 9, 1, 0
	if err := f.SetPageLayout(name, &excelize.PageLayoutOptions{Orientation: &landscape, Size: &a4, FitToWidth: &wide, FitToHeight: &tall}); err != nil {
		return err
	}
	fit := true
	if err := f.SetSheetProps(name, &excelize.SheetPropsOptions{FitToPage: &fit}); err != nil {
		return err
	}
	if err := f.SetDefinedName(&excelize.DefinedName{Name: "_xlnm.Print_Titles", RefersTo: "'" + name + "'!$1:$1", Scope: name}); err != nil {
		return err
	}
	return f.SetHeaderFooter(name, &excelize.HeaderFooterOptions{OddHeader: b.header(), OddFooter: b.footer()})
}

func (b *book) header() string {
	if b.printed != nil {
		return "&L" + plain(b.printed.head) + "&R&P / &N"
	}
	left, middle := b.title(), ""
	if b.Data.Drill {
		left = b.t("drill-short") + " " + left
	}
	if b.Data.Approval == nil {
		middle = b.t("draft-sheet")
	}
	return "&L" + plain(left) + "&C" + plain(middle) + "&R" + plain(b.Data.TLP) + "  &P / &N"
}

func (b *book) footer() string {
	if b.printed != nil {
		return "&L" + plain(b.printed.foot)
	}
	made := b.n("foot-incident", b.Data.Incident.No) + " · " + b.n("foot-version", b.Data.Version) + " · " + when(b.Data.MadeAt)
	return "&L" + plain(made) + "&R" + plain(b.t("foot-ledger")+" "+b.words())
}

// plain keeps text from being read as a code of a header. A header has at most
// 255 characters.
func plain(s string) string {
	if r := []rune(s); len(r) > 100 {
		s = string(r[:99]) + "…"
	}
	return strings.ReplaceAll(s, "&", "&&")
}

// sheetName is a name that a workbook accepts: at most 31 characters, none of
// those that stand for something else, and each only once.
func sheetName(name string, no int) string {
	name = strings.Map(func(r rune) rune {
		if strings.ContainsRune(`:\/?*[]'`, r) {
			return ' '
		}
		return r
	}, name)
	r := []rune(fmt.Sprintf("%d %s", no+1, name))
	return strings.TrimSpace(string(r[:min(len(r), 31)]))
}
