package api

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
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/detect/ioc"
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
	"github.com/sonae/sonae/protect/repository"
	"github.com/sonae/sonae/protect/vault"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/report"
	"github.com/sonae/sonae/search"
	"github.com/sonae/sonae/search/threat"
)

// Deps is all that the operations call. Every field is needed.
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
	Rules          Rules
	Devices        Devices
	Threats        Threats
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
	Now            clock.Now
	Log            *slog.Logger
}

// People is what the operations need from auth.
type People interface {
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
	Records(ctx context.Context, f auth.RecordFilter) ([]auth.Record, int, error)
	Allow(p auth.Person, v auth.Verb, r auth.Resource) auth.Decision
	Refused(ctx context.Context, p auth.Person, v auth.Verb, r auth.Resource, d auth.Decision)
	Viewed(ctx context.Context, p auth.Person, kind, id string)
}

// Assets is what the operations need from the register.
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
}

// Alerts is what the operations need from alert.
type Alerts interface {
	List(ctx context.Context, f alert.Filter) ([]alert.Alert, int, error)
	Get(ctx context.Context, id string) (alert.Alert, error)
	Ack(ctx context.Context, id string, by auth.Person) error
	Close(ctx context.Context, id, reason string, by auth.Person) error
}

// Incidents is what the operations need from incident.
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

// Actions is what the operations need from action.
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
	Packets(ctx context.Context, host, end string, at time.Time) ([]action.Action, error)
}

// Evidence is what the operations need from evidence.
type Evidence interface {
	List(ctx context.Context, f evidence.Filter) ([]evidence.Bag, int, error)
	Get(ctx context.Context, id string) (evidence.Bag, error)
	Custody(ctx context.Context, id string) ([]evidence.Custody, error)
	Zip(ctx context.Context, id string, w io.Writer, purpose string, by auth.Person) error
	Attend(ctx context.Context, id, witness, approver string, by auth.Person) error
	Packets(ctx context.Context, id string, w io.Writer, purpose string, by auth.Person) error
}

// Archive is what the operations ask about events.
type Archive interface {
	Search(ctx context.Context, s archive.Search, each func(archive.Part) error) error
	Histogram(ctx context.Context, s archive.Search, buckets int) ([]archive.Bucket, error)
	Field(ctx context.Context, s archive.Search, field string, top int) (archive.FieldStats, error)
	Suggest(ctx context.Context, field, prefix string, sites []string, n int) ([]string, error)
	Export(ctx context.Context, s archive.Search, format string, w io.Writer) (rows int64, err error)
}

// Searches is what the operations need from search.
type Searches interface {
	Asked(ctx context.Context, q search.Question, by auth.Person) error
	Opened(ctx context.Context, event string, by auth.Person) error
	Save(ctx context.Context, n search.NewSaved, by auth.Person) (search.Saved, error)
	Saved(ctx context.Context, by auth.Person) ([]search.Saved, error)
	Rename(ctx context.Context, id, name string, by auth.Person) error
	Share(ctx context.Context, id string, shared bool, by auth.Person) error
	Delete(ctx context.Context, id string, by auth.Person) error
	Entity(ctx context.Context, k search.Kind, value string, from, to time.Time, by auth.Person) (search.Entity, error)
	Traffic(ctx context.Context, w search.Wanted, from, to time.Time, by auth.Person) (search.Traffic, error)
	Party(ctx context.Context, address string, from, to time.Time, by auth.Person) (search.Party, error)
	Connections(ctx context.Context, w search.Wanted, from, to time.Time, after string, limit int, by auth.Person) (search.Connections, error)
	Connection(ctx context.Context, id string, at time.Time, by auth.Person) ([]event.Event, error)
}

