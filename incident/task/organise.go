package task

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/state"
)

// Roles returns the roles, with the words of the site where it has its own. The
// one at the top is first.
func (d *Desk) Roles(ctx context.Context) ([]Role, error) {
	all, err := newest(ctx, d.db.Query, `r.kind = $1`, KindRole)
	if err != nil {
		return nil, fmt.Errorf("list roles: %w", err)
	}
	out := slices.Clone(d.own)
	for i, r := range out {
		if n := slices.IndexFunc(all, func(o Record) bool { return o.ID == r.ID }); n >= 0 {
			out[i].Name, out[i].Duty = all[n].Role.Name, all[n].Role.Duty
		}
	}
	return out, nil
}

// Rename changes the words of a role, for all incidents: its name and what it is
// for, in both languages.
func (d *Desk) Rename(ctx context.Context, r Role, by auth.Person) error {
	if r.ID == "" {
		return fault.New(fault.Invalid, "task.role-unknown")
	}
	if err := d.checkRole(r.ID); err != nil {
		return err
	}
	for _, lang := range []string{"ja", "en"} {
		for what, text := range map[string]map[string]string{"name": r.Name, "duty": r.Duty} {
			if _, err := words(what, text[lang], 200, true); err != nil {
				return err
			}
		}
	}
	own := d.own[slices.IndexFunc(d.own, func(o Role) bool { return o.ID == r.ID })]
	own.Name, own.Duty = map[string]string{}, map[string]string{}
	for _, lang := range []string{"ja", "en"} {
		own.Name[lang], _ = words("name", r.Name[lang], 200, true) // were checked above
		own.Duty[lang], _ = words("duty", r.Duty[lang], 200, true)
	}
	err := d.db.Tx(ctx, func(tx *state.Tx) error {
		last, err := newest(ctx, tx.QueryContext, `r.kind = $1 AND r.id = $2`, KindRole, r.ID)
		if err != nil {
			return err
		}
		rec := d.record(KindRole, r.ID, incident.Incident{}).say(by, "")
		if len(last) > 0 {
			rec.No = last[0].No + 1
		}
		rec.Role = &own
		return put(ctx, tx, rec)
	})
	if err != nil {
		return fmt.Errorf("rename role %s: %w", r.ID, err)
	}
	return nil
}

// NewPost is that somebody takes a role.
type NewPost struct {
	Role    string
	Person  string    // id, or
	Name    string    // of somebody without a log-in, at most 100 characters
	Contact string    // at most 200 characters
	Deputy  bool      //
	From    time.Time // zero: now
}

// Assign gives somebody a role. The commander's own is not given here: command
// is handed over, or taken over.
//
// Errors: Missing for an unknown incident; Invalid for an unknown role or
// person; Conflict for somebody who holds it already.
func (d *Desk) Assign(ctx context.Context, in string, n NewPost, by auth.Person) (Post, error) {
	i, err := d.deps.Incidents.Get(ctx, in)
	if err != nil {
		return Post{}, err
	}
	now := d.moment()
	p := Post{ID: clock.ID("po", now), Incident: in, Role: n.Role, Person: n.Person, Deputy: n.Deputy, From: utc(n.From)}
	if n.From.IsZero() {
		p.From = now
	}
	if p.Name, err = words("name", n.Name, 100, false); err != nil {
		return Post{}, err
	}
	if p.Contact, err = words("contact", n.Contact, 200, false); err != nil {
		return Post{}, err
	}
	if err := d.checkPost(ctx, p, now); err != nil {
		return Post{}, err
	}
	err = d.db.Tx(ctx, func(tx *state.Tx) error {
		if err := lockIncident(ctx, tx, in); err != nil {
			return err
		}
		all, err := within(ctx, tx.QueryContext, KindPost, in)
		if err != nil {
			return err
		}
		if len(all) >= maxTasks {
			return fault.New(fault.Busy, "task.too-many", maxTasks)
		}
		for _, r := range all {
			if o := r.Post; o.Until.IsZero() && o.Role == p.Role && o.Person == p.Person && o.Name == p.Name {
				return fault.New(fault.Conflict, "task.post-held")
			}
		}
		r := d.record(KindPost, p.ID, i)
		r.Post = &p
		key := "post.taken"
		if p.Deputy {
			key = "post.deputy"
		}
		if err := d.sayPost(ctx, &r, by, key); err != nil {
			return err
		}
		r.Happened = p.From
		return put(ctx, tx, r)
	})
	if err != nil {
		return Post{}, fmt.Errorf("assign a role in %s: %w", in, err)
	}
	return p, nil
}

