// Package clock holds what Sonae knows about time.
//
// In: nothing. Out: the Now function type that stages receive, Japan's time
// zone, and unique ids that sort by time. Always true: no stage calls time.Now
// by itself, so that tests are exact.
package clock

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"
)

// Now tells the time. Production passes time.Now.
type Now func() time.Time

// Tokyo is Japan Standard Time. Japan has had no summer time since 1951, so a
// fixed zone is exact and needs no zone database on the machine.
func Tokyo() *time.Location { return time.FixedZone("JST", 9*60*60) }

// ID returns a new identifier: kind, time to the millisecond and 48 random
// bits, for example "al-0192f3c5a1b2-9f86d081884c". Ids of one kind sort by
// the time they were made.
func ID(kind string, at time.Time) string {
	var b [6]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic("clock: no randomness: " + err.Error()) // crypto/rand never fails on supported systems
	}
	return fmt.Sprintf("%s-%012x-%s", kind, at.UnixMilli(), hex.EncodeToString(b[:]))
}
