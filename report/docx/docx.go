// Package docx writes documents for word processors: a zip with few parts of
// XML, as ECMA-376 asks for them.
//
// In: a finished page. Out: a .docx file. Always true: it says what the page
// says, with the mark of a draft, the incident's number, version, time, ledger
// and page number on every sheet; the same page gives the same bytes.
package docx

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"strings"
	"time"

	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/ledger"
	"github.com/sonae/sonae/report"
	"github.com/sonae/sonae/report/block"
)

// Make is a report.Maker.
func Make(_ context.Context, s report.Source) ([]byte, error) {
	blocks, err := block.Read(s.Page)
	if err != nil {
		return nil, err
	}
	parts := []struct{ name, body string }{
		{"[Content_Types].xml", contentTypes},
		{"_rels/.rels", rootRels},
		{"docProps/core.xml", core(s)},
		{"word/_rels/document.xml.rels", documentRels},
		{"word/styles.xml", styles},
		{"word/header1.xml", header(s)},
		{"word/footer1.xml", footer(s)},
		{"word/document.xml", document(blocks)},
	}
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, p := range parts {
		w, err := z.CreateHeader(&zip.FileHeader{Name: p.name, Method: zip.Deflate, Modified: s.Data.MadeAt.UTC().Truncate(2 * time.Second)})
		if err != nil {
			return nil, fmt.Errorf("write docx: %w", err)
		}
		if _, err := w.Write([]byte(p.body)); err != nil {
			return nil, fmt.Errorf("write docx: %w", err)
		}
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("write docx: %w", err)
	}
	return out.Bytes(), nil
}

// textWidth is the width of the text on A4 with margins of 15 mm, in twentieths
// of a point.
const textWidth = 10204

func document(blocks []block.Block) string {
	w := &writer{}
	w.put(declaration + `<w:document ` + spaces + `><w:body>`)
	for _, b := range blocks {
		w.block(b, textWidth)
	}
	w.put(`<w:sectPr><w:headerReference w:type="default" r:id="rId2"/><w:footerReference w:type="default" r:id="rId3"/>` +
		`<w:pgSz w:w="11906" w:h="16838"/><w:pgMar w:top="1134" w:right="851" w:bottom="1134" w:left="851" w:header="567" w:footer="454" w:gutter="0"/></w:sectPr>`)
	w.put(`</w:body></w:document>`)
	return w.String()
}

type writer struct{ strings.Builder }

func (w *writer) put(s string) { w.WriteString(s) }

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder takes everything
	return b.String()
}

func (w *writer) block(b block.Block, width int) {
	if b.Shape == block.Table {
		w.table(b, width)
		return
	}
	w.put(`<w:p><w:pPr>`)
	switch {
	case b.Shape == block.Heading && b.Large:
		fmt.Fprintf(w, `<w:pStyle w:val="Notice%d"/>`, min(b.Level, 2))
	case b.Shape == block.Heading:
		fmt.Fprintf(w, `<w:pStyle w:val="Heading%d"/>`, b.Level)
	case b.Large:
		w.put(`<w:pStyle w:val="Notice"/>`)
	}
	if b.Break {
		w.put(`<w:pageBreakBefore/>`)
	}
	if b.Boxed {
		w.put(`<w:pBdr>`)
		for _, side := range []string{"top", "left", "bottom", "right"} {
			fmt.Fprintf(w, `<w:%s w:val="single" w:sz="8" w:space="4" w:color="000000"/>`, side)
		}
		w.put(`</w:pBdr>`)
	}
	if b.Shape == block.Item {
		fmt.Fprintf(w, `<w:ind w:left="%d" w:hanging="284"/>`, 284*(b.Level+1))
	}
	switch b.Align {
	case block.Right:
		w.put(`<w:jc w:val="right"/>`)
	case block.Center:
		w.put(`<w:jc w:val="center"/>`)
	}
	w.put(`</w:pPr>`)
	if b.Shape == block.Item {
		mark := b.Mark
		if mark == "" {
			mark = "•"
		}
		w.run(block.Run{Text: mark})
		w.put(`<w:r><w:tab/></w:r>`)
	}
	for _, r := range b.Runs {
		w.run(r)
	}
	w.put(`</w:p>`)
}

func (w *writer) run(r block.Run) {
	w.put(`<w:r><w:rPr>`)
	if r.Mono {
		w.put(`<w:rFonts w:ascii="Consolas" w:hAnsi="Consolas" w:cs="Consolas"/>`)
	}
	if r.Bold {
		w.put(`<w:b/>`)
	}
	if r.Strike {
		w.put(`<w:strike/>`)
	}
	if r.Small || r.Mono {
		w.put(`<w:sz w:val="16"/>`)
	}
	if r.Missing || r.Auto {
		w.put(`<w:bdr w:val="single" w:sz="8" w:space="0" w:color="000000"/>`)
	}
	w.put(`</w:rPr>`)
	for i, line := range strings.Split(r.Text, "\n") {
		if i > 0 {
			w.put(`<w:br/>`)
		}
		if line != "" {
			w.put(`<w:t xml:space="preserve">` + escape(line) + `</w:t>`)
		}
	}
	w.put(`</w:r>`)
}

