package alert

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
)

// stored is an alert with what only the Desk needs.
type stored struct {
	Alert
	ackedName     string
	newest        []eventAt
	version, told int64
	toldAt        time.Time
}

// eventAt names an event; the time keeps the newest.
type eventAt struct {
	ID string    `json:"id"`
	At time.Time `json:"at"`
}

// querier is a transaction or the read side of the state.
type querier interface {
	query(ctx context.Context, text string, args ...any) (*sql.Rows, error)
}

type readTx struct{ *state.Tx }

func (r readTx) query(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	return r.QueryContext(ctx, text, args...)
}

type readDB struct{ *state.DB }

func (r readDB) query(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	return r.Query(ctx, text, args...)
}

const columns = `id, rule_json, severity, site, host, drill, state, count, first_at, last_at, raised_at, sent, received, events,
	acked_by, acked_name, acked_at, closed_by, closed_at, reason, incident, version, told, told_at`

func scan(rows *sql.Rows) (stored, error) {
	var a stored
	var rule, events string
	var drill int
	var first, last, raised, acked, closed, told int64
	err := rows.Scan(&a.ID, &rule, &a.Severity, &a.Site, &a.Host, &drill, &a.State, &a.Count, &first, &last, &raised, &a.Sent, &a.Received, &events,
		&a.AckedBy, &a.ackedName, &acked, &a.ClosedBy, &closed, &a.Reason, &a.Incident, &a.version, &a.told, &told)
	if err != nil {
		return a, fmt.Errorf("read alert: %w", err)
	}
	a.Drill = drill != 0
	a.First, a.Last, a.RaisedAt = state.Time(first), state.Time(last), state.Time(raised)
	a.AckedAt, a.ClosedAt, a.toldAt = state.Time(acked), state.Time(closed), state.Time(told)
	if err := json.Unmarshal([]byte(rule), &a.Rule); err != nil {
		return a, fmt.Errorf("read rule of alert %s: %w", a.ID, err)
	}
	if err := json.Unmarshal([]byte(events), &a.newest); err != nil {
		return a, fmt.Errorf("read events of alert %s: %w", a.ID, err)
	}
	return a, nil
}

