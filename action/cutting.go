package action

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
)

// CuttingState is how far the cutting of a site is.
type CuttingState string

// States of a cutting: it waits for a second person, goes on from stage to
// stage, is in force, is undone from stage to stage, or over.
const (
	CutRequested CuttingState = "requested"
	CutBegun     CuttingState = "cutting"
	CutHolds     CuttingState = "cut"
	CutReleasing CuttingState = "releasing"
	CutReleased  CuttingState = "released"
	CutRefused   CuttingState = "refused"
	CutExpired   CuttingState = "expired"
)

// CuttingPrefix begins the ids of cuttings; those of actions begin differently.
const CuttingPrefix = "cu-"

// Times of a cutting.
const (
	// stageWait is how long a stage that does not hold keeps the next one from
	// beginning. Whoever is at the site pulls a cable in that time; but each
	// later stage is worth having without the one before, and an attacker does
	// not wait for a gateway that is switched off.
	stageWait = 3 * time.Minute
	// stageLease is how much longer than the next stage a stage holds, so that
	// leases too end in reverse order; it is more than stageWait.
	stageLease = 5 * time.Minute
)

// CuttingPart is a section of a cutting.
type CuttingPart struct {
	Section
	ViaName      string        `json:"via_name,omitempty"`
	Consequences []Consequence `json:"consequences"`      // what the register says that stops
	Action       string        `json:"action,omitempty"`  // id, once it began
	Refused      string        `json:"refused,omitempty"` // key of the sentence why it cannot be done
}

// CuttingNote is what happened, for the chronology.
type CuttingNote struct {
	Key  string            `json:"key"`
	At   time.Time         `json:"at"`
	Args map[string]string `json:"args,omitempty"`
}

// Cutting is the cutting of a site (拠点の遮断): one request, one approval,
// actions in the order of stages.
type Cutting struct {
	ID          string        `json:"id"`
	State       CuttingState  `json:"state"`
	Site        string        `json:"site"`
	Incident    string        `json:"incident"`
	Only        Stage         `json:"only,omitempty"` // empty: all stages
	Cut         int           `json:"cut"`            // version of the Cut that it follows
	Reason      string        `json:"reason"`
	Lease       time.Duration `json:"lease"` // of the last stage
	Parts       []CuttingPart `json:"parts"`
	Stage       Stage         `json:"stage,omitempty"` // that was begun, or undone, last
	StageAt     time.Time     `json:"stage_at,omitzero"`
	GoOn        bool          `json:"go_on,omitempty"` // a person said that the next stage begins
	RequestedBy string        `json:"requested_by"`
	RequestedAt time.Time     `json:"requested_at"`
	DecidedBy   string        `json:"decided_by,omitempty"`
	DecidedAt   time.Time     `json:"decided_at,omitzero"`
	ReleasedBy  string        `json:"released_by,omitempty"`
	Auto        string        `json:"auto,omitempty"`  // standing policy that it follows
	Alert       string        `json:"alert,omitempty"` // alert that it answers
	Step        string        `json:"step,omitempty"`  // step of a playbook that asked for it
	Tell        string        `json:"tell,omitempty"`  // who is to be told, as the policy says
	EndedAt     time.Time     `json:"ended_at,omitzero"`
	Notes       []CuttingNote `json:"notes"`
}

// NewCutting is what a person asks for.
type NewCutting struct {
	Site     string        `json:"site"`
	Incident string        `json:"incident"`
	Reason   string        `json:"reason"`
	Only     Stage         `json:"only,omitempty"`  // BackupPath: that path alone; empty: all stages
	Lease    time.Duration `json:"lease,omitempty"` // 0: DefaultLease
	Step     string        `json:"-"`               // step of a playbook that asks; the same step gets the same cutting
}

