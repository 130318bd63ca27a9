//go:build e2e

package ui

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/sonae/sonae/archive"
)

// TestSearchPagesOnAPhone looks at what else than the other pages is made for
// narrow windows too.
func TestSearchPagesOnAPhone(t *testing.T) {
	s := browse(t, newHouse().inCourse().withEvents(t))
	s.login("responder")
	s.do("size", chromedp.EmulateViewport(390, 844))
	for _, p := range pages {
		if p.who != "responder" || !strings.HasPrefix(p.name, "search") && !strings.HasPrefix(p.name, "entity") && !strings.HasPrefix(p.name, "rule") {
			continue
		}
		sep := "?"
		if strings.Contains(p.path, "?") {
			sep = "&"
		}
		s.look(p.path + sep + "lang=ja")
		s.save(p.name + ".ja.390")
	}
	s.end()
}

func TestSearchByKeyboardWithScript(t *testing.T) {
	s := browse(t, newHouse().inCourse().withEvents(t))
	s.login("responder")
	s.look("/search?lang=ja")

	// a name of a field, then one of its values
	s.do("focus", chromedp.Focus("#f-q"))
	s.do("type", chromedp.SendKeys("#f-q", "network_app"))
	s.until("suggested field", "!document.getElementById('suggestions').hidden && document.getElementById('suggestions').innerText.includes('network_application:')")
	s.do("choose it", chromedp.KeyEvent(kb.ArrowDown))
	s.until("one chosen", "!!document.querySelector('#suggestions [aria-selected=true]')")
	s.do("take it", chromedp.KeyEvent(kb.Tab)) // chromedp sends the character of Enter even when the press was handled
	s.until("suggested values", "document.querySelector('#f-q').value === 'network_application:' && [...document.querySelectorAll('#suggestions [role=option]')].some(o => o.innerText.includes('bittorrent'))")
	s.check("search with suggestions")
	s.save("journey-suggest")
	s.do("type on", chromedp.SendKeys("#f-q", "bit"))
	s.until("one value left", "document.querySelectorAll('#suggestions [role=option]').length === 1")
	s.do("choose it", chromedp.KeyEvent(kb.ArrowDown))
	s.until("one chosen", "!!document.querySelector('#suggestions [aria-selected=true]')")
	s.do("take it", chromedp.KeyEvent(kb.Tab)) // chromedp sends the character of Enter even when the press was handled
	s.until("written", "document.querySelector('#f-q').value === 'network_application:bittorrent '")
	s.do("search", chromedp.KeyEvent("\r"))
	s.until("results", "document.querySelectorAll('#search-results td.what a').length === 24")

	// the list by keyboard, an event beside it
	eval[bool](s, "document.activeElement.blur(), true")
	s.do("down", chromedp.KeyEvent("j"), chromedp.KeyEvent("j"))
	s.do("open", chromedp.KeyEvent("\r"))
	s.until("the event beside", "document.querySelector('#search-side #h-event') !== null")
	if got := eval[string](s, "document.activeElement.id"); got != "h-event" {
		t.Errorf("the focus is on %q", got)
	}
	if got := eval[string](s, "location.pathname"); got != "/search" {
		t.Errorf("the page was left for %s", got)
	}
	s.check("search with an event")
	s.save("journey-event")
	s.do("back", chromedp.KeyEvent(kb.Escape))
	s.until("the list again", "document.activeElement.closest('#search-results') !== null")

	// the values of a field
	eval[bool](s, "[...document.querySelectorAll('.chips a')].find(a => a.href.includes('field=DestinationIp')).click(), true")
	s.until("values beside", "document.querySelector('#search-side .field-detail') !== null")
	s.check("search with a field")
	s.save("journey-field")

	// events become evidence
	eval[bool](s, "[...document.querySelectorAll('input[name=event]')].slice(0, 2).forEach(b => b.click()), document.querySelector('#take-box').open = true")
	s.until("count", "document.querySelector('#take-box summary').innerText.includes('2件')")
	s.check("search with chosen events")
	s.do("why", chromedp.SendKeys("#f-purpose", "外部への送信"), chromedp.Submit("#f-purpose"))
	s.until("bag", "location.pathname.startsWith('/evidence/') && document.body?.innerText.includes('外部への送信')")
	s.check("bag of events")
	s.save("journey-bag")
	s.end()
}

