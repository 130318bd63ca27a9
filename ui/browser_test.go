//go:build e2e

package ui

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/incident"
)

// These tests look at the built pages with a real browser: go test -tags e2e
// ./ui after ui/web/build.sh. They need Chromium and fonts for Japanese.

var onlyPages = flag.String("pages", "", "look only at pages whose name begins so")

var shots = flag.String("shots", "", "folder for screenshots and printed pages, for people to look at")

// site is a house with built pages, and a window of a browser before it.
type site struct {
	t      *testing.T
	h      *house
	live   *Live
	srv    *httptest.Server
	ctx    context.Context
	axe    string
	errors *complaints // of the pages in all windows
}

// complaints are exceptions of the pages' script.
type complaints struct {
	mu  sync.Mutex
	all []string
}

func (e *complaints) note(ev any) {
	if x, ok := ev.(*runtime.EventExceptionThrown); ok {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.all = append(e.all, fmt.Sprint(x.ExceptionDetails.Text, " ", x.ExceptionDetails.URL, ":", x.ExceptionDetails.LineNumber))
	}
}

func browse(t *testing.T, h *house) *site {
	t.Helper()
	a, err := readAssets(dist, "web/dist")
	if err != nil {
		t.Fatal(err)
	}
	if a.present.Script == "" || a.present.Style == "" {
		t.Fatal("the pages are not built: run ui/web/build.sh")
	}
	axe, err := os.ReadFile("web/node_modules/axe-core/axe.min.js")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, h: h, live: NewLive(), axe: string(axe), errors: &complaints{}}
	s.srv = httptest.NewServer(handler(h.deps(s.live, slog.New(slog.NewTextHandler(t.Output(), nil))), a))
	t.Cleanup(func() { s.live.Close(); s.srv.Close() })

	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-sync", true), chromedp.UserDataDir(t.TempDir()))
	alloc, stop := chromedp.NewExecAllocator(t.Context(), opts...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(cancel)
	s.ctx = ctx
	// The browser lives as long as the context of its first use: no time limit here.
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(1280, 900)); err != nil {
		t.Fatalf("open the browser: %v", err)
	}
	if err := chromedp.Listen(ctx, s.errors.note); err != nil {
		t.Fatal(err)
	}
	return s
}

// window opens a window of the same browser, which shares nothing with others,
// for a part of the test.
func (s *site) window(t *testing.T) *site {
	t.Helper()
	ctx, cancel := chromedp.NewContext(s.ctx, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	w := *s
	w.t, w.ctx = t, ctx
	if err := chromedp.Listen(ctx, s.errors.note); err != nil {
		t.Fatal(err)
	}
	return &w
}

func (s *site) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, 60*time.Second)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		s.t.Fatalf("%s: %v", what, err)
	}
}

func eval[T any](s *site, js string) T {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, 60*time.Second)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](js, chromedp.EvalAwaitPromise))
	if err != nil {
		s.t.Fatalf("%s: %v", js, err)
	}
	return v
}

