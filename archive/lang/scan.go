package lang

import (
	"net"
	"net/netip"
	"strings"
	"unicode"
)

// scanner walks over the runes of a query. What is a word depends on where it
// stands, so there is no list of tokens.
type scanner struct {
	text []rune
	at   int
}

const end = rune(-1)

// fold gives the ASCII meaning of the full-width signs that a Japanese
// keyboard makes.
func fold(r rune) rune {
	switch r {
	case '（':
		return '('
	case '）':
		return ')'
	case '：':
		return ':'
	case '＝':
		return '='
	case '＞':
		return '>'
	case '＜':
		return '<'
	case '｜':
		return '|'
	case '，', '、':
		return ','
	case '「', '」', '“', '”', '＂':
		return '"'
	}
	return r
}

// ends are the quotes that close what each quote opens.
var ends = map[rune]rune{'"': '"', '「': '」', '“': '”', '＂': '＂', '」': '」', '”': '”'}

// peek returns the rune n ahead as it stands.
func (s *scanner) peek(n int) rune {
	if s.at+n >= len(s.text) {
		return end
	}
	return s.text[s.at+n]
}

// next returns the next rune in its ASCII meaning.
func (s *scanner) next() rune { return fold(s.peek(0)) }

func (s *scanner) space() {
	for unicode.IsSpace(s.peek(0)) {
		s.at++
	}
}

// take moves over sign if it comes next.
func (s *scanner) take(sign rune) bool {
	if s.next() != sign {
		return false
	}
	s.at++
	return true
}

func breaks(r rune, list bool) bool {
	switch f := fold(r); f {
	case end, '(', ')', '|', '"':
		return true
	case ',':
		return list
	}
	return unicode.IsSpace(r)
}

// ahead returns the word that comes next without moving over it.
func (s *scanner) ahead(list bool) string {
	n := 0
	for !breaks(s.peek(n), list) {
		n++
	}
	return string(s.text[s.at : s.at+n])
}

// word moves over a word; it may be empty.
func (s *scanner) word(list bool) string {
	w := s.ahead(list)
	s.at += len([]rune(w))
	return w
}

// phrase moves over a quoted text, whose opening quote comes next.
func (s *scanner) phrase() (string, bool) {
	start := s.at
	closing := ends[s.peek(0)]
	s.at++
	var b strings.Builder
	for {
		r := s.peek(0)
		switch {
		case r == end:
			s.at = start
			return "", false
		case r == closing && closing == '"' && s.peek(1) == '"':
			s.at++
		case r == closing:
			s.at++
			return b.String(), true
		}
		b.WriteRune(r)
		s.at++
	}
}

func nameStart(r rune) bool { return unicode.IsLetter(r) || r == '_' || r == '@' }

func nameRune(r rune) bool {
	return nameStart(r) || unicode.IsDigit(r) || unicode.IsMark(r) || r == '.' || r == '-'
}

// name moves over the name of a field; it may be empty.
func (s *scanner) name() string {
	if !nameStart(s.peek(0)) {
		return ""
	}
	n := 1
	for nameRune(s.peek(n)) {
		n++
	}
	s.at += n
	return string(s.text[s.at-n : s.at])
}

// operator moves over a comparison.
func (s *scanner) operator() (Op, bool) {
	two := func(op, equal Op) (Op, bool) {
		s.at++
		if s.take('=') {
			return equal, true
		}
		return op, true
	}
	switch s.next() {
	case ':':
		s.at++
		return Like, true
	case '=':
		s.at++
		return Equals, true
	case '>':
		return two(Greater, GreaterEqual)
	case '<':
		return two(Less, LessEqual)
	case '!', '！':
		if fold(s.peek(1)) == '=' {
			s.at += 2
			return Differs, true
		}
	}
	return 0, false
}

// regex moves over /…/ or /…/i, if that is the whole word that comes next. A
// path is not one: it does not end in a slash, or has another in its middle.
func (s *scanner) regex() (pattern string, op Op, ok bool) {
	if s.peek(0) != '/' {
		return "", 0, false
	}
	var b strings.Builder
	n := 1
	for ; s.peek(n) != '/'; n++ {
		r := s.peek(n)
		if r == end || unicode.IsSpace(r) {
			return "", 0, false
		}
		if r == '\\' && s.peek(n+1) == '/' {
			n++
			r = '/'
		} else if r == '\\' && s.peek(n+1) != end && !unicode.IsSpace(s.peek(n+1)) {
			b.WriteRune(r)
			n++
			r = s.peek(n)
		}
		b.WriteRune(r)
	}
	n++
	op = Regex
	if s.peek(n) == 'i' {
		n, op = n+1, RegexFold
	}
	if b.Len() == 0 || !breaks(s.peek(n), true) || s.peek(n) == '"' {
		return "", 0, false
	}
	s.at += n
	return b.String(), op, true
}

// literal says whether a word with a colon in it is a text of its own and not
// a field: an address of a machine, a card, a page or a folder.
func literal(word string) bool {
	if _, err := netip.ParseAddr(word); err == nil {
		return true
	}
	if _, err := netip.ParsePrefix(word); err == nil {
		return true
	}
	if _, err := net.ParseMAC(word); err == nil {
		return true
	}
	scheme, _, page := strings.Cut(word, "://")
	if page && scheme != "" {
		return strings.IndexFunc(scheme, func(r rune) bool { return !unicode.IsLetter(r) }) < 0
	}
	return len(word) > 2 && word[1] == ':' && word[2] == '\\'
}
