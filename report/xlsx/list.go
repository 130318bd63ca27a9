package xlsx

import (
	"bytes"
	"fmt"

	"github.com/xuri/excelize/v2"
)

// List is one sheet of a workbook that is no document of an incident. Cells are
// text, int, int64 or float64.
type List struct {
	Name    string
	Columns []Column
	Rows    [][]any
}

// Column is a column of a List; Width is in characters.
type Column struct {
	Name  string
	Width float64
}

// Lists writes a workbook. Every sheet prints with the title at its head and
// foot at its foot.
func Lists(title, foot string, all []List) ([]byte, error) {
	w := &book{file: excelize.NewFile(), printed: &printed{title, foot}}
	defer w.file.Close()
	for i, l := range all {
		s := sheet{name: l.Name, rows: l.Rows}
		for _, c := range l.Columns {
			s.columns = append(s.columns, column{c.Name, c.Width})
		}
		if err := w.write(i, s); err != nil {
			return nil, fmt.Errorf("write xlsx sheet %s: %w", l.Name, err)
		}
	}
	w.file.SetActiveSheet(0)
	var out bytes.Buffer
	if err := w.file.Write(&out); err != nil {
		return nil, fmt.Errorf("write xlsx: %w", err)
	}
	return out.Bytes(), nil
}

// printed is what stands at head and foot of a list.
type printed struct{ head, foot string }
