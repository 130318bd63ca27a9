package sheet

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/playbook"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/report"
)

var start = time.Date(2026, 11, 22, 5, 5, 0, 0, time.UTC)

// quiet is an incident of which nothing is known but its severity, in a house
// with a hospital and a call centre.
func quiet() known {
	ehr, phones := asset.Service{ID: "sv-1", Name: "電子カルテ"}, asset.Service{ID: "sv-2", Name: "電話受付"}
	host := func(id, site string, services ...asset.Service) asset.Host {
		return asset.Host{ID: id, Name: id, Site: site, Services: services, LastSeen: start.Add(-20 * time.Second)}
	}
	return known{
		now: start, in: incident.Incident{ID: "in-1", No: 1, Title: "調査", State: incident.Responding, Severity: event.Low, Scope: incident.Scope{Sites: []string{"callcentre"}}},
		sites: []asset.Site{{ID: "callcentre", Name: "コールセンター"}, {ID: "hospital", Name: "病院"}, {ID: "office", Name: "本部"}},
		hosts: []asset.Host{host("h1", "hospital", ehr), host("h2", "hospital", ehr), host("c1", "callcentre", phones), host("c2", "callcentre", phones), host("c3", "callcentre")},
		names: map[string]string{"pe-1": "安西 花", "c1": "cc-pc-01", "callcentre": "コールセンター"}, counted: map[alert.State]int{},
		say: func(a alert.Alert, t detect.Text, lang string, _ map[string]string) string { return t.In(lang) },
	}
}

func act(kind action.Kind, state action.State, host string) action.Action {
	return action.Action{ID: "ac-" + host, Kind: kind, State: state, Host: host, Site: "callcentre"}
}

// short says the matrix in short: "name: state affected/total, …".
func short(m Matrix) (out []string) {
	for _, r := range m.Rows {
		var cells []string
		for _, c := range r.Cells {
			cells = append(cells, fmt.Sprintf("%s %d/%d", c.State, c.Affected, c.Total))
		}
		out = append(out, r.Name.JA+": "+strings.Join(cells, ", "))
	}
	return out
}

