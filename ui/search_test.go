package ui

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/ui/view"
)

func TestSuggestionsAreThoseOfTheOwnSite(t *testing.T) {
	v, _ := newHouse().withEvents(t).open(t)
	for who, want := range map[string][]string{"responder": {"ho-1", "ho-2"}, "contractor": {"ho-1"}} {
		var got []struct{ Value, Label string }
		a := v.as(who).get("/search/suggest?field=host&prefix=HO")
		if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != http.StatusOK {
			t.Fatalf("%s: %d %v: %s", who, a.status, err, a.body)
		}
		var values []string
		for _, o := range got {
			values = append(values, o.Value)
		}
		if diff := cmp.Diff(want, values); diff != "" || got[0].Label != "cc-pc-07" {
			t.Errorf("%s: %+v", who, got)
		}
	}
	a := v.as("responder").get("/search/suggest?field=network_application&prefix=")
	if !strings.Contains(a.body, `"bittorrent"`) {
		t.Errorf("values of an application: %d %s", a.status, a.body)
	}
	if a := v.as("responder").get("/search/suggest?field=" + url.QueryEscape("x'; DROP")); a.status != http.StatusUnprocessableEntity {
		t.Errorf("an odd field: %d", a.status)
	}
}

func TestContractorSeesOnlyTheOwnSite(t *testing.T) {
	h := newHouse().withEvents(t)
	v, _ := h.open(t)
	c := v.as("contractor")
	for _, q := range []string{"", "site:hospital", "kind:login", "host:ho-2 OR kind:flow", "-site:callcentre"} {
		got := c.get("/search?range=30d&q=" + url.QueryEscape(q))
		if got.status != http.StatusOK || strings.Contains(got.body, "ehr-ws-014") || strings.Contains(got.body, "suzuki") {
			t.Errorf("%q: %d %s", q, got.status, around(got.body, "ehr-ws-014"))
		}
	}
	if got := c.get("/search/event?id=ba-1-1"); got.status != http.StatusNotFound {
		t.Errorf("an event of the hospital: %d", got.status)
	}
	if got := c.get("/search/event?id=ba-0-1"); got.status != http.StatusOK {
		t.Errorf("an event of the own site: %d", got.status)
	}
	if got := c.get("/search/field?field=User&q=&range=30d"); strings.Contains(got.body, "suzuki") {
		t.Error("the values of a field are those of all sites")
	}
	if got := c.get("/entity?kind=user&value=tanaka&range=30d"); !strings.Contains(got.body, "この期間に事象はありません") {
		t.Errorf("a user of the hospital: %s", around(got.body, "tanaka"))
	}
	for _, path := range []string{"/search/export", "/search/evidence", "/search/rule/enable"} {
		if got := c.post(path, "q", "", "format", "csv"); got.status != http.StatusForbidden {
			t.Errorf("%s: %d", path, got.status)
		}
	}
	says(t, c.get("/search?q=&range=24h"), nil, []string{`action="/search/export"`, `action="/search/evidence"`, `name="event"`})
}

func TestWrongQueryIsMarked(t *testing.T) {
	v, _ := newHouse().withEvents(t).open(t)
	got := v.as("responder").get("/search?range=24h&q=" + url.QueryEscape("User:tanaka <b>( host:"))
	if got.status != http.StatusUnprocessableEntity || !strings.Contains(got.body, "文字目") || !strings.Contains(got.body, "<mark>") || strings.Contains(got.body, "<b>(") {
		t.Errorf("%d %s", got.status, around(got.body, "wrong-query"))
	}
	if strings.Contains(got.body, `id="search-results"`) {
		t.Error("a wrong query was searched for")
	}
}

// pieces reads a streamed answer.
func (a answer) pieces(t *testing.T) map[string]piece {
	t.Helper()
	out := map[string]piece{}
	s := bufio.NewScanner(strings.NewReader(a.body))
	s.Buffer(nil, 4<<20)
	for s.Scan() {
		var p piece
		if err := json.Unmarshal(s.Bytes(), &p); err != nil {
			t.Fatalf("%v in %s", err, s.Text())
		}
		out[p.ID] = p
	}
	return out
}

