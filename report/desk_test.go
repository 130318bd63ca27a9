package report_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/evidence"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/ledger"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/report"
	"github.com/sonae/sonae/report/html"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/statetest"
)

var (
	start  = time.Date(2026, 11, 22, 5, 2, 0, 0, time.UTC)
	prompt = report.Order{Kind: "prompt"}
	anna   = auth.Person{ID: "pe-1", Name: "安西 花"}
)

// house is the stages that a report draws on, with a real state and ledger.
type house struct {
	*report.Desk
	db     *state.DB
	room   *incident.Room
	duties *duty.Desk
	in     incident.Incident
	book   *ledger.Ledger
	key    string
}

func build(t *testing.T) *house {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	h := &house{}
	var err error
	check := func() {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	h.db = statetest.Open(t)
	signer, key, err := note.GenerateKey(nil, "sonae")
	check()
	h.key = key
	h.book, err = ledger.Open(t.Context(), t.TempDir(), signer, log)
	check()
	t.Cleanup(func() { _ = h.book.Close() })
	now := func() time.Time { return start.Add(90 * time.Minute) }
	rules, err := duty.LoadRules()
	check()
	h.room, h.duties = incident.New(h.db, now, log), duty.New(h.db, rules, now, log)
	h.in, err = h.room.Open(t.Context(), incident.NewIncident{Title: "受付PCのファイル共有", Severity: event.High, Alerts: []string{"al-1"}, Sites: []string{"callcentre"}, Hosts: []string{"ho-1"}, KnownAt: start}, anna)
	check()
	err = h.duties.Start(t.Context(), h.in, "callcentre")
	check()
	h.Desk = report.New(h.db, h.deps(rules), now, log)
	err = h.SetReporter(t.Context(), report.Reporter{Organisation: "県立中央病院", Phone: "000-0000-0000"}, anna)
	check()
	return h
}

func (h *house) deps(rules duty.Rules) report.Deps {
	return report.Deps{
		Incidents: h.room, Duties: h.duties, Rules: rules, Pages: html.Pages{}, Ledger: h.book, Makers: makers(),
		Alerts: func(context.Context, string) ([]alert.Alert, error) {
			late := observed("al-2", start.Add(time.Minute))
			return []alert.Alert{late, observed("al-1", start.Add(-time.Minute))}, nil
		},
		Actions: func(context.Context, string) ([]action.Action, error) {
			return []action.Action{{Kind: action.Isolate, State: action.Verified, Host: "ho-1", RequestedBy: "pe-1", DecidedBy: "pe-2", AppliedAt: start,
				Checks: []action.Check{{Name: "hub-reachable", Target: "10.0.0.1:8443", OK: true}, {Name: "forbidden-blocked", Target: "192.0.2.1:6881"}}},
				{Kind: action.Preserve, State: action.Verified, Host: "ho-1", RequestedBy: "pe-1", AppliedAt: start}}, nil
		},
		Bags: func(context.Context, string) ([]evidence.Bag, error) {
			return []evidence.Bag{{ID: "ev-1", Host: "ho-1", State: evidence.Sealed, Digest: strings.Repeat("a", 64), Items: make([]evidence.Item, 7), Bytes: 1000}}, nil
		},
		Names: func(context.Context) (map[string]string, error) {
			return map[string]string{"pe-1": "安西 花", "pe-2": "別所 一", "ho-1": "cc-pc-07", "callcentre": "電話受付センター"}, nil
		},
		Say: func(a alert.Alert, t detect.Text, lang string, names map[string]string) string {
			return strings.ReplaceAll(t[lang], "{host}", names[a.Host])
		},
	}
}

func observed(id string, first time.Time) alert.Alert {
	a := alert.Alert{ID: id, Severity: event.High, Host: "ho-1", Site: "callcentre", First: first, Last: start, Sent: 5000,
		Rule: detect.Rule{Title: detect.Text{"ja": "ファイル共有", "en": "File sharing"}, What: detect.Text{"ja": "{host} がファイル共有をしている。(" + id + ")", "en": "{host} shares files. (" + id + ")"}}}
	for i := range 25 {
		a.Peers = append(a.Peers, alert.Peer{Address: "192.0.2.1:6881", Sent: int64(i)})
	}
	return a
}

// relay brings the leaves that wait to the ledger, as the hub does.
func (h *house) relay(t *testing.T) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var left int
	if err := h.db.QueryRow(ctx, `SELECT COUNT(*) FROM outbox`).Scan(&left); err != nil {
		t.Fatal(err)
	}
	err := h.db.Relay(ctx, func(ctx context.Context, subject, _ string, body []byte) error {
		if left--; left == 0 {
			defer stop()
		}
		if !strings.HasPrefix(subject, "record.") {
			return nil
		}
		var l leaf.Leaf
		if err := json.Unmarshal(body, &l); err != nil {
			return err
		}
		_, err := h.book.Append(context.WithoutCancel(ctx), l)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func field(t *testing.T, d report.Data, id string) report.Field {
	t.Helper()
	for _, it := range d.Items {
		for _, f := range it.Fields {
			if f.ID == id {
				return f
			}
		}
	}
	t.Fatalf("no field %s", id)
	return report.Field{}
}

func TestADraftSaysWhatIsKnownAndMarksWhatIsNot(t *testing.T) {
	h := build(t)
	d, err := h.Draft(t.Context(), h.in.ID, prompt)
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]report.Field{
		"occurred":    {Value: report.Text{JA: "2026-11-22 14:01（最初の警報が示す時刻）", EN: "2026-11-22 14:01 (time given by the first alert)"}, Suggested: true},
		"event":       {Value: report.Text{JA: "cc-pc-07 がファイル共有をしている。(al-1)\ncc-pc-07 がファイル共有をしている。(al-2)", EN: "cc-pc-07 shares files. (al-1)\ncc-pc-07 shares files. (al-2)"}, Suggested: true},
		"cause_party": {Value: report.Text{JA: "委託先（電話受付センター）", EN: "At the contractor (電話受付センター)"}, Suggested: true},
		"cause":       {Missing: true},
		"persons":     {Missing: true},
	} {
		got := field(t, d, id)
		got.ID, got.Label = "", report.Text{}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s:\n%s", id, diff)
		}
	}
	if d.No != 0 || d.Document != "" || len(d.Items) != 9 || len(d.Entries) != 2 || len(d.Clocks) != 8 || d.Reporter[0].Missing || !d.Reporter[1].Missing {
		t.Errorf("draft: %+v", d)
	}
	if a := d.Alerts[0]; a.ID != "al-1" || len(a.Peers) != 10 || a.MorePeer != 15 || a.Peers[0].Sent != 24 || a.Host != "cc-pc-07" {
		t.Errorf("alert: %+v", a)
	}
	if diff := cmp.Diff([]string{"hub-reachable 10.0.0.1:8443 ok", "forbidden-blocked 192.0.2.1:6881 failed"}, d.Actions[0].Checks); diff != "" {
		t.Error(diff)
	}
	if got := d.Actions[1].State; got.JA != "保全済み" || got.EN != "Preserved" {
		t.Errorf("a finished preservation reads %+v", got)
	}
	if strings.Contains(state.JSON(d), "⟦") {
		t.Errorf("words are missing: %s", state.JSON(d))
	}

	// what a person states replaces the suggestion and is no longer marked
	a, err := h.duties.Assess(t.Context(), h.in.ID)
	if err != nil {
		t.Fatal(err)
	}
	f := a.Facts
	f.Personal, f.MyNumber, f.Confirmed, f.Maximum, f.Items.Occurred = duty.Yes, duty.Yes, 3, 40, "昨夜"
	if err := h.duties.SetFacts(t.Context(), h.in.ID, f, anna); err != nil {
		t.Fatal(err)
	}
	if d, err = h.Draft(t.Context(), h.in.ID, prompt); err != nil {
		t.Fatal(err)
	}
	if got := field(t, d, "occurred"); got.Value.JA != "昨夜" || got.Suggested {
		t.Errorf("occurred: %+v", got)
	}
	if got := field(t, d, "persons"); got.Value.EN != "Confirmed 3 / at most 40" || got.Missing || got.Suggested {
		t.Errorf("persons: %+v", got)
	}
	if got := d.Items[1].Label.JA; got != "個人データの項目／特定個人情報の項目" {
		t.Errorf("item 2 is called %q", got)
	}
}

func TestADocumentIsFrozenAndProvesItself(t *testing.T) {
	h := build(t)
	ctx := t.Context()
	doc, err := h.Make(ctx, h.in.ID, prompt, anna)
	if err != nil {
		t.Fatal(err)
	}
	h.relay(t)
	if _, err := h.room.Write(ctx, h.in.ID, incident.NewEntry{Text: "後から書いた"}, anna); err != nil {
		t.Fatal(err)
	}
	for _, lang := range []string{"ja", "en"} {
		var page bytes.Buffer
		if err := h.HTML(ctx, doc.ID, lang, &page); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(page.String(), "後から書いた") {
			t.Error("the made document changed")
		}
		path := filepath.Join(t.TempDir(), "report.html")
		if err := os.WriteFile(path, page.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		if r, err := html.Verify(path, h.key); err != nil || !r.Intact() || r.Document != doc.ID+"/"+lang {
			t.Errorf("%s: %+v %v", lang, r, err)
		}
	}
	data, err := h.JSON(ctx, doc.ID)
	if err != nil {
		t.Fatal(err)
	}
	if digest, err := leaf.Digest(data); err != nil || digest != doc.Digest || data.No != 1 || data.MadeBy != anna.Name || len(data.Entries) != 2 {
		t.Errorf("the data: digest %s, want %s; %v", digest, doc.Digest, err)
	}
	second, err := h.Make(ctx, h.in.ID, prompt, anna)
	if err != nil {
		t.Fatal(err)
	}
	all, err := h.List(ctx, h.in.ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]report.Document{second, doc}, all); diff != "" || second.No != 2 {
		t.Errorf("documents:\n%s", diff)
	}
	for name, err := range map[string]error{
		"get":  func() error { _, err := h.Get(ctx, "do-none"); return err }(),
		"json": func() error { _, err := h.JSON(ctx, "do-none"); return err }(),
		"html": h.HTML(ctx, "do-none", "ja", new(bytes.Buffer)),
		"make": func() error { _, err := h.Make(ctx, "in-none", prompt, anna); return err }(),
	} {
		if fault.Of(err) != fault.Missing {
			t.Errorf("%s of nothing: %v", name, err)
		}
	}
}

func TestPaperComesOutBeforeTheLedgerKnows(t *testing.T) {
	h := build(t)
	doc, err := h.Make(t.Context(), h.in.ID, prompt, anna)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 300*time.Millisecond) // do not wait as long as a person would
	defer stop()
	var page bytes.Buffer
	if err := h.HTML(ctx, doc.ID, "ja", &page); err != nil && ctx.Err() == nil {
		t.Fatal(err)
	}
	if page.Len() > 0 && !strings.Contains(page.String(), `<meta name="sonae-proof" content="">`) {
		t.Error("there is a proof in it that cannot be")
	}
	// with the leaf arriving while it waits, the proof is in
	var wg sync.WaitGroup
	wg.Go(func() { h.relay(t) })
	page.Reset()
	if err := h.HTML(t.Context(), doc.ID, "ja", &page); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if strings.Contains(page.String(), `<meta name="sonae-proof" content="">`) {
		t.Error("no proof although the ledger had the leaf in time")
	}
}

