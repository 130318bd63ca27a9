package block

import (
	"context"
	"strings"

	"github.com/sonae/sonae/report"
)

// Make is a report.Maker of plain text, with a mark of order for programs that
// would else guess the letters.
func Make(_ context.Context, s report.Source) ([]byte, error) {
	blocks, err := Read(s.Page)
	if err != nil {
		return nil, err
	}
	return []byte("\uFEFF" + Text(blocks)), nil
}

// Text writes blocks as plain text, for mail and for pasting: paragraphs with
// an empty line between them, "■" before headings, tables as "label: value".
func Text(blocks []Block) string {
	var b strings.Builder
	for i, bl := range blocks {
		if i > 0 {
			b.WriteByte('\n')
		}
		if bl.Break {
			b.WriteString(strings.Repeat("-", 40) + "\n\n")
		}
		switch bl.Shape {
		case Heading:
			b.WriteString("■ " + bl.words() + "\n")
		case Item:
			b.WriteString("・" + bl.words() + "\n")
		case Table:
			for _, row := range bl.Rows {
				b.WriteString(row.line() + "\n")
			}
		default:
			b.WriteString(bl.words() + "\n")
		}
	}
	return b.String()
}

// words is the text of a block without its look; marks stand in brackets.
func (b Block) words() string {
	var out strings.Builder
	for _, r := range b.Runs {
		if r.Missing || r.Auto {
			out.WriteString("【" + r.Text + "】")
			continue
		}
		out.WriteString(r.Text)
	}
	return out.String()
}

func (r Row) line() string {
	var cells []string
	for _, c := range r.Cells {
		var parts []string
		for _, b := range c.Blocks {
			if b.Shape == Table {
				parts = append(parts, strings.TrimSpace(Text([]Block{b})))
				continue
			}
			parts = append(parts, b.words())
		}
		cells = append(cells, strings.Join(parts, "\n"))
	}
	return strings.Join(cells, ": ")
}
