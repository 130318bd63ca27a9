//go:build e2e

package browser

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// Look checks what must hold on every page, at both widths, and keeps pictures.
func (v *Visitor) Look(name string) {
	v.t.Helper()
	v.Until("loaded page", `document.readyState === "complete"`)
	Eval[bool](v, "document.fonts.ready.then(() => true)")
	v.accessible(name)
	v.words(name)
	for _, width := range []int64{Desktop, Tablet} {
		if width != Desktop {
			v.Width(width)
		}
		v.fits(name, width)
		if v.b.shots != "" {
			v.picture(fmt.Sprintf("%s-%d.png", name, width), v.shot())
		}
	}
	v.Width(Desktop)
}

// LookPaper is Look for a document that allows no script: what needs script is
// asked of a copy in a window of its own. A document holds ids and digests, and
// the names of things as they were registered: own.
func (v *Visitor) LookPaper(name string, own ...string) {
	v.t.Helper()
	v.Until("loaded document", `document.readyState === "complete"`)
	for _, width := range []int64{Tablet, Desktop} {
		v.Width(width)
		v.fits(name, width)
		if v.b.shots != "" {
			v.picture(fmt.Sprintf("%s-%d.png", name, width), v.shot())
		}
	}
	c := v.b.Visitor(v.t, Options{Base: v.Base, Lang: v.Lang, Pictures: v.Pictures, Own: slices.Concat(v.Own, own)})
	frame := c.frame()
	c.must("copy a document", call(c.ctx, page.SetDocumentContent, page.SetDocumentContentParams{FrameID: frame, HTML: Eval[string](v, "document.documentElement.outerHTML")}))
	c.accessible(name)
	c.words(name, "an id")
}

func (v *Visitor) frame() cdp.FrameID {
	v.t.Helper()
	tree, err := chromedp.Call(v.ctx, page.GetFrameTree, cdp.Empty{})
	v.must("find the frame", err)
	return tree.FrameTree.Frame.ID
}

// accessible asks axe for violations of WCAG 2.0–2.2 A and AA and of what it
// calls best practice.
func (v *Visitor) accessible(name string) {
	v.t.Helper()
	found := Eval[string](v, v.b.axe+`; axe.run(document, {runOnly: ["wcag2a","wcag2aa","wcag21a","wcag21aa","wcag22aa","best-practice"]}).then(r => JSON.stringify(r.violations))`)
	var list []struct {
		ID, Help string
		Nodes    []struct{ HTML, FailureSummary string }
	}
	v.must("read what axe found", json.Unmarshal([]byte(found), &list))
	for _, x := range list {
		for _, n := range x.Nodes[:min(len(x.Nodes), 3)] {
			v.t.Errorf("%s: %s (%s): %s\n%s", name, x.ID, x.Help, n.HTML, n.FailureSummary)
		}
	}
}

// words looks for what no reader understands: keys without words, ids, values
// of the program, another language.
func (v *Visitor) words(name string, except ...string) {
	v.t.Helper()
	own, err := json.Marshal(v.Own)
	v.must("list people's text", err)
	for what, js := range map[string]string{
		"a key without words":  `document.documentElement.outerHTML.match(/⟦[^⟧]*⟧/g)`,
		"a value of a program": `strangers(/\b(undefined|null|nil|NaN|true|false|0001-01-01\S*|\d+h\d+m\d+s|\d+(\.\d+)?(ms|µs|ns))\b|%!\w/g)`,
		"an id":                `strangers(/\b(?=[0-9a-z-]*[0-9])(?=[0-9a-z-]*[a-z])[0-9a-z-]{16,}\b|\b[0-9A-HJKMNP-TV-Z]{20,}\b/g)`,
		"a key":                `strangers(/\b[a-z]+(-[a-z]+)*(\.[a-z]+(-[a-z]+)*){2,}\b|\b(bag|leaf|action|alert|incident|duty|evidence|report|field|fault)\.[a-z-]+\b/g)`,
		"another language":     `document.documentElement.lang === "en" ? strangers(/[\u3040-\u30ff\u3400-\u9fff\uff01-\uff60]+/g) : null`,
	} {
		if slices.Contains(except, what) {
			continue
		}
		if got := Eval[[]string](v, fmt.Sprintf("(%s)(%s, () => %s)", readable, own, strings.ReplaceAll(js, "strangers(", "window.sonaeStrangers("))); len(got) > 0 {
			v.t.Errorf("%s shows %s: %q", name, what, slices.Compact(slices.Sorted(slices.Values(got))))
		}
	}
}

