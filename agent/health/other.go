//go:build !linux

package health

import (
	"context"
	"errors"
)

// mounted tells of no volume: that is measured on Linux only.
func mounted() []volume { return nil }

// running finds no process: that is looked up on Linux only.
func running(string) (bool, error) { return false, errors.ErrUnsupported }

// active asks no service manager: that is done on Linux only.
func active(context.Context, string) (bool, string, error) {
	return false, "", errors.ErrUnsupported
}

// kernelClock is not known here.
func kernelClock() (reading, bool) { return reading{}, false }