// until waits for a condition of the page.
func (s *site) until(what, js string) {
	s.t.Helper()
	limit := time.Now().Add(40 * time.Second)
	for !eval[bool](s, js) {
		if time.Now().After(limit) {
			s.t.Fatalf("no %s: %s", what, eval[string](s, "document.body.innerText.slice(0, 2000)"))
		}
		select {
		case <-s.ctx.Done():
			s.t.Fatal(s.ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (s *site) login(who string) {
	s.t.Helper()
	s.do("log out", chromedp.Navigate(s.srv.URL+"/login"))
	s.do("log in as "+who, chromedp.SetValue("#f-login", who), chromedp.SetValue("#f-password", "correct horse battery"), chromedp.Submit("#f-login"))
	s.until("Now page", "location.pathname === '/' && document.readyState === 'complete'")
}

// look opens a page and checks what holds for every page.
func (s *site) look(path string) {
	s.t.Helper()
	s.open(path)
	s.check(path)
}

func (s *site) open(path string) {
	s.t.Helper()
	s.do("open "+path, chromedp.Navigate(s.srv.URL+path))
	eval[bool](s, "document.fonts.ready.then(() => true)")
}

func (s *site) check(path string) {
	s.t.Helper()
	type violation struct {
		ID, Help string
		Nodes    []struct {
			HTML           string
			FailureSummary string
		}
	}
	if !eval[bool](s, "typeof axe === 'object'") {
		eval[bool](s, s.axe+"; true")
	}
	found := eval[string](s, `axe.run(document, {runOnly: ["wcag2a","wcag2aa","wcag21a","wcag21aa","wcag22aa","best-practice"], resultTypes: ["violations"]}).then(r => JSON.stringify(r.violations))`)
	var list []violation
	if err := json.Unmarshal([]byte(found), &list); err != nil {
		s.t.Fatalf("axe on %s: %v", path, err)
	}
	for _, v := range list {
		for _, n := range v.Nodes[:min(len(v.Nodes), 3)] {
			s.t.Errorf("%s: %s (%s): %s\n%s", path, v.ID, v.Help, n.HTML, n.FailureSummary)
		}
	}
	if words := eval[bool](s, "document.documentElement.outerHTML.includes('⟦')"); words {
		s.t.Errorf("%s shows an unknown key", path)
	}
	if off := eval[string](s, "performance.getEntriesByType('resource').map(e => e.name).filter(n => !n.startsWith(location.origin) && !n.startsWith('data:')).join()"); off != "" {
		s.t.Errorf("%s asks others: %s", path, off)
	}
	if wide := eval[int](s, "document.documentElement.scrollWidth - document.documentElement.clientWidth"); wide > 0 {
		s.t.Errorf("%s is %d px wider than the window", path, wide)
	}
	if small := eval[string](s, smallTargets); small != "" {
		s.t.Errorf("%s has targets below 24 px: %s", path, small)
	}
}

// smallTargets names what can be pressed and is smaller than WCAG 2.2 asks;
// links inside a sentence are exempt.
const smallTargets = `[...document.querySelectorAll('a,button,input:not([type=hidden]),select,textarea,summary')].filter(e => {
	if (e.closest('p,li,dd,td,ol') && e.tagName === 'A' && !e.classList.contains('button')) return false;
	if (e.closest('label')) e = e.closest('label');
	const r = e.getBoundingClientRect();
	if (getComputedStyle(e).pointerEvents === 'none') return false;
	return r.width > 0 && !e.matches('.skip') && (r.width < 24 || r.height < 24);
}).map(e => e.outerHTML.slice(0, 80)).join(' | ')`

// save keeps a picture of the page for people.
func (s *site) save(name string) {
	s.t.Helper()
	if *shots == "" {
		return
	}
	ctx, cancel := context.WithTimeout(s.ctx, 60*time.Second)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		s.t.Fatal(err)
	}
	s.file(name+".png", png)
}

func (s *site) print(name string) []byte {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, 60*time.Second)
	defer cancel()
	pdf, err := chromedp.Run(ctx, chromedp.PrintToPDF())
	if err != nil {
		s.t.Fatal(err)
	}
	if *shots != "" {
		s.file(name+".pdf", pdf)
	}
	return pdf
}

func (s *site) file(name string, b []byte) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(*shots, name), b, 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// end checks what must hold over the whole visit.
func (s *site) end() {
	s.t.Helper()
	s.errors.mu.Lock()
	defer s.errors.mu.Unlock()
	for _, e := range s.errors.all {
		s.t.Errorf("script: %s", e)
	}
	v := visit(s.t, s.srv.URL, s.srv.Client())
	if page := v.as("auditor").get("/audit?lang=en").body; !strings.Contains(page, "Content that browsers refused: 0") {
		s.t.Error("the browser reported violations of the content security policy")
	}
}

// TestEveryPageInABrowser looks at every page in both languages at once, each
// in a window of its own.
func TestEveryPageInABrowser(t *testing.T) {
	s := browse(t, newHouse().inCourse().withEvents(t, wires()))
	t.Run("pages", func(t *testing.T) {
		for _, lang := range []string{"ja", "en"} {
			t.Run(lang, func(t *testing.T) {
				t.Parallel()
				s.window(t).everyPage(lang)
			})
		}
	})
	s.end()
}

// everyPage looks at every page at both widths, and once at its print.
func (s *site) everyPage(lang string) {
	s.t.Helper()
	who := "none yet"
	for _, p := range pages {
		if !strings.HasPrefix(p.name, *onlyPages) {
			continue
		}
		if p.who != who {
			if who = p.who; who != "" {
				s.login(who)
			}
		}
		sep := "?"
		if strings.Contains(p.path, "?") {
			sep = "&"
		}
		path := s.h.at(p.path) + sep + "lang=" + lang
		for i, width := range []int64{1280, 820} {
			s.do("size", chromedp.EmulateViewport(width, 1000))
			if i == 0 {
				s.open(path)
			}
			s.check(fmt.Sprintf("%s, %d wide", path, width))
			s.save(fmt.Sprintf("%s.%s.%d", p.name, lang, width))
		}
		if lang == "en" { // the longer words
			if pdf := s.print(p.name); len(pdf) < 1000 {
				s.t.Errorf("%s prints %d bytes", p.name, len(pdf))
			}
		}
	}
}

func TestRoomIsLiveAndUsableByKeyboard(t *testing.T) {
	s := browse(t, newHouse().inCourse())
	s.login("responder")
	s.look("/incidents/in-1?lang=ja")
	s.do("first Tab", chromedp.KeyEvent("\t"))
	if got := eval[string](s, "document.activeElement.className"); got != "skip" {
		t.Errorf("the first Tab stop is %q, want the link to the content", got)
	}
	s.until("fresh", "document.getElementById('connection').dataset.now === 'fresh'")

	if _, err := (incidentsOf{s.h}).Write(t.Context(), "in-1", incident.NewEntry{Text: "電話で確認した", Source: "phone", Certainty: incident.Fact}, auth.Person{ID: "pe-approver"}); err != nil {
		t.Fatal(err)
	}
	s.live.Notify("incident.entry", "")
	s.until("new entry through the stream", "document.querySelector('#room-entries').innerText.includes('電話で確認した')")

	eval[bool](s, "document.activeElement.blur(), document.body.dispatchEvent(new KeyboardEvent('keydown', {key: '/', bubbles: true, cancelable: true}))")
	if got := eval[string](s, "document.activeElement.id"); got != "f-text" {
		t.Errorf("/ leads to %q", got)
	}
	s.do("type", chromedp.SendKeys("#f-text", "一行で書いた\r"))
	s.until("entry written", "document.querySelector('#room-entries') !== null && document.querySelector('#f-text').value === ''")
	s.live.Notify("incident.entry", "")
	s.until("own entry", "document.querySelector('#room-entries').innerText.includes('一行で書いた')")
	if got := eval[string](s, "location.search"); got != "?lang=ja" {
		t.Errorf("the page was left: %s", got)
	}
	s.check("room after live changes")
	s.end()
}

func TestPageSaysThatTheHubIsGone(t *testing.T) {
	s := browse(t, newHouse().inCourse())
	s.login("responder")
	s.look("/incidents/in-1?lang=ja")
	s.until("fresh", "document.getElementById('connection').dataset.now === 'fresh'")
	s.live.Close()
	s.srv.CloseClientConnections()
	if err := s.srv.Listener.Close(); err != nil {
		t.Fatal(err)
	}
	s.until("stale", "document.getElementById('connection').dataset.now === 'stale'")
	got := eval[string](s, "document.getElementById('connection').innerText")
	if !strings.Contains(got, "サーバーとの接続が切れています") || !strings.Contains(got, "14:05") {
		t.Errorf("the page says %q", got)
	}
	s.save("stale")
}

func TestEndedSessionAsksToReload(t *testing.T) {
	s := browse(t, newHouse().inCourse())
	s.login("responder")
	s.look("/alerts/al-1?lang=ja")
	s.until("fresh", "document.getElementById('connection').dataset.now === 'fresh'")
	if err := (peopleOf{s.h}).Disable(t.Context(), "pe-responder", auth.Person{}); err != nil {
		t.Fatal(err)
	}
	s.live.Notify("alert", "")
	s.until("gone", "document.getElementById('connection').dataset.now === 'gone'")
}
