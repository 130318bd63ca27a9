package duty

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/clock"
)

// Move is what a change did to one clock.
type Move struct {
	Clock   string    `json:"clock"`    // Clock.ID
	From    time.Time `json:"from"`     // its end before; zero: there was none
	To      time.Time `json:"to"`       // its end now; zero: it is gone
	Was     Answer    `json:"was"`      // whether it applied
	Is      Answer    `json:"is"`       // whether it applies
	WasDone bool      `json:"was_done"` // it was met already
	IsDone  bool      `json:"is_done"`  // it is met now
	Fact    string    `json:"fact"`     // what it is counted from now, catalogue key
	Basis   string    `json:"basis"`    // article and source
}

// moves compares the clocks of two assessments, in the order of their ids.
func moves(before, after Assessment) []Move {
	by := map[string]Move{}
	for _, c := range before.Clocks {
		by[c.ID] = Move{Clock: c.ID, From: c.Due.UTC(), Was: c.Applies, Is: No, WasDone: !c.DoneAt.IsZero(), Fact: c.Fact, Basis: c.Basis}
	}
	for _, c := range after.Clocks {
		m, ok := by[c.ID]
		if !ok {
			m = Move{Clock: c.ID, Was: No}
		}
		m.To, m.Is, m.IsDone, m.Fact, m.Basis = c.Due.UTC(), c.Applies, !c.DoneAt.IsZero(), c.Fact, c.Basis
		by[c.ID] = m
	}
	var all []Move
	for _, m := range by {
		if !m.From.Equal(m.To) || m.Was != m.Is || m.WasDone != m.IsDone {
			all = append(all, m)
		}
	}
	slices.SortFunc(all, func(a, b Move) int { return strings.Compare(a.Clock, b.Clock) })
	return all
}

// Change is one thing that a statement says otherwise than the one before.
type Change struct {
	Field string `json:"field"` // name as in Facts, those of the common forms after "form."; knowledge and indicators as a whole
	From  string `json:"from"`
	To    string `json:"to"`
	Kind  string `json:"kind"` // answer | time | count | text
}

// Changes compares two statements, in the order in which questions are asked.
func Changes(from, to Facts) []Change {
	var all []Change
	add := func(kind, field, a, b string) {
		if a != b {
			all = append(all, Change{Field: field, From: a, To: b, Kind: kind})
		}
	}
	for _, t := range []struct {
		name string
		a, b time.Time
	}{{"known_at", from.KnownAt, to.KnownAt}, {"contractor_known_at", from.ContractorKnownAt, to.ContractorKnownAt}, {"notified_at", from.NotifiedAt, to.NotifiedAt},
		{"prompt_filed_at", from.PromptFiledAt, to.PromptFiledAt}, {"final_filed_at", from.FinalFiledAt, to.FinalFiledAt}} {
		add("time", t.name, stamp(t.a), stamp(t.b))
	}
	add("text", "knowledge", from.knowledge(), to.knowledge())
	add("text", "legal_class", from.LegalClass, to.LegalClass)
	add("text", "contractor", from.Contractor, to.Contractor)
	for _, name := range FactNames() {
		add("answer", name, string(from.answer(name)), string(to.answer(name)))
	}
	add("count", "confirmed", strconv.Itoa(from.Confirmed), strconv.Itoa(to.Confirmed))
	add("count", "maximum", strconv.Itoa(from.Maximum), strconv.Itoa(to.Maximum))
	add("text", "indicators", strings.Join(from.Indicators, ", "), strings.Join(to.Indicators, ", "))
	for _, name := range ProofAnswers() {
		add("answer", name, string(from.Exemption.Answer(name)), string(to.Exemption.Answer(name)))
	}
	add("text", "algorithm", from.Exemption.Algorithm, to.Exemption.Algorithm)
	add("text", "evidence", from.Exemption.Evidence, to.Exemption.Evidence)
	for _, id := range slices.Concat(RansomFields(), DDoSFields()) {
		a, _ := from.Common.Field(id)
		b, _ := to.Common.Field(id)
		add("text", "form."+id, a, b)
	}
	add("answer", "form.nco_sharing", string(from.Common.NCO), string(to.Common.NCO))
	for _, id := range from.Items.Fields() {
		a, _ := from.Items.Field(id)
		b, _ := to.Items.Field(id)
		add("text", id, a, b)
	}
	return all
}

// ProofAnswers are the questions about strong encryption, in their order.
func ProofAnswers() []string {
	return []string{"unreadable", "listed", "key_apart", "key_safe", "wiped", "key_unusable", "by_attacker"}
}

// RansomFields are the technical fields of the common form for ransomware.
func RansomFields() []string {
	return []string{"ransom_note", "extension", "family", "entry_method", "indicators"}
}

// DDoSFields are those of the common form for DDoS.
func DDoSFields() []string { return []string{"attack_type", "gbps", "pps", "duration"} }

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func (f Facts) knowledge() string {
	var all []string
	for _, k := range f.Knowledge {
		all = append(all, strings.TrimSpace(fmt.Sprintf("%s %s %s", k.Who, k.At.In(clock.Tokyo()).Format("2006-01-02 15:04"), k.What)))
	}
	return strings.Join(all, "; ")
}

// revised says whether something that was stated is now stated otherwise,
// which needs a reason. To answer what was unknown needs none, nor does a
// number that grows.
func revised(from, to Facts) bool {
	for _, c := range Changes(from, to) {
		switch c.Kind {
		case "answer":
			if Answer(c.From) != Unknown && c.From != "" {
				return true
			}
		case "time":
			if c.From != "" {
				return true
			}
		}
	}
	lower := func(a, b int) bool { return b < a }
	return lower(from.Confirmed, to.Confirmed) || lower(from.Maximum, to.Maximum) || from.Contractor != "" && from.Contractor != to.Contractor ||
		from.LegalClass != "" && from.LegalClass != to.LegalClass || len(from.Indicators) > len(to.Indicators)
}
