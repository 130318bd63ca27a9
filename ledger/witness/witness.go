// Package witness is the second pair of eyes on a ledger: a process on another
// machine that cosigns a checkpoint only if it extends what it cosigned before.
//
// In: add-checkpoint requests (C2SP tlog-witness): old size, consistency proof,
// checkpoint. Out: a cosignature/v1 (C2SP tlog-cosignature) over the
// checkpoint. Always true: what was cosigned is on disk before it is answered;
// of one origin only one history is ever cosigned, also after a crash; an
// origin has one key.
//
// Asker is the other side: it asks the witnesses of a ledger in the background
// and never holds the ledger up.
package witness

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger"
)

// Config is all that a witness is told.
type Config struct {
	Dir  string   // key and memory; no other process may use it
	Name string   // goes into the key when it is made; later ignored
	Logs []string // verifier keys of the ledgers to watch
	Log  *slog.Logger
}

// Witness cosigns. All methods may be called by many goroutines.
type Witness struct {
	dir    string
	log    *slog.Logger
	lock   *os.File
	signer note.Signer
	key    ledger.WitnessKey
	logs   map[string]note.Verifier // by origin

	mu    sync.Mutex // from the check of the old size until the new state is on disk
	state stored
	seen  map[string]seen // by origin, the same as state
}

// seen is the newest checkpoint of an origin.
type seen struct {
	size uint64
	root []byte
}

// Open opens or creates a witness. It refuses two keys of the same name: a
// cosignature names the origin only, so that one ledger's history could be
// shown as the other's.
func Open(c Config) (*Witness, error) {
	w := &Witness{dir: c.Dir, log: c.Log, logs: map[string]note.Verifier{}, seen: map[string]seen{}}
	for _, text := range c.Logs {
		v, err := note.NewVerifier(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("open witness: ledger key: %w", err)
		}
		if other, twice := w.logs[v.Name()]; twice && other.KeyHash() != v.KeyHash() {
			return nil, fault.New(fault.Invalid, "witness.one-key", v.Name())
		}
		w.logs[v.Name()] = v
	}
	if len(w.logs) == 0 {
		return nil, fault.New(fault.Invalid, "witness.no-key")
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open witness: %w", err)
	}
	var err error
	if w.lock, err = lockFolder(c.Dir); err != nil {
		return nil, fmt.Errorf("open witness %s: %w", c.Dir, err)
	}
	if err := w.load(c.Name); err != nil {
		return nil, errors.Join(fmt.Errorf("open witness %s: %w", c.Dir, err), w.lock.Close())
	}
	return w, nil
}

// load reads the folder and checks that its memory is its own: each stored
// checkpoint carries the log's signature and the witness's.
func (w *Witness) load(name string) (err error) {
	if w.signer, w.key, w.state, err = openFolder(w.dir, name); err != nil {
		return err
	}
	for _, origin := range slices.Sorted(maps.Keys(w.state.Checkpoints)) {
		text := w.state.Checkpoints[origin]
		verifiers := []note.Verifier{w.key.Verifier()}
		if v, watched := w.logs[origin]; watched {
			verifiers = append(verifiers, v)
		}
		n, err := note.Open([]byte(text), note.VerifierList(verifiers...))
		if err != nil || len(n.Sigs) != len(verifiers) {
			return fault.New(fault.Conflict, "witness.other-key", origin).With(err)
		}
		h, err := head([]byte(n.Text))
		if err != nil || h.Origin != origin {
			return fault.New(fault.Conflict, "witness.lost").With(fmt.Errorf("stored checkpoint of %q is of %q: %w", origin, h.Origin, err))
		}
		w.seen[origin] = seen{h.Size, h.Hash}
	}
	return nil
}

// Key is the witness's public key.
func (w *Witness) Key() ledger.WitnessKey { return w.key }

// Close gives the folder free. No request may be under way.
func (w *Witness) Close() error { return w.lock.Close() }

// Checkpoint returns the newest cosigned checkpoint of an origin; ok is false
// when there is none.
func (w *Witness) Checkpoint(origin string) (text string, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	text, ok = w.state.Checkpoints[origin]
	return text, ok
}

// The refusals of add-checkpoint, each with its status in serve.go.
var (
	errUnknown  = errors.New("origin is not watched here")
	errUnsigned = errors.New("not signed by the origin's key")
	errBackward = errors.New("old size is larger than the checkpoint")
	errFork     = errors.New("another root was cosigned for this size")
	errProof    = errors.New("consistency proof does not hold")
)

// staleError refuses a request that starts from another size than the witness
// knows.
type staleError struct{ known uint64 }

func (e staleError) Error() string { return fmt.Sprintf("the witness has cosigned %d leaves", e.known) }

// add checks a request and returns the cosignature line.
func (w *Witness) add(body []byte) (string, error) {
	r, err := parseRequest(body)
	if err != nil {
		return "", err
	}
	v, watched := w.logs[r.head.Origin]
	if !watched {
		return "", errUnknown
	}
	n, err := note.Open(r.note, note.VerifierList(v))
	if err != nil {
		return "", errUnsigned
	}
	if again, err := head([]byte(n.Text)); err != nil || !bytes.Equal(again.Marshal(), r.head.Marshal()) {
		return "", errUnsigned // what is signed is not what was read
	}
	n.UnverifiedSigs = nil // other witnesses' lines are not ours to pass on
	if r.old > r.head.Size {
		return "", errBackward
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.consistent(r); err != nil {
		return "", err
	}
	return w.cosign(r, n)
}

// consistent holds the request against what was cosigned before. w.mu is held.
func (w *Witness) consistent(r request) error {
	known := w.seen[r.head.Origin]
	hasher := rfc6962.DefaultHasher
	switch {
	case r.old != known.size:
		return staleError{known.size}
	case r.head.Size == 0 && !bytes.Equal(r.head.Hash, hasher.EmptyRoot()):
		return errProof
	case r.old == r.head.Size && known.root != nil && !bytes.Equal(known.root, r.head.Hash):
		w.log.Error("the ledger shows two histories", "origin", r.head.Origin, "size", r.head.Size, "cosigned", fmt.Sprintf("%x", known.root), "shown", fmt.Sprintf("%x", r.head.Hash))
		return errFork
	case r.old == r.head.Size && len(r.proof) == 0:
		return nil
	}
	if err := proof.VerifyConsistency(hasher, r.old, r.head.Size, r.proof, known.root, r.head.Hash); err != nil {
		w.log.Error("consistency proof does not hold", "origin", r.head.Origin, "cosigned_size", r.old, "shown_size", r.head.Size, "err", err)
		return errProof
	}
	return nil
}

// cosign signs, writes the new state to disk, and only then gives the line
// away. w.mu is held.
func (w *Witness) cosign(r request, n *note.Note) (string, error) {
	own, err := note.Sign(&note.Note{Text: n.Text}, w.signer)
	if err != nil {
		return "", fmt.Errorf("cosign: %w", err)
	}
	line := string(own[len(n.Text)+1:])
	both, err := note.Sign(&note.Note{Text: n.Text, Sigs: n.Sigs})
	if err != nil {
		return "", fmt.Errorf("cosign: %w", err)
	}
	next := stored{maps.Clone(w.state.Checkpoints)}
	next.Checkpoints[r.head.Origin] = string(both) + line
	if known, again := w.seen[r.head.Origin]; !again || known.size != r.head.Size { // else only the time differs
		if err := writeState(w.dir, next); err != nil {
			return "", err
		}
	}
	w.state, w.seen[r.head.Origin] = next, seen{r.head.Size, r.head.Hash}
	return line, nil
}
