package action

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/state"
)

// advance takes cuttings from stage to stage. Another stage begins once all of
// the one before holds, once a person says so, or after stageWait; what does
// not hold is told. One failing cutting does not hold up the others.
func (d *Desk) advance(ctx context.Context) error {
	open, err := list[Cutting](ctx, d.db, `SELECT body FROM site_cutting WHERE state IN ('requested', 'cutting', 'cut', 'releasing')`)
	if err != nil {
		return err
	}
	var first error
	for _, c := range open {
		parts, err := d.actionsOf(ctx, c)
		if err == nil && c.due(parts, d.now().UTC()) {
			_, err = d.alterCutting(ctx, c.ID, func(tx *state.Tx, c *Cutting, plans []Action) error { return d.step(ctx, tx, c, parts, plans) })
		}
		if err != nil && first == nil {
			first = fmt.Errorf("cutting %s: %w", c.ID, err)
		}
	}
	return first
}

// actionsOf are the actions of a cutting by their ids.
func (d *Desk) actionsOf(ctx context.Context, c Cutting) (map[string]Action, error) {
	out := map[string]Action{}
	for _, p := range c.Parts {
		if p.Action == "" {
			continue
		}
		a, err := d.Get(ctx, p.Action)
		if err != nil {
			return nil, err
		}
		out[p.Action] = a
	}
	return out, nil
}

// open names the parts of a stage that do not hold.
func (c Cutting) open(s Stage, actions map[string]Action) (names []string) {
	for _, p := range c.of(s) {
		if p.Action == "" || actions[p.Action].State != Verified {
			names = append(names, p.Name)
		}
	}
	return names
}

// over says whether nothing of a stage is in force; "": of all stages.
func (c Cutting) over(s Stage, actions map[string]Action) bool {
	return !slices.ContainsFunc(c.Parts, func(p CuttingPart) bool {
		return (s == "" || p.Stage == s) && p.Action != "" && actions[p.Action].Active()
	})
}

// due says whether a cutting takes a step now.
func (c Cutting) due(actions map[string]Action, now time.Time) bool {
	waited := now.Sub(c.StageAt) > stageWait
	switch c.State {
	case CutRequested:
		return now.Sub(c.RequestedAt) > waitForPerson
	case CutBegun:
		return c.GoOn || waited || len(c.open(c.Stage, actions)) == 0
	case CutHolds:
		return c.over("", actions)
	case CutReleasing:
		return waited || c.over(c.Stage, actions)
	}
	return false
}

// step is what follows.
func (d *Desk) step(ctx context.Context, tx *state.Tx, c *Cutting, actions map[string]Action, plans []Action) error {
	now := d.now().UTC()
	if !c.due(actions, now) { // decided on in the meantime
		return nil
	}
	switch c.State {
	case CutRequested:
		c.State, c.EndedAt = CutExpired, now
		c.note(now, "nobody-decided")
	case CutHolds:
		c.State, c.EndedAt = CutExpired, now
		c.note(now, "expired")
	case CutBegun:
		if err := d.next(ctx, tx, c, actions, plans); err != nil {
			return err
		}
	case CutReleasing:
		all := c.stages()
		slices.Reverse(all)
		if s := after(all, c.Stage); s != "" {
			if err := d.undoStage(ctx, tx, c, s); err != nil {
				return err
			}
			break
		}
		c.State, c.EndedAt = CutReleased, now
		c.note(now, "released")
	}
	return d.saveCutting(ctx, tx, c)
}

// next says how the stage went and begins the one that follows.
func (d *Desk) next(ctx context.Context, tx *state.Tx, c *Cutting, actions map[string]Action, plans []Action) error {
	now := d.now().UTC()
	if open := c.open(c.Stage, actions); len(open) > 0 {
		c.note(now, "open", "stage_key", "cut.stage."+string(c.Stage), "what", strings.Join(open, "、"))
	} else {
		c.note(now, "held", "stage_key", "cut.stage."+string(c.Stage))
	}
	if s := after(c.stages(), c.Stage); s != "" {
		return d.begin(ctx, tx, c, s, plans)
	}
	c.State = CutHolds
	c.note(now, "done", "scope_key", c.scope())
	return nil
}
