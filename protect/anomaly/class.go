package anomaly

import (
	"context"
	"time"
)

// ClassProposal is what the hub would take as the clean points of all series of a
// class of data: what belongs together goes back together.
type ClassProposal struct {
	Site  string `json:"site"`
	Class string `json:"class"` // id; empty: of no class
	// Begun is when the damage began at the latest in any of its series, which all
	// of them are held against.
	Begun  time.Time        `json:"begun"`
	Until  time.Time        `json:"until,omitzero"` // receive time of the earliest choice; zero: a series has none
	Series []SeriesProposal `json:"series"`
}

// SeriesProposal is that of one of its series.
type SeriesProposal struct {
	Series   Series    `json:"series"`
	Choice   string    `json:"choice"` // snapshot; empty: none is left
	Received time.Time `json:"received,omitzero"`
	Proven   time.Time `json:"proven,omitzero"`
}

// ProposeClasses proposes clean points for each class of a site, of all sites
// when it is empty, in which something is flagged or asked that nobody answered.
func (d *Desk) ProposeClasses(ctx context.Context, site string) ([]ClassProposal, error) {
	all, err := d.List(ctx, site)
	if err != nil {
		return nil, err
	}
	var out []ClassProposal
	for _, group := range classes(all) {
		p := ClassProposal{Site: group[0].Site, Class: group[0].Class}
		for _, s := range group {
			own, err := d.Propose(ctx, s.ID, time.Time{}, 0)
			if err != nil {
				return nil, err
			}
			if !own.Begun.IsZero() && (p.Begun.IsZero() || own.Begun.Before(p.Begun)) {
				p.Begun = own.Begun
			}
		}
		if err := d.proposeEach(ctx, &p, group); err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// proposeEach holds every series of a class against the same beginning.
func (d *Desk) proposeEach(ctx context.Context, p *ClassProposal, group []Series) error {
	whole := true
	for _, s := range group {
		one, err := d.Propose(ctx, s.ID, p.Begun, 0)
		if err != nil {
			return err
		}
		x := SeriesProposal{Series: s, Choice: one.Choice}
		for _, c := range one.Candidates {
			if c.Snapshot == one.Choice {
				x.Received, x.Proven = c.Received, c.Proven
			}
		}
		whole = whole && x.Choice != ""
		if x.Choice != "" && (p.Until.IsZero() || x.Received.Before(p.Until)) {
			p.Until = x.Received
		}
		p.Series = append(p.Series, x)
	}
	if !whole {
		p.Until = time.Time{}
	}
	return nil
}

// classes are the series of each class in which a person is waited for, in the
// order of the list.
func classes(all []Series) (out [][]Series) {
	type key struct{ site, class string }
	open, at := map[key]bool{}, map[key]int{}
	for _, s := range all {
		open[key{s.Site, s.Class}] = open[key{s.Site, s.Class}] || s.Open > 0
	}
	for _, s := range all {
		k := key{s.Site, s.Class}
		if !open[k] {
			continue
		}
		i, ok := at[k]
		if !ok {
			i, at[k] = len(out), len(out)
			out = append(out, nil)
		}
		out[i] = append(out[i], s)
	}
	return out
}
