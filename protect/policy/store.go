package policy

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/state"
)

// Types of the leaves.
const (
	leafClass  = "data-class"
	leafPolicy = "backup-policy"
	leafRun    = "backup-run"
)

// Subjects of the messages.
const (
	SubjectPolicy = "protect.policy" // a class or a policy was changed (Changed)
	SubjectRun    = "protect.run"    // a run came further (Changed)
)

// Changed tells that something is not as it was.
type Changed struct {
	ID     string    `json:"id"`
	Site   string    `json:"site"`
	Policy string    `json:"policy,omitempty"`
	Host   string    `json:"host,omitempty"`
	State  State     `json:"state,omitempty"`
	At     time.Time `json:"at"`
	By     string    `json:"by"`
}

func ref(id string, version int) string { return id + "/" + strconv.Itoa(version) }

// emit puts the digest of a version on record and tells of it.
func emit(ctx context.Context, tx *state.Tx, l leaf.Leaf, subject string, c Changed) error {
	if err := tx.Emit(ctx, "record."+l.Type, "record."+l.Type+":"+l.Ref, l); err != nil {
		return err
	}
	return tx.Emit(ctx, subject, subject+":"+l.Ref, c)
}

// keepClass stores the next version of a class.
func keepClass(ctx context.Context, tx *state.Tx, c *Class) error {
	c.Version++
	c.Salt = leaf.Salt()
	if err := keepVersion(ctx, tx, "protect_class", c.ID, c.Version, c.Site, c); err != nil {
		return err
	}
	l, err := c.Leaf()
	if err != nil {
		return err
	}
	return emit(ctx, tx, l, SubjectPolicy, Changed{ID: c.ID, Site: c.Site, At: c.At, By: c.By})
}

// keepPolicy stores the next version of a policy.
func keepPolicy(ctx context.Context, tx *state.Tx, p *Policy) error {
	p.Version++
	p.Salt = leaf.Salt()
	if err := keepVersion(ctx, tx, "protect_policy", p.ID, p.Version, p.Site, p); err != nil {
		return err
	}
	l, err := p.Leaf()
	if err != nil {
		return err
	}
	return emit(ctx, tx, l, SubjectPolicy, Changed{ID: p.ID, Site: p.Site, Policy: p.ID, At: p.At, By: p.By})
}

// keepVersion stores a version that nobody else stored meanwhile.
func keepVersion(ctx context.Context, tx *state.Tx, table, id string, version int, site string, body any) error {
	res, err := tx.ExecContext(ctx, `INSERT INTO `+table+` (id, version, site, body) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`, id, version, site, state.JSON(body))
	if err != nil {
		return fmt.Errorf("keep %s: %w", ref(id, version), err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, fault.New(fault.Conflict, "protect.policy.changed"))
	}
	return nil
}

// keepRun stores the next version of a run.
func keepRun(ctx context.Context, tx *state.Tx, r *Run) error {
	r.Version++
	r.Salt = leaf.Salt()
	body, going := state.JSON(r), 0
	if r.State.Going() {
		going = 1
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO protect_run_version (id, version, body) VALUES ($1, $2, $3)`, r.ID, r.Version, body); err != nil {
		return fmt.Errorf("keep run %s: %w", r.ID, err)
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO protect_run (id, policy, host, site, slot, queued, state, going_on, counts, body) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
		ON CONFLICT (id) DO UPDATE SET state = $7, going_on = $8, counts = $9, body = $10`,
		r.ID, r.Policy, r.Host, r.Site, state.Nanos(r.Slot), state.Nanos(r.Queued), string(r.State), going, state.Nanos(r.Counts()), body)
	if err != nil {
		return fmt.Errorf("keep run %s: %w", r.ID, err)
	}
	if going == 0 {
		if _, err := tx.ExecContext(ctx, `DELETE FROM protect_progress WHERE id = $1`, r.ID); err != nil {
			return fmt.Errorf("keep run %s: %w", r.ID, err)
		}
	}
	l, err := r.Leaf()
	if err != nil {
		return err
	}
	return emit(ctx, tx, l, SubjectRun, Changed{ID: r.ID, Site: r.Site, Policy: r.Policy, Host: r.Host, State: r.State, At: r.At, By: r.By})
}

