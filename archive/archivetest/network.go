package archivetest

import (
	"time"

	"github.com/sonae/sonae/event"
)

var applications = []struct{ name, port, transport string }{
	{"tls", "443", "tcp"}, {"tls", "443", "tcp"}, {"tls", "443", "tcp"}, {"http", "80", "tcp"}, {"quic", "443", "udp"}, {"smb", "445", "tcp"}, {"ldap", "389", "tcp"},
	{"hl7", "2575", "tcp"}, {"dicom", "104", "tcp"}, {"sip", "5060", "udp"}, {"postgres", "5432", "tcp"}, {"rdp", "3389", "tcp"}, {"ntp", "123", "udp"},
}

// connection is one that is open while a batch is made; several events tell of it.
type connection struct {
	id, source, remote, port, transport, app, image, pid, user, first string
	sent, received, packets                                           int
}

// open is how many connections of a host are open at the same time.
const open = 40

// flow is a connection as the agent reports it; there is no original line.
func (m *maker) flow(e *event.Event) {
	e.Kind, e.Product, e.Category, e.Service = event.KindFlow, "sonae", "network_connection", "flow"
	c, phase := &m.open[m.below(open)], "update"
	end := m.below(6) == 0
	if c.id == "" || m.what == addressColumn {
		m.connect(c, e.Time)
	}
	size := m.below(18) // sizes spread over magnitudes
	c.sent, c.received, c.packets = c.sent+64+m.below(1<<size), c.received+64+m.below(3<<size), c.packets+1+m.below(1<<size)/900
	if end {
		phase = "end"
	}
	e.Fields = map[string]string{
		event.FieldFlowID: c.id, event.FieldPhase: phase, event.FieldProtocol: c.transport,
		event.FieldSrcIP: m.h.address, event.FieldSrcPort: c.source, event.FieldDstIP: c.remote, event.FieldDstPort: c.port,
		event.FieldInitiated: "true", event.FieldApp: c.app, event.FieldConfidence: "certain",
		event.FieldSent: m.num(c.sent).cut(), event.FieldReceived: m.num(c.received).cut(), event.FieldPackets: m.num(c.packets).cut(),
		event.FieldFirst: c.first, event.FieldLast: m.when(e.Time, time.RFC3339Nano).cut(),
		event.FieldImage: c.image, event.FieldPID: c.pid, event.FieldUser: c.user,
	}
	if end || m.what == addressColumn { // the planted address is told of once
		c.id = ""
	}
}

func (m *maker) connect(c *connection, at time.Time) {
	app, remote := applications[m.below(len(applications))], m.away()
	switch {
	case m.what == addressColumn:
		remote = RareAddress
	case m.below(3) == 0:
		remote = m.near()
	}
	image := m.of(linuxPrograms)
	if m.h.windows {
		image = windowsPrograms[m.below(len(windowsPrograms))].image
	}
	*c = connection{
		id: m.text("fl-").hex(m.Uint64(), 16).cut(), source: m.num(30000 + m.below(30000)).cut(), remote: remote, port: app.port, transport: app.transport, app: app.name,
		image: image, pid: m.num(1000 + m.below(30000)).cut(), user: m.user(),
		first: m.when(at.Add(-time.Duration(1+m.below(60000))*time.Millisecond), time.RFC3339Nano).cut(),
	}
}

var domains = []string{"emr.hosp.example", "yoyaku.hosp.example", "update.vendor.example", "cdn.images.example", "mail.cc.example", "ntp.example", "telemetry.office.example", "proxy.hosp.example"}

func (m *maker) dns(e *event.Event) {
	e.Kind, e.Product, e.Category, e.Service = event.KindLog, "sonae", "dns_query", "dns"
	number := m.below(3000)
	name := m.text("h").num(number).text(".", domains[number%len(domains)]).cut()
	answer, kind, port := m.g.away[number*6], m.of([]string{"A", "A", "A", "AAAA", "HTTPS", "PTR"}), m.num(30000+m.below(30000)).cut()
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
	agent, bytes := m.of(agents), m.num(200+m.below(90000)).cut()
	e.Raw = m.text(source, " - ", user, " [").when(e.Time, "02/Jan/2006:15:04:05 -0700").text("] \"", method, " ", path, " HTTP/1.1\" ", status, " ", bytes, " \"-\" \"", agent, "\"").cut()
	e.Fields = map[string]string{
		event.FieldSrcIP: source, event.FieldUser: user, "cs-method": method, "cs-uri-stem": path, "sc-status": status, event.FieldSent: bytes, "c-useragent": agent, "cs-host": m.h.name,
	}
}
