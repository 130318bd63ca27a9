package action

import "testing"

// TestAStepAsksOnce: a hub that died between asking and writing that down asks
// again, and must get the same action, also when that is over.
func TestAStepAsksOnce(t *testing.T) {
	b := newBench(t)
	q := isolate()
	q.Step = "run-1/3/1/pc"
	first, err := b.Request(t.Context(), q, tanaka)
	b.must(err)
	again, err := b.Request(t.Context(), q, tanaka)
	b.must(err)
	if first.ID != again.ID || again.Step != q.Step {
		t.Errorf("asked twice: %s and %s", first.ID, again.ID)
	}
	b.must(b.Refuse(t.Context(), first.ID, "診療中", suzuki))
	if again, err = b.Request(t.Context(), q, tanaka); err != nil || again.ID != first.ID || again.State != Refused {
		t.Errorf("after it was refused: %s %s, %v", again.ID, again.State, err)
	}
	q.Step = "run-1/3/2/pc" // people ask once more
	if other, err := b.Request(t.Context(), q, tanaka); err != nil || other.ID == first.ID {
		t.Errorf("another try got the old action: %v", err)
	}
}
