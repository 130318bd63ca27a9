package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/evidence"
	"github.com/sonae/sonae/state"
)

// hubs checks what several hubs share: the copy of the ledger in the folder of
// one of them, the rows, and archive and bags as the storage has them. These
// are brought into a folder beside the copy first, which needs room for them.
func (c *check) hubs(ctx context.Context, dir string) error {
	leaves, err := c.ledger(ctx, filepath.Join(dir, "ledger"))
	if err != nil {
		return err
	}
	store, err := blob.OpenS3(ctx, *c.store)
	if err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(dir, ".verify-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	fmt.Fprintf(c.out, "copying archive and evidence from the storage to %s\n", tmp)
	if err := archive.Copy(ctx, blob.Sub(store, "archive"), filepath.Join(tmp, "archive")); err != nil {
		return err
	}
	db, err := state.OpenReadOnly(c.state)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := evidence.CopySealed(ctx, db, blob.Sub(store, "evidence"), filepath.Join(tmp, "evidence")); err != nil {
		return err
	}
	if err := c.archive(ctx, filepath.Join(tmp, "archive"), leaves); err != nil {
		return err
	}
	if err := c.rows(ctx, db, leaves); err != nil {
		return err
	}
	return c.bags(ctx, db, tmp, readKey(filepath.Join(dir, keyFile)))
}
