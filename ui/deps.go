package ui

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/action/device"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/detect/ioc"
	"github.com/sonae/sonae/detect/threshold"
	"github.com/sonae/sonae/detect/tuning"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/evidence"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/incident/cause"
	"github.com/sonae/sonae/incident/decision"
	"github.com/sonae/sonae/incident/paper"
	"github.com/sonae/sonae/ledger"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/notify"
	"github.com/sonae/sonae/playbook"
	"github.com/sonae/sonae/protect/anomaly"
	"github.com/sonae/sonae/protect/copy"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/protect/repository"
	"github.com/sonae/sonae/protect/restore"
	"github.com/sonae/sonae/protect/vault"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/report"
	"github.com/sonae/sonae/report/sheet"
	"github.com/sonae/sonae/search"
	"github.com/sonae/sonae/search/threat"
	"github.com/sonae/sonae/ui/view"
)

// Deps is all that the pages call. Every field but Rules and Threats is needed.
type Deps struct {
	People         People
	Assets         Assets
	Alerts         Alerts
	Incidents      Incidents
	Actions        Actions
	Evidence       Evidence
	Duties         Duties
	Books          Books
	Decisions      Decisions
	BackupPolicies BackupPolicies
	BackupHistory  BackupHistory
	Tasks          Tasks
	Reports        Reports
	Sheets         Sheets
	Hands          Hands
	Ledger         Ledger
	Archive        Archive
	Searches       Searches
	Rules          Rules   // nil: nobody sees rules or makes one of a search
	Threats        Threats // nil: nobody sees threat lists
	Devices        Devices
	Thresholds     Thresholds
	Notices        Notices
	Paper          Paper
	Causes         Causes
	Anomalies      Anomalies
	Vault          Vault
	Drills         RestoreDrills
	Copies         Copies
	Restores       Restores
	Plans          Plans
	Forecasts      Forecasts

	// Located tells where in the archive events are kept. What no segment holds
	// yet is left out.
	Located func(ctx context.Context, ids []string) ([]evidence.Location, error)
	// Events returns the events with these ids, newest first; from is not after
	// the oldest of them.
	Events func(ctx context.Context, ids []string, from time.Time, limit int) ([]event.Event, error)
	// Hub returns the state of the hub. It is asked on every page: cheap.
	Hub func(ctx context.Context) view.Hub
	// Drill starts the practice incident and returns at once.
	Drill func(ctx context.Context, by auth.Person) error
	// Enrol returns the command line that enrols a machine with a token.
	Enrol func(secret string) string
	// Address is how people reach the hub, e.g. "https://hub.example:8443",
	// for links that are sent to others.
	Address string

	Live *Live
	Now  clock.Now
	Log  *slog.Logger
}

// People is what the pages need from auth.
type People interface {
	Invitation(ctx context.Context, token string) (auth.Invitation, error)
	Accept(ctx context.Context, token string, a auth.Acceptance) (auth.Person, error)
	LogIn(ctx context.Context, c auth.Credentials) (auth.Session, error)
	Session(ctx context.Context, token string) (auth.Person, error)
	LogOut(ctx context.Context, token string) error
	People(ctx context.Context) ([]auth.Person, error)
	Person(ctx context.Context, id string) (auth.Person, error)
	Invite(ctx context.Context, n auth.NewPerson, by auth.Person) (string, error)
	Renew(ctx context.Context, id string, by auth.Person) (string, error)
	SetRoles(ctx context.Context, id string, roles []auth.Role, by auth.Person) error
	Disable(ctx context.Context, id string, by auth.Person) error
	Enable(ctx context.Context, id string, by auth.Person) error
	Allow(p auth.Person, v auth.Verb, r auth.Resource) auth.Decision
	Refused(ctx context.Context, p auth.Person, v auth.Verb, r auth.Resource, d auth.Decision)
	Viewed(ctx context.Context, p auth.Person, kind, id string)
	Records(ctx context.Context, f auth.RecordFilter) ([]auth.Record, int, error)
}

