package anomaly

import (
	"context"
	"time"
)

// Point is what a restore of one series should begin from, where something says
// that there was damage: what a person confirmed, else what the hub proposes.
type Point struct {
	Series    string    `json:"series"`
	Class     string    `json:"class,omitempty"`
	Paths     []string  `json:"paths"`
	Snapshot  string    `json:"snapshot"` // empty: none of them can be it
	Received  time.Time `json:"received,omitzero"`
	Begun     time.Time `json:"begun,omitzero"`   // when the damage began at the latest
	Proven    time.Time `json:"proven,omitzero"`  // when a restore of it was proven
	Confirmed bool      `json:"confirmed"`        // a person said so
	By        string    `json:"by,omitempty"`     // who
	At        time.Time `json:"at,omitzero"`      // when
	Reason    string    `json:"reason,omitempty"` // why
	// Later are the snapshots that came afterwards, or when damage may have begun.
	Later []string `json:"later"`
}

// Points are those of a machine, one for each series in which damage was seen or
// whose clean point people confirmed.
func (d *Desk) Points(ctx context.Context, repository string) ([]Point, error) {
	all, err := d.List(ctx, "")
	if err != nil {
		return nil, err
	}
	var out []Point
	for _, s := range all {
		if s.Repository != repository {
			continue
		}
		p, there, err := d.point(ctx, s)
		if err != nil {
			return nil, err
		}
		if there {
			out = append(out, p)
		}
	}
	return out, nil
}

func (d *Desk) point(ctx context.Context, s Series) (Point, bool, error) {
	proposed, err := d.Propose(ctx, s.ID, time.Time{}, 0)
	if err != nil {
		return Point{}, false, err
	}
	confirmed, err := d.CleanPoints(ctx, s.ID)
	if err != nil || proposed.Begun.IsZero() && len(confirmed) == 0 {
		return Point{}, false, err
	}
	p := Point{Series: s.ID, Class: s.Class, Paths: s.Paths, Snapshot: proposed.Choice, Begun: proposed.Begun, Later: []string{}}
	if n := len(confirmed); n > 0 {
		c := confirmed[n-1]
		p.Snapshot, p.Begun, p.Proven, p.Confirmed, p.By, p.At, p.Reason = c.Snapshot, c.Begun, c.Proven, true, c.By, c.At, c.Reason
	}
	for _, c := range proposed.Candidates {
		if c.Snapshot == p.Snapshot {
			p.Received = c.Received
			if !c.Proven.IsZero() {
				p.Proven = c.Proven
			}
			break
		}
		p.Later = append(p.Later, c.Snapshot) // the newest come first
	}
	return p, true, nil
}
