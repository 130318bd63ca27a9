package ui

import (
	"html"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// TestThreatListFromFileToEnd brings a list as a form without script does, puts
// it into force, searches the archive for it and takes it out.
func TestThreatListFromFileToEnd(t *testing.T) {
	h := newHouse().withEvents(t)
	v, _ := h.open(t)
	admin := v.as("admin")
	if got := admin.post("/lists", "text", "", "format", ""); got.status != http.StatusUnprocessableEntity || !strings.Contains(got.body, "ファイルを選ぶか、貼り付けてください") {
		t.Errorf("nothing: %d", got.status)
	}
	if got := v.as("responder").post("/lists", "text", "203.0.113.10"); got.status != http.StatusForbidden {
		t.Errorf("a responder brings a list: %d", got.status)
	}
	brought := admin.post("/lists", "text", "203.0.113.10\n192.168.1.1\n", "format", "lines")
	draft := brought.header.Get("Location")
	if brought.status != http.StatusSeeOther || !strings.HasPrefix(draft, "/list-drafts/") {
		t.Fatalf("bring: %d %s", brought.status, draft)
	}
	says(t, admin.get(draft), []string{"203.0.113.10", "1件が入ります", "内部のアドレス", "192.168.1.1"}, nil)
	terms := []string{"name", "試験の一覧", "source", "", "confidence", "70", "days", "30", "back", "0"}
	if got := admin.post(draft, terms...); got.status != http.StatusUnprocessableEntity || !strings.Contains(got.body, `value="試験の一覧"`) {
		t.Errorf("without a source: %d, or what was typed is lost", got.status)
	}
	terms[3] = "検証"
	if got := admin.post(draft, terms...); got.status != http.StatusSeeOther {
		t.Fatalf("put into force: %d", got.status)
	}
	if got := admin.get(draft); got.status != http.StatusNotFound {
		t.Errorf("the draft is still there: %d", got.status)
	}
	all, err := h.threats.Lists(t.Context())
	if err != nil || all[0].Name != "試験の一覧" {
		t.Fatalf("%+v, %v", all, err)
	}
	at := "/lists/" + all[0].ID
	if got := admin.post(at+"/search", "days", "many"); got.status != http.StatusUnprocessableEntity {
		t.Errorf("many days: %d", got.status)
	}
	if got := admin.post(at+"/search", "days", "7"); got.status != http.StatusSeeOther {
		t.Fatalf("search: %d", got.status)
	}
	searched(t, h.threats)
	page := admin.get("/lists")
	says(t, page, []string{"203.0.113.10</code></a>", "cc-pc-07"}, nil)
	link := regexp.MustCompile(`href="(/search[^"]*203\.0\.113\.10[^"]*)"`).FindStringSubmatch(page.body)
	if link == nil {
		t.Fatal("no link to the events")
	}
	says(t, admin.get(html.UnescapeString(link[1])), []string{"ba-0-", "203.0.113.10"}, nil)
	if got := admin.post(at+"/end", "reason", ""); got.status != http.StatusUnprocessableEntity {
		t.Errorf("without a reason: %d", got.status)
	}
	if got := admin.post(at+"/end", "reason", "試験の終わり"); got.status != http.StatusSeeOther {
		t.Errorf("end: %d", got.status)
	}
	says(t, v.as("responder").get("/lists"), []string{"試験の終わり", "リストを取り込めるのは、全拠点の管理者です"}, []string{`name="reason"`, `type="file"`})
}
