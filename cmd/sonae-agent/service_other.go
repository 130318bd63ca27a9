//go:build !windows

package main

import (
	"context"
	"fmt"
)

// defaultDir is where the state is kept when nothing is said.
func defaultDir() string { return "/var/lib/sonae-agent" }

// service is for Windows: elsewhere the system has its own way.
func (p program) service(context.Context, []string) error {
	fmt.Fprintln(p.err, "sonae-agent: service: this is for Windows; here the guide has a unit for systemd")
	return errUsage
}

// started runs nothing: no service manager asks for an answer here.
func started(context.Context, func(context.Context) error) (error, bool) { return nil, false }
