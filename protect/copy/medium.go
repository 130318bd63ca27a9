package copy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
)

// MediumState is where a medium is.
type MediumState string

// States of a medium.
const (
	Ready   MediumState = "ready"   // in the house; nothing was written since it came
	Written MediumState = "written" // written and read back; it has to be taken out
	Ejected MediumState = "ejected" // taken out
	Handed  MediumState = "handed"  // sealed, and given to somebody who keeps it
)

// Medium is a disk or tape that is put away.
type Medium struct {
	ID           string      `json:"id"`
	PlaceID      string      `json:"place"`
	Label        string      `json:"label"` // what stands on it
	State        MediumState `json:"state"`
	WrittenAt    time.Time   `json:"written_at"`
	OfflineSince time.Time   `json:"offline_since"` // zero: it can be reached
	Seal         string      `json:"seal,omitempty"`
	Custody      []Step      `json:"custody"` // every hand that it went through, in order
}

// Step is one line of a custody record. Names are of people who need no
// account.
type Step struct {
	At   time.Time   `json:"at"` // when it happened
	What MediumState `json:"what"`
	From string      `json:"from,omitempty"`
	To   string      `json:"to,omitempty"`
	Seal string      `json:"seal,omitempty"`
	Note string      `json:"note,omitempty"`
	By   string      `json:"by"` // person id who wrote it down
}

// Offline says whether no machine can reach the medium.
func (m Medium) Offline() bool { return m.State == Ejected || m.State == Handed }

// Media lists all media.
func (d *Desk) Media(ctx context.Context) ([]Medium, error) { return list[Medium](ctx, d, kindMedium) }

// Medium returns one medium.
func (d *Desk) Medium(ctx context.Context, id string) (Medium, error) {
	var m Medium
	v, err := table.Get(ctx, d.db, id)
	if fault.Of(err) == fault.Missing || err == nil && v.Kind != kindMedium {
		return m, fault.New(fault.Missing, "protect.copy.unknown")
	}
	if err != nil {
		return m, err
	}
	return m, json.Unmarshal(v.Body, &m)
}

// AddMedium registers a medium for a place.
func (d *Desk) AddMedium(ctx context.Context, place, label string, by auth.Person) (Medium, error) {
	p, err := d.Place(ctx, place)
	if err != nil {
		return Medium{}, err
	}
	if label = strings.TrimSpace(label); p.Kind != Media || label == "" || len(label) > maxText {
		return Medium{}, wrong("label")
	}
	m := Medium{ID: clock.ID("md", d.Now()), PlaceID: place, Label: label, State: Ready}
	m.Custody = []Step{{At: d.moment(), What: Ready, By: by.ID}}
	return m, put(ctx, d, kindMedium, m.ID, by.ID, p.Site, func(last *Medium, _ bool) error { *last = m; return nil })
}

// Move writes down where a medium went: taken out (ejected), handed over with
// its seal and who takes it (handed), or back in the house (ready).
func (d *Desk) Move(ctx context.Context, id string, s Step, by auth.Person) error {
	m, err := d.Medium(ctx, id)
	if err != nil {
		return err
	}
	p, err := d.Place(ctx, m.PlaceID)
	if err != nil {
		return err
	}
	if s.At.IsZero() {
		s.At = d.moment()
	}
	s.At, s.By = s.At.UTC(), by.ID
	for _, text := range []*string{&s.From, &s.To, &s.Seal, &s.Note} {
		if *text = strings.TrimSpace(*text); len(*text) > maxText {
			return wrong("note")
		}
	}
	return put(ctx, d, kindMedium, id, by.ID, p.Site, func(m *Medium, _ bool) error { return m.move(s, d.Now()) })
}

func (m *Medium) move(s Step, now time.Time) error {
	if len(m.Custody) > 0 && s.At.Before(m.Custody[len(m.Custody)-1].At) || s.At.After(now.Add(time.Minute)) {
		return fault.New(fault.Invalid, "protect.copy.when")
	}
	switch {
	case s.What == Ejected && m.State == Written:
		m.OfflineSince = s.At
	case s.What == Handed && (m.State == Ejected || m.State == Handed):
		if s.To == "" {
			return wrong("to")
		}
		if s.Seal == "" {
			return wrong("seal")
		}
		m.Seal = s.Seal
	case s.What == Ready && m.State != Ready:
		if m.State == Handed && s.Seal == "" {
			return wrong("seal")
		}
		if m.Seal != "" && s.Seal != m.Seal { // somebody opened it, or it is another one
			s.Note = strings.TrimSpace("≠ " + m.Seal + " " + s.Note)
		}
		m.OfflineSince, m.Seal = time.Time{}, ""
	default:
		return fault.New(fault.Conflict, "protect.copy.medium-state")
	}
	m.State = s.What
	m.Custody = append(m.Custody, s)
	return nil
}

// tagFile says on a medium which one it is.
const tagFile = "sonae-medium.txt"

// recognise sees to it that the medium which is inserted is the one that was
// asked for. One that carries no name yet gets it.
func (d *Desk) recognise(_ context.Context, w visit) error {
	if info, err := os.Stat(w.place.Dir); err != nil || !info.IsDir() {
		return fault.New(fault.Busy, "protect.copy.no-folder", w.place.Dir).With(err)
	}
	path := filepath.Join(w.place.Dir, tagFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return os.WriteFile(path, []byte(w.medium+"\n"), 0o600)
	}
	if err != nil {
		return err
	}
	if got := strings.TrimSpace(string(text)); got != w.medium {
		return fault.New(fault.Conflict, "protect.copy.other-medium").With(fmt.Errorf("%.80q is inserted, not %s", got, w.medium))
	}
	return nil
}

// written notes that a medium holds everything, and makes it safe to be taken
// out.
func (d *Desk) written(ctx context.Context, w visit) error {
	err := put(ctx, d, kindMedium, w.medium, "sonae", w.place.Site, func(m *Medium, _ bool) error {
		m.State, m.WrittenAt = Written, d.moment()
		m.Custody = append(m.Custody, Step{At: d.moment(), What: Written, By: "sonae"})
		return nil
	})
	if err != nil || d.Eject == nil {
		return err
	}
	if err := d.Eject(ctx, w.place.Dir); err != nil {
		return err
	}
	return put(ctx, d, kindMedium, w.medium, "sonae", w.place.Site, func(m *Medium, _ bool) error {
		return m.move(Step{At: d.moment(), What: Ejected, By: "sonae"}, d.Now())
	})
}
