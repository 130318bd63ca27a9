package report

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/evidence"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/incident"
)

// Bounds of what a paper document shows.
const (
	firstEntries = 50  // of a long chronology: how it began
	lastEntries  = 450 // and how it stands
	mostPeers    = 10
)

// known is what a draft is made of.
type known struct {
	in       incident.Incident
	entries  []incident.Entry
	omitted  int
	duty     duty.Assessment
	alerts   []alert.Alert
	actions  []action.Action
	bags     []evidence.Bag
	names    map[string]string
	reporter Reporter

	particulars Particulars
}

// Draft returns the data of the next document of a kind as things stand now.
// Nothing is stored. Invalid: there is no such kind or group.
func (d *Desk) Draft(ctx context.Context, id string, o Order) (Data, error) {
	kind, ok := KindOf(o.Kind)
	if !ok {
		return Data{}, fault.New(fault.Invalid, "report.no-kind", o.Kind)
	}
	k, err := d.gather(ctx, id)
	if err != nil {
		return Data{}, fmt.Errorf("draft report of %s: %w", id, err)
	}
	data := Data{
		Schema: "sonae.report.data/2", Kind: kind.ID, TLP: kind.TLP, MadeAt: d.moment(), Drill: k.in.Drill, Incident: k.incident(),
		Reporter: k.reporter.boxes(), Triggers: []Trigger{}, Clocks: []Clock{}, Notes: []Text{}, Alerts: []Alert{},
		Actions: []Action{}, Bags: []Bag{}, Entries: []Line{}, Missing: []Text{}, Omitted: k.omitted, RulesName: k.duty.Rules,
	}
	for _, n := range k.duty.Notes {
		data.Notes = append(data.Notes, Word(n, nil))
	}
	k.assessed(&data)
	for _, a := range k.alerts {
		data.Alerts = append(data.Alerts, k.alert(a, d.deps.Say))
	}
	for _, a := range k.actions {
		data.Actions = append(data.Actions, k.action(a))
	}
	for _, b := range k.bags {
		data.Bags = append(data.Bags, Bag{ID: b.ID, Host: k.name(b.Host), State: Word("report.bag."+string(b.State), nil), SealedAt: b.SealedAt,
			Items: b.Kept, Bytes: b.Bytes, Digest: b.Digest, Stamped: b.Stamped})
	}
	k.chronology(&data)
	data.Items = k.items(d.deps.Rules, data)
	data.Indicators, data.Techniques = k.indicators(data.Alerts), k.techniques()
	if data.Group, err = k.group(kind, o.Group); err != nil {
		return Data{}, err
	}
	data.Particulars = k.stated(data.Group)
	if err := d.phones(ctx, k, &data); err != nil {
		return Data{}, err
	}
	data.Missing, err = d.missing(data)
	return data, err
}

// missing are the labels of what a page of this kind asks for and nobody has
// stated: the page itself says what it asks for.
func (d *Desk) missing(data Data) ([]Text, error) {
	asked, err := d.deps.Pages.Asks(data)
	if err != nil {
		return nil, err
	}
	out := []Text{}
	for _, f := range data.Fields() {
		if f.Missing && slices.Contains(asked, f.ID) {
			out = append(out, f.Label)
		}
	}
	return out, nil
}

// group is the group of persons that a document is for.
func (k known) group(kind Kind, id string) (*Group, error) {
	if !kind.Groups {
		if id != "" {
			return nil, fault.New(fault.Invalid, "report.no-group", id)
		}
		return nil, nil
	}
	g, ok := k.particulars.Group(id)
	if !ok {
		return nil, fault.New(fault.Invalid, "report.no-group", id)
	}
	return &g, nil
}

