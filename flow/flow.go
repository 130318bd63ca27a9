// Package flow turns packets into connections and says what they are.
//
// In: frames with the time they were seen and the link type they were captured
// on. Out: Flow values through Config.Emit: once when a connection is
// identified, at the very packet that proves it; every few seconds while a
// connection of interest lives; and once at its end with the final counters.
// Message values through Config.Tell: what was asked and answered inside.
//
// Always true: memory is bounded by Config whatever arrives, and what had to
// be forgotten is counted; no input makes it panic; a label is given for bytes
// that prove it or for an endpoint that such bytes named, never for a port
// number; a packet that changes nothing but counters allocates nothing. The
// package does no input or output of its own and imports nothing but event and
// the dissectors below it, which import the standard library only.
package flow

import (
	"net/netip"
	"time"

	"github.com/sonae/sonae/flow/proto"
)

// LinkType says how a frame begins. The numbers are the LINKTYPE_ values of
// pcap and pcapng files (tcpdump.org/linktypes.html).
type LinkType uint32

// Link types that the parser understands. Frames of others are counted in
// Stats.Unreadable.
const (
	LinkNull      LinkType = 0   // BSD loopback, address family in the byte order of the writer
	LinkEthernet  LinkType = 1   //
	LinkRaw12     LinkType = 12  // raw IP as some systems number it
	LinkRaw14     LinkType = 14  //
	LinkRaw       LinkType = 101 // IPv4 or IPv6 without a link header
	LinkLoop      LinkType = 108 // OpenBSD loopback, family in network byte order
	LinkLinuxSLL  LinkType = 113 // Linux "cooked" capture
	LinkIPv4      LinkType = 228 //
	LinkIPv6      LinkType = 229 //
	LinkLinuxSLL2 LinkType = 276 // Linux "cooked" capture, version 2
)

// Phase is the moment in the life of a connection at which a Flow was emitted.
type Phase string

// Phases of a flow.
const (
	Identified Phase = "identified" // the packet that proved what it is was just seen
	Update     Phase = "update"     // it lives, is of interest, and its counters changed
	End        Phase = "end"        // it closed, went quiet, had to be forgotten, or the table was flushed
)

// Confidence is how sure a label is. Only Certain may start containment.
type Confidence = proto.Confidence

// Confidences, from the surest to the weakest.
const (
	Certain  = proto.Certain
	Probable = proto.Probable
	Hint     = proto.Hint
)

// Flow is one connection as it stands at the moment of emission: a plain
// value that shares no memory with the table.
type Flow struct {
	ID    string // 32 hex digits from the 5-tuple and First: the same for all phases of one connection
	Phase Phase
	Proto string // "tcp", "udp" or "icmp"; ports of ICMP are 0

	// Src opened it: it sent the SYN, or, where no SYN was captured, it has
	// the higher port number (a guess), or it sent the first datagram.
	Src, Dst netip.AddrPort

	First, Last time.Time // of the packets counted so far, UTC
	Out, In     int64     // bytes Src→Dst and Dst→Src on the wire, link header included
	PacketsOut  int64
	PacketsIn   int64

	Label      string // application, "" while unknown
	Confidence Confidence
	Rule       string
	Proof      []byte // the bytes that prove the label, at most MaxProof; for RuleHarvested those that named the endpoint
	// ProofOffset is where Proof stands in its TCP stream or UDP payload.
	ProofOffset int
	NamedBy     string // RuleHarvested only: the rule of the message that named the endpoint
	NamedIn     string // RuleHarvested only: the ID of the connection in which it was named
	Name        string // host name the client asked for in TLS (SNI) or HTTP (Host), when seen
	SYN         bool   // TCP: the packet with which Src opened it was captured
	Facts       []Fact // what it said about itself, as far as it is known yet

	Ended string // Phase End only: fin, rst, idle, evicted or flush

	Sensor string // who saw it, such as "suricata" or "netflow 192.0.2.1"; "" for the table of this package
}

// Stats counts what the table saw and what it had to leave out. All values
// grow from zero and never shrink, except Flows and Endpoints.
type Stats struct {
	Packets    uint64 // frames handed in
	Unreadable uint64 // unknown link type, or headers cut short or contradicting themselves
	OtherProto uint64 // readable, but neither TCP, UDP nor ICMP over IP
	Fragments  uint64 // IP fragments that had to wait for others
	Flows      int    // connections held now
	Opened     uint64 // connections ever opened
	Evicted    uint64 // connections ended early because the table was full
	Endpoints  int    // harvested endpoints held now
	Forgotten  uint64 // harvested endpoints dropped before their time because the set was full
	Starved    uint64 // streams not reassembled because all buffers were in use

	FragmentsDropped uint64 // datagrams given up because their fragments overlapped, never came, or were too many at once

	Hosts          int    // addresses about which evidence is held now
	HostsForgotten uint64 // addresses whose evidence was dropped because the set was full
	Untold         uint64 // what this lane of a Group learnt and could not tell the others, because one of them did not listen
}

// Config bounds a Table. Zero fields take the value named in the comment.
type Config struct {
	MaxFlows     int // connections held at once: 16384
	MaxEndpoints int // harvested endpoints held at once: 16384
	MaxHosts     int // addresses about which evidence is kept: 2048, 2 KiB each
	MaxStreams   int // directions of TCP whose first bytes are being put together: 1024, 20 KiB each

	Emit func(Flow)    // called from inside Packet, Tick and Flush; must not call back into the Table
	Tell func(Message) // the same for messages within connections; nil when nobody wants them

	UpdateEvery time.Duration // between two updates of a connection of interest: 5 s
	EndpointTTL time.Duration // a harvested endpoint is believed this long after it was last named: 2 h

	IdleTCP     time.Duration // an open TCP connection without packets ends: 10 min
	IdleUDP     time.Duration // 2 min
	IdleOpening time.Duration // a TCP connection nobody answered: 30 s
	Linger      time.Duration // after FIN from both sides, or RST, late packets still count: 2 s
}

func (c Config) withDefaults() Config {
	number := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	span := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	number(&c.MaxFlows, 16384)
	number(&c.MaxEndpoints, 16384)
	number(&c.MaxStreams, 1024)
	number(&c.MaxHosts, 2048)
	span(&c.UpdateEvery, 5*time.Second)
	span(&c.EndpointTTL, 2*time.Hour)
	span(&c.IdleTCP, 10*time.Minute)
	span(&c.IdleUDP, 2*time.Minute)
	span(&c.IdleOpening, 30*time.Second)
	span(&c.Linger, 2*time.Second)
	if c.Emit == nil {
		c.Emit = func(Flow) {}
	}
	return c
}
