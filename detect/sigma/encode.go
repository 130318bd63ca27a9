package sigma

import (
	"encoding/base64"
	"fmt"
	"slices"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// changed applies one of the modifiers that make other texts of a text.
func changed(how string, variants []pattern) ([]pattern, error) {
	var out []pattern
	for _, p := range variants {
		switch how {
		case "windash":
			all, err := dashes(p)
			if err != nil {
				return nil, err
			}
			out = append(out, all...)
		case "base64", "base64offset":
			if p.wild() {
				return nil, fmt.Errorf("%s of a value with a wildcard", how)
			}
			if how == "base64" {
				out = append(out, plain(encode64(raw(p))))
				break
			}
			for offset := range 3 {
				out = append(out, plain(base64At(raw(p), offset)))
			}
		default: // wide, utf16le, utf16be, utf16
			out = append(out, twoBytes(p, how))
		}
		if len(out) > maxVariants {
			return nil, fmt.Errorf("%s makes more than %d variants", how, maxVariants)
		}
	}
	return out, nil
}

// dashRunes are the characters that Windows programs accept before an option:
// hyphen, slash, en dash, em dash, horizontal bar.
var dashRunes = [...]rune{'-', '/', '–', '—', '―'}

// maxDashes keeps the variants of one value at 5^5 or below.
const maxDashes = 5

// dashes returns p with each option dash replaced by each kind of dash. An
// option dash stands before a word and not behind one.
func dashes(p pattern) ([]pattern, error) {
	out, n := []pattern{p}, 0
	for i := range p {
		if !slices.Contains(dashRunes[:], p[i]) || (i > 0 && wordRune(p[i-1])) || i+1 == len(p) || !wordRune(p[i+1]) {
			continue
		}
		if n++; n > maxDashes {
			return nil, fmt.Errorf("windash of a value with more than %d dashes", maxDashes)
		}
		var next []pattern
		for _, q := range out {
			for _, d := range dashRunes {
				r := slices.Clone(q)
				r[i] = d
				next = append(next, r)
			}
		}
		out = next
	}
	return out, nil
}

func wordRune(r rune) bool {
	return r == '_' || r >= 0 && r < wideBase && (unicode.IsLetter(r) || unicode.IsDigit(r))
}

// Runes from wideBase on, which no text can hold, stand for the raw bytes of a UTF-16 text, until
// base64 makes text of them or spell does; wideMark is its byte order mark.
const (
	wideBase = unicode.MaxRune + 1
	wideMark = wideBase + 0x100
)

// twoBytes encodes all but wildcards in UTF-16.
func twoBytes(p pattern, how string) pattern {
	var out pattern
	if how == "utf16" {
		out = append(out, wideMark)
	}
	var units [2]uint16
	for _, r := range p {
		if r < 0 {
			out = append(out, r)
			continue
		}
		for _, u := range utf16.AppendRune(units[:0], r) {
			low, high := rune(u&0xFF), rune(u>>8)
			if how == "utf16be" {
				low, high = high, low
			}
			out = append(out, wideBase+low, wideBase+high)
		}
	}
	return out
}

// spell turns raw bytes into the text that a field would show. Beyond ASCII
// they have none, unless base64 makes one.
func (p pattern) spell() (pattern, error) {
	if !slices.ContainsFunc(p, func(r rune) bool { return r >= wideBase && r <= wideMark }) {
		return p, nil
	}
	out := make(pattern, len(p))
	for i, r := range p {
		switch {
		case r == wideMark:
			r = '\uFEFF'
		case r >= wideBase && r < wideBase+utf8.RuneSelf:
			r -= wideBase
		case r >= wideBase && r < wideMark:
			return nil, fmt.Errorf("a UTF-16 modifier without base64 takes ASCII only")
		}
		out[i] = r
	}
	return out, nil
}

// raw returns the bytes of a pattern without wildcards.
func raw(p pattern) []byte {
	var out []byte
	for _, r := range p {
		switch {
		case r == wideMark:
			out = append(out, 0xFF, 0xFE)
		case r >= wideBase && r < wideMark:
			out = append(out, byte(r-wideBase))
		default:
			out = utf8.AppendRune(out, r)
		}
	}
	return out
}

func encode64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// base64At encodes text and leaves out the characters that depend on what
// stands before (offset bytes) and after it.
func base64At(text []byte, offset int) string {
	encoded := encode64(append(make([]byte, offset), text...))
	from := [3]int{0, 2, 3}[offset]
	to := len(encoded)
	switch (len(text) + offset) % 3 {
	case 1:
		to -= 3
	case 2:
		to -= 2
	}
	if to < from {
		return ""
	}
	return encoded[from:to]
}
