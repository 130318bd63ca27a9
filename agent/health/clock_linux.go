package health

import (
	"time"

	"golang.org/x/sys/unix"
)

// kernelClock is what the kernel believes of the clock while a daemon steers
// it (adjtimex(2)): right within maxerror. Of a clock that nobody steers it
// believes nothing.
func kernelClock() (reading, bool) {
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err != nil || t.Status&unix.STA_UNSYNC != 0 {
		return reading{}, false
	}
	within := time.Duration(t.Maxerror) * time.Microsecond
	return reading{"kernel", 0, within}, within < time.Second
}
