package sigma

import "github.com/sonae/sonae/detect/sigma/dfa"

// program is a regular expression of a Set; equal ones are compiled once.
type program struct {
	number int
	*dfa.Program
}

// program compiles what package regexp has compiled before. The Set is locked.
func (s *Set) program(re regexTest) *program {
	pattern := re.String()
	if p := s.programs[pattern]; p != nil {
		return p
	}
	compiled, err := dfa.Compile(pattern)
	if err != nil {
		return nil // then package regexp goes on doing it
	}
	p := &program{len(s.programs), compiled}
	s.programs[pattern] = p
	return p
}

// needs returns the sets of literals of which one each must be in the value.
func (p *program) needs() [][]literal {
	if p == nil {
		return nil
	}
	var sets [][]literal
	for _, set := range p.Needs() {
		var lits []literal
		for _, text := range set {
			lits = append(lits, literal{shape: within, text: []byte(text)})
		}
		sets = append(sets, lits)
	}
	return sets
}

// machineBytes bounds the automaton of one expression in one matcher.
const machineBytes = 256 << 10

// machine is the automaton of a matcher as a test.
type machine struct{ *dfa.Machine }

func (m *Matcher) machine(p *program) *machine {
	for len(m.machines) <= p.number {
		m.machines = append(m.machines, nil)
	}
	if m.machines[p.number] == nil {
		m.machines[p.number] = &machine{p.NewMachine(machineBytes)}
	}
	return m.machines[p.number]
}

func (t *machine) match(v *view, slot, _ int) bool {
	c := v.cell(slot)
	return c.present && t.Match(c.text)
}

func (t *machine) keyword(v *view) bool {
	return anyValue(v, func(s string) bool { return t.Match(s) })
}