func selectAlerts(ctx context.Context, q querier, where string, args ...any) ([]stored, error) {
	rows, err := q.query(ctx, `SELECT `+columns+` FROM alert `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("select alerts: %w", err)
	}
	defer rows.Close()
	var out []stored
	for rows.Next() {
		a, err := scan(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, rows.Err()
}

func load(ctx context.Context, tx *state.Tx, id string) (stored, error) {
	all, err := selectAlerts(ctx, readTx{tx}, `WHERE id = $1`, id)
	if err != nil {
		return stored{}, err
	}
	if len(all) == 0 {
		return stored{}, fault.New(fault.Missing, "alert.missing")
	}
	return all[0], nil
}

func loadLive(ctx context.Context, tx *state.Tx, f detect.Finding) (stored, bool, error) {
	all, err := selectAlerts(ctx, readTx{tx}, `WHERE rule = $1 AND site = $2 AND host = $3 AND drill = $4 AND state <> 'closed'`,
		f.Rule.ID, f.Site, f.Host, flag(f.Drill))
	if err != nil || len(all) == 0 {
		return stored{}, false, err
	}
	return all[0], true, nil
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

// save writes an alert whole.
func save(ctx context.Context, tx *state.Tx, a stored) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO alert (rule, `+columns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25)
		ON CONFLICT (id) DO UPDATE SET severity = excluded.severity, state = excluded.state, count = excluded.count,
			first_at = excluded.first_at, last_at = excluded.last_at, sent = excluded.sent, received = excluded.received, events = excluded.events,
			acked_by = excluded.acked_by, acked_name = excluded.acked_name, acked_at = excluded.acked_at, closed_by = excluded.closed_by,
			closed_at = excluded.closed_at, reason = excluded.reason, incident = excluded.incident, version = excluded.version,
			told = excluded.told, told_at = excluded.told_at`,
		a.Rule.ID, a.ID, state.JSON(a.Rule), int(a.Severity), a.Site, a.Host, flag(a.Drill), string(a.State), a.Count,
		state.Nanos(a.First), state.Nanos(a.Last), state.Nanos(a.RaisedAt), a.Sent, a.Received, state.JSON(a.newest),
		a.AckedBy, a.ackedName, state.Nanos(a.AckedAt), a.ClosedBy, state.Nanos(a.ClosedAt), a.Reason, a.Incident, a.version, a.told, state.Nanos(a.toldAt))
	if err != nil {
		return fmt.Errorf("save alert %s: %w", a.ID, err)
	}
	return nil
}

func loadFlow(ctx context.Context, tx *state.Tx, alert, flow string) (Peer, bool, error) {
	var p Peer
	var first, last int64
	err := tx.QueryRowContext(ctx, `SELECT address, protocol, verdict, confidence, sent, received, first_at, last_at
		FROM alert_flow WHERE alert = $1 AND flow = $2`, alert, flow).
		Scan(&p.Address, &p.Protocol, &p.Verdict, &p.Confidence, &p.Sent, &p.Received, &first, &last)
	if errors.Is(err, sql.ErrNoRows) {
		return Peer{}, false, nil
	}
	if err != nil {
		return Peer{}, false, fmt.Errorf("read connection: %w", err)
	}
	p.First, p.Last = state.Time(first), state.Time(last)
	return p, true, nil
}

// countedBefore returns what earlier alerts of the same rule and host counted
// of a connection that lives on after they were closed.
func countedBefore(ctx context.Context, tx *state.Tx, a Alert, flow string) (Peer, error) {
	var p Peer
	err := tx.QueryRowContext(ctx, `SELECT COALESCE(MAX(f.sent), 0), COALESCE(MAX(f.received), 0) FROM alert_flow f JOIN alert b ON b.id = f.alert
		WHERE f.flow = $1 AND f.alert <> $2 AND b.rule = $3 AND b.site = $4 AND b.host = $5 AND b.drill = $6`,
		flow, a.ID, a.Rule.ID, a.Site, a.Host, flag(a.Drill)).Scan(&p.Sent, &p.Received)
	if err != nil {
		return p, fmt.Errorf("what earlier alerts counted: %w", err)
	}
	return p, nil
}

// saveFlow stores the counters of a connection; before is what earlier alerts
// counted of it, and is kept from the first time.
func saveFlow(ctx context.Context, tx *state.Tx, alert, flow string, p, before Peer) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO alert_flow (alert, flow, address, protocol, verdict, confidence, sent, received, first_at, last_at, ip, sent_before, received_before)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
		ON CONFLICT (alert, flow) DO UPDATE SET verdict = excluded.verdict, confidence = excluded.confidence,
			sent = excluded.sent, received = excluded.received, first_at = excluded.first_at, last_at = excluded.last_at`,
		alert, flow, p.Address, p.Protocol, p.Verdict, p.Confidence, p.Sent, p.Received, state.Nanos(p.First), state.Nanos(p.Last), p.ip(), before.Sent, before.Received)
	if err != nil {
		return fmt.Errorf("save connection: %w", err)
	}
	return nil
}

func saveProcess(ctx context.Context, tx *state.Tx, alert string, p Process, at time.Time) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO alert_process (alert, pid, image, command, person, last_at) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (alert, pid, image, command, person) DO UPDATE SET
			last_at = CASE WHEN excluded.last_at > alert_process.last_at THEN excluded.last_at ELSE alert_process.last_at END`,
		alert, p.PID, p.Image, p.Command, p.User, state.Nanos(at))
	if err != nil {
		return fmt.Errorf("save process: %w", err)
	}
	return nil
}

// Get returns one alert.
func (d *Desk) Get(ctx context.Context, id string) (Alert, error) {
	all, err := selectAlerts(ctx, readDB{d.db}, `WHERE id = $1`, id)
	if err != nil {
		return Alert{}, fmt.Errorf("get alert %s: %w", id, err)
	}
	if len(all) == 0 {
		return Alert{}, fmt.Errorf("get alert %s: %w", id, fault.New(fault.Missing, "alert.missing"))
	}
	return d.whole(ctx, all[0])
}

// List returns the alerts that f selects, the most recent first, and how many
// there are in all.
func (d *Desk) List(ctx context.Context, f Filter) ([]Alert, int, error) {
	if f.none {
		return nil, 0, nil
	}
	where, args := f.where()
	var n int
	if err := d.db.QueryRow(ctx, `SELECT COUNT(*) FROM alert `+where, args...).Scan(&n); err != nil {
		return nil, 0, fmt.Errorf("count alerts: %w", err)
	}
	limit := min(max(f.Limit, 0), 200)
	if limit == 0 {
		limit = 50
	}
	all, err := selectAlerts(ctx, readDB{d.db}, fmt.Sprintf(`%s ORDER BY last_at DESC, id DESC LIMIT %d OFFSET %d`, where, limit, max(f.Offset, 0)), args...)
	if err != nil {
		return nil, 0, fmt.Errorf("list alerts: %w", err)
	}
	out, err := complete(ctx, readDB{d.db}, all...)
	return out, n, err
}

