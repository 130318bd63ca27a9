package bus

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// Message is one that waits on the bus.
type Message struct {
	Subject string
	ID      string
	Body    []byte
	Refused string // why it is a dead letter; empty: it is none
}

// Pending calls f for every message of a stream that some join has not
// acknowledged yet, or, for the stream "dead", that nobody has removed, in
// order. What is acknowledged meanwhile may or may not be told.
func (b *Bus) Pending(ctx context.Context, stream string, f func(Message) error) error {
	s, err := b.js.Stream(ctx, strings.ToUpper(stream))
	if err != nil {
		return fmt.Errorf("pending messages of %s: %w", stream, err)
	}
	info, err := s.Info(ctx)
	if err != nil {
		return fmt.Errorf("pending messages of %s: %w", stream, err)
	}
	for seq := info.State.FirstSeq; seq <= info.State.LastSeq; seq++ {
		m, err := s.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(stream+".>")) // the next one that is still there
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("pending messages of %s: %w", stream, err)
		}
		out := Message{Subject: m.Subject, ID: m.Header.Get(jetstream.MsgIDHeader), Body: m.Data, Refused: m.Header.Get("Sonae-Reason")}
		if out.Refused != "" {
			out.Subject = m.Header.Get("Sonae-Subject")
		}
		if err := f(out); err != nil {
			return err
		}
		seq = m.Sequence
	}
	return nil
}

// StreamsIn lists the streams, but that of the dead letters, of a bus that is
// stopped, as their first tokens.
func StreamsIn(dir string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(dir, "jetstream", "$G", "streams"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("streams of the bus: %w", err)
	}
	var names []string
	for _, e := range entries {
		if name := strings.ToLower(e.Name()); name != deadStream {
			names = append(names, name)
		}
	}
	return names, nil
}

// PendingIn is Pending for a bus that is stopped or was killed. dir is only
// read; the work is done on a copy of the stream in a temporary folder.
func PendingIn(ctx context.Context, dir, stream string, f func(Message) error) (err error) {
	place := filepath.Join("jetstream", "$G", "streams", strings.ToUpper(stream)) // how the server names it
	if _, err := os.Stat(filepath.Join(dir, place)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	tmp, err := os.MkdirTemp("", "sonae-bus")
	if err != nil {
		return fmt.Errorf("pending messages: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	if err := os.CopyFS(filepath.Join(tmp, place), os.DirFS(filepath.Join(dir, place))); err != nil {
		return fmt.Errorf("pending messages: %w", err)
	}
	b, err := start(ctx, Config{Dir: tmp}, slog.New(slog.DiscardHandler))
	if err != nil {
		return fmt.Errorf("pending messages: %w", err)
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	return b.Pending(ctx, stream, f)
}
