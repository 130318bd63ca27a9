package sheet

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/playbook"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/report"
	"github.com/sonae/sonae/state"
)

// Incidents is what the desk needs of the incident room.
type Incidents interface {
	Get(ctx context.Context, id string) (incident.Incident, error)
}

// Duties is what the desk needs of the duty desk.
type Duties interface {
	Assess(ctx context.Context, incident string) (duty.Assessment, error)
}

// Alerts is what the desk needs of the alerts.
type Alerts interface {
	List(ctx context.Context, f alert.Filter) ([]alert.Alert, int, error)
}

// Actions is what the desk needs of the actions.
type Actions interface {
	List(ctx context.Context, f action.Filter) ([]action.Action, int, error)
	Cuttings(ctx context.Context, site, incident string) ([]action.Cutting, error)
}

// Books is what the desk needs of the playbooks.
type Books interface {
	Runs(ctx context.Context, incident string) ([]playbook.Run, error)
	Book(ctx context.Context, id string) (*playbook.Book, error)
}

// Assets is what the desk needs of the register.
type Assets interface {
	Sites(ctx context.Context) ([]asset.Site, error)
	Hosts(ctx context.Context, f asset.Filter) ([]asset.Host, int, error)
}

// Advisor says what the criteria for stopping services come to in an incident,
// and what was decided; the most urgent first.
type Advisor interface {
	Advice(ctx context.Context, incident string) ([]Advice, error)
}

// Recoveries says what is expected of bringing back what an incident touches;
// false where no restore plan is about it.
type Recoveries interface {
	Recovery(ctx context.Context, in incident.Incident) (Recovery, bool, error)
}

// Counter counts work of an incident that is kept elsewhere, such as tasks.
type Counter struct {
	Name  Text
	Count func(ctx context.Context, incident string) (todo, doing, done int, err error)
}

// Stater knows the states that people set by hand in an incident, the newest
// first.
type Stater interface {
	States(ctx context.Context, incident string) ([]Hand, error)
}

// Deps are what a Desk is built from; Advisor, Counters, Recovery and Hands may be
// nil, all else is needed.
type Deps struct {
	Incidents Incidents
	Duties    Duties
	Alerts    Alerts
	Actions   Actions
	Books     Books
	Assets    Assets
	Names     func(ctx context.Context) (map[string]string, error) // ids of persons, hosts and sites → what people call them
	Say       report.Say
	Advisor   Advisor
	Counters  []Counter
	Recovery  Recoveries
	Hands     Stater
	Pages     Pages
	Ledger    report.Prover
}

// Desk makes sheets and keeps versions of them. It is safe for concurrent use.
type Desk struct {
	db   *state.DB
	deps Deps
	now  clock.Now
	log  *slog.Logger
}

// New makes a Desk on an open state.
func New(db *state.DB, deps Deps, now clock.Now, log *slog.Logger) *Desk {
	return &Desk{db: db, deps: deps, now: now, log: log.With("part", "sheet")}
}

// known is what a sheet is made of.
type known struct {
	now     time.Time
	in      incident.Incident
	duty    duty.Assessment
	alerts  []alert.Alert       // not closed, the newest
	counted map[alert.State]int // all
	actions []action.Action
	cuts    []action.Cutting
	runs    []run
	sites   []asset.Site
	hosts   []asset.Host // of practice for a drill, else the real ones
	advice  []Advice
	counts  []Count // of Counters
	back    *Recovery
	hands   []Hand
	names   map[string]string
	say     report.Say
}

// run is a run of a playbook with the version that it follows.
type run struct {
	playbook.Run
	book *playbook.Book
}

// Sheet returns the sheet of an incident as things stand now. Nothing is
// stored. Missing: there is no such incident.
func (d *Desk) Sheet(ctx context.Context, id string) (Sheet, error) {
	k, err := d.gather(ctx, id)
	if err != nil {
		return Sheet{}, fmt.Errorf("sheet of %s: %w", id, err)
	}
	return k.sheet(), nil
}

func (d *Desk) gather(ctx context.Context, id string) (known, error) {
	k := known{now: state.Time(state.Nanos(d.now())), counted: map[alert.State]int{}, say: d.deps.Say}
	var err error
	if k.in, err = d.deps.Incidents.Get(ctx, id); err != nil {
		return k, err
	}
	k.duty, err = d.deps.Duties.Assess(ctx, id)
	if err != nil && fault.Of(err) != fault.Missing { // the clocks of an incident start a moment after it
		return k, err
	}
	for _, part := range []func(context.Context, *known) error{d.alerts, d.actions, d.runs, d.assets, d.others} {
		if err := part(ctx, &k); err != nil {
			return k, err
		}
	}
	return k, nil
}

// alerts counts all and reads those that are not closed, as far as one page of
// the list goes: the newest ones say how it is.
func (d *Desk) alerts(ctx context.Context, k *known) error {
	for _, s := range []alert.State{alert.Open, alert.Acked, alert.Closed} {
		f := alert.Filter{Incident: k.in.ID, State: s, Limit: 200}
		if s == alert.Closed {
			f.Limit = 1
		}
		list, total, err := d.deps.Alerts.List(ctx, f)
		if err != nil {
			return fmt.Errorf("alerts: %w", err)
		}
		k.counted[s] = total
		if s != alert.Closed {
			k.alerts = append(k.alerts, list...)
		}
	}
	return nil
}

