package repository

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/restic"
)

// line is one line of the receive log.
type line struct {
	At    time.Time   `json:"at"` // by the hub's clock, UTC
	Kind  restic.Kind `json:"kind"`
	Name  string      `json:"name"`          // the SHA-256 of its bytes; "" for config; the decision for a pruning
	Sum   string      `json:"sum,omitempty"` // of config, and of the plan of a pruning
	Size  int64       `json:"size"`
	Found bool        `json:"found,omitempty"` // after a crash: it came before At
	Chain string      `json:"chain"`           // SHA-256 of the chain before and this line without it, hex
}

// maxLine bounds a line, in bytes; the longest has about 300.
const maxLine = 4 << 10

// journal is the receive log: lines of JSON, appended and synced, each bound
// to all before it. It is used by one goroutine at a time.
type journal struct {
	file  *os.File
	size  int64 // of the whole lines
	lines int
	head  string // chain of the last line
	last  time.Time
	back  time.Duration // by how much the clock was behind when the last line came
}

// pruning is the kind of lines that bind a plan: what it takes out is gone from
// then on, what it puts in is there.
const pruning restic.Kind = "pruning"

// openJournal reads the log and tells each line. What a crash cut off at its
// end is removed: it was not acknowledged.
func openJournal(path string, each func(line) error) (*journal, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	j := &journal{file: file}
	if err := j.read(each); err != nil {
		return nil, errors.Join(fmt.Errorf("receive log %s: %w", path, err), file.Close())
	}
	if err := errors.Join(file.Truncate(j.size), file.Sync(), syncDir(filepath.Dir(path))); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return j, nil
}

func (j *journal) read(each func(line) error) error {
	in := bufio.NewReaderSize(j.file, maxLine)
	for {
		raw, err := in.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			return nil // with what was cut off
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", j.lines+1, err)
		}
		var l line
		if err := json.Unmarshal(raw, &l); err != nil {
			return fmt.Errorf("line %d: %w", j.lines+1, err)
		}
		if want, err := l.chain(j.head); err != nil || want != l.Chain {
			return fmt.Errorf("line %d: %w", j.lines+1, errChain)
		}
		j.size, j.lines, j.head, j.last = j.size+int64(len(raw)), j.lines+1, l.Chain, l.At
		if err := each(l); err != nil {
			return fmt.Errorf("line %d: %w", j.lines, err)
		}
	}
}

var errChain = fault.New(fault.Conflict, "protect.log-changed").With(errors.New("it does not follow from the lines before: the log was changed"))

// chain binds a line to all before it.
func (l line) chain(before string) (string, error) {
	l.Chain = ""
	b, err := json.Marshal(l)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(append([]byte(before), b...))
	return hex.EncodeToString(sum[:]), nil
}

// Heads reads the receive log of an agent's repository below dir, and tells what
// Repository.Head was after each line. It changes nothing. A log, or a plan that
// it binds, that was changed is fault.Conflict "protect.log-changed".
func Heads(dir, agent string, each func(lines int, digest string)) error {
	if !agentName.MatchString(agent) {
		return fault.New(fault.Invalid, "protect.agent")
	}
	file, err := os.Open(filepath.Join(dir, agent, journalFile))
	if err != nil {
		return err
	}
	defer file.Close()
	j := &journal{file: file}
	err = j.read(func(l line) error {
		if l.Kind == pruning {
			if _, err := readPlan(filepath.Join(dir, agent), l); err != nil {
				return err
			}
		}
		each(j.lines, j.head)
		return nil
	})
	if err != nil {
		return fmt.Errorf("receive log of %s: %w", agent, err)
	}
	return nil
}

// append writes a line and returns it with its time, which is never before that
// of the line above: where the hub's clock is set back, later files stay later, so
// that a view as of the last line never gains a file.
// It is durable when append returns without error. After an error the log is
// as it was before.
func (j *journal) append(l line) (line, error) {
	var err error
	back := j.last.Sub(l.At)
	if back > 0 {
		l.At = j.last.Add(1)
	}
	if l.Chain, err = l.chain(j.head); err != nil {
		return line{}, err
	}
	b, err := json.Marshal(l)
	if err != nil {
		return line{}, err
	}
	b = append(b, '\n')
	if _, err = j.file.WriteAt(b, j.size); err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		return line{}, errors.Join(fmt.Errorf("receive log: %w", err), j.file.Truncate(j.size))
	}
	j.size, j.lines, j.head, j.last, j.back = j.size+int64(len(b)), j.lines+1, l.Chain, l.At, max(back, 0)
	return l, nil
}

func (j *journal) close() error { return j.file.Close() }