// Assets is what the pages need from the register.
type Assets interface {
	Sites(ctx context.Context) ([]asset.Site, error)
	Site(ctx context.Context, id string) (asset.Site, error)
	SaveSite(ctx context.Context, s asset.Site, by auth.Person) error
	Hosts(ctx context.Context, f asset.Filter) ([]asset.Host, int, error)
	Host(ctx context.Context, id string) (asset.Host, error)
	SaveHost(ctx context.Context, h asset.Host, by auth.Person) error
	RemoveHost(ctx context.Context, id string, by auth.Person) error
	NewToken(ctx context.Context, site, note string, lifetime time.Duration, by auth.Person) (asset.Token, error)
	Tokens(ctx context.Context) ([]asset.Token, error)
	RevokeToken(ctx context.Context, id string, by auth.Person) error
}

// Alerts is what the pages need from alert.
type Alerts interface {
	List(ctx context.Context, f alert.Filter) ([]alert.Alert, int, error)
	Get(ctx context.Context, id string) (alert.Alert, error)
	Ack(ctx context.Context, id string, by auth.Person) error
	Close(ctx context.Context, id, reason string, by auth.Person) error
	Link(ctx context.Context, id, incident string) error
	Peers(ctx context.Context, alert string, limit, offset int) ([]alert.Peer, int, error)
	Rules(ctx context.Context, f alert.Filter) ([]detect.Rule, error)
}

// Incidents is what the pages need from incident.
type Incidents interface {
	Open(ctx context.Context, n incident.NewIncident, by auth.Person) (incident.Incident, error)
	List(ctx context.Context, f incident.Filter) ([]incident.Incident, int, error)
	Get(ctx context.Context, id string) (incident.Incident, error)
	Entries(ctx context.Context, id string, after, limit int) ([]incident.Entry, error)
	Write(ctx context.Context, id string, e incident.NewEntry, by auth.Person) (incident.Entry, error)
	Command(ctx context.Context, id, person string, by auth.Person) error
	Move(ctx context.Context, id string, to incident.State, reason string, by auth.Person) error
	SetSeverity(ctx context.Context, id string, s event.Severity, reason string, by auth.Person) error
	SetScope(ctx context.Context, id string, s incident.Scope, by auth.Person) error
}

// Actions is what the pages need from action.
type Actions interface {
	Plan(ctx context.Context, n action.NewRequest) (action.Action, error)
	Request(ctx context.Context, n action.NewRequest, by auth.Person) (action.Action, error)
	Approve(ctx context.Context, id string, by auth.Person) (action.Action, error)
	Refuse(ctx context.Context, id, reason string, by auth.Person) error
	Release(ctx context.Context, id, reason string, by auth.Person) error
	Cancel(ctx context.Context, id, reason string, by auth.Person) error
	Code(ctx context.Context, id string, by auth.Person) (string, error)
	Keep(ctx context.Context, id, reason string, by auth.Person) error
	Policies(ctx context.Context, site string) ([]action.Policy, error)
	Policy(ctx context.Context, id string) (action.Policy, error)
	Propose(ctx context.Context, p action.Policy, by auth.Person) (action.Policy, error)
	ApprovePolicy(ctx context.Context, id string, by auth.Person) error
	RefusePolicy(ctx context.Context, id, reason string, by auth.Person) error
	EndPolicy(ctx context.Context, id, reason string, by auth.Person) error
	Rehearse(ctx context.Context, p action.Policy, alerts action.Alerts) (action.Rehearsal, error)
	Decisions(ctx context.Context, id string) ([]action.Decision, error)
	Limits(ctx context.Context, site string) (action.Limits, error)
	SetLimits(ctx context.Context, l action.Limits, by auth.Person) error
	Cut(ctx context.Context, site string) (action.Cut, error)
	SetCut(ctx context.Context, c action.Cut, by auth.Person) error
	PlanCutting(ctx context.Context, q action.NewCutting) (action.Cutting, error)
	RequestCutting(ctx context.Context, q action.NewCutting, by auth.Person) (action.Cutting, error)
	ApproveCutting(ctx context.Context, id string, by auth.Person) (action.Cutting, error)
	RefuseCutting(ctx context.Context, id, reason string, by auth.Person) error
	GoOn(ctx context.Context, id, reason string, by auth.Person) error
	ReleaseCutting(ctx context.Context, id, reason string, by auth.Person) error
	Cutting(ctx context.Context, id string) (action.Cutting, error)
	Cuttings(ctx context.Context, site, incident string) ([]action.Cutting, error)
	List(ctx context.Context, f action.Filter) ([]action.Action, int, error)
	Get(ctx context.Context, id string) (action.Action, error)
}