// readable finds a pattern in what is visible on the page, outside of code,
// of fields that hold text, and of text that says its own language, without people's own text.
const readable = `(own, find) => {
	const lang = document.documentElement.lang;
	const texts = [];
	const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	for (let n = walk.nextNode(); n; n = walk.nextNode()) {
		const e = n.parentElement;
		if (e.closest("code, pre, kbd, script, style, textarea, .mono") || e.closest("[lang]").lang !== lang) continue;
		if (!e.checkVisibility({visibilityProperty: true}) && !e.closest("details")) continue;
		texts.push(n.data);
	}
	for (const e of document.querySelectorAll("[aria-label], [placeholder], [title], [alt]"))
		if (!e.closest("code")) texts.push(...["aria-label", "placeholder", "title", "alt"].map(a => e.getAttribute(a) ?? ""));
	let all = [document.title, ...texts].join("\n");
	for (const o of own ?? []) all = all.split(o).join(" ");
	window.sonaeStrangers = pattern => all.match(pattern);
	return find() ?? [];
}`

// fits checks that the page needs no scrolling sideways and that everything
// pressable is large enough (WCAG 2.2, 2.5.8); links inside a sentence are exempt.
func (v *Visitor) fits(name string, width int64) {
	v.t.Helper()
	if wide := Eval[int](v, "document.documentElement.scrollWidth - document.documentElement.clientWidth"); wide > 0 {
		v.t.Errorf("%s is %d px wider than %d px: %s", name, wide, width, Eval[string](v, `[...document.querySelectorAll("body *")].filter(e =>
			e.getBoundingClientRect().right > document.documentElement.clientWidth && !e.closest(".wide, pre")).map(e => e.outerHTML.slice(0, 100)).slice(0, 5).join(" | ")`))
	}
	if small := Eval[string](v, `[...document.querySelectorAll("a,button,input:not([type=hidden]),select,textarea,summary")].filter(e => {
			if (e.closest("p,li,dd,td,ol") && e.tagName === "A" && !e.classList.contains("button")) return false;
			if (e.closest("label")) e = e.closest("label");
			const r = e.getBoundingClientRect();
			return r.width > 0 && !e.matches(".skip") && (r.width < 24 || r.height < 24);
		}).map(e => e.outerHTML.slice(0, 80)).join(" | ")`); small != "" {
		v.t.Errorf("%s has targets below 24 px at %d px: %s", name, width, small)
	}
}

// shot is a picture of the whole page, or of the part that clip names.
func (v *Visitor) shot(clip ...*page.Viewport) []byte {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.ctx, patience)
	defer cancel()
	// A window behind another one may not be drawn at all.
	v.must("bring the window to the front", call(ctx, page.BringToFront, cdp.Empty{}))
	whole := true
	p := page.CaptureScreenshotParams{Format: page.CaptureScreenshotFormatPng, CaptureBeyondViewport: &whole}
	if len(clip) > 0 {
		p.Clip = clip[0]
	}
	r, err := chromedp.Call(ctx, page.CaptureScreenshot, p)
	v.must("take a picture", err)
	return r.Data
}

// Picture keeps the upper part of the page under a name of its own.
func (v *Visitor) Picture(name string, width, height int64) {
	v.t.Helper()
	if v.b.shots == "" {
		return
	}
	v.Width(width)
	png := v.shot(&page.Viewport{Width: float64(width), Height: float64(height), Scale: 1})
	v.must("save a picture", os.WriteFile(filepath.Join(v.b.shots, name), png, 0o644))
	v.Width(Desktop)
}

