package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"log/slog"
	"time"

	"github.com/sonae/sonae/backup"
)

// exportCommand writes a hub that does not run into one encrypted file.
func exportCommand(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c := newCopying("export", stdout, stderr)
	db := c.flags.String("state", "", "PostgreSQL database (postgres://…) with the state of the hub; without it state.db in the folder is used")
	return c.run(args, func(order backup.Order, w io.Writer) (digest string, err error) {
		lock, err := order.Lock()
		if err != nil {
			return "", err
		}
		log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
		parts, closed, err := backup.Stopped(ctx, c.dir, *db, time.Now, log)
		if err != nil {
			return "", err
		}
		made, err := backup.Backup(ctx, parts, w, lock)
		return made.Digest, errors.Join(err, closed())
	})
}

// sum is a writer that knows the SHA-256 of what passed through it.
type sum struct {
	w io.Writer
	h hash.Hash
}

func newSum(w io.Writer) *sum { return &sum{w, sha256.New()} }

func (s *sum) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.h.Write(p[:n])
	return n, err
}

func (s *sum) text() string { return hex.EncodeToString(s.h.Sum(nil)) }
