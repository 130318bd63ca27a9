package baseline

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/flow"
	"github.com/sonae/sonae/flow/ssh"
)

// Kind says what an observation is about.
type Kind uint8

// Kinds of observations.
const (
	Connection Kind = iota + 1 // a connection, while it lives or when it ended
	Question                   // a name was asked for
	LogOn                      // somebody logged on or failed to
	Cleartext                  // a password went over the network as it is
)

// Observation is what a Watch wants to know of an event.
type Observation struct {
	Kind       Kind
	ID         string // of the event
	At         time.Time
	Site, Host string // whose behaviour it is; Host "" stands for the address of Local
	Drill      bool

	// Of a connection, or of the one in which it was said.
	Flow           string // id
	Proto          string // tcp or udp
	Local, Remote  netip.AddrPort
	Opened         bool // the local side opened it
	SYN            bool // the packet that opened it was seen
	First          time.Time
	Sent, Received int64 // bytes so far, headers included
	Packets        int64
	Done           bool // it ended: the counters are final
	Refused        bool // it ended by a reset
	LoggedIn       bool // its packets say that somebody got in
	App, Name      string

	Query string // of a question: lower case
	Size  int64  // of a message, bytes, 0 when unknown
	Times int64  // how often the same was asked: at least 1

	Failed  bool   // of a log-on
	Service string // of a log-on: ssh …
}

// Of reads an event; ok is false when a Watch has no use for it.
func Of(e *event.Event) (o Observation, ok bool) {
	if !wanted(e.Product, e.Category, e.Service) {
		return o, false
	}
	o, ok = read(e.Product, e.Category, e.Service, func(name string) string { return e.Fields[name] })
	o.ID, o.Site, o.Drill = e.ID, e.Site, e.Drill
	if o.Kind == LogOn || e.Fields[fieldSensor] == "" && e.Product == "sonae" {
		o.Host = e.Host
	}
	return o.complete(ok, e.Time)
}

// fieldSensor names the sensor that saw a connection of others: then Host is
// where the sensor stands, and the host in question is the local address.
const fieldSensor = "Sensor"

// OfRecord is Of for what a reader gives.
func OfRecord(r *event.Record, id string) (o Observation, ok bool) {
	category := ""
	if len(r.Categories) > 0 {
		category = r.Categories[0]
	}
	if !wanted(r.Product, category, r.Service) {
		return o, false
	}
	o, ok = read(r.Product, category, r.Service, func(name string) string { v, _ := r.Get(name); return v })
	o.ID = id
	return o.complete(ok, r.Time)
}

