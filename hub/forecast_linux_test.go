package hub_test

import (
	"net/http"
	"testing"

	"github.com/sonae/sonae/api"
	"github.com/sonae/sonae/hub/hubtest"
	"github.com/sonae/sonae/protect/forecast"
	"github.com/sonae/sonae/protect/plan"
	"github.com/sonae/sonae/protect/policy"
)

// recovery is a restore plan with one service, whose data are of one class.
type recovery struct {
	*hubtest.Client
	plan string
}

func planRecovery(c *hubtest.Client, class string) recovery {
	var p plan.Plan
	c.Must(http.MethodPost, "/protect/plans", api.PlanBody{Site: "clinic", Name: map[string]string{"ja": "復旧計画"}, Staff: 2, Streams: 2,
		Sources:  []plan.Source{{Key: plan.AtHub, Name: map[string]string{"ja": "保管庫"}, Rate: 100, Files: 1000}},
		Services: []plan.Service{{Key: "emr", Name: map[string]string{"ja": "電子カルテ"}, Source: plan.AtHub, Bytes: 400e9, Files: 600_000, Streams: 1, Classes: []string{class}}}}, &p)
	return recovery{c, p.ID}
}

// expected is what the forecast says of the service, and the overview of all.
func (r recovery) expected(t *testing.T) (forecast.Service, policy.Line) {
	t.Helper()
	f := hubtest.Get[forecast.Forecast](r.Client, "/protect/plans/"+r.plan+"/forecast")
	o := hubtest.Get[policy.Overview](r.Client, "/protect?site=clinic")
	if len(f.Services) != 1 || o.Line.Time == nil || o.Line.Time.Plan != r.plan {
		t.Fatalf("forecast %+v, line %+v", f.Services, o.Line)
	}
	return f.Services[0], o.Line
}

// movedFrom wants that a drill that passed moved the forecast and the line of the overview.
func (r recovery) movedFrom(t *testing.T, was forecast.Service, line policy.Line) {
	t.Helper()
	now, said := r.expected(t)
	if was.Rate.Drills != 0 || !was.Proven.IsZero() || was.Loss < 0 {
		t.Errorf("before the drill: %+v", was)
	}
	if now.Rate.Drills != 1 || now.Proven.IsZero() || now.Confidence <= was.Confidence || now.Back == was.Back {
		t.Errorf("after the drill: %+v, before: %+v", now, was)
	}
	if said.Time.P50 == line.Time.P50 || said.Proved.IsZero() || said.Time.Calibrated {
		t.Errorf("line %+v %+v, before %+v", said, said.Time, line.Time)
	}
}