// Devices is what the pages need from action/device.
type Devices interface {
	List(ctx context.Context, site string) ([]device.Device, error)
	Get(ctx context.Context, id string) (device.Device, error)
	Save(ctx context.Context, d device.Device, secrets device.Secrets, by auth.Person) (device.Device, error)
	Remove(ctx context.Context, id string, by auth.Person) error
	Test(ctx context.Context, id string) (string, error)
}

// Notices is what the pages need from notify.
type Notices interface {
	Calls(ctx context.Context, f notify.Filter) ([]notify.Call, int, error)
	Call(ctx context.Context, id string) (notify.Call, error)
	Lines(ctx context.Context, call string) ([]notify.Line, error)
	Begin(ctx context.Context, chain string, x notify.Cause) (notify.Call, error)
	Answer(ctx context.Context, id string, by auth.Person) error
	Telephoned(ctx context.Context, call, person string, o notify.Outcome, by auth.Person) error
	Tree(ctx context.Context, c notify.Chain, site string) ([]notify.Branch, error)
	TreeOf(ctx context.Context, c notify.Call) ([]notify.Branch, error)
	Deliveries(ctx context.Context, f notify.Filter) ([]notify.Delivery, int, error)
	Health(ctx context.Context) (notify.Health, error)
	Budgets(ctx context.Context) ([]notify.Budget, error)
	Channels(ctx context.Context) ([]notify.Channel, error)
	Channel(ctx context.Context, id string) (notify.Channel, error)
	SaveChannel(ctx context.Context, c notify.Channel, given notify.Secrets, by auth.Person) (notify.Channel, error)
	RemoveChannel(ctx context.Context, id string, by auth.Person) error
	Test(ctx context.Context, id string, by auth.Person) (to string, err error)
	Contacts(ctx context.Context) ([]notify.Contact, error)
	Contact(ctx context.Context, person string) (notify.Contact, error)
	SaveContact(ctx context.Context, c notify.Contact, chat string, by auth.Person) error
	Shifts(ctx context.Context) ([]notify.Shift, error)
	Shift(ctx context.Context, id string) (notify.Shift, error)
	AddShift(ctx context.Context, s notify.Shift, by auth.Person) (notify.Shift, error)
	RemoveShift(ctx context.Context, id string, by auth.Person) error
	Chains(ctx context.Context, site string) ([]notify.Chain, error)
	Chain(ctx context.Context, id string) (notify.Chain, error)
	SaveChain(ctx context.Context, c notify.Chain, by auth.Person) (notify.Chain, error)
	RemoveChain(ctx context.Context, id string, by auth.Person) error
}

// Thresholds is what the pages need from detect/threshold.
type Thresholds interface {
	Limits(ctx context.Context) ([]threshold.Limit, error)
	Limit(ctx context.Context, name, site, host string) (threshold.Limit, error)
	SetLimit(ctx context.Context, l threshold.Limit, by auth.Person) error
	DropLimit(ctx context.Context, name, site, host string, by auth.Person) error
	Open(ctx context.Context, site string) ([]threshold.Firing, error)
	Past(ctx context.Context, name, site string) ([]threshold.Firing, error)
	Counts(ctx context.Context, since time.Time, site string) (map[string]threshold.Count, error)
	Plan(ctx context.Context, w threshold.Window, by auth.Person) (threshold.Window, error)
	EndWindow(ctx context.Context, id string, by auth.Person) error
	Windows(ctx context.Context, site string) ([]threshold.Window, error)
}

// Evidence is what the pages need from evidence.
type Evidence interface {
	List(ctx context.Context, f evidence.Filter) ([]evidence.Bag, int, error)
	Get(ctx context.Context, id string) (evidence.Bag, error)
	Custody(ctx context.Context, id string) ([]evidence.Custody, error)
	Zip(ctx context.Context, id string, w io.Writer, purpose string, by auth.Person) error
	Packets(ctx context.Context, id string, w io.Writer, purpose string, by auth.Person) error
	Scans(ctx context.Context, id string) (map[string]evidence.Scan, error)
	Attend(ctx context.Context, id, witness, approver string, by auth.Person) error
	AddEvents(ctx context.Context, incident string, events []event.Event, found []evidence.Location, purpose string, by auth.Person) (evidence.Bag, error)
}

