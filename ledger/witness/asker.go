package witness

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/ledger"
)

// The pace of an Asker.
const (
	askEvery  = 3 * time.Second  // checkpoints of this time share one request
	askAgain  = 10 * time.Minute // an unchanged ledger is shown again, so that its cosignature stays young
	askLimit  = 15 * time.Second // for one request
	backOff   = time.Second      // after the first failure, doubled each time
	backOffTo = 2 * time.Minute
)

// book is what an Asker needs of a ledger.
type book interface {
	Checkpoint(ctx context.Context) (ledger.Checkpoint, error)
	Consistency(ctx context.Context, from, to uint64) ([][]byte, error)
	Cosigned(by ledger.WitnessKey) (ledger.Checkpoint, time.Time, bool)
	Cosign(cp ledger.Checkpoint, lines string, by ledger.WitnessKey) error
}

// Asker asks the witnesses of a ledger for cosignatures.
type Asker struct {
	book   book
	peers  []Peer
	client *http.Client
	now    clock.Now
	log    *slog.Logger
	every  time.Duration
}

// NewAsker makes an Asker; Run does the work.
func NewAsker(b book, peers []Peer, now clock.Now, log *slog.Logger) *Asker {
	client := &http.Client{Timeout: askLimit, CheckRedirect: func(*http.Request, []*http.Request) error {
		return errors.New("a witness does not send its callers elsewhere")
	}}
	return &Asker{book: b, peers: peers, client: client, now: now, log: log, every: askEvery}
}

// Run asks each witness on its own, until ctx ends. A witness that is away is
// asked again later and later, at least every two minutes.
func (a *Asker) Run(ctx context.Context) error {
	var g errgroup.Group
	for _, p := range a.peers {
		g.Go(func() error { a.keepAsking(ctx, p); return nil })
	}
	return g.Wait()
}

func (a *Asker) keepAsking(ctx context.Context, p Peer) {
	log := a.log.With("witness", p.Key.ID())
	failed := 0
	for {
		err := a.ask(ctx, p)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && (failed == 0 || errors.Is(err, errLonger)): // once for each time that it goes away
			log.Error("no cosignature", "err", err)
			failed++
		case err != nil:
			log.Debug("no cosignature", "err", err)
			failed++
		case failed > 0:
			log.Info("witness cosigns again")
			failed = 0
		}
		timer := time.NewTimer(a.pause(failed))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// pause is how long to wait after so many failures, with some chance in it so
// that the hubs of one witness do not come all at once.
func (a *Asker) pause(failed int) time.Duration {
	if failed == 0 {
		return a.every
	}
	d := min(backOff<<min(failed-1, 10), backOffTo)
	return d/2 + rand.N(d/2)
}

// ask brings the witness up to date if there is anything new for it.
func (a *Asker) ask(ctx context.Context, p Peer) error {
	cp, err := a.book.Checkpoint(ctx)
	if err != nil {
		return err
	}
	cp = cp.Bare()
	last, at, known := a.book.Cosigned(p.Key)
	if cp.Size == 0 || known && last.Size >= cp.Size && a.now().Sub(at) < askAgain {
		return nil
	}
	old := last.Size
	for range 3 { // the second time with the size that the witness told; more only if another process asks too
		lines, stale, err := a.submit(ctx, p, cp, old)
		if err != nil {
			return err
		}
		if stale == nil {
			return a.book.Cosign(cp, lines, p.Key)
		}
		if old = stale.known; old > cp.Size {
			return fmt.Errorf("%w (%d and %d leaves)", errLonger, old, cp.Size)
		}
	}
	return errors.New("the witness names another size each time")
}

func (a *Asker) submit(ctx context.Context, p Peer, cp ledger.Checkpoint, old uint64) (string, *staleError, error) {
	proof, err := a.book.Consistency(ctx, old, cp.Size)
	if err != nil {
		return "", nil, err
	}
	return p.submit(ctx, a.client, request{old: old, proof: proof, note: []byte(cp.Text)})
}
