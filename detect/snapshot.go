package detect

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/sonae/sonae/detect/correlate"
)

// stateHead begins what Snapshot writes. It changes with the layout, or when
// the same events would no longer lead to the same state.
const stateHead = "sonae correlations 2\n"

// Limits of what Restore takes.
const (
	maxState = 1 << 30
	maxID    = 4096
)

// Snapshot writes what correlations have counted: the head, for each its id,
// the digest of the files it is made of and its window, and the SHA-256 of it
// all. It holds events, so it is as confidential as they are.
func (e *Engine) Snapshot(w io.Writer) error {
	state, err := e.tally.snapshot()
	if err != nil {
		return fmt.Errorf("snapshot of correlations: %w", err)
	}
	if _, err := w.Write(state); err != nil {
		return fmt.Errorf("snapshot of correlations: %w", err)
	}
	return nil
}

// Restore replaces what correlations have counted by what Snapshot wrote. It
// returns the ids of those for which nothing was there, or only what another
// version of the rule counted: they begin from zero, as do all after an error.
func (e *Engine) Restore(r io.Reader) (begun []string, err error) {
	data, err := io.ReadAll(io.LimitReader(r, maxState+1))
	if err == nil {
		begun, err = e.tally.restore(data)
	}
	if err != nil {
		e.tally.forget()
		return nil, fmt.Errorf("state of correlations: %w", err)
	}
	return begun, nil
}

// Forget makes all correlations begin from zero.
func (e *Engine) Forget() { e.tally.forget() }

func (t *tally) forget() {
	t = t.lock()
	defer t.mu.Unlock()
	for _, n := range t.plan.nodes {
		n.window = correlate.New[evidence](n.Config)
	}
}

func (t *tally) snapshot() ([]byte, error) {
	t = t.lock()
	defer t.mu.Unlock()
	out := []byte(stateHead)
	out = binary.AppendUvarint(out, uint64(len(t.plan.nodes)))
	for _, n := range t.plan.nodes {
		state, err := n.window.Snapshot(nil)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n.ID, err)
		}
		out = part(out, n.ID)
		out = append(out, n.digest[:]...)
		out = binary.AppendUvarint(out, uint64(len(state)))
		out = append(out, state...)
	}
	sum := sha256.Sum256(out)
	return append(out, sum[:]...), nil
}

var errState = errors.New("it is damaged or cut off")

func (t *tally) restore(data []byte) (begun []string, err error) {
	if !bytes.HasPrefix(data, []byte(stateHead)) {
		return nil, errors.New("it is of another version, or none")
	}
	if len(data) > maxState || len(data) < len(stateHead)+sha256.Size {
		return nil, errState
	}
	body, sum := data[:len(data)-sha256.Size], data[len(data)-sha256.Size:]
	if got := sha256.Sum256(body); !bytes.Equal(got[:], sum) {
		return nil, errState
	}
	states, err := readStates(body[len(stateHead):])
	if err != nil {
		return nil, err
	}
	t = t.lock()
	defer t.mu.Unlock()
	for _, n := range t.plan.nodes {
		n.window = correlate.New[evidence](n.Config)
		s, known := states[n.ID]
		if !known || !bytes.Equal(s.digest, n.digest[:]) {
			begun = append(begun, n.ID)
			continue
		}
		if err := n.window.Restore(s.window); err != nil {
			return nil, fmt.Errorf("%s: %w", n.ID, err)
		}
	}
	return begun, nil
}

type nodeState struct{ digest, window []byte }

func readStates(b []byte) (map[string]nodeState, error) {
	take := func(most int) []byte {
		n, used := binary.Uvarint(b)
		if used <= 0 || n > uint64(most) || n > uint64(len(b)-used) {
			b = nil
			return nil
		}
		out := b[used : used+int(n)]
		b = b[used+int(n):]
		return out
	}
	count, used := binary.Uvarint(b)
	if used <= 0 {
		return nil, errState
	}
	b = b[used:]
	out := map[string]nodeState{}
	for ; count > 0; count-- {
		id := string(take(maxID))
		if len(b) < sha256.Size {
			return nil, errState
		}
		s := nodeState{digest: b[:sha256.Size]}
		b = b[sha256.Size:]
		if s.window = take(maxState); s.window == nil {
			return nil, errState
		}
		out[id] = s
	}
	if len(b) > 0 {
		return nil, errState
	}
	return out, nil
}