// PlanCutting shows every part with what it stops, and which cannot be done as
// things are now. Nothing is stored.
func (d *Desk) PlanCutting(ctx context.Context, q NewCutting) (Cutting, error) {
	plan, err := d.Cut(ctx, q.Site)
	if err != nil {
		return Cutting{}, err
	}
	if q.Only != "" && q.Only != BackupPath {
		return Cutting{}, fault.New(fault.Invalid, "cut.stage", string(q.Only))
	}
	c := Cutting{Site: q.Site, Incident: q.Incident, Only: q.Only, Cut: plan.Version, Reason: strings.TrimSpace(q.Reason), Parts: []CuttingPart{}, Notes: []CuttingNote{}}
	if c.Lease, err = lease(q.Lease); err != nil {
		return Cutting{}, err
	}
	if most := maxLease - 2*stageLease; c.Lease > most {
		return Cutting{}, fault.New(fault.Invalid, "action.lease", minLease, most)
	}
	for _, s := range plan.Sections {
		if q.Only == "" || s.Stage == q.Only {
			c.Parts = append(c.Parts, CuttingPart{Section: s, Consequences: []Consequence{}})
		}
	}
	if _, err := d.planParts(ctx, &c); err != nil {
		return Cutting{}, err
	}
	return c, nil
}

// planParts plans what did not begin. What must not be done is told in its
// part; without any that may be there is nothing to ask for.
func (d *Desk) planParts(ctx context.Context, c *Cutting) ([]Action, error) {
	plans, may := make([]Action, len(c.Parts)), false
	for i := range c.Parts {
		p := &c.Parts[i]
		if p.Action != "" {
			continue
		}
		a, err := d.Plan(ctx, p.request(NewRequest{Incident: c.Incident, Reason: c.Reason, Lease: c.leaseOf(p.Stage), Alert: c.Alert}))
		switch {
		case err == nil:
			p.Refused, p.Consequences, p.ViaName, plans[i], may = "", a.Consequences, a.ViaName, a, true
		case fault.Of(err) == "":
			return nil, fmt.Errorf("plan of section %s: %w", p.Name, err)
		default:
			p.Refused = keyOf(err)
		}
	}
	if !may && !slices.ContainsFunc(c.Parts, func(p CuttingPart) bool { return p.Action != "" }) {
		return plans, fault.New(fault.Conflict, "cut.nothing")
	}
	return plans, nil
}

// leaseOf is longer the earlier the stage.
func (c Cutting) leaseOf(s Stage) time.Duration {
	all := c.stages()
	return c.Lease + time.Duration(max(0, len(all)-1-slices.Index(all, s)))*stageLease
}

// stages are those that have parts, in their order.
func (c Cutting) stages() []Stage {
	return slices.DeleteFunc(Stages(), func(s Stage) bool { return len(c.of(s)) == 0 })
}

// of are the parts of a stage.
func (c Cutting) of(s Stage) []CuttingPart {
	return slices.DeleteFunc(slices.Clone(c.Parts), func(p CuttingPart) bool { return p.Stage != s })
}

// after is the stage that follows another one, "" if none.
func after(all []Stage, s Stage) Stage {
	if i := slices.Index(all, s) + 1; i < len(all) {
		return all[i]
	}
	return ""
}

// RequestCutting asks for the cutting of a site, or of its backup path alone.
func (d *Desk) RequestCutting(ctx context.Context, q NewCutting, by auth.Person) (Cutting, error) {
	if _, err := reasonOf(q.Reason); err != nil {
		return Cutting{}, err
	}
	if q.Incident == "" {
		return Cutting{}, fault.New(fault.Invalid, "action.incident")
	}
	if asked, err := d.askedBy(ctx, q); err != nil || asked.ID != "" {
		return asked, err
	}
	c, err := d.PlanCutting(ctx, q)
	if err != nil {
		return Cutting{}, err
	}
	c.Step = q.Step
	err = d.db.Tx(ctx, func(tx *state.Tx) error { return d.askCutting(ctx, tx, &c, by.ID) })
	if fault.Of(err) == fault.Conflict { // the same step may have asked at the same moment
		if asked, err := d.askedBy(ctx, q); err != nil || asked.ID != "" {
			return asked, err
		}
	}
	return c, err
}

