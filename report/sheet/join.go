package sheet

import (
	"context"
	"net/url"
	"strconv"

	"github.com/sonae/sonae/incident/decision"
	"github.com/sonae/sonae/incident/task"
	"github.com/sonae/sonae/report"
)

// Decisions is what an Advisor on decisions about services needs of them.
type Decisions interface {
	Advice(ctx context.Context, incident string) (decision.Advice, error)
}

// Tasks is what a Counter of tasks needs of them.
type Tasks interface {
	Counts(ctx context.Context, incident string) (task.Counts, error)
}

// CountTasks is the Counter of tasks.
func CountTasks(t Tasks) Counter {
	return Counter{Name: report.Word("sheet.count.tasks", nil), Count: func(ctx context.Context, id string) (todo, doing, done int, err error) {
		c, err := t.Counts(ctx, id)
		return c.Todo, c.Doing, c.Done, err
	}}
}

// Advise is the Advisor that tells what the criteria of the services say, or
// what was decided. Nothing is told of an incident of which too little is known
// to recommend anything.
func Advise(d Decisions, names func(ctx context.Context) (map[string]string, error)) Advisor {
	return advisor{d, names}
}

type advisor struct {
	decisions Decisions
	names     func(ctx context.Context) (map[string]string, error)
}

func (a advisor) Advice(ctx context.Context, id string) ([]Advice, error) {
	d, err := a.decisions.Advice(ctx, id)
	if err != nil || d.Verdict == "" && d.Decided == nil {
		return nil, err
	}
	out := Advice{Service: d.Name.In("ja"), Verdict: Verdict(d.Verdict), Criterion: Text{JA: d.Criterion.In("ja"), EN: d.Criterion.In("en")},
		Stopping: stopping(d.Stop), Spreading: spreading(d.Spread), Path: "/incidents/" + url.PathEscape(id) + "/decision"}
	if d.Decided != nil {
		names, err := a.names(ctx)
		if err != nil {
			return nil, err
		}
		out.Decided, out.Verdict, out.By, out.Review = true, Verdict(d.Decided.Verdict), d.Decided.Who, d.Decided.ReviewAt
		if name := names[out.By]; name != "" {
			out.By = name
		}
	}
	return []Advice{out}, nil
}

// stopping is what an hour without the service costs, in the unit that says
// most; empty where the register does not say.
func stopping(c decision.StopCost) Text {
	switch {
	case c.Yen != nil:
		return report.Word("sheet.cost.yen", map[string]string{"count": strconv.Itoa(*c.Yen)})
	case c.Calls != nil:
		return report.Word("sheet.cost.calls", map[string]string{"count": strconv.Itoa(*c.Calls)})
	case len(c.Effects) > 0:
		return report.Plain(c.Effects[0])
	}
	return Text{}
}

// spreading is what is in danger while it runs on.
func spreading(c decision.SpreadCost) Text {
	switch {
	case c.Persons.Known:
		return report.Word("sheet.cost.persons", map[string]string{"count": strconv.FormatInt(c.Persons.Value, 10)})
	case c.Reachable.Known:
		return report.Word("sheet.cost.hosts", map[string]string{"count": strconv.FormatInt(c.Reachable.Value, 10)})
	}
	return Text{}
}
