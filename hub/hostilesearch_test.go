package hub_test

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/csv"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/hub"
	"github.com/sonae/sonae/hub/hubtest"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/search"
	"github.com/sonae/sonae/ui/view"
)

// hidden is in events of another site; no request ever says it, so that an
// answer that has it tells what it must not.
const hidden = "kakushigoto-5531"

// prying are queries of somebody who wants to see events of the clinic.
func prying(host, id string) []string {
	return []string{
		``, `login-line`, `login-line OR site:calls`, `site=clinic`, `site:*`, `NOT site:calls`, `site!=calls`, `-site:calls`, `-nothing`,
		`site:calls OR site:clinic`, `site in (calls, clinic)`, `(site:calls) OR (User:*)`, `raw:/.*/`, `raw:*`, `User:/^k.*/`, `*`, `ip:0.0.0.0/0`,
		`id=` + search.Quote(id), `id in (` + search.Quote(id) + `)`, `host=` + search.Quote(host), `host:` + host + ` OR host:x`, `batch:*`, `time > 2000-01-01`,
		`x' OR '1'='1`, `") OR 1=1 --`, `";DROP TABLE temp.parts;--`, `User="x') OR (TRUE"`, `$1 OR TRUE`, `User:"a' UNION SELECT raw FROM read_parquet('**')--"`,
		`User:*%' OR raw LIKE '%*`, `a'b":*`, `フィールド"名:*`, `["x"]:*`, `fields['User']:*`,
		`| count by site`, `| count by host, User, raw`, `| top 100 User`, `| top 100 raw by count`, `| top 10 host by sum(EventID)`,
		`| stats count, distinct(host), min(raw), max(raw), min(User), max(User)`, `| stats max(raw) by site | sort -max(raw)`,
		`| timeline 1h by User`, `| timeline 366d by host`, `| count by User | where User = "x' OR '1'='1"`, `| count by site | where count >= 0 | sort count | limit 10`,
		`| stats p99(EventID), avg(EventID), sum(EventID) by User`, `| count by "User"`, `| count by User)`, `| sort (SELECT 1)`,
	}
}

