package dispatch_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/dispatch"
	"github.com/sonae/sonae/protect/job"
)

type world struct {
	*dispatch.Desk
	pub      ed25519.PublicKey
	now      time.Time
	ended    []job.Result
	heard    []job.Progress
	woken    []string
	err      error // of who takes results
	restores taker
}

func open(t *testing.T) *world {
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{pub: pub, restores: taker{&world{}}, now: time.Date(2026, 4, 1, 1, 0, 0, 0, time.UTC)}
	w.Desk = dispatch.New(dispatch.Deps{Key: key, Now: func() time.Time { return w.now }, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Password: func(_ context.Context, host string) (string, error) { return "password of " + host, nil },
		Wake:     func(host string) { w.woken = append(w.woken, host) },
		Taker: func(k job.Kind) dispatch.Taker {
			if k == job.Restore {
				return w.restores
			}
			return taker{w}
		}})
	return w
}

// taker keeps what it is told of backups.
type taker struct{ *world }

func (w taker) Heard(_ context.Context, _ string, p job.Progress) error {
	w.heard = append(w.heard, p)
	return w.err
}

func (w taker) Ended(_ context.Context, host string, r job.Result) error {
	if w.err == nil && host == r.Host {
		w.ended = append(w.ended, r)
	}
	return w.err
}

var nightly = job.Job{ID: "run-1", Host: "ho-1", Kind: job.Backup, Sources: []job.Source{{Name: "documents", Kind: job.Folder, Paths: []string{"/srv"}}}}

func answer(phase order.Phase, r job.Report) order.Result {
	b, err := json.Marshal(r)
	if err != nil {
		panic(err) // our own types
	}
	return order.Result{Order: "jo-run-1", Action: "run-1", Kind: order.Backup, Host: "ho-1", Phase: phase, Report: b}
}

func TestAJobIsOrderedGrantedAndEnds(t *testing.T) {
	w, ctx := open(t), t.Context()
	for range 2 { // again, as after a crash
		if err := w.Begin(ctx, nightly); err != nil {
			t.Fatal(err)
		}
	}
	list, err := w.Pending(ctx, "ho-1")
	if err != nil || len(list) != 1 || len(w.woken) != 1 {
		t.Fatalf("%d orders, woken %v, %v", len(list), w.woken, err)
	}
	o, err := order.Open(w.pub, "ho-1", w.now, list[0])
	if err != nil {
		t.Fatal(err)
	}
	g, err := w.Grant(ctx, "ho-1", o.Action)
	if err != nil || job.Digest(g.Job) != o.Digest || g.Secret.Password != "password of ho-1" || g.Secret.Path != "/restic/ho-1/" || g.Secret.Token != "" {
		t.Fatalf("%+v, %v", g, err)
	}
	if err := w.Result(ctx, answer(order.Progress, job.Report{Progress: &job.Progress{Job: "run-1", Bytes: 5}})); err != nil || len(w.heard) != 1 {
		t.Errorf("%v, %v", w.heard, err)
	}
	w.err = errors.New("the database is away")
	end := answer(order.Done, job.Report{Result: &job.Result{Job: "run-1", Host: "another", State: job.OK}})
	if err := w.Result(ctx, end); err == nil {
		t.Error("a result that was not taken is acknowledged")
	}
	if list, _ := w.Pending(ctx, "ho-1"); len(list) != 1 {
		t.Error("the order does not wait any more")
	}
	w.err = nil
	if err := w.Result(ctx, end); err != nil || len(w.ended) != 1 || w.ended[0].Host != "ho-1" {
		t.Errorf("%+v, %v", w.ended, err)
	}
	if list, _ := w.Pending(ctx, "ho-1"); len(list) != 0 {
		t.Error("the order still waits")
	}
	if _, err := w.Grant(ctx, "ho-1", "run-1"); fault.Of(err) != fault.Missing {
		t.Errorf("a job that ended is granted: %v", err)
	}
}

