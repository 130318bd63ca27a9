package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// How long a running hub is given to put on record what it was writing when it
// was looked at.
const (
	looks    = 4
	lookWait = 5 * time.Second
	lookTick = 100 * time.Millisecond
)

// settled checks a hub's folder with once. The rows and files of a hub that
// runs are read after its ledger, which then lacks what happened in between,
// and a copy of a shared ledger follows a moment later: what differs is looked
// at again once the ledger has grown, and is said only when it stays.
func (c *check) settled(ctx context.Context, dir string, once func() error) error {
	out := c.out
	defer func() { c.out = out }()
	for look := 1; ; look++ {
		p := &patient{out: out}
		c.out, c.differences = p, 0
		before := checkpointIn(dir)
		err := once()
		if err == nil && c.differences > 0 && look < looks && running(dir) && grows(ctx, dir, before) {
			c.note("the hub went on writing; what differs is looked at again")
			continue
		}
		_, e := p.held.WriteTo(out)
		return errors.Join(err, e)
	}
}

// patient holds differences back until it is certain that they stay. It is
// given whole lines.
type patient struct {
	out  io.Writer
	held bytes.Buffer
}

func (p *patient) Write(line []byte) (int, error) {
	if bytes.HasPrefix(line, []byte(differsWord)) {
		return p.held.Write(line)
	}
	return p.out.Write(line)
}

func checkpointIn(dir string) []byte {
	b, _ := os.ReadFile(filepath.Join(dir, "ledger", "checkpoint")) // a missing one is named by the check
	return b
}

// grows waits for the ledger to have more than it had.
func grows(ctx context.Context, dir string, before []byte) bool {
	ctx, stop := context.WithTimeout(ctx, lookWait)
	defer stop()
	tick := time.NewTicker(lookTick)
	defer tick.Stop()
	for {
		if !bytes.Equal(before, checkpointIn(dir)) {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}

// running says whether a hub holds the lock of its folder. Nothing is written.
func running(dir string) bool {
	f, err := os.Open(filepath.Join(dir, "lock"))
	if err != nil {
		return false
	}
	defer f.Close() // drops the lock, too
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}
