package ui

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/incident/cause"
	"github.com/sonae/sonae/playbook"
	"github.com/sonae/sonae/playbook/cacao"
	"github.com/sonae/sonae/ui/view"
)

func (c *call) playbooks() (screen, error) {
	all, err := c.Books.Books(c.ctx())
	if err != nil {
		return screen{}, err
	}
	p := c.page("playbooks", c.t("playbook.list"))
	return screen{page: p, body: view.Playbooks(p, all)}, nil
}

// importPlaybook reads a file, or what was pasted.
func (c *call) importPlaybook() (string, error) {
	if err := c.r.ParseMultipartForm(1 << 20); err != nil && !errors.Is(err, http.ErrNotMultipart) {
		return "", formFault(err)
	}
	data := []byte(c.r.FormValue("text"))
	if f, _, err := c.r.FormFile("file"); err == nil {
		defer f.Close()
		sent, err := io.ReadAll(io.LimitReader(f, cacao.MaxBytes+1))
		if err != nil {
			return "", fmt.Errorf("read a playbook: %w", err)
		}
		if len(sent) > 0 {
			data = sent
		}
	}
	if len(data) == 0 {
		return "", fault.New(fault.Invalid, "playbook.nothing")
	}
	b, err := c.Books.Import(c.ctx(), data, c.who)
	if err != nil {
		return "", err
	}
	return "/playbooks/" + url.PathEscape(b.ID) + "?done=playbook", nil
}

func (c *call) playbook() (screen, error) {
	b, err := c.Books.Book(c.ctx(), c.r.PathValue("book"))
	if err != nil {
		return screen{}, err
	}
	waiting, err := c.Causes.LessonsFor(c.ctx(), cause.ForPlaybook, b.ID)
	if err != nil {
		return screen{}, err
	}
	p := c.page("playbooks", b.Name.In(c.lang))
	return screen{page: p, body: view.Playbook(p, b, c.Books.Signatures(b), c.lessons(waiting))}, nil
}

// signPlaybook keeps a version that carries this hub's signature.
func (c *call) signPlaybook() (string, error) {
	b, err := c.Books.Sign(c.ctx(), c.r.PathValue("book"), c.who)
	if err != nil {
		return "", err
	}
	return "/playbooks/" + url.PathEscape(b.ID) + "?done=saved", nil
}

// exportPlaybook hands out the text as it came.
func (c *call) exportPlaybook() (bool, error) {
	b, err := c.Books.Book(c.ctx(), c.r.PathValue("book"))
	if err != nil {
		return false, err
	}
	c.w.Header().Set("Content-Type", "application/json; charset=utf-8")
	c.w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", b.ID+".json"))
	_, _ = c.w.Write(b.Source) // a reader who left
	return true, nil
}

// roomRuns reads the runs of an incident and the playbooks that fit its alerts.
func (c *call) roomRuns(d *view.RoomData) (err error) {
	if d.Runs, err = c.Books.Runs(c.ctx(), d.Incident.ID); err != nil {
		return err
	}
	rules, err := c.Alerts.Rules(c.ctx(), alert.Filter{Incident: d.Incident.ID, Site: c.who.Site})
	if err != nil {
		return err
	}
	if d.Offers, err = c.Books.Offer(c.ctx(), rules); err != nil {
		return err
	}
	runs := func(b *playbook.Book) bool {
		return slices.ContainsFunc(d.Runs, func(r playbook.Run) bool { return r.Book == b.ID && r.State == playbook.Running })
	}
	d.Offers = slices.DeleteFunc(d.Offers, runs)
	all, err := c.Books.Books(c.ctx())
	if err != nil {
		return err
	}
	d.Books = slices.DeleteFunc(all, func(b *playbook.Book) bool {
		return runs(b) || slices.ContainsFunc(d.Offers, func(o *playbook.Book) bool { return o.ID == b.ID })
	})
	return nil
}

// beginRun begins a playbook, after it was asked for what comes from outside.
func (c *call) beginRun() (string, error) {
	b, err := c.Books.Book(c.ctx(), c.form("playbook"))
	if err != nil {
		return "", err
	}
	if len(b.External()) > 0 && c.form("asked") == "" {
		return "/incidents/" + url.PathEscape(c.id()) + "/begin?playbook=" + url.QueryEscape(b.ID), nil
	}
	r, err := c.Books.BeginWith(c.ctx(), c.id(), b.ID, c.returned(), c.who)
	if err != nil {
		return "", err
	}
	return view.RunPath(r) + "?done=run", nil
}

// beginning asks for the values with which a run is begun.
func (c *call) beginning() (screen, error) {
	i, err := c.Incidents.Get(c.ctx(), c.id())
	if err != nil {
		return screen{}, err
	}
	id := c.query("playbook")
	if c.err != nil {
		id = c.form("playbook")
	}
	b, err := c.Books.Book(c.ctx(), id)
	if err != nil {
		return screen{}, err
	}
	p := c.page("incidents", c.t("playbook.begin.this", "name", b.Name.In(c.lang)))
	p.Drill = i.Drill
	return screen{page: p, body: view.BeginRun(p, i, b)}, nil
}

// thisRun is the run of the address, which must be one of the incident.
func (c *call) thisRun() (playbook.Run, incident.Incident, error) {
	r, err := c.Books.Run(c.ctx(), c.r.PathValue("run"))
	if err != nil {
		return r, incident.Incident{}, err
	}
	if r.Incident != c.id() {
		return r, incident.Incident{}, errMissing
	}
	i, err := c.Incidents.Get(c.ctx(), r.Incident)
	return r, i, err
}

