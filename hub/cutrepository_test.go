package hub_test

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sonae/sonae/hub/hubtest"
	"github.com/sonae/sonae/protect/vault"
)

// TestAnAlarmCutsThePathToTheRepositories: an agent says that it froze what
// encrypts files; without anybody's help its site's path to the repositories is
// cut, the incident says so, and a person releases it.
func TestAnAlarmCutsThePathToTheRepositories(t *testing.T) {
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
