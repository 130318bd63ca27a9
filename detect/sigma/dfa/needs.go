package dfa

import (
	"regexp/syntax"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxExact   = 100  // strings that a part is spelt out into
	maxSpread  = 12   // runes of a character class that is spelt out
	maxSets    = 3    // sets of literals that are kept
	minLiteral = 4    // bytes of a literal worth looking for
	maxLength  = 1000 // runes, for minRunes
)

// need is what is known of the folded texts that a part of a pattern matches.
type need struct {
	exact []string // all of them, or nil when they are too many
	sets  [][]string
}

func needsOf(tree *syntax.Regexp) [][]string {
	n := needOf(tree)
	n.keepExact()
	slices.SortStableFunc(n.sets, func(a, b []string) int {
		if d := shortest(b) - shortest(a); d != 0 {
			return d
		}
		return len(a) - len(b)
	})
	return n.sets[:min(len(n.sets), maxSets)]
}

func shortest(set []string) int {
	n := len(set[0])
	for _, s := range set {
		n = min(n, len(s))
	}
	return n
}

// keepExact turns the exact texts into a set, if they are long enough.
func (n *need) keepExact() {
	if len(n.exact) > 0 && shortest(n.exact) >= minLiteral {
		n.sets = append(n.sets, n.exact)
	}
	n.exact = nil
}

func needOf(re *syntax.Regexp) need {
	switch re.Op {
	case syntax.OpLiteral:
		return needLiteral(re)
	case syntax.OpCharClass:
		return need{exact: spread(re.Rune)}
	case syntax.OpEmptyMatch, syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText, syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return need{exact: []string{""}}
	case syntax.OpCapture:
		return needOf(re.Sub[0])
	case syntax.OpConcat:
		var parts []need
		for _, sub := range re.Sub {
			parts = append(parts, needOf(sub))
		}
		return join(parts)
	case syntax.OpAlternate:
		return needAlternate(re)
	case syntax.OpQuest:
		if n := needOf(re.Sub[0]); n.exact != nil {
			return need{exact: union(n.exact, []string{""})}
		}
	case syntax.OpPlus:
		return repeated(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min >= 1 {
			return repeated(re.Sub[0])
		}
	}
	return need{}
}

func repeated(re *syntax.Regexp) need {
	n := needOf(re)
	n.keepExact()
	return n
}

// needLiteral spells out a literal. Without regard to case a rune may be met
// in several spellings that have different lower cases ("s" and "ſ").
func needLiteral(re *syntax.Regexp) need {
	var parts []need
	for _, r := range re.Rune {
		spelt := []string{lower(r)}
		if re.Flags&syntax.FoldCase != 0 {
			for q := unicode.SimpleFold(r); q != r; q = unicode.SimpleFold(q) {
				spelt = union(spelt, []string{lower(q)})
			}
		}
		parts = append(parts, need{exact: spelt})
	}
	return join(parts)
}

func lower(r rune) string { return string(unicode.ToLower(r)) }

// spread lists a character class in lower case, nil when it is too large.
func spread(ranges []rune) []string {
	var out []string
	n := 0
	for i := 0; i+1 < len(ranges); i += 2 {
		if n += int(ranges[i+1]-ranges[i]) + 1; n > 2*maxSpread {
			return nil
		}
		for r := ranges[i]; r <= ranges[i+1]; r++ {
			out = union(out, []string{lower(r)})
		}
	}
	if len(out) > maxSpread {
		return nil
	}
	return out
}

func union(a, b []string) []string {
	for _, s := range b {
		if !slices.Contains(a, s) {
			a = append(a, s)
		}
	}
	return a
}

// join is one part behind the other.
func join(parts []need) need {
	out := need{}
	run, whole := []string{""}, true
	flush := func() {
		n := need{exact: run}
		n.keepExact()
		out.sets = append(out.sets, n.sets...)
		run, whole = []string{""}, false
	}
	for _, p := range parts {
		if p.exact == nil {
			flush()
			out.sets = append(out.sets, p.sets...)
			continue
		}
		if len(run)*len(p.exact) > maxExact {
			flush()
		}
		run = product(run, p.exact)
	}
	if whole {
		out.exact = run
		return out
	}
	flush()
	return out
}

func product(a, b []string) []string {
	var out []string
	for _, x := range a {
		for _, y := range b {
			out = union(out, []string{x + y})
		}
	}
	return out
}

// needAlternate is one of several.
func needAlternate(re *syntax.Regexp) need {
	exact, any := []string{}, []string{}
	for _, sub := range re.Sub {
		n := needOf(sub)
		if exact != nil && n.exact != nil && len(exact)+len(n.exact) <= maxExact {
			exact = union(exact, n.exact)
		} else {
			exact = nil
		}
		n.keepExact()
		if any != nil && len(n.sets) > 0 {
			best := slices.MaxFunc(n.sets, func(a, b []string) int { return shortest(a) - shortest(b) })
			any = union(any, best)
		} else {
			any = nil
		}
		if len(any) > maxExact {
			any = nil
		}
	}
	switch {
	case exact != nil:
		return need{exact: exact}
	case any != nil:
		return need{sets: [][]string{any}}
	}
	return need{}
}

// minRunes returns how many runes a match has at least, up to maxLength.
func minRunes(re *syntax.Regexp) int {
	n := 0
	switch re.Op {
	case syntax.OpLiteral:
		n = len(re.Rune)
	case syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		n = 1
	case syntax.OpCapture, syntax.OpPlus:
		n = minRunes(re.Sub[0])
	case syntax.OpRepeat:
		n = re.Min * minRunes(re.Sub[0])
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			n += minRunes(sub)
		}
	case syntax.OpAlternate:
		n = minRunes(re.Sub[0])
		for _, sub := range re.Sub[1:] {
			n = min(n, minRunes(sub))
		}
	}
	return min(n, maxLength)
}

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

// holds says whether the folded text has a literal of the set; for tests and
// for those who have nothing faster.
func holds(folded string, set []string) bool {
	return slices.ContainsFunc(set, func(s string) bool { return strings.Contains(folded, s) })
}
