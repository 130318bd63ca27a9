//go:build !linux

package volume

import (
	"context"
	"syscall"
)

// Precheck refuses everything here: there is no mountinfo.
func holders(context.Context, []string) (bool, string) { return false, "not seen on this system" }

func noTerminal() *syscall.SysProcAttr { return nil }
