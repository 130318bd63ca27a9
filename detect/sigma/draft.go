package sigma

import (
	"slices"
	"time"

	"github.com/sonae/sonae/event"
)

// Meta is what a rule says about itself. People are shown it: the licences of
// public rules ask that authors stay named.
type Meta struct {
	ID             string // when the rule names none, made of its title and log source
	Name           string // how correlations and filters may call it
	Title          string
	Taxonomy       string // whose field names it uses, "" for Sigma's own
	Status         string
	Description    string
	License        string
	Author         string
	Date, Modified string // as written, YYYY-MM-DD in public rules
	References     []string
	Related        []Related
	Tags           []string
	Fields         []string // worth showing beside a finding
	FalsePositives []string
	Scope          []string
	Level          event.Severity // Medium when the rule names none
	Logsource      Logsource
	LogsourceNotes map[string]string // "definition" and what else stands beside the log source, for people
	Extra          Extra
	Threshold      *Threshold // nil for a rule that fires on every match
	File           string     // where it was read from
	Line           int        // of the document's first line
}

// Related is another rule that this one comes from or replaces.
type Related struct {
	ID   string
	Type string // derived, obsolete, merged, renamed, similar
}

// Logsource names the events that a rule is about. Empty parts fit anything.
type Logsource struct {
	Product  string `yaml:"product"`
	Category string `yaml:"category"`
	Service  string `yaml:"service"`
}

// Extra is what Sonae's own rules add under the key "sonae": the title in both
// languages, the three answers of an alert, and the action to propose.
// Texts are keyed "ja" and "en".
type Extra struct {
	Title   map[string]string
	What    map[string]string
	Affects map[string]string
	Next    map[string]string
	Propose string
}

// Threshold turns a rule into one that fires when enough events of a group
// matched within a window; see package threshold.
type Threshold struct {
	Count    int           // so many, at least 2
	Window   time.Duration // within this time, by the clocks of the hosts
	By       []string      // fields that make a group; site and host always do
	Distinct string        // count different values of this field instead of events
}

// Draft is a rule as its author wrote it: read, but not compiled. Pipelines
// and filters change drafts.
type Draft struct {
	Meta
	Blocks []Block // the rule's own first, then what filters and pipelines add; each must hold
}

// Block is a detection: named selections and how they are joined.
type Block struct {
	Name       string // "" for the rule's own, else who added it
	Selections []Selection
	Conditions []Condition // one must hold
}

// Selection is a named part of a detection.
type Selection struct {
	Name string
	Part *Part
}

// Condition is the text of a condition and its line in the file.
type Condition struct {
	Text string
	Line int
}

// Part is one line of a selection, or several parts of which all or any must
// match. Exactly one of the fields is set.
type Part struct {
	Leaf *Leaf
	All  []*Part
	Any  []*Part
}

// Leaf is a field with the values it is compared with.
type Leaf struct {
	Field     string // "" for keywords, which are looked for in every value
	Modifiers []string
	Values    []Value
	Line      int
}

// ValueKind is the type that a value has in YAML.
type ValueKind uint8

// Kinds of values. Only Text has wildcards and escapes.
const (
	Text   ValueKind = iota
	Number           // and dates: compared as they would be printed
	Bool             // "true" or "false"
	Null             // the field must be absent
)

// Value is one value of a Leaf.
type Value struct {
	Text string
	Kind ValueKind
	Line int
}

// Clone returns a copy that shares no memory that a transformation changes.
func (d *Draft) Clone() *Draft {
	c := *d
	c.Tags = slices.Clone(d.Tags)
	c.Blocks = make([]Block, len(d.Blocks))
	for i, b := range d.Blocks {
		c.Blocks[i] = b.clone()
	}
	return &c
}

func (b Block) clone() Block {
	b.Conditions = slices.Clone(b.Conditions)
	b.Selections = slices.Clone(b.Selections)
	for i := range b.Selections {
		b.Selections[i].Part = b.Selections[i].Part.Clone()
	}
	return b
}

// Clone returns a deep copy.
func (p *Part) Clone() *Part {
	c := &Part{All: cloneParts(p.All), Any: cloneParts(p.Any)}
	if p.Leaf != nil {
		l := *p.Leaf
		l.Modifiers, l.Values = slices.Clone(l.Modifiers), slices.Clone(l.Values)
		c.Leaf = &l
	}
	return c
}

func cloneParts(parts []*Part) []*Part {
	if parts == nil {
		return nil
	}
	out := make([]*Part, len(parts))
	for i, p := range parts {
		out[i] = p.Clone()
	}
	return out
}

// Leaves calls f with every leaf of the part.
func (p *Part) Leaves(f func(*Leaf)) {
	if p.Leaf != nil {
		f(p.Leaf)
	}
	for _, parts := range [][]*Part{p.All, p.Any} {
		for _, c := range parts {
			c.Leaves(f)
		}
	}
}
