package incident

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
)

// NewEntry is a line that a person adds.
type NewEntry struct {
	OccurredAt time.Time // zero: now; may lie in the past (a note from paper), never in the future
	Source     string    // person when empty; phone, paper, fax …: [a-z-]{1,32}
	Certainty  Certainty // unconfirmed when empty
	Text       string    // at most 4000 characters
	Corrects   int       // No of the entry that this one corrects
}

// Note is a line that a stage adds. Sentence and arguments are kept apart, so
// that it reads in every language: catalogue key "entry.<Key>". The names of
// the arguments tell what their values are, see Entry.Say.
type Note struct {
	Key        string // [a-z0-9.-]{1,64}
	Args       map[string]string
	OccurredAt time.Time // zero: now
	Source     string
	Certainty  Certainty // fact when empty
	Ref        string    // what it is about, e.g. an action or bag id
	Unique     string    // a note with the same Unique is written once per incident; empty: always
}

// skew is how far ahead of the hub the clock of whoever wrote a line may be.
const skew = 2 * time.Minute

// oldest refuses years that are slips of the keyboard.
var oldest = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

var (
	sourceName = regexp.MustCompile(`^[a-z-]{1,32}$`)
	keyName    = regexp.MustCompile(`^[a-z0-9.-]{1,64}$`)
)

// errWritten leaves the transaction of a note that stands already.
var errWritten = errors.New("incident: the note stands already")

// draft is an entry before it has a number.
type draft = Entry

// Write adds what a person says to the chronology.
//
// Errors: Missing for an unknown incident or an unknown entry to correct;
// Invalid for empty or too long text, a time in the future, or an unknown
// source or certainty.
func (r *Room) Write(ctx context.Context, id string, n NewEntry, by auth.Person) (Entry, error) {
	text, err := clean("text", n.Text, 4000)
	if err != nil {
		return Entry{}, err
	}
	if text == "" {
		return Entry{}, fault.New(fault.Invalid, "incident.text-missing")
	}
	d := draft{Incident: id, OccurredAt: n.OccurredAt, Source: or(n.Source, "person"), Certainty: or(n.Certainty, Unconfirmed),
		By: who(by), Text: text, Corrects: n.Corrects}
	return r.add(ctx, d)
}

// Note adds what a stage observed or did. Calling it again with the same
// Unique does nothing, so it may follow an at-least-once delivery.
func (r *Room) Note(ctx context.Context, id string, n Note) error {
	if !keyName.MatchString(n.Key) {
		return fmt.Errorf("note in incident %s: unusable key %q", id, n.Key)
	}
	args := make(map[string]string, len(n.Args))
	for k, v := range n.Args {
		args[k] = short(printable(v), 1000)
	}
	// A machine whose clock is wrong must not stop the flow; its own time is
	// kept with the event.
	if now := r.moment(); notAhead(n.OccurredAt, now) != nil {
		n.OccurredAt = now
	}
	d := draft{Incident: id, OccurredAt: n.OccurredAt, Source: or(n.Source, System), Certainty: or(n.Certainty, Fact),
		By: System, Key: n.Key, Args: args, Ref: printable(n.Ref), Unique: printable(n.Unique)}
	if _, err := r.add(ctx, d); err != nil && !errors.Is(err, errWritten) {
		return err
	}
	return nil
}

func (r *Room) add(ctx context.Context, d draft) (Entry, error) {
	if !sourceName.MatchString(d.Source) {
		return Entry{}, fault.New(fault.Invalid, "incident.source-unknown", d.Source)
	}
	if !slices.Contains([]Certainty{Fact, Estimate, Unconfirmed}, d.Certainty) {
		return Entry{}, fault.New(fault.Invalid, "incident.certainty-unknown", string(d.Certainty))
	}
	var e Entry
	err := r.db.Tx(ctx, func(tx *state.Tx) (err error) {
		now := r.moment()
		if d.OccurredAt.IsZero() {
			d.OccurredAt = now
		}
		if err := notAhead(d.OccurredAt, now); err != nil {
			return err
		}
		e, err = write(ctx, tx, d, now)
		return err
	})
	if err != nil {
		return Entry{}, fmt.Errorf("write in incident %s: %w", d.Incident, err)
	}
	return e, nil
}

