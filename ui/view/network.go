package view

import (
	"encoding/hex"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/flow"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/search"
)

// NetworkData is who talked to whom in a range of time.
type NetworkData struct {
	Look     Look
	Wanted   search.Wanted
	Traffic  search.Traffic
	Machines map[string]asset.Host // of the register, by address
}

// PartyData is one address on the network.
type PartyData struct {
	Look     Look
	Party    search.Party
	Host     *asset.Host // the register knows it
	Machines map[string]asset.Host
}

// ConnectionsData is a list of single connections.
type ConnectionsData struct {
	Look     Look
	Wanted   search.Wanted
	Found    search.Connections
	Machines map[string]asset.Host
}

// ConnectionData is what was said of one connection, oldest first.
type ConnectionData struct {
	Phases   []event.Event
	Machines map[string]asset.Host
}

// Last is what was said last; it has the final counters.
func (d ConnectionData) Last() event.Event { return d.Phases[len(d.Phases)-1] }

// Proof is the newest event that says what the connection is, with the bytes.
func (d ConnectionData) Proof() (event.Event, bool) {
	for _, e := range slices.Backward(d.Phases) {
		if e.Fields[event.FieldProof] != "" {
			return e, true
		}
	}
	return event.Event{}, false
}

// SensorsData is what sees the network.
type SensorsData struct {
	Hosts  []asset.Host
	Paging Paging
}

// networkURL is a page about the network for what is wanted in a range of time.
func networkURL(path string, l Look, w search.Wanted) templ.SafeURL {
	q := url.Values{"range": {l.Span}}
	for name, value := range map[string]string{"address": w.Address, "host": w.Host, "port": w.Port, "label": w.Label, "confidence": w.Confidence, "name": w.Name, "after": l.After} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return templ.SafeURL(path + "?" + q.Encode())
}

// partyURL is the page about an address.
func partyURL(l Look, address string) templ.SafeURL {
	return networkURL("/network/host", Look{Span: l.Span}, search.Wanted{Address: address})
}

// connectionURL is the page about the connection that an event tells of.
func connectionURL(e event.Event) templ.SafeURL {
	return templ.SafeURL("/network/flow?" + url.Values{"id": {e.Fields[event.FieldFlowID]}, "at": {machineNanos(e.Time)}}.Encode())
}

// peerURL lists the connections of a machine with the other end of an alert,
// which is an address, with or without its port.
func peerURL(host, peer string) templ.SafeURL {
	if a, err := netip.ParseAddrPort(peer); err == nil {
		peer = a.Addr().String()
	}
	return networkURL("/network/flows", Look{Span: "7d"}, search.Wanted{Address: peer, Host: host})
}

// outside says whether an address is none of those that houses use themselves.
func outside(address string) bool {
	a, err := netip.ParseAddr(address)
	return err == nil && !a.IsPrivate() && !a.IsLoopback() && !a.IsLinkLocalUnicast() && !a.IsMulticast() && !a.IsUnspecified()
}

// appName is what people call an application.
func appName(p Page, label string) string {
	if label == "" {
		return p.T("network.unknown")
	}
	return p.Known("network.app."+label, label)
}

// labels are the applications that a list can be narrowed to, those found in it
// first.
func labels(d NetworkData) []string {
	var list []string
	for _, t := range d.Traffic.Talks {
		if t.Label != "" && !slices.Contains(list, t.Label) {
			list = append(list, t.Label)
		}
	}
	for _, l := range []string{flow.LabelBitTorrent, flow.LabelTLS, flow.LabelDNS, flow.LabelHTTP, flow.LabelSSH, d.Wanted.Label} {
		if l != "" && l != "-" && !slices.Contains(list, l) {
			list = append(list, l)
		}
	}
	return list
}

// most is the highest sum of bytes among talks.
func most(list []search.Talk) int64 {
	var n int64
	for _, t := range list {
		n = max(n, t.Out+t.In)
	}
	return n
}

// counter reads a counter of an event.
func counter(e event.Event, field string) int64 {
	n, _ := strconv.ParseInt(e.Fields[field], 10, 64) // what is no number counts as nothing
	return n
}

// end writes an address with its port.
func end(address, port string) string {
	if strings.Contains(address, ":") {
		address = "[" + address + "]"
	}
	if port == "" || port == "0" {
		return address
	}
	return address + ":" + port
}

// hours are the columns of the picture of a week.
func hours() []int {
	list := make([]int, 24)
	for h := range list {
		list[h] = h
	}
	return list
}

// heat is the class of a count in the picture of a week, from 0 to 5, so that
// five shades and the number itself tell the same.
func heat(n, most int64) string {
	if n <= 0 || most <= 0 {
		return "heat-0"
	}
	return "heat-" + strconv.FormatInt(1+4*(n-1)/max(most, 1), 10)
}

// weekday is the name of a day of the picture, Monday first.
func weekday(p Page, day int) string { return p.T("network.day." + strconv.Itoa(day)) }

// hexLine is sixteen bytes of a proof: where they stand, as digits, as text.
type hexLine struct{ At, Hex, Text string }

// hexLines writes the bytes of a proof as analysts read them.
func hexLines(e event.Event) []hexLine {
	b, err := hex.DecodeString(e.Fields[event.FieldProof])
	if err != nil {
		return nil
	}
	at := int(counter(e, event.FieldProofAt))
	var lines []hexLine
	for chunk := range slices.Chunk(b, 16) {
		var digits, text strings.Builder
		for i, c := range chunk {
			if i == 8 {
				digits.WriteByte(' ')
			}
			fmt.Fprintf(&digits, "%02x ", c)
			if c < ' ' || c > '~' {
				c = '.'
			}
			text.WriteByte(c)
		}
		lines = append(lines, hexLine{fmt.Sprintf("%06x", at), strings.TrimRight(digits.String(), " "), text.String()})
		at += len(chunk)
	}
	return lines
}

// facts are what a connection said about itself: every field that the page
// does not show otherwise.
func facts(p Page, e event.Event) []pair {
	shown := []string{event.FieldFlowID, event.FieldPhase, event.FieldProtocol, event.FieldSrcIP, event.FieldSrcPort, event.FieldDstIP, event.FieldDstPort, event.FieldLocalIP, event.FieldLocalPort,
		event.FieldRemoteIP, event.FieldRemotePort, event.FieldInitiated, event.FieldApp, event.FieldConfidence, event.FieldVerdict, event.FieldProof, event.FieldProofAt,
		event.FieldSent, event.FieldReceived, event.FieldPackets, event.FieldFirst, event.FieldLast}
	var list []pair
	for _, name := range slices.Sorted(maps.Keys(e.Fields)) {
		if e.Fields[name] != "" && !slices.Contains(shown, name) {
			list = append(list, pair{name, e.Fields[name]})
		}
	}
	return list
}

// stale says whether a machine has not been heard of lately.
func stale(p Page, h asset.Host) bool { return p.Now.Sub(h.LastSeen) > 2*time.Minute }

// bare is an address without the length of its network.
func bare(address string) string {
	a, _, _ := strings.Cut(address, "/")
	return a
}

// packetsOf is where the packets of the connection of an event are ordered.
func packetsOf(e event.Event) templ.SafeURL {
	v := url.Values{"id": {e.Fields[event.FieldFlowID]}, "at": {e.Time.UTC().Format(time.RFC3339Nano)}}
	return templ.SafeURL("/network/flow/packets?" + v.Encode())
}
