package device

import (
	"context"
	"fmt"
	"time"

	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/rows"
)

// LeafDevice is the type of the leaves that bind what was entered about
// devices: one for each change, and one when a device is removed.
const LeafDevice = "device"

// step is one state of a device, as it was entered, without secrets. Rows are
// only added; the ledger holds the digest of each, and the salt keeps addresses
// from being tried out.
type step struct {
	Device
	Removed bool      `json:"removed"`
	SetAt   time.Time `json:"set_at"`
	Salt    string    `json:"salt"`
}

// present selects the devices that were not removed, as they are now.
const present = `SELECT c.body, d.fetched_at FROM device_change c JOIN device d ON d.id = c.id
	WHERE c.removed = 0 AND c.no = (SELECT MAX(no) FROM device_change WHERE id = c.id) `

func (s step) leaf() (leaf.Leaf, error) {
	return leaf.Of(LeafDevice, fmt.Sprintf("%s/%d", s.ID, s.Version), s.SetAt, s)
}

func (s step) removed() int64 {
	if s.Removed {
		return 1
	}
	return 0
}

// write adds c as the next step of its device and hands its leaf to the ledger.
func (s *Store) write(ctx context.Context, tx *state.Tx, c step) error {
	c.FetchedAt, c.SetAt, c.Salt = time.Time{}, s.now().UTC(), leaf.Salt()
	err := tx.QueryRowContext(ctx, `SELECT COALESCE(MAX(no), 0) + 1 FROM device_change WHERE id = $1`, c.ID).Scan(&c.Version)
	if err == nil {
		_, err = tx.ExecContext(ctx, `INSERT INTO device_change (id, no, site, name, removed, body) VALUES ($1, $2, $3, $4, $5, $6)`,
			c.ID, c.Version, c.Site, c.Name, c.removed(), state.JSON(c))
	}
	if err != nil {
		return fmt.Errorf("write device %s: %w", c.ID, err)
	}
	l, err := c.leaf()
	if err != nil {
		return err
	}
	return tx.Emit(ctx, "record."+LeafDevice, LeafDevice+":"+l.Ref, l)
}

// VerifyRows compares what was entered about devices with the leaves of the
// type "device": a change that was altered or is gone is named. Secrets are not
// on record. It writes nothing.
func VerifyRows(ctx context.Context, db *state.DB, leaves func(kind string) []leaf.Leaf) ([]rows.Difference, error) {
	return rows.Verify(ctx, db, rows.Table{Type: LeafDevice, Query: `SELECT body, id, no, site, name, removed FROM device_change`, Leaf: stepLeaf}, leaves)
}

func stepLeaf(columns []any) (leaf.Leaf, error) {
	var s step
	unusable := leaf.Leaf{Ref: fmt.Sprintf("%v/%v", columns[1], columns[2])}
	if err := rows.Body(columns[0], &s); err != nil {
		return unusable, err
	}
	if err := rows.Repeat(columns[1:], s.ID, int64(s.Version), s.Site, s.Name, s.removed()); err != nil {
		return unusable, err
	}
	return s.leaf()
}
