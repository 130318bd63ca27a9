package ui

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/alert"
)

var update = flag.Bool("update", false, "write the golden files anew")

// pages are the pages of a house in full course: who looks, at what.
var pages = []struct{ name, who, path string }{
	{"login", "", "/login"},
	{"join-first", "", "/join/first"},
	{"now", "approver", "/"},
	{"alerts", "responder", "/alerts?state=acked"},
	{"alert", "responder", "/alerts/al-1"},
	{"incidents", "responder", "/incidents?all=1"},
	{"room", "responder", "/incidents/in-1"},
	{"room-correcting", "responder", "/incidents/in-1?correct=2"},
	{"room-contractor", "contractor", "/incidents/in-1"},
	{"facts", "responder", "/incidents/in-1/facts"},
	{"decision", "responder", "/incidents/in-1/decision"},
	{"decision-approver", "approver", "/incidents/in-1/decision?service=callcentre%2Fsv-1"},
	{"decision-criteria", "admin", "/decision-criteria"},
	{"decision-criteria-service", "responder", "/decision-criteria?service=callcentre%2Fsv-1"},
	{"run", "responder", "/incidents/in-1/runs/run-1"},
	{"run-paper", "responder", "/incidents/in-1/runs/run-1/paper"},
	{"playbook-begin", "responder", "/incidents/in-1/begin?playbook=foreign"},
	{"playbooks", "responder", "/playbooks"},
	{"playbook", "responder", "/playbooks/playbook--c2e51e95-3739-5332-b0b2-f0f7b47cc257"},
	{"tasks", "responder", "/incidents/in-1/tasks"},
	{"tasks-mine", "responder", "/tasks"},
	{"tasks-contractor", "contractor", "/incidents/in-1/tasks"},
	{"team", "responder", "/incidents/in-1/team"},
	{"team-roles", "admin", "/roles"},
	{"rota", "responder", "/incidents/in-1/rota"},
	{"rota-correct", "responder", "/incidents/in-1/rota?correct={stay}"},
	{"handovers", "responder", "/incidents/in-1/handovers"},
	{"handover", "responder", "/incidents/in-1/handovers/{handover}"},
	{"paper", "responder", "/incidents/in-1/paper"},
	{"paper-contractor", "contractor", "/incidents/in-1/paper"},
	{"paper-sheet", "responder", "/incidents/in-1/paper/sheets/csv-1"},
	{"cause", "responder", "/incidents/in-1/cause"},
	{"cause-contractor", "contractor", "/incidents/in-1/cause"},
	{"measures", "responder", "/measures?all=1"},
	{"restore-drills", "responder", "/protect/drills"},
	{"restore-drills-contractor", "contractor", "/protect/drills"},
	{"restore-drill", "responder", "/protect/drills/rd-1"},
	{"restore-drill-machine", "executive", "/protect/drills/rd-3"},
	{"restore-drill-new", "responder", "/protect/drills/new"},
	{"restore-drill-run", "responder", "/protect/drills/rd-1/runs/rr-2"},
	{"restore-drill-passed", "responder", "/protect/drills/rd-1/runs/rr-0"},
	{"restore-drill-none", "auditor", "/protect/drills/rd-1/runs/rr-1"},
	{"protect-copies", "responder", "/protect/copies"},
	{"protect-copies-new", "responder", "/protect/copies/new?kind=lock"},
	{"protect-copies-place", "responder", "/protect/copies/pl-1"},
	{"protect-restore", "responder", "/protect/restore"},
	{"protect-restore-machine", "responder", "/protect/restore/machines/ho-2"},
	{"protect-restore-browse", "responder", "/protect/restore/machines/ho-2/0202020202020202020202020202020202020202020202020202020202020202?path=/srv/records"},
	{"protect-restore-search", "responder", "/protect/restore/machines/ho-2/0303030303030303030303030303030303030303030303030303030303030303?name=csv"},
	{"protect-restore-compare", "responder", "/protect/restore/machines/ho-2/0202020202020202020202020202020202020202020202020202020202020202/compare?path=/srv&with=0303030303030303030303030303030303030303030303030303030303030303"},
	{"protect-restore-asked", "responder", "/protect/restore/requests/rs-1"},
	{"protect-restore-held", "responder", "/protect/restore/requests/rs-2"},
	{"protect-restore-restored", "responder", "/protect/restore/requests/rs-3"},
	{"protect-restore-running", "responder", "/protect/restore/requests/rs-4"},
	{"protect-restore-failed", "responder", "/protect/restore/requests/rs-5"},
	{"protect-restore-moment", "responder", "/protect/restore/requests/rs-6"},
	{"protect-restore-base", "responder", "/protect/restore/machines/ho-2/0101010101010101010101010101010101010101010101010101010101010101?path=/base"},
	{"protect-restore-stream", "responder", "/protect/restore/machines/ho-2/0101010101010101010101010101010101010101010101010101010101010101"},
	{"protect-plan", "responder", "/protect/plan"},
	{"protect-plan-service", "responder", "/protect/plan/pl-1/services/emr"},
	{"protect-plan-capacity", "responder", "/protect/plan/pl-1/capacity"},
	{"protect-forecast", "executive", "/protect/forecast"},
	{"protect-forecast-incident", "executive", "/protect/forecast?plan=pl-1&incident=in-1"},
	{"protect-forecast-terms", "responder", "/protect/forecast/pl-1/terms"},
	{"duties", "approver", "/incidents/in-1/duties?at=2026-11-22T05%3A00%3A00Z"},
	{"duties-now", "responder", "/incidents/in-1/duties"},
	{"authorities", "admin", "/authorities"},
	{"holidays", "admin", "/authorities/holidays"},
	{"holidays-look", "responder", "/authorities/holidays"},
	{"sheet", "approver", "/incidents/in-1/sheet"},
	{"sheet-hand", "responder", "/incidents/in-1/sheet"},
	{"sheet-wall", "executive", "/executive?wall=1"},
	{"sheet-denied", "contractor", "/executive"},
	{"documents", "responder", "/incidents/in-1/documents"},
	{"documents-executive", "executive", "/incidents/in-1/documents"},
	{"document-particulars", "responder", "/incidents/in-1/particulars"},
	{"plan", "responder", "/incidents/in-1/isolate?host=ho-1"},
	{"actions", "approver", "/actions"},
	{"action", "approver", "/actions/ac-1"},
	{"approve", "approver", "/actions/ac-1/approve"},
	{"action-frozen", "responder", "/actions/ac-3"},
	{"action-part", "responder", "/incidents/in-1/contain?host=ho-1"},
	{"action-part-peers", "responder", "/incidents/in-1/contain?host=ho-2&kind=block-peer"},
	{"action-policies", "responder", "/policies"},
	{"action-policy", "approver", "/policies/po-2"},
	{"action-policy-holds", "responder", "/policies/po-1"},
	{"action-policy-new", "responder", "/policies/new?kind=isolate&where=callcentre&class=pc&least=4&certain=1&from=19&to=7&most=3&lease=1h0m0s&tell=%22x%22&probe=192.0.2.10%3A445"},
	{"cut-plan", "responder", "/incidents/in-1/cut?site=hospital"},
	{"cutting", "responder", "/cuttings/cu-1"},
	{"action-part-vm", "responder", "/incidents/in-1/contain?host=ho-1&kind=cut-vm"},
	{"code", "approver", "/actions/ac-1/code"},
	{"search", "responder", "/search"},
	{"search-events", "responder", "/search?q=Application%3Abittorrent&range=24h"},
	{"search-all", "responder", "/search?q=&range=7d"},
	{"search-table", "responder", "/search?q=kind%3Aflow+%7C+top+20+destination_ip+by+sum%28bytes_out%29&range=24h"},
	{"search-timeline", "responder", "/search?q=%7C+timeline+1h&range=24h"},
	{"search-wrong", "responder", "/search?q=User%3Atanaka+%28host%3Aho-1+OR&range=24h"},
	{"search-none", "responder", "/search?q=%22no+such+text%22&range=1h"},
	{"search-contractor", "contractor", "/search?q=&range=24h"},
	{"search-event", "responder", "/search/event?id=ba-0-3&at=2026-11-22T05%3A04%3A03Z&q=Application%3Abittorrent&range=24h"},
	{"search-field", "responder", "/search/field?field=DestinationIp&q=kind%3Aflow&range=24h"},
	{"searches", "responder", "/searches"},
	{"entity-host", "responder", "/entity?kind=host&value=ho-1"},
	{"entity-address", "responder", "/entity?kind=address&value=203.0.113.7&range=24h"},
	{"entity-none", "responder", "/entity?kind=user&value=nobody"},
	{"network", "responder", "/network?range=24h"},
	{"network-none", "contractor", "/network?range=15m&label=ssh"},
	{"network-wrong", "responder", "/network?address=printer"},
	{"network-host", "responder", "/network/host?address=198.51.100.7"},
	{"network-flows", "responder", "/network/flows?range=7d&label=bittorrent"},
	{"network-flow", "responder", "/network/flow?id=wire-198.51.100.7-203.0.113.7&at=2026-11-22T05%3A00%3A00Z"},
	{"network-sensors", "responder", "/network/sensors"},
	{"rule", "responder", "/search/rule?q=Application%3Abittorrent&range=24h"},
	{"rules", "responder", "/rules"},
	{"rules-unheard", "executive", "/rules?show=unheard&from=pack"},
	{"rule-own", "responder", "/rules/bittorrent-certain"},
	{"rule-correlation", "responder", "/rules/b0ae2f3b-fa3f-4f48-b461-8a13095bcd7f"},
	{"rule-pack", "responder", "/rules/5f0f7a52-2b6a-4d57-9a0e-6d5d6b0b7a11?alert=al-1"},
	{"rule-off", "responder", "/rules/hush-2"},
	{"rule-unheard", "executive", "/rules/aix-1"},
	{"lists", "admin", "/lists"},
	{"lists-look", "responder", "/lists"},
	{"lists-draft", "admin", "/list-drafts/{draft}"},
	{"lists-no-draft", "admin", "/list-drafts/none"},
	{"bags", "responder", "/evidence"},
	{"bag", "responder", "/evidence/bag-1"},
	{"hosts", "admin", "/hosts"},
	{"host", "admin", "/hosts/ho-2"},
	{"health", "admin", "/health"},
	{"health-limit", "admin", "/health/disk?place=host:ho-2"},
	{"health-contractor", "contractor", "/health"},
	{"settings", "admin", "/settings"},
	{"devices", "admin", "/devices"},
	{"device-switch", "admin", "/devices/dev-1"},
	{"device-list", "admin", "/devices/dev-2"},
	{"device-hook", "admin", "/devices/new?means=hook"},
	{"device-nas", "admin", "/devices/new?means=coa"},
	{"notify", "responder", "/notify"},
	{"notify-call", "responder", "/notify/calls/{call}"},
	{"notify-contact", "responder", "/notify/contacts/pe-responder"},
	{"notify-settings", "admin", "/notify/settings"},
	{"notify-chain", "admin", "/notify/chains/{chain}"},
	{"notify-channel", "admin", "/notify/channels/{channel}"},
	{"notify-channel-new", "admin", "/notify/channels/new?kind=lineworks"},
	{"notify-channel-screens", "admin", "/notify/channels/new?kind=desktop"},
	{"notify-tree", "responder", "/notify/chains/{chain}/tree"},
	{"notify-denied", "contractor", "/notify"},
	{"protect", "executive", "/protect"},
	{"protect-policies", "responder", "/protect/policies"},
	{"protect-policy", "responder", "/protect/policies/bp-1"},
	{"protect-policy-new", "admin", "/protect/policies/new?class=cl-2"},
	{"protect-class", "responder", "/protect/classes/cl-1"},
	{"protect-runs", "responder", "/protect/runs"},
	{"protect-run", "responder", "/protect/runs/br-1"},
	{"protect-run-suspect", "responder", "/protect/runs/br-3"},
	{"protect-history", "responder", "/protect/history"},
	{"protect-denied", "contractor", "/protect"},
	{"block-plan", "responder", "/incidents/in-1/block?host=ho-1"},
	{"protect-snapshots", "responder", "/protect/snapshots"},
	{"protect-snapshots-contractor", "contractor", "/protect/snapshots"},
	{"protect-series", "responder", "/protect/snapshots/sr-1?begun=2026-11-20T09%3A00&uncertain=1h0m0s"},
	{"protect-series-executive", "executive", "/protect/snapshots/sr-1"},
	{"protect-snapshot", "responder", "/protect/snapshots/sr-1/" + snapshotName(1)},
	{"protect-snapshot-answered", "executive", "/protect/snapshots/sr-1/" + snapshotName(2)},
	{"protect-snapshot-stream", "responder", "/protect/snapshots/sr-1/" + snapshotName(7)},
	{"protect-loss", "responder", "/protect/snapshots/sr-1/" + snapshotName(6) + "/loss"},
	{"protect-vaults", "responder", "/protect/repositories"},
	{"protect-vaults-approver", "approver", "/protect/repositories"},
	{"protect-vaults-admin", "admin", "/protect/repositories"},
	{"protect-vault", "responder", "/protect/repositories/ho-1?plan=1"},
	{"protect-vault-proposed", "responder", "/protect/repositories/ho-1"},
	{"protect-vault-new", "executive", "/protect/repositories/ho-2"},
	{"protect-vault-sheet", "admin", "/protect/repositories/ho-1/sheet"},
	{"protect-tools", "admin", "/protect/tools"},
	{"protect-tools-approver", "approver", "/protect/tools"},
	{"protect-vault-denied", "contractor", "/protect/repositories"},
	{"audit", "auditor", "/audit"},
	{"denied", "contractor", "/actions"},
	{"other-site", "contractor", "/hosts/ho-2"},
	{"missing", "responder", "/alerts/none"},
}

