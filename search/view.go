package search

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
)

// LeafView is the type of the leaves that bind views in the ledger.
const LeafView = "event-view"

// What somebody did with events. Events hold personal data, so that looking at
// them is recorded.
const (
	Searched = "search" // asked a question
	Looked   = "events" // opened single events
	Entities = "entity" // opened the page of a host, user, address …
	Exported = "export" // took a file away
	Hinted   = "hint"   // was shown values of a field while typing
	Tested   = "test"   // tried a rule on the events of the past; Query is the rule
)

// Views of one kind are gathered for so long, so that a person who works does
// not fill the ledger.
const (
	sameSearch = 10 * time.Minute // the same question of the same person is one view
	openFor    = 5 * time.Minute  // single events that somebody opens one after the other
	openMost   = 100              // or so many of them
)

// View is the record that somebody looked at events. The ledger holds its
// digest; the salt keeps that from being guessed.
type View struct {
	ID     string    `json:"id"`
	Person string    `json:"person"`
	What   string    `json:"what"`
	Query  string    `json:"query,omitempty"`
	Span   string    `json:"span,omitempty"`
	Sites  []string  `json:"sites,omitempty"` // whose events could be seen; none: all
	Format string    `json:"format,omitempty"`
	Events []string  `json:"events,omitempty"` // ids of those that were opened
	At     time.Time `json:"at"`               // of the first
	Salt   string    `json:"salt"`
}

// Question is a search as it is recorded.
type Question struct {
	What   string // Searched, Entities, Exported, Hinted or Tested
	Query  string
	Span   string // as in Saved, or "after …" for a later part
	Format string // of an export
}

// Asked records that a person asks a question, before it is answered, and puts
// a search into their history. The same question again within ten minutes is
// one record; an export is always one.
//
// Invalid "searchpage.query-long" for what is no query whatever it says: too
// long, or no text.
func (d *Desk) Asked(ctx context.Context, q Question, by auth.Person) error {
	if !storable(q.Query) || !storable(q.Span) {
		return fault.New(fault.Invalid, "searchpage.query-long", MaxQuery)
	}
	at := d.moment()
	v := View{ID: clock.ID("vi", at), Person: by.ID, What: q.What, Query: q.Query, Span: q.Span, Sites: Sites(by), Format: q.Format, At: at, Salt: leaf.Salt()}
	if q.What != Exported {
		v.ID = sameID(by.ID, at.Truncate(sameSearch), q.What, q.Query, q.Span)
	}
	err := d.db.Tx(ctx, func(tx *state.Tx) error {
		if q.What == Searched {
			if err := remember(ctx, tx, by.ID, q.Query, q.Span, at); err != nil {
				return err
			}
		}
		res, err := tx.ExecContext(ctx, `INSERT INTO search_view (id, person, what, closed, at, body) VALUES ($1, $2, $3, 1, $4, $5) ON CONFLICT (id) DO NOTHING`,
			v.ID, v.Person, v.What, state.Nanos(at), state.JSON(v))
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return err
		}
		return emit(ctx, tx, v)
	})
	if err != nil {
		return fmt.Errorf("record a search: %w", err)
	}
	return nil
}

// sameID is the id of a view that is recorded once in a span of time.
func sameID(person string, from time.Time, parts ...string) string {
	sum := sha256.Sum256([]byte(state.JSON(append([]string{person}, parts...))))
	return fmt.Sprintf("vi-%012x-%s", from.UnixMilli(), hex.EncodeToString(sum[:8]))
}

func emit(ctx context.Context, tx *state.Tx, v View) error {
	l, err := v.leaf()
	if err != nil {
		return err
	}
	return tx.Emit(ctx, "record."+LeafView, LeafView+":"+v.ID, l)
}

func (v View) leaf() (leaf.Leaf, error) { return leaf.Of(LeafView, v.ID, v.At, v) }

// Opened records that a person opens a single event, before it is shown. Those
// that follow within five minutes belong to the same record; Run closes it.
func (d *Desk) Opened(ctx context.Context, event string, by auth.Person) error {
	if event == "" || len(event) > 200 {
		return fault.New(fault.Missing, "searchpage.no-event")
	}
	at := d.moment()
	err := d.db.Tx(ctx, func(tx *state.Tx) error {
		v, found, err := d.open(ctx, tx, by.ID)
		if err != nil {
			return err
		}
		if found && (at.Sub(v.At) >= openFor || len(v.Events) >= openMost) {
			if err := closeView(ctx, tx, v); err != nil {
				return err
			}
			found = false
		}
		if !found {
			v = View{ID: clock.ID("vi", at), Person: by.ID, What: Looked, Sites: Sites(by), Events: []string{event}, At: at, Salt: leaf.Salt()}
			_, err := tx.ExecContext(ctx, `INSERT INTO search_view (id, person, what, closed, at, body) VALUES ($1, $2, $3, 0, $4, $5)`,
				v.ID, v.Person, v.What, state.Nanos(at), state.JSON(v))
			return err
		}
		if slices.Contains(v.Events, event) {
			return nil
		}
		v.Events = append(v.Events, event)
		_, err = tx.ExecContext(ctx, `UPDATE search_view SET body = $2 WHERE id = $1`, v.ID, state.JSON(v))
		return err
	})
	if err != nil {
		return fmt.Errorf("record that an event is opened: %w", err)
	}
	return nil
}

// open returns the record of opened events that still grows.
func (d *Desk) open(ctx context.Context, tx *state.Tx, person string) (View, bool, error) {
	list, err := openViews(ctx, tx, `AND person = $1 ORDER BY at DESC LIMIT 1`, person)
	if err != nil || len(list) == 0 {
		return View{}, false, err
	}
	return list[0], true, nil
}

func openViews(ctx context.Context, tx *state.Tx, more string, args ...any) ([]View, error) {
	rows, err := tx.QueryContext(ctx, `SELECT body FROM search_view WHERE closed = 0 `+more, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []View
	for rows.Next() {
		var body string
		var v View
		if err := rows.Scan(&body); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(body), &v); err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, rows.Err()
}

func closeView(ctx context.Context, tx *state.Tx, v View) error {
	if _, err := tx.ExecContext(ctx, `UPDATE search_view SET closed = 1 WHERE id = $1`, v.ID); err != nil {
		return err
	}
	return emit(ctx, tx, v)
}

// Close hands the records of opened events that are old enough to the ledger.
func (d *Desk) Close(ctx context.Context) error {
	err := d.db.Tx(ctx, func(tx *state.Tx) error {
		list, err := openViews(ctx, tx, `AND at <= $1 ORDER BY at LIMIT 500`, state.Nanos(d.moment().Add(-openFor)))
		if err != nil {
			return err
		}
		for _, v := range list {
			if err := closeView(ctx, tx, v); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("close views: %w", err)
	}
	return nil
}

// Run closes records until ctx ends. Several processes may do it at once.
func (d *Desk) Run(ctx context.Context) error {
	t := time.NewTicker(time.Minute)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			if err := d.Close(ctx); err != nil && ctx.Err() == nil {
				d.log.Error("records of opened events stay open", "err", err)
			}
		}
	}
}
