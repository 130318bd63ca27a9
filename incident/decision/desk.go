package decision

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/state"
)

// Deps is what the desk works with.
type Deps struct {
	Incidents Incidents
	Alerts    Alerts
	Hosts     Hosts
	Duties    Duties
	Now       clock.Now
	Log       *slog.Logger
}

// Incidents is what the desk asks about incidents.
type Incidents interface {
	Get(ctx context.Context, id string) (incident.Incident, error)
	List(ctx context.Context, f incident.Filter) ([]incident.Incident, int, error)
}

// Alerts lists the alerts of an incident.
type Alerts interface {
	List(ctx context.Context, f alert.Filter) ([]alert.Alert, int, error)
}

// Hosts is the register.
type Hosts interface {
	Host(ctx context.Context, id string) (asset.Host, error)
	Hosts(ctx context.Context, f asset.Filter) ([]asset.Host, int, error)
}

// Duties tells the facts that people stated; Missing when they stated none.
type Duties interface {
	Assess(ctx context.Context, incident string) (duty.Assessment, error)
}

// Desk keeps criteria and decisions. It is safe for concurrent use.
type Desk struct {
	db      *state.DB
	deps    Deps
	shipped []Criterion
	log     *slog.Logger
}

// New makes a Desk on an open state.
func New(db *state.DB, deps Deps) (*Desk, error) {
	shipped, err := Defaults()
	if err != nil {
		return nil, err
	}
	return &Desk{db: db, deps: deps, shipped: shipped, log: deps.Log.With("part", "decision")}, nil
}

func (d *Desk) moment() time.Time { return state.Time(state.Nanos(d.deps.Now())) }

// Evaluate holds the criteria of every service of an incident against what is
// known now: first the services in scope (or the incident as a whole), the
// strictest recommendation first, then the others of its sites.
func (d *Desk) Evaluate(ctx context.Context, id string) ([]Evaluation, error) {
	s, err := d.look(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("evaluate %s: %w", id, err)
	}
	var hit, others []Evaluation
	for _, v := range s.services() {
		ref, criteria, err := d.criteria(ctx, v.Key)
		if err != nil {
			return nil, fmt.Errorf("evaluate %s: %w", id, err)
		}
		if e := s.evaluate(v, ref, criteria); len(v.Hit) > 0 || v.Key == "" {
			hit = append(hit, e)
		} else {
			others = append(others, e)
		}
	}
	for _, list := range [][]Evaluation{hit, others} {
		slices.SortStableFunc(list, func(a, b Evaluation) int { return bit(worse(b, a)) - bit(worse(a, b)) })
	}
	return append(hit, others...), nil
}

// NewDecision is what somebody decided.
type NewDecision struct {
	Service   string // key
	Verdict   Verdict
	Who       string // who decided: person id, or the name of somebody without an account; empty: by
	Reason    string
	DecidedAt time.Time // zero: now
	ReviewAt  time.Time
	ProxyFor  string // 代決: for whom, and
	ProxyRule string // by which rule
	Dissenter string // who was of another opinion, and why
	Dissent   string
	Approve   bool // must be approved after the fact; so must what a proxy decided
	// After is the number of the newest decision of the service that whoever
	// decided has seen; 0: none. Nil: it does not matter.
	After *int
}

// bounds of what people write and choose.
const (
	maxReason = 1000
	maxName   = 100
	maxReview = 31 * 24 * time.Hour
	skew      = 2 * time.Minute
)

// Decide records what was decided, with what is recommended and known now.
//
// Errors: Missing for an unknown incident or service; Invalid for what cannot be
// right; Conflict when the incident ended, or somebody decided meanwhile.
func (d *Desk) Decide(ctx context.Context, id string, n NewDecision, by auth.Person) (Decision, error) {
	now := d.moment()
	v, err := n.tidy(now, by)
	if err != nil {
		return Decision{}, err
	}
	all, err := d.Evaluate(ctx, id)
	if err != nil {
		return Decision{}, err
	}
	i := slices.IndexFunc(all, func(e Evaluation) bool { return e.Service.Key == n.Service })
	if i < 0 {
		return Decision{}, fault.New(fault.Missing, "decision.service-unknown")
	}
	v.Incident, v.Service, v.Seen = id, all[i].Service, all[i]
	err = d.db.Tx(ctx, func(tx *state.Tx) error {
		if err := lockIncident(ctx, tx, id); err != nil {
			return err
		}
		before, err := newest(ctx, tx, id)
		if err != nil {
			return err
		}
		if n.After != nil && InForce(before)[n.Service].No != *n.After {
			return fault.New(fault.Conflict, "decision.overtaken")
		}
		v.ID, v.No = clock.ID("dc", now), len(before)+1
		return d.save(ctx, tx, &v)
	})
	if err != nil {
		return Decision{}, fmt.Errorf("decide in %s: %w", id, err)
	}
	d.log.Info("decision recorded", "incident", id)
	return v, nil
}

