package desktop_test

import (
	"context"
	"crypto/ed25519"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/notify"
	"github.com/sonae/sonae/notify/desktop"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/statetest"
)

type machines []asset.Host

func (m machines) HostsNamed(_ context.Context, _, name string) (out []asset.Host, err error) {
	for _, h := range m {
		if h.Name == name {
			out = append(out, h)
		}
	}
	return out, nil
}

func (m machines) Host(_ context.Context, id string) (asset.Host, error) {
	for _, h := range m {
		if h.ID == id {
			return h, nil
		}
	}
	return asset.Host{}, fault.New(fault.Missing, "asset.host-unknown")
}

var (
	noon  = time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	three = machines{{ID: "ho-1", Name: "nurse-1"}, {ID: "ho-2", Name: "night-desk"}, {ID: "ho-3", Name: "nurse-1", RemovedAt: noon}}
	text  = notify.Message{ID: "ms-1", Lang: "ja", Severity: event.Critical, Subject: "【Sonae 緊急】患者情報の持ち出し", Text: "1. ehr-ws-014\n"}
)

func TestEachMachineGetsOneSignedOrder(t *testing.T) {
	db := statetest.Open(t)
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	now := noon
	s := desktop.New(db, private, three, func() time.Time { return now })
	ctx := t.Context()
	c := notify.Channel{Kind: notify.Desktop, Name: "病棟", Hosts: []string{"nurse-1", "ho-2"}}
	if err := s.Check(ctx, c); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(ctx, notify.Channel{Hosts: []string{"nurse-9"}}); fault.Of(err) != fault.Invalid {
		t.Errorf("an unknown machine: %v", err)
	}
	for range 2 { // a message may be sent again under its id
		if err := s.Send(ctx, c, notify.Secrets{}, "", text); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Send(ctx, notify.Channel{Hosts: []string{"gone"}}, notify.Secrets{}, "", text); err == nil {
		t.Error("a message to nobody was taken")
	}
	for host, n := range map[string]int{"ho-1": 1, "ho-2": 1, "ho-3": 0} {
		list, err := s.Pending(ctx, host)
		if err != nil || len(list) != n {
			t.Fatalf("%s has %d orders, want %d (%v)", host, len(list), n, err)
		}
		for _, signed := range list {
			o, err := order.Open(public, host, now, signed)
			if err != nil || o.Kind != order.Show || o.Action != "ms-1" || !o.Note.Urgent || !strings.Contains(o.Note.Title, "持ち出し") || o.Note.Button != "読みました" {
				t.Errorf("order %+v %+v: %v", o, o.Note, err)
			}
		}
	}
	answer(t, s, public, now)
	none := func(string) []leaf.Leaf { return nil } // what is recorded still waits in the outbox
	if found, err := desktop.VerifyRows(ctx, db, none); err != nil || len(found) != 0 {
		t.Errorf("%v, %v", found, err)
	}
	err = db.Tx(ctx, func(tx *state.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE notify_show SET host = 'ho-3' WHERE host = 'ho-2'`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if found, err := desktop.VerifyRows(ctx, db, none); err != nil || len(found) != 1 {
		t.Errorf("a changed row: %v, %v", found, err)
	}
	now = now.Add(time.Hour)
	if list, err := s.Pending(ctx, "ho-3"); err != nil || len(list) != 0 {
		t.Errorf("an hour later %d orders are handed out (%v)", len(list), err)
	}
}

// answer takes what the machine ho-1 says, and refuses what another one says for it.
func answer(t *testing.T, s *desktop.Sender, public ed25519.PublicKey, now time.Time) {
	t.Helper()
	list, err := s.Pending(t.Context(), "ho-1")
	if err != nil {
		t.Fatal(err)
	}
	o, err := order.Open(public, "ho-1", now, list[0])
	if err != nil {
		t.Fatal(err)
	}
	r := order.Result{Order: o.ID, Action: "ms-other", Kind: order.Show, Host: "ho-1", Phase: order.Progress,
		Checks: []order.Check{{Name: order.NoteSeen, Target: "session 2", Detail: "sato"}, {Name: "other"}}}
	got, err := s.Result(t.Context(), r)
	if err != nil || len(got) != 1 || got[0] != (notify.Shown{Message: "ms-1", Host: "ho-1", Session: "session 2", User: "sato", Seen: true, At: now}) {
		t.Errorf("it says %+v (%v)", got, err)
	}
	if list, err := s.Pending(t.Context(), "ho-1"); err != nil || len(list) != 0 {
		t.Errorf("it is handed out again: %d (%v)", len(list), err)
	}
	r.Host = "ho-2"
	if _, err := s.Result(t.Context(), r); fault.Of(err) != fault.Denied {
		t.Errorf("another machine: %v", err)
	}
	r.Order = "or-x"
	if _, err := s.Result(t.Context(), r); fault.Of(err) != fault.Missing {
		t.Errorf("no such order: %v", err)
	}
}
