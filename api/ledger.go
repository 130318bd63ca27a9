package api

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/ledger/leaf"
)

// Checkpoint is the ledger's signed state.
type Checkpoint struct {
	Size uint64 `json:"size" doc:"how many leaves"`
	Root string `json:"root" doc:"hex root of the Merkle tree"`
	Text string `json:"text" doc:"signed note, to be checked with the verifier key"`
}

// Proof is a proof of inclusion in its canonical form.
type Proof struct {
	Proof json.RawMessage `json:"proof" doc:"save these bytes unchanged"`
}

func (s *server) ledgerOperations() {
	register(s, operation{"get-checkpoint", http.MethodGet, "/ledger/checkpoint", "The newest signed checkpoint", 0}, fixed[none](auth.View, "ledger"),
		func(ctx context.Context, _ auth.Person, _ *none) (*body[Checkpoint], error) {
			c, err := s.Ledger.Checkpoint(ctx)
			return &body[Checkpoint]{Checkpoint{c.Size, c.Root, c.Text}}, err
		})
	register(s, operation{"prove-leaf", http.MethodPost, "/ledger/proof", "Prove that the ledger holds a leaf", 0}, fixed[body[leaf.Leaf]](auth.Audit, "ledger"),
		func(ctx context.Context, _ auth.Person, in *body[leaf.Leaf]) (*body[Proof], error) {
			p, err := s.Ledger.Prove(ctx, in.Body)
			if err != nil {
				return nil, err
			}
			b, err := p.Bytes()
			return &body[Proof]{Proof{b}}, err
		})
}
