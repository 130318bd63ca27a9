package proof

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Cost is one run of a chore.
type Cost struct {
	Wall    time.Duration
	CPU     time.Duration // user and system time of the chore's own processes
	Guard   time.Duration // what the guard used meanwhile, 0 when nobody watched
	Frozen  []Event       // what the guard froze: nothing, it is to be hoped
	Thawed  int           // how often the kernel stopped something that the guard let go on
	Dropped int           // operations that the guard could not look at
}

// Site is where chores are done.
type Site struct {
	Agent  string  // the built agent
	Root   string  // the project's source
	Work   string  // a folder that is not watched
	Volume *Volume // watched
	Tree   *Tree   // on it
}

// Missing names the programs of a chore that this machine lacks.
func (s *Site) Missing(c Chore) []string {
	var missing []string
	for _, need := range c.Needs {
		if _, err := exec.LookPath(need); err != nil {
			missing = append(missing, need)
		}
	}
	if strings.Contains(c.Run, "$PG") && s.postgres() == "" {
		missing = append(missing, "postgres")
	}
	return missing
}

// postgres is the folder of the newest PostgreSQL's programs, "" without one.
func (s *Site) postgres() string {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return ""
	}
	return filepath.Dir(slices.Max(found))
}

// Do does a chore once, under a guard of its own with backend, or with nobody
// watching when backend is "". A chore that is frozen is ended.
func (s *Site) Do(ctx context.Context, c Chore, backend string) (cost Cost, err error) {
	folder := filepath.Join(s.Volume.Dir, "work")
	if err := os.RemoveAll(folder); err != nil {
		return cost, fmt.Errorf("%s: %w", c.Name, err)
	}
	if err := os.Mkdir(folder, 0o755); err != nil {
		return cost, fmt.Errorf("%s: %w", c.Name, err)
	}
	if c.Prepare != "" {
		if _, _, err := s.shell(ctx, c.Prepare, nil); err != nil {
			return cost, fmt.Errorf("prepare %s: %w", c.Name, err)
		}
	}
	if backend == "" {
		cost.Wall, cost.CPU, err = s.shell(ctx, c.Run, nil)
		return cost, err
	}
	guard, err := StartGuard(s.Agent, s.Volume.Dir, backend)
	if err != nil {
		return cost, err
	}
	before := guard.CPU()
	cost.Wall, cost.CPU, err = s.shell(ctx, c.Run, func() bool { return len(guard.Told("frozen")) > 0 })
	cost.Guard = guard.CPU() - before
	if cost.Frozen = guard.Told("frozen"); len(cost.Frozen) > 0 {
		err = nil // it was ended, of course it failed
	}
	err = errors.Join(err, guard.Close())
	cost.Thawed, cost.Dropped = len(guard.Told("thawed")), guard.Dropped()
	return cost, err
}

// shell runs a script to its end, or until frozen says that it is.
func (s *Site) shell(ctx context.Context, script string, frozen func() bool) (wall, cpu time.Duration, err error) {
	cmd := exec.Command("/bin/bash", "-eu", "-o", "pipefail", "-c", script)
	said := &tail{}
	cmd.Stdout, cmd.Stderr = said, said
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Env = append(os.Environ(), "V="+filepath.Join(s.Volume.Dir, "work"), "T="+s.Work, "TREE="+s.Tree.Dir, "ROOT="+s.Root, "PG="+s.postgres())
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, 0, fmt.Errorf("start a chore: %w", err)
	}
	over := make(chan error, 1)
	go func() { over <- cmd.Wait() }()
	end := time.After(5 * time.Minute)
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case err := <-over:
			wall = time.Since(start)
			if frozen != nil {
				time.Sleep(200 * time.Millisecond) // the guard may still be thinking
			}
			if err != nil {
				err = fmt.Errorf("%w: %s", err, said)
			}
			return wall, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), err
		case <-ctx.Done():
			err := family{cmd.Process.Pid}.kill()
			<-over
			return 0, 0, errors.Join(err, ctx.Err())
		case <-end:
			err := family{cmd.Process.Pid}.kill()
			<-over
			return 0, 0, errors.Join(err, fmt.Errorf("a chore did not end within 5 minutes: %s", said))
		case <-look.C:
			if frozen != nil && frozen() {
				err := family{cmd.Process.Pid}.kill()
				<-over
				return time.Since(start), 0, err
			}
		}
	}
}
