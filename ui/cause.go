package ui

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/incident/cause"
	"github.com/sonae/sonae/ui/view"
)

func (c *call) causes() (screen, error) {
	i, err := c.Incidents.Get(c.ctx(), c.id())
	if err != nil {
		return screen{}, err
	}
	d := view.CauseData{Incident: i, Hears: c.may(auth.Report, auth.Resource{Kind: "interview", ID: i.ID, Site: auth.Among(c.who, i.Scope.Sites)})}
	from, to, err := c.span()
	if err != nil {
		return screen{}, err
	}
	if d.Graph, err = c.Causes.Graph(c.ctx(), i.ID, c.who.Site, from, to); err != nil {
		return screen{}, err
	}
	factors, err := c.Causes.Factors(c.ctx(), i.ID)
	if err != nil {
		return screen{}, err
	}
	d.Whys = cause.Tree(factors)
	if d.Hears {
		if d.Interviews, err = c.Causes.Interviews(c.ctx(), i.ID); err != nil {
			return screen{}, err
		}
		if len(d.Interviews) > 0 {
			c.People.Viewed(c.ctx(), c.who, "interviews", i.ID)
		}
	}
	if d.Measures, err = c.Causes.Measures(c.ctx(), i.ID); err != nil {
		return screen{}, err
	}
	if d.Lessons, err = c.Causes.Lessons(c.ctx(), i.ID); err != nil {
		return screen{}, err
	}
	if d.People, err = c.commanders(view.RoomData{Incident: i}); err != nil {
		return screen{}, err
	}
	p := c.page("incidents", c.t("cause.title"))
	p.Drill = i.Drill
	return screen{page: p, body: view.Cause(p, d)}, nil
}

// span is the time that the graph shows, as the address says.
func (c *call) span() (from, to time.Time, err error) {
	for name, at := range map[string]*time.Time{"from": &from, "to": &to} {
		if v := c.query(name); v != "" {
			if *at, err = time.Parse(time.RFC3339, v); err != nil {
				return from, to, errMissing
			}
		}
	}
	return from, to, nil
}

func (c *call) inCause(done, section string) string {
	return "/incidents/" + url.PathEscape(c.id()) + "/cause?done=" + done + "#" + section
}

func (c *call) newFactor() cause.NewFactor {
	n := cause.NewFactor{Parent: c.form("parent"), Category: c.form("category"), Text: c.form("text"), Estimate: c.form("estimate") != "", Root: c.form("root") != ""}
	for _, ref := range strings.FieldsFunc(c.form("evidence"), func(r rune) bool { return strings.ContainsRune(" ,、 \t", r) }) {
		n.Evidence = append(n.Evidence, cause.ParseLink(ref))
	}
	return n
}

func (c *call) addFactor() (string, error) {
	f, err := c.Causes.AddFactor(c.ctx(), c.id(), c.newFactor(), c.who)
	if err != nil {
		return "", err
	}
	return c.inCause("why", f.ID), nil
}

func (c *call) reviseFactor() (string, error) {
	id := c.r.PathValue("factor")
	if err := c.Causes.ReviseFactor(c.ctx(), c.id(), id, c.newFactor(), c.who); err != nil {
		return "", err
	}
	return c.inCause("why", id), nil
}

func (c *call) withdrawFactor() (string, error) {
	id := c.r.PathValue("factor")
	if err := c.Causes.WithdrawFactor(c.ctx(), c.id(), id, c.form("reason"), c.who); err != nil {
		return "", err
	}
	return c.inCause("why", id), nil
}

func (c *call) addInterview() (string, error) {
	at, err := c.moment("heard_at")
	if err != nil {
		return "", err
	}
	v, err := c.Causes.AddInterview(c.ctx(), c.id(), cause.NewInterview{Who: c.form("who"), Position: c.form("position"), HeardBy: c.form("heard_by"),
		HeardAt: at, Consent: c.form("consent"), Text: c.form("heard")}, c.who)
	if err != nil {
		return "", err
	}
	return c.inCause("interview", v.ID), nil
}

// lastOf reads a field with a day: the end of it in Japan; an empty field is the
// zero time.
func (c *call) lastOf(name string) (time.Time, error) {
	v := c.form(name)
	if v == "" {
		return time.Time{}, nil
	}
	t, err := time.ParseInLocation(time.DateOnly, v, clock.Tokyo())
	if err != nil {
		return t, fault.New(fault.Invalid, "ui.time", c.t("field."+name))
	}
	return t.AddDate(0, 0, 1).Add(-time.Second), nil
}

