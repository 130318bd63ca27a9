package search

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing/fstest"
	"time"

	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/rows"
)

// LeafRule is the type of the leaves that bind rules which people made: one
// when a rule is enabled and one when it is disabled.
const LeafRule = "rule"

// RulesChanged is told on the bus under "rule.changed": the engines must load
// the rules anew.
type RulesChanged struct{ Rule string }

// maxRule bounds the text of a rule in bytes, maxWatching how many watch.
const (
	maxRule     = 64 << 10
	maxWatching = 500
)

// Events is what a Rulebook asks for back-tests.
type Events interface {
	Events(ctx context.Context, s archive.Search, each func(event.Event) error) error
}

// Shelves is where rules that nobody made here come from.
type Shelves struct {
	Own   fs.FS  // those that come with Sonae
	Packs fs.FS  // those that people put into a folder, as files or packs; it need not be there
	Cache string // file that keeps what was read of rules, so that a start is quick; "" for none
}

// Rulebook keeps the rules in force: those that come with Sonae, those of
// packs, those that people make of searches, and what people change about any
// of them. It is safe for concurrent use.
type Rulebook struct {
	db      *state.DB
	events  Events
	engine  *detect.Switch
	shelves Shelves
	now     clock.Now
	log     *slog.Logger
	trials  *trials
	kept    int // events that a back-test may keep

	load     sync.Mutex // one at a time loads rules
	print    string     // of the packs when they were loaded
	trouble  atomic.Pointer[string]
	loadedAt atomic.Pointer[time.Time]
}

// NewRulebook makes a Rulebook on an open state, which puts the rules into
// force in engine. Nothing is loaded before Reload.
func NewRulebook(db *state.DB, events Events, engine *detect.Switch, shelves Shelves, now clock.Now, log *slog.Logger) *Rulebook {
	return &Rulebook{db: db, events: events, engine: engine, shelves: shelves, now: now, log: log, trials: newTrials(), kept: testKept}
}

// Enable makes a rule watch from now on. The same id again replaces a rule that
// was disabled; Conflict while it watches.
func (b *Rulebook) Enable(ctx context.Context, text string, by auth.Person) (Rule, error) {
	if len(text) > maxRule {
		return Rule{}, fault.New(fault.Invalid, "rule.long", maxRule>>10)
	}
	read, err := b.readRule(text)
	if err != nil {
		return Rule{}, err
	}
	for _, id := range read.ids {
		if have, ok := b.engine.Load().Info(id); id == "" || ok && (id != read.id || originOf(have) != Made) {
			return Rule{}, fault.New(fault.Conflict, "rule.taken", id)
		}
	}
	r := Rule{ID: read.id, Title: read.title, YAML: text, Severity: read.level, EnabledAt: b.moment(), EnabledBy: by.ID}
	err = b.db.Tx(ctx, func(tx *state.Tx) error {
		list, err := scanRules(tx.QueryContext(ctx, newest))
		if err != nil {
			return err
		}
		watching, no := 0, 0
		for _, c := range list {
			if c.Watches() {
				watching++
			}
			if c.ID != r.ID {
				continue
			}
			if no = c.No; c.Watches() {
				return fault.New(fault.Conflict, "rule.taken", r.ID)
			}
		}
		if watching >= maxWatching {
			return fault.New(fault.Conflict, "rule.many", maxWatching)
		}
		return write(ctx, tx, change{Rule: r, No: no + 1})
	})
	if err != nil {
		return Rule{}, fmt.Errorf("enable rule: %w", err)
	}
	return r, nil
}

func (b *Rulebook) moment() time.Time { return state.Time(state.Nanos(b.now())) }