func TestStreamEndsWithTheWholeAnswer(t *testing.T) {
	v, _ := newHouse().withEvents(t).open(t)
	r := v.as("responder")
	got := r.get("/search/stream?q=kind%3Aflow&range=24h").pieces(t)
	if p := got["search-results"]; !p.Done || strings.Count(p.HTML, `<td class="what">`) != 100 || !strings.Contains(p.HTML, "もっと古い事象") {
		t.Errorf("results: done %v, %d rows", p.Done, strings.Count(p.HTML, `<td class="what">`))
	}
	if p := got["search-overview"]; !strings.Contains(p.HTML, "120件") {
		t.Errorf("overview %s", p.HTML)
	}
	if got := r.get("/search/stream?q=%28&range=24h").pieces(t)["search-results"]; !strings.Contains(got.HTML, `role="alert"`) {
		t.Errorf("a wrong query: %s", got.HTML)
	}
}

func TestOlderEventsFollow(t *testing.T) {
	v, _ := newHouse().withEvents(t).open(t)
	r := v.as("responder")
	page := r.get("/search?q=kind%3Aflow&range=24h").body
	_, rest, ok := strings.Cut(page, `href="/search?after=`)
	if !ok {
		t.Fatal("there is no way to older events")
	}
	link, _, _ := strings.Cut(rest, `"`)
	older := r.get("/search?after=" + strings.ReplaceAll(link, "&amp;", "&"))
	says(t, older, []string{"最新に戻る"}, []string{"もっと古い事象"})
	if n := strings.Count(older.body, `<td class="what">`); n != 20 {
		t.Errorf("%d older events, want 20", n)
	}
}

func TestSearchesAreKept(t *testing.T) {
	v, _ := newHouse().withEvents(t).open(t)
	r := v.as("responder")
	if got := r.post("/searches", "name", "<b>夜</b>", "q", "kind:login", "range", "own", "from", "2026-11-21T22:00", "to", "2026-11-22T06:00", "shared", "1"); got.status != http.StatusSeeOther {
		t.Fatalf("save: %d %s", got.status, around(got.body, "notice-head"))
	}
	says(t, v.as("executive").get("/searches"), []string{"&lt;b&gt;夜&lt;/b&gt;", "from=2026-11-21T22%3A00%3A00", "共有"}, []string{"名前を変える</button>", "<b>夜"})
	r.get("/search?q=kind%3Aflow&range=24h")
	says(t, r.get("/search"), []string{"kind:flow", "これまでの検索 (1)"}, nil)
	if got := r.post("/searches", "name", " ", "q", "kind:login", "range", "24h"); got.status != http.StatusUnprocessableEntity || !strings.Contains(got.body, `value="kind:login"`) {
		t.Errorf("without a name: %d", got.status)
	}
}

func TestExportIsAFile(t *testing.T) {
	v, _ := newHouse().withEvents(t).open(t)
	r := v.as("responder")
	got := r.post("/search/export", "q", "Application:bittorrent", "range", "24h", "format", "csv")
	if got.status != http.StatusOK || strings.Count(got.body, "\n") != 25 || !strings.Contains(got.header.Get("Content-Disposition"), ".csv") {
		t.Errorf("%d %s %d lines", got.status, got.header.Get("Content-Disposition"), strings.Count(got.body, "\n"))
	}
	if got := r.post("/search/export", "q", "(", "range", "24h", "format", "csv"); got.status != http.StatusUnprocessableEntity {
		t.Errorf("a wrong query: %d", got.status)
	}
	if got := r.post("/search/export", "q", "", "range", "24h", "format", "exe"); got.status != http.StatusUnprocessableEntity {
		t.Errorf("an unknown format: %d", got.status)
	}
}

