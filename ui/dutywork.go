package ui

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ui/view"
)

func (c *call) setFacts() (string, error) {
	f, err := c.readFacts()
	if err != nil {
		return "", err
	}
	if a, err := c.Duties.Assess(c.ctx(), c.id()); err == nil {
		toTheMinute(&f, a.Facts)
	}
	if err := c.Duties.Restate(c.ctx(), c.id(), f, c.form("reason"), c.who); err != nil {
		return "", err
	}
	return c.inRoom(c.id(), "facts", "duties"), nil
}

// toTheMinute keeps the seconds of times that the form shows without them.
func toTheMinute(f *duty.Facts, before duty.Facts) {
	keep := func(t *time.Time, old time.Time) {
		if !old.IsZero() && t.Equal(old.Truncate(time.Minute)) {
			*t = old
		}
	}
	keep(&f.KnownAt, before.KnownAt)
	keep(&f.NotifiedAt, before.NotifiedAt)
	keep(&f.ContractorKnownAt, before.ContractorKnownAt)
	keep(&f.PromptFiledAt, before.PromptFiledAt)
	keep(&f.FinalFiledAt, before.FinalFiledAt)
	for i := range f.Knowledge {
		for _, old := range before.Knowledge {
			keep(&f.Knowledge[i].At, old.At)
		}
	}
}

// readFacts reads the form of facts. What it means is decided by duty.
func (c *call) readFacts() (duty.Facts, error) {
	f := duty.Facts{
		LegalClass: c.form("legal_class"), Contractor: c.form("contractor"), Indicators: slices.Clone(c.r.PostForm["indicators"]),
		Exemption: duty.Proof{Algorithm: c.form("algorithm"), Evidence: c.form("evidence")},
		Items: duty.Items{
			Occurred: c.form("occurred"), Found: c.form("found"), Event: c.form("event"), Finder: c.form("finder"),
			Medium: c.form("medium"), DataKind: c.form("data_kind"), DataItems: c.form("data_items"),
			Cause: c.form("cause"), CauseParty: c.form("cause_party"), Secondary: c.form("secondary"),
			PersonCare: c.form("person_care"), Publication: c.form("publication"),
			Done: c.form("done"), Planned: c.form("planned"), Other: c.form("other"),
		},
	}
	for _, name := range duty.FactNames() {
		f.Set(name, c.factAnswer(name))
	}
	for _, name := range duty.ProofAnswers() {
		f.Exemption.Set(name, c.factAnswer("proof_"+name))
	}
	for _, id := range slices.Concat(duty.RansomFields(), duty.DDoSFields()) {
		f.Common.Set(id, c.form("form_"+id))
	}
	f.Common.NCO = c.factAnswer("nco_sharing")
	if err := c.readNumbers(&f); err != nil {
		return f, err
	}
	return f, c.readKnowledge(&f)
}

// factAnswer reads yes or no; everything else is unknown.
func (c *call) factAnswer(name string) duty.Answer {
	if a := duty.Answer(c.form(name)); a == duty.Yes || a == duty.No {
		return a
	}
	return duty.Unknown
}

func (c *call) readNumbers(f *duty.Facts) error {
	for name, to := range map[string]*time.Time{"known_at": &f.KnownAt, "notified_at": &f.NotifiedAt,
		"prompt_filed_at": &f.PromptFiledAt, "final_filed_at": &f.FinalFiledAt} {
		t, err := c.moment(name)
		if err != nil {
			return err
		}
		*to = t
	}
	for name, to := range map[string]*int{"confirmed": &f.Confirmed, "maximum": &f.Maximum} {
		if v := c.form(name); v != "" {
			n, err := strconv.Atoi(v)
			if err != nil || n < 0 {
				return fault.New(fault.Invalid, "ui.number", c.t("field."+name))
			}
			*to = n
		}
	}
	return nil
}

// maxKnownRows bounds how many lines of the form are read.
const maxKnownRows = 60

// readKnowledge reads who knew what, when: the first line has the time that is
// always asked for.
func (c *call) readKnowledge(f *duty.Facts) error {
	if who := c.form("known_who"); who != "" {
		f.Knowledge = append(f.Knowledge, duty.Knowledge{Side: duty.OwnSide, Who: who, What: c.form("known_what"), At: f.KnownAt})
	}
	for i := 1; i <= maxKnownRows; i++ {
		row := "k" + strconv.Itoa(i) + "_"
		at, err := c.knownTime(row + "at")
		if err != nil {
			return err
		}
		k := duty.Knowledge{Side: c.form(row + "side"), Who: c.form(row + "who"), What: c.form(row + "what"), At: at}
		switch {
		case k.Who == "" && k.What == "" && at.IsZero():
		case k.Side == duty.ContractorSide && k.Who == "" && k.What == "": // a time that was stated without a name
			f.ContractorKnownAt = at
		default:
			f.Knowledge = append(f.Knowledge, k)
		}
	}
	return nil
}