// Disable ends a rule; a reason is needed.
func (b *Rulebook) Disable(ctx context.Context, id, reason string, by auth.Person) error {
	if reason = strings.TrimSpace(reason); reason == "" || len(reason) > maxReason {
		return fault.New(fault.Invalid, "rule.reason")
	}
	err := b.db.Tx(ctx, func(tx *state.Tx) error {
		list, err := scanRules(tx.QueryContext(ctx, newest+`AND id = $1`, id))
		if err != nil {
			return err
		}
		if len(list) == 0 || !list[0].Watches() {
			return fault.New(fault.Missing, "rule.none", id)
		}
		c := list[0]
		c.No++
		c.DisabledAt, c.DisabledBy, c.Reason = b.moment(), by.ID, reason
		return write(ctx, tx, c)
	})
	if err != nil {
		return fmt.Errorf("disable rule: %w", err)
	}
	return nil
}

const maxReason = 2000

// Rules lists all that were enabled, the newest first.
func (b *Rulebook) Rules(ctx context.Context) ([]Rule, error) {
	list, err := scanRules(b.db.Query(ctx, newest+`ORDER BY enabled_at DESC, id`))
	if err != nil {
		return nil, fmt.Errorf("list rules: %w", err)
	}
	out := make([]Rule, len(list))
	for i, c := range list {
		out[i] = c.Rule
	}
	return out, nil
}

// FS holds the rules that watch as files, for detect.Load.
func (b *Rulebook) FS(ctx context.Context) (fs.FS, error) {
	list, err := scanRules(b.db.Query(ctx, newest+`AND watches = 1 ORDER BY enabled_at, id`))
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	files := fstest.MapFS{}
	for i, c := range list {
		files[fmt.Sprintf("own/%06d.yml", i)] = &fstest.MapFile{Data: []byte(c.YAML)}
	}
	return files, nil
}

// change is one state of a rule, as it was written. Rows are only added; the
// ledger holds the digest of each, and the salt keeps that from being guessed.
type change struct {
	Rule
	No   int    `json:"no"` // from 1 for each rule
	Salt string `json:"salt"`
}

// leaf binds the state of a rule: the text and who enabled or disabled it.
func (c change) leaf() (leaf.Leaf, error) {
	at := c.EnabledAt
	if !c.Watches() {
		at = c.DisabledAt
	}
	return leaf.Of(LeafRule, fmt.Sprintf("%s/%d", c.ID, c.No), at, c)
}

func (c change) watches() int64 {
	if c.Watches() {
		return 1
	}
	return 0
}

// write adds a state of a rule and tells of it.
func write(ctx context.Context, tx *state.Tx, c change) error {
	c.Salt = leaf.Salt()
	_, err := tx.ExecContext(ctx, `INSERT INTO search_rule (id, no, watches, enabled_at, body) VALUES ($1, $2, $3, $4, $5)`,
		c.ID, c.No, c.watches(), state.Nanos(c.EnabledAt), state.JSON(c))
	if err != nil {
		return err
	}
	l, err := c.leaf()
	if err != nil {
		return err
	}
	if err := tx.Emit(ctx, "record."+LeafRule, LeafRule+":"+l.Ref, l); err != nil {
		return err
	}
	return tx.Emit(ctx, "rule.changed", "rule:"+l.Ref, RulesChanged{Rule: c.ID})
}

// newest selects the present state of every rule.
const newest = `SELECT body FROM search_rule r WHERE no = (SELECT max(no) FROM search_rule WHERE id = r.id) `

func scanRules(found *sql.Rows, err error) (list []change, _ error) {
	if err != nil {
		return nil, err
	}
	defer found.Close()
	for found.Next() {
		var body string
		var c change
		if err := found.Scan(&body); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(body), &c); err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, found.Err()
}

func ruleLeaf(columns []any) (leaf.Leaf, error) {
	var c change
	unusable := leaf.Leaf{Ref: fmt.Sprintf("%v/%v", columns[1], columns[2])}
	if err := rows.Body(columns[0], &c); err != nil {
		return unusable, err
	}
	if err := rows.Repeat(columns[1:], c.ID, int64(c.No), c.watches(), state.Nanos(c.EnabledAt)); err != nil {
		return unusable, err
	}
	return c.leaf()
}