// askedBy is the cutting that a step of a playbook asked for before; without an
// id when there is none. A run asks from one place at a time.
func (d *Desk) askedBy(ctx context.Context, q NewCutting) (Cutting, error) {
	if q.Step == "" {
		return Cutting{}, nil
	}
	all, err := d.Cuttings(ctx, q.Site, q.Incident)
	if err != nil {
		return Cutting{}, err
	}
	if i := slices.IndexFunc(all, func(c Cutting) bool { return c.Step == q.Step }); i >= 0 {
		return all[i], nil
	}
	return Cutting{}, nil
}

// askCutting stores a request. One site is cut once at a time.
func (d *Desk) askCutting(ctx context.Context, tx *state.Tx, c *Cutting, by string) error {
	open, err := list[Cutting](ctx, inTx{tx}, `SELECT body FROM site_cutting WHERE site = $1 AND state IN ('requested', 'cutting', 'cut', 'releasing')`, c.Site)
	if err != nil {
		return err
	}
	for _, o := range open { // the backup path alone may be followed by all the rest
		if o.Only == "" || c.Only != "" {
			return fault.New(fault.Conflict, "action.already-requested", o.RequestedAt.In(clock.Tokyo()).Format("15:04"))
		}
	}
	now := d.now().UTC()
	c.ID, c.State, c.RequestedBy, c.RequestedAt = clock.ID(strings.TrimSuffix(CuttingPrefix, "-"), now), CutRequested, by, now
	key := "requested"
	if c.Auto != "" {
		key = "automatic"
	}
	c.note(now, key, "by", by, "site", c.Site, "scope_key", c.scope(), "reason", c.Reason, "lease", minutes(c.Lease))
	if c.Tell != "" {
		c.note(now, "tell", "tell", c.Tell)
	}
	return d.decideCutting(ctx, tx, c, "cut-requested", by, c.Reason)
}

// scope is the key of the words for what is cut.
func (c Cutting) scope() string {
	if c.Only != "" {
		return "cut.scope." + string(c.Only)
	}
	return "cut.scope.all"
}

func (c *Cutting) note(at time.Time, key string, args ...string) {
	n := CuttingNote{Key: key, At: at, Args: map[string]string{}}
	for i := 0; i+1 < len(args); i += 2 {
		n.Args[args[i]] = args[i+1]
	}
	c.Notes = append(c.Notes, n)
}

// Lines returns all that the chronology should say of a cutting; each action of
// it has lines of its own.
func (c Cutting) Lines() []Line {
	var out []Line
	for i, n := range c.Notes {
		out = append(out, Line{Key: "cut." + n.Key, Args: n.Args, OccurredAt: n.At, Unique: fmt.Sprintf("%s/%d", c.ID, i)})
	}
	return out
}

// ApproveCutting lets it begin. As with an action it takes an approver who did
// not ask for it; the parts are planned anew.
func (d *Desk) ApproveCutting(ctx context.Context, id string, by auth.Person) (Cutting, error) {
	return d.alterCutting(ctx, id, func(tx *state.Tx, c *Cutting, plans []Action) error {
		if err := decidable(Action{State: State(c.State), RequestedBy: c.RequestedBy}, by); err != nil {
			return err
		}
		return d.startCutting(ctx, tx, c, plans, by.ID, "")
	})
}

// startCutting begins with the first stage.
func (d *Desk) startCutting(ctx context.Context, tx *state.Tx, c *Cutting, plans []Action, by, reason string) error {
	if !slices.ContainsFunc(c.Parts, func(p CuttingPart) bool { return p.Refused == "" }) { // as things are now
		return fault.New(fault.Conflict, "cut.nothing")
	}
	c.DecidedBy, c.DecidedAt, c.State = by, d.now().UTC(), CutBegun
	c.note(c.DecidedAt, "approved", "by", by)
	if err := d.begin(ctx, tx, c, c.stages()[0], plans); err != nil {
		return err
	}
	return d.decideCutting(ctx, tx, c, "cut-approved", by, reason)
}

