package ledger

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api/layout"
	"github.com/transparency-dev/tessera/client"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
)

// maxProof bounds what ParseProof reads: 64 hashes of 64 hex digits, a leaf
// and a checkpoint stay far below.
const maxProof = 256 << 10

// Proof shows that a leaf stands in the ledger. It is complete: with the
// verifier key it can be checked without the ledger and without a network.
type Proof struct {
	Leaf       leaf.Leaf `json:"leaf"`
	Index      uint64    `json:"index"`      // counted from 0
	Hashes     []string  `json:"hashes"`     // audit path of RFC 6962, leaf to root, hex
	Checkpoint string    `json:"checkpoint"` // signed note that covers the leaf
	// Witnesses are the keys of those who cosigned the checkpoint, in the order
	// of their lines. They show damage; whom to trust is the reader's to say.
	Witnesses []string `json:"witnesses,omitempty"`
}

// Prove returns the proof that a leaf of the same type, ref and digest stands
// in the ledger, under the newest checkpoint that a witness has cosigned if that
// covers the leaf, else under the newest checkpoint known. The leaf in the proof is
// the one that was written first, with its time. fault.Missing
// ("ledger.no-leaf") when there is none.
func (l *Ledger) Prove(ctx context.Context, lf leaf.Leaf) (Proof, error) {
	index, known, err := l.index.find(keyOf(lf))
	if err != nil {
		return Proof{}, fmt.Errorf("prove %s %s: %w", lf.Type, lf.Ref, err)
	}
	if !known {
		return Proof{}, fault.New(fault.Missing, "ledger.no-leaf").With(fmt.Errorf("%s %s", lf.Type, lf.Ref))
	}
	cp, witnesses, err := l.covering(ctx, index+1)
	if err != nil {
		return Proof{}, fmt.Errorf("prove leaf %d: %w", index, err)
	}
	stored, err := l.Leaves(ctx, index, 1)
	if err == nil && len(stored) == 0 {
		err = errors.New("it is not in the log any more")
	}
	if err != nil {
		return Proof{}, fmt.Errorf("prove leaf %d: %w", index, err)
	}
	builder, err := client.NewProofBuilder(ctx, cp.Size, l.reader().ReadTile)
	if err != nil {
		return Proof{}, fmt.Errorf("prove leaf %d: %w", index, err)
	}
	path, err := builder.InclusionProof(ctx, index)
	if err != nil {
		return Proof{}, fmt.Errorf("prove leaf %d: %w", index, err)
	}
	p := Proof{Leaf: stored[0], Index: index, Hashes: make([]string, len(path)), Checkpoint: cp.Text, Witnesses: witnesses}
	for i, h := range path {
		p.Hashes[i] = hex.EncodeToString(h)
	}
	if err := p.under(cp); err != nil { // never hand out what a reader would refuse
		return Proof{}, fmt.Errorf("prove leaf %d: %w", index, err)
	}
	return p, nil
}

// Await is Prove for a leaf that somebody else is about to write: it waits until
// the leaf stands in the ledger, or ctx ends. On a shared ledger it does not
// matter which of the hubs writes it.
func (l *Ledger) Await(ctx context.Context, lf leaf.Leaf) (Proof, error) {
	for {
		grown := l.index.growth() // before looking, so that nothing is missed
		p, err := l.Prove(ctx, lf)
		if fault.Of(err) != fault.Missing {
			return p, err
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return Proof{}, fmt.Errorf("await %s %s: %w", lf.Type, lf.Ref, ctx.Err())
		}
	}
}

// covering returns a checkpoint of at least size leaves and the keys of the
// witnesses that cosigned it.
func (l *Ledger) covering(ctx context.Context, size uint64) (Checkpoint, []string, error) {
	if cp, keys := l.witnessed.newest(); len(keys) > 0 && cp.Size >= size {
		return cp, keys, nil
	}
	cp, err := l.pub.await(ctx, size)
	return cp, nil, err
}

// Checkpoint returns the newest signed checkpoint, with the cosignatures of
// the witnesses that have seen it.
func (l *Ledger) Checkpoint(ctx context.Context) (Checkpoint, error) {
	size, err := l.reader().IntegratedSize(ctx)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("ledger size: %w", err)
	}
	cp, err := l.pub.await(ctx, size)
	if err != nil {
		return Checkpoint{}, err
	}
	if seen, keys := l.witnessed.newest(); len(keys) > 0 && seen.Size == cp.Size {
		return seen, nil
	}
	return cp, nil
}