// complete fills in what follows from the rest.
func (o Observation) complete(ok bool, at time.Time) (Observation, bool) {
	if o.At.IsZero() {
		o.At = at
	}
	if o.First.IsZero() {
		o.First = o.At
	}
	o.Times = max(o.Times, 1)
	if o.Kind == LogOn {
		return o, ok && o.Host != "" && o.Remote.IsValid()
	}
	return o, ok && o.Local.IsValid() && o.Remote.IsValid() && !o.Remote.Addr().IsMulticast() && o.Remote.Addr() != broadcast && !o.Remote.Addr().IsUnspecified()
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// wanted says quickly that most events are of no use.
func wanted(product, category, service string) bool {
	switch product {
	case "sonae":
		return category == "network_connection" || category == "dns" || category == "proxy" || service == "ftp" || service == "telnet"
	case "zeek":
		return service == "conn" || service == "dns"
	case "suricata":
		return service == "flow" || service == "dns"
	}
	return category == "authentication"
}

func read(product, category, service string, get func(string) string) (Observation, bool) {
	switch {
	case product == "sonae" && category == "network_connection":
		return ofFlow(get), true
	case product == "sonae":
		return ofMessage(service, get)
	case product == "zeek" && service == "conn":
		return ofZeek(get), true
	case product == "zeek":
		return ofQuestion(get, "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "uid")
	case product == "suricata" && service == "flow":
		return ofSuricata(get), true
	case product == "suricata":
		if t := get("dns.type"); t == "answer" || t == "response" { // the question is told, too
			return Observation{}, false
		}
		return ofQuestion(get, "src_ip", "src_port", "dest_ip", "dest_port", "flow_id")
	}
	return ofLogOn(service, get)
}

func ofFlow(get func(string) string) Observation {
	o := Observation{
		Kind: Connection, Flow: get(event.FieldFlowID), Proto: get(event.FieldProtocol),
		Local:  addrPort(get(event.FieldLocalIP), get(event.FieldLocalPort)),
		Remote: addrPort(get(event.FieldRemoteIP), get(event.FieldRemotePort)),
		Opened: get(event.FieldInitiated) == "true", SYN: get(flow.FieldOpening) != "",
		Sent: number(get(event.FieldSent)), Received: number(get(event.FieldReceived)), Packets: number(get(event.FieldPackets)),
		Done: get(event.FieldPhase) == string(flow.End), Refused: get(flow.FieldEnded) == "rst",
		LoggedIn: get(ssh.FactGuess) == "success", App: get(event.FieldApp), Name: get(flow.FieldName),
	}
	o.First, _ = time.Parse(time.RFC3339Nano, get(event.FieldFirst))
	return o
}

// FactCleartext is the fact of a message that says which user name was sent
// with a password that anybody on the way can read. Dissectors that see such a
// log-on (FTP, Telnet, POP3, IMAP, LDAP simple bind, HTTP Basic) tell it; the
// password itself is never told.
const FactCleartext = "cleartext.user"

func ofMessage(service string, get func(string) string) (Observation, bool) {
	o := Observation{
		Flow: get(event.FieldFlowID), Proto: get(event.FieldProtocol), App: service,
		Local:  addrPort(get(event.FieldLocalIP), get(event.FieldLocalPort)),
		Remote: addrPort(get(event.FieldRemoteIP), get(event.FieldRemotePort)),
		Opened: get(event.FieldInitiated) == "true",
	}
	switch {
	case service == flow.LabelDNS:
		o.Kind, o.Query = Question, strings.ToLower(get(flow.FactQuery))
		o.Size, o.Times = number(get(flow.FactSize)), number(get(flow.FieldTimes))
		return o, o.Query != ""
	case get(FactCleartext) != "":
		o.Kind = Cleartext
		return o, true
	}
	return o, false
}

// ofZeek reads a line of conn.log. The side that is no address of the outside
// is the local one.
func ofZeek(get func(string) string) Observation {
	o := Observation{
		Kind: Connection, Flow: get("uid"), Proto: get("proto"), Done: true, App: apps[get("service")],
		SYN: strings.HasPrefix(get("history"), "S"), Refused: get("conn_state") == "REJ" || strings.HasPrefix(get("conn_state"), "RST"),
		Packets: number(get("orig_pkts")) + number(get("resp_pkts")),
	}
	out := first(get, "orig_ip_bytes", "orig_bytes")
	in := first(get, "resp_ip_bytes", "resp_bytes")
	o.sides(addrPort(get("id.orig_h"), get("id.orig_p")), addrPort(get("id.resp_h"), get("id.resp_p")), out, in)
	return o
}

// ofSuricata reads an EVE record of type flow.
func ofSuricata(get func(string) string) Observation {
	o := Observation{
		Kind: Connection, Flow: get("flow_id"), Proto: strings.ToLower(get("proto")), Done: true, App: apps[get("app_proto")],
		SYN: get("tcp.syn") == "true", Refused: get("tcp.rst") == "true",
		Packets: number(get("flow.pkts_toserver")) + number(get("flow.pkts_toclient")),
	}
	o.First, _ = time.Parse(eveTime, get("flow.start"))
	o.At, _ = time.Parse(eveTime, get("flow.end")) // the event's own time is when it was written
	o.sides(addrPort(get("src_ip"), get("src_port")), addrPort(get("dest_ip"), get("dest_port")), number(get("flow.bytes_toserver")), number(get("flow.bytes_toclient")))
	return o
}

const eveTime = "2006-01-02T15:04:05.999999999-0700"

// apps are our labels for the names of Zeek and Suricata.
var apps = map[string]string{"ssl": flow.LabelTLS, "tls": flow.LabelTLS, "dns": flow.LabelDNS, "http": flow.LabelHTTP, "ssh": flow.LabelSSH,
	"ftp": "ftp", "telnet": "telnet", "smb": "smb", "rdp": "rdp"}

// ofQuestion reads a question with the names of other sensors.
func ofQuestion(get func(string) string, src, srcPort, dst, dstPort, id string) (Observation, bool) {
	o := Observation{Kind: Question, Flow: get(id), Proto: strings.ToLower(get("proto")), App: flow.LabelDNS, Query: strings.ToLower(strings.TrimSuffix(get("query"), "."))}
	o.sides(addrPort(get(src), get(srcPort)), addrPort(get(dst), get(dstPort)), 0, 0)
	return o, o.Query != ""
}

// sides sets the ends of a connection from src to dst.
func (o *Observation) sides(src, dst netip.AddrPort, out, in int64) {
	o.Opened = inside(src.Addr()) || !inside(dst.Addr())
	o.Local, o.Remote, o.Sent, o.Received = src, dst, out, in
	if !o.Opened {
		o.Local, o.Remote, o.Sent, o.Received = dst, src, in, out
	}
}

// logOnServices are the services of log-ons by what the log calls them.
var logOnServices = map[string]string{"sshd": "ssh", "vsftpd": "ftp", "proftpd": "ftp", "pure-ftpd": "ftp"}

// ofLogOn reads a log-on of Linux, or of the security log of Windows.
func ofLogOn(service string, get func(string) string) (Observation, bool) {
	o := Observation{Kind: LogOn, Service: logOnServices[service], Remote: addrPort(get(event.FieldSrcIP), "0"), Failed: get("Action") == "failure"}
	switch get("EventID") {
	case "4624", "4625":
		o.Failed = get("EventID") == "4625"
		o.Remote = addrPort(get("IpAddress"), "0")
		o.Service = map[string]string{"3": "smb", "10": "rdp"}[get("LogonType")]
		return o, o.Service != ""
	}
	return o, o.Service != "" && (o.Failed || get("Action") == "login")
}

func first(get func(string) string, names ...string) int64 {
	for _, n := range names {
		if v := get(n); v != "" {
			return number(v)
		}
	}
	return 0
}

// maxCount is the most that a counter is believed to be; sums of them fit.
const maxCount = 1 << 44

func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return min(n, maxCount)
}

func addrPort(addr, port string) netip.AddrPort {
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return netip.AddrPort{}
	}
	p, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		p = 0
	}
	return netip.AddrPortFrom(a.Unmap().WithZone(""), uint16(p))
}