// Print prints the page as the person's browser would and returns the text of
// the paper. Characters that the fonts do not have are errors.
func (v *Visitor) Print(name string) string {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.ctx, patience)
	defer cancel()
	pdf, err := chromedp.Run(ctx, chromedp.PrintToPDF(chromedp.PDFPreferCSSPageSize()))
	v.must("print", err)
	v.picture(name+".pdf", pdf)
	text := v.pdf("pdftotext", pdf, "-layout", "-", "-")
	if strings.ContainsRune(text, '\uFFFD') {
		v.t.Errorf("the printed %s has characters without a glyph", name)
	}
	for _, line := range strings.Split(v.pdf("pdffonts", pdf, "-"), "\n")[2:] {
		// name, type, encoding, emb, sub, uni, object: a glyph of the reader's own font may be missing there
		if f := strings.Fields(line); len(f) > 5 && f[len(f)-5] != "yes" {
			v.t.Errorf("the printed %s has a font that is not in it: %s", name, line)
		}
	}
	return text
}

// pdf runs a tool of poppler on a document.
func (v *Visitor) pdf(tool string, pdf []byte, args ...string) string {
	v.t.Helper()
	cmd := exec.Command(tool, args...)
	cmd.Stdin = bytes.NewReader(pdf)
	out, err := cmd.Output()
	v.must(tool, err)
	return string(out)
}

// traffic is what the browser did beside showing pages.
type traffic struct {
	base string

	mu       sync.Mutex
	requests int
	foreign  []string
	reports  int
	errors   []string
	expected []string // parts of messages that the visitor provoked
}

func (n *traffic) note(ev any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch e := ev.(type) {
	case *network.EventRequestWillBeSent:
		n.requests++
		if u := e.Request.URL; !strings.HasPrefix(u, n.base+"/") && !strings.HasPrefix(u, "data:") {
			n.foreign = append(n.foreign, u)
		} else if u == n.base+"/csp" {
			n.reports++
		}
	case *runtime.EventExceptionThrown:
		n.errors = append(n.errors, fmt.Sprint("exception: ", e.ExceptionDetails.Text, " ", e.ExceptionDetails.URL, ":", e.ExceptionDetails.LineNumber))
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning || e.Type == runtime.ConsoleAPICalledTypeAssert {
			var words []string
			for _, a := range e.Args {
				words = append(words, string(a.Value)+a.Description)
			}
			n.errors = append(n.errors, "console: "+strings.Join(words, " "))
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			n.errors = append(n.errors, fmt.Sprint("log: ", e.Entry.Text, " ", e.Entry.URL))
		}
	}
}

// Expect allows messages of the browser that contain part: what the visitor
// provokes on purpose, such as a refused form.
func (v *Visitor) Expect(part string) {
	v.seen.mu.Lock()
	defer v.seen.mu.Unlock()
	v.seen.expected = append(v.seen.expected, part)
}

// Done checks what must hold over the whole visit: no request to anybody else,
// no refused content, no error in the console.
func (v *Visitor) Done() {
	v.t.Helper()
	n := &v.seen
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.requests == 0 {
		v.t.Error("no request was seen: the check of requests says nothing")
	}
	if len(n.foreign) > 0 {
		v.t.Errorf("%d of %d requests left the hub: %q", len(n.foreign), n.requests, n.foreign)
	}
	if n.reports > 0 {
		v.t.Errorf("the browser reported %d violations of the content security policy", n.reports)
	}
	for _, e := range n.errors {
		if !slices.ContainsFunc(n.expected, func(part string) bool { return strings.Contains(e, part) }) {
			v.t.Errorf("the browser says: %s", e)
		}
	}
	v.t.Logf("%d requests, none to another host", n.requests-len(n.foreign))
}
