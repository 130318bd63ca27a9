package ui

import (
	"context"
	"net/url"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/protect/anomaly"
	"github.com/sonae/sonae/ui/view"
)

// Anomalies is what the pages need from protect/anomaly.
type Anomalies interface {
	List(ctx context.Context, site string) ([]anomaly.Series, error)
	Get(ctx context.Context, series string) (anomaly.Series, error)
	Snapshots(ctx context.Context, series string, limit, offset int) ([]anomaly.Snapshot, int, error)
	Snapshot(ctx context.Context, series, id string) (anomaly.Snapshot, error)
	Answer(ctx context.Context, series, id string, n anomaly.NewAnswer, by auth.Person) (anomaly.Snapshot, error)
	Propose(ctx context.Context, series string, begun time.Time, uncertain time.Duration) (anomaly.Proposal, error)
	Confirm(ctx context.Context, series string, n anomaly.NewCleanPoint, by auth.Person) (anomaly.CleanPoint, error)
	CleanPoints(ctx context.Context, series string) ([]anomaly.CleanPoint, error)
	Loss(ctx context.Context, series, snapshot string) (anomaly.Loss, error)
	ProposeClasses(ctx context.Context, site string) ([]anomaly.ClassProposal, error)
}

func (c *call) anomalies() (screen, error) {
	all, err := c.Anomalies.List(c.ctx(), c.who.Site)
	if err != nil {
		return screen{}, err
	}
	name, err := c.classNames()
	if err != nil {
		return screen{}, err
	}
	d := view.AnomalyListData{There: protectPages(), Series: all, Class: name}
	if d.Classes, err = c.Anomalies.ProposeClasses(c.ctx(), c.who.Site); err != nil {
		return screen{}, err
	}
	p := c.page("protect", c.t("protect.anomaly.title"))
	return screen{page: p, body: view.AnomalyList(p, d)}, nil
}

// classNames says what people call the classes of data that the viewer may see.
func (c *call) classNames() (func(id string) string, error) {
	all, err := c.BackupPolicies.Classes(c.ctx(), c.who.Site)
	return view.ClassNames(all), err
}

func (c *call) anomalySeries() (screen, error) {
	s, err := c.Anomalies.Get(c.ctx(), c.id())
	if err != nil {
		return screen{}, err
	}
	name, err := c.classNames()
	if err != nil {
		return screen{}, err
	}
	d := view.AnomalySeriesData{There: protectPages(), Series: s, Class: name(s.Class), Page: c.list("/protect/snapshots/"+url.PathEscape(s.ID), "begun", "uncertain"), Begun: c.either("begun")}
	d.Page.Limit = 60
	if d.Snapshots, d.Page.Total, err = c.Anomalies.Snapshots(c.ctx(), s.ID, d.Page.Limit, d.Page.Offset); err != nil {
		return screen{}, err
	}
	begun, err := c.begun(d.Begun)
	if err != nil {
		return screen{}, err
	}
	d.Uncertain, _ = time.ParseDuration(c.either("uncertain")) // none: it is certain
	if d.Proposal, err = c.Anomalies.Propose(c.ctx(), s.ID, begun, d.Uncertain); err != nil {
		return screen{}, err
	}
	if d.Points, err = c.Anomalies.CleanPoints(c.ctx(), s.ID); err != nil {
		return screen{}, err
	}
	if d.Incidents, err = c.writableIncidents(); err != nil {
		return screen{}, err
	}
	p := c.page("protect", c.t("protect.anomaly.of", "host", c.hostName(s.Host)))
	return screen{page: p, body: view.AnomalySeries(p, d)}, nil
}

// begun reads when the damage began, as a page sends it.
func (c *call) begun(v string) (time.Time, error) {
	if v == "" {
		return time.Time{}, nil
	}
	t, err := time.ParseInLocation(view.LocalInput, v, clock.Tokyo())
	if err != nil {
		return time.Time{}, fault.New(fault.Invalid, "ui.time", c.t("field.anomaly-begun"))
	}
	return t, nil
}