// body cuts a page to what it says, one element a line, so that a difference
// reads well.
func body(t *testing.T, page string) string {
	t.Helper()
	_, rest, ok := strings.Cut(page, "<body")
	if !ok {
		t.Fatalf("no body in %q", page)
	}
	for what, with := range passing {
		rest = regexp.MustCompile(what).ReplaceAllString(rest, with)
	}
	return "<body" + strings.ReplaceAll(rest, "><", ">\n<") + "\n"
}

// passing is what no two runs have the same: ids of what was made just now,
// and how much time rules took.
var passing = map[string]string{
	`\bch-[0-9A-Za-z-]+`:                                  "ch-1",
	`\b(t[ld])-[0-9A-Za-z-]{8,}`:                          "${1}-1", // threat lists and drafts
	`\bmw-[0-9a-f]+-[0-9a-f]+`:                            "mw-1",
	`(ca|cn|ms|sh|ta|po|st|hv)-[0-9a-f]{12}-[0-9a-f]{12}`: "${1}-1",
	`(class="(?:number )?cost">)[^<]*`:                    "${1}0.0 %",
}

func TestPagesSayWhatTheyShould(t *testing.T) {
	for _, lang := range []string{"ja", "en"} {
		h := newHouse().inCourse().withEvents(t, wires())
		v, _ := h.open(t)
		browsers := map[string]visitor{"": v}
		for _, p := range pages {
			if _, ok := browsers[p.who]; !ok {
				browsers[p.who] = v.as(p.who)
			}
			sep := "?"
			if strings.Contains(p.path, "?") {
				sep = "&"
			}
			got := body(t, browsers[p.who].get(h.at(p.path)+sep+"lang="+lang).body)
			if strings.Contains(got, "⟦") {
				t.Errorf("%s in %s has words that no catalogue knows: %s", p.name, lang, around(got, "⟦"))
			}
			if strings.Contains(got, "<script>alert") || strings.Contains(got, "<b>op") || strings.Contains(got, "<b>peer") {
				t.Errorf("%s lets text from outside become HTML", p.name)
			}
			golden(t, p.name+"."+lang+".html", got)
		}
	}
}

