package ioc

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/event"
)

var now = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

var own = Own{Networks: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}, Domains: []string{"hospital.example.jp"}}

// values are "kind value" of all indicators.
func values(p Parsed) []string {
	out := []string{}
	for _, i := range p.Indicators {
		out = append(out, string(i.Kind)+" "+i.Value)
	}
	return out
}

const sha = "275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f"

const mispEvent = `{"Event":{"info":"Qakbot","Attribute":[
 {"type":"ip-dst|port","value":"198.51.100.7|443","to_ids":true,"comment":"C2"},
 {"type":"domain","value":"Evil.Example.com","to_ids":false},
 {"type":"hostname","value":"c2.example.net","to_ids":true},
 {"type":"btc","value":"x","to_ids":true}],
 "Object":[{"name":"file","Attribute":[{"type":"filename|sha256","value":"a.exe|` + sha + `","to_ids":true}]}]}}`

const stixBundle = `{"type":"bundle","id":"bundle--1","objects":[{"type":"identity","name":"CERT"},
 {"type":"indicator","spec_version":"2.1","name":"C2","pattern":"[domain-name:value = 'c2.example.net' OR ipv4-addr:value IN ('198.51.100.7', '198.51.100.8')]","pattern_type":"stix","confidence":90,"valid_until":"2027-01-01T00:00:00Z"},
 {"type":"indicator","pattern":"[file:hashes.'SHA-256' = '` + sha + `']","pattern_type":"stix"},
 {"type":"indicator","pattern":"[domain-name:value = 'a.example.net' AND domain-name:value = 'b.example.net']","pattern_type":"stix"},
 {"type":"indicator","pattern":"[url:value = 'http://c2.example.net/a']","pattern_type":"stix","valid_until":"2020-01-01T00:00:00Z"},
 {"type":"indicator","pattern":"[ipv4-addr:value ISSUBSET '198.51.100.0/24']","pattern_type":"stix"},
 {"type":"malware","name":"x"}]}`

func TestFormats(t *testing.T) {
	for name, c := range map[string]struct {
		text    string
		format  Format
		values  []string
		reasons map[Reason]int
	}{
		"lines": {"# list\n198.51.100.7\nc2.example.net # bad\nhxxp://c2[.]example[.]net/a?b=1#c\n" + strings.ToUpper(sha) + "\n198.51.100.0/24\nt13d1516h2_8daaf6152771_b186095e22b6\nnot a value\nc2.example.net.\n",
			Lines, []string{"ip 198.51.100.7", "domain c2.example.net", "url c2.example.net/a?b=1", "hash " + sha, "net 198.51.100.0/24", "ja4 t13d1516h2_8daaf6152771_b186095e22b6"}, map[Reason]int{Nothing: 1}},
		"hosts": {"127.0.0.1 localhost\n0.0.0.0 c2.example.net bad.example.net # two\n", Hosts, []string{"domain c2.example.net", "domain bad.example.net"}, map[Reason]int{}},
		"csv with names": {"type,ioc_value,valid_until,confidence,comment\nip,198.51.100.7,2027-01-01,80,\"C2, new\"\ndomain,old.example.net,2020-01-01,,\nip,198.51.100.8,,200,\nurl,198.51.100.9,,,\n",
			CSV, []string{"ip 198.51.100.7", "ip 198.51.100.9"}, map[Reason]int{Over: 1, BadNumber: 1}},
		"csv without":       {"198.51.100.7,ip,80\nc2.example.net,,\n", CSV, []string{"ip 198.51.100.7", "domain c2.example.net"}, map[Reason]int{}},
		"misp":              {mispEvent, MISP, []string{"ip 198.51.100.7", "domain c2.example.net", "hash " + sha}, map[Reason]int{NotForUse: 1, Nothing: 1}},
		"stix":              {stixBundle, STIX, []string{"domain c2.example.net", "ip 198.51.100.7", "ip 198.51.100.8", "hash " + sha, "net 198.51.100.0/24"}, map[Reason]int{Compound: 1, Over: 1}},
		"own and internal":  {"10.1.2.3\n203.0.113.9\n192.168.0.0/16\n0.0.0.0/0\n198.0.0.0/8\nwww.hospital.example.jp\nexample.jp\nco.jp\nprinter.local\nhttp://10.0.0.1/x\n8.8.8.8\n", Lines, []string{"ip 8.8.8.8"}, map[Reason]int{Internal: 5, TooWide: 2, OwnName: 3}},
		"json that is none": {`{"type":`, MISP, []string{}, map[Reason]int{Nothing: 1}},
	} {
		got := Parse([]byte(c.text), "", own, now)
		if got.Format != c.format || !slices.Equal(values(got), c.values) {
			t.Errorf("%s: %s %s", name, got.Format, cmp.Diff(c.values, values(got)))
		}
		if d := cmp.Diff(c.reasons, got.Reasons); d != "" {
			t.Errorf("%s: %s\n%+v", name, d, got.Refused)
		}
	}
	p := Parse([]byte(stixBundle), "", own, now)
	if i := p.Indicators[0]; i.Confidence != 90 || i.Note != "C2" || i.Until.Year() != 2027 || p.Name != "CERT" {
		t.Errorf("%+v of %s", i, p.Name)
	}
}

