package ui

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/incident/paper"
	"github.com/sonae/sonae/ui/view"
)

// pictureUpload is how the address ends that takes a picture.
const pictureUpload = "/paper/pictures"

// paperPolicy lets a picture that is opened by itself load and run nothing.
const paperPolicy = "sandbox; default-src 'none'"

// lateShown is how many of the newest lines are looked through for late ones.
const lateShown = 500

func (c *call) latePaper() (screen, error) {
	i, err := c.Incidents.Get(c.ctx(), c.id())
	if err != nil {
		return screen{}, err
	}
	d := view.PaperData{Incident: i}
	entries, err := c.Incidents.Entries(c.ctx(), i.ID, max(0, i.Entries-lateShown), lateShown)
	if err != nil {
		return screen{}, fmt.Errorf("read chronology: %w", err)
	}
	d.Late = view.LateEntries(entries)
	if d.Pictures, err = c.Paper.Pictures(c.ctx(), i.ID); err != nil {
		return screen{}, err
	}
	slices.Reverse(d.Pictures)
	if d.Calls, err = c.Paper.CallBacks(c.ctx(), i.ID); err != nil {
		return screen{}, err
	}
	if d.Sheets, err = c.Paper.Sheets(c.ctx(), i.ID); err != nil {
		return screen{}, err
	}
	if d.People, err = c.writers(i); err != nil {
		return screen{}, err
	}
	p := c.page("incidents", c.t("paper.title"))
	p.Drill = i.Drill
	return screen{page: p, body: view.LatePaper(p, d)}, nil
}

// writers are the people who may write into an incident's chronology.
func (c *call) writers(i incident.Incident) ([]auth.Person, error) {
	all, err := c.People.People(c.ctx())
	if err != nil {
		return nil, fmt.Errorf("list people: %w", err)
	}
	return slices.DeleteFunc(slices.Clone(all), func(p auth.Person) bool {
		return p.Disabled || !c.People.Allow(p, auth.Handle, auth.Resource{Kind: "entry", ID: i.ID, Site: auth.Among(p, i.Scope.Sites)}).Allowed
	}), nil
}

func (c *call) inPaper(done, section string) string {
	return "/incidents/" + url.PathEscape(c.id()) + "/paper?done=" + done + "#" + section
}

func (c *call) takeMemo() (string, error) {
	at, err := c.moment("memo_at")
	if err != nil {
		return "", err
	}
	by, err := c.moment("call_by")
	if err != nil {
		return "", err
	}
	m := paper.Memo{At: at, Caller: c.form("caller"), Organisation: c.form("organisation"), Number: c.form("number"), Asked: c.form("asked"),
		Answered: c.form("answered"), CallBy: by, CallWho: c.form("call_who")}
	if _, err := c.Paper.TakeMemo(c.ctx(), c.id(), m, c.who); err != nil {
		return "", err
	}
	return c.inPaper("memo", "calls-back"), nil
}

func (c *call) calledBack() (string, error) {
	at, err := c.moment("called_at")
	if err != nil {
		return "", err
	}
	if err := c.Paper.CalledBack(c.ctx(), c.id(), c.r.PathValue("call"), c.form("result"), at, c.who); err != nil {
		return "", err
	}
	return c.inPaper("called-back", "calls-back"), nil
}

// upload reads the file of a form, one byte more than most at the most.
func (c *call) upload(field string, most int64) (name string, data []byte, err error) {
	if err := c.r.ParseMultipartForm(1 << 20); err != nil {
		return "", nil, formFault(err)
	}
	f, head, err := c.r.FormFile(field)
	if errors.Is(err, http.ErrMissingFile) {
		return "", nil, fault.New(fault.Invalid, "paper.missing-file")
	}
	if err != nil {
		return "", nil, formFault(err)
	}
	defer f.Close()
	data, err = io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return "", nil, fmt.Errorf("read an upload: %w", err)
	}
	return head.Filename, data, nil
}

func (c *call) addPicture() (string, error) {
	name, data, err := c.upload("picture", paper.MaxPicture)
	if err != nil {
		return "", err
	}
	at, err := c.moment("written_at")
	if err != nil {
		return "", err
	}
	x, err := c.Paper.AddPicture(c.ctx(), c.id(), paper.NewPicture{Name: name, Data: data, Text: c.form("shows"), Source: c.form("picture_source"), OccurredAt: at}, c.who)
	if err != nil {
		return "", err
	}
	return c.inPaper("picture", x.ID), nil
}