// Leaves returns up to n leaves from index from on, fewer at the end of the log.
func (l *Ledger) Leaves(ctx context.Context, from uint64, n int) ([]leaf.Leaf, error) {
	read := l.reader()
	size, err := read.IntegratedSize(ctx)
	if err != nil {
		return nil, fmt.Errorf("ledger size: %w", err)
	}
	var leaves []leaf.Leaf
	for r := range layout.Range(from, uint64(max(n, 0)), size) {
		raw, err := read.ReadEntryBundle(ctx, r.Index, r.Partial)
		if err != nil {
			return nil, fmt.Errorf("read leaves: %w", err)
		}
		entries, _, err := split(raw)
		if err == nil && uint(len(entries)) < r.First+r.N {
			err = errors.New("entries are missing")
		}
		if err != nil {
			return nil, fmt.Errorf("read leaves: bundle %d: %w", r.Index, err)
		}
		for i, b := range entries[r.First : r.First+r.N] {
			lf, err := decode(b)
			if err != nil {
				return nil, fmt.Errorf("read leaves: bundle %d, entry %d: %w", r.Index, int(r.First)+i, err)
			}
			leaves = append(leaves, lf)
		}
	}
	return leaves, nil
}

// Bytes returns the canonical form of the proof, the only one ParseProof accepts.
func (p Proof) Bytes() ([]byte, error) {
	if p.Hashes == nil {
		p.Hashes = []string{}
	}
	b, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("encode proof: %w", err)
	}
	return b, nil
}

// ParseProof reads what Bytes wrote. Any other spelling is refused, so that a
// changed byte in a proof is noticed even where it would change no meaning.
// It does not check the proof; see Verify.
func ParseProof(b []byte) (Proof, error) {
	if len(b) > maxProof {
		return Proof{}, fmt.Errorf("proof of %d bytes is longer than any proof", len(b))
	}
	var p Proof
	if err := json.Unmarshal(b, &p); err != nil {
		return Proof{}, fmt.Errorf("proof: %w", err)
	}
	again, err := p.Bytes()
	if err != nil {
		return Proof{}, err
	}
	if !bytes.Equal(b, again) {
		return Proof{}, errors.New("proof is not in canonical form")
	}
	return p, nil
}

// Verify checks the signature of the checkpoint, that its cosignatures are by
// the witnesses named in the proof, and that the leaf stands in the tree it
// signs. verifierKey is a note verifier key. Whether a witness is one to be
// trusted is asked with ParseCheckpoint and Cosigned.
func (p Proof) Verify(verifierKey string) error {
	cp, err := ParseCheckpoint(p.Checkpoint, verifierKey)
	if err != nil {
		return fmt.Errorf("proof: %w", err)
	}
	if err := p.cosigned(cp); err != nil {
		return err
	}
	return p.under(cp)
}

// cosigned checks each cosignature with the key in the proof.
func (p Proof) cosigned(cp Checkpoint) error {
	lines := cp.lines()
	if len(lines) != len(p.Witnesses) {
		return fmt.Errorf("proof: %d cosignatures, %d witnesses", len(lines), len(p.Witnesses))
	}
	for i, text := range p.Witnesses {
		k, err := ParseWitnessKey(text)
		if err == nil && k.String() != text {
			err = fmt.Errorf("witness key %s: not in canonical form", k.ID())
		}
		if err == nil {
			_, _, err = cp.Bare().with(lines[i], k)
		}
		if err != nil {
			return fmt.Errorf("proof: %w", err)
		}
	}
	return nil
}

func (p Proof) under(cp Checkpoint) error {
	data, err := encode(p.Leaf)
	if err != nil {
		return fmt.Errorf("proof: %w", err)
	}
	path := make([][]byte, len(p.Hashes))
	for i, h := range p.Hashes {
		b, err := hex.DecodeString(h)
		if err != nil || hex.EncodeToString(b) != h {
			return fmt.Errorf("proof: hash %d is not lower-case hex", i)
		}
		path[i] = b
	}
	hasher := rfc6962.DefaultHasher
	if err := proof.VerifyInclusion(hasher, p.Index, cp.Size, hasher.HashLeaf(data), path, cp.root()); err != nil {
		return fmt.Errorf("proof: leaf %d is not in the signed tree: %w", p.Index, err)
	}
	return nil
}
