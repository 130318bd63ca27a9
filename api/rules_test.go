package api

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/detect/tuning"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/search"
)

func TestRulesOverTheAPI(t *testing.T) {
	b := newBench(t)
	all := b.person("sato", "", auth.Responder)
	executive := b.person("mori", "", auth.Executive)
	contractor := b.person("suzuki", "callcentre", auth.Contractor)
	flow := func(id string) event.Batch {
		return event.Batch{ID: id, Site: "callcentre", Host: "ho-callcentre", Events: []event.Event{{ID: id, Time: b.clock().Add(-time.Minute), Kind: event.KindFlow, Product: "sonae", Category: "network_connection", Service: "flow",
			Fields: map[string]string{event.FieldApp: "bittorrent", event.FieldConfidence: "certain", event.FieldPhase: "end", event.FieldUser: "backup"}}}}
	}
	first := flow("ba-1")
	if found := b.engine.Match(first); len(found) != 1 {
		t.Fatalf("%d findings", len(found))
	}
	if _, err := b.archive.Append(t.Context(), []event.Batch{first}); err != nil {
		t.Fatal(err)
	}
	if err := b.rulebook.Note(t.Context()); err != nil {
		t.Fatal(err)
	}

	var list RulePage
	b.call(executive, "GET", "/rules?show=hit", nil).is(http.StatusOK, &list)
	if list.Total != 2 || // the counting rule saw it too
		list.All < 5 || list.Items[0].ID != "bittorrent-certain" || list.Items[0].Hits != 1 || list.Items[0].Last == nil || len(list.Rejected) != 1 || len(list.Sources) != 1 {
		t.Errorf("list %+v", list)
	}
	var r RuleWhole
	b.call(executive, "GET", "/rules/bittorrent-certain", nil).is(http.StatusOK, &r)
	if r.Origin != "own" || !r.Heard || r.Condition == nil || !strings.Contains(r.YAML, "bittorrent") || len(r.Sources) != 1 || r.Title["ja"] == "" {
		t.Errorf("rule %+v", r)
	}
	b.call(executive, "GET", "/rules/none", nil).problem(http.StatusNotFound, "rule.unknown")
	b.call(contractor, "GET", "/rules", nil).problem(http.StatusForbidden, "denied.role")
	var test RuleTest
	b.call(all, "POST", "/rules/bittorrent-certain/test?days=2", nil).is(http.StatusOK, &test)
	if test.Hits != 1 || test.Hosts != 1 || !test.Complete || len(test.Examples) != 1 {
		t.Errorf("test %+v", test)
	}

	hush := RuleChangeFields{Rule: "bittorrent-certain", Kind: "suppress", When: []tuning.Match{{Field: "User", Op: "is", Value: "backup"}}, Owner: "検査科", Reason: "配布", Until: b.clock().Add(24 * time.Hour)}
	b.call(executive, "POST", "/rule-changes", hush).problem(http.StatusForbidden, "denied.role")
	var c search.Tuned
	b.call(all, "POST", "/rule-changes", hush).is(http.StatusCreated, &c)
	b.reload()
	if found := b.engine.Match(flow("ba-2")); len(found) != 0 {
		t.Errorf("%d findings in spite of the suppression", len(found))
	}
	hush.When = nil
	b.call(all, "POST", "/rule-changes", hush).problem(http.StatusBadRequest, "tuning.when-none")
	b.call(all, "POST", "/rule-changes", RuleChangeFields{Rule: "bittorrent-certain", Kind: "level", Owner: "o", Reason: "r", Until: b.clock().Add(time.Hour)}).problem(http.StatusBadRequest, "incident.severity-unknown")
	b.call(all, "POST", "/rule-changes/"+c.ID+"/end", Reason{"もう要らない"}).is(http.StatusNoContent, nil)
	b.call(all, "POST", "/rule-changes/"+c.ID+"/end", Reason{"again"}).problem(http.StatusNotFound, "rule.no-change")
	b.call(all, "POST", "/rules/bittorrent-certain/disable", Reason{"誤検知"}).is(http.StatusNoContent, nil)
	b.call(all, "POST", "/rules/bittorrent-certain/disable", Reason{"again"}).problem(http.StatusConflict, "rule.off")
	b.call(all, "POST", "/rules/bittorrent-certain/enable", Reason{"直した"}).is(http.StatusNoContent, nil)
	var changes page[search.Tuned]
	b.call(executive, "GET", "/rule-changes?rule=bittorrent-certain", nil).is(http.StatusOK, &changes)
	if changes.Total != 2 || changes.Items[0].EndedAt.IsZero() || changes.Items[1].EndedAt.IsZero() {
		t.Errorf("changes %+v", changes)
	}
}
