package dfa

import (
	"regexp/syntax"
	"unicode/utf8"
)

// run is the pattern "n of these runes on end", for which an automaton needs
// as many states as n is large and a count does it.
type run struct {
	runes *syntax.Inst
	ascii [128]bool
	n     int
}

// runOf returns nil for any other pattern.
func runOf(re *syntax.Regexp) *run {
	for re.Op == syntax.OpCapture {
		re = re.Sub[0]
	}
	if re.Op != syntax.OpRepeat || re.Min < 1 {
		return nil
	}
	of := &run{n: re.Min}
	switch sub := re.Sub[0]; sub.Op {
	case syntax.OpAnyChar:
		of.runes = &syntax.Inst{Op: syntax.InstRuneAny}
	case syntax.OpAnyCharNotNL:
		of.runes = &syntax.Inst{Op: syntax.InstRuneAnyNotNL}
	case syntax.OpCharClass:
		of.runes = &syntax.Inst{Op: syntax.InstRune, Rune: sub.Rune}
	default:
		return nil
	}
	for c := range of.ascii {
		of.ascii[c] = takes(of.runes, rune(c))
	}
	return of
}

func (of *run) match(text string) bool {
	n := 0
	for i := 0; i < len(text); {
		c := text[i]
		ok, size := false, 1
		if c < utf8.RuneSelf {
			ok = of.ascii[c]
		} else {
			var r rune
			r, size = utf8.DecodeRuneInString(text[i:])
			ok = takes(of.runes, r)
		}
		i += size
		if n++; !ok {
			n = 0
		}
		if n >= of.n {
			return true
		}
	}
	return false
}
