package tls

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	gotls "crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sonae/sonae/flow/proto"
	"github.com/sonae/sonae/flow/proto/prototest"
)

// tap keeps what is written through a connection.
type tap struct {
	net.Conn
	mu   *sync.Mutex
	sent *[]byte
}

func (c tap) Write(b []byte) (int, error) {
	c.mu.Lock()
	*c.sent = append(*c.sent, b...)
	c.mu.Unlock()
	return c.Conn.Write(b)
}

// handshake returns what both sides of a real handshake of the standard
// library say.
func handshake(t testing.TB, version uint16, subject, name string, protocols ...string) (client, server []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(0xabc), Subject: pkix.Name{CommonName: subject}, DNSNames: []string{name},
		NotBefore: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), NotAfter: time.Date(2036, 1, 2, 3, 4, 5, 0, time.UTC)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	a, b := net.Pipe()
	var mu sync.Mutex
	s := gotls.Server(tap{b, &mu, &server}, &gotls.Config{Certificates: []gotls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MaxVersion: version, NextProtos: protocols})
	c := gotls.Client(tap{a, &mu, &client}, &gotls.Config{ServerName: name, InsecureSkipVerify: true, MaxVersion: version, NextProtos: protocols})
	done := make(chan error, 1)
	go func() { done <- s.Handshake() }()
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	a.Close()
	b.Close()
	mu.Lock()
	defer mu.Unlock()
	return client, server
}

func TestHandshakeTellsBothSides(t *testing.T) {
	client, server := handshake(t, gotls.VersionTLS12, "device", "portal.example", "h2", "http/1.1")
	for _, step := range []int{0, 1, 7, 100} {
		told := prototest.Feed(t, NewSession(nil, 0, 0), client, server, step)
		for name, want := range map[string]string{FactName: "portal.example", FactVersion: "TLS 1.2", FactClientALPN: "h2", FactServerALPN: "h2",
			FactSubject: "CN=device", FactIssuer: "CN=device", FactSelfSigned: "true", FactSerial: "abc", FactNotBefore: "2026-01-02T03:04:05Z",
			FactNotAfter: "2036-01-02T03:04:05Z", FactAlternative: "portal.example"} {
			if got := told.Value(name); got != want {
				t.Errorf("step %d: %s = %q, want %q", step, name, got, want)
			}
		}
		if len(told.Value(FactSHA256)) != 64 || len(told.Value(FactJA3S)) != 32 || told.Name != "portal.example" {
			t.Errorf("step %d: %+v", step, told)
		}
	}
}

func TestOfTLS13OnlyTheHellosAreRead(t *testing.T) {
	client, server := handshake(t, gotls.VersionTLS13, "device", "portal.example")
	told := prototest.Feed(t, NewSession(nil, 0, 0), client, server, 0)
	if told.Value(FactVersion) != "TLS 1.3" || told.Value(FactSHA256) != "" || told.Value(FactJA4)[:4] != "t13d" {
		t.Errorf("%+v", told)
	}
}

// TestClientHelloInSeveralRecords cuts the handshake into records of any size,
// as some middleboxes and browsers do.
func TestClientHelloInSeveralRecords(t *testing.T) {
	client, _ := handshake(t, gotls.VersionTLS12, "device", "portal.example", "h2")
	n := int(client[3])<<8 | int(client[4])
	body := client[headerOfRecord : headerOfRecord+n]
	want := prototest.Feed(t, NewSession(nil, 0, 0), client, nil, 0)
	for _, size := range []int{50, 64, 200} {
		var split []byte
		for part := range slices.Chunk(body, size) {
			split = append(split, recordHandshake, 3, 1, byte(len(part)>>8), byte(len(part)))
			split = append(split, part...)
		}
		for end := 11; end < len(split); end++ {
			if v, more := Is(split[:end], false); v.Label != "" || !more {
				t.Fatalf("records of %d: decided at %d of %d bytes", size, end, len(split))
			}
		}
		if v, _ := Is(split, false); v.Label != Label {
			t.Errorf("records of %d: %+v", size, v)
		}
		got := prototest.Feed(t, NewSession(nil, 0, 0), split, nil, 0)
		if got.Value(FactJA4) != want.Value(FactJA4) || got.Name != "portal.example" {
			t.Errorf("records of %d: %+v", size, got)
		}
	}
}

