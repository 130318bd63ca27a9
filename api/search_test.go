package api

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/search"
)

// observed puts n events of a site into the archive.
func (b *bench) observed(site string, n int) {
	b.t.Helper()
	batch := event.Batch{ID: "ba-" + site, Site: site, Host: "ho-" + site}
	for i := range n {
		batch.Events = append(batch.Events, event.Event{ID: fmt.Sprintf("ba-%s-%d", site, i), Time: b.clock().Add(-time.Duration(i+1) * time.Minute), Site: site, Host: "ho-" + site,
			Kind: event.KindLogin, Fields: map[string]string{event.FieldUser: fmt.Sprintf("user%d", i%3), event.FieldSrcIP: "192.0.2.7"}, Raw: "ログイン"})
	}
	if _, err := b.archive.Append(b.t.Context(), []event.Batch{batch}); err != nil {
		b.t.Fatal(err)
	}
}

// parts reads a streamed answer.
func (a answer) parts() (events []event.Event, last SearchPart) {
	a.t.Helper()
	a.is(http.StatusOK, nil)
	for s := bufio.NewScanner(a.Body); s.Scan(); {
		last = SearchPart{}
		if err := json.Unmarshal(s.Bytes(), &last); err != nil {
			a.t.Fatalf("%s: %v in %s", a.what, err, s.Text())
		}
		events = append(events, last.Events...)
	}
	if !last.Done {
		a.t.Errorf("%s: no last line", a.what)
	}
	return events, last
}

func TestSearchOverTheAPI(t *testing.T) {
	b := newBench(t)
	b.observed("hospital", 30)
	b.observed("callcentre", 12)
	all := b.person("sato", "", auth.Responder)
	contractor := b.person("suzuki", "callcentre", auth.Contractor)

	events, last := b.call(all, "GET", "/search?q=kind:login&limit=20", nil).parts()
	if len(events) != 20 || last.Next == "" {
		t.Fatalf("%d events, next %q", len(events), last.Next)
	}
	rest, last := b.call(all, "GET", "/search?q=kind:login&limit=100&after="+last.Next, nil).parts()
	if len(rest) != 22 || last.Next != "" {
		t.Errorf("%d more events, next %q", len(rest), last.Next)
	}
	for _, q := range []string{"", "site:hospital", "site:hospital+OR+kind:login", "-site:callcentre"} {
		events, _ := b.call(contractor, "GET", "/search?q="+q, nil).parts()
		for _, e := range events {
			if e.Site != "callcentre" {
				t.Fatalf("%q shows a contractor %+v", q, e)
			}
		}
	}
	_, last = b.call(all, "GET", "/search?q=%7C+count+by+user_name", nil).parts()
	if last.Table == nil || len(last.Table.Rows) != 3 || last.Table.Columns[0].Name != "user_name" {
		t.Errorf("table %+v", last.Table)
	}

	var e event.Event
	b.call(all, "GET", "/search/events/ba-hospital-4", nil).is(http.StatusOK, &e)
	if e.Raw != "ログイン" {
		t.Errorf("event %+v", e)
	}
	b.call(contractor, "GET", "/search/events/ba-hospital-4", nil).problem(http.StatusNotFound, "searchpage.no-event")
	b.call(all, "GET", "/search?q=user:(", nil).problem(http.StatusBadRequest, "search.expect-value")
}

func TestNumbersOfASearchOverTheAPI(t *testing.T) {
	b := newBench(t)
	b.observed("hospital", 30)
	b.observed("callcentre", 12)
	all := b.person("sato", "", auth.Responder)
	contractor := b.person("suzuki", "callcentre", auth.Contractor)
	span := "&from=" + b.clock().Add(-time.Hour).Format(time.RFC3339) + "&to=" + b.clock().Format(time.RFC3339)

	var bars page[Bucket]
	b.call(all, "GET", "/search/histogram?q=site:hospital&buckets=6"+span, nil).is(http.StatusOK, &bars)
	sum := int64(0)
	for _, x := range bars.Items {
		sum += x.Count
	}
	if len(bars.Items) != 6 || sum != 30 || bars.Items[0].Seconds != 600 {
		t.Errorf("histogram %+v", bars)
	}
	var f FieldStats
	b.call(contractor, "GET", "/search/fields/User?q="+span, nil).is(http.StatusOK, &f)
	if f.Present != 12 || f.Distinct != 3 || len(f.Top) != 3 {
		t.Errorf("field %+v", f)
	}
	var v Values
	b.call(contractor, "GET", "/search/suggest?field=host&prefix=HO", nil).is(http.StatusOK, &v)
	if len(v.Values) != 1 || v.Values[0] != "ho-callcentre" {
		t.Errorf("suggestions %+v", v)
	}
	var x Entity
	b.call(all, "GET", "/search/entity?kind=address&value=192.0.2.7"+span, nil).is(http.StatusOK, &x)
	if x.Count != 42 || !x.Last.Equal(b.clock().Add(-time.Minute)) || x.Related[0].Field != "host" || len(x.Related[0].Top) != 2 {
		t.Errorf("entity %+v", x)
	}
	b.call(all, "GET", "/search/entity?kind=address&value=nowhere"+span, nil).problem(http.StatusBadRequest, "searchpage.address")
}

func TestExportAndKeptSearchesOverTheAPI(t *testing.T) {
	b := newBench(t)
	b.observed("hospital", 5)
	all := b.person("sato", "", auth.Responder)
	colleague := b.person("mori", "", auth.Responder)
	contractor := b.person("suzuki", "callcentre", auth.Contractor)

	out := b.call(all, "POST", "/search/export", ExportFields{Query: "kind:login", Format: "csv"})
	if out.is(http.StatusOK, nil); strings.Count(out.Body.String(), "\n") != 6 {
		t.Errorf("export %s", out.Body)
	}
	b.call(contractor, "POST", "/search/export", ExportFields{Format: "csv"}).problem(http.StatusForbidden, "denied.role")
	b.call(all, "POST", "/search/export", ExportFields{Format: "exe"}).problem(http.StatusUnprocessableEntity, "api.invalid")

	var s search.Saved
	b.call(all, "POST", "/searches", SavedFields{Name: "夜のログイン", Query: "kind:login", Span: "24h"}).is(http.StatusCreated, &s)
	var list page[search.Saved]
	b.call(colleague, "GET", "/searches", nil).is(http.StatusOK, &list)
	if len(list.Items) != 0 {
		t.Errorf("a colleague sees %+v", list.Items)
	}
	b.call(all, "PUT", "/searches/"+s.ID, SavedChange{Name: "ログイン", Shared: true}).is(http.StatusNoContent, nil)
	b.call(colleague, "GET", "/searches", nil).is(http.StatusOK, &list)
	if len(list.Items) != 1 || list.Items[0].Name != "ログイン" {
		t.Errorf("a colleague sees %+v", list.Items)
	}
	b.call(colleague, "DELETE", "/searches/"+s.ID, nil).problem(http.StatusForbidden, "searchpage.not-own")
	b.call(all, "DELETE", "/searches/"+s.ID, nil).is(http.StatusNoContent, nil)
	b.call(all, "DELETE", "/searches/"+s.ID, nil).problem(http.StatusNotFound, "searchpage.no-saved")
}
