package auth

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
)

// Limits of failed log-ins. The name is limited closely; the address widely,
// because a whole hospital may stand behind one.
const (
	freeByLogin   = 4 // failures without any delay
	freeByAddress = 30
	firstDelay    = 30 * time.Second
	longestDelay  = 15 * time.Minute // an attacker must not keep the night shift out for hours
	forgetAfter   = 24 * time.Hour
)

// lockDelay is how long the failure number n (from 1) locks out: it doubles
// with every failure beyond the free ones.
func lockDelay(n, free int) time.Duration {
	if n <= free {
		return 0
	}
	d := firstDelay
	for i := free + 1; i < n && d < longestDelay; i++ {
		d *= 2
	}
	return min(d, longestDelay)
}

// attempt is what is counted of one log-in name or address.
type attempt struct {
	key  string
	free int
}

// attempts returns the counters that a log-in touches. Names and addresses are
// kept as keyed digests only.
func (k *Keeper) attempts(login, address string) []attempt {
	list := []attempt{{"login/" + hex.EncodeToString(k.keys.Mac("auth.attempt", login)), freeByLogin}}
	if ip := network(address); ip != "" {
		list = append(list, attempt{"address/" + hex.EncodeToString(k.keys.Mac("auth.attempt", ip)), freeByAddress})
	}
	return list
}

// network is the part of an address that one person holds: IPv4 as it is, the
// /64 of IPv6. Anything else is taken as it is.
func network(address string) string {
	if ap, err := netip.ParseAddrPort(address); err == nil {
		address = ap.Addr().String()
	}
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is6() {
		if p, err := ip.Prefix(64); err == nil {
			return p.String()
		}
	}
	return ip.String()
}

// reserve counts an attempt as failed before it is tried, so that a hundred
// tries at the same moment count as a hundred. It refuses, without counting,
// while one of the counters is locked: then not even the right password helps.
func (k *Keeper) reserve(ctx context.Context, list []attempt) error {
	now := k.now()
	return k.db.Tx(ctx, func(tx *state.Tx) error {
		for _, a := range list {
			var until int64
			err := tx.QueryRowContext(ctx, `SELECT locked_until FROM attempt WHERE key = $1`, a.key).Scan(&until)
			if err != nil && !errors.Is(err, sql.ErrNoRows) {
				return fmt.Errorf("count log-in: %w", err)
			}
			if now.Before(state.Time(until)) {
				return fault.New(fault.Busy, "auth.locked")
			}
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM attempt WHERE last_at < $1`, state.Nanos(now.Add(-forgetAfter))); err != nil {
			return fmt.Errorf("count log-in: %w", err)
		}
		for _, a := range list {
			if err := count(ctx, tx, a, now); err != nil {
				return fmt.Errorf("count log-in: %w", err)
			}
		}
		return nil
	})
}

func count(ctx context.Context, tx *state.Tx, a attempt, now time.Time) error {
	var n int
	err := tx.QueryRowContext(ctx, `INSERT INTO attempt (key, failures, last_at, locked_until) VALUES ($1, 1, $2, 0)
		ON CONFLICT (key) DO UPDATE SET failures = attempt.failures + 1, last_at = $2 RETURNING failures`,
		a.key, state.Nanos(now)).Scan(&n)
	if err != nil {
		return err
	}
	if d := lockDelay(n, a.free); d > 0 {
		_, err = tx.ExecContext(ctx, `UPDATE attempt SET locked_until = $1 WHERE key = $2`, state.Nanos(now.Add(d)), a.key)
	}
	return err
}

// settle takes a reservation back: wholly for the log-in name when it was the
// right person, by one for the rest and when nothing was tried.
func (k *Keeper) settle(ctx context.Context, tx *state.Tx, list []attempt, succeeded bool) error {
	for i, a := range list {
		query := `UPDATE attempt SET failures = failures - 1, locked_until = 0 WHERE key = $1 AND failures > 0`
		if i == 0 && succeeded {
			query = `DELETE FROM attempt WHERE key = $1`
		}
		if _, err := tx.ExecContext(ctx, query, a.key); err != nil {
			return fmt.Errorf("count log-in: %w", err)
		}
	}
	return nil
}

// lockedOut says for how long the failure that was just counted locks out.
func (k *Keeper) lockedOut(ctx context.Context, a attempt) (time.Duration, error) {
	var until int64
	err := k.db.QueryRow(ctx, `SELECT locked_until FROM attempt WHERE key = $1`, a.key).Scan(&until)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("count log-in: %w", err)
	}
	return max(state.Time(until).Sub(k.now()), 0), nil
}
