package forecast

import (
	"archive/zip"
	"bytes"
	"io"
	"strings"
	"testing"
)

// TestBudgetHasEveryPriceWithItsSource reads the workbook as a stranger would.
func TestBudgetHasEveryPriceWithItsSource(t *testing.T) {
	p := hospital(t)
	terms := Assumed(p, "会計課 2026年度")
	terms.Targets = []Target{{"emr", 24, 12}}
	f := Make(Given{Plan: p, Terms: terms, Now: noon(), Runs: 200})
	for lang, says := range map[string][]string{"ja": {"電子カルテ", "会計課 2026年度", "職員1人1時間(円)", "同時に戻す本数を2倍にする", "まだ測り足りません"}, "en": {"会計課 2026年度", "Restore twice as many at once"}} {
		raw, err := Budget(f, p.Name, lang)
		if err != nil {
			t.Fatal(err)
		}
		book, err := zip.NewReader(bytes.NewReader(raw), int64(len(raw)))
		if err != nil {
			t.Fatal(err)
		}
		var all strings.Builder
		sheets := 0
		for _, part := range book.File {
			if strings.HasPrefix(part.Name, "xl/worksheets/sheet") {
				sheets++
			}
			r, err := part.Open()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(&all, r); err != nil {
				t.Fatal(err)
			}
			_ = r.Close()
		}
		if sheets != 5 {
			t.Errorf("%s: %d sheets", lang, sheets)
		}
		for _, s := range says {
			if !strings.Contains(all.String(), s) {
				t.Errorf("%s: the workbook does not say %q", lang, s)
			}
		}
		if n := strings.Count(all.String(), "<f>"); n != 0 { // what stands in it is what was computed
			t.Errorf("%s: %d formulas", lang, n)
		}
	}
}
