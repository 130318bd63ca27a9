// Package paper draws a checkpoint so that a printed page can be held against
// the ledger later.
//
// In: the signed note of a checkpoint. Out: a QR code of the whole note as an
// SVG picture that stands inside a page. Always true: the same note gives the
// same bytes; the picture asks nothing from elsewhere.
package paper

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/skip2/go-qrcode"
)

// robust is the longest text for which a quarter of the picture may be lost;
// longer ones keep the picture readable at the size of a stamp instead.
const robust = 400

// QR returns the code of text as an SVG element of class qr, four modules
// of white around it. An error says that text is longer than a code can hold.
func QR(text string) (string, error) {
	level := qrcode.High
	if len(text) > robust {
		level = qrcode.Low
	}
	code, err := qrcode.New(text, level)
	if err != nil {
		return "", fmt.Errorf("draw checkpoint: %w", err)
	}
	rows := code.Bitmap()
	n := strconv.Itoa(len(rows))
	var b strings.Builder
	b.WriteString(`<svg class="qr" viewBox="0 0 ` + n + ` ` + n + `" width="144" height="144" shape-rendering="crispEdges" role="img" aria-label="QR"><path d="`)
	for y, row := range rows {
		for x := 0; x < len(row); x++ {
			from := x
			for x < len(row) && row[x] {
				x++
			}
			if x > from { // one stroke for what is dark side by side
				w := strconv.Itoa(x - from)
				b.WriteString("M" + strconv.Itoa(from) + " " + strconv.Itoa(y) + "h" + w + "v1h-" + w + "z")
			}
		}
	}
	b.WriteString(`"/></svg>`)
	return b.String(), nil
}
