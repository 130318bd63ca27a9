package ledger

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	flog "github.com/transparency-dev/formats/log"
	"github.com/transparency-dev/tessera/api/layout"
	"golang.org/x/mod/sumdb/note"
)

// Checkpoint is a signed statement about the whole log.
type Checkpoint struct {
	Size uint64 // leaves it covers
	Root string // root of the Merkle tree (RFC 6962), hex
	Text string // the signed note as it is published (C2SP tlog-checkpoint), with the cosignatures of witnesses that are known
}

func (c Checkpoint) root() []byte {
	b, err := hex.DecodeString(c.Root)
	if err != nil {
		return nil // only ParseCheckpoint makes checkpoints, from bytes
	}
	return b
}

// ParseCheckpoint checks the log's signature of a checkpoint and that its text
// is spelled in the one canonical way: the signature by verifierKey's owner,
// then cosignatures of witnesses, if any. Those are checked by Cosigned, with
// the key of a witness that the reader trusts.
func ParseCheckpoint(text, verifierKey string) (Checkpoint, error) {
	v, err := note.NewVerifier(verifierKey)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("verifier key: %w", err)
	}
	return openCheckpoint(text, v)
}

func openCheckpoint(text string, v note.Verifier) (Checkpoint, error) {
	n, err := note.Open([]byte(text), note.VerifierList(v))
	if err != nil {
		return Checkpoint{}, fmt.Errorf("checkpoint: %w", err)
	}
	if len(n.UnverifiedSigs) > maxCosignatures {
		return Checkpoint{}, fmt.Errorf("checkpoint: more than %d cosignatures", maxCosignatures)
	}
	// Base64 has spellings that decode to the same signature. That is not what
	// the ledger wrote.
	sig, err := base64.StdEncoding.DecodeString(n.Sigs[0].Base64)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("checkpoint: signature: %w", err)
	}
	canonical := n.Text + "\n" + line(v.Name(), sig)
	for _, s := range n.UnverifiedSigs {
		l, err := cosignatureLine(s)
		if err != nil {
			return Checkpoint{}, err
		}
		canonical += l
	}
	if text != canonical {
		return Checkpoint{}, errors.New("checkpoint: not in canonical form")
	}
	var cp flog.Checkpoint
	rest, err := cp.Unmarshal([]byte(n.Text))
	if err != nil {
		return Checkpoint{}, fmt.Errorf("checkpoint: %w", err)
	}
	if cp.Origin != v.Name() || len(rest) > 0 || len(cp.Hash) != 32 {
		return Checkpoint{}, fmt.Errorf("checkpoint of %q: not a checkpoint of this log", cp.Origin)
	}
	return Checkpoint{Size: cp.Size, Root: hex.EncodeToString(cp.Hash), Text: text}, nil
}

// openOwn opens the checkpoint as the ledger itself writes it: cosignatures
// are kept beside its folder, never inside.
func openOwn(text string, v note.Verifier) (Checkpoint, error) {
	cp, err := openCheckpoint(text, v)
	if err == nil && len(cp.lines()) > 0 {
		return Checkpoint{}, errors.New("checkpoint: not in canonical form")
	}
	return cp, err
}

// keys reads a note signer key and derives its verifier, so that one string
// configures both.
func keys(signerKey string) (note.Signer, note.Verifier, error) {
	signer, text, err := keyPair(signerKey)
	if err != nil {
		return nil, nil, fmt.Errorf("ledger %w", err)
	}
	verifier, err := note.NewVerifier(text)
	if err != nil {
		return nil, nil, fmt.Errorf("ledger verifier key: %w", err)
	}
	return signer, verifier, nil
}

// keyPair reads a note signer key and derives the verifier key.
func keyPair(signerKey string) (note.Signer, string, error) {
	signer, err := note.NewSigner(signerKey)
	if err != nil {
		return nil, "", errors.New("signer key is not a note signer key") // the cause could quote the key
	}
	// NewSigner has checked the form PRIVATE+KEY+name+hash+base64(1 seed).
	seed, err := base64.StdEncoding.DecodeString(strings.SplitN(signerKey, "+", 5)[4])
	if err != nil || len(seed) != 1+ed25519.SeedSize {
		return nil, "", errors.New("signer key is not an Ed25519 key")
	}
	public := ed25519.NewKeyFromSeed(seed[1:]).Public().(ed25519.PublicKey)
	text, err := note.NewEd25519VerifierKey(signer.Name(), public)
	if err != nil {
		return nil, "", fmt.Errorf("verifier key: %w", err)
	}
	return signer, text, nil
}

// publication watches the checkpoint file for those who wait for it. It reads
// the file only while somebody waits.
type publication struct {
	dir      string
	verifier note.Verifier

	mu   sync.Mutex
	last Checkpoint
	seen time.Time
}

const pollEvery = 5 * time.Millisecond

// await returns a checkpoint that covers at least size leaves.
func (p *publication) await(ctx context.Context, size uint64) (Checkpoint, error) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		cp, err := p.look(size)
		if err != nil {
			return Checkpoint{}, err
		}
		if cp.Text != "" && cp.Size >= size {
			return cp, nil
		}
		select {
		case <-ctx.Done():
			return Checkpoint{}, ctx.Err()
		case <-tick.C:
		}
	}
}

// newest returns the checkpoint in the file, empty when there is none.
func (p *publication) newest() (Checkpoint, error) { return p.look(math.MaxUint64) }

// look returns the newest checkpoint known, and reads the file when that does
// not cover size and nobody else has just read it.
func (p *publication) look(size uint64) (Checkpoint, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if (p.last.Text != "" && p.last.Size >= size) || time.Since(p.seen) < pollEvery/2 {
		return p.last, nil
	}
	b, err := os.ReadFile(filepath.Join(p.dir, layout.CheckpointPath))
	if errors.Is(err, os.ErrNotExist) {
		return p.last, nil // the first one is about to be written
	}
	if err != nil {
		return Checkpoint{}, fmt.Errorf("read checkpoint: %w", err)
	}
	p.seen = time.Now()
	if string(b) == p.last.Text {
		return p.last, nil
	}
	cp, err := openOwn(string(b), p.verifier)
	if err != nil {
		return Checkpoint{}, err
	}
	p.last = cp
	return cp, nil
}

// CheckKey says whether a text can be the public key of a ledger.
func CheckKey(verifierKey string) error {
	if _, err := note.NewVerifier(verifierKey); err != nil {
		return fmt.Errorf("verifier key: %w", err)
	}
	return nil
}
