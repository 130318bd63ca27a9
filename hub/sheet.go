package hub

import (
	"context"
	"strconv"

	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/report/html"
	"github.com/sonae/sonae/report/sheet"
)

// openSheets joins the executive sheet to what it tells of.
func (h *Hub) openSheets() {
	h.hands = sheet.NewHands(h.state, h.incidents, h.assets, h.cfg.Now, h.log)
	h.sheets = sheet.New(h.state, sheet.Deps{
		Incidents: h.incidents, Duties: h.duties, Alerts: h.alerts, Actions: h.actions, Books: h.books, Assets: h.assets,
		Names: h.names, Say: alert.Alert.Say, Pages: html.Sheets{}, Ledger: h.ledger,
		Recovery: expected{h}, Advisor: sheet.Advise(h.decisions, h.names), Counters: []sheet.Counter{sheet.CountTasks(h.tasks)}, Hands: h.hands,
	}, h.cfg.Now, h.log)
}

// noteSheet writes down that a version of the executive sheet was kept.
func (h *Hub) noteSheet(ctx context.Context, k sheet.Kept) error {
	return h.incidents.Note(ctx, k.Incident, incident.Note{
		Key: "sheet.kept", OccurredAt: k.At, Source: "report", Ref: k.ID, Unique: "sheet/" + k.ID, Args: map[string]string{"no": strconv.Itoa(k.No)}})
}
