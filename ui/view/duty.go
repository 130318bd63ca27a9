package view

import (
	"slices"
	"strings"

	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/ready/asset"
)

// FactsData is the form of facts behind the clocks and the report.
type FactsData struct {
	Incident incident.Incident
	Facts    duty.Facts
	Missing  []string
	Sites    []asset.Site // contractors
	Ask      []string     // questions whose answer settles something
	Signs    []duty.Indicator
}

func (d FactsData) asked(name string) bool { return slices.Contains(d.Ask, name) }

// basis is the article and its source, without the mark of how sure the
// reading is, which is for those who maintain the rules.
func basis(text string) string {
	if at := strings.LastIndex(text, " ["); at > 0 && strings.HasSuffix(text, "]") {
		return text[:at]
	}
	return text
}

// doneKey is the sentence about a deadline that was met: a report was filed, a
// notice was given.
func doneKey(c duty.Clock) string {
	if c.Kind == duty.KindContractor {
		return "duty.done"
	}
	return "duty.filed"
}

// Question is one question of fact; the name is that of the form field.
type Question struct {
	Name  string
	Value duty.Answer
}

// QuestionGroup is a heading with its questions.
type QuestionGroup struct {
	ID    string
	Names []string
}

// QuestionGroups are all questions in the order of the form: what decides most
// comes first.
func QuestionGroups() []QuestionGroup {
	return []QuestionGroup{
		{"data", []string{"personal", "sensitive", "my_number", "property"}},
		{"happened", []string{"bad_intent", "public", "ransomware", "identical_copy", "p2p", "shared", "for_gain", "misuse", "ddos", "no_indicator"}},
		{"body", []string{"public_system", "local_sensitive"}},
		{"encryption", []string{"encrypted"}},
	}
}

// LegalClasses of the body that reports (reference of the regimes: 個人情報保護法
// 第16条・第58条・第66条).
func LegalClasses() []string {
	return []string{"private_business", "public_hospital_art58_2", "art58_1_body", "administrative_organ"}
}

// ReportItem is one of the nine report items with its parts.
type ReportItem struct {
	No    int
	Parts []ItemPart
}

// ItemPart is one text of a report item; the name is that of the form field.
type ItemPart struct{ Name, Value string }

// ReportItems returns the items that people write, numbered as in 施行規則第8条
// 第1項; item 3, the number of persons, has fields of its own.
func ReportItems(i duty.Items) []ReportItem {
	return []ReportItem{
		{1, []ItemPart{{"occurred", i.Occurred}, {"found", i.Found}, {"event", i.Event}, {"finder", i.Finder}}},
		{2, []ItemPart{{"medium", i.Medium}, {"data_kind", i.DataKind}, {"data_items", i.DataItems}}},
		{3, nil},
		{4, []ItemPart{{"cause", i.Cause}, {"cause_party", i.CauseParty}}},
		{5, []ItemPart{{"secondary", i.Secondary}}},
		{6, []ItemPart{{"person_care", i.PersonCare}}},
		{7, []ItemPart{{"publication", i.Publication}}},
		{8, []ItemPart{{"done", i.Done}, {"planned", i.Planned}}},
		{9, []ItemPart{{"other", i.Other}}},
	}
}

func answers() []duty.Answer { return []duty.Answer{duty.Yes, duty.No, duty.Unknown} }

// orUnknown reads an answer nobody gave as "unknown".
func orUnknown(a duty.Answer) duty.Answer {
	if a == "" {
		return duty.Unknown
	}
	return a
}
