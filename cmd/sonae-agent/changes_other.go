//go:build !linux

package main

import "github.com/sonae/sonae/agent/collect"

// changes of files, ports and accounts are seen on Linux only.
func (program) changes(options) ([]collect.Collector, error) { return nil, nil }
