package keep

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/fault"
)

// shelf keeps one state: an object named by its content, which another one, the
// head, puts in force. Whoever was quicker wins. It is safe for concurrent use.
type shelf struct {
	store blob.Store
	log   *slog.Logger
	what  string // whose state it is, for people

	mu     sync.Mutex
	stored stored
}

// stored is which state lies in the store.
type stored struct{ name, tag string }

// head is the object that names the state in force.
const head = "head"

var errDamaged = errors.New("the stored state is damaged")

// load reads the state in force; nil when there is none.
func (s *shelf) load(ctx context.Context) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stored = stored{}
	name, tag, err := s.read(ctx, head)
	if fault.Of(err) == fault.Missing {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s.stored = stored{string(name), tag}
	body, _, err := s.read(ctx, string(name))
	if fault.Of(err) == fault.Missing {
		return nil, fmt.Errorf("%w: %s is missing", errDamaged, name)
	}
	if err != nil {
		return nil, err
	}
	if nameOf(body) != string(name) {
		return nil, errDamaged
	}
	return body, nil
}

func (s *shelf) read(ctx context.Context, name string) ([]byte, string, error) {
	r, info, err := s.store.Get(ctx, name)
	if err != nil {
		return nil, "", err
	}
	defer r.Close()
	body, err := io.ReadAll(r)
	return body, info.Tag, err
}

// nameOf names a state by its content.
func nameOf(body []byte) string {
	sum := sha256.Sum256(body)
	return "state-" + hex.EncodeToString(sum[:])
}

// save puts a state in force. It fails also when another hub did so meanwhile:
// that one's state must not be undone.
func (s *shelf) save(ctx context.Context, body []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, name := s.stored, nameOf(body)
	if name == old.name {
		return nil
	}
	if err := s.store.Put(ctx, name, bytes.NewReader(body), int64(len(body))); err != nil && !blob.IsExists(err) {
		return fmt.Errorf("keep the state of %s: %w", s.what, err)
	}
	tag, err := s.store.Replace(ctx, head, []byte(name), old.tag)
	if err != nil {
		return fmt.Errorf("keep the state of %s: %w", s.what, err)
	}
	s.stored = stored{name, tag}
	if old.name != "" {
		if err := s.store.Remove(ctx, old.name); err != nil {
			s.log.Warn("an old state stays", "of", s.what, "err", err)
		}
	}
	return nil
}

// sweep removes states that a killed hub stored and did not put in force, or
// not remove.
func (s *shelf) sweep(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var old []string
	err := s.store.List(ctx, "state-", "", func(i blob.Info) error {
		if i.Name != s.stored.name {
			old = append(old, i.Name)
		}
		return nil
	})
	for _, name := range old {
		err = errors.Join(err, s.store.Remove(ctx, name))
	}
	if err != nil {
		s.log.Warn("an old state stays", "of", s.what, "err", err)
	}
}
