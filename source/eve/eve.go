// Package eve knows the events of Suricata (eve.json).
//
// In: a record that a JSON reader has flattened. Out: the same with the log
// source, and the names of Sigma's network categories beside Suricata's own.
// Always true: no pair of Suricata is changed or taken away.
package eve

import "github.com/sonae/sonae/event"

// Product is what the log source is called. Sigma has no name for Suricata;
// rules reach its events by category (dns, proxy, firewall, network_connection).
const Product = "suricata"

// kinds maps Suricata's event types to log sources.
var kinds = map[string]struct {
	service    string
	categories []string
}{
	"alert": {"alert", nil}, "anomaly": {"anomaly", nil}, "dns": {"dns", []string{"dns"}}, "http": {"http", []string{"proxy"}},
	"tls": {"tls", nil}, "flow": {"flow", []string{"network_connection"}}, "netflow": {"netflow", nil}, "fileinfo": {"fileinfo", nil},
	"smb": {"smb", nil}, "ssh": {"ssh", nil}, "smtp": {"smtp", nil}, "krb5": {"krb5", nil}, "rdp": {"rdp", nil}, "dcerpc": {"dcerpc", nil},
	"ftp": {"ftp", nil}, "ftp_data": {"ftp_data", nil}, "tftp": {"tftp", nil}, "nfs": {"nfs", nil}, "dhcp": {"dhcp", nil}, "snmp": {"snmp", nil},
	"sip": {"sip", nil}, "rfb": {"rfb", nil}, "mqtt": {"mqtt", nil}, "http2": {"http2", nil}, "ike": {"ike", nil}, "quic": {"quic", nil},
	"telnet": {"telnet", nil}, "ldap": {"ldap", nil}, "pgsql": {"pgsql", nil}, "modbus": {"modbus", nil}, "dnp3": {"dnp3", nil},
	"bittorrent_dht": {"bittorrent_dht", nil}, "drop": {"drop", []string{"firewall"}}, "stats": {"stats", nil},
}

// aliases are the names of Sigma's categories for Suricata's.
var aliases = map[string][]alias{
	"dns": {
		{"dns.rrname", []byte("query")}, {"dns.rrtype", []byte("record_type")}, {"dns.queries.rrname", []byte("query")}, {"dns.queries.rrtype", []byte("record_type")},
		{"dns.rdata", []byte("answer")}, {"dns.answers.rdata", []byte("answer")},
	},
	"http": {
		{"http.hostname", []byte("cs-host")}, {"http.url", []byte("c-uri")}, {"http.url", []byte("cs-uri")}, {"http.http_user_agent", []byte("c-useragent")},
		{"http.http_method", []byte("cs-method")}, {"http.status", []byte("sc-status")}, {"http.http_refer", []byte("cs-referer")}, {"src_ip", []byte("c-ip")},
	},
	"flow": {
		{"src_ip", []byte("SourceIp")}, {"src_port", []byte("SourcePort")}, {"dest_ip", []byte("DestinationIp")}, {"dest_port", []byte("DestinationPort")},
		{"proto", []byte("Protocol")},
	},
	"drop": {{"dest_ip", []byte("dst_ip")}, {"dest_port", []byte("dst_port")}},
}

type alias struct {
	from string
	to   []byte
}

// Complete sets the log source and adds the names.
func Complete(r *event.Record) {
	r.Product = Product
	for i := range r.Pairs {
		if string(r.Pairs[i].Name) != "event_type" {
			continue
		}
		kind := kinds[string(r.Pairs[i].Value)]
		r.Service, r.Categories = kind.service, kind.categories
		break
	}
	list := aliases[r.Service]
	if list == nil {
		return
	}
	for _, p := range r.Pairs {
		for i := range list {
			if string(p.Name) == list[i].from {
				r.Add(list[i].to, p.Value, p.Enc)
			}
		}
	}
}
