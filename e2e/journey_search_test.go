//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/e2e/browser"
	"github.com/sonae/sonae/hub/hubtest"
)

// asking is what the people of the search type and read, per language.
type asking struct {
	query           string // typed as the keyboard of that country gives it
	kept, why, rule string // own text
	wrong           string
	sealed, watches string
}

func askingIn(lang string) asking {
	if lang == "ja" {
		return asking{query: "Application：bittorrent", kept: "ファイル共有の通信", why: "外部への送信を示すため", rule: "ファイル共有の通信を見つけた",
			wrong: "user：(", sealed: "封印", watches: "見張り中"}
	}
	return asking{query: "Application:bittorrent", kept: "Traffic of file sharing", why: "They show what was sent out", rule: "File sharing was seen",
		wrong: "user:(", sealed: "Sealed", watches: "Watching"}
}

// TestSearchJourney is a night on duty with the search page: from the alert's
// machine to evidence and to a rule of one's own, on a real hub.
func TestSearchJourney(t *testing.T) {
	t.Parallel()
	programs := build(t)
	for _, w := range []words{japanese, english} {
		t.Run(w.lang, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			j := newJourney(t, programs.hub, w)
			c := j.hub.FirstAdmin()
			in := c.Open(j.hub.Raised(c))
			a := askingIn(w.lang)
			v := j.browser.Visitor(t, browser.Options{Base: j.hub.URL, Lang: w.lang, Pictures: w.lang, Downloads: t.TempDir(),
				Own: []string{c.Person.Name, a.query, a.kept, a.why, a.rule, a.wrong, "op07", "訓練用PC", "訓練コールセンター", j.w.purpose, in.Title}})
			v.Cookie("__Host-sonae_session", c.Token)
			v.Cookie("sonae_lang", w.lang)
			j.ask(v, a)
			j.detail(v)
			j.keep(v, a)
			j.takeAway(v)
			j.entity(v)
			j.ownRule(v, c, a)
			j.wrongQuery(v, a)
			j.handOver(v, j.takeWithoutScript(c, a))
			v.Done()
			t.Logf("the search journey took %s", time.Since(began).Round(time.Second))
		})
	}
}

// ask types a query and reads the answer.
func (j *journey) ask(v *browser.Visitor, a asking) {
	j.t.Helper()
	v.Open("/")
	v.Follow(`nav a[href="/search"]`, "/search")
	v.Look("40-search-start")
	v.Fill("#f-q", a.query)
	v.Key("\r")
	v.Until("results", "document.querySelectorAll('#search-results td.what a').length > 10 && !document.querySelector('#search-results .progress')")
	v.Until("histogram", "document.querySelectorAll('#search-overview rect.bar').length > 0")
	v.Look("41-search")
	v.Print("41-search")
}

// detail opens an event and a field beside the list.
func (j *journey) detail(v *browser.Visitor) {
	j.t.Helper()
	v.Press("#search-results td.what a")
	v.Until("the event", "document.querySelector('#search-side #h-event') !== null")
	v.Look("42-search-event")
	v.Press("#search-side .close")
	v.Until("the list again", "document.activeElement.closest('#search-results') !== null && !document.querySelector('#search-side article')")
	v.Width(browser.Tablet)
	v.Press("#search-results tbody tr:nth-child(4) td.what a")
	v.Until("the event below its line", "document.querySelector('#search-results tr.is-chosen + tr #h-event') !== null")
	v.Picture(j.w.lang+"-42-search-event-below.png", browser.Tablet, 1400)
	v.Press("#search-side .close")
	v.Width(browser.Desktop)
	v.Press(`.chips a[href*="field=DestinationIp"]`)
	v.Until("the values", "document.querySelectorAll('#search-side .values tbody tr').length > 1")
	v.Look("43-search-field")
}