func TestALongChronologyIsCutInTheMiddle(t *testing.T) {
	h := build(t)
	for range 520 {
		if err := h.room.Note(t.Context(), h.in.ID, incident.Note{Key: "duty.changed"}); err != nil {
			t.Fatal(err)
		}
	}
	d, err := h.Draft(t.Context(), h.in.ID, prompt)
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Entries) != 500 || d.Omitted != 22 || d.Entries[49].No != 50 || d.Entries[50].No != 73 || d.Entries[499].No != 522 {
		t.Errorf("%d entries, %d omitted", len(d.Entries), d.Omitted)
	}
}

func TestEveryWordOfADocumentExists(t *testing.T) {
	var keys []string
	for _, s := range []action.State{action.Requested, action.Approved, action.Applied, action.Verified, action.Releasing, action.Released, action.Expired, action.Refused, action.Failed} {
		keys = append(keys, "report.action-state."+string(s))
	}
	for _, k := range []action.Kind{action.Isolate, action.Preserve} {
		keys = append(keys, "report.action."+string(k))
	}
	for _, s := range []evidence.State{evidence.Collecting, evidence.Sealed, evidence.Broken} {
		keys = append(keys, "report.bag."+string(s))
	}
	for _, s := range incident.States() {
		keys = append(keys, "incident.state."+string(s))
	}
	for s := event.Info; s <= event.Critical; s++ {
		keys = append(keys, "incident.severity."+s.String())
	}
	for _, c := range []incident.Certainty{incident.Fact, incident.Estimate, incident.Unconfirmed} {
		keys = append(keys, "incident.certainty."+string(c))
	}
	for _, k := range keys {
		if !i18n.Has(k) {
			t.Errorf("no word for %s", k)
		}
	}
}

