package alert

import (
	"context"
	"fmt"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/fault"
)

// Of returns the alert that a finding belongs to, and raises it if the finding
// was not handled before: for those who must not wait for the message.
func (d *Desk) Of(ctx context.Context, f detect.Finding) (Alert, error) {
	if err := d.Handle(ctx, f); err != nil {
		return Alert{}, err
	}
	all, err := selectAlerts(ctx, readDB{d.db}, `WHERE rule = $1 AND site = $2 AND host = $3 AND drill = $4 ORDER BY raised_at DESC, id DESC LIMIT 1`,
		f.Rule.ID, f.Site, f.Host, flag(f.Drill))
	if err != nil {
		return Alert{}, fmt.Errorf("alert of finding %s: %w", f.ID, err)
	}
	if len(all) == 0 {
		return Alert{}, fault.New(fault.Missing, "alert.missing")
	}
	return d.whole(ctx, all[0])
}
