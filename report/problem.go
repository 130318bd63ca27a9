package report

import "strconv"

// Problem is what is wrong with a template of the site.
type Problem struct {
	File string `json:"file"` // name in the folder
	Line int    `json:"line"` // 0: the file as a whole
	What string `json:"what"`
}

// Error is one line: file, line and what is wrong.
func (p Problem) Error() string {
	if p.Line > 0 {
		return p.File + ":" + strconv.Itoa(p.Line) + ": " + p.What
	}
	return p.File + ": " + p.What
}

// TemplateProblems looks at all templates of the site.
func (d *Desk) TemplateProblems() ([]Problem, error) { return d.deps.Pages.Problems() }

// Template returns the template that comes with Sonae under this name, to
// begin one's own with; Missing when there is none.
func (d *Desk) Template(name string) ([]byte, error) { return d.deps.Pages.Shipped(name) }
