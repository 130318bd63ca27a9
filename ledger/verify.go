package ledger

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/note"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
)

// Report is what an offline check found.
type Report struct {
	Checked     Checked
	Differences []Difference // empty when everything is as it was signed
	// Contradictions are the earlier checkpoints that this ledger does not
	// extend, by the File that was given with them: what they signed was
	// changed or cut off since, whoever signed the present state.
	Contradictions []Difference
	Leftovers      []Difference // what an interrupted write left; nothing refers to it, the hub removes it when it starts
}

// Checked counts what was read.
type Checked struct {
	Files  int
	Bytes  int64
	Leaves uint64
}

// Difference is one place where the folder is not what was signed.
type Difference struct {
	File   string // slash separated, below the folder
	Offset int64  // byte in the file; -1 when the whole file is meant
	What   string // in English, for the technical reader
}

// String returns "file: what" or "file, byte offset: what".
func (d Difference) String() string {
	if d.Offset < 0 {
		return d.File + ": " + d.What
	}
	return fmt.Sprintf("%s, byte %d: %s", d.File, d.Offset, d.What)
}

// Verify reads every file in the ledger's folder, computes every hash anew
// from the entries and compares it with the hash tiles, the tree state and the
// signed checkpoint. It changes nothing and needs no network. An error means
// that dir could not be read or is no ledger (fault.Invalid "ledger.not-one");
// changed, missing and added files are differences, sorted by file.
//
// A ledger alone cannot show that its newest leaves were cut off together with
// the checkpoint over them, nor that all of it was written anew with the hub's
// own key. Checkpoints that were printed, handed out or cosigned by a witness
// show it: given as earlier, each must be a beginning of the ledger, else it is
// among the contradictions. Read them before Verify when the hub is running.
//
// When a file and what depends on it disagree, the signed root
// decides which of them was changed; when nothing fits it, both are named.
func Verify(ctx context.Context, dir, verifierKey string, earlier ...Earlier) (Report, error) {
	v, err := note.NewVerifier(verifierKey)
	if err != nil {
		return Report{}, fmt.Errorf("verify ledger: verifier key: %w", err)
	}
	a := newAudit(dir, v)
	a.earlier = earlier
	if err := a.run(ctx); err != nil {
		return Report{}, fmt.Errorf("verify ledger: %w", err)
	}
	if !a.isLedger() {
		return Report{}, fault.New(fault.Invalid, "ledger.not-one").With(fmt.Errorf("%s holds neither checkpoint nor tiles", dir))
	}
	return a.report, nil
}

// Scan returns all leaves of the ledger in dir in order, without checking
// anything but their form. When a part cannot be read it returns the leaves
// that could be read and an error; Verify says what is wrong.
func Scan(dir string) ([]leaf.Leaf, error) {
	a := newAudit(dir, nil)
	var leaves []leaf.Leaf
	var bad error
	a.visit = func(i uint64, entry []byte) error {
		lf, err := decode(entry)
		if err != nil {
			bad = cmp.Or(bad, fmt.Errorf("scan ledger: entry %d: %w", i, err))
			return nil
		}
		leaves = append(leaves, lf)
		return nil
	}
	if err := a.list(); err != nil {
		return nil, fmt.Errorf("scan ledger: %w", err)
	}
	a.readStates()
	a.chooseSize()
	found, err := a.readEntries(context.Background())
	if err != nil {
		return leaves, fmt.Errorf("scan ledger: %w", err)
	}
	if bad == nil && !found.complete {
		bad = fmt.Errorf("scan ledger: %d leaves expected, %d could be read", a.size, len(leaves))
	}
	return leaves, bad
}

// differ notes a difference; offset -1 means the whole file.
func (a *audit) differ(file string, offset int64, what string, args ...any) {
	a.report.Differences = append(a.report.Differences, Difference{File: file, Offset: offset, What: fmt.Sprintf(what, args...)})
}

func (a *audit) leftover(file, what string) {
	a.report.Leftovers = append(a.report.Leftovers, Difference{File: file, Offset: -1, What: what})
}

func (a *audit) sort() {
	order := func(x, y Difference) int {
		return cmp.Or(cmp.Compare(x.File, y.File), cmp.Compare(x.Offset, y.Offset))
	}
	slices.SortStableFunc(a.report.Differences, order)
	slices.SortStableFunc(a.report.Leftovers, order)
}
