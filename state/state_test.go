package state_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/statetest"
)

func TestEmittedOnlyWhenCommitted(t *testing.T) {
	db := statetest.Open(t)
	ctx := t.Context()
	refuse := errors.New("changed my mind")
	err := db.Tx(ctx, func(tx *state.Tx) error {
		if err := tx.Emit(ctx, "alert.raised", "lost", "lost"); err != nil {
			return err
		}
		return refuse
	})
	if !errors.Is(err, refuse) {
		t.Fatalf("got %v, want the reason for the roll-back", err)
	}
	for _, id := range []string{"a", "b", "c"} {
		if err := db.Tx(ctx, func(tx *state.Tx) error { return tx.Emit(ctx, "alert.raised", id, id) }); err != nil {
			t.Fatal(err)
		}
	}

	// the bus refuses "b" once: nothing is lost and the order stays
	var got []string
	failed := false
	rctx, stop := context.WithTimeout(ctx, 5*time.Second)
	defer stop()
	err = db.Relay(rctx, func(_ context.Context, subject, id string, body []byte) error {
		if id == "b" && !failed {
			failed = true
			return errors.New("bus is full")
		}
		got = append(got, id)
		if len(got) == 3 {
			stop()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := "[a b c]"; len(got) != 3 || got[0] != "a" || got[1] != "b" || got[2] != "c" {
		t.Fatalf("published %v, want %s", got, want)
	}
}

func TestReopenKeepsWhatWasCommitted(t *testing.T) {
	at := statetest.Address(t)
	db := statetest.OpenAt(t, at)
	ctx := t.Context()
	if err := db.Tx(ctx, func(tx *state.Tx) error { return tx.Emit(ctx, "x.y", "1", "v") }); err != nil {
		t.Fatal(err)
	}
	again := statetest.OpenAt(t, at)
	var n int
	if err := again.QueryRow(ctx, `SELECT COUNT(*) FROM outbox`).Scan(&n); err != nil || n != 1 {
		t.Fatalf("got %d rows, %v; want 1", n, err)
	}
}

// A message that the bus can never take must not stop everything behind it.
func TestMessageThatCannotBePublishedIsPutAside(t *testing.T) {
	db := statetest.Open(t)
	ctx := t.Context()
	for _, id := range []string{"a", "huge", "c"} {
		if err := db.Tx(ctx, func(tx *state.Tx) error { return tx.Emit(ctx, "alert.raised", id, id) }); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	rctx, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	err := db.Relay(rctx, func(_ context.Context, _, id string, _ []byte) error {
		if id == "huge" {
			return fault.New(fault.Invalid, "bus.too-large")
		}
		if got = append(got, id); id == "c" {
			stop()
		}
		return nil
	})
	if err != nil || len(got) != 2 || got[1] != "c" {
		t.Fatalf("published %v, %v; want a and c", got, err)
	}
	var n int
	if err := db.QueryRow(ctx, `SELECT COUNT(*) FROM outbox_refused WHERE msg = 'huge' AND reason <> ''`).Scan(&n); err != nil || n != 1 {
		t.Fatalf("%d messages put aside, %v; want one", n, err)
	}
}
