package sheet_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/action/device"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/ledger"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/playbook"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/report"
	"github.com/sonae/sonae/report/html"
	"github.com/sonae/sonae/report/sheet"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/rows"
	"github.com/sonae/sonae/state/statetest"
)

var (
	start = time.Date(2026, 11, 22, 5, 5, 0, 0, time.UTC)
	anna  = auth.Person{ID: "pe-1", Name: "安西 花"}
)

// house is the stages that a sheet draws on, with a real state and ledger.
type house struct {
	*sheet.Desk
	db     *state.DB
	hands  *sheet.Hands
	room   *incident.Room
	assets *asset.Registry
	in     incident.Incident
	book   *ledger.Ledger
	key    string
}

// wards is an advisor with one recommendation.
type wards struct{}

func (wards) Advice(context.Context, string) ([]sheet.Advice, error) {
	return []sheet.Advice{{Service: "電子カルテ", Verdict: sheet.Keep, Criterion: report.Plain("基準1"), Path: "/x"}}, nil
}

func build(t *testing.T) *house {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	h := &house{db: statetest.Open(t)}
	now := func() time.Time { return start.Add(90 * time.Minute) }
	signer, key, err := note.GenerateKey(nil, "sonae")
	must(t, err)
	h.key = key
	h.book, err = ledger.Open(t.Context(), t.TempDir(), signer, log)
	must(t, err)
	t.Cleanup(func() { _ = h.book.Close() })
	law, err := duty.LoadRules()
	must(t, err)
	_, orders, err := ed25519.GenerateKey(nil)
	must(t, err)
	room, duties, assets := incident.New(h.db, now, log), duty.New(h.db, law, now, log), asset.New(h.db, now, log)
	actions := action.New(h.db, orders, assets, device.NewStore(h.db, nil, now), now, log)
	books, err := playbook.New(h.db, playbook.Deps{Incidents: room, Duties: duties, Actions: actions, Now: now, Log: log})
	must(t, err)
	must(t, assets.SaveSite(t.Context(), asset.Site{ID: "hospital", Name: "中央病院", Kind: asset.Hospital}, anna))
	h.in, err = room.Open(t.Context(), incident.NewIncident{Title: "受付PCのファイル共有", Severity: event.High, Sites: []string{"hospital"}, KnownAt: start}, anna)
	must(t, err)
	must(t, duties.Start(t.Context(), h.in, ""))
	h.room, h.assets, h.hands = room, assets, sheet.NewHands(h.db, room, assets, now, log)
	h.Desk = sheet.New(h.db, sheet.Deps{
		Incidents: room, Duties: duties, Alerts: alert.New(h.db, now, log), Actions: actions, Books: books, Assets: assets,
		Names: assets.Names, Say: alert.Alert.Say, Pages: html.Sheets{}, Ledger: h.book, Advisor: wards{}, Hands: h.hands,
		Counters: []sheet.Counter{{Name: report.Plain("tasks"), Count: func(context.Context, string) (int, int, int, error) { return 3, 2, 1, nil }}},
	}, now, log)
	return h
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// relay brings the leaves that wait to the ledger, as the hub does.
func (h *house) relay(t *testing.T) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var left int
	must(t, h.db.QueryRow(ctx, `SELECT COUNT(*) FROM outbox`).Scan(&left))
	must(t, h.db.Relay(ctx, func(ctx context.Context, subject, _ string, body []byte) error {
		if left--; left == 0 {
			defer stop()
		}
		if !strings.HasPrefix(subject, "record.sheet") {
			return nil
		}
		var l leaf.Leaf
		if err := json.Unmarshal(body, &l); err != nil {
			return err
		}
		_, err := h.book.Append(context.WithoutCancel(ctx), l)
		return err
	}))
}

func TestSheetIsMadeOfTheStages(t *testing.T) {
	h := build(t)
	s, err := h.Sheet(t.Context(), h.in.ID)
	must(t, err)
	if s.No != 0 || s.ID != "" || s.Risk.Level != sheet.High || len(s.Advice) != 1 || len(s.Deadlines) == 0 || s.Next.Path != "/x" {
		t.Errorf("got %+v", s)
	}
	if want := (sheet.Count{Name: report.Plain("tasks"), Todo: 3, Doing: 2, Done: 1}); len(s.Counts) != 4 || s.Counts[3] != want {
		t.Errorf("counts %+v", s.Counts)
	}
	if _, err := h.Sheet(t.Context(), "in-none"); fault.Of(err) != fault.Missing {
		t.Errorf("an unknown incident: %v", err)
	}
}

