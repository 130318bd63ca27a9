package incident

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/statetest"
)

var (
	start = time.Date(2026, 11, 22, 5, 2, 9, 123456789, time.UTC)
	anna  = auth.Person{ID: "pe-1"}
	ben   = auth.Person{ID: "pe-2"}
)

// ticking is a clock that moves on by a second at each look.
type ticking struct {
	mu sync.Mutex
	at time.Time
}

func (c *ticking) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(time.Second)
	return c.at
}

type fixture struct {
	*Room
	db   *state.DB
	path string
}

func room(t *testing.T) fixture {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	path := statetest.Address(t)
	db := statetest.OpenAt(t, path)
	return fixture{Room: New(db, (&ticking{at: start}).now, log), db: db, path: path}
}

func (f fixture) open(t *testing.T, n NewIncident) Incident {
	t.Helper()
	if n.Title == "" {
		n.Title = "電話受付PCでのファイル共有"
	}
	in, err := f.Open(t.Context(), n, anna)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func (f fixture) entries(t *testing.T, id string) []Entry {
	t.Helper()
	all, err := f.Entries(t.Context(), id, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func (f fixture) ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// emitted returns the bodies that wait in the outbox under subject.
func (f fixture) emitted(t *testing.T, subject string) [][]byte {
	t.Helper()
	rows, err := f.db.Query(t.Context(), `SELECT body FROM outbox WHERE subject = $1 ORDER BY seq`, subject)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all [][]byte
	for rows.Next() {
		var b []byte
		if err := rows.Scan(&b); err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}

func TestOpenNumbersCommandsAndTells(t *testing.T) {
	f := room(t)
	in := f.open(t, NewIncident{Severity: event.High, Alerts: []string{"al-2", "al-1"}, Sites: []string{"callcentre"}, Hosts: []string{"ho-1"}, KnownAt: start.Add(-time.Hour)})
	got, err := f.Get(t.Context(), in.ID)
	f.ok(t, err)
	if diff := cmp.Diff(in, got); diff != "" {
		t.Errorf("what Open returned is not what is stored:\n%s", diff)
	}
	if in.No != 1 || in.State != Opened || in.Commander != anna.ID || in.Entries != 2 {
		t.Errorf("got %+v", in)
	}
	if second := f.open(t, NewIncident{}); second.No != 2 {
		t.Errorf("the second incident has number %d", second.No)
	}
	var m OpenedMessage
	f.ok(t, json.Unmarshal(f.emitted(t, SubjectOpened)[0], &m))
	if diff := cmp.Diff(OpenedMessage{Incident: in, Alerts: []string{"al-1", "al-2"}}, m); diff != "" {
		t.Errorf("incident.opened:\n%s", diff)
	}
}

func TestOneAlertIsOneIncident(t *testing.T) {
	f := room(t)
	in := f.open(t, NewIncident{Alerts: []string{"al-1"}})
	_, err := f.Open(t.Context(), NewIncident{Title: "again", Alerts: []string{"al-9", "al-1"}}, ben)
	var e *fault.Error
	if !errors.As(err, &e) || e.Kind != fault.Conflict || fmt.Sprint(e.Args) != fmt.Sprintf("[%d %s]", in.No, in.ID) {
		t.Fatalf("got %v, want a conflict that names incident %s", err, in.ID)
	}
	// nothing of the refused one stays: al-9 is still free
	if third := f.open(t, NewIncident{Alerts: []string{"al-9"}}); third.No != 2 {
		t.Errorf("got number %d, want 2", third.No)
	}
}

func TestMoves(t *testing.T) {
	for _, from := range States() {
		for _, to := range States() {
			t.Run(string(from)+" to "+string(to), func(t *testing.T) {
				f := room(t)
				in := f.open(t, NewIncident{})
				for _, s := range map[State][]State{Opened: nil, Responding: {Responding}, Contained: {Contained}, Recovering: {Recovering}, Ended: {Ended}}[from] {
					f.ok(t, f.Move(t.Context(), in.ID, s, "前提", anna))
				}
				before := f.entries(t, in.ID)
				err := f.Move(t.Context(), in.ID, to, "理由", ben)
				got, _ := f.Get(t.Context(), in.ID)
				if !CanMove(from, to) {
					var e *fault.Error
					if !errors.As(err, &e) || e.Kind != fault.Conflict || fmt.Sprint(e.Args) != fmt.Sprintf("[%s %s]", from, to) {
						t.Errorf("got %v, want a conflict naming both states", err)
					}
					if got.State != from || len(f.entries(t, in.ID)) != len(before) {
						t.Error("a refused move left a trace")
					}
					return
				}
				f.ok(t, err)
				if got.State != to || got.EndedAt.IsZero() == (to == Ended) || got.Entries != len(before)+1 {
					t.Errorf("got %+v", got)
				}
				if NeedsReason(from, to) && to != Ended {
					return
				}
				if err := f.Move(t.Context(), in.ID, Responding, "", ben); to == Ended && fault.Of(err) != fault.Invalid {
					t.Errorf("taken up again without a reason: %v", err)
				}
			})
		}
	}
	if CanMove(Opened, "nowhere") || CanMove("nowhere", Ended) {
		t.Error("unknown states can be reached")
	}
}

func TestEveryChangeWritesAnEntryThatReadsInBothLanguages(t *testing.T) {
	f := room(t)
	in := f.open(t, NewIncident{Severity: event.High, KnownAt: time.Date(2026, 11, 22, 4, 0, 0, 0, time.UTC)})
	ctx := t.Context()
	f.ok(t, f.Command(ctx, in.ID, ben.ID, anna))
	f.ok(t, f.Move(ctx, in.ID, Responding, "", ben))
	f.ok(t, f.SetSeverity(ctx, in.ID, event.Critical, "外部への送信を確認", ben))
	f.ok(t, f.SetScope(ctx, in.ID, Scope{Sites: []string{"callcentre", "hospital"}, Hosts: []string{"ho-1"}}, ben))
	f.ok(t, f.SetKnownAt(ctx, in.ID, time.Date(2026, 11, 21, 15, 30, 0, 0, time.UTC), "受付が前夜に気づいていた", ben))
	f.ok(t, f.Move(ctx, in.ID, Ended, "誤検知だった", ben))
	names := map[string]string{"pe-1": "安西", "pe-2": "別所", "callcentre": "電話受付センター", "ho-1": "cc-pc-07"}
	want := []string{
		"「電話受付PCでのファイル共有」を事案として開いた。緊急度は高、最初に知った時刻は2026-11-22 13:00。",
		"安西 が指揮をとる。", "別所 が指揮をとる。",
		"状態を「発生」から「対応中」に変えた。",
		"緊急度を「高」から「緊急」に変えた。理由: 外部への送信を確認",
		"影響範囲を書き直した。拠点: 電話受付センター, hospital。機器: cc-pc-07。補足: —",
		"最初に知った時刻を 2026-11-22 13:00 から 2026-11-22 00:30 に改めた。理由: 受付が前夜に気づいていた",
		"状態を「対応中」から「終結」に変えた。理由: 誤検知だった",
	}
	var ja []string
	for _, e := range f.entries(t, in.ID) {
		ja = append(ja, e.Say("ja", i18n.T, names))
		if en := e.Say("en", i18n.T, names); strings.ContainsAny(en, "{}⟦") || strings.Contains(en, "状態") {
			t.Errorf("entry %d in English: %s", e.No, en)
		}
	}
	if diff := cmp.Diff(want, ja); diff != "" {
		t.Error(diff)
	}
	for name, err := range map[string]error{
		"same commander": f.Command(ctx, in.ID, ben.ID, anna),
		"same severity":  f.SetSeverity(ctx, in.ID, event.Critical, "", anna),
		"same scope":     f.SetScope(ctx, in.ID, Scope{Sites: []string{"hospital", "callcentre"}, Hosts: []string{"ho-1"}}, anna),
	} {
		if fault.Of(err) != fault.Conflict {
			t.Errorf("%s: got %v, want a conflict", name, err)
		}
	}
}

func TestWhatWriteRefuses(t *testing.T) {
	f := room(t)
	in := f.open(t, NewIncident{})
	now := start.Add(time.Minute)
	for name, tt := range map[string]struct {
		id   string
		n    NewEntry
		want fault.Kind
	}{
		"nothing wrong":      {in.ID, NewEntry{Text: "電話で連絡を受けた", Source: "phone", Certainty: Fact}, ""},
		"late paper":         {in.ID, NewEntry{Text: "手書きの記録", Source: "paper", OccurredAt: now.AddDate(0, 0, -3)}, ""},
		"small skew":         {in.ID, NewEntry{Text: "x", OccurredAt: now.Add(time.Minute)}, ""},
		"corrects an entry":  {in.ID, NewEntry{Text: "x", Corrects: 1}, ""},
		"future":             {in.ID, NewEntry{Text: "x", OccurredAt: now.Add(time.Hour)}, fault.Invalid},
		"year mistyped":      {in.ID, NewEntry{Text: "x", OccurredAt: time.Date(202, 11, 22, 0, 0, 0, 0, time.UTC)}, fault.Invalid},
		"empty":              {in.ID, NewEntry{Text: " \n\x00"}, fault.Invalid},
		"too long":           {in.ID, NewEntry{Text: strings.Repeat("長", 4001)}, fault.Invalid},
		"unknown source":     {in.ID, NewEntry{Text: "x", Source: "電話"}, fault.Invalid},
		"unknown certainty":  {in.ID, NewEntry{Text: "x", Certainty: "sure"}, fault.Invalid},
		"corrects nothing":   {in.ID, NewEntry{Text: "x", Corrects: 99}, fault.Missing},
		"corrects backwards": {in.ID, NewEntry{Text: "x", Corrects: -1}, fault.Missing},
		"unknown incident":   {"in-none", NewEntry{Text: "x"}, fault.Missing},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := f.Write(t.Context(), tt.id, tt.n, anna); fault.Of(err) != tt.want || (err == nil) != (tt.want == "") {
				t.Errorf("got %v, want kind %q", err, tt.want)
			}
		})
	}
	for i, e := range f.entries(t, in.ID) {
		if e.No != i+1 {
			t.Fatalf("entry %d has number %d: refused ones leave gaps", i+1, e.No)
		}
	}
}

func TestCorrections(t *testing.T) {
	f := room(t)
	in := f.open(t, NewIncident{})
	wrong, err := f.Write(t.Context(), in.ID, NewEntry{Text: "3台"}, anna)
	f.ok(t, err)
	for _, text := range []string{"4台", "5台"} {
		_, err := f.Write(t.Context(), in.ID, NewEntry{Text: text, Corrects: wrong.No}, ben)
		f.ok(t, err)
	}
	if diff := cmp.Diff(map[int]int{wrong.No: wrong.No + 2}, Corrections(f.entries(t, in.ID))); diff != "" {
		t.Error(diff)
	}
	if got := f.entries(t, in.ID)[wrong.No-1]; got.Text != "3台" {
		t.Errorf("the corrected entry now reads %q", got.Text)
	}
}

func TestNotesAreWrittenOnceAndMachinesWithWrongClocksDoNotStopThem(t *testing.T) {
	f := room(t)
	in, other := f.open(t, NewIncident{}), f.open(t, NewIncident{})
	n := Note{Key: "action.verified", Args: map[string]string{"host": "ho-1"}, Source: "action", Ref: "ac-1", Unique: "action.verified:ac-1", OccurredAt: start.AddDate(0, 0, 2)}
	for range 3 {
		f.ok(t, f.Note(t.Context(), in.ID, n))
	}
	f.ok(t, f.Note(t.Context(), other.ID, n)) // once per incident
	all := f.entries(t, in.ID)
	if len(all) != 3 || all[2].Ref != "ac-1" || all[2].OccurredAt.After(start.Add(time.Hour)) {
		t.Fatalf("got %+v", all[2:])
	}
	if got, _ := f.Get(t.Context(), in.ID); got.Entries != 3 {
		t.Errorf("the incident counts %d entries", got.Entries)
	}
	if err := f.Note(t.Context(), in.ID, Note{Key: "not a key"}); err == nil {
		t.Error("an unusable key was accepted")
	}
	if err := f.Note(t.Context(), "in-none", n); fault.Of(err) != fault.Missing {
		t.Errorf("unknown incident: got %v", err)
	}
}

func TestManyWritersLeaveNoGap(t *testing.T) {
	f := room(t)
	in := f.open(t, NewIncident{})
	const writers, each = 8, 12
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if _, err := f.Write(context.WithoutCancel(t.Context()), in.ID, NewEntry{Text: fmt.Sprintf("%d/%d", w, i)}, ben); err != nil {
					t.Error(err)
				}
				// half of the notes are repeats
				if err := f.Note(context.WithoutCancel(t.Context()), in.ID, Note{Key: "test", Unique: fmt.Sprint(i)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	all := f.entries(t, in.ID)
	if want := 2 + writers*each + each; len(all) != want {
		t.Errorf("got %d entries, want %d", len(all), want)
	}
	for i, e := range all {
		if e.No != i+1 {
			t.Fatalf("entry %d has number %d", i+1, e.No)
		}
	}
	if got := len(f.emitted(t, "record.entry")); got != len(all) {
		t.Errorf("%d leaves for %d entries", got, len(all))
	}
}

func TestLeafOfAStoredEntryIsTheOneThatWasEmitted(t *testing.T) {
	f := room(t)
	in := f.open(t, NewIncident{Title: `<b>&"'\u2028`})
	_, err := f.Write(t.Context(), in.ID, NewEntry{Text: "一行目\r\n二行目\x07\xff\u202e", OccurredAt: start.Add(-time.Hour)}, anna)
	f.ok(t, err)
	emitted := f.emitted(t, "record.entry")
	for i, e := range f.entries(t, in.ID) {
		got, err := e.Leaf()
		f.ok(t, err)
		var want leaf.Leaf
		f.ok(t, json.Unmarshal(emitted[i], &want))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("entry %d:\n%s", e.No, diff)
		}
		if want.Ref != fmt.Sprintf("%s/%d", in.ID, i+1) || want.Type != "entry" {
			t.Errorf("leaf %+v", want)
		}
	}
	if got := f.entries(t, in.ID)[2].Text; got != "一行目\n二行目\uFFFD" {
		t.Errorf("stored text %q", got)
	}
}

func TestList(t *testing.T) {
	f := room(t)
	a := f.open(t, NewIncident{Sites: []string{"call"}})
	b := f.open(t, NewIncident{Sites: []string{"callcentre", "hospital"}})
	c := f.open(t, NewIncident{Sites: []string{"hospital"}})
	f.ok(t, f.Move(t.Context(), c.ID, Ended, "訓練の終わり", anna))
	for name, tt := range map[string]struct {
		f     Filter
		want  []string
		total int
	}{
		"all, newest first":    {Filter{}, []string{c.ID, b.ID, a.ID}, 3},
		"a page":               {Filter{Limit: 1, Offset: 1}, []string{b.ID}, 3},
		"active":               {Filter{Active: true}, []string{b.ID, a.ID}, 2},
		"one state":            {Filter{State: Ended}, []string{c.ID}, 1},
		"site":                 {Filter{Site: "hospital"}, []string{c.ID, b.ID}, 2},
		"site is not a prefix": {Filter{Site: "call"}, []string{a.ID}, 1},
		"site is no pattern":   {Filter{Site: "%"}, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got, total, err := f.List(t.Context(), tt.f)
			f.ok(t, err)
			var ids []string
			for _, in := range got {
				ids = append(ids, in.ID)
			}
			if diff := cmp.Diff(tt.want, ids); diff != "" || total != tt.total {
				t.Errorf("total %d, want %d\n%s", total, tt.total, diff)
			}
		})
	}
	if _, err := f.Get(t.Context(), "in-none"); fault.Of(err) != fault.Missing {
		t.Errorf("unknown incident: got %v", err)
	}
}
