package proof

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/sonae/sonae/bench/guard/tally"
)

// Range is where attacks are tried: a tree on a watched volume, and the
// programs.
type Range struct {
	Agent, Encsim string        // built programs
	Work          string        // a folder that is not watched
	Tree          *Tree         // what is attacked
	Settle        time.Duration // how long is watched whether anything goes on after the freeze
}

// Result is one attack.
type Result struct {
	Frozen  bool          // every thread of every process of the attack was stopped
	Lost    int           // files that are not what they were
	Stopped time.Duration // from the first write until the last thread was seen stopped
	Told    time.Duration // from the first write until the guard's line was read
	After   int           // files begun after the freeze
	Key     bool          // the key was found in the stopped memory
	Dropped int           // operations that the guard could not look at
	Lines   []string      // all that the guard told
}

// patience is how long an attack may go on before a run is given up.
const patience = 60 * time.Second

// Try attacks the tree once in a shape, under a guard of its own, and leaves
// the tree as it was.
func (r *Range) Try(ctx context.Context, shape Shape, backend string, seed uint64) (Result, error) {
	var res Result
	page, err := tally.Create(r.tally())
	if err != nil {
		return res, err
	}
	defer page.Close()
	guard, err := StartGuard(r.Agent, r.Tree.Dir, backend)
	if err != nil {
		return res, err
	}
	err = r.attack(ctx, &res, shape, seed, page, guard)
	err = errors.Join(err, guard.Close())
	res.Dropped, res.Lines = guard.Dropped(), guard.lines()
	res.Lost = len(r.Tree.Lost())
	return res, errors.Join(err, r.Tree.Restore())
}

func (r *Range) tally() string { return filepath.Join(r.Work, "tally") }

// attack starts the simulator, watches it, and ends it.
func (r *Range) attack(ctx context.Context, res *Result, shape Shape, seed uint64, page *tally.Page, guard *Guard) error {
	cmd, err := r.command(shape, seed)
	if err != nil {
		return err
	}
	said, err := os.Create(filepath.Join(r.Work, "said"))
	if err != nil {
		return fmt.Errorf("start the attack: %w", err)
	}
	defer said.Close()
	cmd.Stdout, cmd.Stderr = said, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the attack: %w", err)
	}
	all := family{cmd.Process.Pid}
	r.observe(ctx, res, all, page, guard)
	if res.Frozen {
		err = r.inspect(res, all, page, said.Name())
	}
	err = errors.Join(err, ctx.Err(), all.kill())
	var ended *exec.ExitError
	if e := cmd.Wait(); e != nil && !errors.As(e, &ended) {
		err = errors.Join(err, e)
	}
	if page.First() == 0 {
		return errors.Join(err, fmt.Errorf("the attack did not begin: %s", tailOf(said.Name())))
	}
	return err
}

// observe waits until all of the attack is stopped and the guard has said so,
// or the attack has ended. A stop that the guard takes back does not count.
func (r *Range) observe(ctx context.Context, res *Result, all family, page *tally.Page, guard *Guard) {
	var since int64
	for end := time.Now().Add(patience); time.Now().Before(end) && !all.gone() && ctx.Err() == nil; time.Sleep(time.Millisecond) {
		if !all.stopped() {
			since = 0
			continue
		}
		if since == 0 {
			since = tally.Now()
		}
		if told := guard.Told("frozen"); len(told) > 0 {
			res.Frozen, res.Stopped = true, tally.Since(page.First(), since)
			res.Told = tally.Since(page.First(), told[0].At)
			return
		}
	}
}

// inspect looks at the stopped attack: does it stay stopped, is its key there?
func (r *Range) inspect(res *Result, all family, page *tally.Page, said string) error {
	before := page.Started()
	time.Sleep(r.Settle)
	res.After = page.Started() - before
	sums, err := keySums(said)
	if err != nil {
		return err
	}
	res.Key, err = all.holds(sums)
	return err
}

// keySums reads the last hashes that the simulator printed: those of earlier
// processes of a script are gone with them.
func keySums(path string) ([][sha256.Size]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the hash of the key: %w", err)
	}
	var sums [][sha256.Size]byte
	for text := range strings.Lines(string(b)) {
		sum, err := hex.DecodeString(strings.TrimSpace(text))
		if err == nil && len(sum) == sha256.Size {
			sums = append(sums, [sha256.Size]byte(sum))
		}
	}
	return sums[max(0, len(sums)-4):], nil
}

// command is the simulator in its shape.
func (r *Range) command(shape Shape, seed uint64) (*exec.Cmd, error) {
	program := r.Encsim
	if shape.As != "" {
		program = filepath.Join(r.Work, shape.As)
		if err := copyFile(r.Encsim, program); err != nil {
			return nil, err
		}
	}
	args := append([]string{"-dir", r.Tree.Dir, "-token", r.Tree.Token, "-tally", r.tally(), "-seed", fmt.Sprint(seed)}, shape.Args...)
	if !shape.Script && !shape.Each {
		return exec.Command(program, args...), nil
	}
	body := "\"$@\"\necho done\n"
	if shape.Each {
		list := filepath.Join(r.Work, "files")
		if err := os.WriteFile(list, []byte(strings.Join(r.Tree.Files(), "\n")+"\n"), 0o600); err != nil {
			return nil, fmt.Errorf("write a script: %w", err)
		}
		body = "while read -r file; do \"$@\" \"$file\"; done <" + list + "\n"
	}
	script := filepath.Join(r.Work, "update.sh")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"+body), 0o700); err != nil {
		return nil, fmt.Errorf("write a script: %w", err)
	}
	return exec.Command("/bin/sh", append([]string{script, program}, args...)...), nil
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("copy a program: %w", err)
	}
	if err := os.WriteFile(to, b, 0o700); err != nil {
		return fmt.Errorf("copy a program: %w", err)
	}
	return nil
}

func tailOf(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-512):])
}