func set(lists ...string) *Set {
	var all []List
	for n, text := range lists {
		all = append(all, List{ID: fmt.Sprint("li-", n), Name: fmt.Sprint("list ", n), Source: "CERT", Confidence: 50 + n*10, Indicators: Parse([]byte(text), Lines, own, now).Indicators})
	}
	return NewSet(all)
}

func TestHits(t *testing.T) {
	s := set("198.51.100.7\n198.51.100.128/25\nevil.example.com\nhttp://web.example.org/a/b\n"+sha+"\nt13d1516h2_8daaf6152771_b186095e22b6\n2001:db8::7", "evil.example.com")
	for name, c := range map[string]struct {
		fields map[string]string
		value  string
	}{
		"an address":            {map[string]string{"RemoteIp": "198.51.100.7", "LocalIp": "10.0.0.1"}, "198.51.100.7"},
		"a range":               {map[string]string{"DestinationIp": "198.51.100.200"}, "198.51.100.128/25"},
		"IPv6":                  {map[string]string{"id.resp_h": "2001:DB8::7"}, "2001:db8::7"},
		"a name below":          {map[string]string{"query": "A.b.Evil.Example.com."}, "evil.example.com"},
		"the name of a server":  {map[string]string{"tls.sni": "evil.example.com"}, "evil.example.com"},
		"an answer of several":  {map[string]string{"answers": "10.0.0.1\n198.51.100.7"}, "198.51.100.7"},
		"a name in an answer":   {map[string]string{"QueryResults": "type:  5 x.evil.example.com;::ffff:203.0.113.1;"}, "evil.example.com"},
		"a request":             {map[string]string{"cs-host": "WEB.example.org", "c-uri": "/a/b?x=1"}, "web.example.org/a/b"},
		"a request via a proxy": {map[string]string{"cs-host": "web.example.org", "c-uri": "http://web.example.org/a/b"}, "web.example.org/a/b"},
		"a hash of Sysmon":      {map[string]string{"Hashes": "MD5=00,SHA256=" + strings.ToUpper(sha)}, sha},
		"a fingerprint":         {map[string]string{"tls.ja4": "t13d1516h2_8daaf6152771_b186095e22b6"}, "t13d1516h2_8daaf6152771_b186095e22b6"},
		"a name that ends so":   {map[string]string{"query": "notevil.example.com"}, ""},
		"a name above":          {map[string]string{"query": "example.com"}, ""},
		"another path":          {map[string]string{"cs-host": "web.example.org", "c-uri": "/a"}, ""},
		"the local side":        {map[string]string{"LocalIp": "198.51.100.7"}, ""},
		"another field":         {map[string]string{"CommandLine": "ping 198.51.100.7"}, ""},
	} {
		e := event.Event{ID: "e", Product: "sonae", Service: "flow", Fields: c.fields}
		h, ok := s.Event(&e, now)
		if ok != (c.value != "") || ok && h.Indicator.Value != c.value {
			t.Errorf("%s: %v %+v", name, ok, h.Indicator)
			continue
		}
		var r event.Record
		for k, v := range c.fields {
			r.Add([]byte(k), []byte(v), event.Plain)
		}
		if _, again := s.Record(&r, now); again != ok {
			t.Errorf("%s: the record says %v", name, again)
		}
		if ok {
			got := h.Event(e)
			if got.Service != Service || got.Fields[FieldValue] != c.value || got.Fields[FieldProduct] != "sonae/flow" || e.Fields[FieldValue] != "" || got.ID != "e" {
				t.Errorf("%s: %+v", name, got)
			}
		}
	}
	e := event.Event{Fields: map[string]string{"query": "evil.example.com"}}
	if h, _ := s.Event(&e, now); h.List.ID != "li-1" || h.Lists != 2 || h.Confidence() != 60 {
		t.Errorf("the surer list: %+v", h)
	}
	if n := s.Take()[Counted{"li-0", Domain, "evil.example.com"}]; n.Hits == 0 || len(s.Take()) != 0 {
		t.Errorf("counted %+v", n)
	}
}

func TestWhatIsOverDoesNotMatch(t *testing.T) {
	i := Parse([]byte("198.51.100.7,ip,,2026-12-01\n198.51.100.8,ip"), CSV, own, now).Indicators
	s := NewSet([]List{{ID: "a", Confidence: 50, Until: now.AddDate(0, 1, 0), Indicators: i}})
	for _, c := range []struct {
		addr string
		at   time.Time
		want bool
	}{
		{"198.51.100.7", now, true}, {"198.51.100.7", now.AddDate(0, 0, 7), false}, {"198.51.100.8", now.AddDate(0, 0, 7), true}, {"198.51.100.8", now.AddDate(0, 2, 0), false},
	} {
		if _, ok := s.Event(&event.Event{Fields: map[string]string{"RemoteIp": c.addr}}, c.at); ok != c.want {
			t.Errorf("%s at %s: %v", c.addr, c.at, ok)
		}
	}
}

