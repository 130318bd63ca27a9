// Package sigma reads Sigma rules and says which of them an event matches.
//
// In: Sigma YAML (specification 2.1), events as a log source and named text
// fields. Out: Rule, and a Set that evaluates only those rules whose log
// source fits. Always true: a rule is either understood completely or rejected
// with the line and the reason, because a rule that is partly applied is
// worse than none; an absent field is not an empty one; text compares without
// regard to case unless the rule says otherwise.
//
// A rule goes through Read (YAML → Draft), filters and transformations (Draft
// → Draft) and Compile (Draft → Rule). Load does all of it for many files.
package sigma

import "fmt"

// Rule is one loaded Sigma rule. It is read-only once compiled.
type Rule struct {
	Meta
	// Variant names the transformation that made this form of the rule, "" for
	// the rule as it was written.
	Variant string
	// Filters are the titles of the global filters that narrow the rule.
	Filters []string

	when   node    // the condition
	items  []item  // all tests, referred to by index from the condition
	blocks []block // what when was made of, for Explain
}

// block is a compiled Block.
type block struct {
	name       string
	selections []chosen
	when       *clause
}

// chosen is a compiled Selection.
type chosen struct {
	name string
	node node
}

// Error says why a rule was rejected.
type Error struct {
	File string
	Line int
	ID   string // when it could be read
	// Unbuilt is true when the rule is valid Sigma that asks for a feature
	// which this engine does not have, and false when the rule is wrong.
	Unbuilt bool
	// Placeholder names the placeholder without values for whose sake the rule
	// was rejected, "" otherwise.
	Placeholder string
	Reason      string
}

// Error returns file, line and reason.
func (e *Error) Error() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Reason) }

// maxFile bounds one rule file; the largest public one has 62 kB.
const maxFile = 1 << 20
