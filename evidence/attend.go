package evidence

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
)

// maxName bounds the name of a person who is not in the register, in letters.
const maxName = 200

// Attend writes down who was present when evidence was taken (立会人), and who
// approved it; one of them is enough. It can be called at any time: what is
// written before the bag is sealed lies in it, the rest in the custody record
// that goes with every copy.
func (v *Vault) Attend(ctx context.Context, id, witness, approver string, by auth.Person) error {
	witness, approver = strings.TrimSpace(witness), strings.TrimSpace(approver)
	if witness == "" && approver == "" || utf8.RuneCountInString(witness) > maxName || utf8.RuneCountInString(approver) > maxName {
		return fault.New(fault.Invalid, "evidence.witness", maxName)
	}
	return v.db.Tx(ctx, func(tx *state.Tx) error {
		if _, err := v.row(tx.QueryRowContext(ctx, selectBag, id), id); err != nil {
			return err
		}
		_, err := v.write(ctx, tx, Custody{Bag: id, At: v.deps.Now().UTC(), What: "witnessed", By: by.ID, Witness: witness, Approver: approver})
		return err
	})
}

// Cancelled writes down, before a bag is sealed, that a person ended its
// collection. Saying it again changes nothing.
func (v *Vault) Cancelled(ctx context.Context, id, by string) error {
	return v.db.Tx(ctx, func(tx *state.Tx) error {
		row, err := v.row(tx.QueryRowContext(ctx, selectBag, id), id)
		if err != nil || row.Cancelled || row.State != Collecting || row.sealing != "" {
			return err
		}
		row.Cancelled = true
		if _, err := tx.ExecContext(ctx, `UPDATE evidence_bag SET body = $1 WHERE id = $2`, state.JSON(row.Bag), id); err != nil {
			return fmt.Errorf("cancel bag %s: %w", id, err)
		}
		_, err = v.write(ctx, tx, Custody{Bag: id, At: v.deps.Now().UTC(), What: "cancelled", By: by})
		return err
	})
}
