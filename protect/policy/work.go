package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/state"
)

// askedWindow is how long a run that a person asked for waits for room.
const askedWindow = 4 * time.Hour

// RunNow has a policy done on a machine as soon as there is room; host empty: on
// all of its machines. What waits or runs already is not queued again.
//
// Errors: Missing for an unknown policy or a machine that is not of it, Conflict
// when the policy was ended, or all is under way.
func (d *Desk) RunNow(ctx context.Context, id, host string, by auth.Person) ([]Run, error) {
	p, err := d.Policy(ctx, id)
	if err != nil {
		return nil, err
	}
	hosts := p.Hosts
	if host != "" {
		hosts = []string{host}
	}
	switch {
	case p.Ended():
		return nil, fault.New(fault.Conflict, "protect.policy.ended")
	case !slices.Contains(p.Hosts, hosts[0]):
		return nil, fault.New(fault.Missing, "protect.policy.host-missing")
	}
	var runs []Run
	for _, h := range hosts {
		r := d.newRun(p, h, by.ID)
		r.Asked, r.Until = by.ID, r.Queued.Add(askedWindow)
		queued, err := d.queue(ctx, &r)
		if err != nil {
			return runs, err
		}
		if queued {
			runs = append(runs, r)
		}
	}
	if len(runs) == 0 {
		return nil, fault.New(fault.Conflict, "protect.policy.under-way")
	}
	return runs, nil
}

func (d *Desk) newRun(p Policy, host, by string) Run {
	now := d.moment()
	return Run{ID: clock.ID("br", now), Policy: p.ID, Wrote: p.Version, Class: p.Class, Site: p.Site, Host: host, State: Queued, Queued: now, At: now, By: by}
}

// queue stores a new run, unless there is one for the same slot, or, of one that
// a person asked for, one that goes on.
func (d *Desk) queue(ctx context.Context, r *Run) (bool, error) {
	queued := false
	err := d.db.Tx(ctx, func(tx *state.Tx) error {
		queued = false
		var there int
		query := `SELECT COUNT(*) FROM protect_run WHERE policy = $1 AND host = $2 AND slot = $3`
		if r.Slot.IsZero() {
			query += ` AND going_on = 1`
		}
		if err := tx.QueryRowContext(ctx, query, r.Policy, r.Host, state.Nanos(r.Slot)).Scan(&there); err != nil || there > 0 {
			return err
		}
		queued = true
		return keepRun(ctx, tx, r)
	})
	if err != nil {
		return false, fmt.Errorf("queue policy %s on %s: %w", r.Policy, r.Host, err)
	}
	return queued, nil
}

// end sets the end of a run.
func (r *Run) end(s State, why, detail string) {
	r.State, r.Why, r.Detail, r.Ended = s, why, detail, r.At
}

// Cancel ends a run that goes on. What the agent says of it later still counts:
// it may have been quicker. Conflict when it ended before.
func (d *Desk) Cancel(ctx context.Context, id string, by auth.Person) error {
	told := false
	r, err := d.alter(ctx, id, by.ID, func(r *Run) (bool, error) {
		if !r.State.Going() {
			return false, fault.New(fault.Conflict, "protect.policy.run-ended")
		}
		told = r.State != Queued
		r.end(Cancelled, whyCancelled, "")
		return true, nil
	})
	if err != nil || !told || d.deps.Orders == nil {
		return err
	}
	if err := d.deps.Orders.Stop(ctx, r.Host, r.ID); err != nil {
		return fmt.Errorf("stop run %s: %w", id, err)
	}
	return nil
}