func (w *writer) table(t block.Block, width int) {
	columns := columnsOf(t, width)
	if t.Break {
		w.put(`<w:p><w:pPr><w:pageBreakBefore/></w:pPr></w:p>`)
	}
	fmt.Fprintf(w, `<w:tbl><w:tblPr><w:tblStyle w:val="Grid"/><w:tblW w:w="%d" w:type="dxa"/><w:tblLayout w:type="fixed"/></w:tblPr><w:tblGrid>`, width)
	for _, c := range columns {
		fmt.Fprintf(w, `<w:gridCol w:w="%d"/>`, c)
	}
	w.put(`</w:tblGrid>`)
	for _, row := range t.Rows {
		w.row(row, columns)
	}
	w.put(`</w:tbl><w:p><w:pPr><w:spacing w:after="0" w:line="120" w:lineRule="exact"/></w:pPr></w:p>`)
}

// columnsOf are the widths of the columns: as the page says, else equal.
func columnsOf(t block.Block, width int) []int {
	n := 0
	for _, r := range t.Rows {
		cells := 0
		for _, c := range r.Cells {
			cells += c.Span
		}
		n = max(n, cells)
	}
	columns := make([]int, n)
	left := width
	for i := range columns {
		columns[i] = width / n
		if len(t.Widths) == n {
			columns[i] = width * t.Widths[i] / 100
		}
		if i == n-1 {
			columns[i] = max(left, 1)
		}
		left -= columns[i]
	}
	return columns
}

func (w *writer) row(row block.Row, columns []int) {
	w.put(`<w:tr><w:trPr><w:cantSplit/>`)
	if row.Head {
		w.put(`<w:tblHeader/>`)
	}
	w.put(`</w:trPr>`)
	at := 0
	for i, c := range row.Cells {
		span := min(c.Span, len(columns)-at)
		if i == len(row.Cells)-1 {
			span = len(columns) - at // a row fills its table
		}
		width := 0
		for _, x := range columns[at : at+span] {
			width += x
		}
		at += span
		fmt.Fprintf(w, `<w:tc><w:tcPr><w:tcW w:w="%d" w:type="dxa"/>`, width)
		if span > 1 {
			fmt.Fprintf(w, `<w:gridSpan w:val="%d"/>`, span)
		}
		if c.Head {
			w.put(`<w:shd w:val="clear" w:color="auto" w:fill="ECECEC"/>`)
		}
		w.put(`</w:tcPr>`)
		for _, b := range c.Blocks {
			w.block(b, width-200)
		}
		if n := len(c.Blocks); n == 0 || c.Blocks[n-1].Shape == block.Table { // a cell ends with a paragraph
			w.put(`<w:p/>`)
		}
		w.put(`</w:tc>`)
	}
	w.put(`</w:tr>`)
}

// say is a word of the pages.
func say(s report.Source, key string, pairs ...string) string {
	args := map[string]string{}
	for i := 0; i+1 < len(pairs); i += 2 {
		args[pairs[i]] = pairs[i+1]
	}
	return i18n.T(s.Lang, "report.page."+key, args)
}

func title(s report.Source) string { return i18n.T(s.Lang, "report.kind."+s.Kind.ID, nil) }

func header(s report.Source) string {
	text := title(s) + "　" + s.Data.TLP
	if s.Data.Drill {
		text = say(s, "drill-short") + " " + text
	}
	draft := ""
	if s.Data.Approval == nil {
		draft = `<w:r><w:tab/></w:r><w:r><w:rPr><w:b/><w:sz w:val="20"/></w:rPr><w:t xml:space="preserve">` + escape(say(s, "draft-sheet")) + `</w:t></w:r>`
	}
	return declaration + `<w:hdr ` + spaces + `><w:p><w:pPr><w:pStyle w:val="Margin"/></w:pPr><w:r><w:t xml:space="preserve">` + escape(text) + `</w:t></w:r>` + draft +
		`<w:r><w:tab/></w:r>` + field("PAGE") + `<w:r><w:t xml:space="preserve"> / </w:t></w:r>` + field("NUMPAGES") + `</w:p></w:hdr>`
}

func footer(s report.Source) string {
	words := "—"
	if w, ok := ledger.WordsOf(s.Checkpoint); ok {
		words = w.String()
	}
	made := say(s, "foot-incident", "n", fmt.Sprint(s.Data.Incident.No)) + " · " + say(s, "foot-version", "n", fmt.Sprint(s.Data.Version)) + " · " +
		i18n.Date(s.Lang, s.Data.MadeAt) + " " + i18n.Clock(s.Data.MadeAt) + " · " + s.Data.MadeBy
	var b strings.Builder
	for _, line := range []string{made, "HTML SHA-256 " + s.Digest, say(s, "foot-ledger") + " " + words} {
		b.WriteString(`<w:p><w:pPr><w:pStyle w:val="Margin"/></w:pPr><w:r><w:t xml:space="preserve">` + escape(line) + `</w:t></w:r></w:p>`)
	}
	return declaration + `<w:ftr ` + spaces + `>` + b.String() + `</w:ftr>`
}

func field(name string) string {
	return `<w:fldSimple w:instr=" ` + name + ` "><w:r><w:t>1</w:t></w:r></w:fldSimple>`
}

func core(s report.Source) string {
	at := s.Data.MadeAt.UTC().Format(time.RFC3339)
	return declaration + `<cp:coreProperties xmlns:cp="http://schemas.openxmlformats.org/package/2006/metadata/core-properties" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:dcterms="http://purl.org/dc/terms/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">` +
		`<dc:title>` + escape(title(s)) + `</dc:title><dc:creator>` + escape(s.Data.MadeBy) + `</dc:creator><dc:identifier>` + escape(s.Data.Document+"/"+s.Face) + `</dc:identifier><dc:language>` + escape(s.Lang) + `</dc:language>` +
		`<dcterms:created xsi:type="dcterms:W3CDTF">` + at + `</dcterms:created></cp:coreProperties>`
}