// write numbers, stores and publishes one entry. Counting up the incident's
// own row hands out numbers without gaps: the row is locked until the
// transaction ends, whatever the database, and a roll-back gives the number
// back.
func write(ctx context.Context, tx *state.Tx, d draft, now time.Time) (Entry, error) {
	no, err := nextNo(ctx, tx, d.Incident)
	if err != nil {
		return Entry{}, err
	}
	if d.Unique != "" {
		if seen, err := noteSeen(ctx, tx, d.Incident, d.Unique); err != nil {
			return Entry{}, err
		} else if seen {
			return Entry{}, errWritten
		}
	}
	if d.Corrects != 0 && (d.Corrects < 0 || d.Corrects >= no) {
		return Entry{}, fault.New(fault.Missing, "incident.entry-missing", d.Corrects)
	}
	e := d
	e.No, e.EnteredAt, e.Salt = no, now, leaf.Salt()
	e.OccurredAt = state.Time(state.Nanos(d.OccurredAt))
	if len(e.Args) == 0 {
		e.Args = nil // one form only, so that the digest is the same after reading
	}
	if err := insertEntry(ctx, tx, e); err != nil {
		return Entry{}, err
	}
	return e, publish(ctx, tx, e)
}

// Leaf is the line of the ledger that binds e: type "entry", ref
// "<incident>/<no>".
func (e Entry) Leaf() (leaf.Leaf, error) {
	return leaf.Of("entry", fmt.Sprintf("%s/%d", e.Incident, e.No), e.EnteredAt, e)
}

func publish(ctx context.Context, tx *state.Tx, e Entry) error {
	l, err := e.Leaf()
	if err != nil {
		return err
	}
	if err := tx.Emit(ctx, "record.entry", "record.entry:"+l.Ref, l); err != nil {
		return err
	}
	return tx.Emit(ctx, SubjectEntry, SubjectEntry+":"+l.Ref, e)
}

// Corrections says which entry corrects which: the number of the corrected
// entry leads to the newest one that corrects it. Readers strike the corrected
// line through and point to the other.
func Corrections(entries []Entry) map[int]int {
	by := map[int]int{}
	for _, e := range entries {
		if e.Corrects != 0 && e.No > by[e.Corrects] {
			by[e.Corrects] = e.No
		}
	}
	return by
}

func notAhead(at, now time.Time) error {
	switch {
	case at.After(now.Add(skew)):
		return fault.New(fault.Invalid, "incident.future")
	case at.Before(oldest):
		return fault.New(fault.Invalid, "incident.too-old")
	}
	return nil
}

// clean returns text fit for storing, or Invalid when it is too long.
func clean(field, text string, most int) (string, error) {
	text = strings.TrimSpace(printable(text))
	if n := utf8.RuneCountInString(text); n > most {
		return "", fault.New(fault.Invalid, "incident.too-long", field, n, most)
	}
	return text, nil
}

// printable drops what no honest text contains and what databases disagree
// about: broken UTF-8, NUL and other control characters, and the marks that
// turn the reading direction around and can make a line read as another one.
func printable(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\r\n", "\n")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			return -1
		}
		return r
	}, s)
}

// short cuts what a stranger may make long, for example a command line.
func short(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// who is the id under which a person's line stands.
func who(by auth.Person) string { return or(by.ID, System) }

func or[T ~string](v, otherwise T) T {
	if v == "" {
		return otherwise
	}
	return v
}

func sorted(ids []string) []string {
	out := make([]string, 0, len(ids))
	for _, id := range ids {
		if id = strings.TrimSpace(printable(id)); id != "" {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// stamp is how a time stands in the arguments of an entry.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
