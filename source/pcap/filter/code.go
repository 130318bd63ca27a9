package filter

import (
	"fmt"

	"golang.org/x/net/bpf"
)

// label is a place in a program: the number of an item that stands there.
type label int

// item is an instruction, a comparison that goes to one of two labels, or, when
// it has neither, only the place of its label.
type item struct {
	plain   bpf.Instruction
	test    *test
	yes, no label
	here    label // 0: none
	far     bool  // its labels are too far for a comparison to reach
	at      int   // of its first instruction, once laid out
}

// program is one being written.
type program struct {
	items []item
	names label
}

func (p *program) name() label { p.names++; return p.names }

// assemble writes the program of an expression.
func assemble(root node, l layout) ([]bpf.Instruction, error) {
	p := &program{}
	yes, no := p.name(), p.name()
	p.write(root.build(l), yes, no)
	p.items = append(p.items, item{here: yes}, item{plain: bpf.RetConstant{Val: Accept}}, item{here: no}, item{plain: bpf.RetConstant{Val: 0}})
	return p.layOut()
}

// write spells a node out, which goes to one label when it is true and to the
// other when not.
func (p *program) write(n node, yes, no label) {
	switch n := n.(type) {
	case both:
		next := p.name()
		p.write(n.a, next, no)
		p.items = append(p.items, item{here: next})
		p.write(n.b, yes, no)
	case either:
		next := p.name()
		p.write(n.a, yes, next)
		p.items = append(p.items, item{here: next})
		p.write(n.b, yes, no)
	case not:
		p.write(n.a, no, yes)
	case test:
		for _, load := range n.load {
			p.items = append(p.items, item{plain: load})
		}
		p.items = append(p.items, item{test: &n, yes: yes, no: no})
	}
}

// layOut gives every item its place. A comparison reaches 255 instructions
// far; one that must go farther is followed by two jumps.
func (p *program) layOut() ([]bpf.Instruction, error) {
	places := make([]int, p.names+1)
	for again := true; again; {
		at := 0
		for i := range p.items {
			p.items[i].at = at
			places[p.items[i].here] = at
			at += p.items[i].size()
		}
		if at > maxProgram {
			return nil, fmt.Errorf("filter: a program of %d instructions, at most %d", at, maxProgram)
		}
		again = false
		for i := range p.items {
			it := &p.items[i]
			if it.test != nil && !it.far && max(places[it.yes], places[it.no])-it.at-1 > 255 {
				it.far, again = true, true
			}
		}
	}
	var out []bpf.Instruction
	for _, it := range p.items {
		out = it.emit(out, places)
	}
	return out, nil
}

func (it *item) size() int {
	switch {
	case it.far:
		return 3
	case it.test != nil || it.plain != nil:
		return 1
	}
	return 0
}

func (it *item) emit(out []bpf.Instruction, places []int) []bpf.Instruction {
	switch {
	case it.far:
		return append(out, bpf.JumpIf{Cond: it.test.cond, Val: it.test.val, SkipFalse: 1},
			bpf.Jump{Skip: uint32(places[it.yes] - it.at - 2)}, bpf.Jump{Skip: uint32(places[it.no] - it.at - 3)})
	case it.test != nil:
		return append(out, bpf.JumpIf{Cond: it.test.cond, Val: it.test.val,
			SkipTrue: uint8(places[it.yes] - it.at - 1), SkipFalse: uint8(places[it.no] - it.at - 1)})
	case it.plain != nil:
		return append(out, it.plain)
	}
	return out
}
