package pdf

import (
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/report"
)

const sample = `<!DOCTYPE html><html lang="ja"><meta charset="utf-8"><style>@page { size: A4; margin: 20mm; @top-right { content: counter(page) " / " counter(pages); } } h1 { break-before: page; }</style>
<p>個人情報の漏えい等</p><script>document.write("SCRIPTRAN")</script><img src="http://192.0.2.1/x.png"><h1>二枚目</h1>`

func printer(t *testing.T, named string) *Printer {
	t.Helper()
	browser, err := Find(named)
	if err != nil || browser == "" {
		t.Fatalf("Chromium is needed: %q, %v", browser, err)
	}
	return New(browser, slog.New(slog.NewTextHandler(t.Output(), nil)))
}

func TestAPageIsPrinted(t *testing.T) {
	pdf, err := printer(t, "").Make(t.Context(), report.Source{Page: []byte(sample)})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "page.pdf")
	if err := os.WriteFile(path, pdf, 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := exec.Command("pdftotext", "-layout", path, "-").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"個人情報の漏えい等", "二枚目", "1 / 2", "2 / 2"} {
		if !strings.Contains(strings.Join(strings.Fields(string(text)), ""), strings.ReplaceAll(want, " ", "")) {
			t.Errorf("the print lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(string(text), "SCRIPTRAN") {
		t.Error("a script ran")
	}
}

func TestNothingIsPrintedWithoutABrowser(t *testing.T) {
	if _, err := Find("/nowhere/chromium"); fault.Of(err) != fault.Invalid {
		t.Errorf("a browser that is not there: %v", err)
	}
	broken := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(broken, []byte("#!/bin/sh\necho no usable sandbox >&2\nexit 21\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(broken), 0o755); err != nil {
		t.Fatal(err)
	}
	p := New(broken, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if _, err := p.Make(t.Context(), report.Source{Page: []byte(sample)}); fault.Of(err) != fault.Invalid || !strings.Contains(err.Error(), "exit status") {
		t.Errorf("a browser that fails: %v", err)
	}
}

func TestTheBrowserKeepsItsSandbox(t *testing.T) {
	seen := filepath.Join(t.TempDir(), "args")
	spy := filepath.Join(t.TempDir(), "spy")
	for _, dir := range []string{filepath.Dir(seen), filepath.Dir(spy), filepath.Dir(filepath.Dir(spy))} {
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(spy, []byte("#!/bin/sh\n(id -u; ulimit -d; echo \"$@\") > "+seen+"\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, _ = New(spy, slog.New(slog.NewTextHandler(t.Output(), nil))).Make(t.Context(), report.Source{Page: []byte(sample)})
	b, err := os.ReadFile(seen)
	if err != nil {
		t.Fatal(err)
	}
	got := string(b)
	if strings.Contains(got, "no-sandbox") || strings.HasPrefix(got, "0\n") || strings.Contains(got, "unlimited") {
		t.Errorf("the browser is run as\n%s", got)
	}
}
