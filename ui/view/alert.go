package view

import (
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/ready/asset"
)

// AlertsData is a list of alerts with its filters.
type AlertsData struct {
	Lines  []AlertLine
	Paging Paging
	State  alert.State
	Text   string
	Of     string // incident whose alerts are shown, "": all
}

// AlertData is one alert with its three answers.
type AlertData struct {
	Alert               alert.Alert
	What, Affects, Next string
	Host                asset.Host // zero when the register does not know it
	Peers               []alert.Peer
	Paging              Paging // of the peers
	Events              []event.Event
	Why                 *WhyData            // nil: nobody keeps rules
	Incident            *incident.Incident  // it belongs to
	Active              []incident.Incident // it may be added to
	Frozen              []action.Action     // processes on its machine that stand still
}

// shownFields are the fields of an event that people look at first, in order.
// The bytes that prove what a connection is are in the archive and in the bag.
func shownFields(e event.Event) []string {
	var out []string
	for _, f := range []string{
		event.FieldApp, event.FieldVerdict, event.FieldConfidence, event.FieldProtocol, event.FieldRemoteIP, event.FieldRemotePort,
		event.FieldSent, event.FieldReceived, event.FieldImage, event.FieldCommand, event.FieldPID, event.FieldUser,
	} {
		if e.Fields[f] != "" {
			out = append(out, f)
		}
	}
	return out
}

// fieldWord is the value of a field in words; "" when it is shown as it is.
func fieldWord(p Page, field, value string) string {
	switch field {
	case event.FieldConfidence:
		return p.Known("detect.confidence."+value, "")
	case event.FieldVerdict:
		return p.Known("verdict."+value, "")
	case event.FieldSent, event.FieldReceived:
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			return i18n.Bytes(n)
		}
	case event.FieldFirst, event.FieldLast:
		if t, err := time.Parse(time.RFC3339Nano, value); err == nil {
			return p.Seconds(t)
		}
	case event.FieldInitiated, event.FieldPhase, "Ended", "Action":
		return p.Known("event.value."+field+"."+value, "")
	}
	return ""
}

// counted splits text that counts its steps, "1. … 2. …"; nil when it does not.
func counted(text string) []string {
	var out []string
	rest, ok := strings.CutPrefix(strings.Join(strings.Fields(text), " "), "1. ")
	for n := 2; ok; n++ {
		var step string
		step, rest, ok = strings.Cut(rest, " "+strconv.Itoa(n)+". ")
		out = append(out, strings.TrimSpace(step))
	}
	return out
}
