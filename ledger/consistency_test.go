package ledger

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sonae/sonae/fault"
)

func TestConsistencyBetweenAnyTwo(t *testing.T) {
	dir, signer, verifier := fixture(t)
	l := open(t, dir, signer)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, 5))
	for i := range 60 {
		from := 1 + dice.Uint64N(fixtureLeaves)
		to := from + dice.Uint64N(fixtureLeaves-from+1)
		if i == 0 {
			from, to = 256, 0
		}
		c, err := l.ProveConsistency(t.Context(), from, to)
		if err != nil {
			t.Fatalf("from %d to %d: %v", from, to, err)
		}
		b, err := c.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseConsistency(b)
		if err != nil {
			t.Fatal(err)
		}
		a, z, err := again.Verify(verifier)
		if err != nil || a.Size != from || to > 0 && z.Size != to {
			t.Fatalf("from %d to %d: %d, %d, %v", from, to, a.Size, z.Size, err)
		}
		for range 20 {
			bad := bytes.Clone(b)
			at := dice.IntN(len(bad))
			bad[at] ^= byte(1 + dice.IntN(255))
			if p, err := ParseConsistency(bad); err == nil {
				if _, _, err := p.Verify(verifier); err == nil {
					t.Errorf("byte %d, %q became %q: it still holds", at, b[at], bad[at])
				}
			}
		}
	}
	newest, err := l.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if c, err := l.ProveConsistency(t.Context(), fixtureLeaves, 0); err != nil || c.From != newest.Text || c.To != newest.Text {
		t.Errorf("the newest with itself: %+v, %v", c, err)
	}
	for name, r := range map[string][2]uint64{"from nothing": {0, 5}, "backwards": {9, 5}, "beyond": {1, fixtureLeaves + 1}} {
		if _, err := l.ProveConsistency(t.Context(), r[0], r[1]); fault.Of(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestConsistencyRefusesAnotherHistory(t *testing.T) {
	signer, verifier := newKeys(t)
	one, other := open(t, t.TempDir(), signer), open(t, t.TempDir(), signer)
	fill(t, one, 0, 20)
	fill(t, other, 100, 140)
	a, err := one.ProveConsistency(t.Context(), 10, 0)
	if err != nil {
		t.Fatal(err)
	}
	b, err := other.ProveConsistency(t.Context(), 20, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := (Consistency{From: a.To, To: b.To, Hashes: b.Hashes}).Verify(verifier); err == nil {
		t.Error("two histories with one key pass as one")
	}
	if _, _, err := (Consistency{From: a.To, To: a.From}).Verify(verifier); err == nil {
		t.Error("backwards")
	}
}

func TestFindLeaf(t *testing.T) {
	dir, signer, verifier := fixture(t)
	l := open(t, dir, signer)
	for _, n := range []int{0, 255, 256, fixtureLeaves - 1} {
		want := leafOf(t, n)
		p, err := l.Find(t.Context(), want.Type, want.Ref)
		if err != nil || p.Leaf != want || p.Verify(verifier) != nil {
			t.Errorf("leaf %d: %+v, %v", n, p.Leaf, err)
		}
	}
	later := leafOf(t, 3)
	later.Digest = leafOf(t, 4).Digest
	if _, err := l.Append(t.Context(), later); err != nil {
		t.Fatal(err)
	}
	if p, err := l.Find(t.Context(), later.Type, later.Ref); err != nil || p.Leaf.Digest != later.Digest {
		t.Errorf("the newer of two: %+v, %v", p.Leaf, err)
	}
	if _, err := l.Find(t.Context(), "entry", `in-000003/`); fault.Of(err) != fault.Missing {
		t.Errorf("a part of a reference: %v", err)
	}
}

func FuzzParseConsistency(f *testing.F) {
	f.Add([]byte(`{"from":"","to":"","hashes":[]}`))
	_, verifier := newKeys(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseConsistency(b)
		if err != nil {
			return
		}
		if _, _, err := c.Verify(verifier); err == nil {
			t.Error("something that nobody signed passed")
		}
	})
}
