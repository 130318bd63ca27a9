//go:build !linux

package shares

import (
	"log/slog"
	"time"
)

func wakes(string, *slog.Logger) (<-chan struct{}, func()) { return nil, func() {} }

func birth(string) (time.Time, bool) { return time.Time{}, false }
