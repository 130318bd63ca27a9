//go:build e2e

package browser

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

type command[P, R any] = cdp.Command[P, R]

// Open opens a path of the hub, or a whole address of it.
func (v *Visitor) Open(path string) {
	v.t.Helper()
	if strings.HasPrefix(path, "/") {
		path = v.Base + path
	}
	v.do("open "+path, chromedp.Navigate(path))
}

// Eval evaluates an expression, or a promise, on the page.
func Eval[T any](v *Visitor, js string) T {
	v.t.Helper()
	out, err := tryEval[T](v, js)
	if err != nil {
		v.t.Fatalf("%.200s: %v", js, err)
	}
	return out
}

func tryEval[T any](v *Visitor, js string) (T, error) {
	ctx, cancel := context.WithTimeout(v.ctx, patience)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[T](js, chromedp.EvalAwaitPromise))
}

// Until waits for a condition of the page. It may be asked while another page
// is loading.
func (v *Visitor) Until(what, js string) {
	v.t.Helper()
	var last error
	for end := time.Now().Add(patience); time.Now().Before(end); {
		holds, err := tryEval[bool](v, js)
		if err == nil && holds {
			return
		}
		last = err
		select {
		case <-v.ctx.Done():
			v.t.Fatal(v.ctx.Err())
		case <-time.After(40 * time.Millisecond):
		}
	}
	v.picture("gave-up.png", v.shot())
	v.t.Fatalf("waited in vain for %s (%v) on %s:\n%s", what, last, v.Location(), v.Text("body"))
}

// Sees waits until an element holds all the words.
func (v *Visitor) Sees(selector string, words ...string) {
	v.t.Helper()
	for _, w := range words {
		v.Until(quote(w)+" in "+selector, "[...document.querySelectorAll("+quote(selector)+")].some(e => e.innerText.includes("+quote(w)+"))")
	}
}

// Text is what a person reads in the first element.
func (v *Visitor) Text(selector string) string {
	v.t.Helper()
	return Eval[string](v, "document.querySelector("+quote(selector)+")?.innerText ?? ''")
}

// Location is the address of the page, without the hub's own.
func (v *Visitor) Location() string {
	v.t.Helper()
	return strings.TrimPrefix(Eval[string](v, "location.href"), v.Base)
}

// Press presses the first element; it must be visible and nothing may lie over it.
func (v *Visitor) Press(selector string) {
	v.t.Helper()
	v.Until(selector+" that can be pressed", `(() => {
		const e = document.querySelector(`+quote(selector)+`);
		if (!e || document.readyState !== "complete") return false;
		e.scrollIntoView({block: "center"});
		const r = e.getClientRects()[0];
		if (!r || r.width === 0) return false;
		const top = document.elementFromPoint(r.x + r.width / 2, r.y + r.height / 2);
		if (!top || !e.contains(top) && !top.contains(e)) return false;
		e.click();
		return true;
	})()`)
}

// Follow presses and waits for the page that comes: its path must contain to.
func (v *Visitor) Follow(selector, to string) {
	v.t.Helper()
	v.Mark()
	v.Press(selector)
	v.Arrive(to)
}

// Mark lets Arrive tell the next page from this one.
func (v *Visitor) Mark() {
	v.t.Helper()
	Eval[bool](v, "document.documentElement.dataset.left = 'yes', true")
}

// Arrive waits until another page than the marked one is loaded whose address
// contains to.
func (v *Visitor) Arrive(to string) {
	v.t.Helper()
	v.Until("the page "+to, `document.readyState === "complete" && !document.documentElement.dataset.left && (location.pathname + location.search).includes(`+quote(to)+`)`)
}

// Fill types into the first element in place of what it holds.
func (v *Visitor) Fill(selector, text string) {
	v.t.Helper()
	v.Until("the field "+selector, `(() => {
		const e = document.querySelector(`+quote(selector)+`);
		if (!e || e.getClientRects().length === 0) return false;
		e.focus();
		e.select?.();
		return document.activeElement === e;
	})()`)
	if text != "" {
		v.must("type", call(v.ctx, input.InsertText, input.InsertTextParams{Text: text}))
	} else {
		v.Key("\b")
	}
	if got := Eval[string](v, "document.querySelector("+quote(selector)+").value"); got != text {
		v.t.Fatalf("%s holds %q after typing %q", selector, got, text)
	}
}

// Set gives a field a value that is not typed: a choice, a date.
func (v *Visitor) Set(selector, value string) {
	v.t.Helper()
	v.Until("the field "+selector, "document.querySelector("+quote(selector)+") !== null")
	if got := Eval[string](v, "(e => (e.value = "+quote(value)+", e.value))(document.querySelector("+quote(selector)+"))"); got != value {
		v.t.Fatalf("%s takes %q, not %q", selector, got, value)
	}
}

// Check ticks a box or chooses a radio button.
func (v *Visitor) Tick(selector string) {
	v.t.Helper()
	v.Press(selector)
	if !Eval[bool](v, "document.querySelector("+quote(selector)+").checked") {
		v.t.Fatalf("%s is not ticked", selector)
	}
}

// Key presses keys of the keyboard.
func (v *Visitor) Key(keys string) {
	v.t.Helper()
	v.do("press keys", chromedp.KeyEvent(keys))
}

// TabTo presses Tab until the focus is on an element of the page that matches.
func (v *Visitor) TabTo(selector string) {
	v.t.Helper()
	const most = 400
	for range most {
		v.Key("\t")
		if Eval[bool](v, "document.activeElement.matches("+quote(selector)+")") {
			return
		}
	}
	v.t.Fatalf("Tab does not reach %s within %d steps", selector, most)
}

// quote writes a string as script does.
func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string can always be written
	}
	return string(b)
}

// Forget empties the browser's cache.
func (v *Visitor) Forget() {
	v.t.Helper()
	v.must("empty the cache", call(v.ctx, network.ClearBrowserCache, cdp.Empty{}))
}

// Type writes text where the focus is, as a keyboard does.
func (v *Visitor) Type(text string) {
	v.t.Helper()
	v.must("type", call(v.ctx, input.InsertText, input.InsertTextParams{Text: text}))
}

// Choose presses the arrow keys in a list of choices that has the focus until
// it has a value.
func (v *Visitor) Choose(value string) {
	v.t.Helper()
	const most = 50
	for _, key := range []string{kb.ArrowDown, kb.ArrowUp} {
		last := ""
		for range most {
			now := Eval[string](v, "document.activeElement.value")
			if now == value {
				return
			}
			if now == last { // its end
				break
			}
			last = now
			v.Key(key)
		}
	}
	v.t.Fatalf("the arrow keys do not lead to %q in %s", value, Eval[string](v, "document.activeElement.outerHTML.slice(0, 500)"))
}

// Focused checks that a person sees where the focus is: the element lies in the
// window, has a ring, and nothing lies over it.
func (v *Visitor) Focused(what string) {
	v.t.Helper()
	v.Until("the focus to be seen on "+what, `(() => {
		const e = document.activeElement;
		const r = e.getClientRects()[0];
		if (!r || r.width === 0 || r.bottom < 0 || r.top > innerHeight) return false;
		const s = getComputedStyle(e);
		if (s.outlineStyle === "none" || parseFloat(s.outlineWidth) < 2) return false;
		const top = document.elementFromPoint(Math.min(Math.max(r.x + r.width / 2, 0), innerWidth - 1), Math.min(Math.max(r.y + r.height / 2, 0), innerHeight - 1));
		return !!top && (e.contains(top) || top.contains(e) || !!e.labels && [...e.labels].some(l => l.contains(top)));
	})()`)
}
