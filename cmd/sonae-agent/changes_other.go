//go:build !linux

package main

import (
	"errors"

	"github.com/sonae/sonae/agent/collect"
	"github.com/sonae/sonae/event"
)

// changes of files, ports and accounts are seen on Linux only.
func (program) changes(o options, _ func(event.Event)) ([]collect.Collector, error) {
	if o.virus.clamd != "" {
		return nil, errors.New("--clamd is for Linux: what programs write is not seen here")
	}
	return nil, nil
}