func TestMatrixSaysHowSystemsStand(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*known)
		want   []string // of the call centre's phones and the hospital's records
	}{
		"nothing is affected": {func(*known) {}, []string{"電子カルテ:  0/0, running 0/2", "電話受付: running 0/2,  0/0", "すべての機器: running 0/3, running 0/2"}},
		"a machine in scope": {func(k *known) { k.in.Scope.Hosts = []string{"c1"} },
			[]string{"電話受付: degraded 1/2,  0/0", "電子カルテ:  0/0, running 0/2", "すべての機器: degraded 1/3, running 0/2"}},
		"an isolation asked for stops nothing": {func(k *known) { k.actions = []action.Action{act(action.Isolate, action.Requested, "c1")} },
			[]string{"電子カルテ:  0/0, running 0/2", "電話受付: running 0/2,  0/0", "すべての機器: running 0/3, running 0/2"}},
		"one of two is isolated": {func(k *known) { k.actions = []action.Action{act(action.Isolate, action.Verified, "c1")} },
			[]string{"電話受付: degraded 1/2,  0/0", "電子カルテ:  0/0, running 0/2", "すべての機器: degraded 1/3, running 0/2"}},
		"all are isolated": {func(k *known) {
			k.actions = []action.Action{act(action.Isolate, action.Verified, "c1"), act(action.Block, action.Applied, "c2")}
		}, []string{"電話受付: stopped 2/2,  0/0", "電子カルテ:  0/0, running 0/2", "すべての機器: degraded 2/3, running 0/2"}},
		"the agent says that it is cut off": {func(k *known) { k.hosts[2].Health.Isolated, k.hosts[3].Health.Isolated = true, true },
			[]string{"電話受付: stopped 2/2,  0/0", "電子カルテ:  0/0, running 0/2", "すべての機器: degraded 2/3, running 0/2"}},
		"released, not back yet": {func(k *known) {
			k.actions = []action.Action{act(action.Isolate, action.Releasing, "c1"), act(action.Isolate, action.Verified, "c2")}
		}, []string{"電話受付: restarting 2/2,  0/0", "電子カルテ:  0/0, running 0/2", "すべての機器: degraded 2/3, running 0/2"}},
		"recovering": {func(k *known) { k.in.State, k.in.Scope.Hosts = incident.Recovering, []string{"c1"} },
			[]string{"電話受付: restarting 1/2,  0/0", "電子カルテ:  0/0, running 0/2", "すべての機器: restarting 1/3, running 0/2"}},
		"a part of a machine is stopped": {func(k *known) { k.actions = []action.Action{act(action.StopService, action.Verified, "h1")} },
			[]string{"電子カルテ:  0/0, degraded 1/2", "電話受付: running 0/2,  0/0", "すべての機器: running 0/3, degraded 1/2"}},
		"evidence stops nothing": {func(k *known) { k.actions = []action.Action{act(action.Preserve, action.Applied, "h1")} },
			[]string{"電子カルテ:  0/0, running 0/2", "電話受付: running 0/2,  0/0", "すべての機器: running 0/3, running 0/2"}},
		"an alert makes it degraded, a small one does not": {func(k *known) {
			k.alerts = []alert.Alert{{Host: "h1", Severity: event.High, State: alert.Acked}, {Host: "c1", Severity: event.Low, State: alert.Open}}
		}, []string{"電子カルテ:  0/0, degraded 1/2", "電話受付: running 0/2,  0/0", "すべての機器: running 0/3, degraded 1/2"}},
		"a site is cut": {func(k *known) { k.cuts = []action.Cutting{{Site: "hospital", State: action.CutHolds}} },
			[]string{"電子カルテ:  0/0, degraded 2/2", "電話受付: running 0/2,  0/0", "すべての機器: running 0/3, degraded 2/2"}},
		"a cut that was released": {func(k *known) { k.cuts = []action.Cutting{{Site: "hospital", State: action.CutReleased}} },
			[]string{"電子カルテ:  0/0, running 0/2", "電話受付: running 0/2,  0/0", "すべての機器: running 0/3, running 0/2"}},
		"silence is no state of a machine that is switched off": {func(k *known) { k.hosts[0].LastSeen = start.Add(-time.Hour) },
			[]string{"電子カルテ:  0/0, running 0/2", "電話受付: running 0/2,  0/0", "すべての機器: running 0/3, running 0/2"}},
		"closed: what is in force still counts, the scope does not": {func(k *known) {
			k.in.State, k.in.Scope.Hosts, k.actions = incident.Ended, []string{"c1"}, []action.Action{act(action.Isolate, action.Verified, "h1")}
		}, []string{"電子カルテ:  0/0, degraded 1/2", "電話受付: running 0/2,  0/0", "すべての機器: running 0/3, degraded 1/2"}},
		"a service that is entered twice counts once": {func(k *known) { k.hosts[2].Services = append(k.hosts[2].Services, k.hosts[2].Services[0]) },
			[]string{"電子カルテ:  0/0, running 0/2", "電話受付: running 0/2,  0/0", "すべての機器: running 0/3, running 0/2"}},
	} {
		t.Run(name, func(t *testing.T) {
			k := quiet()
			tt.change(&k)
			got := short(k.matrix())
			slices.Sort(got[:max(0, len(got)-1)])
			slices.Sort(tt.want[:2])
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestMatrixIsCutToThePageWithTheWorstFirst(t *testing.T) {
	k := quiet()
	k.hosts, k.sites = nil, nil
	for i := range 12 {
		site := fmt.Sprintf("s%02d", i)
		k.sites = append(k.sites, asset.Site{ID: site, Name: site})
		for j := range 30 {
			k.hosts = append(k.hosts, asset.Host{ID: fmt.Sprintf("%s-%d", site, j), Site: site, LastSeen: start, Services: []asset.Service{{Name: fmt.Sprintf("system %02d", j)}}})
		}
	}
	k.in.Scope.Sites = []string{"s07"}
	k.actions = []action.Action{act(action.Isolate, action.Verified, "s07-29"), act(action.Isolate, action.Verified, "s11-3")}
	m := k.matrix()
	if len(m.Sites) != mostSites || m.MoreSites != 8 || m.Sites[0] != "s07" || m.Sites[1] != "s11" {
		t.Errorf("sites %v and %d more", m.Sites, m.MoreSites)
	}
	if len(m.Rows) != mostRows+1 || m.MoreRows != 30-mostRows {
		t.Errorf("%d rows and %d more", len(m.Rows), m.MoreRows)
	}
	for i, want := range []string{"system 03", "system 29"} {
		if got := m.Rows[i]; got.Name.JA != want || got.worst() != Stopped.rank() {
			t.Errorf("row %d is %+v, want %s stopped", i, got, want)
		}
	}
	for _, r := range m.Rows {
		if len(r.Cells) != len(m.Sites) {
			t.Errorf("row %s has %d cells", r.Name.JA, len(r.Cells))
		}
	}
	if m := (known{in: incident.Incident{}}).matrix(); len(m.Rows) != 0 || len(m.Sites) != 0 {
		t.Errorf("an empty register gives %+v", m)
	}
}

func TestRiskComesWithItsCriterion(t *testing.T) {
	overdue := duty.Clock{ID: "appi_26.prompt", Regime: "appi_26", Kind: "prompt", Due: start.Add(-time.Hour), Applies: duty.Yes}
	for name, tt := range map[string]struct {
		change func(*known)
		level  Level
		reason string // part of it
		also   int
	}{
		"only a low severity":    {func(*known) {}, Low, "「低」", 0},
		"medium severity":        {func(k *known) { k.in.Severity = event.Medium }, Medium, "「中」", 0},
		"high severity":          {func(k *known) { k.in.Severity = event.High }, High, "「高」", 0},
		"critical folds to high": {func(k *known) { k.in.Severity = event.Critical }, High, "「緊急」", 0},
		"contained is one less":  {func(k *known) { k.in.Severity, k.in.State = event.High, incident.Contained }, Medium, "封じ込め", 0},
		"ended":                  {func(k *known) { k.in.Severity, k.in.State = event.Critical, incident.Ended }, Low, "終結", 0},
		"an alert outweighs":     {func(k *known) { k.alerts = []alert.Alert{{Severity: event.Critical, State: alert.Open}} }, High, "1件", 0},
		"an alert of a contained": {func(k *known) {
			k.alerts, k.in.State = []alert.Alert{{Severity: event.High, State: alert.Acked}}, incident.Contained
		}, Medium, "封じ込めは済みました", 0},
		"small alerts do not":        {func(k *known) { k.alerts = []alert.Alert{{Severity: event.Medium, State: alert.Open}} }, Low, "「低」", 0},
		"My Number":                  {func(k *known) { k.duty.Facts.MyNumber = duty.Yes }, High, "マイナンバー", 0},
		"medical history":            {func(k *known) { k.duty.Facts.Personal, k.duty.Facts.Sensitive = duty.Yes, duty.Yes }, High, "要配慮", 0},
		"no personal data after all": {func(k *known) { k.duty.Facts.Personal, k.duty.Facts.Sensitive = duty.No, duty.Yes }, Low, "「低」", 0},
		"some personal data":         {func(k *known) { k.duty.Facts.Personal = duty.Yes }, Medium, "個人情報", 0},
		"exactly a thousand":         {func(k *known) { k.duty.Facts.Personal, k.duty.Facts.Maximum = duty.Yes, 1000 }, Medium, "個人情報", 0},
		"more than a thousand":       {func(k *known) { k.duty.Facts.Personal, k.duty.Facts.Maximum = duty.Yes, 1001 }, High, "1,001人", 0},
		"a deadline has passed":      {func(k *known) { k.duty.Clocks = []duty.Clock{overdue} }, High, "速報", 0},
		"a precaution has passed":    {func(k *known) { c := overdue; c.Applies = duty.Unknown; k.duty.Clocks = []duty.Clock{c} }, Low, "「低」", 0},
		"it was met":                 {func(k *known) { c := overdue; c.DoneAt = start; k.duty.Clocks = []duty.Clock{c} }, Low, "「低」", 0},
		"a system is stopped": {func(k *known) {
			k.actions = []action.Action{act(action.Isolate, action.Verified, "c1"), act(action.Isolate, action.Verified, "c2")}
		}, Medium, "「電話受付」が止まっています", 0},
		"the criteria say stop": {func(k *known) {
			k.in.Severity, k.advice = event.High, []Advice{{Service: "電子カルテ", Verdict: Stop, Criterion: report.Plain("基準3")}}
		}, High, "基準3", 1},
		"the criteria say keep": {func(k *known) { k.advice = []Advice{{Service: "電子カルテ", Verdict: Keep}} }, Low, "「低」", 0},
	} {
		t.Run(name, func(t *testing.T) {
			k := quiet()
			tt.change(&k)
			r := k.sheet().Risk
			if r.Level != tt.level || !strings.Contains(r.Reason.JA, tt.reason) || len(r.Also) != tt.also {
				t.Errorf("got %+v, want %s because of %q and %d more", r, tt.level, tt.reason, tt.also)
			}
			for _, text := range append(r.Also, r.Reason) {
				if strings.ContainsAny(text.JA+text.EN, "⟦{") || text.EN == "" {
					t.Errorf("a criterion reads %q", text)
				}
			}
		})
	}
}

func TestDeadlinesKeepTheLawInSight(t *testing.T) {
	k := quiet()
	own, err := playbook.Own()
	if err != nil {
		t.Fatal(err)
	}
	r := playbook.Run{ID: "run-1", State: playbook.Running}
	for i := range 4 { // all late
		r.Visits = append(r.Visits, playbook.Visit{No: i + 1, Step: own[0].Cards[i].ID, State: playbook.Open, DueAt: start.Add(-time.Duration(i+1) * time.Minute)})
	}
	r.Visits = append(r.Visits, playbook.Visit{No: 5, Step: own[0].Cards[4].ID, State: playbook.Done, DueAt: start.Add(-time.Hour)})
	k.runs = []run{{r, own[0]}}
	for i := range 6 {
		k.duty.Clocks = append(k.duty.Clocks, duty.Clock{Regime: "appi_26", Kind: "final", Due: start.Add(time.Duration(10-i) * 24 * time.Hour), Target: start.Add(-time.Hour), Applies: duty.Unknown})
	}
	k.duty.Clocks = append(k.duty.Clocks, duty.Clock{Kind: "prompt", Regime: "appi_26", Due: start, Applies: duty.No}, duty.Clock{Kind: "prompt", Regime: "appi_26", Due: start, Applies: duty.Yes, DoneAt: start})
	got, more := k.deadlines()
	law := 0
	for i, d := range got {
		if i > 0 && d.Due.Before(got[i-1].Due) {
			t.Error("not in order of time")
		}
		if !d.Step {
			law++
			if !d.Target.IsZero() || d.Sure {
				t.Errorf("a target that has passed, or a precaution told as certain: %+v", d)
			}
		}
	}
	if len(got) != mostDeadlines || law != mostDeadlines-mostSteps || more != 10-mostDeadlines {
		t.Errorf("%d deadlines, %d of the law, %d more", len(got), law, more)
	}
	k.runs = nil
	if got, more = k.deadlines(); len(got) != mostDeadlines || more != 1 {
		t.Errorf("without steps: %d and %d more", len(got), more)
	}
	k.duty.Clocks = nil
	k.runs = []run{{r, own[0]}}
	if got, more = k.deadlines(); len(got) != 4 || more != 0 {
		t.Errorf("steps alone: %d and %d more", len(got), more)
	}
}

func TestCountsTellWhatIsLeft(t *testing.T) {
	k := quiet()
	k.counted = map[alert.State]int{alert.Open: 205, alert.Acked: 3, alert.Closed: 40}
	for _, s := range []action.State{action.Requested, action.Approved, action.Applied, action.Verified, action.Releasing, action.Released, action.Expired, action.Refused, action.Failed} {
		k.actions = append(k.actions, action.Action{Kind: action.Isolate, State: s})
	}
	k.actions = append(k.actions, action.Action{Kind: action.Preserve, State: action.Verified})
	for i := range 6 {
		k.counts = append(k.counts, Count{Name: report.Plain(fmt.Sprint("more ", i)), Todo: i})
	}
	got := k.count()
	for i := range got {
		got[i].Name = Text{}
	}
	want := []Count{{Todo: 205, Doing: 3, Done: 40}, {Todo: 1, Doing: 4, Done: 3}, {}, {}, {Todo: 1}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestApprovalsWaitInOrderAndSayWhatStops(t *testing.T) {
	k := quiet()
	stop := func(n int) (all []action.Consequence) {
		for i := range n {
			all = append(all, action.Consequence{Service: fmt.Sprint("S", i), Effect: "止まる", Load: "40件"})
		}
		return append(all, all...)
	}
	k.actions = []action.Action{
		{ID: "ac-2", Kind: action.Isolate, State: action.Requested, Host: "c1", Site: "callcentre", RequestedBy: "pe-1", RequestedAt: start.Add(-time.Minute), Consequences: stop(5), Reason: "送信を止める"},
		{ID: "ac-3", Kind: action.Isolate, State: action.Verified, Host: "c2"},
		{ID: "ac-4", Kind: action.DisableAccount, State: action.Requested, Object: "operator7", Host: "c1", RequestedAt: start},
	}
	k.cuts = []action.Cutting{{ID: "cu-1", Site: "callcentre", State: action.CutRequested, RequestedAt: start.Add(-2 * time.Minute), Parts: []action.CuttingPart{{Consequences: stop(1)}}}}
	k.alerts = []alert.Alert{{ID: "al-1", Site: "callcentre", Severity: event.High, State: alert.Open, Rule: detect.Rule{Affects: detect.Text{"ja": "情報が出る", "en": "data leaves"}, Next: detect.Text{"ja": "隔離を申請する", "en": "request isolation"}}}}
	s := k.sheet()
	if len(s.Approvals) != mostApprovals || s.MoreWait != 1 {
		t.Fatalf("%d approvals and %d more", len(s.Approvals), s.MoreWait)
	}
	cut, iso := s.Approvals[0], s.Approvals[1]
	if !cut.Cutting || cut.Path != "/cuttings/cu-1" || len(cut.Stops) != 1 || cut.Stops[0].JA != "S0: 止まる（40件）" {
		t.Errorf("the cutting reads %+v", cut)
	}
	if iso.ID != "ac-2" || iso.RequestedBy != "安西 花" || len(iso.Stops) != mostStops || iso.MoreStops != 3 || iso.Title.JA != "cc-pc-01 を隔離する" {
		t.Errorf("the isolation reads %+v", iso)
	}
	if n := s.Next; !strings.Contains(n.What.JA, "コールセンター") || n.IfSo.JA != "S0: 止まる（40件）" || n.IfNot.EN != "data leaves" || n.Path != cut.Path {
		t.Errorf("recommended is %+v", n)
	}
	k.actions, k.cuts = nil, nil
	if n := k.sheet().Next; n.What.JA != "隔離を申請する" || n.Path != "/alerts/al-1" {
		t.Errorf("without approvals, recommended is %+v", n)
	}
	k.alerts = nil
	if n := k.sheet().Next; n.What.Empty() || !k.sheet().Quiet() {
		t.Errorf("with nothing to do, recommended is %+v", n)
	}
	k.advice = []Advice{{Service: "電子カルテ", Verdict: Pause, Criterion: report.Plain("基準2"), Stopping: report.Plain("6病棟"), Path: "/d"}, {}, {}}
	if s := k.sheet(); s.Quiet() || s.Next.Path != "/d" || s.Next.IfSo.JA != "6病棟" || len(s.Advice) != mostAdvice {
		t.Errorf("with advice: %+v", s.Next)
	}
}