// Archive is what the pages ask about events.
type Archive interface {
	Search(ctx context.Context, s archive.Search, each func(archive.Part) error) error
	Histogram(ctx context.Context, s archive.Search, buckets int) ([]archive.Bucket, error)
	Field(ctx context.Context, s archive.Search, field string, top int) (archive.FieldStats, error)
	Suggest(ctx context.Context, field, prefix string, sites []string, n int) ([]string, error)
	Export(ctx context.Context, s archive.Search, format string, w io.Writer) (rows int64, err error)
}

// Searches is what the pages need from search.
type Searches interface {
	Asked(ctx context.Context, q search.Question, by auth.Person) error
	Opened(ctx context.Context, event string, by auth.Person) error
	Save(ctx context.Context, n search.NewSaved, by auth.Person) (search.Saved, error)
	Saved(ctx context.Context, by auth.Person) ([]search.Saved, error)
	Rename(ctx context.Context, id, name string, by auth.Person) error
	Share(ctx context.Context, id string, shared bool, by auth.Person) error
	Delete(ctx context.Context, id string, by auth.Person) error
	History(ctx context.Context, by auth.Person) ([]search.Past, error)
	Forget(ctx context.Context, by auth.Person) error
	Entity(ctx context.Context, k search.Kind, value string, from, to time.Time, by auth.Person) (search.Entity, error)
	Traffic(ctx context.Context, w search.Wanted, from, to time.Time, by auth.Person) (search.Traffic, error)
	Party(ctx context.Context, address string, from, to time.Time, by auth.Person) (search.Party, error)
	Connections(ctx context.Context, w search.Wanted, from, to time.Time, after string, limit int, by auth.Person) (search.Connections, error)
	Connection(ctx context.Context, id string, at time.Time, by auth.Person) ([]event.Event, error)
}

// Rules keeps the rules: those in force, and those that people make of searches.
type Rules interface {
	// Draft writes the rule that a search becomes. Invalid for a search that no
	// rule can say, with the reason.
	Draft(ctx context.Context, d search.RuleDraft) (yaml string, err error)
	// BackTest runs a rule over the events of the past that a person may see
	// (sites; nil: all). It stops after a while with what it has by then.
	BackTest(ctx context.Context, yaml string, from, to time.Time, sites []string) (search.BackTest, error)
	// Enable makes a rule watch from now on.
	Enable(ctx context.Context, yaml string, by auth.Person) (search.Rule, error)
	// List lists the rules in force and those that people made.
	List(ctx context.Context, f search.RuleFilter) (search.RuleList, error)
	// Open returns one of them with all that is known of it.
	Open(ctx context.Context, id string) (search.Opened, error)
	// Explain says why a rule speaks of an event; nil for one not in force.
	Explain(rule string, e event.Event) *search.Reason
	// SwitchOff and SwitchOn disable and enable a rule; a reason is needed.
	SwitchOff(ctx context.Context, id, reason string, by auth.Person) error
	SwitchOn(ctx context.Context, id, reason string, by auth.Person) error
	// Tune changes a rule for a time, EndTuned takes that back; both with a
	// reason.
	Tune(ctx context.Context, c tuning.Change, by auth.Person) (search.Tuned, error)
	EndTuned(ctx context.Context, id, reason string, by auth.Person) error
	// Try tests a rule on the past in the background; Trial tells how far it is.
	Try(ctx context.Context, rule string, from, to time.Time, by auth.Person) error
	Trial(rule string, by auth.Person) *search.Trial
	StopTrial(rule string, by auth.Person)
}

// Duties is what the pages need from duty.
type Duties interface {
	Assess(ctx context.Context, incident string) (duty.Assessment, error)
	At(ctx context.Context, incident string, at time.Time) (duty.Assessment, duty.Statement, error)
	Restate(ctx context.Context, incident string, f duty.Facts, reason string, by auth.Person) error
	History(ctx context.Context, incident string) ([]duty.Statement, error)
	Decisions(ctx context.Context, incident string) ([]duty.Decision, error)
	Decide(ctx context.Context, incident string, d duty.NewDecision, by auth.Person) error
	Sign(ctx context.Context, incident string, d duty.NewDecision, by auth.Person) error
	Contacts(ctx context.Context) ([]duty.Authority, error)
	SaveContact(ctx context.Context, id string, c duty.NewContact, by auth.Person) error
	HolidaysNow(ctx context.Context) (duty.Holidays, []duty.HolidayUpdate, error)
	PreviewHolidays(ctx context.Context, days []duty.Holiday) (duty.HolidayEffect, error)
	UpdateHolidays(ctx context.Context, u duty.HolidayUpdate) (duty.HolidayEffect, error)
	Rules() duty.Rules
}

