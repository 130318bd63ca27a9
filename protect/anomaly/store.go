package anomaly

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident/record"
	"github.com/sonae/sonae/protect/restic"
	"github.com/sonae/sonae/state"
)

func missing() error { return fault.New(fault.Missing, "protect.anomaly.missing") }

// scored are the snapshots of a series that need not be looked at again.
func (d *Desk) scored(ctx context.Context, series string) (map[string]bool, error) {
	known := map[string]bool{}
	err := d.each(ctx, `SELECT snapshot FROM anomaly_snapshot WHERE series = $1 AND verdict <> 'unread'`, func(rows *sql.Rows) error {
		var id string
		err := rows.Scan(&id)
		known[id] = true
		return err
	}, series)
	return known, err
}

// each calls f for every row.
func (d *Desk) each(ctx context.Context, query string, f func(*sql.Rows) error, args ...any) error {
	rows, err := d.db.Query(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("read snapshots: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows); err != nil {
			return fmt.Errorf("read snapshots: %w", err)
		}
	}
	return rows.Err()
}

// past returns what is kept of a series; empty for a new one.
func (d *Desk) past(ctx context.Context, series string) (past, error) {
	var body string
	var p past
	err := d.db.QueryRow(ctx, `SELECT body FROM anomaly_series WHERE id = $1`, series).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return p, nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(body), &p)
	}
	if err != nil {
		return p, fmt.Errorf("read series %s: %w", series, err)
	}
	return p, nil
}

// keep stores a score with what is usual from now on, and tells of it when a
// person must look, all or nothing.
func (d *Desk) keep(ctx context.Context, p past, s Snapshot) error {
	return d.db.Tx(ctx, func(tx *state.Tx) error {
		if err := saveSnapshot(ctx, tx, s); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO anomaly_series (id, repository, site, body) VALUES ($1, $2, $3, $4)
			ON CONFLICT (id) DO UPDATE SET site = excluded.site, body = excluded.body`, p.Series.ID, p.Series.Repository, p.Series.Site, state.JSON(p))
		if err != nil {
			return fmt.Errorf("keep series %s: %w", p.Series.ID, err)
		}
		if s.Verdict != Flagged && s.Verdict != Question {
			return nil
		}
		return tell(ctx, tx, finding(p.Series, s, s.Verdict))
	})
}

func saveSnapshot(ctx context.Context, tx *state.Tx, s Snapshot) error {
	gone := 0
	if s.Gone {
		gone = 1
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO anomaly_snapshot (series, snapshot, received, verdict, gone, body) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (series, snapshot) DO UPDATE SET verdict = excluded.verdict, gone = excluded.gone, body = excluded.body`,
		s.Series, s.ID, state.Nanos(s.Received), string(s.Verdict), gone, state.JSON(s))
	if err != nil {
		return fmt.Errorf("keep snapshot %s: %w", s.ID, err)
	}
	return nil
}

func tell(ctx context.Context, tx *state.Tx, f detect.Finding) error {
	return tx.Emit(ctx, "finding."+f.Host, "finding."+f.ID, []detect.Finding{f})
}

// forget marks the snapshots that a repository does not have any more.
func (d *Desk) forget(ctx context.Context, repository string, there []restic.Snapshot) error {
	has := map[string]bool{}
	for _, s := range there {
		has[s.ID.String()] = true
	}
	var lost []Snapshot
	err := d.each(ctx, `SELECT b.body FROM anomaly_snapshot b JOIN anomaly_series a ON a.id = b.series WHERE a.repository = $1 AND b.gone = 0`, func(rows *sql.Rows) error {
		s, err := scanSnapshot(rows)
		if err == nil && !has[s.ID] {
			s.Gone = true
			lost = append(lost, s)
		}
		return err
	}, repository)
	if err != nil || len(lost) == 0 {
		return err
	}
	return d.db.Tx(ctx, func(tx *state.Tx) error {
		for _, s := range lost {
			if err := saveSnapshot(ctx, tx, s); err != nil {
				return err
			}
		}
		return nil
	})
}

func scanSnapshot(row interface{ Scan(...any) error }) (Snapshot, error) {
	var body string
	var s Snapshot
	err := row.Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return s, missing()
	}
	if err == nil {
		err = json.Unmarshal([]byte(body), &s)
	}
	return s, err
}

