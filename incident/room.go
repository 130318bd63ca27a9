package incident

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
)

// Subjects on which the room tells others what happened.
const (
	SubjectOpened  = "incident.opened"  // OpenedMessage
	SubjectChanged = "incident.changed" // Incident
	SubjectEntry   = "incident.entry"   // Entry
)

// System is the id under which Sonae itself writes.
const System = "sonae"

// OpenedMessage is published when an incident was opened; whoever keeps the
// alerts links them to it.
type OpenedMessage struct {
	Incident Incident `json:"incident"`
	Alerts   []string `json:"alerts"`
}

// NewIncident is what is needed to open an incident.
type NewIncident struct {
	Title    string // at most 200 characters
	Severity event.Severity
	Alerts   []string  // alert ids; each may belong to one incident only
	Sites    []string  // site ids
	Hosts    []string  // host ids
	KnownAt  time.Time // zero: now
	Drill    bool
}

// Filter selects incidents. Zero fields select all.
type Filter struct {
	State  State
	Active bool   // all states but ended
	Site   string // incidents whose scope names this site
	Limit  int    // 50 when 0, at most 200
	Offset int
}

// Room keeps the incidents and their chronologies. It is safe for concurrent
// use.
type Room struct {
	db  *state.DB
	now clock.Now
	log *slog.Logger
}

// New makes a Room on an open state.
func New(db *state.DB, now clock.Now, log *slog.Logger) *Room {
	return &Room{db: db, now: now, log: log.With("part", "incident")}
}

// moment is now as it is stored: UTC, without the monotonic reading.
func (r *Room) moment() time.Time { return state.Time(state.Nanos(r.now())) }

// Open makes an incident. Whoever opens it commands it until somebody else
// takes over, because in the first minutes nobody looks for an empty field.
//
// Errors: Invalid for an unusable title or a known-at in the future; Conflict
// "incident.already-open" naming the incident that has one of the alerts.
func (r *Room) Open(ctx context.Context, n NewIncident, by auth.Person) (Incident, error) {
	now := r.moment()
	in, err := opening(n, now, by)
	if err != nil {
		return Incident{}, err
	}
	c := change{Incident: in, Alerts: sorted(n.Alerts), Version: 1, At: now}
	err = r.db.Tx(ctx, func(tx *state.Tx) error {
		if err := claimAlerts(ctx, tx, in.ID, c.Alerts); err != nil {
			return err
		}
		if err := insertIncident(ctx, tx, &c); err != nil {
			return err
		}
		for _, d := range openingEntries(c.Incident, by) {
			if _, err := write(ctx, tx, d, now); err != nil {
				return err
			}
			c.Incident.Entries++
		}
		return tx.Emit(ctx, SubjectOpened, SubjectOpened+":"+in.ID, OpenedMessage{Incident: c.Incident, Alerts: c.Alerts})
	})
	if err != nil {
		return Incident{}, fmt.Errorf("open incident: %w", err)
	}
	r.log.Info("incident opened", "incident", in.ID, "severity", in.Severity.String(), "drill", in.Drill)
	return c.Incident, nil
}

// Taken returns the incident that has an alert already, when that is why Open
// refused.
func Taken(err error) (incident string, ok bool) {
	var f *fault.Error
	if !errors.As(err, &f) || f.Key != "incident.already-open" || len(f.Args) < 2 {
		return "", false
	}
	incident, ok = f.Args[1].(string)
	return incident, ok
}

