//go:build !linux

package statetest

import (
	"errors"
	"os/exec"
)

const supported = false

func sweep() {}

func (s *server) folder() error                                 { return errors.ErrUnsupported }
func (s *server) run(*exec.Cmd) error                           { return errors.ErrUnsupported }
func (s *server) command(name string, args ...string) *exec.Cmd { return exec.Command(name, args...) }
