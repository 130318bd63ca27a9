package ledger

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	flog "github.com/transparency-dev/formats/log"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api/layout"
	"github.com/transparency-dev/tessera/client"
	"golang.org/x/mod/sumdb/note"

	"github.com/sonae/sonae/fault"
)

// Consistency shows that one state of the ledger is the beginning of another.
// It is complete: with the verifier key it can be checked without the ledger
// and without a network.
type Consistency struct {
	From   string   `json:"from"`   // signed note of the earlier checkpoint
	To     string   `json:"to"`     // signed note of the later one, with cosignatures of witnesses if there are any
	Hashes []string `json:"hashes"` // proof of RFC 6962, section 2.1.2, hex
}

// ProveConsistency returns the proof that the ledger of from leaves is the
// beginning of the ledger of to leaves; to = 0 means the newest checkpoint. The
// checkpoints in it are signed by the ledger; where one was published over that
// many leaves, it is the same. fault.Invalid ("ledger.sizes") when the ledger has
// never had so many leaves, or from is 0 or larger than to.
func (l *Ledger) ProveConsistency(ctx context.Context, from, to uint64) (Consistency, error) {
	newest, err := l.Checkpoint(ctx)
	if err != nil {
		return Consistency{}, fmt.Errorf("prove consistency: %w", err)
	}
	if to == 0 {
		to = newest.Size
	}
	if from == 0 || from > to || to > newest.Size {
		return Consistency{}, fault.New(fault.Invalid, "ledger.sizes", decimal(newest.Size))
	}
	c := Consistency{Hashes: []string{}}
	for _, side := range []struct {
		size uint64
		note *string
	}{{from, &c.From}, {to, &c.To}} {
		if *side.note, err = l.noteAt(ctx, side.size, newest); err != nil {
			return Consistency{}, fmt.Errorf("prove consistency: %w", err)
		}
	}
	builder, err := client.NewProofBuilder(ctx, newest.Size, l.reader().ReadTile)
	if err != nil {
		return Consistency{}, fmt.Errorf("prove consistency: %w", err)
	}
	hashes, err := builder.ConsistencyProof(ctx, from, to)
	if err != nil {
		return Consistency{}, fmt.Errorf("prove consistency from %d to %d leaves: %w", from, to, err)
	}
	for _, h := range hashes {
		c.Hashes = append(c.Hashes, hex.EncodeToString(h))
	}
	_, _, err = c.verify(l.verifier)
	return c, err // never hand out what a reader would refuse
}

// noteAt returns the signed note over the first size leaves. Ed25519 gives the
// same signature each time, so it is the one that was published if any was.
func (l *Ledger) noteAt(ctx context.Context, size uint64, newest Checkpoint) (string, error) {
	if size == newest.Size {
		return newest.Text, nil
	}
	tile := func(ctx context.Context, level, index uint64, _ uint8) ([]byte, error) { // as long as it is now: a shorter one may be gone
		return l.reader().ReadTile(ctx, level, index, partialOf(newest.Size, level, index))
	}
	nodes, err := client.FetchRangeNodes(ctx, size, tile)
	if err != nil {
		return "", fmt.Errorf("root over %d leaves: %w", size, err)
	}
	tree, err := ranges().NewRange(0, size, nodes)
	if err != nil {
		return "", fmt.Errorf("root over %d leaves: %w", size, err)
	}
	root, err := tree.GetRootHash(nil)
	if err != nil {
		return "", fmt.Errorf("root over %d leaves: %w", size, err)
	}
	text := flog.Checkpoint{Origin: l.signer.Name(), Size: size, Hash: root}.Marshal()
	signed, err := note.Sign(&note.Note{Text: string(text)}, l.signer)
	if err != nil {
		return "", fmt.Errorf("sign checkpoint over %d leaves: %w", size, err)
	}
	return string(signed), nil
}

// partialOf is how many items a tile of a log of size leaves has; 0 when full.
func partialOf(size, level, index uint64) uint8 {
	p := place{level: level, index: index}
	if items := rowSize(size, level); p.end() > items {
		return uint8(items - p.first())
	}
	return 0
}