// tidy checks what somebody decided and makes the first version of it.
func (n NewDecision) tidy(now time.Time, by auth.Person) (Decision, error) {
	v := Decision{Act: ActMade, Version: 1, Verdict: n.Verdict, DecidedAt: n.DecidedAt, MadeBy: by.ID, MadeAt: now, By: by.ID, At: now, Dissents: []Dissent{},
		Approval: Approval{State: NotNeeded}}
	if !slices.Contains(Verdicts(), n.Verdict) {
		return v, fault.New(fault.Invalid, "decision.verdict")
	}
	for _, x := range []struct {
		text string
		to   *string
		most int
	}{{n.Reason, &v.Reason, maxReason}, {n.Who, &v.Who, maxName}, {n.ProxyFor, &n.ProxyFor, maxName}, {n.ProxyRule, &n.ProxyRule, maxReason},
		{n.Dissenter, &n.Dissenter, maxName}, {n.Dissent, &n.Dissent, maxReason}} {
		var err error
		if *x.to, err = clean(x.text, x.most); err != nil {
			return v, err
		}
	}
	if v.Who == "" {
		v.Who = by.ID
	}
	if v.DecidedAt.IsZero() {
		v.DecidedAt = now
	}
	v.DecidedAt, v.ReviewAt = state.Time(state.Nanos(v.DecidedAt)), state.Time(state.Nanos(n.ReviewAt))
	switch {
	case v.Reason == "":
		return v, fault.New(fault.Invalid, "decision.reason-missing")
	case v.DecidedAt.After(now.Add(skew)) || v.DecidedAt.Before(now.Add(-maxReview)):
		return v, fault.New(fault.Invalid, "decision.time")
	case !v.ReviewAt.After(now) || v.ReviewAt.After(now.Add(maxReview)):
		return v, fault.New(fault.Invalid, "decision.review")
	case (n.ProxyFor == "") != (n.ProxyRule == "") || n.ProxyFor != "" && n.ProxyFor == v.Who:
		return v, fault.New(fault.Invalid, "decision.proxy")
	case (n.Dissenter == "") != (n.Dissent == ""):
		return v, fault.New(fault.Invalid, "decision.dissent")
	}
	if n.ProxyFor != "" {
		v.Proxy = &Proxy{n.ProxyFor, n.ProxyRule}
	}
	if n.Dissenter != "" {
		v.Dissents = append(v.Dissents, Dissent{n.Dissenter, n.Dissent, by.ID, now})
	}
	if n.Approve || v.Proxy != nil {
		v.Approval.State = Waiting
	}
	return v, nil
}

// Dissent adds somebody's other opinion to a decision.
func (d *Desk) Dissent(ctx context.Context, id, who, why string, by auth.Person) (Decision, error) {
	who, err := clean(who, maxName)
	if err != nil {
		return Decision{}, err
	}
	if why, err = clean(why, maxReason); err != nil {
		return Decision{}, err
	}
	if who == "" {
		who = by.ID
	}
	if why == "" {
		return Decision{}, fault.New(fault.Invalid, "decision.dissent")
	}
	return d.amend(ctx, id, by, func(v *Decision) error {
		if len(v.Dissents) >= 50 {
			return fault.New(fault.Invalid, "decision.many", 50)
		}
		v.Act, v.Dissents = ActDissent, append(v.Dissents, Dissent{who, why, by.ID, v.At})
		return nil
	})
}