// writableIncidents are the ids and titles of incidents that go on and that the
// viewer may write into.
func (c *call) writableIncidents() ([][2]string, error) {
	all, _, err := c.Incidents.List(c.ctx(), incident.Filter{Active: true, Limit: 50})
	if err != nil {
		return nil, err
	}
	var out [][2]string
	for _, i := range all {
		if c.may(auth.Handle, auth.Resource{Kind: "incident", ID: i.ID, Site: auth.Among(c.who, i.Scope.Sites)}) {
			out = append(out, [2]string{i.ID, i.Title})
		}
	}
	return out, nil
}

func (c *call) anomalySnapshot() (screen, error) {
	d := view.AnomalySnapshotData{There: protectPages()}
	var err error
	if d.Series, err = c.Anomalies.Get(c.ctx(), c.id()); err != nil {
		return screen{}, err
	}
	if d.Snapshot, err = c.Anomalies.Snapshot(c.ctx(), c.id(), c.r.PathValue("snapshot")); err != nil {
		return screen{}, err
	}
	p := c.page("protect", c.t("protect.anomaly.snapshot.of", "host", c.hostName(d.Series.Host), "snapshot", d.Snapshot.ID[:min(8, len(d.Snapshot.ID))]))
	return screen{page: p, body: view.AnomalySnapshot(p, d)}, nil
}

func (c *call) anomalyLoss() (screen, error) {
	d := view.AnomalyLossData{There: protectPages()}
	var err error
	if d.Series, err = c.Anomalies.Get(c.ctx(), c.id()); err != nil {
		return screen{}, err
	}
	id := c.r.PathValue("snapshot")
	if d.Snapshot, err = c.Anomalies.Snapshot(c.ctx(), c.id(), id); err != nil {
		return screen{}, err
	}
	if d.Loss, err = c.Anomalies.Loss(c.ctx(), c.id(), id); err != nil {
		return screen{}, err
	}
	d.Page = c.list("/protect/snapshots/" + url.PathEscape(d.Series.ID) + "/" + url.PathEscape(id) + "/loss")
	d.Page.Limit, d.Page.Total = 200, len(d.Loss.Files)
	p := c.page("protect", c.t("protect.anomaly.loss.title"))
	return screen{page: p, body: view.AnomalyLoss(p, d)}, nil
}

func (c *call) answerSnapshot() (string, error) {
	id := c.r.PathValue("snapshot")
	planned := c.form("planned")
	if planned != "yes" && planned != "no" {
		return "", fault.New(fault.Invalid, "ui.form")
	}
	_, err := c.Anomalies.Answer(c.ctx(), c.id(), id, anomaly.NewAnswer{Planned: planned == "yes", Reason: c.form("reason"), Ticket: c.form("ticket")}, c.who)
	return done("/protect/snapshots/"+url.PathEscape(c.id())+"/"+url.PathEscape(id)+"?done=saved", err)
}

func (c *call) confirmClean() (string, error) {
	begun, err := c.begun(c.form("begun"))
	if err != nil {
		return "", err
	}
	n := anomaly.NewCleanPoint{Snapshot: c.form("snapshot"), Begun: begun, Reason: c.form("reason"), Incident: c.form("incident")}
	n.Uncertain, _ = time.ParseDuration(c.form("uncertain")) // none: it is certain
	if n.Incident != "" {
		i, err := c.Incidents.Get(c.ctx(), n.Incident)
		if err != nil {
			return "", err
		}
		if err := c.must(auth.Handle, auth.Resource{Kind: "incident", ID: i.ID, Site: auth.Among(c.who, i.Scope.Sites)}); err != nil {
			return "", err
		}
	}
	_, err = c.Anomalies.Confirm(c.ctx(), c.id(), n, c.who)
	return done("/protect/snapshots/"+url.PathEscape(c.id())+"?done=saved#clean", err)
}
