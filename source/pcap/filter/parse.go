package filter

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// word is a token and where it stands.
type word struct {
	text string
	at   int
}

// words splits a text. What belongs together without a blank, such as an
// address with its prefix, is one word.
func words(text string) []word {
	var all []word
	for i := 0; i < len(text); {
		n := 1
		switch c := text[i]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
			continue
		case strings.HasPrefix(text[i:], "&&") || strings.HasPrefix(text[i:], "||"):
			n = 2
		case strings.IndexByte("()!&|", c) >= 0:
		default:
			if n = strings.IndexAny(text[i:], " \t\n\r()!&|"); n < 0 {
				n = len(text) - i
			}
		}
		all = append(all, word{text[i : i+n], i + 1})
		i += n
	}
	return all
}

// parser reads words from left to right.
type parser struct {
	all   []word
	end   int // position behind the text
	tags  int // VLAN tags that were named so far
	depth int
	last  qualifiers // of the primitive before, for bare values
}

// qualifiers are the words before a value.
type qualifiers struct{ proto, dir, kind string }

// Parse reads an expression. Its error is an *Error. An empty one is refused:
// whoever wants everything needs no filter.
func Parse(text string) (*Filter, error) {
	if len(text) > maxText {
		return nil, &Error{maxText + 1, "the expression is too long"}
	}
	for i, c := range text {
		if c == utf8.RuneError || c < ' ' && c != '\t' && c != '\n' && c != '\r' {
			return nil, &Error{i + 1, "no text"}
		}
	}
	p := &parser{all: words(text), end: len(text) + 1}
	root, err := p.expression()
	if err != nil {
		return nil, err
	}
	if len(p.all) > 0 {
		return nil, p.wrong("%q is too much here: \"and\" or \"or\" is missing before it", p.peek())
	}
	f := &Filter{root}
	if _, err := f.Live(); err != nil {
		return nil, &Error{1, "the expression is too long"}
	}
	return f, nil
}

func (p *parser) wrong(format string, args ...any) error {
	at := p.end
	if len(p.all) > 0 {
		at = p.all[0].at
	}
	return &Error{at, fmt.Sprintf(format, args...)}
}

// peek returns the next word, "" at the end.
func (p *parser) peek() string {
	if len(p.all) == 0 {
		return ""
	}
	return p.all[0].text
}

// take steps over the next word when it is one of those.
func (p *parser) take(any ...string) (string, bool) {
	if w := p.peek(); w != "" && slices.Contains(any, w) {
		p.all = p.all[1:]
		return w, true
	}
	return "", false
}

func (p *parser) expression() (node, error) {
	left, err := p.term()
	for err == nil {
		_, and := p.take("and", "&&")
		if !and {
			if _, or := p.take("or", "||"); !or {
				return left, nil
			}
		}
		var right node
		if p.bare() {
			right, err = p.value(p.last)
		} else {
			right, err = p.term()
		}
		if and {
			left = both{left, right}
		} else {
			left = either{left, right}
		}
	}
	return nil, err
}

// bare says whether a value comes without words before it.
func (p *parser) bare() bool {
	w := p.peek()
	return w != "" && (w[0] >= '0' && w[0] <= '9' || strings.Contains(w, ":"))
}

func (p *parser) term() (node, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, p.wrong("nested too deep")
	}
	defer func() { p.depth-- }()
	if _, ok := p.take("not", "!"); ok {
		n, err := p.term()
		return not{n}, err
	}
	if _, ok := p.take("("); ok {
		n, err := p.expression()
		if err != nil {
			return nil, err
		}
		if _, ok := p.take(")"); !ok {
			return nil, p.wrong("a closing parenthesis is missing")
		}
		return n, nil
	}
	return p.primitive()
}

func (p *parser) primitive() (node, error) {
	if _, ok := p.take("vlan"); ok {
		return p.vlan()
	}
	var q qualifiers
	q.proto, _ = p.take("ip", "ip6", "arp", "tcp", "udp", "sctp", "icmp", "icmp6")
	q.dir, _ = p.take("src", "dst")
	q.kind, _ = p.take("host", "net", "port", "portrange")
	switch {
	case q == qualifiers{}:
		switch w := p.peek(); {
		case w == "":
			return nil, p.wrong("something is missing at the end")
		case p.bare():
			return nil, p.wrong("what is %q? Write host, net or port before it", w)
		default:
			return nil, p.wrong("%q is not understood here", w)
		}
	case q.dir == "" && q.kind == "" && !p.bare():
		p.last = qualifiers{proto: q.proto}
		return protocol{q.proto, p.tags}, nil
	case q.kind == "":
		q.kind = "host"
	}
	return p.value(q)
}

