package evidence

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/evidence/bag"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
)

// Prover appends a leaf to the ledger and returns its proof (ledger.Proof as
// bytes).
type Prover interface {
	Prove(ctx context.Context, l leaf.Leaf) (proof []byte, err error)
}

// Stamper gets an RFC 3161 time stamp token for a SHA-256 digest.
type Stamper interface {
	Stamp(ctx context.Context, digest []byte) (token []byte, err error)
}

// Deps is what a Vault needs.
type Deps struct {
	Ledger  Prover
	Key     string  // verifier key of the ledger; it goes into every bag
	Stamp   Stamper // nil: no time stamp authority is configured
	Virus   Scanner // nil: no antivirus program is configured
	MaxItem int64   // bytes of one item; 0: 32 GiB, for the whole memory of a machine
	MaxBag  int64   // bytes of one bag; 0: 48 GiB
	// Room says whether the disk has room for more; fault.Busy when it has not.
	// Nil: not asked.
	Room func() error
	// Store holds all bags when several hubs share them: the folder is then a
	// cache of this hub. Nil: the folder is all there is.
	Store blob.Store
	Now   clock.Now
	Log   *slog.Logger
}

// incoming holds items that are being received. Nothing in it is evidence yet.
const incoming = ".incoming"

// maxItems bounds how many items a bag can have.
const maxItems = 100_000

// Vault keeps the bags: one folder each, and rows. It is safe for concurrent
// use by one process, and with a shared Store by any number of them, each with
// a folder of its own.
type Vault struct {
	db   *state.DB
	dir  string
	deps Deps
	bags sync.Map // bag id → *sync.Mutex
}

// New opens the Vault in dir and drops what was half received when the hub
// ended: it was never acknowledged, and the agent sends it again.
func New(db *state.DB, dir string, deps Deps) (*Vault, error) {
	if deps.MaxItem <= 0 {
		deps.MaxItem = 32 << 30
	}
	if deps.MaxBag <= 0 {
		deps.MaxBag = 48 << 30
	}
	in := filepath.Join(dir, incoming)
	if err := os.RemoveAll(in); err != nil {
		return nil, fmt.Errorf("open evidence: %w", err)
	}
	if err := os.MkdirAll(in, 0o700); err != nil {
		return nil, fmt.Errorf("open evidence: %w", err)
	}
	if deps.Room == nil {
		deps.Room = func() error { return nil }
	}
	return &Vault{db: db, dir: dir, deps: deps}, nil
}

// Resume finishes the sealing of bags that a crash interrupted. A bag that
// cannot be sealed is logged and left as it is: it must not keep the hub from
// starting.
func (v *Vault) Resume(ctx context.Context) error {
	ids, err := column[string](ctx, v.db, `SELECT id FROM evidence_bag WHERE state = $1 AND sealing <> ''`, string(Collecting))
	if err != nil {
		return fmt.Errorf("resume sealing: %w", err)
	}
	for _, id := range ids {
		if err := v.Seal(ctx, id, false); err != nil { // how it ends was decided before
			v.deps.Log.Error("bag is not sealed", "bag", id, "err", err)
		}
	}
	if err := v.resumeEvents(ctx); err != nil {
		v.deps.Log.Error("bag of events is not sealed", "err", err)
	}
	return nil
}

// lock serialises what changes one bag.
func (v *Vault) lock(id string) func() {
	m, _ := v.bags.LoadOrStore(id, &sync.Mutex{})
	mu := m.(*sync.Mutex)
	mu.Lock()
	return mu.Unlock
}

// OpenBag makes the bag that a preserve action fills. Opening it again changes
// nothing.
func (v *Vault) OpenBag(ctx context.Context, a action.Action) error {
	if a.Kind != action.Preserve || !bag.ValidPath(a.Bag) || strings.ContainsAny(a.Bag, "/.") {
		return fault.New(fault.Invalid, "evidence.not-preserve", a.ID)
	}
	defer v.lock(a.Bag)()
	if err := os.MkdirAll(filepath.Join(v.dir, a.Bag, "data"), 0o700); err != nil {
		return fmt.Errorf("open bag %s: %w", a.Bag, err)
	}
	if err := syncFolder(v.dir); err != nil {
		return fmt.Errorf("open bag %s: %w", a.Bag, err)
	}
	now := v.deps.Now().UTC()
	b := Bag{ID: a.Bag, Incident: a.Incident, Host: a.Host, Site: a.Site, Action: a.ID, State: Collecting,
		OpenedAt: now, OpenedBy: a.RequestedBy, Drill: a.Drill}
	return v.db.Tx(ctx, func(tx *state.Tx) error {
		res, err := tx.ExecContext(ctx, `INSERT INTO evidence_bag (id, incident, host, state, sealing, sealed_no, opened_at, body, site)
			VALUES ($1, $2, $3, $4, '', 0, $5, $6, $7) ON CONFLICT (id) DO NOTHING`, b.ID, b.Incident, b.Host, string(b.State), state.Nanos(now), state.JSON(b), b.Site)
		if err != nil {
			return fmt.Errorf("open bag %s: %w", b.ID, err)
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return err
		}
		_, err = v.write(ctx, tx, Custody{Bag: b.ID, At: now, What: "ordered", By: a.RequestedBy, To: a.Host, Purpose: a.Reason})
		return err
	})
}

