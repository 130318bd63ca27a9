package sheet

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/incident/record"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/state"
)

// Hand is how a person says that a system stands at a site. It is shown beside
// what Sonae derives, and counts more: not every system has an agent, and a
// person who stands beside it knows better.
type Hand struct {
	System string    `json:"system"` // as the register calls it, or one that the register does not have
	Site   string    `json:"site"`   // id
	State  State     `json:"state"`  // empty: not set by hand any more
	Why    string    `json:"why"`
	At     time.Time `json:"at"`
	By     string    `json:"by"` // person id
}

// NewHand is what a person says; State empty takes back what was set.
type NewHand struct {
	System string // at most 60 characters
	Site   string
	State  State
	Why    string // at most 200 characters; needed to set a state
}

// Bounds of what people set.
const (
	longestSystem = 60
	longestWhy    = 200
	mostHands     = 200 // in one incident
)

var handTable = record.Table{Name: "sheet_hand", Type: "sheet-hand"}

const kindHand = "state"

// Room is what Hands need of the incident room.
type Room interface {
	Incidents
	Enter(ctx context.Context, tx *state.Tx, id string, f incident.Form, by auth.Person) (incident.Entry, error)
}

// Sites is what Hands need of the register.
type Sites interface {
	Sites(ctx context.Context) ([]asset.Site, error)
}

// Hands keeps what people set by hand. It is safe for concurrent use.
type Hands struct {
	db    *state.DB
	room  Room
	sites Sites
	now   clock.Now
	log   *slog.Logger
}

// NewHands makes Hands on an open state.
func NewHands(db *state.DB, room Room, sites Sites, now clock.Now, log *slog.Logger) *Hands {
	return &Hands{db: db, room: room, sites: sites, now: now, log: log.With("part", "sheet")}
}

// States returns what is set by hand in an incident, the newest first.
func (h *Hands) States(ctx context.Context, in string) ([]Hand, error) {
	all, err := handTable.Newest(ctx, h.db, kindHand, in)
	if err != nil {
		return nil, err
	}
	out := []Hand{}
	for _, v := range all {
		var x Hand
		if err := json.Unmarshal(v.Body, &x); err != nil {
			return nil, fmt.Errorf("state set by hand %s: %w", v.ID, err)
		}
		if x.State != "" {
			out = append(out, x)
		}
	}
	slices.SortStableFunc(out, func(a, b Hand) int {
		return cmp.Or(b.At.Compare(a.At), strings.Compare(a.System, b.System), strings.Compare(a.Site, b.Site))
	})
	return out, nil
}

// SetState sets the state of a system at a site, or takes back what was set;
// either is a version on record and a line of the chronology, both or none.
//
// Errors: Invalid for an unknown state or site, without a system or a reason;
// Missing for an unknown incident; Conflict to take back what nobody set; Busy
// when the incident has very many.
func (h *Hands) SetState(ctx context.Context, in string, n NewHand, by auth.Person) error {
	i, err := h.room.Get(ctx, in)
	if err != nil {
		return fmt.Errorf("state by hand in %s: %w", in, err)
	}
	if n, err = n.clean(); err != nil {
		return err
	}
	if err := h.checkSite(ctx, i, n.Site); err != nil {
		return err
	}
	x := Hand{System: n.System, Site: n.Site, State: n.State, Why: n.Why, At: state.Time(state.Nanos(h.now())), By: by.ID}
	err = h.db.Tx(ctx, func(tx *state.Tx) error {
		if _, err := h.room.Enter(ctx, tx, in, x.line(), by); err != nil { // others wait here: the incident's row is locked
			return err
		}
		return h.put(ctx, tx, in, x)
	})
	if err != nil {
		return fmt.Errorf("state by hand in %s: %w", in, err)
	}
	h.log.Info("state set by hand", "incident", in, "state", string(n.State))
	return nil
}

func (n NewHand) clean() (NewHand, error) {
	var err error
	if n.System, err = incident.Clean("system", strings.Join(strings.Fields(n.System), " "), longestSystem); err != nil {
		return n, err
	}
	if n.Why, err = incident.Clean("why", strings.Join(strings.Fields(n.Why), " "), longestWhy); err != nil {
		return n, err
	}
	switch {
	case n.System == "":
		return n, fault.New(fault.Invalid, "sheet.hand-system")
	case n.State != "" && !slices.Contains(States(), n.State):
		return n, fault.New(fault.Invalid, "sheet.hand-state", string(n.State))
	case n.State != "" && n.Why == "":
		return n, fault.New(fault.Invalid, "sheet.hand-why")
	}
	return n, nil
}

// checkSite wants a site of the register, of practice for a drill.
func (h *Hands) checkSite(ctx context.Context, in incident.Incident, id string) error {
	all, err := h.sites.Sites(ctx)
	if err != nil {
		return fmt.Errorf("sites: %w", err)
	}
	if !slices.ContainsFunc(all, func(s asset.Site) bool { return s.ID == id && s.Drill == in.Drill }) {
		return fault.New(fault.Invalid, "sheet.hand-site", id)
	}
	return nil
}

// line is the line of the chronology.
func (x Hand) line() incident.Form {
	n := incident.Note{Key: "sheet.hand", Source: "report", OccurredAt: x.At, Args: map[string]string{"system": x.System, "site": x.Site, "why": x.Why}}
	if x.State == "" {
		n.Key = "sheet.hand-cleared"
	} else {
		n.Args["state_key"] = "sheet.is." + string(x.State)
	}
	return incident.Form{Note: n}
}

func (h *Hands) put(ctx context.Context, tx *state.Tx, in string, x Hand) error {
	id := handID(in, x.System, x.Site)
	v, err := handTable.Lock(ctx, tx, id)
	switch {
	case fault.Of(err) == fault.Missing:
		if err := room(ctx, tx, in); err != nil {
			return err
		}
		v = record.Version{ID: id, Kind: kindHand, Incident: in}
	case err != nil:
		return err
	}
	var was Hand
	if v.No > 0 {
		if err := json.Unmarshal(v.Body, &was); err != nil {
			return fmt.Errorf("state set by hand %s: %w", id, err)
		}
	}
	if x.State == "" && was.State == "" {
		return fault.New(fault.Conflict, "sheet.hand-none")
	}
	v.At, v.By = x.At, x.By
	return handTable.Put(ctx, tx, v, x)
}

// room refuses more states than anybody could look through.
func room(ctx context.Context, tx *state.Tx, in string) error {
	var n int
	if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM sheet_hand WHERE incident = $1 AND no = 1`, in).Scan(&n); err != nil {
		return err
	}
	if n >= mostHands {
		return fault.New(fault.Busy, "sheet.hand-many", mostHands)
	}
	return nil
}

// handID is the same for the same cell of the same incident, and tells nothing
// of it.
func handID(in, system, site string) string {
	sum := sha256.Sum256([]byte(in + "\x00" + site + "\x00" + system))
	return "sy-" + hex.EncodeToString(sum[:12])
}
