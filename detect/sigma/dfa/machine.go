package dfa

import (
	"encoding/binary"
	"regexp/syntax"
	"slices"
	"unicode/utf8"
)

// Machine is the automaton of a Program. It makes a state when a text first
// leads to it.
type Machine struct {
	p      *Program
	limit  int // bytes
	stride int32
	next   []int32 // next[state+class]; states are multiples of stride
	sets   [][]uint32
	before []kind // what stands before a state
	known  map[string]int32
	used   int // bytes, about

	now, then, stack []uint32 // scratch
	seen             []uint32 // by instruction: the round that visited it
	round            uint32
	key              []byte
}

// Answers in next that are no state.
const (
	unknown = -1 - iota
	dead
	matched
	full // the memory is
)

// NewMachine returns a machine that keeps about limit bytes at most.
func (p *Program) NewMachine(limit int) *Machine {
	m := &Machine{p: p, limit: limit, stride: int32(len(p.classes) + 1)}
	if p.prog != nil {
		m.seen = make([]uint32, len(p.prog.Inst))
		m.forget()
	}
	return m
}

// forget begins anew with the first state.
func (m *Machine) forget() {
	m.next, m.sets, m.before, m.used = m.next[:0], m.sets[:0], m.before[:0], 0
	m.known = map[string]int32{}
	m.now = append(m.now[:0], uint32(m.p.prog.Start))
	m.state(m.now, edge)
}

// Match says whether the pattern matches somewhere in text.
func (m *Machine) Match(text string) bool {
	if len(text) < m.p.minimum {
		return false
	}
	if m.p.run != nil {
		return m.p.run.match(text)
	}
	if m.p.prog == nil {
		return m.p.slow.MatchString(text)
	}
	for range 2 {
		switch m.walk(text) {
		case matched:
			return true
		case dead:
			return false
		}
		m.forget() // and once more: the room may have gone to other texts
	}
	return m.p.slow.MatchString(text)
}

// walk reads the text and returns matched, dead or full.
func (m *Machine) walk(text string) int32 {
	state := int32(0)
	for i := 0; i < len(text); {
		class, size := 0, 1
		if c := text[i]; c < utf8.RuneSelf {
			class = int(m.p.ascii[c])
		} else {
			var r rune
			r, size = utf8.DecodeRuneInString(text[i:])
			class = m.p.class(r)
		}
		i += size
		to := m.next[int(state)+class]
		if to < 0 {
			if to == unknown {
				to = m.step(state, class)
			}
			if to < 0 {
				return to
			}
		}
		state = to
	}
	end := len(m.p.classes)
	to := m.next[int(state)+end]
	if to == unknown {
		to = m.step(state, end)
	}
	if to >= 0 {
		return dead
	}
	return to
}

// step works out where a class leads; the class behind the last one is the
// end of the text.
func (m *Machine) step(state int32, class int) int32 {
	if m.used > m.limit {
		return full
	}
	at := state / m.stride
	after, r := edge, rune(-1)
	if class < len(m.p.classes) {
		after, r = m.p.kinds[class], m.p.classes[class]
	}
	hit := m.follow(m.sets[at], flags(m.before[at], after), r)
	to := int32(dead)
	switch {
	case hit:
		to = matched
	case r < 0:
	default:
		if !m.p.anchored {
			m.then = append(m.then, uint32(m.p.prog.Start))
		}
		if len(m.then) > 0 {
			to = m.state(m.then, after)
		}
	}
	m.next[int(state)+class] = to
	return to
}

// follow goes from the instructions of a state over the empty ones and over
// the rune r (below 0: the end). It fills m.then and says whether a match was
// reached before the rune.
func (m *Machine) follow(from []uint32, f syntax.EmptyOp, r rune) bool {
	m.round++
	if m.round == 0 { // marks of an earlier turn could be taken for this round's
		clear(m.seen)
		m.round = 1
	}
	m.then = m.then[:0]
	m.stack = append(m.stack[:0], from...)
	for len(m.stack) > 0 {
		pc := m.stack[len(m.stack)-1]
		m.stack = m.stack[:len(m.stack)-1]
		if m.seen[pc] == m.round {
			continue
		}
		m.seen[pc] = m.round
		in := &m.p.prog.Inst[pc]
		switch in.Op {
		case syntax.InstMatch:
			return true
		case syntax.InstAlt, syntax.InstAltMatch:
			m.stack = append(m.stack, in.Out, in.Arg)
		case syntax.InstNop, syntax.InstCapture:
			m.stack = append(m.stack, in.Out)
		case syntax.InstEmptyWidth:
			if syntax.EmptyOp(in.Arg)&^f == 0 {
				m.stack = append(m.stack, in.Out)
			}
		default:
			if r >= 0 && takes(in, r) {
				m.then = append(m.then, in.Out)
			}
		}
	}
	return false
}

// state returns the number of a set of instructions with what stands before.
func (m *Machine) state(set []uint32, before kind) int32 {
	slices.Sort(set)
	set = slices.Compact(set)
	m.key = append(m.key[:0], byte(before))
	for _, pc := range set {
		m.key = binary.AppendUvarint(m.key, uint64(pc))
	}
	if n, ok := m.known[string(m.key)]; ok {
		return n
	}
	n := int32(len(m.sets)) * m.stride
	m.known[string(m.key)] = n
	m.sets = append(m.sets, slices.Clone(set))
	m.before = append(m.before, before)
	for range m.stride {
		m.next = append(m.next, unknown)
	}
	m.used += len(m.key) + 4*len(set) + 4*int(m.stride) + 96
	return n
}
