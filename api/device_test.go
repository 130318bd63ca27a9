package api

import (
	"net/http"
	"strings"
	"testing"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/action/device"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/incident"
)

func TestDevicesAreAdministeredAndTheirSecretsStayInside(t *testing.T) {
	b := newBench(t)
	admin, local := b.person("second", "", auth.Administrator), b.person("third", "callcentre", auth.Administrator)
	one, two := b.person("sato", "", auth.Responder), b.person("mori", "", auth.Approver)
	add := DeviceFields{Device: device.Device{Site: "hospital", Name: "UTM", Means: action.List}, Secrets: map[string]string{"secret": "token-of-the-list"}}
	b.call(one, "POST", "/devices", add).problem(http.StatusForbidden, "denied.role")
	b.call(local, "POST", "/devices", add).problem(http.StatusForbidden, "denied.other-site")
	var d device.Device
	b.call(admin, "POST", "/devices", add).is(http.StatusCreated, &d)
	w := b.call(admin, "GET", "/devices", nil)
	if !strings.Contains(w.Body.String(), d.ID) || strings.Contains(w.Body.String(), "token-of-the-list") {
		t.Errorf("devices: %s", w.Body)
	}
	b.call(local, "POST", "/devices/"+d.ID+"/test", nil).problem(http.StatusForbidden, "denied.other-site")
	b.call(admin, "POST", "/devices", DeviceFields{Device: device.Device{Site: "hospital", Name: "AP", Means: action.CoA, Address: "192.0.2.1:3799", VLAN: 99, Normal: 99}}).problem(http.StatusBadRequest, "device.field")

	// what a site protects is refused, with its reason
	b.call(admin, "PUT", "/sites/hospital/blocks", LimitFields{Protected: []action.Protected{{What: "10.0.0.53", Why: "DNS"}}}).is(http.StatusNoContent, nil)
	b.call(admin, "PUT", "/sites/hospital/blocks", LimitFields{Protected: []action.Protected{}, Auto: true, Via: d.ID}).problem(http.StatusForbidden, "action.not-approver")
	var c incident.Incident
	b.call(one, "POST", "/incidents", NewIncident{Title: "不審な通信", Severity: "critical", Sites: []string{"hospital"}}).is(http.StatusCreated, &c)
	ask := NewAction{Kind: "block", Incident: c.ID, Reason: "送信を止める", Via: d.ID, Targets: []string{"10.0.0.53"}}
	b.call(one, "POST", "/actions", ask).problem(http.StatusForbidden, "action.block-protected")
	ask.Targets = []string{"10.0.0.9"}
	var a action.Action
	b.call(one, "POST", "/actions", ask).is(http.StatusCreated, &a)
	b.call(two, "POST", "/actions/"+a.ID+"/approve", nil).is(http.StatusOK, &a)
	if a.State != action.Approved || a.Means != action.List || a.Site != "hospital" {
		t.Errorf("%+v", a)
	}
}
