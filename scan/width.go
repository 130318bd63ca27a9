package scan

import (
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// columns is how many columns of a terminal s takes. What is ambiguous counts
// as one, as most terminals show it.
func columns(s string) int {
	n := 0
	for _, r := range s {
		n += runeColumns(r)
	}
	return n
}

func runeColumns(r rune) int {
	if unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// pad fills s up to n columns.
func pad(s string, n int) string { return s + strings.Repeat(" ", max(0, n-columns(s))) }

// padLeft is pad for numbers.
func padLeft(s string, n int) string { return strings.Repeat(" ", max(0, n-columns(s))) + s }

// cut shortens s to n columns; "…" tells that something is missing.
func cut(s string, n int) string {
	if columns(s) <= n {
		return s
	}
	at := 0
	for i, r := range s {
		if at += runeColumns(r); at > n-1 {
			return s[:i] + "…"
		}
	}
	return s
}

// wrap breaks s into lines of at most n columns: between words where there are
// spaces, anywhere in Japanese.
func wrap(s string, n int) []string {
	var lines []string
	for columns(s) > n {
		at, used, space := 0, 0, -1
		for i, r := range s {
			if used += runeColumns(r); used > n {
				break
			}
			if r == ' ' && i > 0 {
				space = i
			}
			at = i + len(string(r))
		}
		if at == 0 {
			break
		}
		if rest := s[at:]; space > 0 && rest != "" && rest[0] != ' ' && runeColumns([]rune(rest)[0]) == 1 {
			at = space
		}
		lines = append(lines, strings.TrimRight(s[:at], " "))
		s = strings.TrimLeft(s[at:], " ")
	}
	return append(lines, s)
}

// printable keeps foreign text from commanding the terminal or turning the
// direction of what is shown.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == unicode.ReplacementChar || unicode.Is(unicode.Bidi_Control, r) || r == 0x2028 || r == 0x2029 {
			return '.'
		}
		return r
	}, s)
}
