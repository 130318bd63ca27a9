package hub_test

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/action/device"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/hub/hubtest"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/protect/vault"
)

// TestAnAlarmCutsThePathToTheRepositories: an agent says that it froze what
// encrypts files; without anybody's help its site's path to the repositories is
// cut, the incident says so, and a person releases it.
func TestAnAlarmCutsThePathToTheRepositories(t *testing.T) {
	t.Parallel()
	h := hubtest.Start(t)
	h.Site("clinic", "hospital")
	agent, c := h.Enrol("clinic", "pc-1"), h.Person("sato", "", "responder")
	agent.Report(aFrozen("4711", "99001"))
	cuts := func() []vault.Cut { return hubtest.List[vault.Cut](c, "/protect/cuts") }
	h.Await("the cut with its incident", func() bool {
		return slices.ContainsFunc(cuts(), func(x vault.Cut) bool { return x.Site == "clinic" && x.Incident != "" && x.Holds() })
	})
	cut := cuts()[0]
	if cut.By != vault.Hub || cut.Host != agent.Identity().Host {
		t.Errorf("cut %+v", cut)
	}
	h.Await("the line of the chronology", func() bool {
		var text struct {
			Items []struct {
				Key string `json:"key"`
			} `json:"items"`
		}
		c.Must(http.MethodGet, "/incidents/"+cut.Incident+"/entries", nil, &text)
		for _, e := range text.Items {
			if e.Key == "vault.cut" {
				return true
			}
		}
		return false
	})
	c.Must(http.MethodPost, "/protect/cuts/"+cut.ID+"/release", map[string]string{"reason": "it was an exercise"}, nil)
	if cuts()[0].Holds() {
		t.Error("the path is still cut")
	}

	// the repositories stand at the agents' port, and ask who comes
	res, err := h.HTTP().Get(h.Agents + "/restic/" + agent.Identity().Host + "/config")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusForbidden || !strings.Contains(string(b), "protect.stranger") {
		t.Errorf("%d %s %v", res.StatusCode, b, err)
	}
}

// TestPeopleWhoCutTheBackupPathCutTheRepositoryToo: a site's backup path is cut by
// request and approval; the hub's own repositories take nothing of its machines
// from then on, the incident says so, and a person releases it.
func TestPeopleWhoCutTheBackupPathCutTheRepositoryToo(t *testing.T) {
	t.Parallel()
	h := hubtest.Start(t)
	h.Site("clinic", "hospital")
	h.Enrol("clinic", "pc-1")
	admin, asks, approves := h.FirstAdmin(), h.Person("sato", "", auth.Responder), h.Person("tanaka", "", auth.Approver)
	var d device.Device
	admin.Must(http.MethodPost, "/devices", map[string]any{"device": device.Device{Site: "clinic", Name: "UTM", Means: action.List}, "secrets": map[string]string{"secret": "list-token"}}, &d)
	admin.Must(http.MethodPut, "/sites/clinic/cut", map[string]any{"sections": []action.Section{
		{Stage: action.BackupPath, Name: "控えの倉庫", Stops: "夜の控えが取れない", Kind: action.Block, Via: d.ID, Targets: []string{"192.0.2.60"}}}}, nil)
	var in incident.Incident
	asks.Must(http.MethodPost, "/incidents", map[string]any{"title": "暗号化の疑い", "severity": "high", "sites": []string{"clinic"}}, &in)
	var c action.Cutting
	asks.Must(http.MethodPost, "/cuttings", map[string]any{"site": "clinic", "incident": in.ID, "reason": "控えを守る", "only": "backup"}, &c)
	cuts := func() []vault.Cut { return hubtest.List[vault.Cut](asks, "/protect/cuts?site=clinic") }
	if len(cuts()) > 0 {
		t.Error("it is cut before it was approved")
	}
	approves.Must(http.MethodPost, "/cuttings/"+c.ID+"/approve", nil, nil)
	h.Await("the cut of the repositories", func() bool {
		all := cuts()
		return len(all) == 1 && all[0].Holds() && !all[0].Kept && all[0].Incident == in.ID && all[0].By == asks.Person.ID && all[0].Why == "控えを守る"
	})
	asks.Written(in.ID, "vault.cut")
	asks.Must(http.MethodPost, "/protect/cuts/"+cuts()[0].ID+"/release", map[string]string{"reason": "確かめた"}, nil)
	asks.Written(in.ID, "vault.released")
}