// picture hands out a picture as what its bytes are; only what cannot carry
// anything else is shown.
func (c *call) picture() (bool, error) {
	x, data, err := c.Paper.Picture(c.ctx(), c.id(), c.r.PathValue("picture"))
	if err != nil {
		return false, err
	}
	how := "attachment"
	if x.File.Type.Shown() {
		how = "inline"
	}
	c.send(x.File, how, data)
	return true, nil
}

func (c *call) send(f paper.File, how string, data []byte) {
	h := c.w.Header()
	h.Set("Content-Type", string(f.Type))
	h.Set("Content-Security-Policy", paperPolicy)
	h.Set("Content-Disposition", mime.FormatMediaType(how, map[string]string{"filename": f.Name}))
	h.Set("Content-Length", strconv.Itoa(len(data)))
	_, _ = c.w.Write(data) // a reader who left
}

// template is an empty log to take to a laptop.
func (c *call) template() (bool, error) {
	lang := c.lang
	if l := c.query("lang"); i18n.Known(l) {
		lang = l
	}
	c.send(paper.File{Name: "sonae-log-" + lang + ".csv", Type: "text/csv; charset=utf-8"}, "attachment", paper.Template(lang))
	return true, nil
}

// exportPaper hands out all that came on paper, with what proves it. It is a
// form: taking it is written down.
func (c *call) exportPaper() (bool, error) {
	w := &lateWriter{c: c, header: func() {
		c.w.Header().Set("Content-Type", "application/zip")
		c.w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": "sonae-" + c.id() + "-paper.zip"}))
	}}
	err := w.end(c.Paper.Export(c.ctx(), c.id(), c.who, w))
	return w.wrote, err
}

func (c *call) inSheet(id string) string {
	return "/incidents/" + url.PathEscape(c.id()) + "/paper/sheets/" + url.PathEscape(id)
}

func (c *call) addPaperLog() (string, error) {
	name, data, err := c.upload("sheet", paper.MaxSheet)
	if err != nil {
		return "", err
	}
	p, err := c.Paper.AddSheet(c.ctx(), c.id(), name, data, c.who)
	if err != nil {
		return "", err
	}
	return c.inSheet(p.Sheet.ID), nil
}

func (c *call) paperLog() (screen, error) {
	i, err := c.Incidents.Get(c.ctx(), c.id())
	if err != nil {
		return screen{}, err
	}
	d := view.PaperLogData{Incident: i}
	if d.Preview, err = c.Paper.Preview(c.ctx(), i.ID, c.r.PathValue("sheet")); err != nil {
		return screen{}, err
	}
	p := c.page("incidents", c.t("paper.sheet.title", "name", d.Preview.Sheet.File.Name))
	p.Drill = i.Drill
	return screen{page: p, body: view.PaperLog(p, d)}, nil
}

func (c *call) paperLogFile() (bool, error) {
	s, data, err := c.Paper.SheetData(c.ctx(), c.id(), c.r.PathValue("sheet"))
	if err != nil {
		return false, err
	}
	c.send(s.File, "attachment", data)
	return true, nil
}

func (c *call) importPaperLog() (string, error) {
	choices := map[int]paper.Choice{}
	for name, values := range c.r.PostForm {
		if row, ok := strings.CutPrefix(name, view.LineField(0)[:5]); ok && len(values) == 1 {
			n, err := strconv.Atoi(row)
			if err != nil {
				return "", fault.New(fault.Invalid, "ui.form").With(err)
			}
			choices[n] = paper.Choice(values[0])
		}
	}
	id := c.r.PathValue("sheet")
	if _, err := c.Paper.Import(c.ctx(), c.id(), id, choices, c.who); err != nil {
		return "", err
	}
	return c.inSheet(id) + "?done=sheet", nil
}

// roomPaper reads the calls that were promised in the incident.
func (c *call) roomPaper(d *view.RoomData) (err error) {
	d.CallBacks, err = c.Paper.CallBacks(c.ctx(), d.Incident.ID)
	return err
}
