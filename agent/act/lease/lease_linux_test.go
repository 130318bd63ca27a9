package lease

import (
	"testing"
	"time"
)

// After a reboot with a dead clock battery the lease still ends.
func TestLeaseEndsWhateverTheClockSaysAfterAReboot(t *testing.T) {
	applied := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		now      time.Time
		min, max time.Duration
	}{
		"right clock": {applied.Add(20 * time.Minute), 39 * time.Minute, 40 * time.Minute},
		"clock lost":  {time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), 59 * time.Minute, time.Hour},
		"over":        {applied.Add(2 * time.Hour), -time.Hour - time.Minute, 0},
	} {
		i := Lease{AppliedAt: applied, EndsAt: applied.Add(time.Hour), Boot: "an earlier boot", EndsUp: uptime() + 99*time.Hour}
		i.Rebase(tt.now)
		if left := i.Left(tt.now.Add(-99 * 24 * time.Hour)); left < tt.min || left > tt.max {
			t.Errorf("%s: %s left, want %s to %s", name, left, tt.min, tt.max)
		}
		if i.Boot != bootID() {
			t.Errorf("%s: does not count by this boot", name)
		}
	}
}

func TestTheKernelNeverEndsALeaseEarly(t *testing.T) {
	for left, want := range map[time.Duration]time.Duration{-time.Second: 11 * time.Millisecond, 0: 11 * time.Millisecond, time.Minute: time.Minute + 10*time.Millisecond} {
		if got := InKernel(left); got != want {
			t.Errorf("%s is %s in the kernel, want %s", left, got, want)
		}
	}
}