// Bytes returns the canonical form, the only one ParseConsistency accepts.
func (c Consistency) Bytes() ([]byte, error) {
	if c.Hashes == nil {
		c.Hashes = []string{}
	}
	b, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode consistency proof: %w", err)
	}
	return b, nil
}

// ParseConsistency reads what Bytes wrote and refuses any other spelling. It
// does not check the proof; see Verify.
func ParseConsistency(b []byte) (Consistency, error) {
	if len(b) > maxProof {
		return Consistency{}, fmt.Errorf("consistency proof of %d bytes is longer than any", len(b))
	}
	var c Consistency
	if err := json.Unmarshal(b, &c); err != nil {
		return Consistency{}, fmt.Errorf("consistency proof: %w", err)
	}
	again, err := c.Bytes()
	if err != nil {
		return Consistency{}, err
	}
	if !bytes.Equal(b, again) {
		return Consistency{}, errors.New("consistency proof is not in canonical form")
	}
	return c, nil
}

// Verify checks the signatures of both checkpoints and that the later extends
// the earlier, and returns both.
func (c Consistency) Verify(verifierKey string) (from, to Checkpoint, err error) {
	v, err := note.NewVerifier(verifierKey)
	if err != nil {
		return from, to, fmt.Errorf("verifier key: %w", err)
	}
	return c.verify(v)
}

func (c Consistency) verify(v note.Verifier) (from, to Checkpoint, err error) {
	if from, err = openCheckpoint(c.From, v); err == nil {
		to, err = openCheckpoint(c.To, v)
	}
	if err != nil {
		return from, to, fmt.Errorf("consistency proof: %w", err)
	}
	hashes := make([][]byte, len(c.Hashes))
	for i, h := range c.Hashes {
		b, err := hex.DecodeString(h)
		if err != nil || hex.EncodeToString(b) != h {
			return from, to, fmt.Errorf("consistency proof: hash %d is not lower-case hex", i)
		}
		hashes[i] = b
	}
	if from.Size == 0 || from.Size > to.Size {
		return from, to, fmt.Errorf("consistency proof: %d leaves cannot be the beginning of %d", from.Size, to.Size)
	}
	if err := proof.VerifyConsistency(rfc6962.DefaultHasher, from.Size, to.Size, hashes, from.root(), to.root()); err != nil {
		return from, to, fmt.Errorf("consistency proof: %d leaves are not the beginning of %d: the ledger's history was rewritten, or the proof is damaged: %w", from.Size, to.Size, err)
	}
	return from, to, nil
}

// Find returns the newest leaf of a type and reference. It looks through the
// log from its end: about half a second for a million leaves. fault.Missing
// ("ledger.no-leaf") when there is none.
func (l *Ledger) Find(ctx context.Context, kind, ref string) (Proof, error) {
	head, err := json.Marshal(struct {
		Type string `json:"type"`
		Ref  string `json:"ref"`
	}{kind, ref})
	if err != nil {
		return Proof{}, fmt.Errorf("find %s: %w", kind, err)
	}
	head[len(head)-1] = ',' // as the JSON of a leaf begins
	cp, err := l.Checkpoint(ctx)
	if err != nil {
		return Proof{}, fmt.Errorf("find %s: %w", kind, err)
	}
	for i := (cp.Size + layout.EntryBundleWidth - 1) / layout.EntryBundleWidth; i > 0; i-- {
		raw, err := l.reader().ReadEntryBundle(ctx, i-1, partialOf(cp.Size, 0, i-1))
		if err != nil {
			return Proof{}, fmt.Errorf("find %s: %w", kind, err)
		}
		entries, _, err := split(raw)
		if err != nil {
			return Proof{}, fmt.Errorf("find %s: bundle %d: %w", kind, i-1, err)
		}
		for at := len(entries) - 1; at >= 0; at-- {
			if !bytes.HasPrefix(entries[at], head) {
				continue
			}
			lf, err := decode(entries[at])
			if err != nil {
				return Proof{}, fmt.Errorf("find %s: %w", kind, err)
			}
			return l.Prove(ctx, lf)
		}
	}
	return Proof{}, fault.New(fault.Missing, "ledger.no-leaf").With(fmt.Errorf("%s %s", kind, ref))
}
