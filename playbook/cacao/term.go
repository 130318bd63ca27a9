package cacao

// Term is a part of a condition, for whoever writes it in other words. Op is
// "and" or "or" over two and more Terms, "not" of one, or a comparison: =, !=,
// <, <=, >, >=, IN, LIKE, ISSUBSET; then Name is compared with Values, which
// are several for IN only.
type Term struct {
	Op     string
	Terms  []Term
	Name   string
	Values []string
}

// Term is the condition as a tree.
func (c Condition) Term() Term { return c.root.term() }

// term makes one list of what the same word joins.
func (n both) term() Term {
	t := Term{Op: "and"}
	if n.or {
		t.Op = "or"
	}
	for _, part := range []Term{n.a.term(), n.b.term()} {
		if part.Op == t.Op {
			t.Terms = append(t.Terms, part.Terms...)
		} else {
			t.Terms = append(t.Terms, part)
		}
	}
	return t
}

func (n not) term() Term { return Term{Op: "not", Terms: []Term{n.a.term()}} }

func (n comparison) term() Term { return Term{Op: n.op, Name: n.name, Values: n.values} }