func (d *Desk) checkPost(ctx context.Context, p Post, now time.Time) error {
	switch {
	case p.Role == "":
		return fault.New(fault.Invalid, "task.role-unknown")
	case p.Role == Commander && !p.Deputy:
		return fault.New(fault.Invalid, "task.command-by-handover")
	case (p.Person == "") == (p.Name == ""):
		return fault.New(fault.Invalid, "task.post-who")
	}
	if err := checkTime(p.From, now); err != nil {
		return err
	}
	if p.Person != "" {
		return d.checkRoleAnd(ctx, p)
	}
	return d.checkRole(p.Role)
}

func (d *Desk) checkRoleAnd(ctx context.Context, p Post) error {
	if err := d.checkRole(p.Role); err != nil {
		return err
	}
	return d.checkOwner(ctx, p.Person, "")
}

// sayPost is say about the role of the record. Names of people without a log-in
// stand in the chronology as they were typed.
func (d *Desk) sayPost(ctx context.Context, r *Record, by auth.Person, key string) error {
	a, err := d.roleArgs(ctx, "role", r.Post.Role, "person", r.Post.Person+r.Post.Name)
	*r = r.say(by, key, a...)
	return err
}

// Leave ends that somebody holds a role; at zero: now.
func (d *Desk) Leave(ctx context.Context, in, id string, at time.Time, by auth.Person) error {
	return d.alter(ctx, KindPost, in, id, func(_ *state.Tx, r *Record) error {
		if r.Post.Role == Commander && !r.Post.Deputy {
			return fault.New(fault.Conflict, "task.command-by-handover")
		}
		if !r.Post.Until.IsZero() {
			return fault.New(fault.Conflict, "task.post-over")
		}
		if err := d.end(&r.Post.Until, at, r.Post.From, r.At); err != nil {
			return err
		}
		r.Happened = r.Post.Until
		return d.sayPost(ctx, r, by, "post.left")
	})
}

// end sets when something ended, which is not before it began.
func (d *Desk) end(until *time.Time, at, from, now time.Time) error {
	if at.IsZero() {
		at = now
	}
	if at = utc(at); at.Before(from) {
		return fault.New(fault.Invalid, "task.before-from")
	}
	if err := checkTime(at, now); err != nil {
		return err
	}
	*until = at
	return nil
}

// FollowCommand writes who commands, from when to when, as the incident says it
// now; the chronology has that line already.
func (d *Desk) FollowCommand(ctx context.Context, id string) error {
	in, err := d.deps.Incidents.Get(ctx, id)
	if err != nil {
		return err
	}
	err = d.db.Tx(ctx, func(tx *state.Tx) error {
		if err := lockIncident(ctx, tx, id); err != nil {
			return err
		}
		all, err := within(ctx, tx.QueryContext, KindPost, id)
		if err != nil {
			return err
		}
		now, stands := d.moment(), false
		for _, r := range all {
			p := r.Post
			if p.Role != Commander || p.Deputy || !p.Until.IsZero() {
				continue
			}
			if p.Person == in.Commander {
				stands = true
				continue
			}
			p.Until = now
			r.No, r.At, r.Happened = r.No+1, now, now
			if err := put(ctx, tx, r.say(system(), "")); err != nil {
				return err
			}
		}
		if stands || in.Commander == "" {
			return nil
		}
		p := Post{ID: clock.ID("po", now), Incident: id, Role: Commander, Person: in.Commander, From: now}
		r := d.record(KindPost, p.ID, in).say(system(), "")
		r.Post = &p
		return put(ctx, tx, r)
	})
	if err != nil {
		return fmt.Errorf("follow the command of %s: %w", id, err)
	}
	return nil
}

