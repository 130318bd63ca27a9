package evidence

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
)

// Names of the items of a bag of events, below data/.
const (
	EventsFile = "events.jsonl" // one event as JSON on each line, in the order of their times
	ProofsFile = "proofs.json"  // []SegmentProof, in the order of the segments
)

// MaxEvents bounds how many events one bag takes.
const MaxEvents = 1000

// Location says where in the archive an event is kept.
type Location struct {
	ID      string    // of the event
	Segment string    // which segment of the archive holds it
	Leaf    leaf.Leaf // the line of the ledger that binds that segment
}

// SegmentProof shows that a segment with some of the events was in the archive
// at the time that its leaf says.
type SegmentProof struct {
	Segment string          `json:"segment"`
	Events  []string        `json:"events"` // ids of the events that it holds
	Proof   json.RawMessage `json:"proof"`  // ledger.Proof: the leaf stands in the signed ledger
}

// Picked says what a bag of events holds, without the events.
type Picked struct {
	IDs      []string `json:"ids"`      // of the events, in the order of EventsFile
	SHA256   string   `json:"sha256"`   // of EventsFile
	Segments []string `json:"segments"` // refs of the leaves that bind their segments
	Purpose  string   `json:"purpose"`
}

// AddEvents makes a sealed bag of events that a person picked out of the
// archive: the events themselves and, for each segment they are kept in, the
// proof that the ledger holds it. found tells where each of them is kept.
//
// Errors: Invalid for no or too many events, or no purpose; Conflict
// "evidence.event-not-kept" for an event that found does not name, because it
// is so new that no segment holds it yet.
func (v *Vault) AddEvents(ctx context.Context, incident string, events []event.Event, found []Location, purpose string, by auth.Person) (Bag, error) {
	purpose = strings.TrimSpace(purpose)
	switch {
	case purpose == "" || len(purpose) > maxMethod:
		return Bag{}, fault.New(fault.Invalid, "evidence.why-kept")
	case len(events) == 0 || len(events) > MaxEvents:
		return Bag{}, fault.New(fault.Invalid, "evidence.events", MaxEvents)
	}
	p, err := v.pick(ctx, events, found)
	if err != nil {
		return Bag{}, err
	}
	p.Purpose = purpose
	b := bagOf(events, p.Picked)
	b.Incident, b.OpenedAt, b.OpenedBy = incident, v.deps.Now().UTC(), by.ID
	b.ID = clock.ID("bag", b.OpenedAt)
	if err := v.openEvents(ctx, b); err != nil {
		return Bag{}, fmt.Errorf("open bag %s: %w", b.ID, err)
	}
	for _, f := range []struct {
		path, title string
		body        []byte
	}{
		{EventsFile, "事象(1行に1件) / events, one a line", p.events},
		{ProofsFile, "事象が記録されている区画と台帳の証明 / the segments that hold them, proved by the ledger", p.proofs},
	} {
		if err := v.put(ctx, b.ID, f.path, f.title, f.body); err != nil {
			return Bag{}, fmt.Errorf("fill bag %s: %w", b.ID, err)
		}
	}
	if err := v.Seal(ctx, b.ID, false); err != nil {
		return Bag{}, err
	}
	return v.Get(ctx, b.ID)
}

// picked are the two files of a bag of events.
type picked struct {
	Picked
	events, proofs []byte
}