// TestOneChangedByteInWhatIsKeptIsNamed changes one byte of a kept document,
// 400 times.
func TestOneChangedByteInWhatIsKeptIsNamed(t *testing.T) {
	h := build(t)
	ctx := t.Context()
	for range 2 {
		if _, err := h.Make(ctx, h.in.ID, prompt, anna); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.SetReporter(ctx, report.Reporter{Organisation: "市立病院"}, anna); err != nil {
		t.Fatal(err)
	}
	h.useDocuments(t)
	differences := func() []incident.Difference {
		got, err := report.VerifyRows(ctx, h.db, func(string) []leaf.Leaf { return nil }) // all leaves are still in the outbox
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := differences(); len(got) != 0 {
		t.Fatalf("honest rows: %v", got)
	}
	exec := func(query string, args ...any) error {
		return h.db.Tx(ctx, func(tx *state.Tx) error { _, err := tx.ExecContext(ctx, query, args...); return err })
	}
	statetest.Loose(t, h.db, "document", "document_page", "reporter", "document_file", "document_approval", "document_view", "document_particulars")
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	columns := []string{"document.id", "document.incident", "document.no", "document.digest", "document.made_at", "document.made_by", "document.body",
		"document_page.document", "document_page.face", "document_page.digest", "document_page.body",
		"document.kind", "document.version", "document_file.document", "document_file.face", "document_file.format", "document_file.digest", "document_file.made_at", "document_file.body",
		"document_approval.document", "document_approval.approved_at", "document_approval.approved_by", "document_approval.body",
		"document_view.id", "document_view.document", "document_view.person", "document_view.hour", "document_view.viewed_at", "document_view.body",
		"document_particulars.incident", "document_particulars.no", "document_particulars.set_at", "document_particulars.set_by", "document_particulars.body",
		"reporter.no", "reporter.set_at", "reporter.set_by", "reporter.body"}
	for i := 0; i < 400; {
		table, column, _ := strings.Cut(columns[random.IntN(len(columns))], ".")
		row := 1 + random.IntN(2)
		var old string
		if err := h.db.QueryRow(ctx, `SELECT CAST(`+column+` AS TEXT) FROM `+table+` WHERE rowid = $1`, row).Scan(&old); err != nil {
			t.Fatal(err)
		}
		b := []byte(old)
		b[random.IntN(len(b))] ^= byte(1 + random.IntN(255))
		if !statetest.Keeps(string(b)) {
			continue
		}
		set := `UPDATE ` + table + ` SET ` + column + ` = CAST($1 AS TEXT) WHERE rowid = $2`
		if exec(set, string(b), row) != nil { // a key that exists already
			continue
		}
		i++
		if len(differences()) == 0 {
			t.Errorf("%s.%s of row %d: %q became %q unnoticed", table, column, row, old, b)
		}
		if err := exec(set, old, row); err != nil {
			t.Fatal(err)
		}
	}
	if err := exec(`DELETE FROM document_page WHERE face = 'en'`); err != nil {
		t.Fatal(err)
	}
	if got := differences(); len(got) != 4 || got[0].Kind != incident.RowMissing {
		t.Errorf("removed pages: %v", got)
	}
}
