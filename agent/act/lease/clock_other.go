//go:build !linux

package lease

import "time"

func bootID() string        { return "" }
func uptime() time.Duration { return 0 }
