// Package dfa says whether a text matches a regular expression, and nothing
// more: no captures and no positions.
//
// In: patterns in the syntax of package regexp, texts. Out: yes or no. Always
// true: the answer is that of regexp.MatchString; the time for a text is
// proportional to its length, with the constant of a table look-up, as long as
// the automaton fits into its memory; that memory is bounded, and what does
// not fit is answered by package regexp.
//
// A Program is shared and read-only. A Machine is the automaton that grows as
// texts are read; one goroutine may use it at a time.
package dfa

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"unicode"
)

// Program is a compiled pattern.
type Program struct {
	slow     *regexp.Regexp
	prog     *syntax.Prog
	anchored bool // it can only match at the beginning of the text

	classes []rune // classes[i] is the first rune of class i, ascending
	ascii   [128]uint8
	kinds   []kind // by class

	minimum int // runes that a match has at least
	run     *run
	needs   [][]string
}

// kind is what empty-width assertions ask of a neighbouring rune.
type kind uint8

const (
	other kind = iota
	word
	newline
	edge // begin or end of the text
)

// maxClasses bounds the width of the table, and lets a class fit into a byte.
const maxClasses = 250

// maxWork bounds the time of Compile, in comparisons of a rune with an
// instruction.
const maxWork = 4 << 20

// Compile prepares a pattern.
func Compile(pattern string) (*Program, error) {
	slow, err := regexp.Compile(pattern)
	if err != nil {
		return nil, err
	}
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("parse %q: %w", pattern, err)
	}
	p := &Program{slow: slow, minimum: minRunes(tree), run: runOf(tree), needs: needsOf(tree)}
	if p.prog, err = syntax.Compile(tree.Simplify()); err != nil {
		return nil, fmt.Errorf("compile %q: %w", pattern, err)
	}
	p.anchored = p.prog.StartCond()&syntax.EmptyBeginText != 0
	p.classify()
	return p, nil
}

// Needs returns sets of literals. A text that matches holds at least one of
// each set once both are put in lower case rune by rune (unicode.ToLower).
func (p *Program) Needs() [][]string { return p.needs }

// MinRunes returns how many runes a match has at least.
func (p *Program) MinRunes() int { return p.minimum }

// classify divides the runes so that all of a class take the same way through
// the program.
func (p *Program) classify() {
	cuts := []rune{0, '\n', '\n' + 1, '0', '9' + 1, 'A', 'Z' + 1, '_', '_' + 1, 'a', 'z' + 1}
	for i := range p.prog.Inst {
		in := &p.prog.Inst[i]
		if in.Op != syntax.InstRune && in.Op != syntax.InstRune1 {
			continue
		}
		if len(in.Rune) == 1 {
			cuts = append(cuts, in.Rune[0], in.Rune[0]+1)
			for r := unicode.SimpleFold(in.Rune[0]); r != in.Rune[0]; r = unicode.SimpleFold(r) {
				cuts = append(cuts, r, r+1)
			}
			continue
		}
		for k := 0; k+1 < len(in.Rune); k += 2 {
			cuts = append(cuts, in.Rune[k], in.Rune[k+1]+1)
		}
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	if len(cuts)*len(p.prog.Inst) <= maxWork {
		p.classes = p.merge(cuts)
	}
	if len(p.classes) == 0 || len(p.classes) > maxClasses {
		p.classes, p.prog = nil, nil // package regexp has to do it
		return
	}
	for _, r := range p.classes {
		p.kinds = append(p.kinds, kindOf(r))
	}
	for c := range p.ascii {
		p.ascii[c] = uint8(p.class(rune(c)))
	}
}

// merge joins neighbouring intervals that no instruction tells apart.
func (p *Program) merge(cuts []rune) []rune {
	out := cuts[:1]
	for _, r := range cuts[1:] {
		if p.different(out[len(out)-1], r) {
			out = append(out, r)
		}
	}
	return out
}

func (p *Program) different(a, b rune) bool {
	if kindOf(a) != kindOf(b) {
		return true
	}
	for i := range p.prog.Inst {
		if in := &p.prog.Inst[i]; takes(in, a) != takes(in, b) {
			return true
		}
	}
	return false
}

// takes says whether an instruction consumes the rune.
func takes(in *syntax.Inst, r rune) bool {
	switch in.Op {
	case syntax.InstRune, syntax.InstRune1:
		return in.MatchRune(r)
	case syntax.InstRuneAny:
		return true
	case syntax.InstRuneAnyNotNL:
		return r != '\n'
	}
	return false
}

func kindOf(r rune) kind {
	switch {
	case r == '\n':
		return newline
	case syntax.IsWordChar(r):
		return word
	}
	return other
}

// class returns the number of the class of a rune.
func (p *Program) class(r rune) int {
	i, exact := slices.BinarySearch(p.classes, r)
	if exact {
		return i
	}
	return i - 1
}

// flags returns which assertions hold between two neighbours.
func flags(before, after kind) syntax.EmptyOp {
	var f syntax.EmptyOp
	switch before {
	case edge:
		f |= syntax.EmptyBeginText | syntax.EmptyBeginLine
	case newline:
		f |= syntax.EmptyBeginLine
	}
	switch after {
	case edge:
		f |= syntax.EmptyEndText | syntax.EmptyEndLine
	case newline:
		f |= syntax.EmptyEndLine
	}
	if (before == word) != (after == word) {
		return f | syntax.EmptyWordBoundary
	}
	return f | syntax.EmptyNoWordBoundary
}
