package hub

import (
	"math"
	"testing"
)

// Backups leave more of the disk than events do: who sends too much stops only backups.
func TestBackupsStopBeforeTheHubDoes(t *testing.T) {
	for least, want := range map[uint64]int64{Default().MinFree: 2 << 30, 1 << 20: 8 << 20, 0: 0, math.MaxUint64: math.MaxInt64 / 8 * 8} {
		if got := (Config{MinFree: least}).backupFree(); got != want {
			t.Errorf("%d of %d instead of %d", got, least, want)
		}
	}
}
