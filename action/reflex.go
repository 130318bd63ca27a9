package action

import (
	"context"
	"fmt"
	"slices"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
)

// CutBackup is what a standing policy calls the cutting of a site's backup
// path: the fast reflex that keeps the copies.
const CutBackup Kind = "cut-backup"

// planReflex is the cutting of the backup path of a site as one action, for
// those who judge policies.
func (d *Desk) planReflex(ctx context.Context, q NewRequest) (Action, error) {
	c, err := d.PlanCutting(ctx, NewCutting{Site: q.Site, Incident: q.Incident, Reason: q.Reason, Only: BackupPath, Lease: q.Lease})
	if err != nil {
		return Action{}, err
	}
	a := Action{Kind: CutBackup, Site: q.Site, Lease: c.Lease, Consequences: []Consequence{}, Keep: []string{}}
	for _, p := range c.Parts {
		a.Consequences = append(a.Consequences, p.Consequences...)
	}
	return a, nil
}

// reflexDue says why the backup path is not to be cut now, or nil: a cutting is
// under way, or was undone by people after the same alert.
func (d *Desk) reflexDue(ctx context.Context, q querier, a Action) error {
	before, err := list[Cutting](ctx, q, `SELECT body FROM site_cutting WHERE site = $1 AND requested_at > $2`, a.Site, state.Nanos(d.now().Add(-remember)))
	if err == nil && slices.ContainsFunc(before, func(c Cutting) bool { return c.EndedAt.IsZero() || c.Alert == a.Alert }) {
		return fault.New(fault.Conflict, done)
	}
	return err
}

// followReflex cuts the backup path as a policy says.
func (d *Desk) followReflex(ctx context.Context, w Answer, t Trigger, incident string) error {
	c, err := d.PlanCutting(ctx, NewCutting{Site: w.Request.Site, Incident: incident, Reason: w.Request.Reason, Only: BackupPath, Lease: w.Request.Lease})
	if err != nil {
		return fmt.Errorf("follow policy %s: %w", w.Policy.ID, err)
	}
	c.Auto, c.Alert, c.Tell = w.Policy.ID, t.Alert.ID, w.Grant.Tell
	plans, err := d.planParts(ctx, &c)
	if err != nil {
		return fmt.Errorf("follow policy %s: %w", w.Policy.ID, err)
	}
	return d.db.Tx(ctx, func(tx *state.Tx) error {
		if err := d.stillStands(ctx, tx, w, t); err != nil {
			return err
		}
		err := d.reflexDue(ctx, inTx{tx}, Action{Site: c.Site, Alert: c.Alert})
		if isDone(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := d.askCutting(ctx, tx, &c, Hub); err != nil {
			return err
		}
		return d.startCutting(ctx, tx, &c, plans, w.Policy.DecidedBy, "policy "+w.Policy.ID)
	})
}

// stillStands says whether a policy is in force as it was when it was judged.
func (d *Desk) stillStands(ctx context.Context, tx *state.Tx, w Answer, t Trigger) error {
	policies, err := d.inForce(ctx, inTx{tx}, t.Alert.Site)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(policies, func(p Policy) bool { return p.ID == w.Policy.ID && p.Text == w.Policy.Text }) { // ended in the meantime
		return fault.New(fault.Denied, "policy.not-in-force")
	}
	return nil
}
