package api

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/ledger"
	"github.com/sonae/sonae/ledger/leaf"
)

// TestProofsLeaveTheHub takes checkpoint and proofs as an auditor does, and
// checks them with nothing but the public key.
func TestProofsLeaveTheHub(t *testing.T) {
	b := newBench(t)
	for n := range 7 {
		lf, err := leaf.Of("entry", fmt.Sprintf("in-1/%d", n), b.clock(), n)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.ledger.Append(t.Context(), lf); err != nil {
			t.Fatal(err)
		}
	}
	auditor, reader, contractor := b.person("kansa", "", auth.Auditor), b.person("incho", "", auth.Executive), b.person("ito", "callcentre", auth.Contractor)
	var c Checkpoint
	b.call(reader, "GET", "/ledger/checkpoint", nil).is(http.StatusOK, &c)
	cp, err := ledger.ParseCheckpoint(c.Text, b.key)
	if err != nil || cp.Size != 7 {
		t.Fatalf("checkpoint %+v, %v", c, err)
	}
	if w, err := ledger.ParseWords(c.Words); err != nil || w != cp.Words() {
		t.Errorf("words %q: %v", c.Words, err)
	}
	var got Proof
	b.call(reader, "GET", "/ledger/consistency?from=3", nil).is(http.StatusOK, &got)
	both, err := ledger.ParseConsistency(got.Proof)
	if err != nil {
		t.Fatal(err)
	}
	if from, to, err := both.Verify(b.key); err != nil || from.Size != 3 || to.Text != c.Text {
		t.Errorf("from %d to %d: %v", from.Size, to.Size, err)
	}
	b.call(reader, "GET", "/ledger/consistency?from=2&to=5", nil).is(http.StatusOK, nil)
	b.call(reader, "GET", "/ledger/consistency?from=5&to=2", nil).problem(http.StatusBadRequest, "ledger.sizes")
	b.call(reader, "GET", "/ledger/consistency?from=1&to=99", nil).problem(http.StatusBadRequest, "ledger.sizes")
	b.call(contractor, "GET", "/ledger/consistency?from=3", nil).problem(http.StatusForbidden, "denied.role")
	b.call(auditor, "GET", "/ledger/proof?type=entry&ref=in-1/4", nil).is(http.StatusOK, &got)
	p, err := ledger.ParseProof(got.Proof)
	if err != nil || p.Verify(b.key) != nil || p.Leaf.Ref != "in-1/4" {
		t.Errorf("proof %+v, %v", p, err)
	}
	b.call(auditor, "GET", "/ledger/proof?type=entry&ref=in-1/9", nil).problem(http.StatusNotFound, "ledger.no-leaf")
	b.call(reader, "GET", "/ledger/proof?type=entry&ref=in-1/4", nil).problem(http.StatusForbidden, "denied.role")
}
