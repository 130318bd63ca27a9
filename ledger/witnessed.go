package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/transparency-dev/tessera/client"
	"golang.org/x/mod/sumdb/note"

	"github.com/sonae/sonae/ledger/internal/durable"
)

// Option is a choice at Open.
type Option func(*Ledger)

// Witnessed keeps in dir, which must lie outside the ledger's folder, what the
// witnesses with these keys cosign: checkpoint-HASH, the newest checkpoint, and
// key-HASH, the key, one pair for each witness. What lies there from witnesses
// that are not asked any more still binds the ledger.
func Witnessed(dir string, keys ...WitnessKey) Option {
	return func(l *Ledger) { l.witnessed.dir, l.witnessed.keys = dir, keys }
}

// witnessed is what witnesses have cosigned.
type witnessed struct {
	dir  string
	keys []WitnessKey

	saving sync.Mutex // one Cosign at a time

	mu    sync.Mutex
	bound []Earlier             // found at the start: the ledger must extend them
	last  map[string]Checkpoint // by key, with one line each
	at    map[string]time.Time  // by key
}

// load reads what earlier runs stored. Whoever can damage such a file can also
// remove it, and the witness knows better: it is reported, and written anew
// with the next cosignature.
func (w *witnessed) load(v note.Verifier, log *slog.Logger) error {
	w.last, w.at = map[string]Checkpoint{}, map[string]time.Time{}
	if w.dir == "" {
		return nil
	}
	if err := os.MkdirAll(w.dir, 0o750); err != nil {
		return fmt.Errorf("folder of cosigned checkpoints: %w", err)
	}
	if err := w.writeKeys(); err != nil {
		return err
	}
	names, err := filepath.Glob(filepath.Join(w.dir, "checkpoint-*"))
	if err != nil {
		return err
	}
	for _, name := range names {
		m := cosignedFile.FindStringSubmatch(filepath.Base(name))
		if m == nil {
			continue
		}
		e, err := readPair(w.dir, m[1], v)
		if err != nil {
			log.Error("cosigned checkpoint cannot be used", "file", name, "err", err)
			continue
		}
		w.bound = append(w.bound, e)
		for _, k := range w.keys {
			if at, err := e.Checkpoint.Cosigned(k); err == nil {
				w.last[k.text], w.at[k.text] = e.Checkpoint, at
			}
		}
	}
	return nil
}

func (w *witnessed) writeKeys() error {
	for _, k := range w.keys {
		path := filepath.Join(w.dir, fmt.Sprintf("key-%08x", k.verifier.KeyHash()))
		if b, err := os.ReadFile(path); err == nil && string(b) == k.text+"\n" {
			continue
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("witness key: %w", err)
		}
		if err := durable.Write(path, []byte(k.text+"\n"), 0o644); err != nil {
			return fmt.Errorf("witness key: %w", err)
		}
	}
	return nil
}

// all returns every cosigned checkpoint that the ledger must extend.
func (w *witnessed) all() []Earlier {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := slices.Clone(w.bound)
	for _, cp := range w.last {
		all = append(all, Earlier{File: w.dir, Checkpoint: cp})
	}
	return all
}

// newest returns the largest checkpoint that any witness cosigned, with the
// lines of all who cosigned it, and their keys in the order of the lines.
func (w *witnessed) newest() (Checkpoint, []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var best Checkpoint
	var keys []string
	for _, k := range w.keys {
		cp, there := w.last[k.text]
		switch {
		case !there || len(keys) > 0 && cp.Size < best.Size:
		case len(keys) == 0 || cp.Size > best.Size:
			best, keys = cp, []string{k.text}
		case cp.Bare() == best.Bare() && len(keys) < maxCosignatures:
			best.Text += cp.Text[cp.own():]
			keys = append(keys, k.text)
		}
	}
	return best, keys
}

// Cosigned returns the newest checkpoint that a witness cosigned, and when; ok
// is false when there is none yet.
func (l *Ledger) Cosigned(by WitnessKey) (cp Checkpoint, at time.Time, ok bool) {
	l.witnessed.mu.Lock()
	defer l.witnessed.mu.Unlock()
	cp, ok = l.witnessed.last[by.text]
	return cp, l.witnessed.at[by.text], ok
}

// Cosign takes a witness's answer for a checkpoint of this ledger: one or more
// signature lines. It checks the line of that witness, stores the cosigned
// checkpoint durably, and uses it in Checkpoint and Prove from then on. An
// answer for a shorter ledger than one that is stored is left aside.
func (l *Ledger) Cosign(cp Checkpoint, lines string, by WitnessKey) error {
	w := &l.witnessed
	if w.dir == "" || !slices.ContainsFunc(w.keys, func(k WitnessKey) bool { return k.text == by.text }) {
		return fmt.Errorf("cosignature of %s: not a witness of this ledger", by.ID())
	}
	own, err := openOwn(cp.Bare().Text, l.verifier)
	if err != nil {
		return fmt.Errorf("take cosignature: %w", err)
	}
	cosigned, at, err := own.with(lines, by)
	if err != nil {
		return fmt.Errorf("take cosignature: %w", err)
	}
	w.saving.Lock()
	defer w.saving.Unlock()
	if last, _, ok := l.Cosigned(by); ok && last.Size > cosigned.Size {
		return nil
	}
	path := filepath.Join(w.dir, fmt.Sprintf("checkpoint-%08x", by.verifier.KeyHash()))
	if err := durable.Write(path, []byte(cosigned.Text), 0o644); err != nil {
		return fmt.Errorf("store cosigned checkpoint: %w", busy(err))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last[by.text], w.at[by.text] = cosigned, at
	return nil
}

// Consistency returns the proof that the first from leaves are a beginning of
// the first to leaves (RFC 6962, section 2.1.2). to must be the size of a
// published checkpoint.
func (l *Ledger) Consistency(ctx context.Context, from, to uint64) ([][]byte, error) {
	if from > to {
		return nil, fmt.Errorf("consistency from %d to %d leaves: a ledger only grows", from, to)
	}
	if from == 0 || from == to {
		return nil, nil
	}
	builder, err := client.NewProofBuilder(ctx, to, l.reader().ReadTile)
	if err != nil {
		return nil, fmt.Errorf("consistency from %d to %d leaves: %w", from, to, err)
	}
	hashes, err := builder.ConsistencyProof(ctx, from, to)
	if err != nil {
		return nil, fmt.Errorf("consistency from %d to %d leaves: %w", from, to, err)
	}
	return hashes, nil
}

// CosignatureAge returns how old the newest cosignature of each configured
// witness is, by WitnessKey.ID; a negative age means that there is none yet.
func (l *Ledger) CosignatureAge(now time.Time) map[string]time.Duration {
	ages := map[string]time.Duration{}
	for _, k := range l.witnessed.keys {
		ages[k.ID()] = -1
		if _, at, ok := l.Cosigned(k); ok {
			ages[k.ID()] = max(0, now.Sub(at))
		}
	}
	return ages
}