func (d *Desk) actions(ctx context.Context, k *known) error {
	const step = 500
	for {
		list, total, err := d.deps.Actions.List(ctx, action.Filter{Incident: k.in.ID, Limit: step, Offset: len(k.actions)})
		if err != nil {
			return fmt.Errorf("actions: %w", err)
		}
		k.actions = append(k.actions, list...)
		if len(list) == 0 || len(k.actions) >= total {
			break
		}
	}
	var err error
	if k.cuts, err = d.deps.Actions.Cuttings(ctx, "", k.in.ID); err != nil {
		return fmt.Errorf("cuttings: %w", err)
	}
	return nil
}

func (d *Desk) runs(ctx context.Context, k *known) error {
	list, err := d.deps.Books.Runs(ctx, k.in.ID)
	if err != nil {
		return fmt.Errorf("runs: %w", err)
	}
	for _, r := range list {
		b, err := d.deps.Books.Book(ctx, r.Version)
		if err != nil {
			return fmt.Errorf("playbook of run %s: %w", r.ID, err)
		}
		k.runs = append(k.runs, run{r, b})
	}
	return nil
}

// assets reads sites and machines; practice and reality never meet on a sheet.
func (d *Desk) assets(ctx context.Context, k *known) error {
	sites, err := d.deps.Assets.Sites(ctx)
	if err != nil {
		return fmt.Errorf("sites: %w", err)
	}
	for _, s := range sites {
		if s.Drill == k.in.Drill {
			k.sites = append(k.sites, s)
		}
	}
	const step = 200
	for offset := 0; ; offset += step {
		list, total, err := d.deps.Assets.Hosts(ctx, asset.Filter{Limit: step, Offset: offset})
		if err != nil {
			return fmt.Errorf("machines: %w", err)
		}
		for _, h := range list {
			if h.Drill == k.in.Drill {
				k.hosts = append(k.hosts, h)
			}
		}
		if len(list) == 0 || offset+len(list) >= total {
			return nil
		}
	}
}

func (d *Desk) others(ctx context.Context, k *known) (err error) {
	if k.names, err = d.deps.Names(ctx); err != nil {
		return fmt.Errorf("names: %w", err)
	}
	if d.deps.Advisor != nil {
		if k.advice, err = d.deps.Advisor.Advice(ctx, k.in.ID); err != nil {
			return fmt.Errorf("advice: %w", err)
		}
	}
	if d.deps.Recovery != nil {
		r, ok, err := d.deps.Recovery.Recovery(ctx, k.in)
		if err != nil {
			return fmt.Errorf("recovery: %w", err)
		}
		if ok {
			k.back = &r
		}
	}
	if d.deps.Hands != nil {
		if k.hands, err = d.deps.Hands.States(ctx, k.in.ID); err != nil {
			return fmt.Errorf("states set by hand: %w", err)
		}
	}
	for _, c := range d.deps.Counters {
		n := Count{Name: c.Name}
		if n.Todo, n.Doing, n.Done, err = c.Count(ctx, k.in.ID); err != nil {
			return fmt.Errorf("count %s: %w", c.Name.EN, err)
		}
		k.counts = append(k.counts, n)
	}
	return nil
}

func (k known) sheet() Sheet {
	s := Sheet{Schema: "sonae.sheet/1", MadeAt: k.now, Drill: k.in.Drill, Advice: k.advice[:min(len(k.advice), mostAdvice)],
		Incident: Incident{ID: k.in.ID, No: k.in.No, Title: k.in.Title, State: report.Word("incident.state."+string(k.in.State), nil), Commander: k.person(k.in.Commander), KnownAt: k.knownAt()},
		InForce:  k.inForce(), Counts: k.count(), Persons: k.persons(), Recovery: k.back}
	if s.Advice == nil {
		s.Advice = []Advice{}
	}
	s.Matrix = k.matrix()
	s.ByHand, s.MoreHand = k.byHand()
	s.Deadlines, s.MoreDue = k.deadlines()
	s.Approvals, s.MoreWait = k.approvals()
	s.Risk = k.risk(s)
	s.Next = k.next(s)
	return s
}

func (k known) knownAt() time.Time {
	if t := k.duty.Facts.KnownAt; !t.IsZero() {
		return t
	}
	return k.in.KnownAt
}

func (k known) name(id string) string {
	if n := k.names[id]; n != "" {
		return n
	}
	return id
}

// person is the name of who did something; the hub has none of its own.
func (k known) person(id string) string {
	if id == "sonae" {
		return "Sonae"
	}
	return k.name(id)
}

func (k known) path(rest string) string { return "/incidents/" + k.in.ID + rest }

// word is a sentence of the catalogue with texts in it that are themselves in
// both languages. pairs are the name of a placeholder and a Text or a string.
func word(key string, pairs ...any) Text {
	ja, en := map[string]string{}, map[string]string{}
	for i := 0; i+1 < len(pairs); i += 2 {
		name := fmt.Sprint(pairs[i])
		t, ok := pairs[i+1].(Text)
		if !ok {
			t = report.Plain(fmt.Sprint(pairs[i+1]))
		}
		ja[name], en[name] = t.JA, t.EN
	}
	return Text{JA: report.Word(key, ja).JA, EN: report.Word(key, en).EN}
}
