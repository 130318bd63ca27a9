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

// Waiting calls f for every message of one stream that some join has not
// acknowledged yet, in order, without the hub: for the offline verifier. dir
// is the folder of a bus that is stopped or was killed; it is only read. The
// work is done on a copy of the stream in a temporary folder. A bus that never
// had the stream has nothing waiting.
func Waiting(ctx context.Context, dir, stream string, f func(subject string, body []byte) error) (err error) {
	place := filepath.Join("jetstream", "$G", "streams", strings.ToUpper(stream)) // how the server names it
	if _, err := os.Stat(filepath.Join(dir, place)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	tmp, err := os.MkdirTemp("", "sonae-bus")
	if err != nil {
		return fmt.Errorf("read waiting messages: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	if err := os.CopyFS(filepath.Join(tmp, place), os.DirFS(filepath.Join(dir, place))); err != nil {
		return fmt.Errorf("read waiting messages: %w", err)
	}
	b, err := start(ctx, Config{Dir: tmp}, slog.New(slog.DiscardHandler))
	if err != nil {
		return fmt.Errorf("read waiting messages: %w", err)
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	if err := b.each(ctx, strings.ToUpper(stream), f); err != nil {
		return fmt.Errorf("read waiting messages of %s: %w", stream, err)
	}
	return nil
}

// each reads a stream from its first to its last message.
func (b *Bus) each(ctx context.Context, stream string, f func(subject string, body []byte) error) error {
	s, err := b.js.Stream(ctx, stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) { // its folder holds nothing that could be read
		return fmt.Errorf("damaged: %w", err)
	}
	if err != nil {
		return err
	}
	state := s.CachedInfo().State
	for seq := state.FirstSeq; seq <= state.LastSeq && state.Msgs > 0; seq++ {
		m, err := s.GetMsg(ctx, seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) { // handled already, out of order
			continue
		}
		if err != nil {
			return err
		}
		if err := f(plain(m.Subject), m.Data); err != nil {
			return err
		}
	}
	return nil
}
