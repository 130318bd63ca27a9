package ioc

// class is what a field of an event holds.
type class uint8

const (
	noClass class = iota
	addrClass
	nameClass
	hostClass   // the name or address of a request, which makes a URL with its path
	answerClass // an address or a name
	pathClass
	hashClass
	printClass
)

// classOf tells what a field holds: the names are Sonae's own, Sigma's,
// Sysmon's, Suricata's and Zeek's. The local side of a connection is left out,
// for no list may name it.
func classOf(name string) class {
	switch name {
	case "SourceIp", "DestinationIp", "RemoteIp", "src_ip", "dst_ip", "dest_ip", "id.orig_h", "id.resp_h", "IpAddress", "c-ip", "ClientIP", "src", "dst", "ClientAddress":
		return addrClass
	case "query", "QueryName", "DestinationHostname", "tls.sni", "server_name", "dns.rrname", "dns.queries.rrname", "sni", "quic.sni":
		return nameClass
	case "cs-host", "http.hostname", "host":
		return hostClass
	case "answer", "answers", "dns.rdata", "dns.answers.rdata", "QueryResults":
		return answerClass
	case "c-uri", "cs-uri", "http.url", "uri", "url":
		return pathClass
	case "Hashes", "Hash", "hash", "md5", "sha1", "sha256", "MD5", "SHA1", "SHA256", "Md5", "Sha1", "Sha256", "fileinfo.md5", "fileinfo.sha1", "fileinfo.sha256", "FileHash":
		return hashClass
	case "ja4", "JA4", "tls.ja4", "quic.ja4":
		return printClass
	}
	return noClass
}