func (c *call) knownTime(name string) (time.Time, error) {
	v := c.form(name)
	if v == "" {
		return time.Time{}, nil
	}
	t, err := time.ParseInLocation(view.LocalInput, v, clock.Tokyo())
	if err != nil {
		return time.Time{}, fault.New(fault.Invalid, "ui.time", c.t("duty.knowledge.at"))
	}
	return t, nil
}

func (c *call) duties() (screen, error) {
	i, err := c.Incidents.Get(c.ctx(), c.id())
	if err != nil {
		return screen{}, err
	}
	d := view.DutiesData{Incident: i, Rules: c.Duties.Rules()}
	if d.At, err = c.asOf(); err != nil {
		return screen{}, err
	}
	if d.At.IsZero() {
		d.Duty, err = c.Duties.Assess(c.ctx(), i.ID)
	} else {
		d.Duty, d.As, err = c.Duties.At(c.ctx(), i.ID, d.At)
	}
	if err != nil && fault.Of(err) != fault.Missing {
		return screen{}, fmt.Errorf("assess duties: %w", err)
	}
	if d.Statements, err = c.Duties.History(c.ctx(), i.ID); err != nil {
		return screen{}, err
	}
	if d.Decisions, err = c.Duties.Decisions(c.ctx(), i.ID); err != nil {
		return screen{}, err
	}
	if !d.At.IsZero() {
		d.Statements = slices.DeleteFunc(d.Statements, func(s duty.Statement) bool { return s.At.After(d.At) })
		d.Decisions = slices.DeleteFunc(d.Decisions, func(x duty.Decision) bool { return x.At.After(d.At) })
	}
	p := c.page("incidents", c.t("duty.page"))
	p.Drill = i.Drill
	return screen{page: p, body: view.Duties(p, d)}, nil
}

// asOf is the past time that the address asks for.
func (c *call) asOf() (time.Time, error) {
	v := c.query("at")
	if v == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, v); err == nil {
		return t, nil
	}
	t, err := time.ParseInLocation(view.LocalInput, v, clock.Tokyo())
	if err != nil {
		return time.Time{}, fault.New(fault.Invalid, "ui.time", c.t("field.at"))
	}
	return t, nil
}

func (c *call) decideDuty() (string, error) {
	n := duty.NewDecision{Kind: c.form("kind"), About: c.form("about"), Choice: c.form("choice"), Reason: c.form("reason"),
		Grounds: slices.Clone(c.r.PostForm["grounds"]), Means: slices.Clone(c.r.PostForm["means"])}
	if err := c.Duties.Decide(c.ctx(), c.id(), n, c.who); err != nil {
		return "", err
	}
	return "/incidents/" + c.id() + "/duties?done=decided", nil
}

func (c *call) signExemption() (string, error) {
	n := duty.NewDecision{Choice: c.form("choice"), Reason: c.form("reason"), Digest: c.form("digest")}
	if err := c.Duties.Sign(c.ctx(), c.id(), n, c.who); err != nil {
		return "", err
	}
	return "/incidents/" + c.id() + "/duties?done=decided", nil
}

func (c *call) authorities() (screen, error) {
	d := view.AuthoritiesData{Rules: c.Duties.Rules()}
	var err error
	if d.Contacts, err = c.Duties.Contacts(c.ctx()); err != nil {
		return screen{}, err
	}
	if d.Holidays, d.Updates, err = c.Duties.HolidaysNow(c.ctx()); err != nil {
		return screen{}, err
	}
	p := c.page("incidents", c.t("authority.page"))
	return screen{page: p, body: view.Authorities(p, d)}, nil
}

func (c *call) saveAuthority() (string, error) {
	n := duty.NewContact{Name: c.form("name"), Phone: c.form("phone"), Mail: c.form("mail"), Web: c.form("web"), Note: c.form("note"),
		Verified: c.form("verified") != "", Removed: c.form("removed") != ""}
	if err := c.Duties.SaveContact(c.ctx(), c.r.PathValue("authority"), n, c.who); err != nil {
		return "", err
	}
	return "/authorities?done=saved", nil
}
