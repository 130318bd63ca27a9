package auth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
)

// Kinds of records; the ledger holds their digests as leaves of these types.
const (
	RecordLogin   = "login"   // privileged log-ins, lock-outs, replayed invitations
	RecordPerson  = "person"  // invited, accepted, roles changed, disabled, enabled
	RecordRefusal = "refusal" // the policies said no
	RecordView    = "view"    // somebody looked at personal data
	RecordDrill   = "drill"   // a practice incident began or ended
)

// recordKinds lists all kinds.
func recordKinds() []string {
	return []string{RecordLogin, RecordPerson, RecordRefusal, RecordView, RecordDrill}
}

// Record is something that happened to people and their rights, for auditors.
// It names people by id only. The ledger holds its digest under its ID.
type Record struct {
	ID     string            `json:"id"`
	Kind   string            `json:"kind"`
	What   string            `json:"what"`   // catalogue key "record.<What>"
	Person string            `json:"person"` // whom it is about; empty: nobody that is known
	By     string            `json:"by"`     // who did it; empty: the person, or nobody that is known
	Detail map[string]string `json:"detail"`
	At     time.Time         `json:"at"`
	Salt   string            `json:"salt"` // makes the digest unguessable
}

// record stores r and hands its leaf to the ledger, in the transaction of the
// thing itself. A record whose ID is there already is not stored again.
func (k *Keeper) record(ctx context.Context, tx *state.Tx, r Record) error {
	r.At = k.now().UTC()
	r.Salt = leaf.Salt()
	if r.ID == "" {
		r.ID = clock.ID("au", r.At)
	}
	if r.Detail == nil {
		r.Detail = map[string]string{}
	}
	res, err := tx.ExecContext(ctx, `INSERT INTO auth_record (id, kind, at, body) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING`,
		r.ID, r.Kind, state.Nanos(r.At), state.JSON(r))
	if err != nil {
		return fmt.Errorf("record %s: %w", r.What, err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return err
	}
	l, err := leaf.Of(r.Kind, r.ID, r.At, r)
	if err != nil {
		return fmt.Errorf("record %s: %w", r.What, err)
	}
	k.log.Info("recorded", "what", r.What, "person", r.Person, "by", r.By)
	return tx.Emit(ctx, "record."+r.Kind, "auth/"+r.ID, l)
}

// recordNow stores r in a transaction of its own. Without it the caller's
// answer stands all the same, so a failure is only logged.
func (k *Keeper) recordNow(ctx context.Context, r Record) {
	ctx = context.WithoutCancel(ctx) // who hangs up is recorded too
	if err := k.db.Tx(ctx, func(tx *state.Tx) error { return k.record(ctx, tx, r) }); err != nil {
		k.log.Error("record lost", "what", r.What, "person", r.Person, "err", err)
	}
}

// once is the id of a record that is stored at most once a minute, so that
// somebody who knocks all day does not fill the ledger.
func (k *Keeper) once(parts ...string) string {
	sum := sha256.Sum256([]byte(state.JSON(parts)))
	minute := k.now().Truncate(time.Minute)
	return fmt.Sprintf("au-%012x-%s", minute.UnixMilli(), hex.EncodeToString(sum[:6]))
}

// Refused logs and records that d refused v on r to p. The same refusal is
// recorded once a minute.
func (k *Keeper) Refused(ctx context.Context, p Person, v Verb, r Resource, d Decision) {
	k.log.Warn("refused", "person", p.ID, "verb", string(v), "kind", r.Kind, "id", r.ID, "reason", d.Reason)
	k.recordNow(ctx, Record{
		ID:   k.once(p.ID, string(v), r.Kind, r.ID, r.Site, d.Reason),
		Kind: RecordRefusal, What: "refused", Person: p.ID,
		Detail: map[string]string{"verb": string(v), "kind": r.Kind, "id": r.ID, "site": r.Site, "reason": d.Reason},
	})
}

// Viewed records that p looked at personal data: a document, the draft of one,
// the list of people. The same is recorded once a minute. kind and id say what it
// was, never what stood in it.
func (k *Keeper) Viewed(ctx context.Context, p Person, kind, id string) {
	k.recordNow(ctx, Record{
		ID:   k.once("viewed", p.ID, kind, id),
		Kind: RecordView, What: "viewed", Person: p.ID,
		Detail: map[string]string{"kind": kind, "id": id},
	})
}

// Drilled records that a practice incident began or ended (what is
// "drill-began" or "drill-ended"); detail names it and its run.
func (k *Keeper) Drilled(ctx context.Context, what string, detail map[string]string) error {
	err := k.db.Tx(ctx, func(tx *state.Tx) error {
		return k.record(ctx, tx, Record{Kind: RecordDrill, What: what, Detail: detail})
	})
	if err != nil {
		return fmt.Errorf("record drill: %w", err)
	}
	return nil
}

// RecordFilter selects records. Zero fields select all.
type RecordFilter struct {
	Kind   string
	Limit  int // 50 when 0, at most 200
	Offset int
}

// Records returns what was recorded, newest first, and how many there are.
func (k *Keeper) Records(ctx context.Context, f RecordFilter) ([]Record, int, error) {
	if f.Limit <= 0 {
		f.Limit = 50
	}
	f.Limit, f.Offset = min(f.Limit, 200), max(f.Offset, 0)
	const where = ` FROM auth_record WHERE ($1 = '' OR kind = $1)`
	var total int
	if err := k.db.QueryRow(ctx, `SELECT COUNT(*)`+where, f.Kind).Scan(&total); err != nil {
		return nil, 0, fmt.Errorf("list records: %w", err)
	}
	rows, err := k.db.Query(ctx, `SELECT body`+where+` ORDER BY at DESC, id DESC LIMIT $2 OFFSET $3`, f.Kind, f.Limit, f.Offset)
	if err != nil {
		return nil, 0, fmt.Errorf("list records: %w", err)
	}
	defer rows.Close()
	list := []Record{}
	for rows.Next() {
		var body string
		var r Record
		if err := rows.Scan(&body); err != nil {
			return nil, 0, fmt.Errorf("list records: %w", err)
		}
		if err := json.Unmarshal([]byte(body), &r); err != nil {
			return nil, 0, fmt.Errorf("list records: %w", err)
		}
		list = append(list, r)
	}
	return list, total, rows.Err()
}
