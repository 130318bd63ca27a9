package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// request and reply go between this program and a store that runs in a child,
// one JSON object a line.
type request struct {
	Do       string // feed, finish, ask, sql
	From, To int    `json:",omitempty"`
	ID       string `json:",omitempty"`
	SQL      string `json:",omitempty"`
}

type reply struct {
	Rows      [][]string
	Wall, CPU time.Duration // nanoseconds
	Text      string        // what a statement returned
	Error     string
}

func (r reply) failed(err error) reply {
	if err != nil {
		r.Error = err.Error()
	}
	return r
}

// childProcess is a store in a process of its own.
type childProcess struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Reader
}

func startChild(cmd *exec.Cmd) (*childProcess, error) {
	c := &childProcess{cmd: cmd}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if c.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	c.lines = bufio.NewReaderSize(out, 1<<20)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if _, err := c.lines.ReadBytes('\n'); err != nil { // it says that it is ready
		return nil, errors.Join(fmt.Errorf("%s did not start: %w", cmd.Path, err), c.stop())
	}
	return c, nil
}

// call sends a request and waits for the reply.
func (c *childProcess) call(q request) (r reply, err error) {
	line, err := json.Marshal(q)
	if err != nil {
		return r, err
	}
	if _, err := c.in.Write(append(line, '\n')); err != nil {
		return r, err
	}
	if line, err = c.lines.ReadBytes('\n'); err != nil {
		return r, fmt.Errorf("the store ended: %w", err)
	}
	if err := json.Unmarshal(line, &r); err != nil {
		return r, err
	}
	if r.Error != "" {
		return r, errors.New(r.Error)
	}
	return r, nil
}

// stop lets the child end by closing its input.
func (c *childProcess) stop() error {
	if c == nil {
		return nil
	}
	return errors.Join(c.in.Close(), c.cmd.Wait())
}

func (c *childProcess) pid() int {
	if c == nil {
		return 0
	}
	return c.cmd.Process.Pid
}