// pick writes the events down and proves their segments.
func (v *Vault) pick(ctx context.Context, events []event.Event, found []Location) (picked, error) {
	events = slices.Clone(events)
	slices.SortStableFunc(events, func(a, b event.Event) int {
		if c := a.Time.Compare(b.Time); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	at := map[string]Location{}
	for _, l := range found {
		at[l.ID] = l
	}
	var p picked
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	segments := map[string]*SegmentProof{}
	leaves := map[string]leaf.Leaf{}
	for _, e := range events {
		l, ok := at[e.ID]
		if !ok {
			return p, fault.New(fault.Conflict, "evidence.event-not-kept").With(fmt.Errorf("event %s", e.ID))
		}
		if err := enc.Encode(e); err != nil {
			return p, fmt.Errorf("write event %s: %w", e.ID, err)
		}
		if segments[l.Segment] == nil {
			segments[l.Segment] = &SegmentProof{Segment: l.Segment}
			leaves[l.Segment] = l.Leaf
		}
		s := segments[l.Segment]
		s.Events = append(s.Events, e.ID)
		p.IDs = append(p.IDs, e.ID)
	}
	var list []SegmentProof
	for _, name := range sortedKeys(segments) {
		proof, err := v.deps.Ledger.Prove(ctx, leaves[name])
		if err != nil {
			return p, fmt.Errorf("prove segment %s: %w", name, err)
		}
		segments[name].Proof = proof
		list, p.Segments = append(list, *segments[name]), append(p.Segments, leaves[name].Ref)
	}
	proofs, err := json.Marshal(list)
	if err != nil {
		return p, fmt.Errorf("write proofs: %w", err)
	}
	p.events, p.proofs, p.SHA256 = b.Bytes(), append(proofs, '\n'), digestOf(b.Bytes())
	return p, nil
}

// bagOf is a bag of events before it has a name. It belongs to the host and to
// the site that all events share, and is a practice when all of them are.
func bagOf(events []event.Event, p Picked) Bag {
	b := Bag{State: Collecting, Picked: &p, Host: events[0].Host, Site: events[0].Site, Drill: true}
	for _, e := range events {
		if e.Host != b.Host {
			b.Host = ""
		}
		if e.Site != b.Site {
			b.Site = ""
		}
		b.Drill = b.Drill && e.Drill
	}
	return b
}

// openEvents makes folder and row of a bag of events.
func (v *Vault) openEvents(ctx context.Context, b Bag) error {
	if err := os.MkdirAll(filepath.Join(v.dir, b.ID, "data"), 0o700); err != nil {
		return err
	}
	if err := syncFolder(v.dir); err != nil {
		return err
	}
	return v.db.Tx(ctx, func(tx *state.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO evidence_bag (id, incident, host, state, sealing, sealed_no, opened_at, body, site)
			VALUES ($1, $2, $3, $4, '', 0, $5, $6, $7)`, b.ID, b.Incident, b.Host, string(b.State), state.Nanos(b.OpenedAt), state.JSON(b), b.Site)
		if err != nil {
			return err
		}
		_, err = v.write(ctx, tx, Custody{Bag: b.ID, At: b.OpenedAt, What: "ordered", By: b.OpenedBy, To: "sonae", Purpose: b.Picked.Purpose})
		return err
	})
}

// put keeps a file that the hub itself made.
func (v *Vault) put(ctx context.Context, id, path, title string, body []byte) error {
	part, item, err := v.take(ctx, NewItem{Bag: id, Path: path, Title: title, Method: "archive", StartedAt: v.deps.Now()}, bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(part) }() // gone already when it was kept
	return v.keep(ctx, "sonae", item, part)
}

// resumeEvents seals as broken the bags of events that were being filled when
// the hub ended: whoever picked the events was told that it failed.
func (v *Vault) resumeEvents(ctx context.Context) error {
	bodies, err := column[string](ctx, v.db, `SELECT body FROM evidence_bag WHERE state = $1 AND sealing = ''`, string(Collecting))
	if err != nil {
		return fmt.Errorf("resume bags of events: %w", err)
	}
	var errs []error
	for _, body := range bodies {
		var b Bag
		if err := json.Unmarshal([]byte(body), &b); err != nil {
			errs = append(errs, err)
			continue
		}
		if b.Picked != nil {
			errs = append(errs, v.Seal(ctx, b.ID, true))
		}
	}
	return errors.Join(errs...)
}

// shownIDs bounds how many ids a line of the chronology names; all of them
// stand in the bag.
const shownIDs = 10

// line is what the chronology says of a sealed bag of events.
func (p Picked) line(args map[string]string) map[string]string {
	ids := p.IDs
	more := ""
	if len(ids) > shownIDs {
		ids, more = ids[:shownIDs], ", …"
	}
	args["events"], args["ids"] = fmt.Sprint(len(p.IDs)), strings.Join(ids, ", ")+more
	args["sha256"], args["segments"], args["purpose"] = p.SHA256, strings.Join(p.Segments, ", "), p.Purpose
	return args
}
