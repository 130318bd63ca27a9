package repository

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/restic"
)

// Begin makes the repository unless it is there: its key, which the first of
// Agent.Passwords opens, and its config come as if who had sent them. That
// password must be made of 256 random bits (restic.Begin). It may be called
// again, also after a crash; errors are those of Put.
func (r *Repository) Begin(ctx context.Context, who string) error {
	r.beginning.Lock()
	defer r.beginning.Unlock()
	if r.Begun() {
		return nil
	}
	r.mu.Lock()
	passwords := r.known.Passwords
	r.mu.Unlock()
	if len(passwords) == 0 {
		return fault.New(fault.Conflict, "protect.no-key")
	}
	key, config, err := restic.Begin(passwords[0], who, r.s.c.Now().UTC())
	if err != nil {
		return fmt.Errorf("make the repository of %s: %w", r.agent, err)
	}
	sum := sha256.Sum256(key)
	err = r.put(ctx, who, restic.Keys, hex.EncodeToString(sum[:]), int64(len(key)), bytes.NewReader(key))
	if err == nil {
		err = r.put(ctx, who, restic.ConfigFile, "", int64(len(config)), bytes.NewReader(config))
	}
	if err != nil {
		return fmt.Errorf("make the repository of %s: %w", r.agent, err)
	}
	return nil
}