// TestSearchStaysWithinTheSite lets a contractor and a responder of one site
// try everything that answers with events to see those of another one.
func TestSearchStaysWithinTheSite(t *testing.T) {
	t.Parallel()
	h := hubtest.Start(t)
	h.Site("clinic", "hospital")
	h.Site("calls", "contractor")
	theirs, ours := h.Enrol("clinic", "pc-1"), h.Enrol("calls", "pc-2")
	admin := h.FirstAdmin()
	other := logOn(hidden, "login-line "+hidden)
	other.Fields["Image"], other.Fields["Hashes"] = `C:\`+hidden+`.exe`, "SHA256="+hidden
	ids := theirs.Report(other, other)
	ours.Report(logOn("mieru", "login-line"), logOn("mieru", "login-line"), logOn("mieru", "login-line"))
	h.Await("all events", func() bool { return len(admin.Find("login-line")) == 5 })
	h.Idle()
	var in incident.Incident
	admin.Must("POST", "/incidents", map[string]any{"title": "院内の件 " + hidden, "severity": "low", "hosts": []string{theirs.Identity().Host}}, &in)
	var kept search.Saved
	admin.Must("POST", "/searches", map[string]any{"name": hidden, "query": hidden, "span": "24h", "shared": true}, &kept)

	for _, c := range []*hubtest.Client{h.Person("contractor", "calls", auth.Contractor), h.Person("local", "calls", auth.Responder, auth.Auditor)} {
		p := prier{t, c, theirs.Identity().Host, ids[0]}
		if got := c.Find("login-line"); len(got) != 3 {
			t.Fatalf("%s finds %d of 3 own events", c.Person.Login, len(got))
		}
		p.queries()
		p.things()
		p.writes(in.ID, kept.ID, other.Time)
	}
}

// prier looks for what it must not see.
type prier struct {
	t        *testing.T
	c        *hubtest.Client
	host, id string
}

// get wants an answer that is a success or one of the refusals, without what is
// hidden. An error of the hub's own is a finding too.
func (p prier) get(path string) string {
	p.t.Helper()
	var body []byte
	err := p.c.Do("GET", path, nil, &body)
	if problem, ok := err.(*hubtest.Problem); ok {
		if problem.Status >= 500 || problem.Status == http.StatusUnauthorized {
			p.t.Errorf("%s: GET %s: %v", p.c.Person.Login, path, err)
		}
		body = []byte(problem.Error())
	} else if err != nil {
		p.t.Errorf("%s: GET %s: %v", p.c.Person.Login, path, err)
	}
	p.clean("GET "+path, string(body))
	return string(body)
}

func (p prier) page(path string) {
	p.t.Helper()
	status, body := p.c.Page(path)
	if status >= 500 || status == http.StatusSeeOther {
		p.t.Errorf("%s: page %s: %d", p.c.Person.Login, path, status)
	}
	p.clean("page "+path, body)
}

func (p prier) clean(what, body string) {
	p.t.Helper()
	if at := strings.Index(body, hidden); at >= 0 {
		p.t.Errorf("%s sees another site's event by %s: …%s…", p.c.Person.Login, what, body[max(0, at-200):min(len(body), at+100)])
	}
}

func (p prier) queries() {
	p.t.Helper()
	after := base64.RawURLEncoding.EncodeToString([]byte("9223372036854775807 2147483647 " + p.host + ".zz"))
	for _, query := range prying(p.host, p.id) {
		q := "?q=" + url.QueryEscape(query)
		p.get("/search" + q)
		p.get("/search" + q + "&after=" + after)
		p.get("/search/fields/User" + q)
		p.get("/search/histogram" + q)
		p.page("/search" + q + "&range=30d")
		p.page("/search/stream" + q + "&range=30d")
	}
	for _, at := range []string{"0001-01-01T00:00:00Z", "1677-09-21T00:12:43.145224193Z", "2262-04-11T23:47:16.854775807Z", "9999-12-31T23:59:59Z"} {
		at = url.QueryEscape(at)
		for _, span := range []string{"from=" + at, "to=" + at, "from=" + at + "&to=" + at} {
			p.get("/search?" + span)
			p.get("/search/histogram?buckets=500&" + span)
			p.get("/search/fields/User?" + span)
		}
		p.get("/search/events/" + url.PathEscape(p.id) + "?at=" + at)
		p.page("/search/event?id=" + url.QueryEscape(p.id) + "&at=" + at)
	}
	for _, own := range []string{"", "login-line", "login-line OR NOT login-line"} {
		body := p.get("/search/histogram?buckets=1&q=" + url.QueryEscape(own))
		if !strings.Contains(body, `"count":3`) {
			p.t.Errorf("%s counts another site's events: %s", p.c.Person.Login, body)
		}
	}
}

// things are what has a name of its own.
func (p prier) things() {
	p.t.Helper()
	for _, field := range []string{"User", "site", "host", "raw", "id", "batch", "Hashes", "Image", "LogonId", "time", "ip", `x") OR TRUE--`, "x'y", "fields", strings.Repeat("a", 199)} {
		f := url.PathEscape(field)
		p.get("/search/fields/" + f + "?top=1000")
		for _, prefix := range []string{"", "k", "0xk", "%", "_", "' OR ''='", `C:\`} {
			p.get("/search/suggest?limit=100&field=" + url.QueryEscape(field) + "&prefix=" + url.QueryEscape(prefix))
			p.page("/search/suggest?field=" + url.QueryEscape(field) + "&prefix=" + url.QueryEscape(prefix))
		}
		p.page("/search/field?q=&range=30d&field=" + url.QueryEscape(field))
	}
	span := "&from=2000-01-01T00:00:00Z&to=2199-01-01T00:00:00Z"
	for kind, value := range map[string]string{"host": p.host, "user": "' OR ''='", "address": "198.51.100.23", "process": `C:\*`, "hash": "SHA256"} {
		body := p.get("/search/entity?kind=" + kind + "&value=" + url.QueryEscape(value) + span)
		if kind == "host" && !strings.Contains(body, `"count":0`) {
			p.t.Errorf("%s: another site's host has events: %s", p.c.Person.Login, body)
		}
		p.page("/entity?kind=" + kind + "&value=" + url.QueryEscape(value) + "&range=30d")
	}
	if key := p.c.Refused(http.StatusNotFound, "GET", "/search/events/"+url.PathEscape(p.id), nil); key != "searchpage.no-event" {
		p.t.Errorf("another site's event: refused as %s", key)
	}
	p.page("/search/event?id=" + url.QueryEscape(p.id))
	for _, path := range []string{"/searches", "/rules", "/search/rule", "/evidence", "/audit", "/alerts", "/incidents"} {
		p.page(path)
	}
	for _, path := range []string{"/searches", "/ledger/proof?type=view&ref=x", "/alerts", "/incidents", "/records"} {
		p.get(path)
	}
	p.c.Refused(http.StatusForbidden, "GET", "/ledger/proof?type=segment&ref=x", nil)
	p.c.Refused(http.StatusForbidden, "POST", "/ledger/proof", map[string]any{"type": "view", "ref": "x", "digest": strings.Repeat("0", 64), "at": time.Now()})
}

// writes are forms and calls that answer with events, or keep them.
func (p prier) writes(incident, kept string, at time.Time) {
	p.t.Helper()
	for _, query := range []string{"", "site=clinic", "login-line | count by User"} {
		for _, format := range []string{"csv", "csv-bom", "jsonl", "parquet"} {
			var body []byte
			_ = p.c.Do("POST", "/search/export", map[string]string{"query": query, "format": format}, &body) // a contractor is refused
			p.clean("export of "+query, string(body))
		}
		_, _, body := p.c.Submit("/search/export", url.Values{"q": {query}, "range": {"30d"}, "format": {"jsonl"}})
		p.clean("the page's export of "+query, body)
	}
	rule := "title: all\nid: mine\nlevel: high\nlogsource: {category: authentication}\ndetection:\n  s1:\n    EventID: '4625'\n  condition: s1\n"
	status, _, body := p.c.Submit("/search/rule/test", url.Values{"yaml": {rule}, "days": {"30d"}})
	if p.clean("a back-test", body); status != http.StatusOK || !strings.Contains(body, "mieru") {
		p.t.Errorf("%s: back-test: %d", p.c.Person.Login, status)
	}
	if status, _, _ := p.c.Submit("/search/rule/enable", url.Values{"yaml": {rule}, "tested": {fmt.Sprintf("%x", rule)}}); status != http.StatusForbidden {
		p.t.Errorf("%s: a rule for all sites: got %d", p.c.Person.Login, status)
	}
	if status, _, _ := p.c.Submit("/rules/mine/disable", url.Values{"reason": {"x"}}); status != http.StatusForbidden {
		p.t.Errorf("%s: the end of a rule: got %d", p.c.Person.Login, status)
	}
	pick := view.Pick(event.Event{ID: p.id, Time: at})
	for _, form := range []url.Values{
		{"incident": {incident}, "event": {pick}, "purpose": {"x"}},
		{"incident": {"in-x"}, "event": {pick}, "purpose": {"x"}},
		{"incident": {""}, "event": {`2026-01-01T00:00:00Z~") OR TRUE`}, "purpose": {"x"}},
	} {
		if status, _, body := p.c.Submit("/search/evidence", form); status < 400 || status >= 500 {
			p.t.Errorf("%s: evidence of %v: got %d", p.c.Person.Login, form, status)
		} else {
			p.clean("keeping events", body)
		}
	}
	p.c.Refused(http.StatusNotFound, "DELETE", "/searches/"+kept, nil)
	p.c.Refused(http.StatusNotFound, "PUT", "/searches/"+kept, map[string]any{"name": "mine", "shared": false})
	if status, _, _ := p.c.Submit("/searches/"+kept+"/delete", nil); status != http.StatusNotFound {
		p.t.Errorf("%s: deletes another one's search: %d", p.c.Person.Login, status)
	}
}