// Posts returns who held and holds which role in an incident, as they took it.
func (d *Desk) Posts(ctx context.Context, in string) ([]Post, error) {
	all, err := within(ctx, d.db.Query, KindPost, in)
	if err != nil {
		return nil, err
	}
	out := make([]Post, 0, len(all))
	for _, r := range all {
		out = append(out, *r.Post)
	}
	slices.SortStableFunc(out, func(a, b Post) int { return a.From.Compare(b.From) })
	return out, nil
}

// OnCall returns who is on call for the sites of an incident now, the first to
// be called first.
func (d *Desk) OnCall(ctx context.Context, in incident.Incident) ([]string, error) {
	now := d.moment()
	slots, err := d.Rota(ctx, in, now, now.Add(time.Minute))
	if err != nil {
		return nil, err
	}
	return slots[0].People, nil
}

// longestRota bounds a rota.
const longestRota = 31 * 24 * time.Hour

// Rota returns who is on call for the sites of an incident when, with the gaps.
// It knows shifts that are not over.
func (d *Desk) Rota(ctx context.Context, in incident.Incident, from, until time.Time) ([]Slot, error) {
	if !until.After(from) || until.Sub(from) > longestRota {
		return nil, fault.New(fault.Invalid, "task.rota-time")
	}
	all, err := d.deps.Shifts.Shifts(ctx)
	if err != nil {
		return nil, err
	}
	return Rota(slices.Clone(all), in.Scope.Sites, utc(from), utc(until)), nil
}

// NewStay is that somebody is, or was, on duty.
type NewStay struct {
	Person string
	Role   string
	From   time.Time // zero: now
	Until  time.Time // zero: still
	Reason string    // of a correction
}

// Begin says that somebody is on duty in an incident from now, or from a time
// that was.
//
// Errors: Missing for an unknown incident; Invalid for an unknown person or
// role, or a time that cannot be; Conflict for somebody who was on duty then.
func (d *Desk) Begin(ctx context.Context, in string, n NewStay, by auth.Person) (Stay, error) {
	return d.addStay(ctx, in, "", n, by)
}

// Correct puts another record in the place of one that is wrong. From and Until
// the same: was not on duty.
//
// Errors: those of Begin, Invalid for a missing reason, Conflict for one that
// was corrected before.
func (d *Desk) Correct(ctx context.Context, in, id string, n NewStay, by auth.Person) (Stay, error) {
	if n.From.IsZero() {
		return Stay{}, fault.New(fault.Invalid, "task.time")
	}
	reason, err := words("reason", n.Reason, 1000, true)
	if err != nil {
		return Stay{}, err
	}
	n.Reason = reason
	return d.addStay(ctx, in, id, n, by)
}

