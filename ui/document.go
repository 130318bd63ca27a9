package ui

import (
	"fmt"
	"strconv"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/report"
	"github.com/sonae/sonae/ui/view"
)

// documents are what an incident needs on paper.
func (c *call) documents() (screen, error) {
	d := view.DocumentsData{}
	var err error
	if d.Incident, err = c.Incidents.Get(c.ctx(), c.id()); err != nil {
		return screen{}, err
	}
	a, err := c.Duties.Assess(c.ctx(), c.id())
	if err != nil && fault.Of(err) != fault.Missing { // without facts the law asks for nothing yet
		return screen{}, fmt.Errorf("assess duties: %w", err)
	}
	docs, err := c.Reports.List(c.ctx(), c.id())
	if err != nil {
		return screen{}, err
	}
	d.Needs = report.Needs(a, d.Incident.State, docs)
	if d.Particulars, err = c.Reports.Particulars(c.ctx(), c.id()); err != nil {
		return screen{}, err
	}
	if d.Problems, err = c.Reports.TemplateProblems(); err != nil {
		return screen{}, err
	}
	p := c.page("incidents", c.t("documents.title"))
	p.Drill = d.Incident.Drill
	return screen{page: p, body: view.Documents(p, d)}, nil
}

// makeDocument makes a document of a kind; without one it is the preliminary
// report, which the room offers.
func (c *call) makeDocument() (string, error) {
	o := report.Order{Kind: c.form("kind"), Group: c.form("group")}
	inRoom := o.Kind == ""
	if inRoom {
		o.Kind = "prompt"
	}
	if _, err := c.Reports.Make(c.ctx(), c.id(), o, c.who); err != nil {
		return "", err
	}
	if inRoom {
		return c.inRoom(c.id(), "document", "documents"), nil
	}
	return "/incidents/" + c.id() + "/documents?done=document#kind-" + o.Kind, nil
}

// thisDocument is the document of the address, which must be one of the
// incident.
func (c *call) thisDocument() (report.Document, error) {
	list, err := c.Reports.List(c.ctx(), c.id())
	if err != nil {
		return report.Document{}, fmt.Errorf("documents of incident: %w", err)
	}
	for _, d := range list {
		if d.ID == c.r.PathValue("document") {
			return d, nil
		}
	}
	return report.Document{}, errMissing
}

func (c *call) approveDocument() (string, error) {
	d, err := c.thisDocument()
	if err != nil {
		return "", err
	}
	if err := c.Reports.Approve(c.ctx(), d.ID, c.who); err != nil {
		return "", err
	}
	return "/incidents/" + c.id() + "/documents?done=document-approved#kind-" + d.Kind, nil
}

// looked records that the viewer takes a document before it is shown.
func (c *call) looked(d report.Document, format string) error {
	c.People.Viewed(c.ctx(), c.who, "report", d.ID)
	return c.Reports.Viewed(c.ctx(), d, format, c.who)
}

// document shows one document of the incident, as it was made.
func (c *call) document() (bool, error) {
	d, err := c.thisDocument()
	if err != nil {
		return true, err
	}
	if err := c.looked(d, "html"); err != nil {
		return true, err
	}
	w := &lateWriter{c: c, header: func() {
		c.w.Header().Set("Content-Type", "text/html; charset=utf-8")
		c.w.Header().Set("Content-Security-Policy", documentPolicy)
		c.w.Header().Set("Content-Disposition", fmt.Sprintf(`inline; filename="sonae-%s-%s-v%d-%s.html"`, d.Incident, d.Kind, d.Version, c.lang))
	}}
	return true, w.end(c.Reports.HTML(c.ctx(), d.ID, c.lang, w))
}

// documentFile hands out a document in another format.
func (c *call) documentFile() (bool, error) {
	d, err := c.thisDocument()
	if err != nil {
		return true, err
	}
	format := c.r.PathValue("format")
	if err := c.looked(d, format); err != nil {
		return true, err
	}
	f, err := c.Reports.File(c.ctx(), d.ID, c.lang, format)
	return true, c.hand(f, err)
}

// documentProof hands out what lies beside such a file.
func (c *call) documentProof() (bool, error) {
	d, err := c.thisDocument()
	if err != nil {
		return true, err
	}
	f, err := c.Reports.Proof(c.ctx(), d.ID, c.lang, c.r.PathValue("format"))
	return true, c.hand(f, err)
}

func (c *call) hand(f report.File, err error) error {
	if err != nil {
		return err
	}
	w := &lateWriter{c: c, header: func() {
		c.w.Header().Set("Content-Type", "application/octet-stream")
		c.w.Header().Set("X-Content-Type-Options", "nosniff")
		c.w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", f.Name))
	}}
	_, err = w.Write(f.Body)
	return w.end(err)
}

func (c *call) particulars() (screen, error) {
	i, err := c.Incidents.Get(c.ctx(), c.id())
	if err != nil {
		return screen{}, err
	}
	d := view.ParticularsData{Incident: i}
	if d.Particulars, err = c.Reports.Particulars(c.ctx(), i.ID); err != nil {
		return screen{}, err
	}
	p := c.page("incidents", c.t("documents.particulars"))
	p.Drill = i.Drill
	return screen{page: p, body: view.Particulars(p, d)}, nil
}

// mostRows bounds how many groups the form can send; report says how many
// there may be.
const mostRows = 40

func (c *call) setParticulars() (string, error) {
	var p report.Particulars
	for _, f := range p.Fields() {
		p.Set(f.ID, c.form(f.ID))
	}
	for i := range mostRows {
		of := func(name string) string { return c.form("group-" + strconv.Itoa(i) + "-" + name) }
		g := report.Group{ID: of("id"), Name: of("name"), Data: of("data"), Advice: of("advice")}
		if text := of("count"); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil || n < 0 {
				return "", fault.New(fault.Invalid, "ui.number", c.t("documents.group.count"))
			}
			g.Count = n
		}
		p.Groups = append(p.Groups, g)
	}
	if err := c.Reports.SetParticulars(c.ctx(), c.id(), p, c.who); err != nil {
		return "", err
	}
	return "/incidents/" + c.id() + "/documents?done=particulars", nil
}