// begin starts the actions of a stage. They were asked for and approved with
// the whole.
func (d *Desk) begin(ctx context.Context, tx *state.Tx, c *Cutting, s Stage, plans []Action) error {
	now := d.now().UTC()
	c.Stage, c.StageAt, c.GoOn = s, now, false
	c.note(now, "stage", "stage_key", "cut.stage."+string(s))
	for i := range c.Parts {
		p := &c.Parts[i]
		if p.Stage != s || p.Refused != "" {
			continue
		}
		a := plans[i]
		a.Reason, a.Auto, a.Alert = c.Reason, c.Auto, c.Alert
		if err := d.create(ctx, tx, &a, auth.Person{ID: c.RequestedBy}); err != nil {
			return err
		}
		if err := d.approve(ctx, tx, &a, c.DecidedBy, "cut "+c.ID); err != nil {
			return err
		}
		p.Action = a.ID
	}
	return nil
}

// RefuseCutting says no; who asked may take it back.
func (d *Desk) RefuseCutting(ctx context.Context, id, reason string, by auth.Person) error {
	reason, err := reasonOf(reason)
	if err != nil {
		return err
	}
	_, err = d.alterCutting(ctx, id, func(tx *state.Tx, c *Cutting, _ []Action) error {
		if c.State != CutRequested {
			return fault.New(fault.Conflict, "action.not-waiting")
		}
		if by.ID != c.RequestedBy && !hasRole(by, auth.Approver) {
			return fault.New(fault.Denied, "action.not-approver")
		}
		c.State, c.EndedAt = CutRefused, d.now().UTC()
		c.note(c.EndedAt, "refused", "by", by.ID, "reason", reason)
		return d.decideCutting(ctx, tx, c, "cut-refused", by.ID, reason)
	})
	return err
}

// GoOn lets the next stage begin though this one does not hold.
func (d *Desk) GoOn(ctx context.Context, id, reason string, by auth.Person) error {
	reason, err := reasonOf(reason)
	if err != nil {
		return err
	}
	if !hasRole(by, auth.Approver, auth.Responder) {
		return fault.New(fault.Denied, "action.not-releaser")
	}
	_, err = d.alterCutting(ctx, id, func(tx *state.Tx, c *Cutting, _ []Action) error {
		if c.State != CutBegun {
			return fault.New(fault.Conflict, "action.not-in-force")
		}
		c.GoOn = true
		c.note(d.now().UTC(), "go-on", "by", by.ID, "stage_key", "cut.stage."+string(c.Stage), "reason", reason)
		return d.decideCutting(ctx, tx, c, "cut-go-on", by.ID, reason)
	})
	return err
}

// ReleaseCutting undoes all of it, the last stage first. What did not begin
// does not begin.
func (d *Desk) ReleaseCutting(ctx context.Context, id, reason string, by auth.Person) error {
	reason, err := reasonOf(reason)
	if err != nil {
		return err
	}
	if !hasRole(by, auth.Approver, auth.Responder) {
		return fault.New(fault.Denied, "action.not-releaser")
	}
	_, err = d.alterCutting(ctx, id, func(tx *state.Tx, c *Cutting, _ []Action) error {
		if c.State != CutBegun && c.State != CutHolds {
			return fault.New(fault.Conflict, "action.not-in-force")
		}
		c.State, c.ReleasedBy = CutReleasing, by.ID
		c.note(d.now().UTC(), "releasing", "by", by.ID, "reason", reason)
		if err := d.undoStage(ctx, tx, c, c.Stage); err != nil {
			return err
		}
		return d.decideCutting(ctx, tx, c, "cut-release", by.ID, reason)
	})
	return err
}

