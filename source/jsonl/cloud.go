package jsonl

import (
	"bytes"
	"strings"

	"github.com/sonae/sonae/event"
)

// cloud recognises the audit logs of services; it says no when the object is
// of none. Only what their makers always write counts.
func (s *shaper) cloud(r *event.Record) bool {
	switch {
	case s.has(eventVersion) && s.has(eventSource) && s.has(eventName) && s.has(awsRegion):
		s.audit(r, "aws", "cloudtrail")
	case s.has(operation) && s.has(workload) && s.has(recordType):
		s.audit(r, "m365", "audit")
	case s.has(logName) && strings.Contains(s.text(r, logName), "cloudaudit.googleapis.com"):
		s.audit(r, "gcp", googleService(r))
		s.google(r)
	case s.has(actorID) && s.has(published):
		s.audit(r, "okta", "okta")
	case s.has(apiVersion) && s.has(verb) && strings.HasPrefix(s.text(r, apiVersion), "audit.k8s.io/"):
		s.audit(r, "kubernetes", "audit")
		r.Categories = s.categoriesOf("application")
	case s.has(action) && s.has(actor) && s.has(documentID):
		s.audit(r, "github", "audit")
	case s.has(auditType):
		s.audit(r, "bitbucket", "audit")
	case s.has(logtype) && s.has(nodeID):
		s.audit(r, "opencanary", "")
		r.Categories = s.categoriesOf("application")
	case s.has(riskEventType):
		s.audit(r, "azure", "riskdetection")
	case s.has(operationName) && (s.has(resourceID) || s.has(tenantID)):
		return s.azure(r)
	default:
		return false
	}
	return true
}

// audit sets the log source, and adds nested objects as they are written: some
// rules look for words anywhere inside them.
func (s *shaper) audit(r *event.Record, product, service string) {
	r.Product, r.Service = product, service
	for _, w := range s.p.wholes {
		if len(w.Value) > 2 { // neither {} nor []
			r.Pairs = append(r.Pairs, w)
		}
	}
}

// Names that rules for Google's cloud use: as Filebeat and as its export to
// Pub/Sub write them.
var (
	filebeatMethod = []byte("gcp.audit.method_name")
	protoPayload   = []byte("protoPayload.")
	pubsub         = []byte("data.")
)

// googleService tells the audit logs of Workspace, which come by the same way.
func googleService(r *event.Record) string {
	if p := find(r, "protoPayload.serviceName"); p != nil {
		switch string(p.Value) {
		case "admin.googleapis.com":
			return "google_workspace.admin"
		case "login.googleapis.com":
			return "google_workspace.login"
		}
	}
	return "gcp.audit"
}

func (s *shaper) google(r *event.Record) {
	if s.has(methodName) {
		p := *s.pair(r, methodName)
		r.Add(filebeatMethod, p.Value, p.Enc)
	}
	for _, p := range r.Pairs {
		if !bytes.HasPrefix(p.Name, protoPayload) {
			continue
		}
		if name := s.p.join(pubsub, p.Name, false); name != nil {
			r.Add(name, p.Value, p.Enc)
		}
	}
}

// azure recognises the logs that Azure Monitor exports by their category.
func (s *shaper) azure(r *event.Record) bool {
	switch s.text(r, category) {
	case "AuditLogs":
		s.audit(r, "azure", "auditlogs")
	case "SignInLogs", "NonInteractiveUserSignInLogs", "ServicePrincipalSignInLogs", "ManagedIdentitySignInLogs":
		s.audit(r, "azure", "signinlogs")
	case "Administrative", "Policy", "Security", "Alert", "Recommendation", "ServiceHealth", "ResourceHealth", "Autoscale":
		s.audit(r, "azure", "activitylogs")
	case "UserRiskEvents", "RiskyUsers":
		s.audit(r, "azure", "riskdetection")
	default:
		return false
	}
	for _, a := range azureNames {
		if v := find(r, a.from); v != nil && find(r, a.to) == nil {
			r.Add([]byte(a.to), v.Value, v.Enc)
		}
	}
	return true
}

// azureNames are those of the portal, which rules use, for those of the export.
var azureNames = []struct{ from, to string }{
	{"resultType", "ResultType"}, {"resultDescription", "ResultDescription"},
	{"operationName", "OperationName"}, {"category", "Category"}, {"location", "Location"},
	{"properties.category", "category"}, {"properties.loggedByService", "LoggedByService"},
	{"properties.authenticationRequirement", "AuthenticationRequirement"},
	{"properties.userAgent", "userAgent"}, {"properties.appId", "AppId"}, {"properties.riskState", "RiskState"},
	{"properties.activityDisplayName", "ActivityDisplayName"}, {"properties.activityDisplayName", "properties.message"},
}

func find(r *event.Record, name string) *event.Pair {
	for i := range r.Pairs {
		if string(r.Pairs[i].Name) == name {
			return &r.Pairs[i]
		}
	}
	return nil
}
