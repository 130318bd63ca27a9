package lang

import "time"

// Query is a parsed query.
type Query struct {
	Where Expr   // nil: everything
	Group *Group // nil: events are asked for
	Then  []Then // what happens to the table of Group, in order
	Limit int    // of events, where there is no Group; 0: not given
}

// Expr is a condition: And, Or, Not, Text or Match.
type Expr interface{ expr() }

// And holds when all of two or more hold.
type And struct{ All []Expr }

// Or holds when any of two or more holds.
type Or struct{ Any []Expr }

// Not holds when X does not.
type Not struct{ X Expr }

// Text holds when the text occurs in the original line or in any text field,
// upper and lower case alike.
type Text struct {
	Value  string
	Phrase bool // * and ? mean themselves
}

// Match holds when a field has one of the values.
type Match struct {
	Field  string // as Resolve names it
	Op     Op
	Values []string // one, except for In; none for Exists
}

func (And) expr()   {}
func (Or) expr()    {}
func (Not) expr()   {}
func (Text) expr()  {}
func (Match) expr() {}

// Op is how a field is compared.
type Op int

// Ways to compare. All are false where the field is absent, except that an
// absent text equals the empty one.
const (
	Like         Op = iota + 1 // whole value, upper and lower case alike, with * and ?
	Equals                     // exactly
	Differs                    // there and not exactly that
	Greater                    //
	GreaterEqual               //
	Less                       //
	LessEqual                  //
	In                         // one of several, as Like without * and ?
	Regex                      // a regular expression (RE2) finds something in the value
	RegexFold                  // the same, upper and lower case alike
	Network                    // an address within a CIDR range
	Exists                     // has any value
)

// Group is the stage that turns events into a table.
type Group struct {
	Kind  string        // count, top, stats or timeline
	Every time.Duration // of a timeline
	By    []string      // fields, as Resolve names them
	Aggs  []Agg         // at least one
	Top   int           // of top
}

// Agg is one computed column.
type Agg struct {
	Func  string // count, distinct, sum, avg, min, max or p
	Field string // empty for count
	P     int    // the percentile, 1 to 99
}

// Then is a stage after Group: Having, Sort or Limit.
type Then interface{ then() }

// Having keeps the rows of the table for which a column compares so.
type Having struct {
	Column int // of the table
	Op     Op  // Equals to LessEqual
	Value  string
}

// Sort orders the rows of the table.
type Sort struct{ Keys []Key }

// Key is a column to sort by.
type Key struct {
	Column int
	Desc   bool
}

// Limit keeps the first rows of the table.
type Limit struct{ N int }

func (Having) then() {}
func (Sort) then()   {}
func (Limit) then()  {}

// Kind is what a field or column holds.
type Kind string

// Kinds of fields.
const (
	KindText    Kind = "text"
	KindNumber  Kind = "number"
	KindTime    Kind = "time"
	KindAddress Kind = "address"
	KindBool    Kind = "bool"
)

// Column is a column of the table of Group.
type Column struct {
	Name string
	Kind Kind // KindText, KindNumber or KindTime
}

// Columns returns the columns of the table, those of the key first.
func (g *Group) Columns() []Column {
	var all []Column
	if g.Every > 0 {
		all = append(all, Column{"time", KindTime})
	}
	for _, f := range g.By {
		k := KindText
		if Resolve(f).Kind == KindNumber {
			k = KindNumber
		}
		all = append(all, Column{f, k})
	}
	for _, a := range g.Aggs {
		k := KindNumber
		if f := Resolve(a.Field); (a.Func == "min" || a.Func == "max") && f.Kind != KindNumber {
			k = KindText
			if f.Kind == KindTime {
				k = KindTime
			}
		}
		all = append(all, Column{a.String(), k})
	}
	return all
}

// keys is how many columns are keys.
func (g *Group) keys() int {
	n := len(g.By)
	if g.Every > 0 {
		n++
	}
	return n
}
