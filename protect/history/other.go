package history

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/protect/copy"
	"github.com/sonae/sonae/protect/drill"
)

// copies tells how cycles of copying ended.
func (r *reading) copies(ctx context.Context) error {
	all, err := r.Copies.Past(ctx, r.f.From, r.f.Until)
	if err != nil {
		return err
	}
	for _, c := range all {
		l := Line{At: c.Ended, Kind: Copy, Mark: Good, Host: c.Agent, Ref: c.PlaceID + "/" + c.Agent, About: c.PlaceID, Key: "copy.made",
			Args: map[string]string{"host": c.Agent, "place": c.Place.Name, "files": strconv.Itoa(c.Files), "size": alert.Bytes(c.Bytes)}}
		switch {
		case c.Problem != "":
			l.Mark, l.Key, l.Args["problem_key"], l.Args["why"] = Bad, "copy.problem", c.Problem, c.Why
		case c.Stopped:
			l.Mark, l.Key = Plain, "copy.stopped"
		case c.Sound && !c.ReadAt.Before(c.Began):
			l.Key, l.Args["size"] = "copy.verified", alert.Bytes(c.AllBytes)
		}
		if err := r.add(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

// media tells through which hands media went. They are of the site of their
// place; a place of all sites belongs to none.
func (r *reading) media(ctx context.Context) error {
	all, err := r.Copies.Media(ctx)
	if err != nil {
		return err
	}
	places, err := r.Copies.Places(ctx, true)
	if err != nil {
		return err
	}
	for _, m := range all {
		i := slices.IndexFunc(places, func(p copy.Place) bool { return p.ID == m.PlaceID })
		if i < 0 {
			continue
		}
		for n, s := range m.Custody {
			l := Line{At: s.At, Kind: Medium, Site: places[i].Site, Ref: m.ID, About: m.PlaceID, Key: "medium." + string(s.What),
				Args: map[string]string{"label": m.Label, "place": places[i].Name, "to": s.To, "seal": s.Seal, "by": s.By}}
			if s.What == copy.Ready && n > 0 {
				l.Key = "medium.back"
			}
			if err := r.add(ctx, l); err != nil {
				return err
			}
		}
	}
	return nil
}

// Bounds of what is read of drills: many at a time; none lasts longer.
const (
	drillsAtOnce = 200
	drillMargin  = 3 * 24 * time.Hour
)

// drills tells how restore drills ended.
func (r *reading) drills(ctx context.Context) error {
	for from := 0; ; from += drillsAtOnce {
		all, err := r.Drills.Runs(ctx, "", drillsAtOnce, from)
		if err != nil {
			return err
		}
		for _, x := range all {
			if x.AskedAt.Before(r.f.From.Add(-drillMargin)) { // so were all before it
				return nil
			}
			if !x.State.Over() {
				continue
			}
			if err := r.add(ctx, drillLine(x)); err != nil {
				return err
			}
		}
		if len(all) < drillsAtOnce {
			return nil
		}
	}
}

func drillLine(x drill.Run) Line {
	n := x.Definition
	l := Line{At: x.EndedAt, Kind: Drill, Mark: Bad, Site: x.Site, Host: n.Host, Class: n.Class, Ref: x.ID, About: n.ID, Key: "proof." + string(x.State),
		Args: map[string]string{"name": n.Name, "host": n.Host, "level_key": "protect.drill.level." + string(n.Level), "size": alert.Bytes(x.Bytes), "files": strconv.FormatInt(x.Files, 10)}}
	switch {
	case x.State == drill.Passed:
		l.Mark = Good
	case x.Why != nil:
		pairs := map[string]string{}
		for i, a := range x.Why.Args {
			pairs[strconv.Itoa(i)] = a
		}
		for _, lang := range []string{i18n.Japanese, i18n.English} {
			l.Args["why_"+lang] = i18n.T(lang, "fault."+x.Why.Key, pairs)
		}
	case len(x.Problems) > 0:
		l.Args["why"] = x.Problems[0].Text
	}
	return l
}

// restores tells how far restores came.
func (r *reading) restores(ctx context.Context) error {
	all, err := r.Restores.Requests(ctx)
	if err != nil {
		return err
	}
	for _, x := range all {
		if x.At.Before(r.f.From) || !x.AskedAt.Before(r.f.Until) {
			continue
		}
		versions, err := r.Restores.Versions(ctx, x.ID)
		if err != nil {
			return err
		}
		var last string
		for _, v := range versions {
			if last == string(v.State) {
				continue
			}
			last = string(v.State)
			l := Line{At: v.At, Kind: Restore, Site: v.Site, Host: v.Host, Ref: v.ID, Incident: v.Incident, Key: "restore." + last, Args: v.Args(), also: []string{v.From.Agent}}
			switch last {
			case "failed", "held":
				l.Mark = Bad
			case "restored", "released":
				l.Mark = Good
			}
			if err := r.add(ctx, l); err != nil {
				return err
			}
		}
	}
	return nil
}

// said tells of suspicious snapshots, of what people answered, and of clean
// points.
func (r *reading) said(ctx context.Context) error {
	all, err := r.Anomalies.Past(ctx, r.f.From, r.f.Until)
	if err != nil {
		return err
	}
	for _, s := range all {
		l := Line{At: s.At, Site: s.Series.Site, Host: s.Series.Host, Class: s.Series.Class, Ref: s.Of, About: s.Series.ID, Kind: Doubt,
			Args: map[string]string{"host": s.Series.Host, "snapshot": s.Of[:min(8, len(s.Of))]}}
		switch {
		case s.Found != nil:
			l.Mark, l.Key = Bad, "snapshot."+string(s.Found.Verdict)
			l.Args["points"] = strconv.Itoa(s.Found.Points)
		case s.Answer != nil:
			l.Key = "snapshot.not-planned"
			if s.Answer.Planned {
				l.Key = "snapshot.planned"
			}
			l.Args["by"], l.Args["reason"] = s.Answer.By, s.Answer.Reason
		default:
			n := s.Clean.Note(s.Series)
			l.Kind, l.Mark, l.Key, l.Args, l.Incident, l.Ref = Clean, Good, n.Key, n.Args, s.Clean.Incident, s.Clean.ID
			l.Args["by"] = s.Clean.By
		}
		if err := r.add(ctx, l); err != nil {
			return err
		}
	}
	return nil
}
