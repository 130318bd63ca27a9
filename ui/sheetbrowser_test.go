//go:build e2e

package ui

import (
	"bytes"
	"context"
	"fmt"
	"image"
	_ "image/png"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/report/sheet"
)

// crowd fills the house until every list of the sheet is cut, with a system in
// each state.
func (h *house) crowd() *house {
	h.cases[0].Severity, h.cases[0].Commander = event.Critical, "pe-responder"
	long := strings.Repeat("とても長い名前の", 4)
	for i := range 9 {
		site := asset.Site{ID: fmt.Sprintf("site-%d", i), Name: long + fmt.Sprint(i), Kind: asset.Office}
		h.siteList = append(h.siteList, site)
		for j := range 60 {
			id := fmt.Sprintf("ho-%d-%d", i, j)
			h.hostList = append(h.hostList, asset.Host{ID: id, Name: id, Site: site.ID, LastSeen: start, Services: []asset.Service{{Name: fmt.Sprintf("%sシステム %d", long, j%20), Effect: long, Load: long}}})
			state := []action.State{action.Verified, action.Releasing, ""}[i%3]
			if state != "" && (j%20 < 5 || j == 19) {
				h.acts = append(h.acts, action.Action{ID: "x" + id, Kind: action.Isolate, State: state, Incident: "in-1", Host: id, Site: site.ID})
			}
		}
	}
	h.cases[0].Scope.Sites = []string{"site-0", "site-1", "site-2"}
	for i := range 12 {
		h.hands = append(h.hands, sheet.Hand{System: fmt.Sprintf("%sシステム %d", long, i%20), Site: fmt.Sprintf("site-%d", i%3), State: sheet.States()[i%4], Why: long + long, At: start.Add(-time.Duration(i) * time.Minute), By: "pe-responder"})
	}
	for i := range 8 {
		h.acts = append(h.acts, action.Action{ID: fmt.Sprint("wait-", i), Kind: action.Isolate, State: action.Requested, Incident: "in-1", Host: "ho-0-1", Site: "site-0", Reason: long, RequestedBy: "pe-responder", RequestedAt: start.Add(time.Duration(i) * time.Minute),
			Consequences: []action.Consequence{{Service: long, Effect: long + long, Load: long}, {Service: "別の" + long, Effect: long, Load: long}, {Service: "三つ目", Effect: long}}})
	}
	a := h.duties["in-1"]
	a.Facts.Personal, a.Facts.MyNumber, a.Facts.Sensitive, a.Facts.Confirmed, a.Facts.Maximum = duty.Yes, duty.Yes, duty.Yes, 162_828, 8_514_093
	a.Facts.Items.DataKind = strings.Repeat("氏名・住所・病名・", 20)
	for i := range 12 {
		a.Clocks = append(a.Clocks, duty.Clock{Regime: "mynumber_29_4", Kind: "final_alternative", Due: start.Add(time.Duration(i-2) * 401 * time.Hour), Applies: duty.Yes})
	}
	h.duties["in-1"] = a
	return h
}

// bare is an incident of which nothing is known, in a house without machines.
func bare() *house {
	h := newHouse()
	h.alertList, h.hostList = nil, nil
	h.cases = []incident.Incident{{ID: "in-1", No: 1, Title: "調査", State: incident.Opened, Severity: event.Low, OpenedAt: start}}
	return h
}

// a3 prints the page that is open, and checks that it is one page of A3.
func (s *site) a3(name string) (pdf string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, 60*time.Second)
	defer cancel()
	b, err := chromedp.Run(ctx, chromedp.PrintToPDF(chromedp.PDFPreferCSSPageSize()))
	if err != nil {
		s.t.Fatal(err)
	}
	if *shots != "" {
		s.file(name+".pdf", b)
	}
	pdf = filepath.Join(s.t.TempDir(), "sheet.pdf")
	if err := os.WriteFile(pdf, b, 0o600); err != nil {
		s.t.Fatal(err)
	}
	info := tool(s.t, "pdfinfo", pdf)
	if !regexp.MustCompile(`(?m)^Pages:\s+1$`).MatchString(info) {
		s.t.Errorf("%s is not one page:\n%s", name, info)
	}
	m := regexp.MustCompile(`Page size:\s+([\d.]+) x ([\d.]+) pts`).FindStringSubmatch(info)
	if m == nil {
		s.t.Fatalf("%s: %s", name, info)
	}
	for i, want := range []float64{420, 297} { // millimetres
		if got, err := strconv.ParseFloat(m[i+1], 64); err != nil || math.Abs(got/72*25.4-want) > 1 {
			s.t.Errorf("%s is %s × %s points, not A3 landscape", name, m[1], m[2])
		}
	}
	return pdf
}

func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
	return string(out)
}

