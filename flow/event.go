package flow

import (
	"encoding/hex"
	"net/netip"
	"strconv"
	"time"

	"github.com/sonae/sonae/event"
)

// Names of fields of a flow event beyond those in package event.
const (
	FieldName    = "DestinationHostname" // Flow.Name, under the name that Sysmon and Sigma use
	FieldNamedBy = "NamedBy"             // Flow.NamedBy
	FieldNamedIn = "NamedIn"             // Flow.NamedIn
	FieldEnded   = "Ended"               // Flow.Ended
	FieldOpening = "Opening"             // "seen" where Flow.SYN, else absent
	FieldTimes   = "Times"               // of a message: how often the same was said, absent for once
)

// Event makes the event of a flow: everything but ID, Site, Host, Drill and
// what is known of the owning process. Facts are fields under their own names.
// local tells which addresses are the
// watched machine's own; when both or neither end is, the opener counts as
// local. Event.Time is when the newest packet was seen.
func Event(f Flow, local func(netip.Addr) bool) event.Event {
	initiated := local(f.Src.Addr()) || !local(f.Dst.Addr())
	here, there, sent, received := f.Src, f.Dst, f.Out, f.In
	if !initiated {
		here, there, sent, received = f.Dst, f.Src, f.In, f.Out
	}
	fields := map[string]string{
		event.FieldFlowID:     f.ID,
		event.FieldPhase:      string(f.Phase),
		event.FieldProtocol:   f.Proto,
		event.FieldSrcIP:      f.Src.Addr().String(),
		event.FieldSrcPort:    port(f.Src),
		event.FieldDstIP:      f.Dst.Addr().String(),
		event.FieldDstPort:    port(f.Dst),
		event.FieldLocalIP:    here.Addr().String(),
		event.FieldLocalPort:  port(here),
		event.FieldRemoteIP:   there.Addr().String(),
		event.FieldRemotePort: port(there),
		event.FieldInitiated:  strconv.FormatBool(initiated),
		event.FieldSent:       strconv.FormatInt(sent, 10),
		event.FieldReceived:   strconv.FormatInt(received, 10),
		event.FieldPackets:    strconv.FormatInt(f.PacketsOut+f.PacketsIn, 10),
		event.FieldFirst:      f.First.UTC().Format(time.RFC3339Nano),
		event.FieldLast:       f.Last.UTC().Format(time.RFC3339Nano),
	}
	for name, value := range map[string]string{FieldName: f.Name, FieldNamedBy: f.NamedBy, FieldNamedIn: f.NamedIn, FieldEnded: f.Ended,
		FieldSensor: f.Sensor, FieldCommunity: CommunityID(f.Proto, f.Src, f.Dst)} {
		if value != "" {
			fields[name] = value
		}
	}
	if f.SYN {
		fields[FieldOpening] = "seen"
	}
	if f.Label != "" {
		fields[event.FieldApp] = f.Label
		fields[event.FieldConfidence] = string(f.Confidence)
		fields[event.FieldVerdict] = f.Rule
		if len(f.Proof) > 0 { // what another sensor says comes without
			fields[event.FieldProof] = hex.EncodeToString(f.Proof)
			fields[event.FieldProofAt] = strconv.Itoa(f.ProofOffset)
		}
	}
	addFacts(fields, f.Facts)
	return event.Event{
		Time:     f.Last.UTC(),
		Kind:     event.KindFlow,
		Product:  "sonae",
		Category: "network_connection",
		Service:  "flow",
		Fields:   fields,
	}
}

// MessageEvent makes the event of a message: everything but ID, Site, Host,
// Drill and what is known of the owning process. Its fields are those that tell
// the connection, and the facts under their names; values of one name are
// joined by line breaks. The category is Sigma's where it has one. local is as
// for Event.
func MessageEvent(m Message, local func(netip.Addr) bool) event.Event {
	initiated := local(m.Src.Addr()) || !local(m.Dst.Addr())
	here, there := m.Src, m.Dst
	if !initiated {
		here, there = m.Dst, m.Src
	}
	fields := make(map[string]string, 13+len(m.Facts))
	addFacts(fields, m.Facts)
	for name, value := range map[string]string{
		event.FieldFlowID: m.Flow, event.FieldProtocol: m.Proto, event.FieldApp: m.Label,
		event.FieldSrcIP: m.Src.Addr().String(), event.FieldSrcPort: port(m.Src),
		event.FieldDstIP: m.Dst.Addr().String(), event.FieldDstPort: port(m.Dst),
		event.FieldLocalIP: here.Addr().String(), event.FieldLocalPort: port(here),
		event.FieldRemoteIP: there.Addr().String(), event.FieldRemotePort: port(there),
		event.FieldInitiated: strconv.FormatBool(initiated), FieldFrom: from(m.FromOpener),
	} {
		fields[name] = value
	}
	return event.Event{Time: m.At.UTC(), Kind: event.KindMessage, Product: "sonae", Category: categoryOf(m.Label), Service: m.Label, Fields: fields}
}

// FieldFrom is the field of a message that says which end spoke.
const FieldFrom = "From"

// Values of FieldFrom.
const (
	FromClient = "client" // who opened the connection
	FromServer = "server"
)

func from(opener bool) string {
	if opener {
		return FromClient
	}
	return FromServer
}

// categoryOf is Sigma's name for the messages of an application, else ours.
func categoryOf(label string) string {
	if label == LabelHTTP {
		return "proxy"
	}
	return label
}

func port(a netip.AddrPort) string { return strconv.Itoa(int(a.Port())) }
