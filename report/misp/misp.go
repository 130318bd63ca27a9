// Package misp writes the indicators of an incident as a MISP event.
//
// In: the data of a document. Out: JSON as MISP imports it. Always true: equal
// data gives equal bytes and ids; the event is not published and goes no
// further than the organisation by itself; it carries the TLP tag of the
// document.
package misp

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/ledger"
	"github.com/sonae/sonae/report"
)

type tag struct {
	Name string `json:"name"`
}

type attribute struct {
	UUID         string `json:"uuid"`
	Type         string `json:"type"`
	Category     string `json:"category"`
	Value        string `json:"value"`
	ToIDs        bool   `json:"to_ids"`
	Timestamp    string `json:"timestamp"`
	Comment      string `json:"comment"`
	Distribution string `json:"distribution"`
	FirstSeen    string `json:"first_seen,omitempty"`
	LastSeen     string `json:"last_seen,omitempty"`
	Tag          []tag  `json:"Tag,omitempty"`
}

type organisation struct {
	Name string `json:"name"`
	UUID string `json:"uuid"`
}

type event struct {
	UUID          string       `json:"uuid"`
	Info          string       `json:"info"`
	Date          string       `json:"date"`
	Timestamp     string       `json:"timestamp"`
	ThreatLevelID string       `json:"threat_level_id"` // 4: undefined
	Analysis      string       `json:"analysis"`        // 0 initial, 1 ongoing, 2 completed
	Distribution  string       `json:"distribution"`    // 0: this organisation only
	Published     bool         `json:"published"`
	Orgc          organisation `json:"Orgc"`
	Tag           []tag        `json:"Tag"`
	Galaxy        []galaxy     `json:"Galaxy,omitempty"`
	Attribute     []attribute  `json:"Attribute"`
}

// galaxy is a list of things that clusters name: here the techniques of ATT&CK.
type galaxy struct {
	UUID    string    `json:"uuid"`
	Name    string    `json:"name"`
	Type    string    `json:"type"`
	Cluster []cluster `json:"GalaxyCluster"`
}

// cluster is one technique. Sonae knows its number, not its title in each
// release of ATT&CK, so that the number stands for it.
type cluster struct {
	UUID     string              `json:"uuid"`
	Type     string              `json:"type"`
	Value    string              `json:"value"`
	TagName  string              `json:"tag_name"`
	GalaxyID string              `json:"collection_uuid"`
	Source   string              `json:"source"`
	Meta     map[string][]string `json:"meta"`
}

// Galaxy of the techniques, as the public list of galaxies of MISP has it.
const (
	patternUUID = "c4e851fa-775f-11e7-8163-b774922098cd"
	patternType = "mitre-attack-pattern"
)

// patterns are the techniques as clusters; none is no galaxy.
func patterns(techniques []string, id func(string) string) []galaxy {
	if len(techniques) == 0 {
		return nil
	}
	g := galaxy{UUID: patternUUID, Name: "Attack Pattern", Type: patternType}
	for _, t := range techniques {
		g.Cluster = append(g.Cluster, cluster{UUID: id("cluster\n" + t), Type: patternType, Value: t, TagName: fmt.Sprintf("misp-galaxy:%s=%q", patternType, t),
			GalaxyID: patternUUID, Source: "MITRE ATT&CK", Meta: map[string][]string{"external_id": {t}, "refs": {"https://attack.mitre.org/techniques/" + strings.ReplaceAll(t, ".", "/")}}})
	}
	return []galaxy{g}
}

// Values of MISP's enumerations.
const (
	undefinedLevel = "4"
	ongoing        = "1"
	completed      = "2"
	onlyUs         = "0"
	inherit        = "5"
)

func space() uuid.UUID {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://sonae.invalid/misp/1"))
}

// Make is a report.Maker.
func Make(_ context.Context, s report.Source) ([]byte, error) {
	d := s.Data
	at := strconv.FormatInt(d.MadeAt.Unix(), 10)
	id := func(name string) string { return uuid.NewSHA1(space(), []byte(d.Document+"\n"+name)).String() }
	e := event{UUID: id("event"), Info: info(s), Date: d.MadeAt.In(clock.Tokyo()).Format("2006-01-02"), Timestamp: at, ThreatLevelID: undefinedLevel,
		Analysis: ongoing, Distribution: onlyUs, Orgc: organisation{"Sonae", id("organisation")}, Tag: []tag{{strings.ToLower(d.TLP)}}, Attribute: []attribute{}}
	if d.Approval != nil {
		e.Analysis = completed
	}
	for _, f := range d.Reporter {
		if f.ID == "organisation" && !f.Missing {
			e.Orgc.Name = f.Value.In(s.Lang)
		}
	}
	for _, t := range d.Techniques {
		e.Tag = append(e.Tag, tag{"mitre-attack:" + t})
	}
	e.Galaxy = patterns(d.Techniques, id)
	for _, i := range d.Indicators {
		a, err := of(i)
		if err != nil {
			return nil, err
		}
		a.UUID, a.Timestamp, a.Comment = id(i.Kind+"\n"+i.Value), at, i.Rule.In(s.Lang)
		e.Attribute = append(e.Attribute, a)
	}
	e.Attribute = append(e.Attribute, attribute{UUID: id("source"), Type: "comment", Category: "Internal reference", Value: source(s), Timestamp: at, Distribution: inherit})
	out, err := json.MarshalIndent(struct{ Event event }{e}, "", " ")
	if err != nil {
		return nil, fmt.Errorf("write misp: %w", err)
	}
	return append(out, '\n'), nil
}

func info(s report.Source) string {
	text := fmt.Sprintf("Sonae incident No.%d", s.Data.Incident.No)
	if s.Data.Drill {
		text = "DRILL " + text
	}
	if s.Data.Approval == nil {
		text += " (draft)"
	}
	return text
}

// source says which document it is, and where the ledger stood.
func source(s report.Source) string {
	words := "-"
	if w, ok := ledger.WordsOf(s.Checkpoint); ok {
		words = w.Latin()
	}
	return fmt.Sprintf("%s version %d by %s; document %s/%s, SHA-256 %s; ledger %s", s.Data.Kind, s.Data.Version, s.Data.MadeBy, s.Data.Document, s.Face, s.Digest, words)
}

func of(i report.Indicator) (attribute, error) {
	kinds := map[string][2]string{
		report.Address: {"ip-dst", "Network activity"}, report.Domain: {"domain", "Network activity"}, report.URL: {"url", "Network activity"},
		report.SHA256: {"sha256", "Payload delivery"}, report.SHA1: {"sha1", "Payload delivery"}, report.MD5: {"md5", "Payload delivery"}, report.Program: {"filename", "Payload delivery"},
	}
	k, ok := kinds[i.Kind]
	if !ok {
		return attribute{}, fmt.Errorf("write misp: %q is no kind of indicator", i.Kind)
	}
	a := attribute{Type: k[0], Category: k[1], Value: i.Value, ToIDs: i.Kind != report.Program, Distribution: inherit} // a name alone would accuse too many
	if !i.First.IsZero() {
		a.FirstSeen = i.First.UTC().Format("2006-01-02T15:04:05.000000-07:00")
		a.LastSeen = a.FirstSeen
		if i.Last.After(i.First) {
			a.LastSeen = i.Last.UTC().Format("2006-01-02T15:04:05.000000-07:00")
		}
	}
	for _, t := range i.Tags {
		a.Tag = append(a.Tag, tag{t})
	}
	return a, nil
}