func TestNobodyElseGetsAJob(t *testing.T) {
	w, ctx := open(t), t.Context()
	if err := w.Begin(ctx, nightly); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Grant(ctx, "ho-2", "run-1"); fault.Of(err) != fault.Missing {
		t.Errorf("another machine is granted the job: %v", err)
	}
	if list, _ := w.Pending(ctx, "ho-2"); len(list) != 0 {
		t.Error("another machine is ordered")
	}
	if err := w.Begin(ctx, job.Job{ID: "run-2", Host: "ho-1", Kind: "erase"}); fault.Of(err) != fault.Invalid {
		t.Errorf("a job that cannot be: %v", err)
	}
	w.now = w.now.Add(25 * time.Hour)
	if list, _ := w.Pending(ctx, "ho-1"); len(list) != 0 {
		t.Error("an order that expired is sent")
	}
	if err := w.Begin(ctx, nightly); err != nil {
		t.Fatal(err)
	}
	if list, _ := w.Pending(ctx, "ho-1"); len(list) != 1 {
		t.Error("whoever still wants it cannot order it anew")
	}
}

func TestAnswersThatCannotBe(t *testing.T) {
	w, ctx := open(t), t.Context()
	for name, r := range map[string]order.Result{
		"of another job":   answer(order.Done, job.Report{Result: &job.Result{Job: "run-9", State: job.OK}}),
		"without a state":  answer(order.Done, job.Report{Result: &job.Result{Job: "run-1"}}),
		"still running":    answer(order.Done, job.Report{Result: &job.Result{Job: "run-1", State: job.Running}}),
		"progress of none": answer(order.Progress, job.Report{}),
		"no JSON":          {Order: "jo-run-1", Action: "run-1", Host: "ho-1", Phase: order.Done, Report: json.RawMessage("[")},
		"another order":    {Order: "jo-run-2", Action: "run-1", Host: "ho-1", Phase: order.Done},
	} {
		if err := w.Result(ctx, r); fault.Of(err) != fault.Invalid || len(w.ended) > 0 {
			t.Errorf("%s: %v, %v", name, err, w.ended)
		}
	}
	if err := w.Result(ctx, order.Result{Order: "jo-run-1", Action: "run-1", Kind: order.Backup, Host: "ho-1", Phase: order.Rejected, Detail: "expired"}); err != nil || w.ended[0].State != job.CouldNotRun || w.ended[0].Error != "expired" {
		t.Errorf("%+v, %v", w.ended, err)
	}
}

func TestARestoreReadsWithAPassAndIsStopped(t *testing.T) {
	w, ctx := open(t), t.Context()
	j := job.Job{ID: "run-3", Host: "ho-2", Kind: job.Restore, Restore: &job.Restoring{Snapshot: "0123abcd", Target: "/srv/back"}}
	if err := w.BeginReading(ctx, j, dispatch.Reading{Path: "/restic/ho-1/asof/2026-04-01T00:00:00Z/", Token: "token", Of: "ho-1"}); err != nil {
		t.Fatal(err)
	}
	g, err := w.Grant(ctx, "ho-2", "run-3")
	if err != nil || g.Secret.Password != "password of ho-1" || g.Secret.Token != "token" || g.Secret.Path != "/restic/ho-1/asof/2026-04-01T00:00:00Z/" {
		t.Errorf("%+v, %v", g.Secret, err)
	}
	if err := w.Stop(ctx, "ho-2", "run-3"); err != nil {
		t.Fatal(err)
	}
	list, err := w.Pending(ctx, "ho-2")
	if err != nil || len(list) != 1 {
		t.Fatalf("%d, %v", len(list), err)
	}
	if _, err := w.Grant(ctx, "ho-2", "run-3"); fault.Of(err) != fault.Missing {
		t.Errorf("what was stopped is granted: %v", err)
	}
	o, err := order.Read(list[0])
	if err != nil || o.Kind != order.Cancel || o.Action != "run-3" {
		t.Errorf("%+v, %v", o, err)
	}
	r := order.Result{Order: o.ID, Action: o.Action, Kind: o.Kind, Host: "ho-2", Phase: order.Done}
	if !dispatch.Ours(r) || w.Result(ctx, r) != nil {
		t.Error("the answer to the stop is not taken")
	}
	if list, _ := w.Pending(ctx, "ho-2"); len(list) != 0 {
		t.Error("the stop still waits")
	}
}
