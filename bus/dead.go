package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sonae/sonae/fault"
)

// deadStream holds what no handler can use, with the reason in a header.
const deadStream = "dead"

// Headers of a dead letter.
const (
	deadSubject = "Sonae-Subject"
	deadReason  = "Sonae-Reason"
)

// Letter is a message that a join could not use.
type Letter struct {
	Seq     uint64    `json:"seq"`
	At      time.Time `json:"at"` // when it was put aside, the bus's clock
	Join    string    `json:"join"`
	Subject string    `json:"subject"`
	Reason  string    `json:"reason"`
	Body    []byte    `json:"body"`
}

// deadPage bounds what Dead returns at once, in letters and in bytes.
const (
	deadPage  = 100
	deadBytes = 16 << 20
)

// Dead lists up to n dead letters with a number above after, oldest first. n
// is at most a hundred. A page with less than n is not the last one if its
// letters are large: the list ends with an empty page.
func (b *Bus) Dead(ctx context.Context, after uint64, n int) ([]Letter, error) {
	s, err := b.js.Stream(ctx, strings.ToUpper(deadStream))
	if err != nil {
		return nil, fmt.Errorf("dead letters: %w", err)
	}
	var out []Letter
	for size := 0; len(out) < min(n, deadPage) && size < deadBytes; {
		m, err := s.GetMsg(ctx, after+1, jetstream.WithGetMsgSubject(deadStream+".>")) // the next that exists
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("dead letter after %d: %w", after, err)
		}
		out = append(out, letter(m))
		after, size = m.Sequence, size+len(m.Data)
	}
	return out, nil
}

func letter(m *jetstream.RawStreamMsg) Letter {
	return Letter{Seq: m.Sequence, At: m.Time.UTC(), Join: strings.TrimPrefix(m.Subject, deadStream+"."),
		Subject: plain(m.Header.Get(deadSubject)), Reason: m.Header.Get(deadReason), Body: m.Data}
}

// Revive offers a dead letter again, to all joins of its subject: those that
// handled it before recognise it, as they must. It then is no dead letter any
// more; if it still cannot be used it becomes a new one. fault.Missing if
// there is no such letter.
func (b *Bus) Revive(ctx context.Context, seq uint64) error {
	s, err := b.js.Stream(ctx, strings.ToUpper(deadStream))
	if err != nil {
		return fmt.Errorf("revive dead letter %d: %w", seq, err)
	}
	m, err := s.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return fault.New(fault.Missing, "bus.no-letter")
	}
	if err != nil {
		return fmt.Errorf("revive dead letter %d: %w", seq, err)
	}
	l := letter(m)
	if err := b.Publish(ctx, l.Subject, "revived/"+strconv.FormatUint(seq, 10), l.Body); err != nil {
		return fmt.Errorf("revive dead letter %d: %w", seq, err)
	}
	if err := s.DeleteMsg(ctx, seq); err != nil { // offered again twice is handled once
		return fmt.Errorf("revive dead letter %d: %w", seq, err)
	}
	return nil
}

// bury puts messages that can never be handled among the dead letters. A
// batch is buried one by one only if its handler names a single culprit, so
// handlers of batches must skip bad members themselves.
func (p *pump) bury(got []jetstream.Msg, reason error) error {
	p.log.Error("message cannot be used", "subject", got[0].Subject(), "err", reason)
	for _, m := range got {
		dead := nats.NewMsg(deadStream + "." + p.j.name)
		dead.Data = m.Data()
		dead.Header.Set(deadSubject, m.Subject())
		dead.Header.Set(deadReason, oneLine(reason.Error()))
		if _, err := p.b.js.PublishMsg(p.life, dead); err != nil {
			return fmt.Errorf("bury message of %s: %w", p.j.name, errors.Join(reason, err))
		}
	}
	return nil
}

// oneLine makes a text fit into a header.
func oneLine(s string) string { return strings.NewReplacer("\r", " ", "\n", " ").Replace(s) }