// TestEventsAreNoProgram shows events whose values want to be markup, script or
// a formula on every page that shows events.
func TestEventsAreNoProgram(t *testing.T) {
	t.Parallel()
	h := hubtest.Start(t)
	h.Site("clinic", "hospital")
	agent, c := h.Enrol("clinic", `<script>alert("host")</script>`), h.FirstAdmin()
	evil := []string{`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `javascript:alert(1)`, `'-alert(1)-'`, `</textarea><svg/onload=alert(1)>`, `=HYPERLINK("http://192.0.2.1","x")`, "=1+1", "+1", "@SUM(1)", "-2", "\t=1", "＝1+1", "{{7*7}}", "\u202egnp.exe", "a\x00b"}
	var events []event.Event
	for _, v := range evil {
		e := logOn(v, v+" evil-line")
		e.Fields["Image"], e.Fields["Hashes"], e.Fields[v], e.Service = v, v, v, v
		events = append(events, e)
	}
	ids := agent.Report(events...)
	h.Await("the events", func() bool { return len(c.Find(`"evil-line"`)) == len(evil) })
	pages := []string{"/search?q=" + url.QueryEscape(`"evil-line"`), "/search?q=" + url.QueryEscape("| count by User, Image"), "/search/field?field=User&q=", "/search/field?field=raw&q=",
		"/search/stream?q=" + url.QueryEscape(`"evil-line"`), "/entity?kind=host&value=" + agent.Identity().Host, "/search/rule?q=" + url.QueryEscape(`User=`+search.Quote(evil[0])), "/searches"}
	for i, v := range evil {
		pages = append(pages, "/search/event?id="+ids[i], "/search/event?part=1&id="+ids[i], "/search?q="+url.QueryEscape(v), "/entity?kind=user&value="+url.QueryEscape(v), "/entity?kind=process&value="+url.QueryEscape(v),
			"/entity?kind=hash&value="+url.QueryEscape(v), "/search/field?q=&field="+url.QueryEscape(v), "/search?q=&range="+url.QueryEscape(v)+"&after="+url.QueryEscape(v))
	}
	for _, path := range pages {
		status, page := c.Page(path)
		if status >= 500 {
			t.Errorf("%s: %d", path, status)
		}
		for _, bad := range []string{"<script>alert", "<img src=x", "<svg/onload", `href="javascript:`, `\u003cscript\u003ealert(`} {
			if strings.HasPrefix(path, "/search/stream") == strings.HasPrefix(bad, `\u`) && strings.Contains(page, bad) {
				t.Errorf("%s has %s", path, bad)
			}
		}
	}
	var body []byte
	c.Must("POST", "/search/export", map[string]string{"query": `"evil-line"`, "format": "csv"}, &body)
	records, err := csv.NewReader(strings.NewReader(string(body))).ReadAll()
	if err != nil || len(records) != len(evil)+1 {
		t.Fatalf("export: %v, %d lines", err, len(records))
	}
	for _, cell := range slices.Concat(records[1:]...) {
		if strings.IndexAny(strings.TrimLeft(cell, " \u3000"), "=+-@\t\r＝") == 0 {
			t.Errorf("a spreadsheet computes %q", cell)
		}
	}
}

