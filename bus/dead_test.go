package bus

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sonae/sonae/fault"
)

func TestDeadLettersAreListedAndRevived(t *testing.T) {
	b := openWith(t, Config{Partitioned: []string{"event.*.*"}})
	var usable atomic.Bool
	var got record
	if err := b.Join(t.Context(), OnBytes("event.>", "detect", func(_ context.Context, body []byte) error {
		if !usable.Load() {
			return fault.New(fault.Invalid, "test.bad").With(fmt.Errorf("two\r\nlines"))
		}
		got.add(string(body))
		return nil
	}).Partitioned()); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"one", "two", "three"} {
		send(t, b, "event.s.h", id)
	}
	var list []Letter
	until(t, "three letters", func() bool {
		var err error
		if list, err = b.Dead(t.Context(), 0, 2); err != nil {
			t.Fatal(err)
		}
		more, err := b.Dead(t.Context(), 2, 10)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, more...)
		return len(list) == 3
	})
	for i, want := range []string{"one", "two", "three"} {
		l := list[i]
		if l.Seq != uint64(i+1) || l.Join != "detect" || l.Subject != "event.s.h" || string(l.Body) != want || !strings.Contains(l.Reason, "two  lines") || l.At.IsZero() {
			t.Errorf("got %+v", l)
		}
	}
	usable.Store(true)
	if err := b.Revive(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	until(t, "the revived one", func() bool { return len(got.all()) == 1 && got.all()[0] == "two" })
	if fault.Of(b.Revive(t.Context(), 2)) != fault.Missing {
		t.Error("revived twice")
	}
	if left, err := b.Dead(t.Context(), 0, 1000); err != nil || len(left) != 2 {
		t.Errorf("left: %v, %v", left, err)
	}
}
