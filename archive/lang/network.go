package lang

import (
	"net/netip"
	"strconv"
	"strings"
)

// network tells addresses within a range: those of IPv4 by a regular
// expression made here, those of IPv6 by their 32 digits.
func (b *builder) network(c string, net netip.Prefix) string {
	if net.Addr().Is4() {
		return "regexp_matches(" + c + ", " + b.arg(networkPattern(net)) + ")"
	}
	low, high := net.Addr().As16(), net.Addr().As16()
	for bit := net.Bits(); bit < 128; bit++ {
		high[bit/8] |= 1 << (7 - bit%8)
	}
	hex := func(a [16]byte) string {
		return strings.ReplaceAll(netip.AddrFrom16(a).StringExpanded(), ":", "")
	}
	digits := func(a [16]byte) string { // an address that maps IPv4 is not expanded by StringExpanded
		if netip.AddrFrom16(a).Is4In6() {
			const d = "0123456789abcdef"
			var s strings.Builder
			for _, x := range a {
				s.WriteByte(d[x>>4])
				s.WriteByte(d[x&15])
			}
			return s.String()
		}
		return hex(a)
	}
	plain := "split_part(lower(" + c + "), '%', 1)"
	groups := "len(list_filter(string_split(" + plain + ", ':'), lambda x: x <> ''))"
	full := "trim(replace(" + plain + ", '::', ':' || repeat('0:', greatest(0, 8 - " + groups + "))), ':')"
	all := "array_to_string(list_transform(string_split(" + full + ", ':'), lambda x: lpad(x, 4, '0')), '')"
	return "CASE WHEN contains(" + c + ", ':') AND NOT contains(" + c + ", '.') THEN " + all + " BETWEEN " + b.arg(digits(low)) + " AND " + b.arg(digits(high)) + " ELSE FALSE END"
}

// networkPattern is the regular expression of the addresses of an IPv4 range.
func networkPattern(net netip.Prefix) string {
	const any = `[0-9]{1,3}`
	octets := net.Addr().As4()
	parts := make([]string, 4)
	for i := range parts {
		switch bits := net.Bits() - 8*i; {
		case bits >= 8:
			parts[i] = strconv.Itoa(int(octets[i]))
		case bits <= 0:
			parts[i] = any
		default:
			all := make([]string, 1<<(8-bits))
			for n := range all {
				all[n] = strconv.Itoa(int(octets[i]) + n)
			}
			parts[i] = "(?:" + strings.Join(all, "|") + ")"
		}
	}
	return "^" + strings.Join(parts, `\.`) + "$"
}