// Heard takes how far an agent says a job is. What is not of a run of that
// machine, or of one that ended, is dropped.
func (d *Desk) Heard(ctx context.Context, host string, p job.Progress) error {
	r, err := d.Run(ctx, p.Job) // most words change nothing but the progress
	if err == nil && r.State == Ordered && r.Host == host {
		r, err = d.alter(ctx, p.Job, host, func(r *Run) (bool, error) {
			if r.State != Ordered {
				return false, nil
			}
			r.State, r.Began = Running, r.At
			return true, nil
		})
	}
	if err != nil {
		return d.dropped(err, host, p.Job)
	}
	if r.Host != host || r.State != Running {
		return nil
	}
	return d.db.Tx(ctx, func(tx *state.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO protect_progress (id, at, body) VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET at = $2, body = $3`,
			r.ID, state.Nanos(d.moment()), state.JSON(p))
		return err
	})
}

// Ended takes how an agent says that a job ended, and holds it against what the
// repository received. It counts once; a run that was given up meanwhile is as it
// turns out after all. While the repository cannot be asked the answer is not
// taken: fault.Busy, and the agent tells it again.
func (d *Desk) Ended(ctx context.Context, host string, told job.Result) error {
	if !told.State.Ended() {
		return nil
	}
	r, err := d.Run(ctx, told.Job)
	if err != nil {
		return d.dropped(err, host, told.Job)
	}
	if !r.takes(host, told) {
		return nil
	}
	why, detail, err := d.unconfirmed(ctx, r, told)
	if err == nil && why == "" {
		why, err = d.forbidden(ctx, r, told)
	}
	if err != nil {
		return err
	}
	_, err = d.alter(ctx, told.Job, host, func(r *Run) (bool, error) {
		if !r.takes(host, told) {
			return false, nil
		}
		told.Host = host
		r.Result, r.Why, r.Detail = &told, why, detail
		r.State, r.Ended = r.ended(told.State), r.At
		if r.Began.IsZero() { // quicker than its first word of progress
			r.Began = r.Ordered
		}
		return true, nil
	})
	return d.dropped(err, host, told.Job)
}

// takes says whether a run waits for what a machine tells of its end.
func (r Run) takes(host string, told job.Result) bool {
	return r.Host == host && r.Result == nil && r.State != Queued && r.State != Missed && told.Kind == job.Backup
}

// forbidden is why a job came to nothing, where the hub knows it better than the
// machine: behind a path that is cut restic hears no more than "forbidden".
func (d *Desk) forbidden(ctx context.Context, r Run, told job.Result) (why string, _ error) {
	if d.deps.Cut == nil || told.State != job.Failed && told.State != job.CouldNotRun {
		return "", nil
	}
	cut, err := d.deps.Cut(ctx, r.Site)
	if err != nil || !cut {
		return "", err
	}
	return whyCut, nil
}

// dropped lets go of what an agent says about a run that there is not: trying
// again cannot help.
func (d *Desk) dropped(err error, host, id string) error {
	if fault.Of(err) != fault.Missing {
		return err
	}
	d.log.Warn("an agent spoke of a run that there is not", "host", host, "run", id)
	return nil
}

// Call is whom a doubt concerns: runs of Hosts (none: of all machines of Site)
// that went on at Since or were made after it.
type Call struct {
	Site  string
	Hosts []string
	Since time.Time
	Why   string
}

// Doubt calls runs suspect: they do not count as backups, whatever becomes of
// them. It returns how many were not called so before. Nothing is deleted, and
// what goes on goes on: it may be the last that is readable.
func (d *Desk) Doubt(ctx context.Context, c Call, by string) (int, error) {
	if !clean(&c.Why, maxText) || c.Why == "" {
		return 0, fault.New(fault.Invalid, "protect.policy.why")
	}
	all, err := list[Run](d.db.Query(ctx, `SELECT body FROM protect_run WHERE (CAST($1 AS TEXT) = '' OR site = $1) AND (going_on = 1 OR queued >= $2 OR counts >= $2) ORDER BY queued`,
		c.Site, state.Nanos(c.Since)))
	if err != nil {
		return 0, fmt.Errorf("runs in doubt: %w", err)
	}
	n := 0
	for _, r := range all {
		if len(c.Hosts) > 0 && !slices.Contains(c.Hosts, r.Host) {
			continue
		}
		changed, err := d.doubt(ctx, r.ID, c.Why, by)
		if err != nil {
			return n, err
		}
		n += changed
	}
	return n, nil
}

// doubt calls one run suspect, and says how many runs that changed.
func (d *Desk) doubt(ctx context.Context, id, why, by string) (n int, _ error) {
	_, err := d.alter(ctx, id, by, func(r *Run) (bool, error) {
		if n = 0; r.Doubt != nil || r.State == Missed {
			return false, nil
		}
		r.Doubt = &Doubt{Why: why, By: by, At: r.At}
		if r.State == OK || r.State == Partial {
			r.State = Suspect
		}
		n = 1
		return true, nil
	})
	return n, err
}

// Trust takes a doubt back, with the reason of a person: the run counts as the
// agent said.
func (d *Desk) Trust(ctx context.Context, id, why string, by auth.Person) error {
	if !clean(&why, maxText) || why == "" {
		return fault.New(fault.Invalid, "protect.policy.why")
	}
	_, err := d.alter(ctx, id, by.ID, func(r *Run) (bool, error) {
		if r.Doubt == nil {
			return false, fault.New(fault.Conflict, "protect.policy.no-doubt")
		}
		r.Doubt, r.Detail = nil, why
		if r.State == Suspect && r.Result != nil {
			r.State = r.ended(r.Result.State)
		}
		return true, nil
	})
	return err
}

// Times of the scheduler.
const (
	lookEvery   = 10 * time.Second
	lostAfter   = 30 * time.Minute // without a word of a job that runs
	answerAfter = 10 * time.Minute // until an agent that was told must have begun
	heardWithin = 3 * time.Minute  // of a machine that is there
	mostMissed  = 100              // slots of one machine that are told as missed at once
)

// Work begins what is due, gives up what is lost and tells of machines without a
// fresh backup, until ctx ends. Run it on one hub of all.
func (d *Desk) Work(ctx context.Context) error {
	w := d.NewRound()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		if err := w.Look(ctx); err != nil && ctx.Err() == nil {
			d.log.Error("backups that are due could not be begun", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Round is the scheduler of one hub. It is for one goroutine.
type Round struct {
	*Desk
	begun map[string]bool   // ordered by this process
	told  map[string]string // finding that was told, by machine
	late  time.Time         // when it was last looked for old backups
}

// NewRound makes a scheduler that remembers nothing: what there is to know is in
// the state.
func (d *Desk) NewRound() *Round {
	return &Round{Desk: d, begun: map[string]bool{}, told: map[string]string{}}
}

// Look does once what is due now.
func (w *Round) Look(ctx context.Context) error {
	policies, err := w.Policies(ctx, "")
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range policies {
		if !p.Paused {
			errs = append(errs, w.due(ctx, p))
		}
	}
	errs = append(errs, w.going(ctx, policies), w.old(ctx, policies))
	return errors.Join(errs...)
}

// due queues the slots of a policy that came since the last one, and puts those
// on record whose window passed unseen.
func (w *Round) due(ctx context.Context, p Policy) error {
	for _, host := range p.Hosts {
		from, _, err := w.lastOf(ctx, p.ID, host)
		if err != nil {
			return err
		}
		if from.Before(p.At) {
			from = p.At
		}
		for _, slot := range p.Schedule.Slots(from, w.moment(), mostMissed) {
			r := w.newRun(p, host, system)
			r.Slot, r.Until = slot, slot.Add(p.Schedule.window())
			if !r.Until.After(r.At) {
				r.end(Missed, whyNotHere, "")
			}
			if _, err := w.queue(ctx, &r); err != nil {
				return err
			}
		}
	}
	return nil
}

// system is the hub itself.
const system = "sonae"

// going brings on what goes on: gives up what is over or lost, and begins what
// waits where there is room.
func (w *Round) going(ctx context.Context, policies []Policy) error {
	all, err := list[Run](w.db.Query(ctx, `SELECT body FROM protect_run WHERE going_on = 1 ORDER BY queued, slot, id`))
	if err != nil {
		return fmt.Errorf("runs that go on: %w", err)
	}
	progress, err := w.Progress(ctx)
	if err != nil {
		return err
	}
	by := map[string]Policy{}
	for _, p := range policies {
		by[p.ID] = p
	}
	var errs []error
	busy, hosts := map[string]int{}, map[string]bool{}
	for _, r := range all {
		if r.State == Queued {
			continue
		}
		still, err := w.watch(ctx, r, progress[r.ID].Heard, by[r.Policy])
		if errs = append(errs, err); still {
			busy[r.Site]++
			hosts[r.Host] = true
		}
	}
	for _, r := range all {
		if r.State != Queued {
			continue
		}
		room := busy[r.Site] < w.deps.PerSite && !hosts[r.Host]
		begun, err := w.wait(ctx, r, by[r.Policy], room)
		if errs = append(errs, err); begun {
			busy[r.Site]++
			hosts[r.Host] = true
		}
	}
	return errors.Join(errs...)
}

// watch gives up a run that is not heard of, and says whether it goes on. One
// that another process ordered before it died is ordered again.
func (w *Round) watch(ctx context.Context, r Run, heard time.Time, p Policy) (bool, error) {
	now := w.moment()
	if heard.IsZero() {
		heard = r.Began
	}
	switch {
	case r.State == Ordered && now.Sub(r.Ordered) >= answerAfter:
		return false, w.giveUp(ctx, r, CouldNotRun, whySilent)
	case r.State == Running && now.Sub(heard) >= lostAfter:
		return false, w.giveUp(ctx, r, Failed, whyLost)
	case r.State == Ordered && !w.begun[r.ID] && p.ID != "":
		return true, w.order(ctx, r, p)
	}
	return true, nil
}

func (w *Round) giveUp(ctx context.Context, was Run, s State, why string) error {
	delete(w.begun, was.ID)
	_, err := w.alter(ctx, was.ID, system, func(r *Run) (bool, error) {
		if r.State != was.State {
			return false, nil
		}
		r.end(s, why, "")
		return true, nil
	})
	return err
}

// wait begins a queued run where there is room and the machine is there, or
// gives it up, and says whether it goes on now. A machine that is off keeps no
// other from beginning.
func (w *Round) wait(ctx context.Context, r Run, p Policy, room bool) (bool, error) {
	if p.ID == "" || !slices.Contains(p.Hosts, r.Host) {
		return false, w.giveUp(ctx, r, Cancelled, whyPolicy)
	}
	h, err := w.deps.Hosts.Host(ctx, r.Host)
	if fault.Of(err) == fault.Missing || err == nil && !h.RemovedAt.IsZero() {
		return false, w.giveUp(ctx, r, CouldNotRun, whyGone)
	}
	if err != nil {
		return false, err
	}
	now := w.moment()
	away := now.Sub(h.LastSeen) > heardWithin
	switch {
	case !now.Before(r.Until) && away:
		return false, w.giveUp(ctx, r, Missed, whyAway)
	case !now.Before(r.Until):
		return false, w.giveUp(ctx, r, Missed, whyWindow)
	case away || !room:
		return false, nil
	case w.deps.Orders == nil:
		return false, w.giveUp(ctx, r, CouldNotRun, whyNoOrders)
	}
	begun := false
	r, err = w.alter(ctx, r.ID, system, func(r *Run) (bool, error) {
		if begun = r.State == Queued; begun {
			r.State, r.Ordered, r.Wrote = Ordered, r.At, p.Version
		}
		return begun, nil
	})
	if err != nil || !begun {
		return false, err
	}
	return true, w.order(ctx, r, p)
}

// order tells the agent.
func (w *Round) order(ctx context.Context, r Run, p Policy) error {
	if w.deps.Orders == nil {
		return w.giveUp(ctx, r, CouldNotRun, whyNoOrders)
	}
	if err := w.deps.Orders.Begin(ctx, p.Job(r)); err != nil {
		if ctx.Err() != nil || fault.Of(err) == "" || fault.Of(err) == fault.Busy { // it is tried again until the window is over
			return fmt.Errorf("order run %s: %w", r.ID, err)
		}
		w.log.Error("backup could not be ordered", "run", r.ID, "err", err)
		_, failed := w.alter(ctx, r.ID, system, func(r *Run) (bool, error) {
			if r.State != Ordered {
				return false, nil
			}
			r.end(CouldNotRun, whyOrder, err.Error())
			return true, nil
		})
		return failed
	}
	w.begun[r.ID] = true
	return nil
}

// Fresh is how fresh the backups of a machine under a policy are.
type Fresh struct {
	Policy  string        `json:"policy"`
	Host    string        `json:"host"`
	Newest  time.Time     `json:"newest,omitzero"` // when the hub received the newest that counts; zero: never
	Allowed time.Duration `json:"allowed"`
	Due     time.Time     `json:"due"` // when people are told unless there is a newer one
	Next    time.Time     `json:"next,omitzero"`
}

// Late says whether people are to be told.
func (f Fresh) Late(now time.Time) bool { return now.After(f.Due) }

// Freshness says how fresh the backups of each machine under each policy are.
func (d *Desk) Freshness(ctx context.Context, policies []Policy) ([]Fresh, error) {
	now := d.moment()
	var out []Fresh
	for _, p := range policies {
		allowed := p.Allowed()
		var next time.Time
		if all := p.Schedule.Next(now, 1); len(all) > 0 && !p.Paused {
			next = all[0]
		}
		for _, host := range p.Hosts {
			_, newest, err := d.lastOf(ctx, p.ID, host)
			if err != nil {
				return nil, err
			}
			from := newest
			if from.IsZero() {
				from = p.Since[host]
			}
			out = append(out, Fresh{Policy: p.ID, Host: host, Newest: newest, Allowed: allowed, Due: from.Add(allowed), Next: next})
		}
	}
	return out, nil
}

// names writes names as people list them.
func names(all []string, lang string) string {
	if lang == "ja" {
		return strings.Join(all, "、")
	}
	return strings.Join(all, ", ")
}

// hostName is what people call a machine.
func hostName(h asset.Host) string {
	if h.Name != "" {
		return h.Name
	}
	return h.ID
}
