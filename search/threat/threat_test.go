package threat

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/detect/ioc"
	"github.com/sonae/sonae/detect/rules"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/statetest"
)

var (
	noon  = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	admin = auth.Person{ID: "pe-1"}
)

// desk is a Desk over an archive with a few events, at a clock that moves.
func desk(t *testing.T) (*Desk, *detect.Switch, *atomic.Int64) {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	clock := &atomic.Int64{}
	clock.Store(noon.UnixNano())
	now := func() time.Time { return time.Unix(0, clock.Load()).UTC() }
	a, err := archive.Open(t.Context(), t.TempDir(), log, archive.WithClock(now))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	for i, e := range []event.Event{
		{Host: "h1", Time: noon.Add(-time.Hour), Fields: map[string]string{"RemoteIp": "198.51.100.7"}},
		{Host: "h2", Time: noon.AddDate(0, 0, -3), Fields: map[string]string{"RemoteIp": "198.51.100.7"}},
		{Host: "h2", Time: noon.AddDate(0, 0, -4), Fields: map[string]string{"query": "a.c2.example.net"}},
		{Host: "h2", Time: noon.AddDate(0, 0, -4), Fields: map[string]string{"query": "www.example.com"}},
		{Host: "h3", Time: noon.AddDate(0, 0, -30), Fields: map[string]string{"query": "c2.example.net"}},
	} {
		e.ID, e.Site, e.Kind, e.Product, e.Service, e.Category = e.Host+".b"+string(rune('0'+i))+"-0", "hospital", event.KindFlow, "sonae", "flow", "network_connection"
		if _, err := a.Append(t.Context(), []event.Batch{{ID: strings.TrimSuffix(e.ID, "-0"), Site: e.Site, Host: e.Host, SentAt: e.Time, Events: []event.Event{e}}}); err != nil {
			t.Fatal(err)
		}
	}
	engine := detect.NewSwitch(now)
	loaded, _, err := detect.Load(rules.FS)
	if err != nil {
		t.Fatal(err)
	}
	engine.Replace(loaded)
	return New(statetest.Open(t), a, engine, ioc.Own{Domains: []string{"hospital.example.jp"}}, now, log), engine, clock
}

const list = "198.51.100.7\nc2.example.net\n10.0.0.1\nwww.hospital.example.jp\n"

var terms = Terms{Name: "11月の注意喚起", Source: "NPA", Confidence: 80, Days: 30}

func (d *Desk) put(t *testing.T, terms Terms) List {
	t.Helper()
	w, err := d.Draft(t.Context(), []byte(list), "", admin)
	if err != nil {
		t.Fatal(err)
	}
	if w.Count != 2 || w.Reasons[ioc.Internal] != 1 || w.Reasons[ioc.OwnName] != 1 || w.Kinds[ioc.IP] != 1 || w.Format != ioc.Lines {
		t.Errorf("draft %+v", w)
	}
	l, err := d.Import(t.Context(), w.ID, terms, admin)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l
}

func judge(e *detect.Switch, addr string) []detect.Finding {
	found, _ := e.Judge(event.Batch{ID: "h1.x", Host: "h1", Events: []event.Event{{ID: "h1.x-0", Product: "sonae", Category: "network_connection", Service: "flow",
		Fields: map[string]string{"RemoteIp": addr}}}})
	return found
}