// Decisions is what the pages need from incident/decision.
type Decisions interface {
	Evaluate(ctx context.Context, incident string) ([]decision.Evaluation, error)
	List(ctx context.Context, incident string) ([]decision.Decision, error)
	Get(ctx context.Context, id string) (decision.Decision, error)
	Versions(ctx context.Context, id string) ([]decision.Decision, error)
	Decide(ctx context.Context, incident string, n decision.NewDecision, by auth.Person) (decision.Decision, error)
	Dissent(ctx context.Context, id, who, why string, by auth.Person) (decision.Decision, error)
	Approve(ctx context.Context, id string, given bool, who, why string, by auth.Person) (decision.Decision, error)
	Criteria(ctx context.Context, service string) (decision.SheetRef, []decision.Criterion, error)
	Sheet(ctx context.Context, service string) (decision.Sheet, error)
	Sheets(ctx context.Context, service string) ([]decision.Sheet, error)
	SetSheet(ctx context.Context, s decision.Sheet, by auth.Person) (decision.Sheet, error)
}

// Books is what the pages need from playbook.
type Books interface {
	Books(ctx context.Context) ([]*playbook.Book, error)
	Book(ctx context.Context, id string) (*playbook.Book, error)
	Import(ctx context.Context, source []byte, by auth.Person) (*playbook.Book, error)
	Offer(ctx context.Context, rules []detect.Rule) ([]*playbook.Book, error)
	Runs(ctx context.Context, incident string) ([]playbook.Run, error)
	Run(ctx context.Context, id string) (playbook.Run, error)
	BeginWith(ctx context.Context, incident, book string, given map[string]string, by auth.Person) (playbook.Run, error)
	Signatures(b *playbook.Book) []playbook.Signed
	Sign(ctx context.Context, id string, by auth.Person) (*playbook.Book, error)
	Report(ctx context.Context, run string, r playbook.Report, by auth.Person) (playbook.Run, error)
	Cancel(ctx context.Context, run, reason string, by auth.Person) error
}

// Reports is what the pages need from report.
type Reports interface {
	Make(ctx context.Context, incident string, o report.Order, by auth.Person) (report.Document, error)
	List(ctx context.Context, incident string) ([]report.Document, error)
	Approve(ctx context.Context, id string, by auth.Person) error
	Viewed(ctx context.Context, doc report.Document, format string, by auth.Person) error
	HTML(ctx context.Context, id, lang string, w io.Writer) error
	File(ctx context.Context, id, lang, format string) (report.File, error)
	Proof(ctx context.Context, id, lang, format string) (report.File, error)
	TemplateProblems() ([]report.Problem, error)
	Template(name string) ([]byte, error)
	Particulars(ctx context.Context, incident string) (report.Particulars, error)
	SetParticulars(ctx context.Context, incident string, p report.Particulars, by auth.Person) error
	Reporter(ctx context.Context) (report.Reporter, error)
	SetReporter(ctx context.Context, r report.Reporter, by auth.Person) error
}

// Sheets is what the pages need from report/sheet.
type Sheets interface {
	Sheet(ctx context.Context, incident string) (sheet.Sheet, error)
	Keep(ctx context.Context, incident string, by auth.Person) (sheet.Kept, error)
	List(ctx context.Context, incident string) ([]sheet.Kept, error)
	HTML(ctx context.Context, incident, id, lang string, w io.Writer) error
	Paper(ctx context.Context, incident, lang, checkpoint string, w io.Writer) error
}

// Hands is what the pages need of states that people set on the sheet.
type Hands interface {
	States(ctx context.Context, incident string) ([]sheet.Hand, error)
	SetState(ctx context.Context, incident string, n sheet.NewHand, by auth.Person) error
}

// Ledger is what the pages need from the ledger.
type Ledger interface {
	Checkpoint(ctx context.Context) (ledger.Checkpoint, error)
	Leaves(ctx context.Context, from uint64, n int) ([]leaf.Leaf, error)
}

// Threats is what the pages need of threat lists.
type Threats interface {
	Lists(ctx context.Context) ([]threat.Shown, error)
	Draft(ctx context.Context, data []byte, format ioc.Format, by auth.Person) (threat.Draft, error)
	OpenDraft(ctx context.Context, id string, by auth.Person) (threat.Draft, error)
	Import(ctx context.Context, draft string, t threat.Terms, by auth.Person) (threat.List, error)
	End(ctx context.Context, id, reason string, by auth.Person) error
	Search(ctx context.Context, list string, days int, by auth.Person) error
}

