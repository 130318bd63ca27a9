// Package lang is the language in which people ask the archive.
//
// In: what somebody typed. Out: a Query (a tree that prints as it was meant),
// and from it SQL whose text comes from tables of this package only: whatever
// was typed becomes a parameter. Always true: Parse ends on any input without
// a panic and with bounded memory; what Parse accepts, String writes so that
// Parse reads the same tree again; every error says where it is, what stood
// there and what was expected.
//
// A query is a filter, then stages:
//
//	event_code=4625 (user:adm* OR source_ip:10.0.0.0/8) -host:ho-7 "失敗しました"
//	… | count by user, host        | top 20 destination_ip by sum(bytes_out)
//	… | stats count, distinct(source_ip), p95(bytes_in) by user | where count > 5 | sort -count | limit 50
//	… | timeline 1h by host
//
// Words side by side must all hold; OR, NOT (or -) and parentheses as usual.
// A word or "phrase" is looked for in the original line and in every text
// field, upper and lower case alike; * and ? stand for any text and any one
// character in words, not in phrases. field:value compares whole values, upper
// and lower case alike, with * and ?; field=value exactly. A quote inside
// quotes is written twice; a backslash means itself. Full-width （　：「」）
// are read as their ASCII likes outside quotes.
package lang

import (
	"errors"
	"unicode/utf8"

	"github.com/sonae/sonae/fault"
)

// Limits of a query, so that a small text cannot become an endless task.
const (
	MaxLength = 8192 // runes
	maxDepth  = 64   // parentheses and NOT within each other
	maxTerms  = 256  // conditions
	maxValues = 1000 // values in all lists
	maxRegex  = 500  // runes of a regular expression
	maxStages = 16
	maxBy     = 8
	maxAggs   = 12
)

// Parse reads a query. The empty text asks for everything. What it refuses is
// fault.Invalid with a key "search.…" whose first argument is the position
// (counted from 1) and whose second is what stood there; Offset tells the
// position to programs.
func Parse(text string) (Query, error) {
	if !utf8.ValidString(text) {
		return Query{}, newError(0, "text", "search.not-text")
	}
	runes := []rune(text)
	if len(runes) > MaxLength {
		return Query{}, newError(MaxLength, "", "search.too-long", MaxLength)
	}
	p := &parser{in: scanner{text: runes}}
	q, err := p.query()
	if err != nil {
		return Query{}, err
	}
	return q, nil
}

// Error is why a query was refused: it is the cause inside the fault.Error
// that Parse returns.
type Error struct {
	Offset int    // in runes, from 0
	Found  string // what stood there; empty at the end
	Key    string // of the sentence that says what was expected, without "fault."
}

// Error returns the technical text.
func (e *Error) Error() string {
	if e.Found == "" {
		return e.Key + " at the end"
	}
	return e.Key + " at " + e.Found
}

// Offset returns where in the text, in runes from 0, a query is wrong.
func Offset(err error) (int, bool) {
	var e *Error
	if errors.As(err, &e) {
		return e.Offset, true
	}
	return 0, false
}

func newError(offset int, found, key string, more ...any) error {
	return fault.New(fault.Invalid, key, append([]any{offset + 1, found}, more...)...).With(&Error{offset, found, key})
}