// shared is the space of carriers' address translation (RFC 6598).
var shared = netip.MustParsePrefix("100.64.0.0/10")

// inside says whether an address is one that does not lead outside.
func inside(a netip.Addr) bool {
	return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() || shared.Contains(a)
}

// outside says whether the remote end is no part of the site: neither a private
// address nor a neighbour in the same network of public addresses (a /48 of
// IPv6, a /24 of IPv4).
func (o *Observation) outside() bool {
	there, here := o.Remote.Addr(), o.Local.Addr()
	if inside(there) {
		return false
	}
	bits := 24
	if there.Is6() {
		bits = 48
	}
	near, err := there.Prefix(bits)
	return err != nil || inside(here) || !near.Contains(here)
}

// opener is who opened the connection, target where to.
func (o *Observation) opener() netip.AddrPort {
	if o.Opened {
		return o.Local
	}
	return o.Remote
}

func (o *Observation) target() netip.AddrPort {
	if o.Opened {
		return o.Remote
	}
	return o.Local
}

// empty says that a TCP connection carried no data: its packets are as small as
// those that open and close one.
func (o *Observation) empty() bool {
	return o.Packets > 0 && (o.Sent+o.Received)/o.Packets <= bareSegment
}

// bareSegment is the most bytes of a segment without data: Ethernet 14, IPv6 40,
// TCP with options 60, rounded down to what is seen.
const bareSegment = 100

// place names what lies outside: the domain of its name where the client named
// one, else the address.
func (o *Observation) place() string {
	if o.Name == "" {
		return o.Remote.Addr().String()
	}
	return domainOf(o.Name)
}

// placeID is a number for place.
func (o *Observation) placeID() uint64 {
	if o.Name == "" {
		return idOfEnd("outside", noPort(o.Remote))
	}
	return idOf("outside", domainOf(o.Name))
}