func TestKeptVersionStaysAndIsProved(t *testing.T) {
	h := build(t)
	ctx := t.Context()
	first, err := h.Keep(ctx, h.in.ID, anna)
	must(t, err)
	second, err := h.Keep(ctx, h.in.ID, anna)
	must(t, err)
	if first.No != 1 || second.No != 2 || first.By != anna.ID || first.Incident != h.in.ID {
		t.Errorf("kept %+v and %+v", first, second)
	}
	list, err := h.List(ctx, h.in.ID)
	must(t, err)
	if d := cmp.Diff([]sheet.Kept{second, first}, list); d != "" {
		t.Error(d)
	}
	s, err := h.Get(ctx, h.in.ID, first.ID)
	must(t, err)
	if s.MadeBy != anna.Name || s.No != 1 || s.Salt == "" || s.Risk.Level != sheet.High {
		t.Errorf("the kept data is %+v", s)
	}
	if _, err := h.Get(ctx, "in-other", first.ID); fault.Of(err) != fault.Missing {
		t.Errorf("through another incident: %v", err)
	}
	h.relay(t)
	for _, lang := range []string{"ja", "en"} {
		var page bytes.Buffer
		must(t, h.HTML(ctx, h.in.ID, first.ID, lang, &page))
		path := filepath.Join(t.TempDir(), "sheet.html")
		must(t, os.WriteFile(path, page.Bytes(), 0o600))
		r, err := html.Verify(path, h.key)
		if err != nil || !r.Intact() || r.Document != first.ID+"/"+lang {
			t.Errorf("%s: %+v %v", lang, r, err)
		}
		b := bytes.Replace(page.Bytes(), []byte("<h1>"), []byte("<h1> "), 1)
		must(t, os.WriteFile(path, b, 0o600))
		if r, err := html.Verify(path, h.key); err != nil || r.Intact() {
			t.Errorf("%s: a changed page passes: %+v %v", lang, r, err)
		}
	}
}

func TestPaperWithoutKeepingSaysSo(t *testing.T) {
	h := build(t)
	var page bytes.Buffer
	must(t, h.Paper(t.Context(), h.in.ID, "ja", "", &page))
	if !strings.Contains(page.String(), "控えに残していない版") || strings.Contains(page.String(), "⟦") {
		t.Error("the page does not say that it is not kept")
	}
	if list, err := h.List(t.Context(), h.in.ID); err != nil || len(list) != 0 {
		t.Errorf("printing kept %v, %v", list, err)
	}
}

// TestOneChangedByteInWhatIsKeptIsNamed changes one byte of a kept version 100
// times.
func TestOneChangedByteInWhatIsKeptIsNamed(t *testing.T) {
	h := build(t)
	ctx := t.Context()
	for range 2 {
		_, err := h.Keep(ctx, h.in.ID, anna)
		must(t, err)
	}
	differences := func() []rows.Difference {
		got, err := sheet.VerifyRows(ctx, h.db, func(string) []leaf.Leaf { return nil }) // all leaves are still in the outbox
		must(t, err)
		return got
	}
	if got := differences(); len(got) != 0 {
		t.Fatalf("honest rows: %v", got)
	}
	exec := func(query string, args ...any) error {
		return h.db.Tx(ctx, func(tx *state.Tx) error { _, err := tx.ExecContext(ctx, query, args...); return err })
	}
	statetest.Loose(t, h.db, "sheet", "sheet_page")
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	columns := []string{"sheet.id", "sheet.incident", "sheet.no", "sheet.kept_at", "sheet.kept_by", "sheet.body", "sheet_page.sheet", "sheet_page.lang", "sheet_page.body"}
	for i := 0; i < 100; {
		table, column, _ := strings.Cut(columns[random.IntN(len(columns))], ".")
		row := 1 + random.IntN(2)
		var old string
		must(t, h.db.QueryRow(ctx, `SELECT CAST(`+column+` AS TEXT) FROM `+table+` WHERE rowid = $1`, row).Scan(&old))
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
		must(t, exec(set, old, row))
	}
	must(t, exec(`DELETE FROM sheet_page WHERE lang = 'en' AND sheet = (SELECT MIN(id) FROM sheet)`))
	if got := differences(); len(got) != 1 || got[0].Kind != rows.RowMissing {
		t.Errorf("a removed page: %v", got)
	}
}
