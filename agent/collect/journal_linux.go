package collect

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/sonae/sonae/source/tail"
)

// Journal follows the journal of systemd.
type Journal struct {
	said
	cfg Config
	bin string
	pos *tail.Marks
}

// journalSocket exists while journald runs.
const journalSocket = "/run/systemd/journal/socket"

// NewJournal returns nil when this machine has no running journal.
func NewJournal(cfg Config) *Journal {
	bin, err := exec.LookPath("journalctl")
	if err != nil {
		return nil
	}
	if _, err := os.Stat(journalSocket); err != nil {
		return nil
	}
	j := &Journal{cfg: cfg, bin: bin, pos: tail.OpenMarks(cfg.Dir, "journal.json")}
	j.say("not started")
	return j
}

// Name implements Collector.
func (j *Journal) Name() string { return "journal" }

// Run implements Collector.
func (j *Journal) Run(ctx context.Context, q *Queue) error {
	for wait := time.Second; ; wait = min(2*wait, time.Minute) {
		n, err := j.follow(ctx, q)
		if ctx.Err() != nil {
			return j.pos.Close()
		}
		if n > 0 {
			wait = time.Second
		} else {
			j.pos.Set("cursor", "") // a cursor that was rotated away would fail for ever
		}
		j.say(fmt.Sprintf("journalctl ended: %v", err))
		j.cfg.Log.Warn("journal", "err", err)
		if !pause(ctx, wait) {
			return j.pos.Close()
		}
	}
}

// follow runs journalctl until it or ctx ends, and returns how many lines came.
func (j *Journal) follow(ctx context.Context, q *Queue) (int, error) {
	args := []string{"--follow", "--output=json", "--no-pager", "--quiet"}
	if c := j.pos.Get("cursor"); c != "" {
		args = append(args, "--after-cursor="+c)
	} else {
		args = append(args, "--lines=0")
	}
	cmd := exec.CommandContext(ctx, j.bin, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	j.say("journalctl")
	n, err := j.read(ctx, out, q)
	return n, errors.Join(err, cmd.Wait())
}

// maxObject bounds one object of the journal; longer ones are skipped.
const maxObject = 1 << 20

func (j *Journal) read(ctx context.Context, from io.Reader, q *Queue) (int, error) {
	r := bufio.NewReaderSize(from, maxObject)
	for n := 0; ; {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = r.ReadSlice('\n')
			}
			continue
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return n, err
		}
		e, ok := parseJournal(line, j.cfg.Now())
		if !ok {
			continue
		}
		n++
		for _, ev := range e.events() {
			if !q.Wait(ctx, ev) {
				return n, ctx.Err()
			}
		}
		j.pos.Set("cursor", e.cursor)
		if err := j.pos.Save(j.cfg.Now()); err != nil {
			j.cfg.Log.Error("log position", "err", err)
		}
	}
}
