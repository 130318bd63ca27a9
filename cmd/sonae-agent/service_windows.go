package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/mgr"
)

// serviceName is the agent in the service manager.
const serviceName = "SonaeAgent"

// defaultDir is where the state is kept when nothing is said.
func defaultDir() string {
	return filepath.Join(os.Getenv("ProgramData"), "Sonae", "agent")
}

// service installs and removes the agent as a service, which the service
// manager starts with the system and again after it ended, however it ended.
func (p program) service(_ context.Context, args []string) error {
	what := ""
	if len(args) > 0 {
		what, args = args[0], args[1:]
	}
	f, dir := p.flags("service")
	if err := p.parse(f, args, 0); err != nil {
		return err
	}
	switch what {
	case "install":
		return p.install(*dir)
	case "remove":
		return remove()
	}
	fmt.Fprintf(p.err, "sonae-agent: service: install or remove?\n")
	return errUsage
}

// restartAfter is how long the service manager waits before it starts an agent that
// ended: a lease must not go on for lack of one.
const restartAfter = 5 * time.Second

func (p program) install(dir string) error {
	image, err := os.Executable()
	if err != nil {
		return fmt.Errorf("install: %w", err)
	}
	m, err := mgr.Connect()
	if err != nil {
		return fmt.Errorf("install: service manager: %w", err)
	}
	defer m.Disconnect()
	s, err := m.CreateService(serviceName, image, mgr.Config{StartType: mgr.StartAutomatic, DisplayName: "Sonae agent",
		Description: "Watches this machine and carries out signed orders of the hub of Sonae."}, "run", "--dir", dir)
	if err != nil {
		return fmt.Errorf("install: %w", err)
	}
	defer s.Close()
	actions := []mgr.RecoveryAction{{Type: mgr.ServiceRestart, Delay: restartAfter}}
	if err := s.SetRecoveryActions(actions, uint32((24 * time.Hour).Seconds())); err != nil {
		return fmt.Errorf("install: restart after an end: %w", err)
	}
	if err := s.SetRecoveryActionsOnNonCrashFailures(true); err != nil {
		return fmt.Errorf("install: restart after an end: %w", err)
	}
	if err := s.Start(); err != nil {
		return fmt.Errorf("install: it was installed, but does not start: %w", err)
	}
	fmt.Fprintf(p.out, "service %s installed and started\n", serviceName)
	return nil
}

func remove() error {
	m, err := mgr.Connect()
	if err != nil {
		return fmt.Errorf("remove: service manager: %w", err)
	}
	defer m.Disconnect()
	s, err := m.OpenService(serviceName)
	if err != nil {
		return fmt.Errorf("remove: %w", err)
	}
	defer s.Close()
	if _, err := s.Control(svc.Stop); err != nil {
		if status, e := s.Query(); e != nil || status.State != svc.Stopped {
			return fmt.Errorf("remove: stop: %w", errors.Join(err, e))
		}
	}
	if err := s.Delete(); err != nil {
		return fmt.Errorf("remove: %w", err)
	}
	return nil
}

// started runs command under the service manager when it was that which
// started this process.
func started(ctx context.Context, command func(context.Context) error) (error, bool) {
	is, err := svc.IsWindowsService()
	if err != nil || !is {
		return nil, false
	}
	h := &handler{ctx: ctx, command: command}
	if err := svc.Run(serviceName, h); err != nil {
		return fmt.Errorf("service: %w", err), true
	}
	return h.err, true
}

// handler is the service as the service manager sees it.
type handler struct {
	ctx     context.Context
	command func(context.Context) error
	err     error
}

// Execute is what svc.Handler asks for.
func (h *handler) Execute(_ []string, requests <-chan svc.ChangeRequest, status chan<- svc.Status) (specific bool, code uint32) {
	ctx, stop := context.WithCancel(h.ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- h.command(ctx) }()
	status <- svc.Status{State: svc.Running, Accepts: svc.AcceptStop | svc.AcceptShutdown}
	for {
		select {
		case h.err = <-ended:
			if h.err != nil {
				return true, 1
			}
			return false, 0
		case r := <-requests:
			switch r.Cmd {
			case svc.Interrogate:
				status <- r.CurrentStatus
			case svc.Stop, svc.Shutdown:
				status <- svc.Status{State: svc.StopPending}
				stop()
			}
		}
	}
}
