package duty

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Table is a decision table: what follows from facts that people can see at
// once (files are encrypted, a program shares files) for facts of the law.
type Table struct {
	ID     string `yaml:"id"`
	Rows   []Row  `yaml:"rows"`
	Origin `yaml:",inline"`
}

// Row is one line of a table. All of If must be answered so.
type Row struct {
	ID     string            `yaml:"id"`
	If     map[string]Answer `yaml:"if"`
	Then   map[string]Answer `yaml:"then,omitempty"`
	Review bool              `yaml:"review,omitempty"` // a person decides and says why; then Then, or its opposite, holds
}

func (row Row) matches(f Facts) bool {
	for name, want := range row.If {
		if f.answer(name) != want {
			return false
		}
	}
	return true
}

// derive answers what follows from the tables. What people said No to stays
// No, and is listed, so that a contradiction is seen. A row that waits for a
// person's decision answers nothing before it.
func (r Rules) derive(f Facts, decided []Decision, start time.Time) (Facts, []Derived, []string) {
	from, derived, reviews := f, []Derived{}, []string{}
	for _, t := range r.Tables {
		if !t.holds(start) {
			continue
		}
		for _, row := range t.Rows {
			if !row.matches(from) {
				continue
			}
			then := row.Then
			if row.Review {
				var open bool
				if then, open = row.reviewed(decided); open {
					reviews = append(reviews, row.ID)
				}
			}
			for _, name := range slices.Sorted(maps.Keys(then)) {
				if from.answer(name) == then[name] {
					continue
				}
				derived = append(derived, f.follow(name, then[name], row.ID, from.answer(name), t.basis()))
			}
		}
	}
	return f, derived, reviews
}

// follow gives an answer that a row asks for: Yes wins over No of another row,
// and neither over what people said.
func (f *Facts) follow(name string, a Answer, row string, stated Answer, basis string) Derived {
	if stated == Unknown && f.answer(name) != Yes {
		f.Set(name, a)
	}
	return Derived{Fact: name, Answer: f.answer(name), Row: row, Basis: basis, Stated: stated}
}

// reviewed is what follows from the last decision about the row.
func (row Row) reviewed(decided []Decision) (then map[string]Answer, open bool) {
	for _, d := range slices.Backward(decided) {
		if d.Kind != KindReview || d.About != row.ID {
			continue
		}
		if d.Choice == MustReport {
			return row.Then, false
		}
		opposite := map[string]Answer{}
		if _, ok := row.Then["personal"]; ok {
			opposite["personal"] = No
		}
		return opposite, false
	}
	return nil, true
}

func (t Table) basis() string { return t.Source + " [" + t.Confidence + "]" }

func (t Table) check(seen map[string]bool) error {
	if t.ID == "" || len(t.Rows) == 0 {
		return fmt.Errorf("table %q: id and rows are needed", t.ID)
	}
	for _, row := range t.Rows {
		if row.ID == "" || seen[row.ID] || len(row.If) == 0 {
			return fmt.Errorf("table %s: row %q: an id of its own and conditions are needed", t.ID, row.ID)
		}
		seen[row.ID] = true
		for name, a := range row.If {
			if !known(name) || !a.valid() {
				return fmt.Errorf("table %s: row %s: condition %q: %q", t.ID, row.ID, name, a)
			}
		}
		for name, a := range row.Then {
			if !slices.Contains(FactNames(), name) || a != Yes {
				return fmt.Errorf("table %s: row %s: answer %q: %q", t.ID, row.ID, name, a)
			}
		}
	}
	return t.Origin.check("table " + t.ID)
}
