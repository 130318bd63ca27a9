// Package told turns what other sensors say of connections into what package
// flow says of them, so that whatever looks at connections works without
// packets.
//
// In: event.Record of Suricata (EVE) and Zeek, as their readers give it. Out:
// flow.Flow, flow.Message, event.Event. Always true: a flow that somebody else
// saw names its sensor; an application that somebody else named is probable,
// never certain, for no bytes prove it; a record of which it is unclear who
// spoke with whom becomes no flow.
package told

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/flow"
	"github.com/sonae/sonae/source/eve"
	"github.com/sonae/sonae/source/zeek"
)

// Flow reads the record of a connection: Suricata's flow, Zeek's conn. It says
// no to all others.
func Flow(r *event.Record) (flow.Flow, bool) {
	switch {
	case r.Product == eve.Product && r.Service == "flow":
		return eveFlow(r)
	case r.Product == zeek.Product && r.Service == "conn":
		return zeekFlow(r)
	}
	return flow.Flow{}, false
}

// Message reads the record of something that was said inside a connection:
// dns, http and tls of Suricata; dns, http and ssl of Zeek.
func Message(r *event.Record) (flow.Message, bool) {
	switch r.Product {
	case eve.Product:
		return eveMessage(r)
	case zeek.Product:
		return zeekMessage(r)
	}
	return flow.Message{}, false
}

// Event makes the event of a record: that of a flow where it is one, else that
// of a line of a log. local tells which addresses are one's own.
func Event(r *event.Record, local func(netip.Addr) bool) event.Event {
	f, ok := Flow(r)
	if !ok {
		e := r.Event("")
		e.Host, e.Raw = "", "" // the pairs hold everything
		e.Fields[flow.FieldSensor] = r.Product
		if id := community(r); id != "" {
			e.Fields[flow.FieldCommunity] = id
		}
		return e
	}
	e := flow.Event(f, local)
	for _, name := range []string{"conn_state", "history", "flow.state", "flow.reason", "flow.alerted", "in_iface"} {
		if v, ok := r.Get(name); ok {
			e.Fields[name] = v
		}
	}
	return e
}

// Local returns the machine of one's own side that an event of Event is about,
// if there is one.
func Local(e event.Event, local func(netip.Addr) bool) (netip.Addr, bool) {
	names := []string{event.FieldLocalIP, "src_ip", "id.orig_h", "src", "dest_ip", "id.resp_h", "dst"}
	for _, name := range names {
		if a, err := netip.ParseAddr(e.Fields[name]); err == nil && local(a.Unmap()) {
			return a.Unmap(), true
		}
	}
	return netip.Addr{}, false
}

// community is the Community ID of a record with two ends.
func community(r *event.Record) string {
	if id, ok := r.Get("community_id"); ok {
		return id
	}
	proto, src, dst, ok := ends(r)
	if !ok {
		return ""
	}
	return flow.CommunityID(proto, src, dst)
}

// ends reads who spoke with whom.
func ends(r *event.Record) (proto string, src, dst netip.AddrPort, ok bool) {
	names := [5]string{"proto", "src_ip", "src_port", "dest_ip", "dest_port"}
	if r.Product == zeek.Product {
		names = [5]string{"proto", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p"}
	}
	proto = strings.ToLower(value(r, names[0]))
	src, ok1 := end(value(r, names[1]), value(r, names[2]))
	dst, ok2 := end(value(r, names[3]), value(r, names[4]))
	return proto, src, dst, ok1 && ok2
}

// end reads an address and a port, which ICMP has none of.
func end(address, port string) (netip.AddrPort, bool) {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return netip.AddrPort{}, false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil && port != "" {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(a.Unmap().WithZone(""), uint16(n)), true
}

func value(r *event.Record, name string) string {
	v, _ := r.Get(name)
	return v
}

// count reads a number of bytes or packets; what is none counts as nothing.
func count(r *event.Record, name string) int64 {
	n, err := strconv.ParseInt(value(r, name), 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// firstCount is the count of the first name that the record has.
func firstCount(r *event.Record, names ...string) int64 {
	for _, name := range names {
		if _, ok := r.Get(name); ok {
			return count(r, name)
		}
	}
	return 0
}

// facts copies pairs under the names of flow.Fact: from, to, from, to …
func facts(r *event.Record, names ...string) []flow.Fact {
	var out []flow.Fact
	for i := range r.Pairs {
		p := &r.Pairs[i]
		for n := 0; n+1 < len(names); n += 2 {
			if string(p.Name) == names[n] && len(p.Value) > 0 {
				out = append(out, flow.Fact{Name: names[n+1], Value: p.Text()})
			}
		}
	}
	return out
}

// labels are names of applications that Sonae calls otherwise. The rest keep
// the name that the sensor gave.
var labels = map[string]string{
	"bittorrent-dht": flow.LabelBitTorrent, "bittorrent": flow.LabelBitTorrent, "bittorrent-tracker": flow.LabelBitTorrent, "ssl": flow.LabelTLS, "http2": flow.LabelHTTP,
	"failed": "", "unknown": "", "-": "",
}

// labelled sets the application that a sensor named.
func labelled(f *flow.Flow, sensor, name string) {
	if i := strings.LastIndexByte(name, ','); i >= 0 { // "ssl,http" of Zeek: the inner one
		name = name[i+1:]
	}
	label := strings.ToLower(name)
	if known, ok := labels[label]; ok {
		label = known
	}
	if label != "" {
		f.Label, f.Confidence, f.Rule = label, flow.Probable, sensor+".app"
	}
}

// message completes what was said inside a connection.
func message(r *event.Record, id, label string, opener bool, said []flow.Fact) (flow.Message, bool) {
	proto, src, dst, ok := ends(r)
	if !ok || len(said) == 0 {
		return flow.Message{}, false
	}
	return flow.Message{Flow: id, At: r.Time, Proto: proto, Src: src, Dst: dst, FromOpener: opener, Label: label, Facts: said}, true
}

// span bounds how long a connection may have lasted: what is beyond it is a
// damaged record.
const span = 366 * 24 * time.Hour
