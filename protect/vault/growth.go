package vault

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/sonae/sonae/protect/repository"
	"github.com/sonae/sonae/state"
)

// Growth alarm: what came within a day, against the usual day.
const (
	growthDays   = 28
	growthLeast  = 5       // days with backups before anything is called unusual
	growthFactor = 5       // times the usual
	growthFloor  = 1 << 30 // bytes a day that are never unusual, unless Deps says otherwise
)

// received are the bytes that came within a day, today's first, for some days
// back. A day ends at the hour of now.
func received(all []repository.Receipt, now time.Time, days int) []int64 {
	out := make([]int64, days)
	for _, r := range all {
		if n := int(now.Sub(r.At) / (24 * time.Hour)); n >= 0 && n < days && !r.At.After(now) {
			out[n] += r.Size
		}
	}
	return out
}

// unusual says whether much more than usual came within the last day; the usual
// is the median of the days on which something came, the first backup aside.
func unusual(all []repository.Receipt, now time.Time, floor int64) (today, usual int64, yes bool) {
	days := received(all, now, growthDays+1)
	if len(all) > 0 {
		if n := int(now.Sub(all[0].At) / (24 * time.Hour)); n >= 0 && n < len(days) {
			days[n] = 0 // the day on which everything came
		}
	}
	today = days[0]
	before := slices.DeleteFunc(days[1:], func(n int64) bool { return n == 0 })
	if len(before) < growthLeast {
		return today, 0, false
	}
	slices.Sort(before)
	usual = before[len(before)/2]
	return today, usual, today > floor && today > growthFactor*usual
}

func (v *Vault) floor() int64 { return cmp.Or(v.Floor, growthFloor) }

// watchGrowth tells of unusual growth, once a day.
func (v *Vault) watchGrowth(ctx context.Context, agent string) error {
	repo, err := v.repository(ctx, agent)
	if err != nil {
		return err
	}
	now := v.moment()
	upto := now
	if last := repo.Last(); last.After(upto) { // the clock was set back
		upto = last
	}
	today, usual, yes := unusual(repo.Receipts(), upto, v.floor())
	if !yes {
		return nil
	}
	s, _, err := get[settings](ctx, v, kindRepository, agent)
	if err != nil {
		return err
	}
	site, err := v.siteOf(ctx, s)
	if err != nil {
		return err
	}
	return v.db.Tx(ctx, func(tx *state.Tx) error {
		return emitFinding(ctx, tx, finding(RuleGrowth, agent, site, now.UTC().Format(time.DateOnly), now, map[string]string{"Bytes": number(today), "Usual": number(usual)}))
	})
}