func (p *parser) vlan() (node, error) {
	n := vlan{id: -1, tags: p.tags}
	if p.bare() {
		id, err := strconv.ParseUint(p.peek(), 10, 12)
		if err != nil {
			return nil, p.wrong("%q is no VLAN: they go from 0 to 4095", p.peek())
		}
		n.id = int(id)
		p.all = p.all[1:]
	}
	p.tags++
	return n, nil
}

// value reads what the qualifiers are about.
func (p *parser) value(q qualifiers) (node, error) {
	if p.peek() == "" {
		return nil, p.wrong("a value is missing at the end")
	}
	p.last = q
	var n node
	var err error
	switch q.kind {
	case "host":
		n, err = p.host(q)
	case "net":
		n, err = p.net(q)
	case "port", "portrange":
		n, err = p.ports(q)
	default:
		return nil, p.wrong("what is %q? Write host, net or port before it", p.peek())
	}
	if err != nil {
		return nil, err
	}
	p.all = p.all[1:]
	return n, nil
}

func (p *parser) host(q qualifiers) (node, error) {
	a, err := netip.ParseAddr(p.peek())
	switch {
	case err != nil && strings.Contains(p.peek(), "/"):
		return nil, p.wrong("%q is a network: write net before it", p.peek())
	case err != nil || a.Zone() != "":
		return nil, p.wrong("%q is no address; names of hosts are not looked up", p.peek())
	}
	return p.address(q, netip.PrefixFrom(a, a.BitLen()))
}

func (p *parser) net(q qualifiers) (node, error) {
	text, length, given := strings.Cut(p.peek(), "/")
	a, bits, ok := network(text)
	if !ok {
		return nil, p.wrong("%q is no network", p.peek())
	}
	if given {
		n, err := strconv.ParseUint(length, 10, 8)
		if err != nil || int(n) > a.BitLen() {
			return nil, p.wrong("a network of %s bits: at most %d", length, a.BitLen())
		}
		bits = int(n)
	}
	prefix := netip.PrefixFrom(a, bits)
	if prefix.Masked().Addr() != a {
		return nil, p.wrong("%s has bits behind its prefix of %d: is it %s?", text, bits, prefix.Masked())
	}
	return p.address(q, prefix)
}

// network reads an address, of IPv4 perhaps only the beginning: 10.1 is
// 10.1.0.0/16.
func network(text string) (a netip.Addr, bits int, ok bool) {
	if a, err := netip.ParseAddr(text); err == nil {
		return a, a.BitLen(), a.Zone() == ""
	}
	parts := strings.Split(text, ".")
	if len(parts) > 3 {
		return a, 0, false
	}
	a, err := netip.ParseAddr(text + strings.Repeat(".0", 4-len(parts)))
	return a, 8 * len(parts), err == nil
}

func (p *parser) address(q qualifiers, prefix netip.Prefix) (node, error) {
	a := prefix.Addr()
	switch {
	case q.proto != "" && q.proto != "ip" && q.proto != "ip6" && q.proto != "arp":
		return nil, p.wrong("%s has no %ss, only ports", q.proto, q.kind)
	case a.Is4() && q.proto == "ip6":
		return nil, p.wrong("%s is no address of IPv6", a)
	case !a.Is4() && (q.proto == "ip" || q.proto == "arp"):
		return nil, p.wrong("%s is no address of IPv4", a)
	}
	return address{q.proto, q.dir, prefix, p.tags}, nil
}

func (p *parser) ports(q qualifiers) (node, error) {
	if q.proto != "" && q.proto != "tcp" && q.proto != "udp" && q.proto != "sctp" {
		return nil, p.wrong("%s has no ports", q.proto)
	}
	from, to, between := strings.Cut(p.peek(), "-")
	if between && q.kind == "port" {
		return nil, p.wrong("%q is a range: write portrange before it", p.peek())
	}
	if !between {
		to = from
	}
	a, err := strconv.ParseUint(from, 10, 16)
	b, err2 := strconv.ParseUint(to, 10, 16)
	if err != nil || err2 != nil {
		return nil, p.wrong("%q is no port: they go from 0 to 65535, and have no names here", p.peek())
	}
	return port{q.proto, q.dir, uint32(min(a, b)), uint32(max(a, b)), p.tags}, nil
}