// Approve records that the decision was approved after the fact, or refused; why
// is needed to refuse. Neither who decided nor who wrote the decision down can
// do so.
func (d *Desk) Approve(ctx context.Context, id string, given bool, who, why string, by auth.Person) (Decision, error) {
	who, err := clean(who, maxName)
	if err != nil {
		return Decision{}, err
	}
	if why, err = clean(why, maxReason); err != nil {
		return Decision{}, err
	}
	if who == "" {
		who = by.ID
	}
	if !given && why == "" {
		return Decision{}, fault.New(fault.Invalid, "decision.reason-missing")
	}
	return d.amend(ctx, id, by, func(v *Decision) error {
		switch {
		case v.Approval.State == NotNeeded:
			return fault.New(fault.Conflict, "decision.no-approval")
		case v.Approval.State != Waiting:
			return fault.New(fault.Conflict, "decision.approved-already")
		case slices.Contains([]string{v.Who, v.MadeBy}, by.ID) || who == v.Who:
			return fault.New(fault.Denied, "denied.own-request")
		}
		v.Act, v.Approval = ActApproved, Approval{State: Given, Who: who, Why: why, By: by.ID, At: v.At}
		if !given {
			v.Act, v.Approval.State = ActRefused, Refused
		}
		return nil
	})
}

// amend makes the next version of a decision.
func (d *Desk) amend(ctx context.Context, id string, by auth.Person, f func(*Decision) error) (Decision, error) {
	var v Decision
	err := d.db.Tx(ctx, func(tx *state.Tx) (err error) {
		if v, err = last(ctx, tx, id); err != nil {
			return err
		}
		if err := lockIncident(ctx, tx, v.Incident); err != nil {
			return err
		}
		if v, err = last(ctx, tx, id); err != nil { // somebody may have been quicker
			return err
		}
		v.Version, v.By, v.At = v.Version+1, by.ID, d.moment()
		if err := f(&v); err != nil {
			return err
		}
		return d.save(ctx, tx, &v)
	})
	if err != nil {
		return Decision{}, fmt.Errorf("amend decision %s: %w", id, err)
	}
	return v, nil
}

// Advice is what is recommended for an incident, and what was decided, for those
// who have five seconds.
type Advice struct {
	Incident  string      `json:"incident"`
	At        time.Time   `json:"at"`
	Service   Service     `json:"service"`   // for which the strictest is recommended
	Name      detect.Text `json:"name"`      // of the service
	Verdict   Verdict     `json:"verdict"`   // "": too little is known
	Criterion detect.Text `json:"criterion"` // that calls for it; empty: none fired
	Limit     detect.Text `json:"limit"`     // about care that holds it back; empty: none
	Unknown   int         `json:"unknown"`   // criteria that could not be answered
	Decided   *Decision   `json:"decided"`   // newest decision about this service; nil: none yet
	Overdue   bool        `json:"overdue"`   // its review time is over
	Stop      StopCost    `json:"stop"`      // of this service
	Spread    SpreadCost  `json:"spread"`
}

// Advice tells what is recommended for an incident: the strictest of its
// services in scope, one that is not decided yet before others.
func (d *Desk) Advice(ctx context.Context, id string) (Advice, error) {
	all, err := d.Evaluate(ctx, id)
	if err != nil {
		return Advice{}, err
	}
	before, err := d.List(ctx, id)
	if err != nil {
		return Advice{}, err
	}
	return advise(all, InForce(before), d.moment()), nil
}

// advise chooses the service to speak of.
func advise(all []Evaluation, force map[string]Decision, now time.Time) Advice {
	e := all[0] // there always is one, the strictest first
	for _, x := range all {
		_, done := force[e.Service.Key]
		if _, also := force[x.Service.Key]; x.Verdict == e.Verdict && done && !also && (len(x.Service.Hit) > 0) {
			e = x
		}
	}
	a := Advice{Incident: e.Incident, At: e.At, Service: e.Service, Name: e.Service.text(), Verdict: e.Verdict,
		Criterion: e.CalledBy().text(), Limit: e.LimitedBy().text(), Unknown: e.Unknown, Stop: e.Stop, Spread: e.Spread}
	if v, ok := force[e.Service.Key]; ok {
		a.Decided, a.Overdue = &v, now.After(v.ReviewAt)
	}
	return a
}

// clean returns text fit for storing, or Invalid when it is too long.
func clean(s string, most int) (string, error) {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\r\n", "\n")
	s = strings.TrimSpace(strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) {
			return -1
		}
		return r
	}, s))
	if utf8.RuneCountInString(s) > most {
		return "", fault.New(fault.Invalid, "decision.too-long", most)
	}
	return s, nil
}
