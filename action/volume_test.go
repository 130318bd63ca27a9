package action

import (
	"slices"
	"testing"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/fault"
)

func TestAVolumeIsNamedByItsPlace(t *testing.T) {
	b := newBench(t)
	q := part(Unmount)
	q.Object = " /mnt//karte/ "
	a, err := b.Plan(t.Context(), q)
	b.must(err)
	if a.Object != "/mnt/karte" {
		t.Errorf("%q", a.Object)
	}
	for _, bad := range []string{"", "karte", "/mnt/a\nb", "-a"} {
		q.Object = bad
		if _, err := b.Plan(t.Context(), q); fault.Of(err) != fault.Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// What needs a password is not mounted again, and people are told.
func TestAVolumeThatNeedsAPasswordIsLeftToPeople(t *testing.T) {
	b := newBench(t)
	o := b.held(part(Unmount))
	b.must(b.Release(t.Context(), o.Action, "確認が終わった", tanaka))
	undo := b.waits("pc")
	b.must(b.answer(undo[len(undo)-1], order.Released, func(r *order.Result) {
		r.Cause = "order"
		r.Checks = []order.Check{{Name: "volume-by-hand", Target: "/mnt/karte", OK: true, Detail: "mounted with a password", At: b.now()}}
	}))
	a := b.wantState(o.Action, Released)
	if a.ByHand() != "/mnt/karte" || !slices.ContainsFunc(a.Lines(), func(l Line) bool { return l.Key == "action.by-hand" && l.Args["where"] == "/mnt/karte" }) {
		t.Errorf("%+v", a.Lines())
	}
}