func (d *Desk) addStay(ctx context.Context, in, corrects string, n NewStay, by auth.Person) (Stay, error) {
	i, err := d.deps.Incidents.Get(ctx, in)
	if err != nil {
		return Stay{}, err
	}
	now := d.moment()
	s := Stay{ID: clock.ID("st", now), Incident: in, Person: n.Person, Role: n.Role, From: now, Corrects: corrects, Reason: n.Reason}
	if !n.From.IsZero() {
		s.From = utc(n.From)
	}
	if !n.Until.IsZero() {
		if err := d.end(&s.Until, n.Until, s.From, now); err != nil {
			return Stay{}, err
		}
	}
	if err := checkTime(s.From, now); err != nil {
		return Stay{}, err
	}
	if s.Role == "" {
		return Stay{}, fault.New(fault.Invalid, "task.role-unknown")
	}
	if err := d.checkRole(s.Role); err != nil {
		return Stay{}, err
	}
	err = d.db.Tx(ctx, func(tx *state.Tx) error {
		if err := lockIncident(ctx, tx, in); err != nil {
			return err
		}
		all, err := within(ctx, tx.QueryContext, KindStay, in)
		if err != nil {
			return err
		}
		if s, err = fits(s, staysOf(all), now); err != nil {
			return err
		}
		if s.Person == "" {
			return fault.New(fault.Invalid, "task.owner")
		}
		key := "stay.began"
		if corrects != "" {
			key = "stay.corrected"
		}
		r := d.record(KindStay, s.ID, i)
		r.Stay = &s
		if corrects == "" {
			r.Happened = s.From
		}
		if err := d.sayStay(ctx, &r, by, key); err != nil {
			return err
		}
		return put(ctx, tx, r)
	})
	if err != nil {
		return Stay{}, fmt.Errorf("on duty in %s: %w", in, err)
	}
	return s, nil
}

// sayStay is say about the hours of the record.
func (d *Desk) sayStay(ctx context.Context, r *Record, by auth.Person, key string) error {
	s := r.Stay
	a := []string{"person", s.Person, "from_at", stamp(s.From), "reason", s.Reason}
	if s.Until.IsZero() {
		a = append(a, "until", "")
	} else {
		a = append(a, "until_at", stamp(s.Until))
	}
	a, err := d.roleArgs(ctx, "role", s.Role, a...)
	*r = r.say(by, key, a...)
	return err
}

// fits wants a stay not to overlap another one of the same person, so that no
// hour is counted twice. One that corrects another takes its person.
func fits(s Stay, all []Stay, now time.Time) (Stay, error) {
	if len(all) >= maxTasks {
		return s, fault.New(fault.Busy, "task.too-many", maxTasks)
	}
	counted := Counted(all)
	if s.Corrects != "" {
		i := slices.IndexFunc(counted, func(o Stay) bool { return o.ID == s.Corrects })
		if i < 0 {
			return s, fault.New(fault.Conflict, "task.stay-corrected")
		}
		s.Person = counted[i].Person
		counted = slices.Delete(counted, i, i+1)
	}
	far := now.Add(10 * 365 * 24 * time.Hour) // an open one ends some day
	for _, o := range counted {
		if o.Person == s.Person && s.From.Before(o.end(far)) && o.From.Before(s.end(far)) {
			return s, fault.New(fault.Conflict, "task.stay-overlaps")
		}
	}
	return s, nil
}

// End says that somebody is not on duty any more; at zero: now.
func (d *Desk) End(ctx context.Context, in, id string, at time.Time, by auth.Person) error {
	return d.alter(ctx, KindStay, in, id, func(tx *state.Tx, r *Record) error {
		all, err := within(ctx, tx.QueryContext, KindStay, in)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(Counted(staysOf(all)), func(s Stay) bool { return s.ID == id && s.Until.IsZero() }) {
			return fault.New(fault.Conflict, "task.stay-over")
		}
		if err := d.end(&r.Stay.Until, at, r.Stay.From, r.At); err != nil {
			return err
		}
		r.Happened = r.Stay.Until
		return d.sayStay(ctx, r, by, "stay.ended")
	})
}

// Stays returns all records of hours on duty of an incident, also those that
// were corrected.
func (d *Desk) Stays(ctx context.Context, in string) ([]Stay, error) {
	all, err := within(ctx, d.db.Query, KindStay, in)
	if err != nil {
		return nil, err
	}
	return staysOf(all), nil
}

func staysOf(all []Record) []Stay {
	out := make([]Stay, 0, len(all))
	for _, r := range all {
		out = append(out, *r.Stay)
	}
	slices.SortStableFunc(out, func(a, b Stay) int { return a.From.Compare(b.From) })
	return out
}
