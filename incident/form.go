package incident

import (
	"context"
	"errors"
	"fmt"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
)

// Form is a line that a person makes by filling in a form: the sentence is the
// form's, what the fields say are its arguments (see Note), and it stands under
// the person's name.
type Form struct {
	Note
	Corrects int // No of the entry that this one corrects
}

// Enter adds a form's line within the transaction that keeps what the form
// says, both or none. One with a Unique that stands already is a Conflict, see
// Stands.
func (r *Room) Enter(ctx context.Context, tx *state.Tx, id string, f Form, by auth.Person) (Entry, error) {
	if !keyName.MatchString(f.Key) || !sourceName.MatchString(or(f.Source, "person")) {
		return Entry{}, fmt.Errorf("form in incident %s: unusable key %q or source %q", id, f.Key, f.Source)
	}
	now := r.moment()
	if f.OccurredAt.IsZero() {
		f.OccurredAt = now
	}
	if err := notAhead(f.OccurredAt, now); err != nil {
		return Entry{}, err
	}
	args := make(map[string]string, len(f.Args))
	for k, v := range f.Args {
		args[k] = short(printable(v), 4000)
	}
	e, err := write(ctx, tx, draft{Incident: id, OccurredAt: f.OccurredAt, Source: or(f.Source, "person"), Certainty: or(f.Certainty, Fact),
		By: who(by), Key: f.Key, Args: args, Ref: printable(f.Ref), Unique: printable(f.Unique), Corrects: f.Corrects}, now)
	if errors.Is(err, errWritten) {
		return Entry{}, &fault.Error{Kind: fault.Conflict, Key: "incident.stands", Err: err}
	}
	return e, err
}

// Stands says whether Enter refused because the line stands already.
func Stands(err error) bool { return errors.Is(err, errWritten) }

// Clean returns what a person typed into a field, fit for storing: no control
// characters, no marks that turn the reading direction, no space around it. It
// is Invalid when it has more than most characters.
func Clean(field, text string, most int) (string, error) { return clean(field, text, most) }