// Paper is what the pages need from incident/paper.
type Paper interface {
	AddPicture(ctx context.Context, incident string, n paper.NewPicture, by auth.Person) (paper.Picture, error)
	Pictures(ctx context.Context, incident string) ([]paper.Picture, error)
	Picture(ctx context.Context, incident, id string) (paper.Picture, []byte, error)
	TakeMemo(ctx context.Context, incident string, m paper.Memo, by auth.Person) (incident.Entry, error)
	CallBacks(ctx context.Context, incident string) ([]paper.CallBack, error)
	CalledBack(ctx context.Context, incident, id, result string, at time.Time, by auth.Person) error
	AddSheet(ctx context.Context, incident, name string, data []byte, by auth.Person) (paper.Preview, error)
	Sheets(ctx context.Context, incident string) ([]paper.SheetFile, error)
	SheetData(ctx context.Context, incident, id string) (paper.SheetFile, []byte, error)
	Preview(ctx context.Context, incident, id string) (paper.Preview, error)
	Export(ctx context.Context, incident string, by auth.Person, w io.Writer) error
	Import(ctx context.Context, incident, id string, choices map[int]paper.Choice, by auth.Person) (paper.Taken, error)
}

// Causes is what the pages need from incident/cause.
type Causes interface {
	Graph(ctx context.Context, incident, site string, from, to time.Time) (cause.Graph, error)
	Factors(ctx context.Context, incident string) ([]cause.Factor, error)
	AddFactor(ctx context.Context, incident string, n cause.NewFactor, by auth.Person) (cause.Factor, error)
	ReviseFactor(ctx context.Context, incident, id string, n cause.NewFactor, by auth.Person) error
	WithdrawFactor(ctx context.Context, incident, id, reason string, by auth.Person) error
	Interviews(ctx context.Context, incident string) ([]cause.Interview, error)
	AddInterview(ctx context.Context, incident string, n cause.NewInterview, by auth.Person) (cause.Interview, error)
	Measures(ctx context.Context, incident string) ([]cause.Measure, error)
	AddMeasure(ctx context.Context, incident string, n cause.NewMeasure, by auth.Person) (cause.Measure, error)
	Go(ctx context.Context, incident, id string, p cause.Progress, by auth.Person) error
	Lessons(ctx context.Context, incident string) ([]cause.Lesson, error)
	AddLesson(ctx context.Context, incident, text, target, ref string, by auth.Person) (cause.Lesson, error)
	AnswerLesson(ctx context.Context, incident, id, answer string, by auth.Person) error
	LessonsFor(ctx context.Context, target, ref string) ([]cause.Lesson, error)
}