// stated are the particulars as boxes, with those of the group.
func (k known) stated(g *Group) []Field {
	var all []Field
	add := func(id, value string, suggested bool) {
		all = append(all, Field{ID: id, Label: Word("report.particular."+id, nil), Value: Plain(value), Missing: value == "", Suggested: suggested && value != ""})
	}
	for _, f := range k.particulars.Fields() {
		switch {
		case f.ID == "signatory" && f.Value == "":
			add(f.ID, k.reporter.Representative, true)
		case f.ID == "desk_name" && f.Value == "":
			add(f.ID, k.reporter.Department, true)
		case f.ID == "desk_phone" && f.Value == "":
			add(f.ID, k.reporter.Phone, true)
		default:
			add(f.ID, f.Value, false)
		}
	}
	if g == nil {
		return all
	}
	add("group_name", g.Name, false)
	count := ""
	if g.Count > 0 {
		count = strconv.Itoa(g.Count)
	}
	add("group_count", count, false)
	add("group_data", g.Data, false)
	add("group_advice", cmp.Or(g.Advice, k.particulars.Advice), false)
	return all
}

// Fields are all boxes of a document.
func (d Data) Fields() []Field {
	all := slices.Concat(d.Reporter, d.Particulars)
	for _, it := range d.Items {
		all = append(all, it.Fields...)
	}
	return all
}

func (d *Desk) gather(ctx context.Context, id string) (known, error) {
	var k known
	var err error
	if k.in, err = d.deps.Incidents.Get(ctx, id); err != nil {
		return k, err
	}
	if k.duty, err = d.deps.Duties.Assess(ctx, id); err != nil {
		return k, err
	}
	if k.alerts, err = d.deps.Alerts(ctx, id); err != nil {
		return k, err
	}
	if k.actions, err = d.deps.Actions(ctx, id); err != nil {
		return k, err
	}
	if k.bags, err = d.deps.Bags(ctx, id); err != nil {
		return k, err
	}
	if k.names, err = d.deps.Names(ctx); err != nil {
		return k, err
	}
	if k.reporter, err = d.Reporter(ctx); err != nil {
		return k, err
	}
	if k.particulars, err = d.Particulars(ctx, id); err != nil {
		return k, err
	}
	slices.SortStableFunc(k.alerts, func(a, b alert.Alert) int { return a.First.Compare(b.First) })
	for after := 0; ; after = k.entries[len(k.entries)-1].No {
		page, err := d.deps.Incidents.Entries(ctx, id, after, 1000)
		if err != nil || len(page) == 0 {
			return k, err
		}
		k.entries = append(k.entries, page...)
	}
}

func (k known) name(id string) string {
	if n := k.names[id]; n != "" {
		return n
	}
	return id
}

func (k known) list(ids []string) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = k.name(id)
	}
	return out
}

func (k known) incident() Incident {
	in := k.in
	return Incident{ID: in.ID, No: in.No, Title: in.Title, State: Word("incident.state."+string(in.State), nil),
		Severity: Word("incident.severity."+in.Severity.String(), nil), Commander: k.name(in.Commander),
		Sites: k.list(in.Scope.Sites), Hosts: k.list(in.Scope.Hosts), Scope: in.Scope.Notes, OpenedAt: in.OpenedAt, KnownAt: k.duty.Facts.KnownAt}
}

// assessed writes what the law asks; what does not apply is left out.
func (k known) assessed(data *Data) {
	for _, t := range k.duty.Triggers {
		if t.Applies == duty.No {
			continue
		}
		data.Triggers = append(data.Triggers, Trigger{Regime: Word("duty.regime."+t.Regime, nil), Label: Word("duty.trigger."+t.ID, nil),
			Applies: Word("duty.applies."+string(t.Applies), nil), Because: Word(t.Because, nil)})
	}
	for _, c := range k.duty.Clocks {
		data.Clocks = append(data.Clocks, Clock{Label: Word("duty.clock."+c.Kind, nil), Regime: Word("duty.regime."+c.Regime, nil), From: c.From,
			Target: c.Target, Raw: c.Raw, Due: c.Due, Days: c.Days, Slid: c.Slid, Guide: c.Guide, Sure: c.Applies == duty.Yes,
			DoneAt: c.DoneAt, Basis: c.Basis, Because: Word(c.Fact, nil)})
	}
}