// TestWrongQueriesAreExplained wants every refusal with a sentence, never an
// error of the hub's own, for what cannot be read, is huge or costs much.
func TestWrongQueriesAreExplained(t *testing.T) {
	t.Parallel()
	h := hubtest.Start(t)
	h.Site("clinic", "hospital")
	agent, c := h.Enrol("clinic", "pc-1"), h.FirstAdmin()
	var many []event.Event
	for i := range 500 {
		many = append(many, logOn(fmt.Sprint("user", i), strings.Repeat("a", 200)))
	}
	agent.Report(many...)
	h.Await("the events", func() bool { return len(c.Find("user:*")) == len(many) || len(c.Find("User:*")) == len(many) })
	for _, query := range []string{"(", ")", "a OR", "NOT", `"open`, "User:", "User:/(/", "User:/(a{1000}){1000}/", "| ", "| nothing", "| stats", "| stats p0(EventID)", "| stats p100(EventID)",
		"| timeline 0s", "| timeline 999999999999w", "| top 99999999999 User", "| limit -1", "| sort x", "| where x > 1", "time:yesterday", "time > 9999-99-99", "a\x00b", "\xff\xfe", "ip:10.0.0.0/99", "source_port:x",
		strings.Repeat("(", 5000), strings.Repeat("-", 5000) + "a", strings.Repeat("a OR ", 1600) + "a", strings.Repeat("b", 8193), "| count by " + strings.Repeat("a,", 2000)} {
		for _, path := range []string{"/search?q=", "/search/histogram?q=", "/search/fields/User?q="} {
			err := c.Do("GET", path+url.QueryEscape(query), nil, nil)
			p, ok := err.(*hubtest.Problem)
			if path != "/search?q=" && err == nil { // stages behind the filter do not matter there
				continue
			}
			if !ok || p.Status != http.StatusBadRequest && p.Status != http.StatusUnprocessableEntity || p.Detail == "" && len(p.Errors) == 0 {
				t.Errorf("GET %s%.60q: got %v, want a refusal with a sentence", path, query, err)
			}
		}
		if status, page := c.Page("/search?q=" + url.QueryEscape(query)); status != http.StatusUnprocessableEntity || strings.Contains(page, "fault.") {
			t.Errorf("page for %.60q: got %d, with an untranslated fault: %t", query, status, strings.Contains(page, "fault."))
		}
	}
	costly := []string{"User:/(a*)*b/", `raw:/(a|aa)+$/`, `raw:/(x+x+)+y/`, "| stats p50(EventID), p90(EventID), p99(EventID) by raw, User, id", "| stats distinct(raw), distinct(id) by User", strings.TrimSuffix(strings.Repeat("a*b*c*d* OR ", 250), " OR ")}
	for _, query := range costly {
		err := c.Do("GET", "/search?q="+url.QueryEscape(query), nil, nil)
		if p, ok := err.(*hubtest.Problem); err != nil && (!ok || p.Status >= 500 && p.Status != http.StatusServiceUnavailable) {
			t.Errorf("%.60q: %v", query, err)
		}
	}
}

