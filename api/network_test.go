package api

import (
	"net/http"
	"testing"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/event"
)

func TestNetworkOverTheAPI(t *testing.T) {
	b := newBench(t)
	at := b.clock().Add(-time.Minute)
	fields := map[string]string{event.FieldFlowID: "fl-1", event.FieldPhase: "end", event.FieldSrcIP: "10.0.0.5", event.FieldDstIP: "203.0.113.9", event.FieldDstPort: "6881",
		event.FieldApp: "bittorrent", event.FieldConfidence: "certain", event.FieldSent: "5000", event.FieldReceived: "70"}
	batch := event.Batch{ID: "ba-1", Site: "callcentre", Host: "ho-1", Events: []event.Event{
		{ID: "ba-1-0", Time: at, Site: "callcentre", Host: "ho-1", Kind: event.KindFlow, Fields: fields}}}
	if _, err := b.archive.Append(t.Context(), []event.Batch{batch}); err != nil {
		t.Fatal(err)
	}
	all := b.person("sato", "", auth.Responder)
	other := b.person("suzuki", "hospital", auth.Contractor)
	span := "from=" + b.clock().Add(-time.Hour).Format(time.RFC3339) + "&to=" + b.clock().Format(time.RFC3339)

	var traffic Traffic
	b.call(all, "GET", "/network?"+span+"&label=bittorrent", nil).is(http.StatusOK, &traffic)
	if len(traffic.Talks) != 1 || traffic.Talks[0] != (Talk{"10.0.0.5", "203.0.113.9", "bittorrent", 1, 5000, 70, at.UTC()}) {
		t.Errorf("traffic %+v", traffic)
	}
	traffic = Traffic{}
	b.call(other, "GET", "/network?"+span, nil).is(http.StatusOK, &traffic)
	if len(traffic.Talks) != 0 {
		t.Errorf("another site sees %+v", traffic.Talks)
	}
	b.call(all, "GET", "/network?"+span+"&address=printer", nil).problem(http.StatusBadRequest, "searchpage.address")

	var party Party
	b.call(all, "GET", "/network/hosts/203.0.113.9?"+span, nil).is(http.StatusOK, &party)
	if len(party.Serves) != 1 || party.Serves[0] != (Served{"6881", "bittorrent", 1, 1}) || party.Week.Most() != 1 {
		t.Errorf("party %+v", party)
	}
	var list Connections
	b.call(all, "GET", "/network/flows?"+span+"&port=6881", nil).is(http.StatusOK, &list)
	if len(list.Events) != 1 || list.Events[0].ID != "ba-1-0" {
		t.Errorf("connections %+v", list)
	}
	var course page[event.Event]
	b.call(all, "GET", "/network/flows/fl-1?at="+at.UTC().Format(time.RFC3339), nil).is(http.StatusOK, &course)
	if course.Total != 1 {
		t.Errorf("course %+v", course)
	}
	b.call(other, "GET", "/network/flows/fl-1?at="+at.UTC().Format(time.RFC3339), nil).problem(http.StatusNotFound, "searchpage.no-connection")
}