// Rules is what the operations need of the rulebook.
type Rules interface {
	List(ctx context.Context, f search.RuleFilter) (search.RuleList, error)
	Open(ctx context.Context, id string) (search.Opened, error)
	BackTest(ctx context.Context, yaml string, from, to time.Time, sites []string) (search.BackTest, error)
	SwitchOff(ctx context.Context, id, reason string, by auth.Person) error
	SwitchOn(ctx context.Context, id, reason string, by auth.Person) error
	Changes(ctx context.Context, rule string, limit, offset int) ([]search.Tuned, int, error)
	Tune(ctx context.Context, c tuning.Change, by auth.Person) (search.Tuned, error)
	EndTuned(ctx context.Context, id, reason string, by auth.Person) error
}

// Devices is what the operations need from action/device.
type Devices interface {
	List(ctx context.Context, site string) ([]device.Device, error)
	Get(ctx context.Context, id string) (device.Device, error)
	Save(ctx context.Context, d device.Device, secrets device.Secrets, by auth.Person) (device.Device, error)
	Remove(ctx context.Context, id string, by auth.Person) error
	Test(ctx context.Context, id string) (string, error)
}

// Duties is what the operations need from duty.
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

// Decisions is what the operations need from incident/decision.
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

// Books is what the operations need from playbook.
type Books interface {
	Books(ctx context.Context) ([]*playbook.Book, error)
	Book(ctx context.Context, id string) (*playbook.Book, error)
	Import(ctx context.Context, source []byte, by auth.Person) (*playbook.Book, error)
	Runs(ctx context.Context, incident string) ([]playbook.Run, error)
	Run(ctx context.Context, id string) (playbook.Run, error)
	BeginWith(ctx context.Context, incident, book string, given map[string]string, by auth.Person) (playbook.Run, error)
	Signatures(b *playbook.Book) []playbook.Signed
	Sign(ctx context.Context, id string, by auth.Person) (*playbook.Book, error)
	Report(ctx context.Context, run string, r playbook.Report, by auth.Person) (playbook.Run, error)
	Cancel(ctx context.Context, run, reason string, by auth.Person) error
}

// Reports is what the operations need from report.
type Reports interface {
	Draft(ctx context.Context, incident string, o report.Order) (report.Data, error)
	JSON(ctx context.Context, id string) (report.Data, error)
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

// Ledger is what the operations need from the ledger.
type Ledger interface {
	Checkpoint(ctx context.Context) (ledger.Checkpoint, error)
	Prove(ctx context.Context, l leaf.Leaf) (ledger.Proof, error)
	Find(ctx context.Context, kind, ref string) (ledger.Proof, error)
	ProveConsistency(ctx context.Context, from, to uint64) (ledger.Consistency, error)
}

// Threats is what the operations need of threat lists.
type Threats interface {
	Lists(ctx context.Context) ([]threat.Shown, error)
	Draft(ctx context.Context, data []byte, format ioc.Format, by auth.Person) (threat.Draft, error)
	Import(ctx context.Context, draft string, t threat.Terms, by auth.Person) (threat.List, error)
	End(ctx context.Context, id, reason string, by auth.Person) error
	Search(ctx context.Context, list string, days int, by auth.Person) error
}

// Notices is what the operations need from notify.
type Notices interface {
	Calls(ctx context.Context, f notify.Filter) ([]notify.Call, int, error)
	Call(ctx context.Context, id string) (notify.Call, error)
	Lines(ctx context.Context, call string) ([]notify.Line, error)
	Begin(ctx context.Context, chain string, x notify.Cause) (notify.Call, error)
	Answer(ctx context.Context, id string, by auth.Person) error
	Telephoned(ctx context.Context, call, person string, o notify.Outcome, by auth.Person) error
	Deliveries(ctx context.Context, f notify.Filter) ([]notify.Delivery, int, error)
	Health(ctx context.Context) (notify.Health, error)
	Budgets(ctx context.Context) ([]notify.Budget, error)
	Channels(ctx context.Context) ([]notify.Channel, error)
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

// Paper is what the operations need from incident/paper.
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

// Causes is what the operations need from incident/cause.
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
}

// Vault is what the operations need from protect/vault.
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
