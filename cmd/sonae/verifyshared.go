package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/evidence"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
)

// hubs checks what several hubs share: the copy of the ledger in the folder of
// one of them, the rows, and archive and bags as the storage has them. These
// are brought into a folder beside the copy first, which needs room for them.
// A record that is on the cluster's bus at that moment is in neither: it is
// named as missing from the ledger, and is there a second later.
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
	if err := download(ctx, blob.Sub(store, "archive"), filepath.Join(tmp, "archive")); err != nil {
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
	kept := blob.Sub(store, "paper")
	inStore := func(name string) (io.ReadCloser, error) {
		r, _, err := kept.Get(ctx, name)
		if fault.Of(err) == fault.Missing {
			err = fs.ErrNotExist
		}
		return r, err
	}
	if err := c.keptPaper(ctx, db, inStore); err != nil {
		return err
	}
	return c.bags(ctx, db, tmp, readKey(filepath.Join(dir, keyFile)))
}

// download brings all objects of a store into a folder, as they are. What is
// removed meanwhile was superseded.
func download(ctx context.Context, s blob.Store, dir string) error {
	var names []string
	err := s.List(ctx, "", "", func(i blob.Info) error {
		if blob.ValidName(i.Name) { // another one is none of Sonae's, and may lead elsewhere
			names = append(names, i.Name)
		}
		return nil
	})
	for _, name := range names {
		if err == nil {
			err = downloadOne(ctx, s, name, filepath.Join(dir, filepath.FromSlash(name)))
		}
	}
	if err != nil {
		return fmt.Errorf("copy from the storage: %w", err)
	}
	return nil
}

func downloadOne(ctx context.Context, s blob.Store, name, to string) error {
	r, _, err := s.Get(ctx, name)
	if fault.Of(err) == fault.Missing {
		return nil
	}
	if err != nil {
		return err
	}
	defer r.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if fault.Of(err) == fault.Conflict { // it is damaged: the check names it
		err = nil
	}
	return errors.Join(err, f.Close())
}
