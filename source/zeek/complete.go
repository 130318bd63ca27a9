package zeek

import "github.com/sonae/sonae/event"

// Product is what Sigma calls Zeek.
const Product = "zeek"

// Categories that the logs stand for, too: rules of a category name no product.
var categories = map[string][]string{"dns": {"dns"}, "conn": {"network_connection"}, "http": {"proxy"}}

// aliases are the names of those categories for Zeek's.
var aliases = map[string][]alias{
	"dns": {{"qtype_name", []byte("record_type")}, {"answers", []byte("answer")}, {"id.orig_h", []byte("src_ip")}},
	"http": {
		{"host", []byte("cs-host")}, {"uri", []byte("c-uri")}, {"uri", []byte("cs-uri")}, {"user_agent", []byte("c-useragent")},
		{"method", []byte("cs-method")}, {"status_code", []byte("sc-status")}, {"referrer", []byte("cs-referer")}, {"id.orig_h", []byte("c-ip")},
	},
	"conn": {
		{"id.orig_h", []byte("SourceIp")}, {"id.orig_p", []byte("SourcePort")}, {"id.resp_h", []byte("DestinationIp")}, {"id.resp_p", []byte("DestinationPort")},
		{"proto", []byte("Protocol")},
	},
}

type alias struct {
	from string
	to   []byte
}

// logs tells a log without a name by a field that only it has.
var logs = []struct{ field, log string }{
	{"conn_state", "conn"}, {"qtype_name", "dns"}, {"trans_depth", "http"}, {"server_name", "ssl"}, {"cipher", "ssl"},
	{"certificate.serial", "x509"}, {"named_pipe", "dce_rpc"}, {"request_type", "kerberos"}, {"hassh", "ssh"}, {"auth_attempts", "ssh"},
	{"share_type", "smb_mapping"}, {"prev_name", "smb_files"}, {"mailfrom", "smtp"}, {"seen_bytes", "files"}, {"note", "notice"},
	{"cookie", "rdp"}, {"ntlm", "ntlm"}, {"domainname", "ntlm"},
}

// Complete sets the log source of a record of a JSON log, whose pairs have
// Zeek's names, and adds those of Sigma's categories.
func Complete(r *event.Record) {
	log := ""
	for i := range r.Pairs {
		if string(r.Pairs[i].Name) == "_path" {
			log = known(r.Pairs[i].Value)
			break
		}
	}
	if log == "" {
		log = guess(r)
	}
	named(r, log)
}

// services are the logs that Zeek writes, so that their names are allocated
// once.
var services = []string{"conn", "dns", "http", "ssl", "x509", "files", "smb_files", "smb_mapping", "dce_rpc", "kerberos", "rdp", "ssh", "smtp", "ftp",
	"ntlm", "notice", "weird", "dhcp", "ldap", "ldap_search", "mysql", "snmp", "sip", "syslog", "software", "tunnel", "pe", "known_hosts", "known_services",
	"dpd", "analyzer", "radius", "socks", "irc", "modbus", "dnp3", "quic", "ocsp", "intel", "ntp", "stats", "traceroute", "capture_loss"}

func known(name []byte) string {
	for _, s := range services {
		if string(name) == s {
			return s
		}
	}
	return ""
}

func guess(r *event.Record) string {
	for _, l := range logs {
		for i := range r.Pairs {
			if string(r.Pairs[i].Name) == l.field {
				return l.log
			}
		}
	}
	return ""
}

// named sets the log source and adds the names of its category.
func named(r *event.Record, log string) {
	r.Product, r.Service, r.Categories = Product, log, categories[log]
	list := aliases[log]
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