// TestReadersWhoDoNotRead lets one person open many long answers and read none
// of them: others must be answered at once, and in the end that person too.
func TestReadersWhoDoNotRead(t *testing.T) {
	t.Parallel()
	h := hubtest.Start(t, func(c *hub.Config) { c.Stall = 500 * time.Millisecond })
	h.Site("clinic", "hospital")
	agent, c, greedy := h.Enrol("clinic", "pc-1"), h.FirstAdmin(), h.Person("greedy", "", auth.Responder)
	var many []event.Event
	for i := range 2000 {
		many = append(many, logOn(fmt.Sprint("user", i), strings.Repeat("0123456789abcdef", 128)))
	}
	for range 2 {
		agent.Report(many...)
	}
	h.Idle()
	for i := range 16 { // four are answered at once, and one person gets a third of the places
		method, path, body := "GET", "/api/v1/search?limit=10000&q=", ""
		if i%6 == 5 {
			method, path, body = "POST", "/api/v1/search/export", `{"query":"","format":"jsonl"}`
		}
		defer unread(t, h, fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", method, path, greedy.Token, len(body), body)).Close()
	}
	export := map[string]string{"query": "User=user7", "format": "jsonl"}
	if got := c.Find("User=user7"); len(got) != 2 {
		t.Errorf("somebody else finds %d events, want 2", len(got))
	}
	c.Must("POST", "/search/export", export, nil)
	agent.Report(logOn("late", "after-them"))
	h.Await("the newest event", func() bool { return len(c.Find("after-them")) == 1 })
	h.Await("an answer for the one who asked so much", func() bool {
		err := greedy.Do("GET", "/search?q=User=user7", nil, nil)
		if p, ok := err.(*hubtest.Problem); err != nil && (!ok || p.Key != "search.busy" || p.Detail == "") {
			t.Fatalf("got %v, want an answer or busy", err)
		}
		return err == nil
	})
	greedy.Must("POST", "/search/export", export, nil)
}

// unread sends a request on a connection whose answer nobody reads.
func unread(t *testing.T, h *hubtest.Hub, request string) net.Conn {
	t.Helper()
	raw, err := net.Dial("tcp", strings.TrimPrefix(h.URL, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	conn := tls.Client(raw, &tls.Config{RootCAs: h.Pool(), ServerName: "127.0.0.1", MinVersion: tls.VersionTLS13})
	if _, err := conn.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	return raw
}