func opening(n NewIncident, now time.Time, by auth.Person) (Incident, error) {
	title, err := clean("title", strings.Join(strings.Fields(n.Title), " "), 200) // one line
	if err != nil {
		return Incident{}, err
	}
	if title == "" {
		return Incident{}, fault.New(fault.Invalid, "incident.title-missing")
	}
	if n.Severity < event.Info || n.Severity > event.Critical {
		return Incident{}, fault.New(fault.Invalid, "incident.severity-unknown")
	}
	known := state.Time(state.Nanos(n.KnownAt))
	if known.IsZero() {
		known = now
	}
	if err := notAhead(known, now); err != nil {
		return Incident{}, err
	}
	commander := by.ID
	if commander == System { // a program cannot command
		commander = ""
	}
	return Incident{
		ID: clock.ID("in", now), Title: title, State: Opened, Severity: n.Severity, Commander: commander,
		Scope: Scope{Sites: sorted(n.Sites), Hosts: sorted(n.Hosts)}, Drill: n.Drill,
		OpenedAt: now, OpenedBy: who(by), KnownAt: known,
	}, nil
}

func openingEntries(in Incident, by auth.Person) []draft {
	known := "opened"
	if in.Drill {
		known = "opened-drill"
	}
	all := []draft{{Incident: in.ID, OccurredAt: in.OpenedAt, Source: "person", Certainty: Fact, By: who(by), Key: "incident." + known,
		Args: map[string]string{"title": in.Title, "severity_key": "incident.severity." + in.Severity.String(), "known_at": stamp(in.KnownAt)}}}
	if in.Commander != "" {
		all = append(all, commandEntry(in, by))
	}
	return all
}

// Command makes person the commander. The person may be the one who asks.
func (r *Room) Command(ctx context.Context, id, person string, by auth.Person) error {
	return r.command(ctx, id, nil, person, by)
}

// HandOver makes the next person the commander, if the one who hands over still
// is it; else it is a Conflict.
func (r *Room) HandOver(ctx context.Context, id, from, to string, by auth.Person) error {
	return r.command(ctx, id, &from, to, by)
}

// command makes person the commander; from, where it is given, must be the
// present one.
func (r *Room) command(ctx context.Context, id string, from *string, person string, by auth.Person) error {
	person, err := clean("person", person, 100)
	if err != nil {
		return err
	}
	if person == "" || person == System {
		return fault.New(fault.Invalid, "incident.commander-missing")
	}
	return r.alter(ctx, "command", id, func(in *Incident, now time.Time) (draft, error) {
		if from != nil && in.Commander != *from {
			return draft{}, fault.New(fault.Conflict, "incident.other-commands")
		}
		if in.Commander == person {
			return draft{}, fault.New(fault.Conflict, "incident.already-commands")
		}
		in.Commander = person
		d := commandEntry(*in, by)
		d.OccurredAt = now
		return d, nil
	})
}

func commandEntry(in Incident, by auth.Person) draft {
	return draft{Incident: in.ID, OccurredAt: in.OpenedAt, Source: "person", Certainty: Fact, By: who(by),
		Key: "incident.command", Args: map[string]string{"person": in.Commander}}
}

// Move takes the incident to another state. reason is required where
// NeedsReason says so. An unknown or forbidden step is a Conflict with both
// states.
func (r *Room) Move(ctx context.Context, id string, to State, reason string, by auth.Person) error {
	reason, err := clean("reason", reason, 1000)
	if err != nil {
		return err
	}
	return r.alter(ctx, "move", id, func(in *Incident, now time.Time) (draft, error) {
		from := in.State
		if !CanMove(from, to) {
			return draft{}, fault.New(fault.Conflict, "incident.move", string(from), string(to))
		}
		if reason == "" && NeedsReason(from, to) {
			return draft{}, fault.New(fault.Invalid, "incident.reason-missing")
		}
		in.State, in.EndedAt = to, time.Time{}
		if to == Ended {
			in.EndedAt = now
		}
		return changeEntry(in.ID, "incident.moved", now, by, reason, map[string]string{
			"from_key": "incident.state." + string(from), "to_key": "incident.state." + string(to)}), nil
	})
}

