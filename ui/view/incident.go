package view

import (
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/evidence"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/incident/cause"
	"github.com/sonae/sonae/incident/paper"
	"github.com/sonae/sonae/incident/task"
	"github.com/sonae/sonae/notify"
	"github.com/sonae/sonae/playbook"
	"github.com/sonae/sonae/protect/forecast"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/report"
)

// IncidentsData is the list of incidents.
type IncidentsData struct {
	Lines  []IncidentLine
	Paging Paging
	All    bool // ended ones too
}

// RoomData is the incident room: everything about one incident.
type RoomData struct {
	Incident  incident.Incident
	Next      *Deadline
	Entries   []incident.Entry // newest first
	Corrected map[int]int      // No of an entry → No of the entry that corrects it
	Older     int              // No of the oldest shown entry when there are older ones, else 0
	Correct   int              // No of the entry that the form corrects, 0: none
	Alerts    []AlertLine      // the newest
	AlertsAll int              // how many there are
	Loose     []AlertLine      // about hosts in scope, in no incident
	Actions   []action.Action
	Bags      []evidence.Bag
	Duty      *duty.Assessment // nil when it could not be assessed
	Documents []report.Document
	Decision  RoomDecision
	Runs      []playbook.Run
	Tasks     []task.Task // the most urgent first
	Roles     []task.Role
	Calls     []notify.Call    // about this incident, the newest first
	Offers    []*playbook.Book // that fit the alerts
	Books     []*playbook.Book // all others
	People    []auth.Person    // who may command
	Hosts     []asset.Host     // in scope
	AllHosts  []asset.Host     // that may be put in scope
	Sites     []asset.Site
	CallBacks []paper.CallBack
	Measures  []cause.Measure
	Recovery  *forecast.Line // nil: no restore plan is about what the incident touches
}

// Sources are where an entry that a person writes may come from.
func Sources() []string {
	return []string{"person", "phone", "fax", "mail", "paper", "whiteboard", "oral", "radio"}
}

// Certainties of entries, the surest first.
func Certainties() []incident.Certainty {
	return []incident.Certainty{incident.Fact, incident.Estimate, incident.Unconfirmed}
}

// resource is the incident for questions about rights.
func (d RoomData) resource(p Page) auth.Resource {
	return auth.Resource{Kind: "incident", ID: d.Incident.ID, Site: auth.Among(p.Viewer, d.Incident.Scope.Sites)}
}

// entryResource is its chronology: more people may write there.
func (d RoomData) entryResource(p Page) auth.Resource {
	r := d.resource(p)
	r.Kind = "entry"
	return r
}

func (d RoomData) ended() bool { return d.Incident.State == incident.Ended }

// inScope says whether id stands in list.
func inScope(list []string, id string) bool { return slices.Contains(list, id) }

// isolated returns the isolation of host that is not ended, nil if none.
func (d RoomData) isolated(host string) *action.Action {
	for _, a := range d.Actions {
		if a.Host == host && a.Kind == action.Isolate && !ActionEnded(a.State) {
			return &a
		}
	}
	return nil
}

// ActionEnded says whether nothing more happens to an action.
func ActionEnded(s action.State) bool {
	switch s {
	case action.Released, action.Expired, action.Refused, action.Failed:
		return true
	}
	return false
}

// entryText is what an entry says: what a person wrote, or the sentence a
// stage chose.
func entryText(p Page, e incident.Entry) string {
	args := maps.Clone(e.Args)
	for k, v := range e.Args {
		name, isTime := strings.CutSuffix(k, "_at")
		if at, err := time.Parse(time.RFC3339, v); isTime && err == nil {
			delete(args, k)
			args[name] = p.Time(at)
		}
		if k == "detail" {
			args[k] = detail(p, v)
		}
		if n, err := strconv.ParseInt(v, 10, 64); k == "bytes" && err == nil {
			args[k] = i18n.Count(n)
		}
	}
	e.Args = args
	return e.Say(p.Lang, i18n.T, p.NamesIn(e.Args))
}

// entryPage is the page of the action or cutting that a line of the hub is
// about; "" when there is none that the viewer may see.
func (d RoomData) entryPage(p Page, e incident.Entry) string {
	r := d.resource(p)
	r.Kind, r.ID = "action", e.Ref
	if e.By != incident.System || e.Source != "action" || e.Ref == "" || !p.May(auth.View, r) {
		return ""
	}
	if strings.HasPrefix(e.Ref, action.CuttingPrefix) {
		return "/cuttings/" + url.PathEscape(e.Ref)
	}
	return "/actions/" + url.PathEscape(e.Ref)
}

// piece is a part of a sentence of the hub.
type piece struct {
	Text      string
	Code, Bag bool
}

// machineWord is an id of a bag or a SHA-256.
var machineWord = regexp.MustCompile(`\bbag-[0-9a-f]+-[0-9a-f]+\b|\b[0-9a-f]{64}\b`)

// partsOf splits a sentence at the ids and digests in it.
func partsOf(sentence string) []piece {
	var out []piece
	from := 0
	for _, at := range machineWord.FindAllStringIndex(sentence, -1) {
		word := sentence[at[0]:at[1]]
		out = append(out, piece{Text: sentence[from:at[0]]}, piece{Text: word, Code: true, Bag: strings.HasPrefix(word, "bag-")})
		from = at[1]
	}
	return append(out, piece{Text: sentence[from:]})
}

// lateEntry is the difference between happening and writing down from which
// both times are shown.
const lateEntry = time.Minute

// others are the people who could take over command.
func (d RoomData) others() []auth.Person {
	return slices.DeleteFunc(slices.Clone(d.People), func(p auth.Person) bool { return p.ID == d.Incident.Commander })
}

// commanderChoice is the person that the form offers first: the commander, or
// the viewer when there is none.
func commanderChoice(p Page, d RoomData) string {
	if d.Incident.Commander != "" {
		return p.Field("person", d.Incident.Commander)
	}
	return p.Field("person", p.Viewer.ID)
}

func bagProgress(s evidence.State) string {
	switch s {
	case evidence.Sealed:
		return "done"
	case evidence.Broken:
		return "failed"
	}
	return "working"
}

// reportResource is a document about it.
func (d RoomData) reportResource(p Page) auth.Resource {
	r := d.resource(p)
	r.Kind = "report"
	return r
}

// isolable says whether there is a host in scope that the viewer may ask to
// isolate.
func (d RoomData) isolable(p Page) bool {
	return slices.ContainsFunc(d.Hosts, func(h asset.Host) bool {
		return d.isolated(h.ID) == nil && p.May(auth.Request, auth.Resource{Kind: "action", Site: h.Site})
	})
}
