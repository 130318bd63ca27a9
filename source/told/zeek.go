package told

import (
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/flow"
	"github.com/sonae/sonae/source/zeek"
)

// zeekFlow reads Zeek's conn: its time is that of the first packet. Bytes are
// those of the packets where Zeek counts them, else of the payload.
func zeekFlow(r *event.Record) (flow.Flow, bool) {
	proto, src, dst, ok := ends(r)
	if !ok || r.Time.IsZero() {
		return flow.Flow{}, false
	}
	f := flow.Flow{ID: flow.NewID(zeek.Product, value(r, "uid")), Phase: flow.End, Proto: proto, Src: src, Dst: dst, First: r.Time, Last: r.Time,
		Out: firstCount(r, "orig_ip_bytes", "orig_bytes"), In: firstCount(r, "resp_ip_bytes", "resp_bytes"),
		PacketsOut: count(r, "orig_pkts"), PacketsIn: count(r, "resp_pkts"), SYN: strings.Contains(value(r, "history"), "S"), Sensor: zeek.Product, Ended: zeekEnd(value(r, "conn_state"))}
	if s, err := strconv.ParseFloat(value(r, "duration"), 64); err == nil && s > 0 && s < span.Seconds() {
		f.Last = f.First.Add(time.Duration(s * float64(time.Second)))
	}
	labelled(&f, zeek.Product, value(r, "service"))
	return f, true
}

// zeekEnd says how a connection ended in the words of package flow
// (docs.zeek.org, conn_state).
func zeekEnd(state string) string {
	switch state {
	case "SF":
		return "fin"
	case "REJ", "RSTO", "RSTR", "RSTOS0", "RSTRH":
		return "rst"
	}
	return "idle"
}

func zeekMessage(r *event.Record) (flow.Message, bool) {
	id := flow.NewID(zeek.Product, value(r, "uid"))
	switch r.Service {
	case "dns":
		return message(r, id, flow.LabelDNS, true, facts(r, "query", "query", "qtype_name", "record_type", "answers", "answer", "rcode_name", "rcode"))
	case "http":
		return message(r, id, flow.LabelHTTP, true, facts(r, "host", "cs-host", "uri", "c-uri", "method", "cs-method", "user_agent", "c-useragent",
			"status_code", "sc-status", "referrer", "cs-referer"))
	case "ssl":
		return message(r, id, flow.LabelTLS, true, facts(r, "server_name", "tls.sni", "ja4", "tls.ja4", "ja3", "tls.ja3.hash", "ja3s", "tls.ja3s.hash",
			"subject", "tls.subject", "issuer", "tls.issuerdn", "version", "tls.version"))
	}
	return flow.Message{}, false
}