// SetSeverity changes how urgent the incident is.
func (r *Room) SetSeverity(ctx context.Context, id string, s event.Severity, reason string, by auth.Person) error {
	reason, err := clean("reason", reason, 1000)
	if err != nil {
		return err
	}
	if s < event.Info || s > event.Critical {
		return fault.New(fault.Invalid, "incident.severity-unknown")
	}
	return r.alter(ctx, "set severity", id, func(in *Incident, now time.Time) (draft, error) {
		from := in.Severity
		if from == s {
			return draft{}, fault.New(fault.Conflict, "incident.same-severity")
		}
		in.Severity = s
		return changeEntry(in.ID, "incident.severity", now, by, reason, map[string]string{
			"from_key": "incident.severity." + from.String(), "to_key": "incident.severity." + s.String()}), nil
	})
}

// SetScope says anew what the incident reaches.
func (r *Room) SetScope(ctx context.Context, id string, s Scope, by auth.Person) error {
	notes, err := clean("notes", s.Notes, 4000)
	if err != nil {
		return err
	}
	s = Scope{Sites: sorted(s.Sites), Hosts: sorted(s.Hosts), Notes: notes}
	return r.alter(ctx, "set scope", id, func(in *Incident, now time.Time) (draft, error) {
		if slices.Equal(in.Scope.Sites, s.Sites) && slices.Equal(in.Scope.Hosts, s.Hosts) && in.Scope.Notes == s.Notes {
			return draft{}, fault.New(fault.Conflict, "incident.same-scope")
		}
		in.Scope = s
		return draft{Incident: in.ID, OccurredAt: now, Source: "person", Certainty: Fact, By: who(by), Key: "incident.scope", Args: map[string]string{
			"sites": strings.Join(s.Sites, ", "), "hosts": strings.Join(s.Hosts, ", "), "notes": s.Notes}}, nil
	})
}

// SetKnownAt corrects when any department first knew; the clocks of the law
// hang on it, so the reason is required.
func (r *Room) SetKnownAt(ctx context.Context, id string, at time.Time, reason string, by auth.Person) error {
	reason, err := clean("reason", reason, 1000)
	if err != nil {
		return err
	}
	if reason == "" {
		return fault.New(fault.Invalid, "incident.reason-missing")
	}
	at = state.Time(state.Nanos(at))
	return r.alter(ctx, "set known-at", id, func(in *Incident, now time.Time) (draft, error) {
		if err := notAhead(at, now); err != nil {
			return draft{}, err
		}
		from := in.KnownAt
		in.KnownAt = at
		return changeEntry(in.ID, "incident.known", now, by, reason, map[string]string{"from_at": stamp(from), "to_at": stamp(at)}), nil
	})
}

func changeEntry(id, key string, now time.Time, by auth.Person, reason string, args map[string]string) draft {
	if reason != "" {
		key += "-because"
		args["reason"] = reason
	}
	return draft{Incident: id, OccurredAt: now, Source: "person", Certainty: Fact, By: who(by), Key: key, Args: args}
}

// alter changes one incident and writes the entry that says so, both or none.
func (r *Room) alter(ctx context.Context, doing, id string, f func(in *Incident, now time.Time) (draft, error)) error {
	err := r.db.Tx(ctx, func(tx *state.Tx) error {
		c, err := lockIncident(ctx, tx, id)
		if err != nil {
			return err
		}
		now := r.moment()
		d, err := f(&c.Incident, now)
		if err != nil {
			return err
		}
		c.Version, c.At = c.Version+1, now
		if err := updateIncident(ctx, tx, &c); err != nil {
			return err
		}
		e, err := write(ctx, tx, d, now)
		if err != nil {
			return err
		}
		c.Incident.Entries = e.No
		return tx.Emit(ctx, SubjectChanged, fmt.Sprintf("%s:%s/%d", SubjectChanged, id, c.Version), c.Incident)
	})
	if err != nil {
		return fmt.Errorf("%s incident %s: %w", doing, id, err)
	}
	return nil
}