// HandOver writes down that a sealed bag went to somebody.
func (v *Vault) HandOver(ctx context.Context, id, to, purpose, witness string, by auth.Person) error {
	if strings.TrimSpace(to) == "" {
		return fault.New(fault.Invalid, "evidence.receiver")
	}
	return v.sealedEvent(ctx, Custody{Bag: id, What: "handed-over", By: by.ID, To: to, Purpose: purpose, Witness: witness})
}

// Viewed writes down that somebody looked at a sealed bag.
func (v *Vault) Viewed(ctx context.Context, id string, by auth.Person) error {
	return v.sealedEvent(ctx, Custody{Bag: id, What: "viewed", By: by.ID})
}

func (v *Vault) sealedEvent(ctx context.Context, c Custody) error {
	return v.db.Tx(ctx, func(tx *state.Tx) error {
		row, err := v.row(tx.QueryRowContext(ctx, selectBag, c.Bag), c.Bag)
		if err != nil {
			return err
		}
		if row.State == Collecting {
			return fault.New(fault.Conflict, "evidence.not-sealed")
		}
		c.At = v.deps.Now().UTC()
		_, err = v.write(ctx, tx, c)
		return err
	})
}

// Zip writes a sealed bag as one zip, and into it the custody record from
// after sealing, which ends with this very export. The export is on record
// before the first byte leaves.
func (v *Vault) Zip(ctx context.Context, id string, w io.Writer, purpose string, by auth.Person) error {
	if purpose = strings.TrimSpace(purpose); purpose == "" || len(purpose) > 4000 {
		return fault.New(fault.Invalid, "evidence.purpose")
	}
	after, last, err := v.export(ctx, id, purpose, by)
	if err != nil {
		return err
	}
	lf := leaf.Leaf{Type: bag.LeafAfter, Ref: fmt.Sprintf("%s/%d", id, last.No), Digest: digestOf(after), At: last.At}
	proof, err := v.deps.Ledger.Prove(ctx, lf)
	if err != nil {
		return fmt.Errorf("export bag %s: %w", id, err)
	}
	added := map[string][]byte{bag.After: after, bag.AfterProof: append(proof, '\n')}
	names, err := v.sealedNames(ctx, id)
	if err != nil {
		return fmt.Errorf("export bag %s: %w", id, err)
	}
	names = append(names, bag.After, bag.AfterProof)
	err = bag.Zip(&stoppable{ctx, w}, id, names, func(n string) (io.ReadCloser, error) {
		if b, ok := added[n]; ok {
			return io.NopCloser(strings.NewReader(string(b))), nil
		}
		return os.Open(filepath.Join(v.dir, id, filepath.FromSlash(n)))
	})
	if err != nil {
		return fmt.Errorf("export bag %s: %w", id, err)
	}
	return nil
}

// export writes the custody line of an export and returns the lines from after
// sealing.
func (v *Vault) export(ctx context.Context, id, purpose string, by auth.Person) (lines []byte, last Custody, err error) {
	err = v.db.Tx(ctx, func(tx *state.Tx) error {
		row, err := v.row(tx.QueryRowContext(ctx, selectBag, id), id)
		if err != nil {
			return err
		}
		if row.State == Collecting {
			return fault.New(fault.Conflict, "evidence.not-sealed")
		}
		last, err = v.write(ctx, tx, Custody{Bag: id, At: v.deps.Now().UTC(), What: "exported", By: by.ID, Purpose: purpose})
		if err != nil {
			return err
		}
		lines, err = custodyLines(ctx, inTx{tx}, id, row.sealedNo+1, last.No)
		return err
	})
	return lines, last, err
}

// fileNames lists the files of a bag's folder.
func (v *Vault) fileNames(id string) ([]string, error) {
	var names []string
	root := filepath.Join(v.dir, id)
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(root, p)
		names = append(names, filepath.ToSlash(rel))
		return err
	})
	return names, err
}

// stoppable is a writer that ends with a context.
type stoppable struct {
	ctx context.Context
	w   io.Writer
}

func (s *stoppable) Write(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.w.Write(p)
}
