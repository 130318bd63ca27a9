package report

import (
	"context"
	"time"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
)

// patience is how long Await waits for the ledger.
const patience = 3 * time.Second

// Await returns the ledger's proof of a leaf and the checkpoint in it. The
// ledger may not have yet what was emitted just now: Await waits a short while,
// and then returns neither, because paper that is needed now is worth more than
// a proof.
func Await(ctx context.Context, book Prover, l leaf.Leaf) (proof []byte, checkpoint string, err error) {
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	retry := time.NewTicker(100 * time.Millisecond)
	defer retry.Stop()
	for {
		p, err := book.Prove(ctx, l)
		if err == nil {
			proof, err = p.Bytes()
			return proof, p.Checkpoint, err
		}
		if fault.Of(err) != fault.Missing && ctx.Err() == nil {
			return nil, "", err
		}
		select {
		case <-ctx.Done():
			return nil, "", nil
		case <-retry.C:
		}
	}
}