// undoStage releases the actions of a stage that are in force.
func (d *Desk) undoStage(ctx context.Context, tx *state.Tx, c *Cutting, s Stage) error {
	c.Stage, c.StageAt = s, d.now().UTC()
	c.note(c.StageAt, "undo", "stage_key", "cut.stage."+string(s))
	for _, p := range c.of(s) {
		if p.Action == "" {
			continue
		}
		a, err := d.in(ctx, tx, p.Action)
		if err != nil {
			return err
		}
		if a.State == Releasing || !may(a.State, Releasing) {
			continue
		}
		if err := d.letGo(ctx, tx, &a, "cut "+c.ID, c.ReleasedBy); err != nil {
			return err
		}
	}
	return nil
}

// alterCutting changes a cutting, with plans of what did not begin that were
// made before.
func (d *Desk) alterCutting(ctx context.Context, id string, f func(*state.Tx, *Cutting, []Action) error) (Cutting, error) {
	c, err := d.Cutting(ctx, id)
	if err != nil {
		return c, err
	}
	before := c.Stage
	plans, err := d.planParts(ctx, &c)
	if err != nil && fault.Of(err) == "" {
		return c, err
	}
	parts := c.Parts
	err = d.db.Tx(ctx, func(tx *state.Tx) error {
		if c, err = cuttingIn(tx.QueryRowContext(ctx, `SELECT body FROM site_cutting WHERE id = $1`, id), id); err != nil {
			return err
		}
		if c.Stage != before { // somebody else was faster
			return fault.New(fault.Conflict, "action.not-waiting")
		}
		if c.State == CutRequested || c.State == CutBegun {
			c.Parts = parts
		}
		return f(tx, &c, plans)
	})
	return c, err
}

// Cutting returns one cutting.
func (d *Desk) Cutting(ctx context.Context, id string) (Cutting, error) {
	return cuttingIn(d.db.QueryRow(ctx, `SELECT body FROM site_cutting WHERE id = $1`, id), id)
}

// Cuttings returns those of a site, and of an incident, newest first; empty:
// all. At most 100.
func (d *Desk) Cuttings(ctx context.Context, site, incident string) ([]Cutting, error) {
	return list[Cutting](ctx, d.db, `SELECT body FROM site_cutting WHERE ($1 = '' OR site = $1) AND ($2 = '' OR incident = $2) ORDER BY requested_at DESC, id DESC LIMIT 100`, site, incident)
}

// decideCutting stores a cutting with what was decided, which the ledger binds
// to what was cut.
func (d *Desk) decideCutting(ctx context.Context, tx *state.Tx, c *Cutting, what, by, reason string) error {
	sections := []Section{}
	for _, p := range c.Parts {
		sections = append(sections, p.Section)
	}
	digest, err := leaf.Digest(sections)
	if err != nil {
		return err
	}
	if err := d.decide(ctx, tx, Decision{Action: c.ID, What: what, By: by, At: d.now().UTC(), Reason: reason, Order: digest}); err != nil {
		return err
	}
	return d.saveCutting(ctx, tx, c)
}

// saveCutting stores a cutting and tells the others ("cutting.<state>").
func (d *Desk) saveCutting(ctx context.Context, tx *state.Tx, c *Cutting) error {
	var version int64
	err := tx.QueryRowContext(ctx, `INSERT INTO site_cutting (id, state, site, incident, requested_at, version, body) VALUES ($1, $2, $3, $4, $5, 1, $6)
		ON CONFLICT (id) DO UPDATE SET state = excluded.state, version = site_cutting.version + 1, body = excluded.body RETURNING version`,
		c.ID, string(c.State), c.Site, c.Incident, state.Nanos(c.RequestedAt), state.JSON(c)).Scan(&version)
	if err != nil {
		return fmt.Errorf("save cutting %s: %w", c.ID, err)
	}
	return tx.Emit(ctx, "cutting."+string(c.State), fmt.Sprintf("cutting:%s:%d", c.ID, version), c)
}

func cuttingIn(row *sql.Row, id string) (Cutting, error) {
	var c Cutting
	var body string
	err := row.Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return c, fault.New(fault.Missing, "action.unknown", id)
	}
	if err == nil {
		err = json.Unmarshal([]byte(body), &c)
	}
	if err != nil {
		return c, fmt.Errorf("cutting %s: %w", id, err)
	}
	return c, nil
}
