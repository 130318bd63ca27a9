package copy

import "testing"

// TestALockThatNeverHeldIsNoAttack: a bucket that was set up without a lock freezes
// nobody's backups; one that has lost it does.
func TestALockThatNeverHeldIsNoAttack(t *testing.T) {
	for _, tt := range []struct {
		problem    string
		held, want bool
	}{
		{LockLost, true, true}, {LockLost, false, false}, {Touched, false, true}, {Damage, true, false}, {Failed, true, false},
	} {
		if got := tampering(tt.problem, tt.held); got != tt.want {
			t.Errorf("%s, held %v: %v", tt.problem, tt.held, got)
		}
	}
}