// List returns the series of a site, of all sites when it is empty, those that
// need a person first.
func (d *Desk) List(ctx context.Context, site string) ([]Series, error) {
	var all []Series
	err := d.each(ctx, `SELECT body FROM anomaly_series WHERE CAST($1 AS TEXT) = '' OR site = $1 ORDER BY id`, func(rows *sql.Rows) error {
		var body string
		var p past
		if err := rows.Scan(&body); err != nil {
			return err
		}
		err := json.Unmarshal([]byte(body), &p)
		all = append(all, p.Series)
		return err
	}, site)
	if err != nil {
		return nil, err
	}
	for i := range all {
		if err := d.count(ctx, &all[i]); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(all, func(a, b Series) int {
		if (a.Open > 0) != (b.Open > 0) {
			if a.Open > 0 {
				return -1
			}
			return 1
		}
		return b.LastAt.Compare(a.LastAt)
	})
	return all, nil
}

// count fills in what is counted of a series.
func (d *Desk) count(ctx context.Context, s *Series) error {
	err := d.db.QueryRow(ctx, `SELECT COUNT(*) FROM anomaly_snapshot WHERE series = $1 AND gone = 0`, s.ID).Scan(&s.Snapshots)
	if err != nil {
		return fmt.Errorf("count snapshots of %s: %w", s.ID, err)
	}
	err = d.each(ctx, `SELECT body FROM anomaly_snapshot WHERE series = $1 AND (verdict = 'flagged' OR verdict = 'question')`, func(rows *sql.Rows) error {
		x, err := scanSnapshot(rows)
		if err == nil && x.Alarming() && x.Answer == nil {
			s.Open++
		}
		return err
	}, s.ID)
	if err != nil {
		return err
	}
	points, err := d.CleanPoints(ctx, s.ID)
	if len(points) > 0 {
		s.Clean, s.CleanAt = points[len(points)-1].Snapshot, points[len(points)-1].Received
	}
	return err
}

// Get returns one series, or Missing.
func (d *Desk) Get(ctx context.Context, series string) (Series, error) {
	p, err := d.past(ctx, series)
	if err == nil && p.Series.ID == "" {
		err = missing()
	}
	if err == nil {
		err = d.count(ctx, &p.Series)
	}
	return p.Series, err
}

// Snapshots returns some snapshots of a series, the newest first, and how many
// there are. limit is at most 400.
func (d *Desk) Snapshots(ctx context.Context, series string, limit, offset int) ([]Snapshot, int, error) {
	var total int
	if err := d.db.QueryRow(ctx, `SELECT COUNT(*) FROM anomaly_snapshot WHERE series = $1`, series).Scan(&total); err != nil {
		return nil, 0, fmt.Errorf("count snapshots of %s: %w", series, err)
	}
	if limit <= 0 || limit > 400 {
		limit = 400
	}
	var all []Snapshot
	err := d.each(ctx, `SELECT body FROM anomaly_snapshot WHERE series = $1 ORDER BY received DESC, snapshot LIMIT $2 OFFSET $3`, func(rows *sql.Rows) error {
		s, err := scanSnapshot(rows)
		all = append(all, s)
		return err
	}, series, limit, max(0, offset))
	return all, total, err
}

// Snapshot returns one snapshot, or Missing.
func (d *Desk) Snapshot(ctx context.Context, series, id string) (Snapshot, error) {
	return scanSnapshot(d.db.QueryRow(ctx, `SELECT body FROM anomaly_snapshot WHERE series = $1 AND snapshot = $2`, series, id))
}

// NewAnswer is what a person says about a snapshot.
type NewAnswer struct {
	Planned bool
	Reason  string // at most 500 characters
	Ticket  string // at most 100 characters
}

// Answer keeps what a person says about a flagged snapshot, or one that was
// asked about. Files that were encrypted and not by plan are an alarm.
//
// Errors: Missing; Invalid without a reason; Conflict when nobody asked.
func (d *Desk) Answer(ctx context.Context, series, id string, n NewAnswer, by auth.Person) (Snapshot, error) {
	a := Answer{Planned: n.Planned, By: by.ID, At: d.moment()}
	var err error
	if a.Reason, err = clean("reason", n.Reason, 500, true); err != nil {
		return Snapshot{}, err
	}
	if a.Ticket, err = clean("ticket", n.Ticket, 100, false); err != nil {
		return Snapshot{}, err
	}
	p, err := d.past(ctx, series)
	if err != nil {
		return Snapshot{}, err
	}
	var s Snapshot
	err = d.db.Tx(ctx, func(tx *state.Tx) error {
		s, err = scanSnapshot(tx.QueryRowContext(ctx, `SELECT body FROM anomaly_snapshot WHERE series = $1 AND snapshot = $2`, series, id))
		if err != nil {
			return err
		}
		if s.Verdict != Flagged && s.Verdict != Question {
			return fault.New(fault.Conflict, "protect.anomaly.not-asked")
		}
		s.Answer = &a
		if err := saveSnapshot(ctx, tx, s); err != nil {
			return err
		}
		if err := putAnswer(ctx, tx, s, a, by); err != nil {
			return err
		}
		if s.Verdict == Question && !a.Planned {
			return tell(ctx, tx, finding(p.Series, s, Flagged))
		}
		return nil
	})
	if err != nil {
		return Snapshot{}, fmt.Errorf("answer about snapshot %s: %w", id, err)
	}
	return s, nil
}

// putAnswer keeps an answer as the next version of what was said.
func putAnswer(ctx context.Context, tx *state.Tx, s Snapshot, a Answer, by auth.Person) error {
	v, err := table.Lock(ctx, tx, answerID(s))
	if fault.Of(err) == fault.Missing {
		v, err = record.Version{ID: answerID(s), Kind: KindAnswer}, nil
	}
	if err != nil {
		return err
	}
	v.At, v.By = a.At, by.ID
	return table.Put(ctx, tx, v, kept{a, s.Series, s.ID})
}

// kept is an answer as it stays on record.
type kept struct {
	Answer
	Series   string `json:"series"`
	Snapshot string `json:"snapshot"`
}

func answerID(s Snapshot) string { return "sa-" + s.Series + "-" + s.ID[:min(16, len(s.ID))] }

// since is the earliest moment that a snapshot's reasons are about.
func (s Snapshot) since() time.Time {
	at := s.Received
	for _, r := range s.Reasons {
		if t, err := time.Parse(time.RFC3339, r.Since); err == nil && t.Before(at) {
			at = t
		}
	}
	return at
}
