// Package fault names the kinds of errors that cross package borders.
//
// In: an error and what it means for the person who caused it. Out: an Error
// that api turns into a status and ui into a sentence. Always true: an error
// without a Kind is Sonae's own and its text is only logged, never shown.
package fault

import (
	"errors"
	"fmt"
)

// Kind is what an error means to whoever asked.
type Kind string

// Kinds. The empty Kind is ours: a bug or a broken machine.
const (
	Invalid  Kind = "invalid"  // the request cannot be right (400)
	Missing  Kind = "missing"  // there is no such thing (404)
	Denied   Kind = "denied"   // not allowed (403)
	Conflict Kind = "conflict" // allowed, but not in this state (409)
	Busy     Kind = "busy"     // full or too many at once; try later (503/429)
)

// Error is an error with a Kind and the key of a sentence in the catalogue
// (i18n "fault.<Key>"), with its arguments.
type Error struct {
	Kind Kind
	Key  string
	Args []any
	Err  error // cause, may be nil
}

// New makes an Error; args are for the sentence in the catalogue.
func New(k Kind, key string, args ...any) *Error { return &Error{Kind: k, Key: key, Args: args} }

// With adds the cause.
func (e *Error) With(err error) *Error { e.Err = err; return e }

// Error returns the technical text.
func (e *Error) Error() string {
	s := string(e.Kind) + ": " + e.Key
	if len(e.Args) > 0 {
		s += fmt.Sprint(e.Args)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Of returns the Kind of err, or "" when it has none.
func Of(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return ""
}
