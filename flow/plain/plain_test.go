package plain

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/sonae/sonae/flow/proto"
	"github.com/sonae/sonae/flow/proto/prototest"
)

func dhcpRequest() []byte {
	b := append([]byte{1, 1, 6, 0}, make([]byte, 232)...)
	b = binary.BigEndian.AppendUint32(b, 0x63825363)
	return append(b, 53, 1, 3, 12, 2, 'p', 'c', 60, 4, 'M', 'S', 'F', 'T', 255)
}

var (
	ntpRequest = append([]byte{0x23, 0, 6, 0xec}, make([]byte, 44)...)
	nameQuery  = "\x12\x34\x01\x10\x00\x01\x00\x00\x00\x00\x00\x00 " + strings.Repeat("CA", 16) + "\x00\x00 \x00\x01"
	snmpGet    = "\x30\x26\x02\x01\x01\x04\x06public\xa0\x19\x02\x01\x01\x02\x01\x00\x02\x01\x00\x30\x0e\x30\x0c\x06\x08\x2b\x06\x01\x02\x01\x01\x01\x00\x05\x00"
	invite     = "INVITE sip:bob@b.example SIP/2.0\r\nFrom: <sip:taro.yamada@a.example>\r\nUser-Agent: Phone 1\r\n\r\n"
	connect    = "\x10\x1b\x00\x04MQTT\x04\xc2\x00\x3c\x00\x03dev\x00\x03bob\x00\x07hunter2"
)

func TestDatagrams(t *testing.T) {
	for want, b := range map[string]string{
		LabelSTUN:    "\x00\x01\x00\x00\x21\x12\xa4\x42abcdefghijkl",
		LabelDHCP:    string(dhcpRequest()),
		LabelNTP:     string(ntpRequest),
		LabelNetBIOS: nameQuery,
		LabelSNMP:    snmpGet,
		LabelSIP:     invite,
		LabelSSDP:    "M-SEARCH * HTTP/1.1\r\nST: x\r\n\r\n",
		LabelSyslog:  "<34>Oct 11 22:14:15 host su: failed",
		LabelDHCPv6:  "\x01abc\x00\x01\x00\x0a\x00\x03\x00\x01\x00\x01\x02\x03\x04\x05",
		LabelRADIUS:  "\x01\x07\x00\x1aauthenticator123\x01\x06bobo",
		LabelWSD:     `<?xml version="1.0"?><s:Envelope xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery">`,
	} {
		v := Datagram([]byte(b))
		prototest.Verdict(t, v, []byte(b))
		if v.Label != want {
			t.Errorf("%q: %+v, want %s", b, v, want)
		}
	}
}

func TestStreams(t *testing.T) {
	for want, b := range map[string]string{
		LabelMQTT: connect,
		LabelTDS:  "\x12\x01\x00\x2f\x00\x00\x01\x00\x00\x00\x1a\x00\x06\x01\x00",
		LabelPG:   "\x00\x00\x00\x21\x00\x03\x00\x00user\x00bob\x00database\x00x\x00\x00",
		LabelRTSP: "OPTIONS rtsp://a/ RTSP/1.0\r\n",
	} {
		if v, _ := Stream([]byte(b), nil); v.Label != want || v.Confidence != proto.Certain {
			t.Errorf("%q: %+v, want %s", b, v, want)
		}
	}
	if v, _ := Stream(nil, []byte("\x4a\x00\x00\x00\x0a8.0.36\x00abcdefgh")); v.Label != LabelMySQL {
		t.Errorf("%+v", v)
	}
}

func TestFactsKeepSecrets(t *testing.T) {
	told := prototest.Datagrams(t, NewTalk(LabelSNMP), []byte(snmpGet))
	if told.Value(FactSNMP) != "2c" || told.Value(FactDefault) != "true" || told.Value(FactPassword) != "true" {
		t.Errorf("%+v", told)
	}
	secret := []byte(strings.Replace(snmpGet, "public", "hunter", 1))
	if told = prototest.Datagrams(t, NewTalk(LabelSNMP), secret); told.Value(FactDefault) != "" || len(told.Facts) != 2 {
		t.Errorf("%+v", told)
	}
	told = prototest.Datagrams(t, NewTalk(LabelSIP), []byte(invite))
	if told.Value(FactMethod) != "INVITE" || told.Value(FactAgent) != "Phone 1" || len(told.Facts) != 2 {
		t.Errorf("%+v", told)
	}
	told = prototest.Feed(t, MQTT{}, []byte(connect), nil, 0)
	if told.Value(FactUser) != "bob" || told.Value(FactPassword) != "true" || told.Value(FactMQTTClient) != "dev" {
		t.Errorf("%+v", told)
	}
	told = prototest.Datagrams(t, NewTalk(LabelDHCP), dhcpRequest())
	if told.Value(FactHost) != "pc" || told.Value(FactClass) != "MSFT" {
		t.Errorf("%+v", told)
	}
}

func TestRejectionAllocatesNothing(t *testing.T) {
	stream := func(b []byte) proto.Verdict { v, _ := Stream(b, nil); return v }
	for name, b := range map[string][]byte{
		"chance":  bytes.Repeat([]byte{0x9d, 3, 0xf1, 0x30}, 60),
		"DHT":     []byte("d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe"),
		"uTP":     append([]byte{0x41, 0}, make([]byte, 18)...),
		"zeros":   make([]byte, 100),
		"not BER": append([]byte{0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 2, 1, 1}, make([]byte, 20)...),
		"a word":  []byte("HELLO WORLD\r\n\r\n"),
	} {
		prototest.Rejects(t, name, b, Datagram)
		prototest.Rejects(t, name+", stream", b, stream)
	}
}

func FuzzPlain(f *testing.F) {
	for _, s := range []string{string(dhcpRequest()), string(ntpRequest), nameQuery, snmpGet, invite, connect} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 || len(b) > 20<<10 {
			return
		}
		prototest.Verdict(t, Datagram(b), b)
		v, _ := Stream(b, nil)
		prototest.Verdict(t, v, b)
		v, _ = Stream(nil, b)
		prototest.Verdict(t, v, b)
		for _, label := range []string{LabelSNMP, LabelDHCP, LabelSIP} {
			prototest.Datagrams(t, NewTalk(label), b)
		}
		prototest.Feed(t, MQTT{}, b, b, 0)
	})
}
