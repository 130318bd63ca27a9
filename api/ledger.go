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
	Size  uint64 `json:"size" doc:"how many leaves"`
	Root  string `json:"root" doc:"hex root of the Merkle tree"`
	Text  string `json:"text" doc:"signed note, to be checked with the verifier key"`
	Words string `json:"words" doc:"size and words, to be read out and to be checked with sonae verify --words"`
}

type between struct {
	From uint64 `query:"from" minimum:"1" required:"true" doc:"leaves of the earlier checkpoint"`
	To   uint64 `query:"to" doc:"leaves of the later one; 0: the newest"`
}

type leafRef struct {
	Type string `query:"type" required:"true" minLength:"1" maxLength:"40" doc:"kind of record, such as entry or document"`
	Ref  string `query:"ref" required:"true" minLength:"1" maxLength:"200" doc:"which one"`
}

// Proof is a proof of inclusion or consistency in its canonical form.
type Proof struct {
	Proof json.RawMessage `json:"proof" doc:"save these bytes unchanged"`
}

func (s *server) ledgerOperations() {
	register(s, operation{"get-checkpoint", http.MethodGet, "/ledger/checkpoint", "The newest signed checkpoint", 0}, fixed[none](auth.View, "ledger"),
		func(ctx context.Context, _ auth.Person, _ *none) (*body[Checkpoint], error) {
			c, err := s.Ledger.Checkpoint(ctx)
			return &body[Checkpoint]{Checkpoint{c.Size, c.Root, c.Text, c.Words().String()}}, err
		})
	register(s, operation{"prove-consistency", http.MethodGet, "/ledger/consistency", "Prove that the ledger of one size is the beginning of another", 0}, fixed[between](auth.View, "ledger"),
		func(ctx context.Context, _ auth.Person, in *between) (*body[Proof], error) {
			c, err := s.Ledger.ProveConsistency(ctx, in.From, in.To)
			if err != nil {
				return nil, err
			}
			b, err := c.Bytes()
			return &body[Proof]{Proof{b}}, err
		})
	register(s, operation{"prove-record", http.MethodGet, "/ledger/proof", "Prove what the ledger holds of a record: its newest leaf", 0}, fixed[leafRef](auth.Audit, "ledger"),
		func(ctx context.Context, _ auth.Person, in *leafRef) (*body[Proof], error) {
			p, err := s.Ledger.Find(ctx, in.Type, in.Ref)
			if err != nil {
				return nil, err
			}
			b, err := p.Bytes()
			return &body[Proof]{Proof{b}}, err
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
