package ui

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/report/html"
	"github.com/sonae/sonae/report/sheet"
)

// sheetsOf makes sheets with the real desk of what the house has, and keeps
// versions in memory.
type sheetsOf struct {
	*sheet.Desk
	h *house
}

func (h *house) sheetDesk(log *slog.Logger) sheetsOf {
	names := func(context.Context) (map[string]string, error) {
		out := map[string]string{}
		for _, p := range h.persons {
			out[p.ID] = p.Name
		}
		for _, x := range h.hostList {
			out[x.ID] = x.Name
		}
		for _, s := range h.siteList {
			out[s.ID] = s.Name
		}
		return out, nil
	}
	return sheetsOf{sheet.New(nil, sheet.Deps{
		Incidents: incidentsOf{h}, Duties: dutiesOf{h}, Alerts: alertsOf{h}, Actions: actionsOf{h}, Books: booksOf{h}, Assets: assetsOf{h},
		Names: names, Say: alert.Alert.Say, Pages: html.Sheets{}, Hands: handsOf{h},
	}, func() time.Time { h.mu.Lock(); defer h.mu.Unlock(); return h.now }, log), h}
}

func (s sheetsOf) Keep(_ context.Context, id string, by auth.Person) (sheet.Kept, error) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	k := sheet.Kept{ID: fmt.Sprintf("sh-%d", len(s.h.kept)+1), Incident: id, No: len(s.h.kept) + 1, At: s.h.now, By: by.ID}
	s.h.kept = append([]sheet.Kept{k}, s.h.kept...)
	return k, nil
}

func (s sheetsOf) List(context.Context, string) ([]sheet.Kept, error) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	return append([]sheet.Kept{}, s.h.kept...), nil
}

func (s sheetsOf) HTML(_ context.Context, _, id, lang string, w io.Writer) error {
	for _, k := range s.h.kept {
		if k.ID == id {
			_, err := fmt.Fprintf(w, "<!DOCTYPE html><html lang=%q><title>%s</title>", lang, id)
			return err
		}
	}
	return missing("sheet.missing")
}

// handsOf keeps the newest of what is set by hand; rules are those of the desk.
type handsOf struct{ h *house }

func (o handsOf) States(context.Context, string) ([]sheet.Hand, error) {
	o.h.mu.Lock()
	defer o.h.mu.Unlock()
	return append([]sheet.Hand{}, o.h.hands...), nil
}

func (o handsOf) SetState(_ context.Context, _ string, n sheet.NewHand, by auth.Person) error {
	o.h.mu.Lock()
	defer o.h.mu.Unlock()
	if n.State != "" && n.Why == "" {
		return fault.New(fault.Invalid, "sheet.hand-why")
	}
	o.h.hands = slices.DeleteFunc(o.h.hands, func(x sheet.Hand) bool { return x.System == n.System && x.Site == n.Site })
	if n.State != "" {
		o.h.hands = append([]sheet.Hand{{System: n.System, Site: n.Site, State: n.State, Why: n.Why, At: o.h.now, By: by.ID}}, o.h.hands...)
	}
	return nil
}