func (c *call) addMeasure() (string, error) {
	due, err := c.lastOf("due")
	if err != nil {
		return "", err
	}
	check, err := c.lastOf("check")
	if err != nil {
		return "", err
	}
	m, err := c.Causes.AddMeasure(c.ctx(), c.id(), cause.NewMeasure{Title: c.form("measure_title"), Plan: c.form("plan"), Factors: slices.Clone(c.r.PostForm["factors"]),
		Owner: c.form("owner"), DueAt: due, CheckAt: check, Number: c.form("measured_by"), Target: c.form("target")}, c.who)
	if err != nil {
		return "", err
	}
	return c.inCause("measure", m.ID), nil
}

func (c *call) goMeasure() (string, error) {
	due, err := c.lastOf("due")
	if err != nil {
		return "", err
	}
	check, err := c.lastOf("check")
	if err != nil {
		return "", err
	}
	id := c.r.PathValue("measure")
	said := cause.Progress{To: cause.State(c.form("to")), Text: c.form("progress"), Measured: c.form("measured"), DueAt: due, CheckAt: check}
	if err := c.Causes.Go(c.ctx(), c.id(), id, said, c.who); err != nil {
		return "", err
	}
	return c.inCause("measure", id), nil
}

func (c *call) addLesson() (string, error) {
	l, err := c.Causes.AddLesson(c.ctx(), c.id(), c.form("lesson"), c.form("target_kind"), c.form("ref"), c.who)
	if err != nil {
		return "", err
	}
	return c.inCause("lesson", l.ID), nil
}

func (c *call) answerLesson() (string, error) {
	id := c.r.PathValue("lesson")
	if err := c.Causes.AnswerLesson(c.ctx(), c.id(), id, c.form("answer"), c.who); err != nil {
		return "", err
	}
	return c.inCause("lesson", id), nil
}

// visible looks up the incidents of measures and lessons, as far as the viewer
// may see them.
func (c *call) visible() func(id string) (incident.Incident, bool, error) {
	known := map[string]incident.Incident{}
	return func(id string) (incident.Incident, bool, error) {
		i, ok := known[id]
		if !ok {
			var err error
			if i, err = c.Incidents.Get(c.ctx(), id); err != nil {
				return i, false, err
			}
			known[id] = i
		}
		return i, c.may(auth.View, auth.Resource{Kind: "incident", ID: i.ID, Site: auth.Among(c.who, i.Scope.Sites)}), nil
	}
}

// lessons are those of incidents that the viewer may see.
func (c *call) lessons(all []cause.Lesson) []cause.Lesson {
	see := c.visible()
	return slices.DeleteFunc(slices.Clone(all), func(l cause.Lesson) bool {
		_, ok, err := see(l.Incident)
		return err != nil || !ok
	})
}

// measures are the improvements of all incidents that the viewer may see, and
// the lessons that wait.
func (c *call) measures() (screen, error) {
	d, see := view.MeasuresData{All: c.query("all") != ""}, c.visible()
	all, err := c.Causes.Measures(c.ctx(), "")
	if err != nil {
		return screen{}, err
	}
	for _, m := range all {
		i, ok, err := see(m.Incident)
		if err != nil {
			return screen{}, err
		}
		if ok && (d.All || m.State.Open()) {
			d.Lines = append(d.Lines, view.MeasureLine{Measure: m, Incident: i})
		}
	}
	lessons, err := c.Causes.Lessons(c.ctx(), "")
	if err != nil {
		return screen{}, err
	}
	for _, l := range lessons {
		i, ok, err := see(l.Incident)
		if err != nil {
			return screen{}, err
		}
		if ok && l.Waits() {
			d.Lessons = append(d.Lessons, view.LessonLine{Lesson: l, Incident: i})
		}
	}
	p := c.page("incidents", c.t("measures.title"))
	return screen{page: p, body: view.Improvements(p, d)}, nil
}

// roomCause reads the measures of the incident.
func (c *call) roomCause(d *view.RoomData) (err error) {
	d.Measures, err = c.Causes.Measures(c.ctx(), d.Incident.ID)
	return err
}