func (k known) alert(a alert.Alert, say Say) Alert {
	text := func(t map[string]string) Text {
		return Text{JA: say(a, t, i18n.Japanese, k.names), EN: say(a, t, i18n.English, k.names)}
	}
	out := Alert{ID: a.ID, Title: text(a.Rule.Title), What: text(a.Rule.What), Affects: text(a.Rule.Affects), Severity: Word("incident.severity."+a.Severity.String(), nil),
		Host: k.name(a.Host), Site: k.name(a.Site), Count: a.Count, First: a.First, Last: a.Last, Sent: a.Sent, Received: a.Received, Process: []string{}, Peers: []Peer{}}
	for _, p := range a.Process {
		out.Process = append(out.Process, strings.TrimSpace(fmt.Sprintf("%s (%s)", cmp.Or(p.Image, p.Command, "?"), cmp.Or(p.User, "?"))))
	}
	peers := slices.Clone(a.Peers)
	slices.SortStableFunc(peers, func(x, y alert.Peer) int { return cmp.Compare(y.Sent, x.Sent) })
	for i, p := range peers {
		if i == mostPeers {
			out.MorePeer = len(peers) - mostPeers
			break
		}
		out.Peers = append(out.Peers, Peer{Address: p.Address, Protocol: p.Protocol, Sent: p.Sent, Received: p.Received, First: p.First, Last: p.Last})
	}
	return out
}

func (k known) action(a action.Action) Action {
	at := a.AppliedAt
	if at.IsZero() {
		at = a.RequestedAt
	}
	state := string(a.State)
	if a.Kind == action.Preserve && a.State == action.Verified {
		state = "preserved"
	}
	out := Action{Kind: Word("report.action."+string(a.Kind), nil), Host: k.name(a.Host), State: Word("report.action-state."+state, nil), Reason: a.Reason,
		Requested: k.name(a.RequestedBy), Decided: k.name(a.DecidedBy), At: at, Verified: a.VerifiedAt, Expires: a.ExpiresAt, Ended: a.EndedAt, Checks: []string{}}
	for _, c := range a.Checks {
		ok := "ok"
		if !c.OK {
			ok = "failed"
		}
		out.Checks = append(out.Checks, c.Name+" "+c.Target+" "+ok)
	}
	return out
}

// chronology keeps the beginning and the newest part of a very long one.
func (k known) chronology(data *Data) {
	corrected := incident.Corrections(k.entries)
	shown := k.entries
	if len(shown) > firstEntries+lastEntries {
		data.Omitted = len(shown) - firstEntries - lastEntries
		shown = slices.Concat(shown[:firstEntries], shown[len(shown)-lastEntries:])
	}
	for _, e := range shown {
		data.Entries = append(data.Entries, Line{No: e.No, OccurredAt: e.OccurredAt, EnteredAt: e.EnteredAt, Source: source(e.Source),
			Certainty: Word("incident.certainty."+string(e.Certainty), nil), By: k.name(e.By),
			Text:     Text{JA: k.say(e, i18n.Japanese), EN: k.say(e, i18n.English)},
			Corrects: e.Corrects, CorrectedBy: corrected[e.No]})
	}
}

// say is what an entry says; what a machine reported is put into words.
func (k known) say(e incident.Entry, lang string) string {
	if key, args := action.Detail(e.Args["detail"]); key != "" && i18n.Has(key) {
		e.Args = maps.Clone(e.Args)
		e.Args["detail"] = i18n.T(lang, key, args)
	}
	return e.Say(lang, i18n.T, k.names)
}

func source(name string) Text {
	if key := "incident.source." + name; i18n.Has(key) {
		return Word(key, nil)
	}
	return Plain(name)
}