func TestFromAFileToAFinding(t *testing.T) {
	d, engine, clock := desk(t)
	if len(judge(engine, "198.51.100.7")) != 0 {
		t.Fatal("found before there is a list")
	}
	l := d.put(t, terms)
	found := judge(engine, "198.51.100.7")
	if len(found) != 1 || found[0].Rule.Level != event.High || !strings.Contains(found[0].Rule.What["ja"], "11月の注意喚起」にある 198.51.100.7") || found[0].Events[0].ID != "h1.x-0" {
		t.Fatalf("found %+v", found)
	}
	if w, err := d.Draft(t.Context(), []byte(list), "", admin); err != nil || w.Known != 2 {
		t.Errorf("the same again: %+v, %v", w, err)
	}
	if err := d.Note(t.Context()); err != nil {
		t.Fatal(err)
	}
	all, err := d.Lists(t.Context())
	if err != nil || len(all) != 1 || all[0].Hits != 1 || all[0].MadeBy != "pe-1" || len(all[0].Top) != 1 || all[0].Top[0].Value != "198.51.100.7" {
		t.Errorf("lists %+v, %v", all, err)
	}
	again, _, err := detect.Load(rules.FS) // rules change, lists stay
	if err != nil {
		t.Fatal(err)
	}
	if engine.Replace(again); len(judge(engine, "198.51.100.7")) != 1 {
		t.Error("the list is gone with the rules")
	}
	if clock.Store(noon.AddDate(0, 0, 31).UnixNano()); len(judge(engine, "198.51.100.7")) != 0 {
		t.Error("found although the list is over")
	}
	clock.Store(noon.UnixNano())
	if err := d.End(t.Context(), l.ID, "誤り", admin); err != nil {
		t.Fatal(err)
	}
	if err := d.Reload(t.Context()); err != nil || len(judge(engine, "198.51.100.7")) != 0 {
		t.Errorf("found although the list was taken out: %v", err)
	}
	if err := d.End(t.Context(), l.ID, "誤り", admin); fault.Of(err) != fault.Missing {
		t.Errorf("twice: %v", err)
	}
}

func TestBackSearch(t *testing.T) {
	d, _, _ := desk(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	with := terms
	with.Back = 7
	d.put(t, with)
	var b *BackSearch
	for end := time.Now().Add(60 * time.Second); b == nil || !b.Done() || b.Running; time.Sleep(20 * time.Millisecond) {
		all, err := d.Lists(t.Context())
		if err != nil || time.Now().After(end) {
			t.Fatalf("%+v, %v", b, err)
		}
		b = all[0].Back
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if b.Events != 3 || b.Scanned != 4 || len(b.Found) != 2 || b.Failed {
		t.Fatalf("%+v", b)
	}
	if f := b.Found[0]; f.Value != "198.51.100.7" || f.Events != 2 || len(f.Hosts) != 2 || !f.Last.Equal(noon.Add(-time.Hour)) || f.Event == "" {
		t.Errorf("%+v", f)
	}
}

func TestOthersDraftsAndTermsAreRefused(t *testing.T) {
	d, _, _ := desk(t)
	w, err := d.Draft(t.Context(), []byte(list), ioc.Lines, admin)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Import(t.Context(), w.ID, terms, auth.Person{ID: "pe-2"}); fault.Of(err) != fault.Missing {
		t.Errorf("somebody else: %v", err)
	}
	for _, bad := range []Terms{{}, {Name: "a", Source: "b", Days: 1}, {Name: "a", Source: "b", Confidence: 101, Days: 1}, {Name: "a", Source: "b", Confidence: 1, Days: 401}, {Name: "a", Source: "b", Confidence: 1, Days: 1, Back: -1}} {
		if _, err := d.Import(t.Context(), w.ID, bad, admin); fault.Of(err) != fault.Invalid {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	empty, err := d.Draft(t.Context(), []byte("10.0.0.1"), "", admin)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Import(t.Context(), empty.ID, terms, admin); fault.Of(err) != fault.Invalid {
		t.Errorf("nothing in it: %v", err)
	}
}

// TestChangedRowsAreNamed changes what the ledger has recorded.
func TestChangedRowsAreNamed(t *testing.T) {
	d, _, _ := desk(t)
	l := d.put(t, terms)
	none := func(string) []leaf.Leaf { return nil } // they still wait in the outbox
	if found, err := VerifyRows(t.Context(), d.db, none); err != nil || len(found) != 0 {
		t.Fatalf("%v, %v", found, err)
	}
	other, _, err := pack([]ioc.Indicator{{Kind: ioc.IP, Value: "8.8.8.8"}})
	if err != nil {
		t.Fatal(err)
	}
	err = d.db.Tx(t.Context(), func(tx *state.Tx) error {
		_, err := tx.ExecContext(t.Context(), `UPDATE ioc_content SET body = $1 WHERE id = $2`, other, l.ID)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if found, err := VerifyRows(t.Context(), d.db, none); err != nil || len(found) != 1 || found[0].Ref != l.ID {
		t.Errorf("%v, %v", found, err)
	}
	if err := d.Reload(t.Context()); err != nil || d.engine.Lists().Len() != 0 {
		t.Errorf("a list that was changed is in force: %v", err)
	}
}
