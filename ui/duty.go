package ui

import (
	"fmt"
	"strconv"
	"time"

	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ui/view"
)

func (c *call) facts() (screen, error) {
	i, err := c.Incidents.Get(c.ctx(), c.id())
	if err != nil {
		return screen{}, err
	}
	a, err := c.Duties.Assess(c.ctx(), i.ID)
	if err != nil && fault.Of(err) != fault.Missing {
		return screen{}, fmt.Errorf("assess duties: %w", err)
	}
	d := view.FactsData{Incident: i, Facts: a.Facts, Missing: a.Missing}
	if d.Facts.KnownAt.IsZero() {
		d.Facts.KnownAt = i.KnownAt
	}
	if d.Sites, err = c.sites(); err != nil {
		return screen{}, err
	}
	p := c.page("incidents", c.t("duty.facts"))
	p.Drill = i.Drill
	return screen{page: p, body: view.Facts(p, d)}, nil
}

func (c *call) setFacts() (string, error) {
	f, err := c.readFacts()
	if err != nil {
		return "", err
	}
	if err := c.Duties.SetFacts(c.ctx(), c.id(), f, c.who); err != nil {
		return "", err
	}
	return c.inRoom(c.id(), "facts", "duties"), nil
}

// readFacts reads the form of facts. What it means is decided by duty.
func (c *call) readFacts() (duty.Facts, error) {
	answer := func(name string) duty.Answer {
		if a := duty.Answer(c.form(name)); a == duty.Yes || a == duty.No {
			return a
		}
		return duty.Unknown
	}
	f := duty.Facts{
		LegalClass: c.form("legal_class"), Contractor: c.form("contractor"),
		Personal: answer("personal"), Sensitive: answer("sensitive"), Property: answer("property"), BadIntent: answer("bad_intent"),
		Public: answer("public"), MyNumber: answer("my_number"), PublicSystem: answer("public_system"), Encrypted: answer("encrypted"),
		Items: duty.Items{
			Occurred: c.form("occurred"), Found: c.form("found"), Event: c.form("event"), Finder: c.form("finder"),
			Medium: c.form("medium"), DataKind: c.form("data_kind"), DataItems: c.form("data_items"),
			Cause: c.form("cause"), CauseParty: c.form("cause_party"), Secondary: c.form("secondary"),
			PersonCare: c.form("person_care"), Publication: c.form("publication"),
			Done: c.form("done"), Planned: c.form("planned"), Other: c.form("other"),
		},
	}
	for name, to := range map[string]*time.Time{"known_at": &f.KnownAt, "notified_at": &f.NotifiedAt,
		"prompt_filed_at": &f.PromptFiledAt, "final_filed_at": &f.FinalFiledAt} {
		t, err := c.moment(name)
		if err != nil {
			return duty.Facts{}, err
		}
		*to = t
	}
	for name, to := range map[string]*int{"confirmed": &f.Confirmed, "maximum": &f.Maximum} {
		if v := c.form(name); v != "" {
			n, err := strconv.Atoi(v)
			if err != nil || n < 0 {
				return duty.Facts{}, fault.New(fault.Invalid, "ui.number", c.t("field."+name))
			}
			*to = n
		}
	}
	return f, nil
}

// lateWriter sets the headers of a download with its first byte, so that an
// error before it can still become a page.
type lateWriter struct {
	c      *call
	header func()
	wrote  bool
}

func (w *lateWriter) Write(b []byte) (int, error) {
	if !w.wrote {
		w.wrote = true
		w.header()
	}
	n, err := w.c.w.Write(b)
	if err != nil {
		return n, fmt.Errorf("send: %w", err)
	}
	return n, nil
}

// end returns err when there still is a page to show it on. Later the
// connection is cut, so that nobody takes half a file for a whole one.
func (w *lateWriter) end(err error) error {
	if err == nil || !w.wrote {
		return err
	}
	w.c.Log.Error("send a download", "pattern", w.c.r.Pattern, "err", err)
	panic(abort)
}