// items fills the nine items: what people stated, else what Sonae can suggest,
// else a box marked as missing.
func (k known) items(rules duty.Rules, data Data) []Item {
	suggestions := k.suggest(data)
	myNumber := k.duty.Facts.MyNumber == duty.Yes
	var all []Item
	for _, it := range rules.Items {
		label := Text{JA: it.Label, EN: it.LabelEN}
		if myNumber && it.LabelMyN != "" {
			label = Text{JA: label.JA + "／" + it.LabelMyN, EN: label.EN + " / " + it.LabelMyNEN}
		}
		item := Item{No: it.No, ID: it.ID, Label: label}
		for _, id := range it.Fields {
			f := Field{ID: id, Label: Word("duty.item."+id, nil)}
			stated, _ := k.duty.Facts.Items.Field(id)
			switch {
			case id == duty.FieldPersons:
				f.Value = persons(k.duty.Facts)
			case stated != "":
				f.Value = Plain(stated)
			default:
				f.Value = suggestions[id]
				f.Suggested = !f.Value.Empty()
			}
			f.Missing = f.Value.Empty()
			item.Fields = append(item.Fields, f)
		}
		if it.No == 1 {
			item.Fields = append(item.Fields, k.summary(data)...)
		}
		all = append(all, item)
	}
	return all
}

// suggest says what the system itself knows about a report field.
func (k known) suggest(data Data) map[string]Text {
	s := map[string]Text{"found": Word("report.suggest.found", map[string]string{"at": stamp(k.duty.Facts.KnownAt)})}
	if k.duty.Facts.KnownAt.IsZero() {
		delete(s, "found")
	}
	if k.duty.Facts.Contractor != "" {
		s["cause_party"] = Word("report.suggest.contractor", map[string]string{"site": k.name(k.duty.Facts.Contractor)})
	}
	if len(data.Alerts) == 0 {
		return s
	}
	s["occurred"] = Word("report.suggest.occurred", map[string]string{"at": stamp(data.Alerts[0].First)})
	s["finder"] = Word("report.suggest.finder", map[string]string{"host": data.Alerts[0].Host})
	var ja, en []string
	for i, a := range data.Alerts {
		if i == 3 { // the rest stands in the list of alerts
			break
		}
		ja, en = append(ja, a.What.JA), append(en, a.What.EN)
	}
	s["event"] = Text{JA: strings.Join(ja, "\n"), EN: strings.Join(en, "\n")}
	return s
}

// summary is the part of item 1 that follows from elsewhere.
func (k known) summary(data Data) []Field {
	rule := Field{ID: "rule_items", Label: Word("report.item.rule", nil), Suggested: true}
	var ja, en []string
	law := ""
	for _, t := range data.Triggers {
		if t.Regime.JA != law { // one heading per law
			law = t.Regime.JA
			ja, en = append(ja, "【"+t.Regime.JA+"】"), append(en, t.Regime.EN)
		}
		ja = append(ja, "・"+t.Label.JA+"："+t.Applies.JA)
		en = append(en, "· "+t.Label.EN+": "+t.Applies.EN)
	}
	rule.Value = Text{JA: strings.Join(ja, "\n"), EN: strings.Join(en, "\n")}
	if rule.Value.Empty() {
		rule.Value = Word("report.item.rule-none", nil)
	}
	party := Field{ID: "parties", Label: Word("report.item.parties", nil), Suggested: true, Value: Word("report.item.parties-none", nil)}
	if c := k.duty.Facts.Contractor; c != "" {
		party.Value = Word("report.item.parties-contractor", map[string]string{"site": k.name(c)})
	}
	return []Field{rule, party, {ID: "chronology", Label: Word("report.item.chronology", nil), Value: Word("report.item.chronology-see", nil)}}
}

func persons(f duty.Facts) Text {
	switch {
	case f.Confirmed == 0 && f.Maximum == 0:
		return Text{}
	case f.Maximum == 0:
		return Word("report.persons-confirmed", map[string]string{"confirmed": strconv.Itoa(f.Confirmed)})
	}
	return Word("report.persons", map[string]string{"confirmed": strconv.Itoa(f.Confirmed), "maximum": strconv.Itoa(f.Maximum)})
}

// stamp writes a time in Japan in one form for both languages.
func stamp(t time.Time) string { return inTokyo(t).Format("2006-01-02 15:04") }
