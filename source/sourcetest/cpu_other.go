//go:build !unix

package sourcetest

import "time"

// cpuTime is unknown here.
func cpuTime() time.Duration { return 0 }
