// Package stix writes the indicators of an incident as a STIX 2.1 bundle.
//
// In: the data of a document. Out: JSON. Always true: equal data gives equal
// bytes; every object has the id that STIX 2.1 §2.9 gives to observables, or one
// of our own name space; every object carries the TLP 2.0 marking of the
// document.
package stix

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/sonae/sonae/ledger"
	"github.com/sonae/sonae/report"
)

// observables is the name space for ids of observables (STIX 2.1 §2.9); ours
// is that of everything else.
func observables() uuid.UUID { return uuid.MustParse("00abedb4-aa42-466c-9c01-fed23315a9b7") }

func ours() uuid.UUID { return uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://sonae.invalid/stix/1")) }

// object is a STIX object; map keys are written sorted.
type object map[string]any

// Make is a report.Maker.
func Make(_ context.Context, s report.Source) ([]byte, error) {
	b := &bundle{s: s, at: stamp(s.Data.MadeAt)}
	if err := b.marking(); err != nil {
		return nil, err
	}
	b.identity()
	b.techniques()
	for _, i := range s.Data.Indicators {
		if err := b.indicator(i); err != nil {
			return nil, err
		}
	}
	b.report()
	out, err := json.MarshalIndent(object{"type": "bundle", "id": b.id("bundle", s.Face), "objects": b.objects}, "", " ")
	if err != nil {
		return nil, fmt.Errorf("write stix: %w", err)
	}
	return append(out, '\n'), nil
}

type bundle struct {
	s          report.Source
	at         string
	markingID  string
	identityID string
	objects    []object
	patterns   map[string]string // technique → id of its attack-pattern
	seen       map[string]bool
	refs       []string // what the report is about
}

// id is ours: equal for equal data.
func (b *bundle) id(kind, name string) string {
	return kind + "--" + uuid.NewSHA1(ours(), []byte(b.s.Data.Document+"\n"+kind+"\n"+name)).String()
}

// stamp is a time as STIX 2.1 §3.16 wants it.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// markings of TLP 2.0 as OASIS published them, with the value of their property.
func markings(label string) (id, value string, ok bool) {
	switch label {
	case "TLP:CLEAR":
		return "marking-definition--94868c89-83c2-464b-929b-a1a8aa3c8487", "clear", true
	case "TLP:GREEN":
		return "marking-definition--bab4a63c-aed9-4cf5-a766-dfca5abac2bb", "green", true
	case "TLP:AMBER":
		return "marking-definition--55d920b0-5e8b-4f79-9ee9-91f868d9b421", "amber", true
	case "TLP:AMBER+STRICT":
		return "marking-definition--939a9414-2ddd-4d32-a0cd-375ea402b003", "amber+strict", true
	case "TLP:RED":
		return "marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1", "red", true
	}
	return "", "", false
}

func (b *bundle) marking() error {
	id, value, ok := markings(b.s.Data.TLP)
	if !ok {
		return fmt.Errorf("write stix: %q is no label of TLP 2.0", b.s.Data.TLP)
	}
	b.markingID = id
	b.objects = append(b.objects, object{
		"type": "marking-definition", "spec_version": "2.1", "id": id, "created": "2022-10-01T00:00:00.000Z", "name": b.s.Data.TLP,
		"extensions": object{"extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d": object{"extension_type": "property-extension", "tlp_2_0": value}},
	})
	return nil
}

// add puts a domain or relationship object into the bundle.
func (b *bundle) add(kind, id string, o object) {
	o["type"], o["id"], o["spec_version"], o["created"], o["modified"] = kind, id, "2.1", b.at, b.at
	o["object_marking_refs"] = []string{b.markingID}
	if b.identityID != "" && kind != "identity" {
		o["created_by_ref"] = b.identityID
	}
	b.objects = append(b.objects, o)
	if kind != "report" {
		b.refs = append(b.refs, id)
	}
}

func (b *bundle) identity() {
	name := ""
	for _, f := range b.s.Data.Reporter {
		if f.ID == "organisation" && !f.Missing {
			name = f.Value.In(b.s.Lang)
		}
	}
	if name == "" {
		name = "Sonae"
	}
	b.identityID = b.id("identity", "")
	b.add("identity", b.identityID, object{"name": name, "identity_class": "organization"})
}

func (b *bundle) techniques() {
	b.patterns, b.seen = map[string]string{}, map[string]bool{}
	for _, t := range b.s.Data.Techniques {
		id := b.id("attack-pattern", t)
		b.patterns[t] = id
		b.add("attack-pattern", id, object{"name": t, "external_references": []object{{
			"source_name": "mitre-attack", "external_id": t, "url": "https://attack.mitre.org/techniques/" + strings.ReplaceAll(t, ".", "/")}}})
	}
}

func (b *bundle) indicator(i report.Indicator) error {
	obs, pattern, err := observable(i)
	if err != nil {
		return err
	}
	obs["spec_version"], obs["object_marking_refs"] = "2.1", []string{b.markingID}
	obsID := obs["id"].(string)
	b.objects = append(b.objects, obs)
	b.refs = append(b.refs, obsID)
	from := i.First
	if from.IsZero() {
		from = b.s.Data.MadeAt
	}
	id := b.id("indicator", i.Kind+"\n"+i.Value)
	o := object{"name": i.Value, "pattern": pattern, "pattern_type": "stix", "pattern_version": "2.1", "valid_from": stamp(from), "indicator_types": []string{"malicious-activity"}}
	if text := i.Rule.In(b.s.Lang); text != "" {
		o["description"] = text
	}
	if len(i.Tags) > 0 {
		o["labels"] = i.Tags
	}
	b.add("indicator", id, o)
	if !i.First.IsZero() {
		seen := b.id("observed-data", i.Kind+"\n"+i.Value)
		last := i.Last
		if last.Before(i.First) {
			last = i.First
		}
		b.add("observed-data", seen, object{"first_observed": stamp(i.First), "last_observed": stamp(last), "number_observed": 1, "object_refs": []string{obsID}})
		b.relate(id, "based-on", seen)
	}
	for _, tag := range i.Tags {
		if p, ok := b.patterns[strings.ToUpper(strings.TrimPrefix(strings.ToLower(tag), "attack."))]; ok {
			b.relate(id, "indicates", p)
		}
	}
	return nil
}

func (b *bundle) relate(from, how, to string) {
	id := b.id("relationship", from+"\n"+how+"\n"+to)
	if b.seen[id] {
		return
	}
	b.seen[id] = true
	b.add("relationship", id, object{"relationship_type": how, "source_ref": from, "target_ref": to})
}

// observable is the object that an indicator looks for, and the pattern.
func observable(i report.Indicator) (object, string, error) {
	kind, property := "", "value"
	switch i.Kind {
	case report.Address:
		a, err := netip.ParseAddr(i.Value)
		if err != nil {
			return nil, "", fmt.Errorf("write stix: %w", err)
		}
		kind = "ipv4-addr"
		if a.Is6() {
			kind = "ipv6-addr"
		}
	case report.Domain:
		kind = "domain-name"
	case report.URL:
		kind = "url"
	case report.Program:
		kind, property = "file", "name"
	case report.SHA256, report.SHA1, report.MD5:
		name := map[string]string{report.SHA256: "SHA-256", report.SHA1: "SHA-1", report.MD5: "MD5"}[i.Kind]
		o := object{"hashes": map[string]string{name: i.Value}}
		return named("file", o), "[file:hashes.'" + name + "' = " + quote(i.Value) + "]", nil
	default:
		return nil, "", fmt.Errorf("write stix: %q is no kind of indicator", i.Kind)
	}
	return named(kind, object{property: i.Value}), "[" + kind + ":" + property + " = " + quote(i.Value) + "]", nil
}

// named gives an observable the id that follows from its contributing
// properties, which are all it has: UUIDv5 of their canonical JSON.
func named(kind string, o object) object {
	o["id"] = kind + "--" + uuid.NewSHA1(observables(), canonical(o)).String()
	o["type"] = kind
	return o
}

// canonical is RFC 8785 for the objects above: few string values and one map
// of them.
func canonical(o object) []byte {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(o) // strings only
	return []byte(strings.TrimSuffix(b.String(), "\n"))
}

// quote is a string constant of a pattern.
func quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

// report binds all of it together, and says which document it is.
func (b *bundle) report() {
	d := b.s.Data
	words := "-"
	if w, ok := ledger.WordsOf(b.s.Checkpoint); ok {
		words = w.Latin()
	}
	state := "draft, not approved"
	if d.Approval != nil {
		state = "approved"
	}
	b.add("report", b.id("report", b.s.Face), object{
		"name": "Sonae incident No." + strconv.Itoa(d.Incident.No), "published": b.at, "report_types": []string{"indicator"}, "object_refs": b.refs,
		"description": fmt.Sprintf("Incident No.%d, %s version %d (%s), made %s by %s. Document %s/%s, SHA-256 %s. Ledger: %s",
			d.Incident.No, d.Kind, d.Version, state, b.at, d.MadeBy, d.Document, b.s.Face, b.s.Digest, words),
	})
}
