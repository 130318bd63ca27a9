// Package event is the vocabulary that every stage of Sonae shares.
//
// In: nothing. Out: Event, Batch and Severity, used by the agent, the hub and
// the offline tools. Always true: it imports the standard library only, and an
// Event is a plain value that may be copied and sent between goroutines.
package event

import "time"

// Kind says which part of an agent, or which source, observed an event.
type Kind string

// Kinds of events.
const (
	KindFlow    Kind = "flow"    // a network connection: identified, update or end
	KindMessage Kind = "message" // what was asked or answered inside a connection
	KindProcess Kind = "process" // a process started or ended
	KindLogin   Kind = "login"   // somebody logged in, out, or failed to
	KindLog     Kind = "log"     // one line of a system log
	KindHealth  Kind = "health"  // processor, memory and disk of a host

	// KindBehaviour is not sent by agents: the hub makes it of many events of
	// one host (package detect/baseline).
	KindBehaviour Kind = "behaviour"
)

// Event is one thing that was observed.
//
// Fields keeps the names that Sigma uses for this log source (for example
// Image, CommandLine, DestinationIp), so that public rules work unchanged.
// Values are text; numbers are decimal without separators. See Field* for the
// names that Sonae itself adds.
type Event struct {
	ID   string    `json:"id"`   // unique; the agent makes it: batch id + "-" + index
	Time time.Time `json:"time"` // when it happened, by the clock of the host, UTC
	Site string    `json:"site"` // id of the site, set by the hub from the certificate, never by the agent
	Host string    `json:"host"` // id of the host, set by the hub likewise
	Kind Kind      `json:"kind"`

	// The log source in Sigma's words.
	Product  string `json:"product,omitempty"`  // "linux", "sonae", …
	Category string `json:"category,omitempty"` // "process_creation", "network_connection", …
	Service  string `json:"service,omitempty"`  // "sshd", "flow", …

	Fields map[string]string `json:"fields,omitempty"`
	Raw    string            `json:"raw,omitempty"`   // the original line, where there was one
	Drill  bool              `json:"drill,omitempty"` // 訓練: part of a practice incident
}

// Names of the fields of a flow event (Kind flow, Product "sonae", Category
// "network_connection", Service "flow"). "Local" is the machine the agent
// watches, "Remote" the other end, whoever opened the connection.
const (
	FieldFlowID     = "FlowId"          // the same for all events of one connection
	FieldPhase      = "Phase"           // identified | update | end
	FieldProtocol   = "Protocol"        // tcp | udp
	FieldSrcIP      = "SourceIp"        // who opened it
	FieldSrcPort    = "SourcePort"      //
	FieldDstIP      = "DestinationIp"   //
	FieldDstPort    = "DestinationPort" //
	FieldLocalIP    = "LocalIp"         //
	FieldLocalPort  = "LocalPort"       //
	FieldRemoteIP   = "RemoteIp"        //
	FieldRemotePort = "RemotePort"      //
	FieldInitiated  = "Initiated"       // "true" when the local side opened it (Sysmon's name)
	FieldApp        = "Application"     // "bittorrent", "dns", "tls", … or absent
	FieldConfidence = "Confidence"      // certain | probable | hint
	FieldVerdict    = "Verdict"         // name of the rule in package flow, e.g. bt.handshake
	FieldProof      = "Proof"           // hex of the bytes that prove it
	FieldProofAt    = "ProofOffset"     // offset of those bytes in the stream or datagram
	FieldSent       = "BytesSent"       // payload + headers that left the local side so far
	FieldReceived   = "BytesReceived"   //
	FieldPackets    = "Packets"         //
	FieldFirst      = "FirstSeen"       // RFC3339Nano
	FieldLast       = "LastSeen"        //
	FieldImage      = "Image"           // executable of the owning process, when known
	FieldCommand    = "CommandLine"     //
	FieldPID        = "ProcessId"       //
	FieldUser       = "User"            //
)

// Batch is what an agent hands over at once. The id makes delivery exactly
// once in the archive and lets every later stage recognise a repeated batch.
type Batch struct {
	ID     string    `json:"id"`
	Site   string    `json:"site"`
	Host   string    `json:"host"`
	SentAt time.Time `json:"sent_at"`
	Events []Event   `json:"events"`
}

// Size is about how many bytes the events take in memory.
func (b Batch) Size() int {
	n := 0
	for i := range b.Events {
		e := &b.Events[i]
		n += 300 + len(e.Raw)
		for k, v := range e.Fields {
			n += 64 + len(k) + len(v)
		}
	}
	return n
}