// Vault is what the pages need from protect/vault.
type Vault interface {
	Repositories(ctx context.Context, site string) ([]vault.Repository, error)
	Get(ctx context.Context, agent string) (vault.Repository, error)
	SetQuota(ctx context.Context, agent string, bytes int64, reason string, by auth.Person) error
	Reads(ctx context.Context, agent string) ([]vault.Read, error)
	AskRead(ctx context.Context, agent string, by auth.Person) error
	RefusalsOf(ctx context.Context, agent string) ([]vault.Refusals, error)
	Recipients(ctx context.Context) (vault.Recipients, error)
	SetRecipients(ctx context.Context, all []vault.Recipient, why string, by auth.Person) error
	Sheet(ctx context.Context, agent string) (vault.Sheet, error)
	NewSheet(ctx context.Context, agent string, by auth.Person) (vault.Sheet, error)
	Cuts(ctx context.Context, site string) ([]vault.Cut, error)
	CutByID(ctx context.Context, id string) (vault.Cut, error)
	CutPath(ctx context.Context, site, incident, why string, by auth.Person) (vault.Cut, error)
	Release(ctx context.Context, id, reason string, by auth.Person) error
	Passes(ctx context.Context, agent, site string) ([]vault.Pass, error)
	PassByID(ctx context.Context, id string) (vault.Pass, error)
	AskPass(ctx context.Context, n vault.NewPass, by auth.Person) (vault.Pass, error)
	ApprovePass(ctx context.Context, id string, by auth.Person) error
	RefusePass(ctx context.Context, id, reason string, by auth.Person) error
	EndPass(ctx context.Context, id, reason string, by auth.Person) error
	TakeToken(ctx context.Context, id string, by auth.Person) (string, error)
	PlanPrune(ctx context.Context, agent string, g vault.Generations) ([]vault.Choice, error)
	AskPrune(ctx context.Context, agent string, g vault.Generations, why string, by auth.Person) (vault.Prune, error)
	ApprovePrune(ctx context.Context, id string, by auth.Person) error
	StopPrune(ctx context.Context, id, reason string, by auth.Person) error
	Prunes(ctx context.Context, agent string) ([]vault.Prune, error)
	PruneByID(ctx context.Context, id string) (vault.Prune, error)
	MayPrune(ctx context.Context, id string) (vault.Prune, error)
	Gone(ctx context.Context, agent string, asOf time.Time) ([]repository.Gone, error)
	SetHold(ctx context.Context, agent, why string, by auth.Person) error
	EndHold(ctx context.Context, agent, why string, by auth.Person) error
	CutKept(ctx context.Context, id string, by auth.Person) (vault.Cut, error)
	Home(ctx context.Context) (vault.Home, error)
	TakeHome(ctx context.Context, why string, by auth.Person) error
	AddTool(ctx context.Context, file, number, why string, body []byte, by auth.Person) (vault.Tool, error)
	ApproveTool(ctx context.Context, id string, by auth.Person) error
	StopTool(ctx context.Context, id, reason string, by auth.Person) error
	Tools(ctx context.Context) ([]vault.Tool, error)
	ToolByID(ctx context.Context, id string) (vault.Tool, error)
}

// Copies is what the pages need from protect/copy.
type Copies interface {
	States(ctx context.Context) ([]copy.State, error)
	History(ctx context.Context, place, agent string) ([]copy.Result, error)
	Places(ctx context.Context, all bool) ([]copy.Place, error)
	Place(ctx context.Context, id string) (copy.Place, error)
	Save(ctx context.Context, p copy.Place, login blob.Login, by auth.Person) (copy.Place, error)
	End(ctx context.Context, id string, by auth.Person) error
	Run(ctx context.Context, place, medium string, by auth.Person) error
	Stop(ctx context.Context, place string, by auth.Person) error
	Running(ctx context.Context) (map[string]copy.Now, error)
	Media(ctx context.Context) ([]copy.Medium, error)
	Medium(ctx context.Context, id string) (copy.Medium, error)
	AddMedium(ctx context.Context, place, label string, by auth.Person) (copy.Medium, error)
	Move(ctx context.Context, id string, s copy.Step, by auth.Person) error
}

// Restores is what the pages need from protect/restore.
type Restores interface {
	Agents(ctx context.Context, site string) ([]string, error)
	Snapshots(ctx context.Context, agent string, asOf time.Time, after string, limit int) (restore.Page[restore.Snapshot], error)
	Snapshot(ctx context.Context, w restore.Where) (restore.Snapshot, error)
	Points(ctx context.Context, agent string) ([]anomaly.Point, error)
	Folder(ctx context.Context, w restore.Where, at, after string, limit int) (restore.Page[restore.Entry], error)
	Search(ctx context.Context, w restore.Where, at, part string, limit int) ([]restore.Entry, bool, error)
	Compare(ctx context.Context, w restore.Where, with, at string, limit int) (restore.Difference, error)
	Scans() bool
	Download(ctx context.Context, t restore.Taking, begin func(restore.Entry), out io.Writer) error
	Archive(ctx context.Context, t restore.Taking, format restore.Format, begin func(), out io.Writer) error
	Ask(ctx context.Context, n restore.NewRequest, by auth.Person) (restore.Request, error)
	Request(ctx context.Context, id string) (restore.Request, error)
	Requests(ctx context.Context) ([]restore.Request, error)
	Versions(ctx context.Context, id string) ([]restore.Request, error)
	Far(ctx context.Context, id string) (job.Progress, error)
	Approve(ctx context.Context, id string, by auth.Person) (restore.Request, error)
	Refuse(ctx context.Context, id, why string, by auth.Person) (restore.Request, error)
	Pass(ctx context.Context, id, why string, by auth.Person) (restore.Request, error)
	Release(ctx context.Context, id string, by auth.Person) (restore.Request, error)
	Stop(ctx context.Context, id, why string, by auth.Person) (restore.Request, error)
}
