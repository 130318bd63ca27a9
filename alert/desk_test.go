package alert

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/statetest"
)

var noon = time.Date(2026, 4, 1, 3, 0, 0, 0, time.UTC)

// world is a Desk with a clock that tests move.
type world struct {
	*Desk
	db *state.DB
	at time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	db := statetest.Open(t)
	w := &world{db: db, at: noon}
	w.Desk = New(db, func() time.Time { return w.at }, log)
	return w
}

// emitted lists the subjects in the outbox, in order.
func (w *world) emitted(t *testing.T) []string {
	t.Helper()
	rows, err := w.db.Query(t.Context(), `SELECT subject FROM outbox ORDER BY seq`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	return out
}

func (w *world) only(t *testing.T) Alert {
	t.Helper()
	all, n, err := w.List(t.Context(), Filter{})
	if err != nil || n != 1 || len(all) != 1 {
		t.Fatalf("got %d alerts (%d), %v; want one", len(all), n, err)
	}
	return all[0]
}

var p2p = detect.Rule{ID: "bittorrent-certain", Title: detect.Text{"ja": "ファイル共有", "en": "File sharing"}, Level: event.High}

// flowFinding is a finding about flow n of a host at a moment of its life.
func flowFinding(id, flow int, at time.Duration, sent, received int64) detect.Finding {
	f := map[string]string{
		event.FieldFlowID: fmt.Sprint("flow", flow), event.FieldProtocol: "tcp",
		event.FieldRemoteIP: fmt.Sprintf("198.51.100.%d", flow%200), event.FieldRemotePort: fmt.Sprint(6881 + flow/200),
		event.FieldVerdict: "bt.handshake", event.FieldConfidence: "certain",
		event.FieldSent: fmt.Sprint(sent), event.FieldReceived: fmt.Sprint(received),
		event.FieldFirst: noon.Format(time.RFC3339Nano), event.FieldLast: noon.Add(at).Format(time.RFC3339Nano),
		event.FieldPID: "77", event.FieldImage: "/usr/bin/transmission-daemon", event.FieldCommand: "transmission-daemon -f", event.FieldUser: "tanaka",
	}
	e := event.Event{ID: fmt.Sprint("ev", id), Time: noon.Add(at), Site: "cc", Host: "pc1", Kind: event.KindFlow, Fields: f}
	return detect.Finding{ID: fmt.Sprint("fi", id), Rule: p2p, Time: e.Time, Site: "cc", Host: "pc1", Events: []event.Event{e}}
}

func handle(t *testing.T, w *world, all ...detect.Finding) {
	t.Helper()
	for _, f := range all {
		if err := w.Handle(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOneAlertPerRuleAndHost(t *testing.T) {
	w := newWorld(t)
	other, drill, rule := flowFinding(3, 1, 0, 1, 1), flowFinding(4, 1, 0, 1, 1), flowFinding(5, 1, 0, 1, 1)
	other.Host, drill.Drill, rule.Rule.ID = "pc2", true, "other"
	handle(t, w, flowFinding(1, 1, 0, 10, 20), flowFinding(2, 1, time.Second, 30, 40), other, drill, rule)
	_, n, err := w.List(t.Context(), Filter{})
	if err != nil || n != 4 {
		t.Fatalf("got %d alerts, %v; want 4", n, err)
	}
	_, n, err = w.List(t.Context(), Filter{Host: "pc1", Text: "FILE shar"})
	if err != nil || n != 3 {
		t.Errorf("got %d alerts on pc1, %v; want 3", n, err)
	}
}

func TestBytesAreNeverCountedTwice(t *testing.T) {
	w := newWorld(t)
	handle(t, w,
		flowFinding(1, 1, 0, 100, 1000), flowFinding(2, 1, 2*time.Second, 300, 3000), // the same connection grows
		flowFinding(3, 1, time.Second, 200, 2000), // an older update that comes late
		flowFinding(4, 2, time.Second, 5, 50), flowFinding(5, 1, 3*time.Second, 300, 3000))
	got := w.only(t)
	want := Alert{
		Rule: p2p, Severity: event.High, Site: "cc", Host: "pc1", State: Open, Count: 5, First: noon, Last: noon.Add(3 * time.Second),
		RaisedAt: noon, Sent: 305, Received: 3050, PeersAll: 2, Addresses: 2, Events: []string{"ev5", "ev2", "ev3", "ev4", "ev1"},
		Peers: []Peer{
			{Address: "198.51.100.1:6881", Protocol: "tcp", Verdict: "bt.handshake", Confidence: "certain", Sent: 300, Received: 3000, First: noon, Last: noon.Add(3 * time.Second)},
			{Address: "198.51.100.2:6881", Protocol: "tcp", Verdict: "bt.handshake", Confidence: "certain", Sent: 5, Received: 50, First: noon, Last: noon.Add(time.Second)},
		},
		Process: []Process{{PID: "77", Image: "/usr/bin/transmission-daemon", Command: "transmission-daemon -f", User: "tanaka"}},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Alert{}, "ID")); diff != "" {
		t.Errorf("alert (-want +got):\n%s", diff)
	}
}

func TestRedeliveryInAnyOrderGivesTheSameAlert(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	var all []detect.Finding
	for i := range 60 {
		n := int64(random.IntN(100000))
		all = append(all, flowFinding(i, i%25, time.Duration(i)*time.Second, n, 2*n))
	}
	var want Alert
	for round := range 8 {
		w := newWorld(t)
		first := slices.Clone(all[:20+random.IntN(len(all)-20)]) // killed in the middle
		rest := slices.Concat(all, first[:len(first)/2])         // then everything again, some twice
		if round > 0 {
			random.Shuffle(len(first), func(i, j int) { first[i], first[j] = first[j], first[i] })
			random.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
		}
		for at := 0; at < len(first); at += 7 {
			if err := w.HandleAll(t.Context(), first[at:min(at+7, len(first))]); err != nil {
				t.Fatal(err)
			}
		}
		handle(t, w, rest...)
		got := w.only(t)
		if round == 0 {
			if want = got; want.Count != 60 || want.PeersAll != 25 || len(want.Peers) != 20 || len(want.Events) != 50 {
				t.Fatalf("got count %d, %d peers of which %d shown, %d events", want.Count, want.PeersAll, len(want.Peers), len(want.Events))
			}
			continue
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Alert{}, "ID")); diff != "" {
			t.Fatalf("round %d differs:\n%s", round, diff)
		}
	}
}

// killed returns an error in the middle of a transaction, as kill -9 would end it.
func TestAnAbortedTransactionCountsNothing(t *testing.T) {
	w := newWorld(t)
	handle(t, w, flowFinding(1, 1, 0, 10, 10))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Handle(ctx, flowFinding(2, 2, 0, 10, 10)); err == nil {
		t.Fatal("want an error from a cancelled context")
	}
	if got := w.only(t); got.Count != 1 || got.Sent != 10 {
		t.Errorf("got count %d, sent %d after the abort", got.Count, got.Sent)
	}
	handle(t, w, flowFinding(2, 2, 0, 10, 10))
	if got := w.only(t); got.Count != 2 || got.Sent != 20 {
		t.Errorf("got count %d, sent %d; want the finding counted at its second coming", got.Count, got.Sent)
	}
}

func TestWhatOthersAreTold(t *testing.T) {
	w := newWorld(t)
	handle(t, w, flowFinding(1, 1, 0, 1, 1), flowFinding(2, 1, 1, 2, 2), flowFinding(2, 1, 1, 2, 2))
	want := []string{"record.alert", "alert.raised"}
	if diff := cmp.Diff(want, w.emitted(t)); diff != "" {
		t.Fatalf("after two findings at once:\n%s", diff)
	}
	for range 2 { // the held-back update is told once
		w.at = w.at.Add(2 * time.Second)
		if err := w.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	id := w.only(t).ID
	tanaka := auth.Person{ID: "p1", Name: "田中"}
	for _, step := range []func() error{
		func() error { return w.Ack(t.Context(), id, tanaka) },
		func() error { return w.Link(t.Context(), id, "in1") },
		func() error { return w.Link(t.Context(), id, "in1") },
		func() error { return w.Close(t.Context(), id, " 訓練だった ", tanaka) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	want = append(want, "alert.updated", "record.alert", "alert.acked", "record.alert", "alert.updated", "record.alert", "alert.closed")
	if diff := cmp.Diff(want, w.emitted(t)); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	changes, err := w.Changes(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	var what []string
	for _, c := range changes {
		what = append(what, c.What+" by "+c.By)
		if l, err := c.Leaf(); err != nil || len(l.Digest) != 64 || l.Ref != fmt.Sprintf("%s/%d", id, c.No) {
			t.Errorf("leaf %+v, %v", l, err)
		}
	}
	if diff := cmp.Diff([]string{"raised by sonae", "acked by p1", "linked by sonae", "closed by p1"}, what); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

func TestAfterClosingANewAlertIsRaised(t *testing.T) {
	w := newWorld(t)
	handle(t, w, flowFinding(1, 1, 0, 1, 1))
	if err := w.Close(t.Context(), w.only(t).ID, "done", auth.Person{ID: "p"}); err != nil {
		t.Fatal(err)
	}
	handle(t, w, flowFinding(1, 1, 0, 1, 1)) // the old finding once more: nothing
	if got := w.only(t); got.State != Closed || got.Count != 1 {
		t.Errorf("got %s with %d findings; want the closed one untouched", got.State, got.Count)
	}
	handle(t, w, flowFinding(2, 1, 0, 1, 1))
	if _, n, err := w.List(t.Context(), Filter{State: Open}); err != nil || n != 1 {
		t.Errorf("got %d open alerts, %v; want 1", n, err)
	}
}

func TestANewDrillBeginsAnew(t *testing.T) {
	w := newWorld(t)
	drill := flowFinding(2, 1, 0, 1, 1)
	drill.Drill = true
	handle(t, w, flowFinding(1, 1, 0, 1, 1), drill)
	if err := w.CloseDrill(t.Context(), "pc1", "次の訓練のため", auth.Person{ID: "p"}); err != nil {
		t.Fatal(err)
	}
	all, n, err := w.List(t.Context(), Filter{State: Open})
	if err != nil || n != 1 || all[0].Drill {
		t.Errorf("got %d open alerts, %v; want the one that is no drill's", n, err)
	}
}

func TestHandling(t *testing.T) {
	tanaka, sato := auth.Person{ID: "p1", Name: "田中"}, auth.Person{ID: "p2", Name: "佐藤"}
	outside := auth.Person{ID: "p3", Name: "鈴木", Site: "other", Roles: []auth.Role{auth.Contractor}}
	for name, tt := range map[string]struct {
		before, act func(ctx context.Context, d *Desk, id string) error
		kind        fault.Kind
		key         string
	}{
		"ack":                  {nil, func(ctx context.Context, d *Desk, id string) error { return d.Ack(ctx, id, tanaka) }, "", ""},
		"pressing twice":       {func(ctx context.Context, d *Desk, id string) error { return d.Ack(ctx, id, tanaka) }, func(ctx context.Context, d *Desk, id string) error { return d.Ack(ctx, id, tanaka) }, "", ""},
		"somebody is on it":    {func(ctx context.Context, d *Desk, id string) error { return d.Ack(ctx, id, tanaka) }, func(ctx context.Context, d *Desk, id string) error { return d.Ack(ctx, id, sato) }, fault.Conflict, "alert.already-acked"},
		"ack of a closed":      {func(ctx context.Context, d *Desk, id string) error { return d.Close(ctx, id, "r", tanaka) }, func(ctx context.Context, d *Desk, id string) error { return d.Ack(ctx, id, sato) }, fault.Conflict, "alert.already-closed"},
		"close twice":          {func(ctx context.Context, d *Desk, id string) error { return d.Close(ctx, id, "r", tanaka) }, func(ctx context.Context, d *Desk, id string) error { return d.Close(ctx, id, "r", sato) }, fault.Conflict, "alert.already-closed"},
		"close without reason": {nil, func(ctx context.Context, d *Desk, id string) error { return d.Close(ctx, id, " ", tanaka) }, fault.Invalid, "alert.reason-missing"},
		"close with a book": {nil, func(ctx context.Context, d *Desk, id string) error {
			return d.Close(ctx, id, string(make([]byte, 5000)), tanaka)
		}, fault.Invalid, "alert.reason-too-long"},
		"unknown":               {nil, func(ctx context.Context, d *Desk, _ string) error { return d.Ack(ctx, "al-x", tanaka) }, fault.Missing, "alert.missing"},
		"another site":          {nil, func(ctx context.Context, d *Desk, id string) error { return d.Ack(ctx, id, outside) }, fault.Denied, "alert.other-site"},
		"closing another's":     {nil, func(ctx context.Context, d *Desk, id string) error { return d.Close(ctx, id, "r", outside) }, fault.Denied, "alert.other-site"},
		"a second incident":     {func(ctx context.Context, d *Desk, id string) error { return d.Link(ctx, id, "in1") }, func(ctx context.Context, d *Desk, id string) error { return d.Link(ctx, id, "in2") }, fault.Conflict, "alert.already-linked"},
		"get of an unknown one": {nil, func(ctx context.Context, d *Desk, _ string) error { _, err := d.Get(ctx, "x"); return err }, fault.Missing, "alert.missing"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			handle(t, w, flowFinding(1, 1, 0, 1, 1))
			id := w.only(t).ID
			if tt.before != nil {
				if err := tt.before(t.Context(), w.Desk, id); err != nil {
					t.Fatal(err)
				}
			}
			err := tt.act(t.Context(), w.Desk, id)
			var f *fault.Error
			if errors.As(err, &f); fault.Of(err) != tt.kind || (f != nil && f.Key != tt.key) || (f == nil) != (err == nil) {
				t.Errorf("got %v, want %s %s", err, tt.kind, tt.key)
			}
			if tt.key == "alert.already-acked" && f.Args[0] != "田中" {
				t.Errorf("got args %v, want the name of who is on it", f.Args)
			}
		})
	}
}

func TestOfManyWhoAckOneSucceeds(t *testing.T) {
	w := newWorld(t)
	handle(t, w, flowFinding(1, 1, 0, 1, 1))
	id := w.only(t).ID
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() { errs[i] = w.Ack(t.Context(), id, auth.Person{ID: fmt.Sprint("p", i), Name: "x"}) })
	}
	wg.Wait()
	ok := 0
	for _, err := range errs {
		switch {
		case err == nil:
			ok++
		case fault.Of(err) != fault.Conflict:
			t.Error(err)
		}
	}
	if ok != 1 {
		t.Errorf("%d acks succeeded, want 1", ok)
	}
}

func TestContractorSeesTheOwnSiteOnly(t *testing.T) {
	w := newWorld(t)
	elsewhere := flowFinding(2, 1, 0, 1, 1)
	elsewhere.Site = "hospital"
	handle(t, w, flowFinding(1, 1, 0, 1, 1), elsewhere)
	contractor := auth.Person{ID: "c", Site: "cc"}
	for name, tt := range map[string]struct {
		f    Filter
		who  auth.Person
		want int
	}{
		"hospital sees all":            {Filter{}, auth.Person{ID: "h"}, 2},
		"contractor sees the own site": {Filter{}, contractor, 1},
		"asking for it by name":        {Filter{Site: "cc"}, contractor, 1},
		"asking for another":           {Filter{Site: "hospital"}, contractor, 0},
	} {
		t.Run(name, func(t *testing.T) {
			all, n, err := w.List(t.Context(), tt.f.Within(tt.who))
			if err != nil || n != tt.want || len(all) != tt.want {
				t.Errorf("got %d (%d), %v; want %d", len(all), n, err, tt.want)
			}
		})
	}
}

func TestTextFilterTakesSignsLiterally(t *testing.T) {
	w := newWorld(t)
	handle(t, w, flowFinding(1, 1, 0, 1, 1))
	for text, want := range map[string]int{"198.51.100.1": 1, "TRANSMISSION": 1, "tanaka": 1, "共有": 1, "%": 0, "_": 0, `'; DROP`: 0, "pc1": 1} {
		if _, n, err := w.List(t.Context(), Filter{Text: text}); err != nil || n != want {
			t.Errorf("%q: got %d, %v; want %d", text, n, err, want)
		}
	}
}

func TestFlood(t *testing.T) {
	w := newWorld(t)
	var all []detect.Finding
	for i := range 10000 {
		all = append(all, flowFinding(i, i%3000, time.Duration(i)*time.Millisecond, int64(i), int64(i)))
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	began := time.Now()
	for at := 0; at < len(all); at += 250 {
		w.at = w.at.Add(250 * time.Millisecond)
		if err := w.HandleAll(t.Context(), all[at:at+250]); err != nil {
			t.Fatal(err)
		}
	}
	took := time.Since(began)
	runtime.GC()
	runtime.ReadMemStats(&after)
	got := w.only(t)
	told := len(w.emitted(t))
	t.Logf("10,000 findings in %v; heap grew by %d kB; %d messages", took.Round(time.Millisecond), (int64(after.HeapAlloc)-int64(before.HeapAlloc))/1000, told)
	if got.Count != 10000 || got.PeersAll != 3000 || got.Addresses != 200 || len(got.Peers) != 20 || len(got.Events) != 50 {
		t.Errorf("got count %d, peers %d (%d shown), %d events", got.Count, got.PeersAll, len(got.Peers), len(got.Events))
	}
	if told > 2+11 || int64(after.HeapAlloc)-int64(before.HeapAlloc) > 8<<20 || took > time.Minute {
		t.Errorf("a flood of one alert must stay small: %d messages, %v", told, took)
	}
	page, n, err := w.Peers(t.Context(), got.ID, 100, 2950)
	if err != nil || n != 3000 || len(page) != 50 {
		t.Errorf("last page of peers: %d of %d, %v", len(page), n, err)
	}
}

// A connection that lives on after its alert was closed raises a new one, with
// what was transferred since; both together give the truth.
func TestNewAlertCountsOnlyWhatTheClosedOneDidNot(t *testing.T) {
	w := newWorld(t)
	handle(t, w, flowFinding(1, 1, 0, 1000, 500))
	first := w.only(t)
	if err := w.Close(t.Context(), first.ID, "確認した", auth.Person{ID: "pe-1"}); err != nil {
		t.Fatal(err)
	}
	handle(t, w, flowFinding(3, 1, 2*time.Second, 1700, 600), flowFinding(2, 1, time.Second, 1200, 600), flowFinding(4, 2, time.Second, 7, 0))
	all, n, err := w.List(t.Context(), Filter{State: Open})
	if err != nil || n != 1 {
		t.Fatalf("%d open alerts, %v; want one", n, err)
	}
	if all[0].Sent != 707 || all[0].Received != 100 {
		t.Errorf("sent %d, received %d; want 707 and 100", all[0].Sent, all[0].Received)
	}
	var sent int64
	for _, p := range all[0].Peers {
		sent += p.Sent
	}
	if sent != 707 {
		t.Errorf("peers sum up to %d, want 707", sent)
	}
}

// What a machine says of itself must not be able to stop the desk for all:
// neither with texts that no message can carry nor with numbers that overflow.
func TestNoMachineCanStopTheDesk(t *testing.T) {
	w := newWorld(t)
	huge := strings.Repeat("あ", 300_000)
	for i := range 25 {
		f := flowFinding(i, i, 0, 1<<62, 1<<62)
		fields := f.Events[0].Fields
		fields[event.FieldRemoteIP], fields[event.FieldImage], fields[event.FieldUser] = huge, fmt.Sprint(i, huge), huge
		fields[event.FieldPID], fields[event.FieldVerdict], fields[event.FieldFlowID] = huge, huge, fmt.Sprint(i, huge)
		handle(t, w, f)
	}
	var most int
	if err := w.db.QueryRow(t.Context(), `SELECT MAX(LENGTH(body)) FROM outbox`).Scan(&most); err != nil || most > 1<<20 {
		t.Fatalf("largest message has %d bytes, %v; the bus carries 5 MiB", most, err)
	}
	if a := w.only(t); a.Count != 25 || a.Sent <= 0 || a.Received <= 0 {
		t.Errorf("count %d, sent %d, received %d", a.Count, a.Sent, a.Received)
	}
}

func TestOldFindingsAreForgotten(t *testing.T) {
	w := newWorld(t)
	handle(t, w, flowFinding(1, 1, 0, 1, 1))
	w.at = w.at.Add(keepFindings + time.Hour)
	handle(t, w, flowFinding(2, 1, 0, 1, 1))
	if err := w.Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	var ids string
	if err := w.db.QueryRow(t.Context(), `SELECT MAX(id) FROM alert_finding WHERE (SELECT COUNT(*) FROM alert_finding) = 1`).Scan(&ids); err != nil || ids != "fi2" {
		t.Fatalf("remembered %q, %v; want only the new one", ids, err)
	}
}