// where writes the filter as SQL.
func (f Filter) where() (string, []any) {
	var parts []string
	var args []any
	is := func(column, value string) {
		if value != "" {
			args = append(args, value)
			parts = append(parts, fmt.Sprintf("%s = $%d", column, len(args)))
		}
	}
	is("state", string(f.State))
	is("site", f.Site)
	is("host", f.Host)
	is("incident", f.Incident)
	is("rule", f.Rule)
	if f.Loose {
		parts = append(parts, `incident = '' AND state <> 'closed'`)
	}
	if len(f.Hosts) > 0 {
		var places []string
		for _, h := range f.Hosts {
			args = append(args, h)
			places = append(places, fmt.Sprintf("$%d", len(args)))
		}
		parts = append(parts, "host IN ("+strings.Join(places, ", ")+")")
	}
	if text := strings.TrimSpace(f.Text); text != "" {
		escaped := strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(strings.ToLower(text))
		args = append(args, "%"+escaped+"%")
		like := fmt.Sprintf(`LIKE $%d ESCAPE '\'`, len(args))
		parts = append(parts, `(LOWER(rule_json) `+like+` OR LOWER(host) `+like+` OR LOWER(site) `+like+
			` OR EXISTS (SELECT 1 FROM alert_flow w WHERE w.alert = alert.id AND LOWER(w.address) `+like+`)`+
			` OR EXISTS (SELECT 1 FROM alert_process p WHERE p.alert = alert.id AND (LOWER(p.image) `+like+` OR LOWER(p.person) `+like+`)))`)
	}
	if len(parts) == 0 {
		return "", nil
	}
	return "WHERE " + strings.Join(parts, " AND "), args
}

func (d *Desk) untold(ctx context.Context, before time.Time) ([]string, error) {
	rows, err := d.db.Query(ctx, `SELECT id FROM alert WHERE told < version AND told_at <= $1 ORDER BY told_at LIMIT 100`, state.Nanos(before))
	if err != nil {
		return nil, fmt.Errorf("find held-back updates: %w", err)
	}
	defer rows.Close()
	var ids []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("find held-back updates: %w", err)
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

func (d *Desk) whole(ctx context.Context, a stored) (Alert, error) {
	all, err := complete(ctx, readDB{d.db}, a)
	if err != nil {
		return Alert{}, err
	}
	return all[0], nil
}

// Rules are the rules of all alerts that f selects, each once, sorted by id.
func (d *Desk) Rules(ctx context.Context, f Filter) ([]detect.Rule, error) {
	if f.none {
		return nil, nil
	}
	where, args := f.where()
	rows, err := d.db.Query(ctx, `SELECT MIN(rule_json) FROM alert `+where+` GROUP BY rule ORDER BY rule`, args...)
	if err != nil {
		return nil, fmt.Errorf("rules of alerts: %w", err)
	}
	defer rows.Close()
	var out []detect.Rule
	for rows.Next() {
		var text string
		var r detect.Rule
		if err := rows.Scan(&text); err != nil {
			return nil, fmt.Errorf("rules of alerts: %w", err)
		}
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			return nil, fmt.Errorf("rules of alerts: %w", err)
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

// Changes returns who changed what, oldest first.
func (d *Desk) Changes(ctx context.Context, id string) ([]Change, error) {
	rows, err := d.db.Query(ctx, `SELECT body FROM alert_change WHERE alert = $1 ORDER BY no`, id)
	if err != nil {
		return nil, fmt.Errorf("changes of alert %s: %w", id, err)
	}
	defer rows.Close()
	var out []Change
	for rows.Next() {
		var body string
		var c Change
		if err := rows.Scan(&body); err != nil {
			return nil, fmt.Errorf("changes of alert %s: %w", id, err)
		}
		if err := json.Unmarshal([]byte(body), &c); err != nil {
			return nil, fmt.Errorf("changes of alert %s: %w", id, err)
		}
		out = append(out, c)
	}
	return out, rows.Err()
}
