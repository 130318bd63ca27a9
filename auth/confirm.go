package auth

import (
	"context"
	"encoding/hex"
	"fmt"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
)

// Confirm checks that whoever acts as p holds the second factor at this
// moment, for what must be signed. A code counts once, also when it was used to
// log in. Wrong codes are counted, and delayed, for themselves: whoever found an
// open screen neither guesses the code nor locks its owner out of logging in.
//
// Errors: Conflict "auth.no-code" for somebody without a second factor, Busy
// "auth.locked" after too many wrong codes, Invalid "auth.code-refused" for a
// code that is wrong or was used.
func (k *Keeper) Confirm(ctx context.Context, p Person, code string) error {
	a, found, err := accountBy(ctx, reader{k.db}, "id", p.ID)
	if err != nil {
		return fmt.Errorf("confirm: %w", err)
	}
	if !found || a.Disabled {
		return fault.New(fault.Denied, "auth.session-ended")
	}
	if a.totp == "" {
		return fault.New(fault.Conflict, "auth.no-code")
	}
	tries := []attempt{{"confirm/" + hex.EncodeToString(k.keys.Mac("auth.attempt", p.ID)), freeByLogin}}
	if err := k.reserve(ctx, tries); err != nil {
		return err
	}
	step, right, err := k.secondFactor(a, code)
	if err != nil {
		return fmt.Errorf("confirm: %w", err)
	}
	if !right {
		return k.refuseCode(ctx, tries, p.ID)
	}
	return k.useCode(ctx, a.ID, step, tries)
}

// useCode spends the code. The same one may have been used at the same moment.
func (k *Keeper) useCode(ctx context.Context, person string, step int64, tries []attempt) error {
	spent := false
	err := k.db.Tx(ctx, func(tx *state.Tx) error {
		res, err := tx.ExecContext(ctx, `UPDATE person SET totp_step = $1 WHERE id = $2 AND disabled = 0 AND totp <> '' AND totp_step < $1`, step, person)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		if err != nil || n != 1 {
			return err
		}
		spent = true
		if err := k.settle(ctx, tx, tries, true); err != nil {
			return err
		}
		return k.record(ctx, tx, Record{Kind: RecordLogin, What: "confirmed", Person: person})
	})
	switch {
	case err != nil:
		return fmt.Errorf("confirm: %w", err)
	case !spent:
		return k.refuseCode(ctx, tries, person)
	}
	return nil
}

// refuseCode records the lock-out that the failure caused, if it did.
func (k *Keeper) refuseCode(ctx context.Context, tries []attempt, person string) error {
	if d, err := k.lockedOut(ctx, tries[0]); err != nil {
		return err
	} else if d > 0 {
		k.recordNow(ctx, Record{Kind: RecordLogin, What: "locked-out", Person: person,
			Detail: map[string]string{"by": "confirm", "seconds": fmt.Sprint(int(d.Seconds()))}})
	}
	return fault.New(fault.Invalid, "auth.code-refused")
}