// slow is an archive whose search waits for the test before it ends.
type slow struct {
	Archive
	more    chan struct{} // closed: the search may end
	stopped chan error    // why it ended early
}

func (a slow) Search(ctx context.Context, s archive.Search, each func(archive.Part) error) error {
	return a.Archive.Search(ctx, s, func(p archive.Part) error {
		if !p.Done {
			return each(p)
		}
		rest := p
		rest.Events, p.Done, p.Next = p.Events[len(p.Events)/2:], false, ""
		p.Events = p.Events[:len(p.Events)/2]
		p.Progress.Back, p.Progress.RowsDone = p.Events[len(p.Events)-1].Time, p.Progress.Rows/2
		if err := each(p); err != nil {
			return err
		}
		select {
		case <-a.more:
			return each(rest)
		case <-ctx.Done():
			if ctx.Err() == context.Canceled {
				a.stopped <- ctx.Err()
			}
			return ctx.Err()
		}
	})
}

func TestLongSearchShowsWhatItHasAndCanBeStopped(t *testing.T) {
	h := newHouse().inCourse().withEvents(t)
	a := slow{h.archive, make(chan struct{}), make(chan error, 10)}
	h.archive = a
	s := browse(t, h)
	s.login("responder")
	const path = "/search?q=kind%3Aflow&range=24h&lang=ja"
	s.look(path)
	s.until("first events", "document.querySelectorAll('#search-results td.what a').length === 50")
	s.until("a way to stop", "!!document.querySelector('[data-search-stop]:not([hidden])')")
	s.check("unfinished search")
	s.save("journey-unfinished")
	s.do("stop", chromedp.Click("[data-search-stop]"))
	s.until("stopped", "document.querySelector('#search-results').innerText.includes('検索をやめました')")
	select {
	case <-a.stopped:
	case <-time.After(20 * time.Second):
		t.Fatal("the search went on at the hub")
	}
	s.check("stopped search")

	s.look(path)
	s.until("first events again", "document.querySelectorAll('#search-results td.what a').length === 50")
	close(a.more)
	s.until("all events", "document.querySelectorAll('#search-results td.what a').length === 100 && !document.querySelector('#search-results .progress')")
	s.check("finished search")
	s.end()
}

func TestSearchWithoutScript(t *testing.T) {
	h := newHouse().inCourse().withEvents(t)
	s := browse(t, h)
	s.login("responder")
	s.do("no script", chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
		return err
	}))
	s.do("open", chromedp.Navigate(s.srv.URL+"/search?lang=ja"))
	s.do("search", chromedp.SendKeys("#f-q", "Application:bittorrent\r"), chromedp.WaitVisible("#search-results td.what a"))
	s.do("event", chromedp.Click("#search-results td.what a"), chromedp.WaitVisible("#h-event"))
	s.save("journey-plain-event")
	s.do("narrow", chromedp.Click(".pivots a"), chromedp.WaitVisible("#search-results td.what a"))
	s.do("field", chromedp.Click(".chips a"), chromedp.WaitVisible(".field-detail"))
	s.save("journey-plain-field")
}

// TestRuleInThreeSteps makes a rule of a search, with and without changing it
// after the test.
func TestRuleInThreeSteps(t *testing.T) {
	s := browse(t, newHouse().inCourse().withEvents(t))
	s.login("responder")
	s.look("/search/rule?q=Application%3Abittorrent&range=24h&lang=ja")
	s.do("draft", chromedp.SendKeys("#f-title", "ファイル共有"), chromedp.Submit("#f-title"))
	s.until("draft", "!!document.getElementById('f-yaml')")
	s.check("rule drafted")
	s.do("test", chromedp.Submit("#f-yaml"))
	s.until("result", "!!document.getElementById('h-test')")
	s.check("rule tested")
	s.save("journey-rule")
	s.do("enable", chromedp.Click("form[action='/search/rule/enable'] button"))
	s.until("list", "location.pathname === '/rules' && document.body?.innerText.includes('ファイル共有')")
	s.check("rules")
	s.save("journey-rules")
	s.end()
}
