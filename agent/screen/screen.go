// Package screen shows messages to whoever sits at this machine.
//
// In: a note of the hub. Out: on which sessions it is shown, and who said that
// they have seen it. Always true: a note is text, and nothing in it is obeyed by
// a terminal, a desktop or a shell; it goes when its time is over; whoever reads
// it can go on working.
package screen

import (
	"strings"
	"unicode"
)

// Sign says that a session shows a note, or that its person has seen it.
type Sign struct {
	Session string // as the system calls it: "uid 1000", "terminals", "session 2"
	User    string // account, "" where it is not known
	Seen    bool
}

// Bounds of what is shown, in characters.
const (
	maxTitle  = 200
	maxText   = 2000
	maxButton = 40
)

// clean takes out of a text what is no text, and cuts it. Lines stay.
func clean(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r == '\n' || unicode.IsPrint(r) {
			return r
		}
		return -1
	}, strings.ToValidUTF8(s, ""))
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}