// TestAnEventCountsOnce: the address of the other end stands in two fields of
// every connection.
func TestAnEventCountsOnce(t *testing.T) {
	held := []Indicator{{Kind: IP, Value: "203.0.113.7"}}
	s := NewSet([]List{{ID: "a", Confidence: 50, Indicators: held}, {ID: "b", Confidence: 60, Indicators: held}})
	h, ok := s.Event(&ordinary, now)
	if !ok || h.Lists != 2 || h.List.ID != "b" {
		t.Errorf("%+v, %v", h, ok)
	}
	hits := s.Take()
	for _, list := range []string{"a", "b"} {
		if n := hits[Counted{list, IP, "203.0.113.7"}].Hits; n != 1 {
			t.Errorf("counted %d times for list %s, want once", n, list)
		}
	}
}

// large is a Set of n addresses and as many names.
func large(n int) *Set {
	var list []Indicator
	for i := range n {
		list = append(list, Indicator{Kind: IP, Value: netip.AddrFrom4([4]byte{45, byte(i >> 16), byte(i >> 8), byte(i)}).String()},
			Indicator{Kind: Domain, Value: fmt.Sprintf("c2-%d.example.net", i)})
	}
	return NewSet([]List{{ID: "a", Confidence: 50, Indicators: list}})
}

var ordinary = event.Event{Product: "sonae", Category: "network_connection", Service: "flow", Fields: map[string]string{
	"FlowId": "0123", "Phase": "update", "Protocol": "tcp", "SourceIp": "192.168.50.10", "SourcePort": "40000", "DestinationIp": "203.0.113.7", "DestinationPort": "443",
	"LocalIp": "192.168.50.10", "LocalPort": "40000", "RemoteIp": "203.0.113.7", "RemotePort": "443", "Initiated": "true", "BytesSent": "2000", "BytesReceived": "100", "Packets": "7",
	"FirstSeen": "2026-11-21T09:00:00Z", "LastSeen": "2026-11-21T09:00:01.5Z", "Application": "tls", "DestinationHostname": "WWW.updates.example.com", "tls.ja4": "t13d1516h2_8daaf6152771_b186095e22b6"}}

func TestNothingIsAllocated(t *testing.T) {
	s := large(1000)
	web := event.Event{Fields: map[string]string{"cs-host": "www.example.com", "c-uri": "/a?b", "Hashes": "SHA256=" + sha}}
	s.urls["x/y"], s.hashes[digest{}] = 0, 0
	if n := testing.AllocsPerRun(1000, func() { s.Event(&ordinary, now); s.Event(&web, now) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkEvent(b *testing.B) {
	for _, n := range []int{0, 1000, 250_000} {
		b.Run(fmt.Sprint(2*n), func(b *testing.B) {
			s := large(n)
			b.ReportAllocs()
			for b.Loop() {
				s.Event(&ordinary, now)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{mispEvent, stixBundle, "198.51.100.7,ip,80\n", "0.0.0.0 c2.example.net\n", "value,type\nhttp://a.example.net/%zz,url\n", "198.51.100.7:80\n::ffff:198.51.100.0/120\n[2001:db8::7]/x\n"} {
		f.Add([]byte(text), "")
	}
	f.Fuzz(func(t *testing.T, data []byte, format string) {
		p := Parse(data, Format(format), own, now)
		s := NewSet([]List{{ID: "a", Confidence: 1, Indicators: p.Indicators}})
		if s.Len() != len(p.Indicators) {
			t.Errorf("%d of %d", s.Len(), len(p.Indicators))
		}
		for _, i := range p.Indicators {
			again, ok := Read(i.Kind, i.Value)
			if !ok || again.Kind != i.Kind || again.Value != i.Value {
				t.Errorf("%+v is read as %+v", i, again)
			}
			if own.refuse(i) != "" {
				t.Errorf("%+v is one's own", i)
			}
		}
	})
}

func FuzzEvent(f *testing.F) {
	s := set("198.51.100.7\n198.51.100.128/25\nevil.example.com\nhttp://web.example.org/a/b\n" + sha)
	f.Add("query", "evil.example.com", "c-uri", "/a")
	f.Add("cs-host", "[::1]", "c-uri", "http://x/?#")
	f.Add("Hashes", "SHA256=", "answer", "1,2;3 ]")
	f.Fuzz(func(t *testing.T, a, b, c, d string) {
		s.Event(&event.Event{Fields: map[string]string{a: b, c: d}}, now)
	})
}
