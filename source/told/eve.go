package told

import (
	"time"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/flow"
	"github.com/sonae/sonae/source"
	"github.com/sonae/sonae/source/eve"
)

// eveFlow reads Suricata's flow record: it is written when the flow ends.
func eveFlow(r *event.Record) (flow.Flow, bool) {
	proto, src, dst, ok := ends(r)
	if !ok || r.Time.IsZero() {
		return flow.Flow{}, false
	}
	f := flow.Flow{ID: eveID(r), Phase: flow.End, Proto: proto, Src: src, Dst: dst, First: r.Time, Last: r.Time,
		Out: count(r, "flow.bytes_toserver"), In: count(r, "flow.bytes_toclient"),
		PacketsOut: count(r, "flow.pkts_toserver"), PacketsIn: count(r, "flow.pkts_toclient"),
		SYN: value(r, "tcp.syn") == "true", Sensor: eve.Product, Ended: eveEnd(value(r, "flow.reason"), value(r, "tcp.rst"), value(r, "flow.state"))}
	if at, ok := source.Time([]byte(value(r, "flow.start")), time.UTC); ok {
		f.First = at
	}
	if at, ok := source.Time([]byte(value(r, "flow.end")), time.UTC); ok {
		f.Last = at
	}
	if d := f.Last.Sub(f.First); d < 0 || d > span {
		f.First, f.Last = r.Time, r.Time
	}
	labelled(&f, eve.Product, value(r, "app_proto"))
	return f, true
}

// eveID is the same for all records of one connection, of this machine's run.
func eveID(r *event.Record) string {
	return flow.NewID(eve.Product, value(r, "host")+" "+value(r, "flow_id"))
}

// eveEnd says why a flow ended in the words of package flow.
func eveEnd(reason, rst, state string) string {
	switch {
	case rst == "true":
		return "rst"
	case state == "closed":
		return "fin"
	case reason == "forced" || reason == "shutdown":
		return "flush"
	}
	return "idle"
}

func eveMessage(r *event.Record) (flow.Message, bool) {
	switch r.Service {
	case "dns":
		kind := value(r, "dns.type")
		return message(r, eveID(r), flow.LabelDNS, kind == "query" || kind == "request", facts(r,
			"dns.rrname", "query", "dns.queries.rrname", "query", "dns.rrtype", "record_type", "dns.queries.rrtype", "record_type",
			"dns.rdata", "answer", "dns.answers.rdata", "answer", "dns.grouped.A", "answer", "dns.grouped.AAAA", "answer",
			"dns.grouped.CNAME", "answer", "dns.grouped.TXT", "answer", "dns.rcode", "rcode"))
	case "http":
		return message(r, eveID(r), flow.LabelHTTP, true, facts(r, "http.hostname", "cs-host", "http.url", "c-uri", "http.http_method", "cs-method",
			"http.http_user_agent", "c-useragent", "http.status", "sc-status", "http.http_refer", "cs-referer"))
	case "tls":
		return message(r, eveID(r), flow.LabelTLS, true, facts(r, "tls.sni", "tls.sni", "tls.ja4", "tls.ja4", "tls.ja3.hash", "tls.ja3.hash",
			"tls.ja3s.hash", "tls.ja3s.hash", "tls.subject", "tls.subject", "tls.issuerdn", "tls.issuerdn", "tls.fingerprint", "tls.fingerprint",
			"tls.version", "tls.version"))
	}
	return flow.Message{}, false
}