// around shows the place where something stands.
func around(s, what string) string {
	i := strings.Index(s, what)
	return s[max(0, i-20):min(len(s), i+80)]
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); d != "" {
		t.Errorf("%s differs (run with -update and review):\n%s", name, d)
	}
}

func TestEmptyHouseSaysSo(t *testing.T) {
	h := newHouse()
	h.alertList, h.hostList = nil, nil
	v, _ := h.open(t)
	r := v.as("responder")
	for path, want := range map[string]string{
		"/": "進行中の事案はありません", "/alerts": "この条件に合う警報はありません", "/incidents": "事案はありません", "/actions": "承認待ちの措置はありません",
		"/evidence": "証拠袋はありません", "/hosts": "機器はまだ登録されていません",
	} {
		got := r.get(path)
		if got.status != http.StatusOK || !strings.Contains(got.body, want) {
			t.Errorf("%s: %d, want it to say %q", path, got.status, want)
		}
	}
}

func TestLongListIsPaged(t *testing.T) {
	h := newHouse()
	h.alertList = nil
	for n := range 205 {
		a := story(start)
		a.ID, a.State = fmt.Sprintf("al-%d", n), alert.Open
		h.alertList = append(h.alertList, a)
	}
	v, _ := h.open(t)
	r := v.as("responder")
	first := r.get("/alerts?state=open").body
	if n := strings.Count(first, `<td class="what">`); n != 50 {
		t.Errorf("the first page has %d rows, want 50", n)
	}
	for _, want := range []string{"205件のうち 1–50", `href="/alerts?offset=50&amp;state=open"`} {
		if !strings.Contains(first, want) {
			t.Errorf("the first page lacks %q", want)
		}
	}
	if n := strings.Count(r.get("/alerts?state=open&offset=200").body, `<td class="what">`); n != 5 {
		t.Errorf("the last page has %d rows, want 5", n)
	}
}
