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
)

// Event makes the event of a flow: everything but ID, Site, Host, Drill and
// what is known of the owning process. local tells which addresses are the
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
	if f.Label != "" {
		fields[event.FieldApp] = f.Label
		fields[event.FieldConfidence] = string(f.Confidence)
		fields[event.FieldVerdict] = f.Rule
		if len(f.Proof) > 0 { // what another sensor says comes without
			fields[event.FieldProof] = hex.EncodeToString(f.Proof)
			fields[event.FieldProofAt] = strconv.Itoa(f.ProofOffset)
		}
	}
	return event.Event{
		Time:     f.Last.UTC(),
		Kind:     event.KindFlow,
		Product:  "sonae",
		Category: "network_connection",
		Service:  "flow",
		Fields:   fields,
	}
}

func port(a netip.AddrPort) string { return strconv.Itoa(int(a.Port())) }
