package docx_test

import (
	"archive/zip"
	"bytes"
	"encoding/xml"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sonae/sonae/report"
	"github.com/sonae/sonae/report/docx"
	"github.com/sonae/sonae/report/html"
	"github.com/sonae/sonae/report/reporttest"
	"github.com/sonae/sonae/report/xlsx"
)

func source(t *testing.T, k report.Kind, lang string) report.Source {
	t.Helper()
	d := reporttest.Full(k)
	var page bytes.Buffer
	if err := html.Write(&page, d, lang); err != nil {
		t.Fatal(err)
	}
	digest := html.Digest(page.Bytes())
	full, err := html.Fill(page.Bytes(), digest, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	return report.Source{Data: d, Kind: k, Lang: lang, Face: lang, Page: full, Digest: digest}
}

// squeeze drops white space, which a print places as it likes.
func squeeze(s string) string { return strings.Join(strings.Fields(s), "") }

// TestOfficeOpensEveryDocument converts all documents with one run of a real
// office, and reads what it printed.
func TestOfficeOpensEveryDocument(t *testing.T) {
	dir := t.TempDir()
	args := []string{"--headless", "-env:UserInstallation=file://" + filepath.Join(dir, "profile"), "--convert-to", "pdf", "--outdir", dir}
	wants := map[string][]string{}
	for _, k := range report.Kinds() {
		for _, lang := range []string{"ja", "en"} {
			if lang == "en" && k.ID != "prompt" && k.ID != "person-letter" && k.ID != "door" && k.ID != "indicators" { // the office needs a second or more for each
				continue
			}
			s := source(t, k, lang)
			name := k.ID + "." + lang
			for format, make := range map[string]report.Maker{report.Docx: docx.Make, report.Xlsx: xlsx.Make} {
				if !k.Has(format) {
					continue
				}
				b, err := make(t.Context(), s)
				if err != nil {
					t.Fatalf("%s %s: %v", name, format, err)
				}
				file := strings.ReplaceAll(name, ".", "-") + "-" + format
				if err := os.WriteFile(filepath.Join(dir, file+"."+format), b, 0o600); err != nil {
					t.Fatal(err)
				}
				args = append(args, filepath.Join(dir, file+"."+format))
				wants[file] = wanted(t, k, lang, format, s)
			}
		}
	}
	if out, err := exec.CommandContext(t.Context(), "soffice", args...).CombinedOutput(); err != nil {
		t.Fatalf("soffice: %v: %s", err, out)
	}
	for file, want := range wants {
		out, err := exec.Command("pdftotext", "-layout", filepath.Join(dir, file+".pdf"), "-").Output()
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		got := squeeze(string(out))
		for _, w := range want {
			if !strings.Contains(got, squeeze(w)) {
				t.Errorf("%s lacks %q", file, w)
			}
		}
	}
	if keep := os.Getenv("SONAE_TEST_KEEP"); keep != "" { // for people who want to look
		if err := os.CopyFS(keep, os.DirFS(dir)); err != nil {
			t.Log(err)
		}
	}
}

// wanted is what the print of a file must say: the mark of a draft, how far it
// may go, page numbers, and every field that the page asks for.
func wanted(t *testing.T, k report.Kind, lang, format string, s report.Source) []string {
	t.Helper()
	want := []string{map[string]string{"ja": "案（未承認）", "en": "DRAFT (not approved)"}[lang], k.TLP}
	if format == report.Docx {
		want = append(want, "1 / ", s.Digest)
	}
	if format == report.Xlsx && k.ID == "indicators" {
		return append(want, "203.0.113.7", "transmission-daemon")
	}
	asked, err := html.Pages{}.Asks(s.Data)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range s.Data.Fields() {
		for _, id := range asked {
			if f.ID == id && !strings.HasPrefix(id, "rule_items") {
				text := []rune(squeeze(f.Value.In(lang)))
				want = append(want, string(text[:min(len(text), 10)])) // a line of a narrow box
			}
		}
	}
	return want
}

func TestThePartsAreXML(t *testing.T) {
	for _, k := range report.Kinds() {
		s := source(t, k, "ja")
		s.Data.MadeBy = "<&\x01\"'"
		b, err := docx.Make(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range z.File {
			r, err := f.Open()
			if err != nil {
				t.Fatal(err)
			}
			for d := xml.NewDecoder(r); ; {
				if _, err := d.Token(); err == io.EOF {
					break
				} else if err != nil {
					t.Fatalf("%s: %s: %v", k.ID, f.Name, err)
				}
			}
		}
		again, err := docx.Make(t.Context(), s)
		if err != nil || !bytes.Equal(b, again) {
			t.Errorf("%s: other bytes the second time", k.ID)
		}
	}
}

// FuzzMake: whatever a site's template makes of a page, the document is XML.
func FuzzMake(f *testing.F) {
	f.Add([]byte(`<h1>x</h1><table><colgroup><col style="width:20%"></colgroup><tr><th>a<td colspan=3>b<br>c</table><ul><li>x<ul><li>y</ul></ul>`))
	f.Add([]byte("<table><tr><td><table><tr><td>x</table></table><p class='missing text'>\x00\xff\n"))
	f.Fuzz(func(t *testing.T, page []byte) {
		k, _ := report.KindOf("press")
		b, err := docx.Make(t.Context(), report.Source{Data: report.Sample(k), Kind: k, Lang: "ja", Page: page})
		if err != nil {
			return
		}
		z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		r, err := z.Open("word/document.xml")
		if err != nil {
			t.Fatal(err)
		}
		for d := xml.NewDecoder(r); ; {
			if _, err := d.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
	})
}
