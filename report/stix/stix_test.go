package stix_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/sonae/sonae/report"
	"github.com/sonae/sonae/report/misp"
	"github.com/sonae/sonae/report/reporttest"
	"github.com/sonae/sonae/report/stix"
)

func source() report.Source {
	k, _ := report.KindOf("indicators")
	return report.Source{Data: reporttest.Full(k), Kind: k, Lang: "ja", Face: "ja", Digest: strings.Repeat("ab", 32)}
}

var (
	idForm = regexp.MustCompile(`^([a-z][a-z0-9-]+)--[0-9a-f]{8}-[0-9a-f]{4}-[1-5][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	moment = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$`)
)

// required are the properties that STIX 2.1 asks of each type that we write.
var required = map[string][]string{
	"marking-definition": {"spec_version", "created"},
	"identity":           {"spec_version", "created", "modified", "name"},
	"indicator":          {"spec_version", "created", "modified", "pattern", "pattern_type", "valid_from"},
	"attack-pattern":     {"spec_version", "created", "modified", "name"},
	"observed-data":      {"spec_version", "created", "modified", "first_observed", "last_observed", "number_observed", "object_refs"},
	"relationship":       {"spec_version", "created", "modified", "relationship_type", "source_ref", "target_ref"},
	"report":             {"spec_version", "created", "modified", "name", "published", "object_refs"},
	"ipv4-addr":          {"value"}, "ipv6-addr": {"value"}, "domain-name": {"value"}, "url": {"value"}, "file": {},
}

func TestABundleKeepsTheRulesOfSTIX21(t *testing.T) {
	out, err := stix.Make(t.Context(), source())
	if err != nil {
		t.Fatal(err)
	}
	var b struct {
		Type, ID string
		Objects  []map[string]any
	}
	if err := json.Unmarshal(out, &b); err != nil {
		t.Fatal(err)
	}
	if b.Type != "bundle" || !idForm.MatchString(b.ID) {
		t.Errorf("bundle %s %s", b.Type, b.ID)
	}
	ids, kinds := map[string]bool{}, map[string]int{}
	for _, o := range b.Objects {
		kind, _ := o["type"].(string)
		id, _ := o["id"].(string)
		m := idForm.FindStringSubmatch(id)
		if m == nil || m[1] != kind || ids[id] {
			t.Errorf("%s has the id %q", kind, id)
		}
		ids[id] = true
		kinds[kind]++
		want, known := required[kind]
		if !known {
			t.Errorf("%s is no type that we know", kind)
		}
		for _, p := range want {
			if o[p] == nil || o[p] == "" {
				t.Errorf("%s lacks %s", id, p)
			}
		}
		for _, p := range []string{"created", "modified", "valid_from", "published", "first_observed", "last_observed"} {
			if v, ok := o[p].(string); ok && !moment.MatchString(v) {
				t.Errorf("%s of %s is %q", p, id, v)
			}
		}
		if kind != "marking-definition" && o["object_marking_refs"] == nil {
			t.Errorf("%s carries no TLP", id)
		}
	}
	for _, o := range b.Objects {
		for p, v := range o {
			if s, ok := v.(string); ok && strings.HasSuffix(p, "_ref") && !ids[s] {
				t.Errorf("%s names %s, which is not there", o["id"], s)
			}
			if list, ok := v.([]any); ok && strings.HasSuffix(p, "_refs") {
				for _, s := range list {
					if !ids[s.(string)] {
						t.Errorf("%s names %s, which is not there", o["id"], s)
					}
				}
			}
		}
	}
	if kinds["indicator"] != 6 || kinds["attack-pattern"] != 1 || kinds["report"] != 1 || kinds["relationship"] == 0 {
		t.Errorf("objects %v", kinds)
	}
	again, err := stix.Make(t.Context(), source())
	if err != nil || string(again) != string(out) {
		t.Errorf("other bytes the second time: %v", err)
	}
	if !strings.Contains(string(out), `a=\\'b\\'`) {
		t.Error("a quote in a pattern is not escaped")
	}
}

// The id of the example in STIX 2.1 §2.9, and what others derive by its rule.
func TestObservablesHaveTheIdsOfTheStandard(t *testing.T) {
	s := source()
	s.Data.Indicators = []report.Indicator{{Kind: report.Address, Value: "198.51.100.3"}, {Kind: report.Domain, Value: "example.com"}, {Kind: report.Address, Value: "2001:db8::1"}}
	out, err := stix.Make(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ipv4-addr--28bb3599-77cd-5a82-a950-b5bc3caf07c4", "domain-name--bedb4899-d24b-5401-bc86-8f6b4cc18ec7", "ipv6-addr--6469e3a9-b053-5e34-a025-9396ae051d26"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %s", want)
		}
	}
	s.Data.TLP = "TLP:PURPLE"
	if _, err := stix.Make(t.Context(), s); err == nil {
		t.Error("an unknown label was written")
	}
}

func TestAnEventKeepsTheRulesOfMISP(t *testing.T) {
	out, err := misp.Make(t.Context(), source())
	if err != nil {
		t.Fatal(err)
	}
	var e struct {
		Event struct {
			UUID, Info, Date, Timestamp, Distribution string
			ThreatLevelID                             string `json:"threat_level_id"`
			Analysis                                  string
			Published                                 bool
			Tag                                       []struct{ Name string }
			Attribute                                 []struct{ UUID, Type, Category, Value, Timestamp string }
			Galaxy                                    []struct {
				Type          string
				GalaxyCluster []struct {
					UUID, Type, Value string
					Meta              map[string][]string
				}
			}
		}
	}
	if err := json.Unmarshal(out, &e); err != nil {
		t.Fatal(err)
	}
	v := e.Event
	if _, err := time.Parse("2006-01-02", v.Date); err != nil || v.Info == "" || v.Published || v.Distribution != "0" || v.ThreatLevelID != "4" || v.Analysis != "1" {
		t.Errorf("event %+v, %v", v, err)
	}
	if len(v.Tag) == 0 || v.Tag[0].Name != "tlp:amber" {
		t.Errorf("tags %v", v.Tag)
	}
	if len(v.Galaxy) != 1 || v.Galaxy[0].Type != "mitre-attack-pattern" || len(v.Galaxy[0].GalaxyCluster) == 0 {
		t.Fatalf("galaxies %+v", v.Galaxy)
	}
	for _, c := range v.Galaxy[0].GalaxyCluster {
		if _, err := uuid.Parse(c.UUID); err != nil || !regexp.MustCompile(`^T\d{4}(\.\d{3})?$`).MatchString(c.Value) || len(c.Meta["external_id"]) != 1 || c.Meta["external_id"][0] != c.Value {
			t.Errorf("cluster %+v", c)
		}
	}
	categories := map[string]string{"ip-dst": "Network activity", "domain": "Network activity", "url": "Network activity", "sha256": "Payload delivery", "filename": "Payload delivery", "comment": "Internal reference"}
	seen := map[string]bool{}
	for _, a := range v.Attribute {
		if _, err := uuid.Parse(a.UUID); err != nil || seen[a.UUID] || categories[a.Type] != a.Category || a.Value == "" || strings.Trim(a.Timestamp, "0123456789") != "" {
			t.Errorf("attribute %+v, %v", a, err)
		}
		seen[a.UUID] = true
	}
	if len(v.Attribute) != 7 {
		t.Errorf("%d attributes", len(v.Attribute))
	}
}
