//go:build e2e

package ui

import (
	"testing"

	"github.com/chromedp/chromedp"
)

// TestRuleIsTriedWhileThePageIsOpen asks for a back-test and sees it come to
// its end without a reload.
func TestRuleIsTriedWhileThePageIsOpen(t *testing.T) {
	h := newHouse().inCourse().withEvents(t)
	s := browse(t, h)
	h.rulebook.OnTrial(func() { s.live.Notify("trial", "") })
	s.login("responder")
	s.look(storyRule + "?lang=ja")
	s.do("ask", chromedp.Submit("#f-days"))
	s.until("waiting", "!!document.querySelector('#rule-trial progress')")
	s.check("trial under way")
	s.save("journey-trial")
	s.until("fresh", "document.getElementById('connection').dataset.now === 'fresh'")
	go func() { _ = h.rulebook.Run(t.Context()) }()
	s.until("result", "document.querySelector('#rule-trial').innerText.includes('1台の機器で 24件') && !document.querySelector('#rule-trial progress')")
	s.check("trial at its end")
	s.save("journey-trial-end")
	s.end()
}