// keep saves the search under a name.
func (j *journey) keep(v *browser.Visitor, a asking) {
	j.t.Helper()
	v.Press(`details:has(form[action="/searches"]) > summary`)
	v.Fill("#f-name", a.kept)
	v.Follow(`form[action="/searches"] button`, "done=saved")
	v.Open("/searches")
	v.Sees("main", a.kept)
	v.Look("44-searches")
}

// takeAway downloads what matches in the three formats and reads it.
func (j *journey) takeAway(v *browser.Visitor) {
	j.t.Helper()
	found := 0
	await(j.t, 2*time.Minute, "the drill having sent its last connection", func() bool { // else the files hold what came after the page
		before := found
		v.Open("/search?q=Application%3Abittorrent&range=24h")
		found = whole(j.t, v.Text("#search-overview .overview-head b"))
		if found != before {
			time.Sleep(15 * time.Second)
		}
		return found > 0 && found == before
	})
	v.Press(`details:has(form[action="/search/export"]) > summary`)
	for _, format := range []string{"csv", "jsonl", "parquet"} {
		v.Press(`form[action="/search/export"] button[value=` + format + `]`)
		got := j.file(v, format)
		if n := records(j.t, format, got); n != found {
			j.t.Errorf("the page counts %d events, the %s has %d", found, format, n)
		}
	}
}

// whole is the first number in a text.
func whole(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(strings.ReplaceAll(regexp.MustCompile(`[0-9][0-9,]*`).FindString(text), ",", ""))
	if err != nil {
		t.Fatalf("no number in %q", text)
	}
	return n
}

// file waits for a downloaded file.
func (j *journey) file(v *browser.Visitor, suffix string) (content []byte) {
	j.t.Helper()
	j.hub.Await("the downloaded "+suffix, func() bool {
		names, err := filepath.Glob(filepath.Join(v.Downloads, "*."+suffix))
		if err != nil {
			j.t.Fatal(err)
		}
		if len(names) == 1 {
			content, err = os.ReadFile(names[0])
		}
		return err == nil && len(content) > 0
	})
	return content
}

