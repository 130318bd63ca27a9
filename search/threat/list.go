package threat

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/detect/ioc"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/rows"
)

// Terms are what somebody says of a draft that is put into force.
type Terms struct {
	Name       string
	Source     string
	Confidence int // 1–100
	Days       int // how long it holds, 1–400
	Back       int // how many days of the archive are searched, 0–400
}

func (t *Terms) check() error {
	t.Name, t.Source = strings.TrimSpace(t.Name), strings.TrimSpace(t.Source)
	switch {
	case t.Name == "" || len(t.Name) > maxName || t.Source == "" || len(t.Source) > maxName:
		return fault.New(fault.Invalid, "threat.name", maxName)
	case t.Confidence < 1 || t.Confidence > 100:
		return fault.New(fault.Invalid, "threat.confidence")
	case t.Days < 1 || t.Days > maxDays || t.Back < 0 || t.Back > maxDays:
		return fault.New(fault.Invalid, "threat.days", maxDays)
	}
	return nil
}

// Import puts a draft of one's own into force, and searches the archive for it.
func (d *Desk) Import(ctx context.Context, draft string, t Terms, by auth.Person) (List, error) {
	if err := t.check(); err != nil {
		return List{}, err
	}
	w, err := d.OpenDraft(ctx, draft, by)
	if err != nil {
		return List{}, err
	}
	if w.Count == 0 {
		return List{}, fault.New(fault.Invalid, "threat.empty")
	}
	at := d.moment()
	l := List{ID: clock.ID("tl", at), Name: t.Name, Source: t.Source, Format: w.Format, Confidence: t.Confidence, Until: at.AddDate(0, 0, t.Days).UTC(),
		Indicators: w.Count, Digest: w.Digest, MadeAt: at, MadeBy: by.ID}
	err = d.db.Tx(ctx, func(tx *state.Tx) error {
		list, err := scan(tx.QueryContext(ctx, present+`AND open = 1`))
		if err != nil {
			return err
		}
		total := l.Indicators
		for _, s := range list {
			total += s.Indicators
		}
		if len(list) >= maxLists || total > maxTotal {
			return fault.New(fault.Conflict, "threat.many", maxLists, maxTotal)
		}
		moved, err := tx.ExecContext(ctx, `UPDATE ioc_content SET id = $1, at = $2 WHERE id = $3`, l.ID, state.Nanos(at), w.ID)
		if err != nil {
			return err
		}
		if n, err := moved.RowsAffected(); err != nil || n != 1 {
			return fault.New(fault.Missing, "threat.no-draft").With(err)
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM ioc_draft WHERE id = $1`, w.ID); err != nil {
			return err
		}
		return write(ctx, tx, step{List: l, No: 1})
	})
	if err != nil {
		return List{}, fmt.Errorf("put a threat list into force: %w", err)
	}
	if t.Back > 0 {
		if err := d.Search(ctx, l.ID, t.Back, by); err != nil {
			d.log.Error("the archive is not searched for a new threat list", "list", l.ID, "err", err)
		}
	}
	return l, nil
}

// End takes a list out of force; a reason is needed.
func (d *Desk) End(ctx context.Context, id, reason string, by auth.Person) error {
	if reason = strings.TrimSpace(reason); reason == "" || len(reason) > maxReason {
		return fault.New(fault.Invalid, "rule.reason")
	}
	err := d.db.Tx(ctx, func(tx *state.Tx) error {
		list, err := scan(tx.QueryContext(ctx, present+`AND id = $1`, id))
		if err != nil {
			return err
		}
		if len(list) == 0 || !list[0].EndedAt.IsZero() {
			return fault.New(fault.Missing, "threat.none")
		}
		s := list[0]
		s.No++
		s.EndedAt, s.EndedBy, s.Reason = d.moment(), by.ID, reason
		return write(ctx, tx, s)
	})
	if err != nil {
		return fmt.Errorf("take a threat list out of force: %w", err)
	}
	return nil
}

// step is one state of a list, as it was written. Rows are only added; the
// ledger holds the digest of each, and the salt keeps that from being guessed.
type step struct {
	List
	No   int    `json:"no"` // from 1 for each list
	Salt string `json:"salt"`
}

func (s step) leaf() (leaf.Leaf, error) {
	at := s.MadeAt
	if !s.EndedAt.IsZero() {
		at = s.EndedAt
	}
	return leaf.Of(LeafList, fmt.Sprintf("%s/%d", s.ID, s.No), at, s)
}

func (s step) open() int64 {
	if s.EndedAt.IsZero() {
		return 1
	}
	return 0
}

func write(ctx context.Context, tx *state.Tx, s step) error {
	s.Salt = leaf.Salt()
	_, err := tx.ExecContext(ctx, `INSERT INTO ioc_list (id, no, open, made_at, body) VALUES ($1, $2, $3, $4, $5)`, s.ID, s.No, s.open(), state.Nanos(s.MadeAt), state.JSON(s))
	if err != nil {
		return err
	}
	l, err := s.leaf()
	if err != nil {
		return err
	}
	if err := tx.Emit(ctx, "record."+LeafList, LeafList+":"+l.Ref, l); err != nil {
		return err
	}
	return tx.Emit(ctx, "rule.lists", LeafList+":"+l.Ref, Changed{List: s.ID})
}

// present selects the present state of every list.
const present = `SELECT body FROM ioc_list r WHERE no = (SELECT max(no) FROM ioc_list WHERE id = r.id) `

func scan(found *sql.Rows, err error) (list []step, _ error) {
	if err != nil {
		return nil, err
	}
	defer found.Close()
	for found.Next() {
		var body string
		var s step
		if err := found.Scan(&body); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(body), &s); err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, found.Err()
}

// VerifyRows compares the lists with the leaves of the type "threat-list", and
// what they hold with the digest in them. It writes nothing.
func VerifyRows(ctx context.Context, db *state.DB, leaves func(kind string) []leaf.Leaf) ([]rows.Difference, error) {
	found, err := rows.Verify(ctx, db, rows.Table{Type: LeafList, Query: `SELECT body, id, no, open, made_at FROM ioc_list`, Leaf: listLeaf}, leaves)
	if err != nil {
		return nil, err
	}
	list, err := scan(db.Query(ctx, present))
	if err != nil {
		return append(found, rows.Difference{Kind: rows.Unreadable, Ref: LeafList, Detail: err.Error()}), nil
	}
	for _, s := range list {
		if _, err := content(ctx, db, s.List); err != nil {
			found = append(found, rows.Difference{Kind: rows.Changed, Ref: s.ID, Detail: err.Error()})
		}
	}
	return found, nil
}

func listLeaf(columns []any) (leaf.Leaf, error) {
	var s step
	unusable := leaf.Leaf{Ref: fmt.Sprintf("%v/%v", columns[1], columns[2])}
	if err := rows.Body(columns[0], &s); err != nil {
		return unusable, err
	}
	if err := rows.Repeat(columns[1:], s.ID, int64(s.No), s.open(), state.Nanos(s.MadeAt)); err != nil {
		return unusable, err
	}
	return s.leaf()
}

// content returns what a list holds.
func content(ctx context.Context, db *state.DB, l List) ([]ioc.Indicator, error) {
	var body string
	if err := db.QueryRow(ctx, `SELECT body FROM ioc_content WHERE id = $1`, l.ID).Scan(&body); err != nil {
		return nil, fmt.Errorf("what threat list %s holds: %w", l.ID, err)
	}
	return unpack(body, l.Digest)
}

// Reload puts the present lists into force. A list that cannot be read leaves
// the others alone.
func (d *Desk) Reload(ctx context.Context) error {
	d.load.Lock()
	defer d.load.Unlock()
	list, err := scan(d.db.Query(ctx, present+`AND open = 1 ORDER BY made_at, id`))
	if err != nil {
		return fmt.Errorf("load threat lists: %w", err)
	}
	var all []ioc.List
	for _, s := range list {
		if s.State(d.now()) != InForce {
			continue
		}
		held, err := content(ctx, d.db, s.List)
		if err != nil {
			d.log.Error("threat list is not in force", "list", s.ID, "err", err)
			continue
		}
		all = append(all, ioc.List{ID: s.ID, Name: s.Name, Source: s.Source, Confidence: s.Confidence, Until: s.Until, Indicators: held})
	}
	if err := d.Note(ctx); err != nil {
		d.log.Error("hits of threat lists are not written down", "err", err)
	}
	set := ioc.NewSet(all)
	d.engine.SetLists(set)
	d.log.Info("threat lists loaded", "lists", len(all), "indicators", set.Len())
	return nil
}

// Note writes down what was counted since the last time.
func (d *Desk) Note(ctx context.Context) error {
	hits := d.engine.Lists().Take()
	if len(hits) == 0 {
		return nil
	}
	err := d.db.Tx(ctx, func(tx *state.Tx) error {
		for k, c := range hits {
			_, err := tx.ExecContext(ctx, `INSERT INTO ioc_hit (list, kind, value, hits, last) VALUES ($1, $2, $3, $4, $5)
				ON CONFLICT (list, kind, value) DO UPDATE SET hits = ioc_hit.hits + excluded.hits,
				last = CASE WHEN excluded.last > ioc_hit.last THEN excluded.last ELSE ioc_hit.last END`, k.List, string(k.Kind), k.Value, c.Hits, state.Nanos(c.Last))
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("note hits of threat lists: %w", err)
	}
	return nil
}

// Named is an indicator that events named.
type Named struct {
	Kind  ioc.Kind  `json:"kind"`
	Value string    `json:"value"`
	Hits  int64     `json:"hits"`
	Last  time.Time `json:"last"`
}

// Shown is a list as people see it.
type Shown struct {
	List
	Hits int64
	Last time.Time // zero: none
	Top  []Named   // those that were named most, at most topNamed
	Back *BackSearch
}

const topNamed = 20

// Lists returns all lists, the newest first.
func (d *Desk) Lists(ctx context.Context) ([]Shown, error) {
	list, err := scan(d.db.Query(ctx, present+`ORDER BY made_at DESC, id`))
	if err != nil {
		return nil, fmt.Errorf("list threat lists: %w", err)
	}
	out := make([]Shown, len(list))
	at := map[string]*Shown{}
	for i, s := range list {
		out[i].List = s.List
		at[s.ID] = &out[i]
	}
	if err := d.hits(ctx, at); err != nil {
		return nil, err
	}
	return out, d.searches(ctx, at)
}

func (d *Desk) hits(ctx context.Context, at map[string]*Shown) error {
	found, err := d.db.Query(ctx, `SELECT list, kind, value, hits, last FROM ioc_hit ORDER BY hits DESC, value`)
	if err != nil {
		return fmt.Errorf("hits of threat lists: %w", err)
	}
	defer found.Close()
	for found.Next() {
		var list string
		var n Named
		var last int64
		if err := found.Scan(&list, &n.Kind, &n.Value, &n.Hits, &last); err != nil {
			return fmt.Errorf("hits of threat lists: %w", err)
		}
		n.Last = state.Time(last)
		s := at[list]
		if s == nil {
			continue
		}
		s.Hits += n.Hits
		if n.Last.After(s.Last) {
			s.Last = n.Last
		}
		if len(s.Top) < topNamed {
			s.Top = append(s.Top, n)
		}
	}
	return found.Err()
}