func TestChosenEventsBecomeEvidence(t *testing.T) {
	h := newHouse().inCourse().withEvents(t)
	v, _ := h.open(t)
	r := v.as("responder")
	page := r.get("/search?q=Application%3Abittorrent&range=24h").body
	var chosen []string
	for _, part := range strings.Split(page, `name="event" value="`)[1:] {
		value, _, _ := strings.Cut(part, `"`)
		chosen = append(chosen, value)
	}
	if len(chosen) != 24 {
		t.Fatalf("%d events can be chosen", len(chosen))
	}
	form := []string{"q", "Application:bittorrent", "range", "24h", "incident", "in-1", "event", chosen[0], "event", chosen[5]}
	h.unsealed = 1
	got := r.post("/search/evidence", form...)
	if h.unsealed != 0 {
		t.Error("nobody looked whether the events are sealed")
	}
	if got.status != http.StatusUnprocessableEntity || !strings.Contains(got.body, "なぜ証拠として残すのか") {
		t.Errorf("without a purpose: %d", got.status)
	}
	got = r.post("/search/evidence", append(form, "purpose", "外部への送信")...)
	if got.status != http.StatusSeeOther || got.header.Get("Location") != "/evidence/bag-2?done=kept" {
		t.Fatalf("%d %s", got.status, got.header.Get("Location"))
	}
	says(t, r.get("/evidence/bag-2"), []string{"選んだ事象 2件", "外部への送信", "ba-0-0", "ba-0-5"}, nil)
	for name, event := range map[string]string{"unknown": "2026-11-22T05:04:30Z~ba-9-9", "nonsense": "x", "at another time": "2025-01-01T00:00:00Z~ba-0-0"} {
		if got := r.post("/search/evidence", "q", "", "range", "24h", "incident", "in-1", "purpose", "x", "event", event); got.status != http.StatusNotFound {
			t.Errorf("%s: %d", name, got.status)
		}
	}
}

func TestRuleIsEnabledOnlyAsItWasTested(t *testing.T) {
	h := newHouse().withEvents(t)
	v, _ := h.open(t)
	r := v.as("responder")
	look := []string{"q", "Application:bittorrent", "range", "24h"}
	says(t, r.post("/search/rule", append(look, "title", "ファイル共有", "severity", "high", "mode", "each")...), []string{"title: ファイル共有", "level: high"}, nil)
	says(t, r.post("/search/rule", append(look, "title", "x", "severity", "high", "mode", "threshold", "count", "5", "window", "10m", "by", "host")...), []string{"correlation: 5 in 10m0s by [host]"}, nil)
	together := append(look, "title", "x", "severity", "high", "mode", "together", "window", "1h", "by", "")
	says(t, r.post("/search/rule", append(together, "kind", "value_sum", "count", "5", "value", "User")...), []string{"together: value_sum 5 of &#34;User&#34; with &#34;&#34; in 1h0m0s by []"}, nil)
	says(t, r.post("/search/rule", append(together, "kind", "temporal_ordered", "with", "bittorrent-certain")...), []string{"together: temporal_ordered 0 of &#34;&#34; with &#34;bittorrent-certain&#34;"}, nil)
	for name, form := range map[string][]string{
		"kind":   {"mode", "together", "kind", "value_avg", "count", "5", "window", "10m"},
		"least":  {"mode", "together", "kind", "event_count", "count", "NaN", "window", "10m"},
		"count":  {"mode", "threshold", "count", "1", "window", "10m"},
		"window": {"mode", "threshold", "count", "5", "window", "99h"},
	} {
		if got := r.post("/search/rule", append(append(look, "title", "x", "severity", "high"), form...)...); got.status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d", name, got.status)
		}
	}
	const yaml = "title: ファイル共有\r\n# Application:bittorrent\r\n"
	tested := r.post("/search/rule/test", append(look, "yaml", yaml, "days", "7d")...)
	says(t, tested, []string{"24", "見張りを始める", "203.0.113.7"}, nil)
	_, sum, _ := strings.Cut(tested.body, `name="tested" value="`)
	sum, _, _ = strings.Cut(sum, `"`)
	if got := r.post("/search/rule/enable", append(look, "yaml", yaml+"# more", "tested", sum)...); got.status != http.StatusConflict || h.ruleList != 0 {
		t.Errorf("changed after the test: %d", got.status)
	}
	if got := r.post("/search/rule/enable", append(look, "yaml", yaml, "tested", sum)...); got.status != http.StatusSeeOther || h.ruleList != 1 {
		t.Errorf("as tested: %d %s", got.status, around(got.body, "notice-head"))
	}
	if got := r.post("/rules/ru-1/disable"); got.status != http.StatusUnprocessableEntity {
		t.Errorf("without a reason: %d", got.status)
	}
	r.post("/rules/ru-1/disable", "reason", "鳴りすぎる")
	says(t, r.get("/rules?show=off"), []string{"停止", "ファイル共有"}, nil)
	says(t, r.get("/rules/ru-1"), []string{"停止", "鳴りすぎる"}, nil)
	if got := v.as("executive").post("/search/rule/enable", "yaml", yaml, "tested", sum); got.status != http.StatusForbidden {
		t.Errorf("an executive: %d", got.status)
	}
}

