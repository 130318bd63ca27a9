// Package backup writes a whole hub into one encrypted file and makes a hub of
// such a file again, also on the other engine of the state.
//
// In: the parts of a running or a stopped hub. Out: a tar inside an age file,
// with the SHA-256 of every member; or a folder (and a database) in which a hub
// starts. Always true: what was acknowledged before the backup began is in it;
// the restored hub verifies; import puts nothing in place before every member
// was compared, and leaves nothing behind when it fails.
//
// # Why the order matters
//
// A record is on its way through these places: the state and its outbox (one
// transaction), the bus, the ledger or the archive and then the ledger. Each
// place lets go of it only after the next one has it for good, and handlers may
// see it twice. A running hub is copied like this:
//
//  1. The archive is held: what arrives is shown, and sealed later. Then the
//     ledger is held: appends wait, and so does every handler that would
//     acknowledge a message after one. So is what correlations have counted:
//     matches are acknowledged once a state that holds them is on the disk.
//  2. Archive, ledger, cosignatures of witnesses and what correlations have
//     counted are pinned.
//  3. The outbox is held: nothing more comes from the state to the bus.
//  4. What waits on the bus is read.
//  5. The snapshot of the state begins. All that is held is released.
//  6. All of it is written, then evidence and keys.
//
// A row of the snapshot whose leaf is not in the ledger has it in the outbox
// (nothing left it since 3) or on the bus (read in 4, before which nobody could
// acknowledge it: 1). A leaf of the ledger belongs to a row that was committed
// before 1, so the snapshot has the row. An event that was acknowledged to an
// agent before 1 is on the bus in 4, or its message was acknowledged since: only
// after its segment was sealed, so before 1, and the segment is pinned in 2. Its
// leaf was on the bus before that acknowledgement, and is there still (read in
// 4) or in the pinned ledger. (Without the hold on the archive a segment could
// be sealed, told to the bus and its events let go of between 2 and 4: the
// backup then had the leaf and not the events.) A message that another handler
// acknowledged while 4 read had its effect on the state before 5. A match is in
// the pinned state of the correlations, whose findings were published before, or
// waits on the bus, or its event does; what is there twice is known by its id. The files of an item of evidence are on the disk before its
// row is, and stay. Intake goes on all the time; segments and the ledger wait
// for as long as linking files and reading the bus takes.
//
// What was read from the bus goes to the restored hub's outbox, before what was
// there, and is handled a second time by those who had handled it: they are
// idempotent because the bus delivers at least once anyway.
package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/bus"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
)

// Parts is the hub that is copied.
type Parts struct {
	Dir   string // its folder
	State *state.DB
	// Pending tells the messages that wait in a stream of the bus.
	Pending func(ctx context.Context, stream string, f func(bus.Message) error) error
	Streams []string // of the bus; the dead letters need not be named
	// HoldArchive, HoldLedger and HoldCounts keep archive, ledger and what
	// correlations have counted as they are on the disk; nil: the hub is stopped.
	HoldArchive func() (release func())
	HoldLedger  func() (release func())
	HoldCounts  func() (release func())
	// Stores are the shared stores by the name that Import knows them by; nil:
	// all is in the folder.
	Stores map[string]blob.Store
	Now    clock.Now
}

// Made is a finished backup.
type Made struct {
	At     time.Time `json:"at"`
	Digest string    `json:"digest"` // hex SHA-256 of the encrypted file
	Bytes  int64     `json:"bytes"`  // of it
}

// Backup writes the hub to w, encrypted for the lock's keys, and leaves a leaf
// of type "backup" on the way to the ledger. What w has got after an error is
// no backup. One at a time.
func Backup(ctx context.Context, p Parts, w io.Writer, lock Lock) (made Made, err error) {
	made.At = p.Now().UTC()
	c, err := pin(ctx, p)
	if err != nil {
		return made, fmt.Errorf("backup: %w", err)
	}
	defer func() { err = errors.Join(err, c.close()) }()
	count := &counted{w: w, sum: sha256.New()}
	if err := c.write(ctx, made.At, count, lock); err != nil {
		return made, fmt.Errorf("backup: %w", err)
	}
	made.Digest, made.Bytes = hex.EncodeToString(count.sum.Sum(nil)), count.n
	return made, p.record(ctx, made)
}

// record leaves a trace. The ledger is told what to compare a file with, not
// where it is.
func (p Parts) record(ctx context.Context, made Made) error {
	lf := leaf.Leaf{Type: "backup", Ref: fmt.Sprintf("%s/%d", made.At.Format(time.RFC3339Nano), made.Bytes), Digest: made.Digest, At: made.At}
	err := p.State.Tx(ctx, func(tx *state.Tx) error { return tx.Emit(ctx, "record.backup", "backup:"+lf.Ref, lf) })
	if err != nil {
		return fmt.Errorf("backup: record it: %w", err)
	}
	return nil
}

// counted knows what passed through it.
type counted struct {
	w   io.Writer
	sum hash.Hash
	n   int64
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.sum.Write(p[:n])
	c.n += int64(n)
	return n, err
}

// Sweep removes what a backup left in a hub's folder that ended in the middle
// of one. The hub calls it when it starts.
func Sweep(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, pinned+"*"))
	if err != nil {
		return fmt.Errorf("sweep backups: %w", err)
	}
	for _, path := range left {
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("sweep backups: %w", err)
		}
	}
	return nil
}