// records counts the events of a file that was taken away.
func records(t *testing.T, format string, content []byte) int {
	t.Helper()
	switch format {
	case "csv":
		content, ok := bytes.CutPrefix(content, []byte("\xef\xbb\xbf"))
		if !ok {
			t.Error("a spreadsheet reads Japanese only after a byte order mark")
		}
		rows, err := csv.NewReader(bytes.NewReader(content)).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		return len(rows) - 1
	case "jsonl":
		n := 0
		for lines := bufio.NewScanner(bytes.NewReader(content)); lines.Scan(); n++ {
			var e struct {
				ID string `json:"id"`
			}
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil || e.ID == "" {
				t.Fatalf("line %d: %v: %s", n+1, err, lines.Bytes())
			}
		}
		return n
	}
	f, err := parquet.OpenFile(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	return int(f.NumRows())
}

// entity goes from a value to all that is known of it.
func (j *journey) entity(v *browser.Visitor) {
	j.t.Helper()
	v.Press("#search-results td.what a")
	v.Until("the event", "document.querySelector('#search-side #h-event') !== null")
	v.Follow(`#search-side a[href*="kind=address"]`, "/entity?")
	v.Until("neighbours", "document.querySelectorAll('.graph .neighbour').length > 0 && document.querySelectorAll('.relations .card').length > 1")
	v.Look("45-entity-address")
	v.Print("45-entity-address")
	v.Open("/entity?kind=host&value=drill-pc")
	v.Until("alerts of the machine", "document.querySelectorAll('section[aria-labelledby=h-cases] a').length > 1")
	v.Look("46-entity-host")
}

// ownRule makes the search a rule and waits for what it says of the next drill.
func (j *journey) ownRule(v *browser.Visitor, c *hubtest.Client, a asking) {
	j.t.Helper()
	v.Open("/search?q=Application%3Abittorrent&range=24h")
	v.Follow(`.search-tools a[href^="/search/rule"]`, "/search/rule")
	v.Look("47-rule")
	v.Fill("#f-title", a.rule)
	v.Follow(`form[action="/search/rule"] button`, "/search/rule")
	v.Look("48-rule-draft")
	v.Follow(`form[action="/search/rule/test"] button`, "/search/rule/test")
	v.Until("the result", "document.getElementById('h-test') !== null")
	v.Look("49-rule-tested")
	v.Follow(`form[action="/search/rule/enable"] button`, "done=enabled-rule")
	v.Sees("main", a.rule, a.watches)
	v.Look("50-rules")
	j.nextDrill(c)
	j.hub.Await("the alert of the own rule", func() bool {
		for _, found := range hubtest.List[alert.Alert](c, "/alerts") {
			if found.Rule.Title[j.w.lang] == a.rule {
				return true
			}
		}
		return false
	})
	v.Open("/alerts")
	v.Sees("main", a.rule)
	v.Look("51-alerts")
}

// nextDrill plays the drill again and says how soon its events can be found.
func (j *journey) nextDrill(c *hubtest.Client) {
	j.t.Helper()
	j.hub.Await("the next drill", func() bool { return hubtest.StartDrill(j.t, j.hub.Dir) == http.StatusAccepted })
	began := time.Now()
	var events []byte
	j.hub.Await("its first event", func() bool {
		c.Must(http.MethodGet, "/search?q=kind:flow&limit=1&from="+url.QueryEscape(began.UTC().Format(time.RFC3339Nano)), nil, &events)
		return bytes.Contains(events, []byte(`"drill-pc"`))
	})
	at := regexp.MustCompile(`"time":"([^"]+)"`).FindSubmatch(events)
	if at == nil {
		j.t.Fatalf("an event without a time: %s", events)
	}
	when, err := time.Parse(time.RFC3339Nano, string(at[1]))
	if err != nil {
		j.t.Fatal(err)
	}
	j.t.Logf("an event was found %s after it happened", time.Since(when).Round(time.Millisecond))
}

// wrongQuery: the place where a query stops making sense is marked.
func (j *journey) wrongQuery(v *browser.Visitor, a asking) {
	j.t.Helper()
	v.Expect("422")
	v.Open("/search")
	v.Fill("#f-q", a.wrong)
	v.Key("\r")
	v.Until("the marked place", "document.querySelector('.wrong-query mark') !== null")
	if got := browser.Eval[string](v, "document.querySelector('#f-q').value"); got != a.wrong {
		j.t.Errorf("the query became %q", got)
	}
	v.Look("52-wrong")
}

// takeWithoutScript keeps events as evidence with plain forms, and returns the
// path of their bag.
func (j *journey) takeWithoutScript(c *hubtest.Client, a asking) string {
	j.t.Helper()
	v := j.browser.Visitor(j.t, browser.Options{Base: j.hub.URL, Lang: j.w.lang, Pictures: j.w.lang, NoScript: true})
	v.Cookie("__Host-sonae_session", c.Token)
	v.Cookie("sonae_lang", j.w.lang)
	v.Open("/search")
	v.Fill("#f-q", a.query)
	v.Follow("#search-form button.primary", "q=")
	v.Until("results", "document.querySelectorAll('#search-results td.what a').length > 10")
	browser.Eval[bool](v, `[...document.querySelectorAll("#search-results input[name=event]")].slice(0, 3).forEach(b => b.click()), true`)
	v.Press("#take-box > summary")
	v.Fill("#f-purpose", a.why)
	v.Follow("#take button", "/evidence/")
	v.Sees("main", a.why, a.sealed)
	v.Done()
	return path(v)
}

// handOver looks at the bag and checks the copy as the police do.
func (j *journey) handOver(v *browser.Visitor, bag string) {
	j.t.Helper()
	v.Open(bag)
	v.Look("53-bag-of-events")
	v.Fill("[name=purpose]", j.w.purpose)
	v.Press(`form[action$="/zip"] button`)
	j.handedOver(v)
}