// grey is a printed page as a black-and-white printer sees it.
func grey(t *testing.T, pdf string) image.Image {
	t.Helper()
	out := filepath.Join(t.TempDir(), "grey")
	tool(t, "pdftoppm", "-r", "144", "-gray", "-png", "-singlefile", pdf, out)
	b, err := os.ReadFile(out + ".png")
	if err != nil {
		t.Fatal(err)
	}
	img, _, err := image.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// word is where a word stands, in points.
type word struct {
	text                   string
	left, top, right, foot float64
}

func words(t *testing.T, pdf string) (all []word) {
	t.Helper()
	for _, m := range regexp.MustCompile(`<word xMin="([\d.]+)" yMin="([\d.]+)" xMax="([\d.]+)" yMax="([\d.]+)">([^<]*)</word>`).FindAllStringSubmatch(tool(t, "pdftotext", "-bbox", pdf, "-"), -1) {
		w := word{text: m[5]}
		for i, to := range []*float64{&w.left, &w.top, &w.right, &w.foot} {
			*to, _ = strconv.ParseFloat(m[i+1], 64)
		}
		all = append(all, w)
	}
	return all
}

// contrast is that of the lightest and the darkest point of a word, as WCAG
// counts it.
func contrast(img image.Image, w word) float64 {
	lightest, darkest := 0.0, 1.0
	for y := int(w.top * 2); y < int(w.foot*2); y++ { // 144 dpi: two pixels a point
		for x := int(w.left * 2); x < int(w.right*2); x++ {
			v, _, _, _ := img.At(x, y).RGBA()
			l := luminance(float64(v) / 0xffff)
			lightest, darkest = max(lightest, l), min(darkest, l)
		}
	}
	return (lightest + .05) / (darkest + .05)
}

func luminance(v float64) float64 {
	if v <= 0.04045 {
		return v / 12.92
	}
	return math.Pow((v+0.055)/1.055, 2.4)
}

// cutOff names parts of the sheet that stand outside it or over each other.
const cutOff = `(() => {
	const sheet = document.querySelector('.sheet-a3'), out = [];
	const foot = sheet.querySelector('.sheet-foot').getBoundingClientRect();
	for (const col of sheet.querySelectorAll('.sheet-col')) for (const e of col.children) {
		if (e.matches('.sheet-lines')) continue;
		const r = e.getBoundingClientRect();
		if (r.height > 0 && r.bottom > foot.top + 1) out.push(e.className + ' ' + e.textContent.trim().slice(0, 30));
	}
	for (const e of sheet.querySelectorAll('td, th, dd, .sheet-left, .sheet-level')) if (e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).textOverflow !== 'ellipsis') out.push(e.textContent.trim().slice(0, 30) + ' is too wide');
	return out.join(' | ');
})()`

// TestSheetIsOnePageOfA3 prints the sheet with nothing, something and very much
// on it, from the file for paper and from the live page.
func TestSheetIsOnePageOfA3(t *testing.T) {
	for name, h := range map[string]*house{"bare": bare(), "usual": newHouse().inCourse(), "crowded": newHouse().inCourse().crowd()} {
		t.Run(name, func(t *testing.T) {
			s := browse(t, h)
			s.login("approver")
			for _, lang := range []string{"ja", "en"} {
				s.do("size", chromedp.EmulateViewport(1920, 1080))
				s.look("/incidents/in-1/sheet?wall=1&lang=" + lang)
				s.save("sheet-" + name + "." + lang + ".wall")
				if left := eval[string](s, cutOff); left != "" {
					t.Errorf("%s on the wall: %s", lang, left)
				}
				s.a3("sheet-" + name + "." + lang + ".live")
				s.do("paper", chromedp.Navigate(s.srv.URL+"/incidents/in-1/sheet/paper?lang="+lang))
				s.paper(name, lang)
			}
			s.end()
		})
	}
}

// paper checks the file for paper that is open.
func (s *site) paper(name, lang string) {
	s.t.Helper()
	if left := eval[string](s, cutOff); left != "" {
		s.t.Errorf("%s.%s on paper: %s", name, lang, left)
	}
	pdf := s.a3("sheet-" + name + "." + lang + ".paper")
	img, all := grey(s.t, pdf), words(s.t, pdf)
	if len(all) < 40 {
		s.t.Fatalf("%s.%s has only %d words", name, lang, len(all))
	}
	text := ""
	for _, w := range all {
		text += w.text
		if c := contrast(img, w); c < 4.5 {
			s.t.Errorf("%s.%s: %q has a contrast of %.1f in grey", name, lang, w.text, c)
		}
	}
	marks := map[string][]string{"ja": {"○", "稼働中", "△", "縮退", "×", "停止", "↑", "再起動中", "署名"}, "en": {"○", "Running", "△", "Degraded", "×", "Stopped", "↑", "Restarting", "Signed"}}
	for _, mark := range marks[lang] {
		if name == "crowded" && !strings.Contains(text, mark) {
			s.t.Errorf("%s.%s does not say %q", name, lang, mark)
		}
	}
}
