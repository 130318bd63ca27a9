package baseline

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/sonae/sonae/event"
)

// Policy says which segments of a site may not talk to each other.
type Policy struct {
	segments []segment
	allow    []crossing
	forbid   []crossing
}

type segment struct {
	name     string
	networks []netip.Prefix
}

// crossing is connections from a segment to another one; "*" stands for each.
type crossing struct {
	from, to string
	ports    []string // "tcp/445"; none for all
}

// policyFile is the file as people write it.
type policyFile struct {
	Segments []struct {
		Name     string   `yaml:"name"`
		Networks []string `yaml:"networks"`
	} `yaml:"segments"`
	Allow  []crossingLine `yaml:"allow"`
	Forbid []crossingLine `yaml:"forbid"`
}

type crossingLine struct {
	From  string   `yaml:"from"`
	To    string   `yaml:"to"`
	Ports []string `yaml:"ports"`
}

// ParsePolicy reads segments.yml: networks with names, and what is forbidden
// between them and what is allowed all the same. What is not mentioned is
// allowed. An error names what cannot be understood.
func ParsePolicy(text []byte) (*Policy, error) {
	var file policyFile
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&file); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("policy of segments: %w", err)
	}
	p := &Policy{}
	for _, s := range file.Segments {
		made := segment{name: s.Name}
		if s.Name == "" || s.Name == "*" {
			return nil, errors.New("policy of segments: a segment has no name")
		}
		for _, n := range s.Networks {
			prefix, err := netip.ParsePrefix(n)
			if err != nil {
				return nil, fmt.Errorf("policy of segments: network of %s: %w", s.Name, err)
			}
			made.networks = append(made.networks, prefix.Masked())
		}
		p.segments = append(p.segments, made)
	}
	var err error
	if p.allow, err = p.crossings(file.Allow); err != nil {
		return nil, err
	}
	if p.forbid, err = p.crossings(file.Forbid); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *Policy) crossings(lines []crossingLine) ([]crossing, error) {
	var out []crossing
	for _, l := range lines {
		for _, name := range []string{l.From, l.To} {
			if name != "*" && !slices.ContainsFunc(p.segments, func(s segment) bool { return s.name == name }) {
				return nil, fmt.Errorf("policy of segments: there is no segment %q", name)
			}
		}
		for _, port := range l.Ports {
			proto, number, _ := strings.Cut(port, "/")
			if _, err := strconv.ParseUint(number, 10, 16); err != nil || proto != "tcp" && proto != "udp" {
				return nil, fmt.Errorf("policy of segments: %q is no port such as tcp/445", port)
			}
		}
		out = append(out, crossing{l.From, l.To, l.Ports})
	}
	return out, nil
}

// of names the segment with the longest network that holds the address.
func (p *Policy) of(a netip.Addr) string {
	name, bits := "", -1
	for _, s := range p.segments {
		for _, n := range s.networks {
			if n.Bits() > bits && n.Contains(a) {
				name, bits = s.name, n.Bits()
			}
		}
	}
	return name
}

func matches(list []crossing, from, to, port string) bool {
	return slices.ContainsFunc(list, func(c crossing) bool {
		return (c.from == "*" || c.from == from) && (c.to == "*" || c.to == to) && (len(c.ports) == 0 || slices.Contains(c.ports, port))
	})
}

// Forbids says whether a connection crosses a border that it must not, and
// between which segments.
func (p *Policy) Forbids(src, dst netip.Addr, proto string, port uint16) (from, to string, forbidden bool) {
	if p == nil {
		return "", "", false
	}
	if from, to = p.of(src), p.of(dst); from == "" || to == "" || from == to {
		return from, to, false
	}
	at := proto + "/" + strconv.Itoa(int(port))
	return from, to, matches(p.forbid, from, to, at) && !matches(p.allow, from, to, at)
}

// border looks at connections between segments.
func (w *Watch) border(h *host, o *Observation) {
	if w.conf.Policy == nil {
		return
	}
	src, dst := o.opener(), o.target()
	from, to, forbidden := w.conf.Policy.Forbids(src.Addr(), dst.Addr(), o.Proto, dst.Port())
	if !forbidden {
		return
	}
	f := map[string]string{"SourceSegment": from, "DestinationSegment": to, event.FieldSrcIP: src.Addr().String(), event.FieldDstIP: dst.Addr().String(),
		event.FieldDstPort: strconv.Itoa(int(dst.Port())), event.FieldFlowID: o.Flow, FieldExamples: o.Flow, event.FieldSent: number64(o.Sent), event.FieldReceived: number64(o.Received)}
	ja := fmt.Sprintf("%s(%s)から%s(%s、%s/%d)への通信は、院の決まりで禁じられています。", from, src.Addr(), to, dst.Addr(), o.Proto, dst.Port())
	en := fmt.Sprintf("%s (%s) talked to %s (%s, %s/%d), which the policy of the site forbids.", from, src.Addr(), to, dst.Addr(), o.Proto, dst.Port())
	w.tell(h, o, behaviour{name: Border, about: src.Addr().String() + " " + dst.String(), peer: o.Remote, ja: ja, en: en, fields: f})
}
