package archivetest

import (
	"time"

	"github.com/sonae/sonae/event"
)

var applications = []struct{ name, port, transport string }{
	{"tls", "443", "tcp"}, {"tls", "443", "tcp"}, {"tls", "443", "tcp"}, {"http", "80", "tcp"}, {"quic", "443", "udp"}, {"smb", "445", "tcp"}, {"ldap", "389", "tcp"},
	{"hl7", "2575", "tcp"}, {"dicom", "104", "tcp"}, {"sip", "5060", "udp"}, {"postgres", "5432", "tcp"}, {"rdp", "3389", "tcp"}, {"ntp", "123", "udp"},
}

// flow is a connection as the agent reports it; there is no original line.
func (m *maker) flow(e *event.Event) {
	e.Kind, e.Product, e.Category, e.Service = event.KindFlow, "sonae", "network_connection", "flow"
	app, remote, phase := applications[m.below(len(applications))], m.away(), "update"
	switch {
	case m.what == addressColumn:
		remote = RareAddress
	case m.below(3) == 0:
		remote = m.near()
	}
	if m.below(4) == 0 {
		phase = "end"
	}
	image := m.of(linuxPrograms)
	if m.h.windows {
		image = windowsPrograms[m.below(len(windowsPrograms))].image
	}
	age := time.Duration(1+m.below(600)) * time.Second
	size := m.below(24) // sizes spread over magnitudes
	e.Fields = map[string]string{
		event.FieldFlowID: m.text("fl-").hex(m.Uint64(), 16).cut(), event.FieldPhase: phase, event.FieldProtocol: app.transport,
		event.FieldSrcIP: m.h.address, event.FieldSrcPort: m.text().num(30000 + m.below(30000)).cut(), event.FieldDstIP: remote, event.FieldDstPort: app.port,
		event.FieldInitiated: "true", event.FieldApp: app.name, event.FieldConfidence: "certain",
		event.FieldSent: m.text().num(64 + m.below(1<<size)).cut(), event.FieldReceived: m.text().num(64 + m.below(1<<size)*3).cut(), event.FieldPackets: m.text().num(1 + m.below(1<<size)/900).cut(),
		event.FieldFirst: m.when(e.Time.Add(-age), time.RFC3339Nano).cut(), event.FieldLast: m.when(e.Time, time.RFC3339Nano).cut(),
		event.FieldImage: image, event.FieldPID: m.text().num(1000 + m.below(30000)).cut(), event.FieldUser: m.user(),
	}
}

var domains = []string{"emr.hosp.example", "yoyaku.hosp.example", "update.vendor.example", "cdn.images.example", "mail.cc.example", "ntp.example", "telemetry.office.example", "proxy.hosp.example"}

func (m *maker) dns(e *event.Event) {
	e.Kind, e.Product, e.Category, e.Service = event.KindLog, "sonae", "dns_query", "dns"
	name := m.text("h").num(m.below(3000)).text(".", m.of(domains)).cut()
	answer, kind, port := m.away(), m.of([]string{"A", "A", "A", "AAAA", "HTTPS", "PTR"}), m.text().num(30000+m.below(30000)).cut()
	e.Raw = m.when(e.Time, time.RFC3339).text(" dns query ", kind, " ", name, " from ", m.h.address, "#", port, " answer ", answer, " ttl ").num(m.below(3600)).text(" NOERROR").cut()
	e.Fields = map[string]string{
		"QueryName": name, "QueryType": kind, "QueryResults": answer, "QueryStatus": "0", event.FieldSrcIP: m.h.address, event.FieldSrcPort: port,
		event.FieldDstIP: "10.20.0.53", event.FieldDstPort: "53", event.FieldProtocol: "udp", event.FieldApp: "dns", "TransactionId": m.hex(m.Uint64(), 4).cut(),
	}
}

var (
	pages  = []string{"/karte/view", "/yoyaku/list", "/api/v1/orders", "/static/app.js", "/login", "/img/logo.png", "/rx/print", "/search"}
	agents = []string{"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/142.0", "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0", "curl/8.14.1"}
)

func (m *maker) web(e *event.Event) {
	e.Kind, e.Product, e.Category, e.Service = event.KindLog, "apache", "webserver", "access"
	path := m.text(m.of(pages), "?id=").num(m.below(1_000_000)).cut()
	source, user, status, method := m.near(), m.user(), m.of([]string{"200", "200", "200", "200", "304", "302", "404", "500"}), m.of([]string{"GET", "GET", "GET", "POST"})
	agent, bytes := m.of(agents), m.text().num(200+m.below(90000)).cut()
	e.Raw = m.text(source, " - ", user, " [").when(e.Time, "02/Jan/2006:15:04:05 -0700").text("] \"", method, " ", path, " HTTP/1.1\" ", status, " ", bytes, " \"-\" \"", agent, "\"").cut()
	e.Fields = map[string]string{
		event.FieldSrcIP: source, event.FieldUser: user, "cs-method": method, "cs-uri-stem": path, "sc-status": status, event.FieldSent: bytes, "c-useragent": agent, "cs-host": m.h.name,
	}
}