func (c *call) runData() (view.RunData, error) {
	r, i, err := c.thisRun()
	if err != nil {
		return view.RunData{}, err
	}
	b, err := c.Books.Book(c.ctx(), r.Version)
	return view.RunData{Incident: i, Run: r, Book: b}, err
}

func (c *call) runPage() (screen, error) {
	d, err := c.runData()
	if err != nil {
		return screen{}, err
	}
	p := c.page("incidents", d.Run.Name.In(c.lang))
	p.Drill = d.Run.Drill
	return screen{page: p, body: view.Run(p, d)}, nil
}

func (c *call) reportStep() (string, error) {
	r, _, err := c.thisRun()
	if err != nil {
		return "", err
	}
	visit, err := strconv.Atoi(c.r.PathValue("visit"))
	if err != nil {
		return "", errMissing
	}
	at, err := c.moment("done_at")
	if err != nil {
		return "", err
	}
	said := playbook.Report{Visit: visit, What: c.form("what"), Note: c.form("note"), Chosen: c.form("chosen"), At: at, Values: c.returned()}
	if r, err = c.Books.Report(c.ctx(), r.ID, said, c.who); err != nil {
		return "", err
	}
	return view.RunPath(r) + "?done=step-" + said.What + "#now", nil
}

// returned are the values that were typed for what a step returns.
func (c *call) returned() map[string]string {
	all := map[string]string{}
	for field := range c.r.PostForm {
		if name, ok := strings.CutPrefix(field, view.Returns); ok && c.form(field) != "" {
			all[name] = c.form(field)
		}
	}
	return all
}

func (c *call) cancelRun() (string, error) {
	r, _, err := c.thisRun()
	if err != nil {
		return "", err
	}
	if err := c.Books.Cancel(c.ctx(), r.ID, c.form("reason"), c.who); err != nil {
		return "", err
	}
	return view.RunPath(r) + "?done=run-cancelled", nil
}

// paperLines is how many lines the form for results from paper has.
const paperLines = 10

func (c *call) paper() (screen, error) {
	d, err := c.runData()
	if err != nil {
		return screen{}, err
	}
	for i := range paperLines {
		var l view.PaperLine
		if f := c.r.PostForm; c.err != nil && i < len(f["code"]) && i < len(f["time"]) && i < len(f["what"]) && i < len(f["note"]) && i < len(f["written"]) {
			l = view.PaperLine{Code: f["code"][i], Time: f["time"][i], What: f["what"][i], Note: f["note"][i], Values: f["written"][i]}
		}
		d.Paper = append(d.Paper, l)
	}
	p := c.page("incidents", c.t("playbook.paper"))
	p.Drill = d.Run.Drill
	return screen{page: p, body: view.Paper(p, d)}, nil
}

// keyIn takes what stands on paper, line by line in the order of the page.
// What was taken stays when a later line is refused.
func (c *call) keyIn() (string, error) {
	d, err := c.runData()
	if err != nil {
		return "", err
	}
	day, err := time.ParseInLocation("2006-01-02", c.form("day"), clock.Tokyo())
	if err != nil {
		return "", fault.New(fault.Invalid, "ui.time", c.t("field.day"))
	}
	codes, times, whats, notes, written := c.r.PostForm["code"], c.r.PostForm["time"], c.r.PostForm["what"], c.r.PostForm["note"], c.r.PostForm["written"]
	if len(written) == 0 { // a form without that column
		written = make([]string, len(codes))
	}
	if len(times) != len(codes) || len(whats) != len(codes) || len(notes) != len(codes) || len(written) != len(codes) {
		return "", fault.New(fault.Invalid, "ui.form")
	}
	taken := 0
	for i, code := range codes {
		if code == "" {
			continue
		}
		if err := c.keyLine(d, day, code, view.PaperLine{Time: times[i], What: whats[i], Note: notes[i], Values: written[i]}); err != nil {
			for name, all := range map[string][]string{"code": codes, "time": times, "what": whats, "note": notes, "written": written} {
				c.r.PostForm[name] = all[i:] // what was taken is not shown again
			}
			return "", err
		}
		taken++
	}
	if taken == 0 {
		return "", fault.New(fault.Invalid, "playbook.nothing-keyed")
	}
	return view.RunPath(d.Run) + "?done=keyed", nil
}

func (c *call) keyLine(d view.RunData, day time.Time, code string, l view.PaperLine) error {
	card := d.Book.Coded(d.Run.ID, code)
	if card == nil {
		return fault.New(fault.Invalid, "playbook.code-unknown", code)
	}
	r, err := c.Books.Run(c.ctx(), d.Run.ID)
	if err != nil {
		return err
	}
	v := r.OpenAt(card.ID)
	if v == nil {
		return fault.New(fault.Conflict, "playbook.code-closed", code)
	}
	t, err := time.Parse("15:04", l.Time)
	if err != nil {
		return fault.New(fault.Invalid, "playbook.code-time", code)
	}
	said := playbook.Report{Visit: v.No, What: l.What, Note: l.Note, At: day.Add(time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute), Paper: true}
	if q := card.Ext.Ask; q != nil || len(v.Choose) > 0 { // the answer stands in the note's place
		said.Chosen, said.Note = view.Answer(card, v, l.Note), ""
	}
	if said.Values, err = d.Book.Written(&r, v.No, l.Values); err != nil {
		return err
	}
	_, err = c.Books.Report(c.ctx(), r.ID, said, c.who)
	return err
}
