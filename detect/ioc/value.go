package ioc

import (
	"net/netip"
	"net/url"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// isSuffix says whether everybody can have a name below a name: com, co.jp,
// github.io.
func isSuffix(name string) bool {
	suffix, _ := publicsuffix.PublicSuffix(name)
	return suffix == name
}

// maxName is how long a name may be in the DNS (RFC 1035), maxURL how long a
// URL that is looked for.
const (
	maxName = 253
	maxURL  = 2000
)

// Read makes an indicator of a value. kind "" finds out. It says no when there
// is nothing that can be looked for. Dots in brackets and "hxxp", by which
// lists keep people from clicking, are understood.
func Read(kind Kind, value string) (Indicator, bool) {
	value = strings.TrimSpace(value)
	value = strings.NewReplacer("[.]", ".", "(.)", ".", "[:]", ":", "hxxp://", "http://", "hxxps://", "https://").Replace(value)
	for _, k := range []Kind{IP, Net, Hash, JA4, URL, Domain} {
		if kind != "" && kind != k && !(kind == IP && k == Net) && !(kind == Net && k == IP) && !(kind == URL && (k == Domain || k == IP)) {
			continue
		}
		if v, ok := readers[k](value); ok {
			return Indicator{Kind: k, Value: v}, true
		}
	}
	return Indicator{}, false
}

// readers bring values of a kind into one form.
var readers = map[Kind]func(string) (string, bool){IP: readIP, Net: readNet, Hash: readHash, JA4: readJA4, URL: readURL, Domain: readDomain}

func readIP(v string) (string, bool) {
	if p, err := netip.ParsePrefix(v); err == nil && p.IsSingleIP() {
		return p.Addr().Unmap().String(), true
	}
	a, err := netip.ParseAddr(strings.Trim(v, "[]"))
	if err != nil {
		if ap, err := netip.ParseAddrPort(v); err == nil { // address and port
			return ap.Addr().Unmap().WithZone("").String(), true
		}
		return "", false
	}
	return a.Unmap().WithZone("").String(), true
}

func readNet(v string) (string, bool) {
	p, err := netip.ParsePrefix(v)
	if err != nil {
		return "", false
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return "", false
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked().String(), !p.IsSingleIP()
}

func readHash(v string) (string, bool) {
	if n := len(v); n != 32 && n != 40 && n != 64 {
		return "", false
	}
	v = strings.ToLower(v)
	return v, strings.Trim(v, "0123456789abcdef") == ""
}

// readJA4 knows the form a_b_c of JA4: ten characters, then twice twelve of
// hex.
func readJA4(v string) (string, bool) {
	if len(v) != 36 || v[10] != '_' || v[23] != '_' || !strings.ContainsRune("tq", rune(v[0])) {
		return "", false
	}
	hex := "0123456789abcdef"
	return v, strings.Trim(v[11:23], hex) == "" && strings.Trim(v[24:], hex) == ""
}

// readURL takes scheme and fragment away. One without a path is its host.
func readURL(v string) (string, bool) {
	if !strings.Contains(v, "/") || strings.HasPrefix(v, "/") {
		return "", false
	}
	if at := strings.Index(v, "://"); at < 0 || strings.ContainsAny(v[:at], "/.:?[") {
		v = "http://" + v
	}
	u, err := url.Parse(v)
	if err != nil || u.User != nil || u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "ftp" || u.Path == "" || u.Path == "/" && u.RawQuery == "" || len(v) > maxURL {
		return "", false
	}
	host, ok := urlHost(u)
	if !ok {
		return "", false
	}
	out := host + u.EscapedPath()
	if u.RawQuery != "" {
		out += "?" + u.RawQuery
	}
	return out, true
}

// urlHost is the host of a URL, with its port where that is not the usual one.
func urlHost(u *url.URL) (string, bool) {
	host, ok := readDomain(u.Hostname())
	if !ok {
		if host, ok = readIP(u.Hostname()); !ok {
			return "", false
		}
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
	}
	if p := u.Port(); p != "" && p != "80" && p != "443" {
		host += ":" + p
	}
	return host, true
}

func readDomain(v string) (string, bool) {
	if rest, ok := strings.CutPrefix(v, "http://"); ok {
		v = rest
	} else if rest, ok := strings.CutPrefix(v, "https://"); ok {
		v = rest
	}
	v = strings.TrimSuffix(v, "/")
	v = strings.TrimPrefix(strings.TrimPrefix(v, "*"), ".")
	v = strings.TrimSuffix(strings.ToLower(v), ".")
	if len(v) > maxName || !strings.Contains(v, ".") {
		return "", false
	}
	for label := range strings.SplitSeq(v, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return "", false
		}
	}
	if last := v[strings.LastIndexByte(v, '.')+1:]; strings.Trim(last, "0123456789") == "" { // 192.0.2.300
		return "", false
	}
	return v, true
}
