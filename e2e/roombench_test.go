//go:build e2e

package e2e

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/e2e/browser"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/hub/hubtest"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/state"
)

// The size of the incident that the room is measured with, and how often.
const (
	roomEntries = 5000
	roomAlerts  = 500
	roomHosts   = 25
	roomLoads   = 40
	roomEvents  = 40
)

// TestBenchRoom opens the room of a large incident in a real browser before a
// real hub, and measures first paint and live updates; SONAE_BENCH_ROOM names
// the file for the tables (make bench-room). It fails when the page is wrong,
// never because it is slow.
func TestBenchRoom(t *testing.T) {
	out := os.Getenv("SONAE_BENCH_ROOM")
	if out == "" {
		t.Skip("SONAE_BENCH_ROOM names no file (make bench-room)")
	}
	b := largeRoom(t)
	served, bytes := b.served()
	rows := []string{
		row("The hub makes the page ("+strconv.Itoa(bytes>>10)+" KiB of HTML)", served),
		row("First paint, first visit (nothing in the browser's cache)", b.paints(true)),
		row("First paint, next visits", b.paints(false)),
		row("Live: an entry, from before it is sent to the API", b.entries()),
		row("Live: an alert that somebody takes, likewise", b.acks()),
	}
	text := fmt.Sprintf(roomReport, roomEntries, roomAlerts, roomHosts, time.Now().Format("2006-01-02 15:04"), processor(), runtime.NumCPU(),
		strings.TrimSpace(file("/proc/loadavg")), strings.Join(rows, "\n"))
	t.Log("\n" + text)
	head, rest, found := strings.Cut(file(out), "<!-- measured -->")
	if _, tail, ok := strings.Cut(rest, "<!-- end -->"); found && ok {
		text = head + "<!-- measured -->\n" + text + "<!-- end -->" + tail
	}
	if err := os.WriteFile(out, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

const roomReport = `%d entries, %d alerts of %d hosts, in one incident. Measured %s on %s with %d processors; hub and browser share them. Load at the end: %s.

| | p50 ms | p95 ms | most ms | times |
|---|---:|---:|---:|---:|
%s
`

// row is one line of the table.
func row(what string, took []time.Duration) string {
	slices.Sort(took)
	ms := func(d time.Duration) string { return strconv.FormatFloat(float64(d.Microseconds())/1000, 'f', 0, 64) }
	at := func(q float64) string { return ms(took[min(len(took)-1, int(q*float64(len(took))))]) }
	return fmt.Sprintf("| %s | %s | %s | %s | %d |", what, at(0.5), at(0.95), ms(took[len(took)-1]), len(took))
}

func file(path string) string {
	b, _ := os.ReadFile(path) // a file that is not there says nothing
	return string(b)
}

func processor() string {
	for line := range strings.Lines(file("/proc/cpuinfo")) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.HasPrefix(name, "model name") {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// room is a large incident and the one who looks at it.
type room struct {
	t    *testing.T
	hub  *hubtest.Hub
	c    *hubtest.Client
	v    *browser.Visitor
	path string
	id   string
}

// largeRoom fills a hub's state through its own stages while the hub is down,
// and starts the hub again, which then does all that it does for such an
// incident: clocks, chronology, evidence, ledger.
func largeRoom(t *testing.T) *room {
	t.Helper()
	dir := hubtest.Folder(t)
	first := hubtest.Start(t, hubtest.Dir(dir))
	first.Site("hospital", "hospital")
	c := first.FirstAdmin()
	var hosts []string
	for i := range roomHosts {
		hosts = append(hosts, first.Enrol("hospital", fmt.Sprintf("ehr-ws-%03d", i+1)).Identity().Host)
	}
	first.Stop()
	in := fillRoom(t, filepath.Join(dir, "state.db"), hosts, c.Person)
	h := hubtest.Start(t, hubtest.Dir(dir))
	r := &room{t: t, hub: h, c: h.Again(c), id: in.ID, path: "/incidents/" + in.ID}
	h.Admin(r.c)
	r.settle()
	r.v = browser.Start(t, h.URL, axe, "ja").Visitor(t, browser.Options{Base: h.URL, Lang: "ja"})
	r.v.Cookie("__Host-sonae_session", c.Token)
	return r
}

func fillRoom(t *testing.T, at string, hosts []string, by auth.Person) incident.Incident {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	db, err := state.Open(t.Context(), at, log)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	alerts := alert.New(db, time.Now, log)
	for i := range roomAlerts {
		if err := alerts.Handle(t.Context(), roomFinding(i, hosts[i%len(hosts)])); err != nil {
			t.Fatal(err)
		}
	}
	var ids []string
	for offset := 0; len(ids) < roomAlerts; offset += 200 {
		list, total, err := alerts.List(t.Context(), alert.Filter{Limit: 200, Offset: offset})
		if err != nil || total != roomAlerts {
			t.Fatalf("%d alerts: %v", total, err)
		}
		for _, a := range list {
			ids = append(ids, a.ID)
		}
	}
	incidents := incident.New(db, time.Now, log)
	in, err := incidents.Open(t.Context(), incident.NewIncident{Title: "電子カルテ端末での暗号化の疑い", Severity: event.Critical, Alerts: ids, Sites: []string{"hospital"}, Hosts: hosts}, by)
	if err != nil {
		t.Fatal(err)
	}
	for i := range roomEntries - roomAlerts { // each alert has a line of its own
		if _, err := incidents.Write(t.Context(), in.ID, incident.NewEntry{Source: "phone", Certainty: incident.Fact,
			Text: fmt.Sprintf("%d 病棟の看護師長から電話。端末 %d 台で電子カルテが開かないとのこと。電源を切らずネットワークケーブルを抜くよう伝えた。", i%12+1, i%7+1)}, by); err != nil {
			t.Fatal(err)
		}
	}
	return in
}

// roomFinding is what one of twenty rules says about a host.
func roomFinding(i int, host string) detect.Finding {
	rule := fmt.Sprintf("bench-rule-%02d", i/roomHosts)
	at := time.Now().Add(-time.Duration(roomAlerts-i) * time.Second)
	f := detect.Finding{ID: fmt.Sprintf("%032x", i), Time: at, Site: "hospital", Host: host, Rule: detect.Rule{
		ID: rule, Level: event.Severity(i % 5), Tags: []string{"attack.t1486"},
		Title: detect.Text{"ja": "短い時間に多くのファイルが書き換えられた", "en": "Many files were rewritten in a short time"},
		What:  detect.Text{"ja": "{host} で {programs} が多くのファイルを書き換え、{peers} と通信した。", "en": "On {host}, {programs} rewrote many files and talked to {peers}."},
	}}
	for n := range 4 {
		ip := netip.AddrFrom4([4]byte{203, 0, 113, byte(1 + (i+n)%250)})
		f.Events = append(f.Events, event.Event{ID: fmt.Sprintf("ev-%d-%d", i, n), Kind: event.KindFlow, Time: at, Site: "hospital", Host: host, Fields: map[string]string{
			event.FieldFlowID: fmt.Sprintf("f-%d-%d", i, n), event.FieldRemoteIP: ip.String(), event.FieldRemotePort: "443", event.FieldProtocol: "tcp",
			event.FieldVerdict: "tls", event.FieldConfidence: "certain", event.FieldSent: "120000", event.FieldReceived: "4000",
			event.FieldPID: strconv.Itoa(4000 + n%2), event.FieldImage: `C:\Users\Public\svchost` + strconv.Itoa(n%2) + `.exe`, event.FieldUser: "WARD\\nurse",
		}})
	}
	return f
}

// settle waits until the hub has done what an opened incident needs.
func (r *room) settle() {
	r.t.Helper()
	for end := time.Now().Add(10 * time.Minute); ; time.Sleep(time.Second) {
		in := hubtest.Get[incident.Incident](r.c, "/incidents/"+r.id)
		db, err := state.OpenReadOnly(filepath.Join(r.hub.Dir, "state.db"))
		if err != nil {
			r.t.Fatal(err)
		}
		waiting, err := db.Waiting(r.t.Context())
		if err := cmp.Or(err, db.Close()); err != nil {
			r.t.Fatal(err)
		}
		if in.Entries >= roomEntries && waiting == 0 {
			return
		}
		if time.Now().After(end) {
			r.t.Fatalf("the incident has %d entries and %d messages wait", in.Entries, waiting)
		}
	}
}

// served is how long the hub takes for the whole answer, and its size.
func (r *room) served() (took []time.Duration, bytes int) {
	r.t.Helper()
	client := http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: r.hub.Pool()}}}
	defer client.CloseIdleConnections()
	for i := range roomLoads + 1 {
		req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, r.hub.URL+r.path+"?lang=ja", nil)
		if err != nil {
			r.t.Fatal(err)
		}
		req.AddCookie(&http.Cookie{Name: "__Host-sonae_session", Value: r.c.Token})
		began := time.Now()
		res, err := client.Do(req)
		if err != nil {
			r.t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != http.StatusOK || !strings.Contains(string(body), `data-entry="`+strconv.Itoa(roomEntries)+`"`) {
			r.t.Fatalf("the room: %s %v", res.Status, err)
		}
		if i > 0 { // the first one also opens the connection
			took, bytes = append(took, time.Since(began)), len(body)
		}
	}
	return took, bytes
}

// paints opens the room again and again and asks the browser when it first
// painted, counted from the beginning of the navigation.
func (r *room) paints(cold bool) (took []time.Duration) {
	r.t.Helper()
	for range roomLoads {
		r.v.Open("about:blank")
		if cold {
			r.v.Forget()
		}
		r.v.Open(r.path + "?lang=ja")
		r.v.Until("a painted chronology", `document.readyState === "complete" && document.querySelectorAll("#room-entries li").length === 200 && performance.getEntriesByName("first-contentful-paint").length === 1`)
		ms := browser.Eval[float64](r.v, `performance.getEntriesByName("first-contentful-paint")[0].startTime`)
		took = append(took, time.Duration(ms*float64(time.Millisecond)))
	}
	return took
}

// watch notes the wall clock of the frame in which js first holds.
const watch = `new Promise(done => {
	const holds = () => %s;
	const seen = () => requestAnimationFrame(() => setTimeout(() => done(performance.timeOrigin + performance.now())));
	if (holds()) { seen(); return; }
	const o = new MutationObserver(() => { if (holds()) { o.disconnect(); seen(); } });
	o.observe(document.body, {subtree: true, childList: true, attributes: true, characterData: true});
})`

// until does something and measures when js holds on the screen of the open page.
func (r *room) until(js string, do func()) time.Duration {
	r.t.Helper()
	browser.Eval[bool](r.v, "window.seen = "+fmt.Sprintf(watch, js)+", true")
	began := time.Now()
	do()
	ms := browser.Eval[float64](r.v, "window.seen")
	return time.UnixMicro(int64(ms * 1000)).Sub(began)
}

// live opens the room and waits for its stream.
func (r *room) live() {
	r.t.Helper()
	r.v.Open(r.path + "?lang=ja")
	r.v.Until("live page", "document.getElementById('connection').dataset.now === 'fresh'")
}

func (r *room) entries() (took []time.Duration) {
	r.t.Helper()
	r.live()
	for i := range roomEvents {
		text := "ただいまの記録 " + strconv.Itoa(i) + " 番"
		took = append(took, r.until(`document.querySelector("#room-entries").textContent.includes("`+text+`")`, func() {
			r.c.Must(http.MethodPost, r.path+"/entries", map[string]string{"text": text, "source": "phone", "certainty": "fact"}, nil)
		}))
		r.rest()
	}
	return took
}

func (r *room) acks() (took []time.Duration) {
	r.t.Helper()
	r.live()
	shown := hubtest.List[alert.Alert](r.c, "/alerts?incident="+r.id)
	for _, a := range shown[:min(len(shown), roomEvents)] {
		link := `#room-alerts a[href="/alerts/` + a.ID + `"]`
		row := `document.querySelector(` + "`" + link + "`" + `).closest("tr").textContent`
		was := browser.Eval[string](r.v, row)
		took = append(took, r.until(row+" !== "+strconv.Quote(was), func() { r.c.Must(http.MethodPost, "/alerts/"+a.ID+"/ack", nil, nil) }))
		r.rest()
	}
	return took
}

// rest lets what the last change started come to its end, so that each one is
// measured alone.
func (r *room) rest() { time.Sleep(700 * time.Millisecond) }