// TestRuleWatchesTheKindThatIsFound: a search need not name the kind of event,
// a rule must.
func TestRuleWatchesTheKindThatIsFound(t *testing.T) {
	v, _ := newHouse().withEvents(t).open(t)
	r := v.as("responder")
	const told = "検索でいちばん多かった"
	for _, c := range []struct {
		query, source string
		has, hasNot   []string
	}{
		{"Application:bittorrent", "", []string{"# Application:bittorrent kind:flow", told}, nil},
		{"Application：bittorrent", "", []string{"# Application：bittorrent kind:flow", told}, nil},
		{"a OR Application:bittorrent", "", []string{"# (a OR Application:bittorrent) kind:flow", told}, nil},
		{"Application:bittorrent", "process", []string{"# Application:bittorrent kind:process"}, []string{told}},
		{"kind:login User:x", "", []string{"# kind:login User:x"}, []string{told, "kind:flow"}},
		{"no-such-word-anywhere", "", []string{"# no-such-word-anywhere"}, []string{told, "# no-such-word-anywhere kind:"}},
	} {
		got := r.post("/search/rule", "q", c.query, "range", "24h", "title", "x", "severity", "high", "mode", "each", "source", c.source)
		says(t, got, c.has, c.hasNot)
	}
}

func TestWithoutRulesNobodyIsOfferedOne(t *testing.T) {
	h := newHouse().withEvents(t)
	h.noRules = true
	v, _ := h.open(t)
	r := v.as("responder")
	says(t, r.get("/search?q=&range=24h"), nil, []string{"/search/rule"})
	for _, path := range []string{"/search/rule?q=x", "/rules"} {
		if got := r.get(path); got.status != http.StatusNotFound {
			t.Errorf("%s: %d", path, got.status)
		}
	}
}

func TestAddressOfASearchIsReadBack(t *testing.T) {
	c := &call{at: start}
	for _, l := range []view.Look{
		{Query: `a "b" | count`, Span: "7d", From: start.Add(-7 * 24 * 3600e9), To: start},
		view.Look{Query: "x"}.Within(start.Add(-90e9), start.Add(-30e9)),
	} {
		u, err := url.Parse(string(l.URL()))
		if err != nil {
			t.Fatal(err)
		}
		got := c.lookFrom(u.Query().Get)
		if got.Query != l.Query || got.Span != l.Span || !got.From.Equal(l.From) || !got.To.Equal(l.To) {
			t.Errorf("%+v became %+v", l, got)
		}
	}
	if got := c.lookFrom(url.Values{"range": {"own"}, "from": {"tomorrow"}}.Get); got.Span != "24h" {
		t.Errorf("nonsense became %+v", got)
	}
}
