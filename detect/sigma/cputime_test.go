//go:build unix

package sigma

import (
	"syscall"
	"testing"
)

// cpuTime returns the processor time of this process in milliseconds, which on
// a shared machine says more than the clock.
func cpuTime(b *testing.B) float64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e6
}
