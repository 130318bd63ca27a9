//go:build !linux

package peer

import (
	"errors"
	"time"
)

var errUnsupported = errors.New("blocking peers is not available on this system")

func apply(string, prior, time.Duration) error { return errUnsupported }
func remove(string) error                      { return nil }
func present(string) (bool, error)             { return false, nil }
func holds(string, prior) (bool, error)        { return false, errUnsupported }