func TestProgramsInsideTLS(t *testing.T) {
	for _, c := range []struct {
		subject, name, protocol string
		label                   string
		sure                    proto.Confidence
	}{
		{"AnyDesk Client", "x.example", "", LabelAnyDesk, proto.Certain},
		{"x", "x.example", "anydesk/6.2.0/linux", LabelAnyDesk, proto.Certain},
		{"x", "relay-1.net.anydesk.com", "", LabelAnyDesk, proto.Probable},
		{"x", "router7.teamviewer.com", "", LabelTeamViewer, proto.Probable},
		{"x", "www.teamviewer.com", "", "", ""},
		{"x", "st2-relay.splashtop.com", "", LabelSplashtop, proto.Probable},
		{"x", "www.xq4kz7bd3mn2.com", "", LabelTor, proto.Hint},
		{"x", "www.hospital.com", "", "", ""},
		{"x", "www.schlossbergschwarzwald.net", "", "", ""},
	} {
		var protocols []string
		if c.protocol != "" {
			protocols = []string{c.protocol}
		}
		client, server := handshake(t, gotls.VersionTLS12, c.subject, c.name, protocols...)
		told := prototest.Feed(t, NewSession(nil, 0, 0), client, server, 0)
		if told.Better.Label != c.label || told.Better.Confidence != c.sure {
			t.Errorf("%+v: %+v", c, told.Better)
		}
	}
}

// TestJA4OfTheDescription is the example of the published description.
func TestJA4OfTheDescription(t *testing.T) {
	h := Hello{
		Version: 0x0303, Best: 0x0304, HasName: true, Protocols: [][]byte{[]byte("h2"), []byte("http/1.1")},
		Ciphers:    []uint16{0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d, 0x002f, 0x0035},
		Extensions: []uint16{0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023, 0x0012, 0x002b, 0xff01, 0x000b, 0x000a, 0x0015},
		Signatures: []uint16{0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601},
	}
	if got := h.JA4('t'); got != "t13d1516h2_8daaf6152771_e5627efa2ab1" {
		t.Errorf("%s", got)
	}
	for protocol, want := range map[string]string{"h2": "h2", "x": "xx", "\xab": "ab", "0\xab": "3b", "spdy/3.1": "s1", "": "00"} {
		var list [][]byte
		if protocol != "" {
			list = [][]byte{[]byte(protocol)}
		}
		if got := ja4ALPN(list); got != want {
			t.Errorf("ALPN %q: %s, want %s", protocol, got, want)
		}
	}
	empty := Hello{}
	if got := empty.JA4('q'); got != "q00i000000_000000000000_000000000000" {
		t.Errorf("%s", got)
	}
}

func TestRejectionAllocatesNothing(t *testing.T) {
	is := func(b []byte) proto.Verdict { v, _ := Is(b, true); return v }
	for name, b := range map[string][]byte{
		"another protocol":  []byte("\x13BitTorrent protocol"),
		"a wrong version":   []byte("\x16\x02\x01\x00\x80\x01\x00\x00\x7c\x03\x03"),
		"no hello":          []byte("\x16\x03\x01\x00\x80\x0b\x00\x00\x7c\x03\x03"),
		"chance like data":  []byte("\x17\x03\x03\xff\xff\x00\x00\x00"),
		"a short ClientHel": []byte("\x16\x03"),
	} {
		prototest.Rejects(t, name, b, is)
		prototest.Rejects(t, name+", datagram", append(b, make([]byte, 40)...), IsDTLS)
	}
}

func FuzzSession(f *testing.F) {
	for _, version := range []uint16{gotls.VersionTLS12, gotls.VersionTLS13} {
		client, server := handshake(f, version, "device", "portal.example", "h2")
		f.Add(client, server, uint16(0))
		f.Add(client, server, uint16(60))
	}
	f.Fuzz(func(t *testing.T, client, server []byte, step uint16) {
		if len(client)+len(server) > 40<<10 || len(client) == 0 {
			return
		}
		v, _ := Is(client, true)
		prototest.Verdict(t, v, client)
		prototest.Feed(t, NewSession(nil, 0, 0), client, server, int(step%2000))
		prototest.Feed(t, NewSession(nil, int(step%64), 1), client, server, 0)
	})
}

func FuzzDatagrams(f *testing.F) {
	hello := append([]byte{0xfe, 0xfd}, make([]byte, 32)...)
	hello = append(hello, 0, 0, 0, 2, 0xc0, 0x2b, 1, 0)
	message := append([]byte{1, 0, 0, byte(len(hello)), 0, 0, 0, 0, 0, 0, 0, byte(len(hello))}, hello...)
	record := append([]byte{22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, byte(len(message))}, message...)
	f.Add(record, record)
	if IsDTLS(record).Label != LabelDTLS {
		f.Fatal("the seed is not DTLS")
	}
	if told := prototest.Datagrams(f, NewDatagrams(), record); len(told.Value(FactJA3)) != 32 {
		f.Fatalf("%+v", told)
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		prototest.Verdict(t, IsDTLS(a), a)
		prototest.Datagrams(t, NewDatagrams(), a, b, a, b)
	})
}

// BenchmarkClientHello reads one hello with its three fingerprints.
func BenchmarkClientHello(b *testing.B) {
	client, _ := handshake(b, gotls.VersionTLS13, "device", "portal.example", "h2")
	var shared Shared
	b.ReportAllocs()
	for b.Loop() {
		var out proto.Sink
		NewSession(&shared, 0, 0).Bytes(proto.Opener, client, 0, &out)
	}
}
