package report

import (
	"time"

	"github.com/sonae/sonae/duty"
)

// Sample is a made-up document of a kind in which every field is stated: to
// try templates with.
func Sample(k Kind) Data {
	at := time.Date(2026, 11, 22, 5, 2, 0, 0, time.UTC)
	text := Text{JA: "（例）", EN: "(sample)"}
	d := Data{
		Schema: "sonae.report.data/2", Document: "do-sample", No: 1, Kind: k.ID, Version: 1, TLP: k.TLP, MadeAt: at, MadeBy: "例", Drill: true,
		Incident: Incident{ID: "in-sample", No: 1, Title: "（例）", State: text, Severity: text, Commander: "例", Sites: []string{"例"}, Hosts: []string{"pc-01"}, OpenedAt: at, KnownAt: at},
		Missing:  []Text{text}, Notes: []Text{text}, RulesName: "sample", Techniques: []string{"T1486"},
		Triggers: []Trigger{{text, text, text, text}}, Clocks: []Clock{{Label: text, Regime: text, From: at, Target: at, Raw: at, Due: at, Days: 5, Sure: true}},
		Alerts:  []Alert{{Title: text, What: text, Severity: text, Host: "pc-01", Site: "例", First: at, Last: at, Process: []string{"a.exe"}, Peers: []Peer{{Address: "192.0.2.1:1", First: at, Last: at}}}},
		Actions: []Action{{Kind: text, Host: "pc-01", State: text, At: at, Checks: []string{"hub-reachable 192.0.2.1 ok"}}},
		Bags:    []Bag{{ID: "ev-sample", Host: "pc-01", State: text, SealedAt: at, Items: 1}},
		Entries: []Line{{No: 1, OccurredAt: at, EnteredAt: at, Source: text, Certainty: text, By: "例", Text: text}}, Indicators: []Indicator{{Kind: Address, Value: "192.0.2.1", Tags: []string{"attack.t1486"}}},
	}
	if k.ID == "first-call" {
		d.Callers = []Caller{{Role: text, Name: "例", Phone: "000"}}
		d.Callees = []Callee{{Name: text, Phone: "000", Verify: true}}
	}
	field := func(id string) Field { return Field{ID: id, Label: text, Value: text} }
	for _, f := range (Reporter{}).Fields() {
		d.Reporter = append(d.Reporter, field(f.ID))
	}
	item := Item{No: 1, ID: "summary", Label: text, Fields: []Field{field(duty.FieldPersons), field("rule_items"), field("parties"), field("chronology")}}
	for _, id := range (duty.Items{}).Fields() {
		item.Fields = append(item.Fields, field(id))
	}
	d.Items = []Item{item}
	ids := []string{}
	for _, f := range (Particulars{}).Fields() {
		ids = append(ids, f.ID)
	}
	if k.Groups {
		d.Group = &Group{ID: "g1", Name: "例", Count: 1}
		ids = append(ids, "group_name", "group_count", "group_data", "group_advice")
	}
	for _, id := range ids {
		d.Particulars = append(d.Particulars, field(id))
	}
	return d
}