// alter changes a run: f says whether there is anything to keep.
func (d *Desk) alter(ctx context.Context, id, by string, f func(r *Run) (bool, error)) (Run, error) {
	var r Run
	err := d.db.Tx(ctx, func(tx *state.Tx) (err error) {
		// the row is locked first: another hub may hear of the same run
		r, err = scan[Run](tx.QueryRowContext(ctx, `UPDATE protect_run SET state = state WHERE id = $1 RETURNING body`, id), "protect.policy.run-missing")
		if err != nil {
			return err
		}
		r.At, r.By = d.moment(), by
		if keep, err := f(&r); err != nil || !keep {
			return err
		}
		return keepRun(ctx, tx, &r)
	})
	if err != nil {
		return r, fmt.Errorf("change run %s: %w", id, err)
	}
	return r, nil
}

type scanner interface{ Scan(dest ...any) error }

func scan[T any](row scanner, missing string) (T, error) {
	var v T
	var body string
	err := row.Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return v, fault.New(fault.Missing, missing)
	}
	if err == nil {
		err = json.Unmarshal([]byte(body), &v)
	}
	return v, err
}

func list[T any](found *sql.Rows, err error) ([]T, error) {
	if err != nil {
		return nil, err
	}
	defer found.Close()
	all := []T{}
	for found.Next() {
		v, err := scan[T](found, "")
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, found.Err()
}

// newest reads the newest version of each row of a table; an empty site means
// all.
func newest[T any](ctx context.Context, db *state.DB, table, site string) ([]T, error) {
	return list[T](db.Query(ctx, `SELECT body FROM `+table+` a WHERE (CAST($1 AS TEXT) = '' OR site = $1)
		AND version = (SELECT MAX(version) FROM `+table+` b WHERE b.id = a.id) ORDER BY id`, site))
}

const lastVersion = ` WHERE id = $1 ORDER BY version DESC LIMIT 1`

// Class returns a class as it is now, or Missing.
func (d *Desk) Class(ctx context.Context, id string) (Class, error) {
	c, err := scan[Class](d.db.QueryRow(ctx, `SELECT body FROM protect_class`+lastVersion, id), "protect.policy.class-missing")
	if err != nil {
		return c, fmt.Errorf("class %s: %w", id, err)
	}
	return c, nil
}

// Policy returns a policy as it is now, or Missing.
func (d *Desk) Policy(ctx context.Context, id string) (Policy, error) {
	p, err := scan[Policy](d.db.QueryRow(ctx, `SELECT body FROM protect_policy`+lastVersion, id), "protect.policy.missing")
	if err != nil {
		return p, fmt.Errorf("policy %s: %w", id, err)
	}
	return p, nil
}

// version returns a policy as it was.
func (d *Desk) version(ctx context.Context, id string, version int) (Policy, error) {
	p, err := scan[Policy](d.db.QueryRow(ctx, `SELECT body FROM protect_policy WHERE id = $1 AND version = $2`, id, version), "protect.policy.missing")
	if err != nil {
		return p, fmt.Errorf("policy %s: %w", ref(id, version), err)
	}
	return p, nil
}

// Versions returns all versions of a policy, the newest first.
func (d *Desk) Versions(ctx context.Context, id string) ([]Policy, error) {
	all, err := list[Policy](d.db.Query(ctx, `SELECT body FROM protect_policy WHERE id = $1 ORDER BY version DESC LIMIT 200`, id))
	if err != nil {
		return nil, fmt.Errorf("versions of policy %s: %w", id, err)
	}
	return all, nil
}

// Run returns a run as it is now, or Missing.
func (d *Desk) Run(ctx context.Context, id string) (Run, error) {
	r, err := scan[Run](d.db.QueryRow(ctx, `SELECT body FROM protect_run WHERE id = $1`, id), "protect.policy.run-missing")
	if err != nil {
		return r, fmt.Errorf("run %s: %w", id, err)
	}
	return r, nil
}

// History returns all versions of a run, the first one first.
func (d *Desk) History(ctx context.Context, id string) ([]Run, error) {
	all, err := list[Run](d.db.Query(ctx, `SELECT body FROM protect_run_version WHERE id = $1 ORDER BY version`, id))
	if err != nil {
		return nil, fmt.Errorf("history of run %s: %w", id, err)
	}
	return all, nil
}

// Filter chooses runs. Empty fields mean all.
type Filter struct {
	Site, Policy, Host string
	State              State
	Going              bool
	Limit, Offset      int // 0: 50
}

// most runs at once.
const most = 200

// Runs lists runs, the newest first, and says how many there are.
func (d *Desk) Runs(ctx context.Context, f Filter) ([]Run, int, error) {
	if f.Limit <= 0 || f.Limit > most {
		f.Limit = 50
	}
	const where = ` FROM protect_run WHERE (CAST($1 AS TEXT) = '' OR site = $1) AND (CAST($2 AS TEXT) = '' OR policy = $2) AND (CAST($3 AS TEXT) = '' OR host = $3)
		AND (CAST($4 AS TEXT) = '' OR state = $4) AND (CAST($5 AS BIGINT) = 0 OR going_on = 1)`
	going := 0
	if f.Going {
		going = 1
	}
	args := []any{f.Site, f.Policy, f.Host, string(f.State), going}
	var total int
	if err := d.db.QueryRow(ctx, `SELECT COUNT(*)`+where, args...).Scan(&total); err != nil {
		return nil, 0, fmt.Errorf("count runs: %w", err)
	}
	all, err := list[Run](d.db.Query(ctx, `SELECT body`+where+` ORDER BY queued DESC, slot DESC, id DESC LIMIT $6 OFFSET $7`, append(args, f.Limit, max(0, f.Offset))...))
	if err != nil {
		return nil, 0, fmt.Errorf("list runs: %w", err)
	}
	return all, total, nil
}

// Told is how far a running job is, and when the hub heard it.
type Told struct {
	job.Progress
	Heard time.Time `json:"heard"`
}

// Share is how much of the bytes is done, 0–1; -1 while that is not known.
func (t Told) Share() float64 {
	if t.TotalBytes <= 0 || t.Bytes < 0 {
		return -1
	}
	return min(1, float64(t.Bytes)/float64(t.TotalBytes))
}

// Progress returns the last word of each running job, by the id of its run.
func (d *Desk) Progress(ctx context.Context) (map[string]Told, error) {
	found, err := d.db.Query(ctx, `SELECT id, at, body FROM protect_progress`)
	if err != nil {
		return nil, fmt.Errorf("progress of runs: %w", err)
	}
	defer found.Close()
	all := map[string]Told{}
	for found.Next() {
		var id, body string
		var at int64
		if err := found.Scan(&id, &at, &body); err != nil {
			return nil, fmt.Errorf("progress of runs: %w", err)
		}
		t := Told{Heard: state.Time(at)}
		if err := json.Unmarshal([]byte(body), &t.Progress); err != nil {
			return nil, fmt.Errorf("progress of run %s: %w", id, err)
		}
		all[id] = t
	}
	return all, found.Err()
}

// newestOf returns the newest backup of a machine, under any of the policies,
// that came to an end and told with which restic: one that failed says what the
// machine works with as well as one that counts. The zero value: none.
func (d *Desk) newestOf(ctx context.Context, host string, policies []Policy) (newest Run, err error) {
	for _, p := range policies {
		if !slices.Contains(p.Hosts, host) {
			continue
		}
		all, _, err := d.Runs(ctx, Filter{Policy: p.ID, Host: host, Limit: lookedAt})
		if err != nil {
			return newest, err
		}
		for _, r := range all {
			if r.Result != nil && r.Result.Restic != "" && r.Ended.After(newest.Ended) {
				newest = r
			}
		}
	}
	return newest, nil
}

// lookedAt bounds the runs that are read to learn what a machine works with:
// those that were missed or still go on tell nothing.
const lookedAt = 20

// lastOf returns the newest slot that was queued or missed, and the newest
// backup that counts, of a policy on a machine. Zero: none.
func (d *Desk) lastOf(ctx context.Context, policy, host string) (slot, counts time.Time, err error) {
	var s, c int64
	err = d.db.QueryRow(ctx, `SELECT COALESCE((SELECT MAX(slot) FROM protect_run WHERE policy = $1 AND host = $2), 0),
		COALESCE((SELECT MAX(counts) FROM protect_run WHERE policy = $1 AND host = $2), 0)`, policy, host).Scan(&s, &c)
	if err != nil {
		return slot, counts, fmt.Errorf("last run of %s on %s: %w", policy, host, err)
	}
	return state.Time(s), state.Time(c), nil
}
