package windows

import (
	"encoding/binary"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/flow/proto"
	"github.com/sonae/sonae/flow/proto/prototest"
)

func wide(s string) (b []byte) {
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

// authenticate is an AUTHENTICATE message of NTLM.
func authenticate(domain, user, host string) []byte {
	b := append([]byte("NTLMSSP\x00\x03\x00\x00\x00"), make([]byte, 52)...)
	b[60] = 1
	for i, s := range []string{domain, user, host} {
		at := 28 + 8*i
		binary.LittleEndian.PutUint16(b[at:], uint16(len(wide(s))))
		binary.LittleEndian.PutUint32(b[at+4:], uint32(len(b)))
		b = append(b, wide(s)...)
	}
	return b
}

// message2 is one message of SMB2 in its frame.
func message2(command uint16, answer bool, status uint32, id uint64, tree uint32, body []byte) []byte {
	b := append([]byte{0xfe, 'S', 'M', 'B', 64, 0}, make([]byte, 58)...)
	binary.LittleEndian.PutUint32(b[8:], status)
	binary.LittleEndian.PutUint16(b[12:], command)
	if answer {
		b[16] = 1
	}
	binary.LittleEndian.PutUint64(b[24:], id)
	binary.LittleEndian.PutUint32(b[36:], tree)
	b = append(b, body...)
	return append([]byte{0, 0, byte(len(b) >> 8), byte(len(b))}, b...)
}

// body is a fixed part of n bytes with a string behind it, to which offset and
// length at position at point.
func body(n, at int, s string, set func([]byte)) []byte {
	b := make([]byte, n)
	binary.LittleEndian.PutUint16(b[at:], uint16(headerSMB2+n))
	binary.LittleEndian.PutUint16(b[at+2:], uint16(len(wide(s))))
	if set != nil {
		set(b)
	}
	return append(b, wide(s)...)
}

func setAccess(b []byte) { binary.LittleEndian.PutUint32(b[24:], 0x00010003) }

func smbTalk() (client, server []byte) {
	add := func(to *[]byte, parts ...[]byte) {
		for _, p := range parts {
			*to = append(*to, p...)
		}
	}
	rename := append(make([]byte, 16), 0, 0, 0, 0)
	name := wide(`患者.lock`)
	binary.LittleEndian.PutUint32(rename[16:], uint32(len(name)))
	rename = append(rename, name...)
	info := make([]byte, 32)
	info[2], info[3] = 1, 10
	binary.LittleEndian.PutUint32(info[4:], uint32(len(rename)))
	binary.LittleEndian.PutUint16(info[8:], headerSMB2+32)
	add(&client, message2(cmdSetup, false, 0, 1, 0, append(make([]byte, 24), authenticate("HOSP", "yamada", "PC1")...)),
		message2(cmdTree, false, 0, 2, 0, body(8, 4, `\\files\ward`, nil)),
		message2(cmdCreate, false, 0, 3, 7, body(56, 44, `plans\患者.xlsx`, setAccess)),
		message2(cmdCreate, false, 0, 4, 7, body(56, 44, `secret.txt`, nil)),
		message2(cmdSetInfo, false, 0, 5, 7, append(info, rename...)))
	negotiated := make([]byte, 64)
	binary.LittleEndian.PutUint16(negotiated[4:], 0x0311)
	negotiated[2] = 3
	add(&server, message2(cmdNegotiate, true, 0, 0, 0, negotiated), message2(cmdSetup, true, 0, 1, 0, make([]byte, 8)),
		message2(cmdTree, true, 0, 2, 7, make([]byte, 16)), message2(cmdCreate, true, 0xc0000022, 4, 7, make([]byte, 8)),
		[]byte{0, 0, 0, 52, 0xfd, 'S', 'M', 'B'}, make([]byte, 48))
	return client, server
}

func TestSMB(t *testing.T) {
	client, server := smbTalk()
	if v, _ := IsSMB(client); v.Label != LabelSMB {
		t.Fatalf("%+v", v)
	}
	// In the order of a real conversation: each answer after its request.
	s := NewSMB()
	var out proto.Sink
	cut := len(message2(cmdSetup, false, 0, 1, 0, append(make([]byte, 24), authenticate("HOSP", "yamada", "PC1")...))) + len(message2(cmdTree, false, 0, 2, 0, body(8, 4, `\\files\ward`, nil)))
	trees := 4 + headerSMB2 + 64 + 4 + headerSMB2 + 8 + 4 + headerSMB2 + 16
	s.Bytes(proto.Opener, client[:cut], 0, &out)
	s.Bytes(proto.Answerer, server[:trees], 0, &out)
	s.Bytes(proto.Opener, client, cut, &out)
	s.Bytes(proto.Answerer, server, trees, &out)
	want := []string{
		"> ntlmssp.user=yamada ntlmssp.domain=HOSP ntlmssp.host=PC1 smb.command=SESSION_SETUP",
		"< smb.status=STATUS_SUCCESS smb.command=SESSION_SETUP",
		`< smb.command=TREE_CONNECT smb.share=files\ward smb.status=STATUS_SUCCESS`,
		`> smb.command=CREATE smb.share=files\ward smb.filename=plans\患者.xlsx smb.access=read smb.access=write smb.access=delete`,
		`> smb.command=CREATE smb.share=files\ward smb.filename=secret.txt`,
		`> smb.command=RENAME smb.share=files\ward smb.rename=患者.lock`,
		`< smb.command=CREATE smb.filename=secret.txt smb.status=STATUS_ACCESS_DENIED`,
	}
	if diff := cmp.Diff(want, lines(out.Messages)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	told := prototest.Told{Facts: out.Facts}
	if told.Value(FactSMBDialect) != "3.11" || told.Value(FactSMBSigned) != "true" || told.Value(FactSMBEncrypted) != "true" || told.Value(FactNTUser) != "yamada" {
		t.Errorf("%+v", out.Facts)
	}
	for _, step := range []int{1, 13, 300} {
		if got := prototest.Feed(t, NewSMB(), client, server, step); len(got.Messages) < 6 {
			t.Errorf("step %d: %v", step, lines(got.Messages))
		}
	}
}

func lines(all []proto.Message) (text []string) {
	for _, m := range all {
		l := string("><"[m.From])
		for _, f := range m.Facts {
			l += " " + f.Name + "=" + f.Value
		}
		text = append(text, l)
	}
	return text
}

// x224 is an X.224 connection request or confirm.
func x224(kind byte, data string) []byte {
	b := append([]byte{3, 0, 0, byte(11 + len(data)), byte(6 + len(data)), kind, 0, 0, 0, 0, 0}, data...)
	return b
}

func TestRDP(t *testing.T) {
	client := x224(0xe0, "Cookie: mstshash=yamada\r\n\x01\x00\x08\x00\x03\x00\x00\x00")
	server := x224(0xd0, "\x02\x00\x08\x00\x02\x00\x00\x00")
	for _, b := range [][]byte{client, server} {
		for n := 1; n < len(b); n++ {
			if v, more := IsRDP(b[:n]); v.Label != "" || !more {
				t.Fatalf("at %d: %+v %v", n, v, more)
			}
		}
		if v, _ := IsRDP(b); v.Label != LabelRDP {
			t.Errorf("%+v", v)
		}
	}
	for _, step := range []int{0, 1} {
		told := prototest.Feed(t, NewRDP(), client, server, step)
		if told.Value(FactRDPCookie) != "yamada" || told.Value(FactRDPRequested) != "tls" || told.Value(FactRDPSelected) != "credssp" {
			t.Errorf("%+v", told)
		}
	}
	if v, _ := IsRDP(x224(0xe0, "\xc0\x01\x0a\xc1\x02\x01\x00\xc2\x02\x03\x00")); v.Label != "" { // the same transport under a machine control protocol
		t.Errorf("%+v", v)
	}
}

func ber(tag byte, parts ...string) string {
	all := strings.Join(parts, "")
	if len(all) < 128 {
		return string([]byte{tag, byte(len(all))}) + all
	}
	return string([]byte{tag, 0x82, byte(len(all) >> 8), byte(len(all))}) + all
}

func principalOf(parts ...string) string {
	var list string
	for _, p := range parts {
		list += ber(0x1b, p)
	}
	return ber(0x30, ber(0xa0, ber(2, "\x01")), ber(0xa1, ber(0x30, list)))
}

func TestKerberos(t *testing.T) {
	body := ber(0x30, ber(0xa0, "\x03\x05\x00\x40\x00\x00\x00"), ber(0xa1, principalOf("yamada")), ber(0xa2, ber(0x1b, "HOSP")), ber(0xa3, principalOf("krbtgt", "HOSP")), ber(0xa8, ber(0x30, ber(2, "\x17"))))
	asReq := ber(0x6a, ber(0x30, ber(0xa1, ber(2, "\x05")), ber(0xa2, ber(2, "\x0a")), ber(0xa4, body)))
	failed := ber(0x7e, ber(0x30, ber(0xa0, ber(2, "\x05")), ber(0xa1, ber(2, "\x1e")), ber(0xa6, ber(2, "\x18")), ber(0xa9, ber(0x1b, "HOSP")), ber(0xaa, principalOf("krbtgt", "HOSP"))))
	want := []string{"> krb5.msg_type=KRB_AS_REQ krb5.cname=yamada krb5.realm=HOSP krb5.sname=krbtgt/HOSP krb5.encryption=rc4-hmac krb5.weak_encryption=true",
		"< krb5.msg_type=KRB_ERROR krb5.realm=HOSP krb5.sname=krbtgt/HOSP krb5.error_code=KDC_ERR_PREAUTH_FAILED"}
	told := prototest.Datagrams(t, NewKerberos(), []byte(asReq), []byte(failed))
	if diff := cmp.Diff(want, lines(told.Messages)); diff != "" {
		t.Errorf("UDP (-want +got):\n%s", diff)
	}
	framed := func(s string) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(s))), s...) }
	for _, step := range []int{0, 1, 50} {
		told = prototest.Feed(t, NewKerberos(), framed(asReq), framed(failed), step)
		if got := lines(told.Messages); len(got) != 2 || got[0] != want[0] && got[1] != want[0] {
			t.Errorf("step %d: %v", step, got)
		}
	}
	if v, _ := IsKerberos(framed(asReq)); v.Label != LabelKerberos {
		t.Errorf("%+v", v)
	}
	if v := IsKerberosDatagram([]byte(failed)); v.Label != LabelKerberos {
		t.Errorf("%+v", v)
	}
}

func TestLDAP(t *testing.T) {
	bind := func(auth string) string {
		return ber(0x30, ber(2, "\x01"), ber(0x60, ber(2, "\x03"), ber(4, "cn=bob,dc=x"), auth))
	}
	refused := ber(0x30, ber(2, "\x01"), ber(0x61, ber(10, "\x31"), ber(4, ""), ber(4, "")))
	for auth, want := range map[string][2]string{
		ber(0x80, "hunter2"): {"simple", "true"},
		ber(0x80, ""):        {"anonymous", ""},
		ber(0xa3, ber(4, "GSS-SPNEGO"), ber(4, string(authenticate("HOSP", "yamada", "PC1")))): {"GSS-SPNEGO", ""},
	} {
		if v, _ := IsLDAP([]byte(bind(auth))); v.Label != LabelLDAP {
			t.Errorf("%+v", v)
		}
		told := prototest.Feed(t, NewLDAP(), []byte(bind(auth)), []byte(refused), 1)
		if told.Value(FactLDAPAuth) != want[0] || told.Value(FactLDAPPassword) != want[1] || told.Value(FactLDAPName) != "cn=bob,dc=x" {
			t.Errorf("%+v", told)
		}
		if want[0] == "GSS-SPNEGO" && told.Value(FactNTUser) != "yamada" {
			t.Errorf("%+v", told)
		}
		if got := lines(told.Messages); got[len(got)-1] != "< ldap.bind.result=invalidCredentials" && got[0] != "< ldap.bind.result=invalidCredentials" {
			t.Errorf("%v", got)
		}
		for _, l := range lines(told.Messages) {
			if strings.Contains(l, "hunter2") {
				t.Errorf("the password is told: %s", l)
			}
		}
	}
}

func rpcBind() []byte {
	b := append([]byte{5, 0, 11, 3, 0x10, 0, 0, 0}, make([]byte, 24)...)
	b = append(b, 0x81, 0xbb, 0x7a, 0x36, 0x44, 0x98, 0xf1, 0x35, 0xad, 0x32, 0x98, 0xf0, 0x38, 0x00, 0x10, 0x03, 2, 0, 0, 0)
	b = append(b, make([]byte, 20)...)
	binary.LittleEndian.PutUint16(b[8:], uint16(len(b)))
	return b
}

func TestRPC(t *testing.T) {
	told := prototest.Feed(t, NewRPC(), rpcBind(), nil, 0)
	if told.Value(FactRPCInterface) != "367abb81-9844-35f1-ad32-98f038001003" || told.Value(FactRPCEndpoint) != "svcctl" {
		t.Errorf("%+v", told)
	}
	if v, _ := IsRPC(rpcBind()); v.Label != LabelRPC {
		t.Errorf("%+v", v)
	}
}

func TestRejectionAllocatesNothing(t *testing.T) {
	single := func(is func([]byte) (proto.Verdict, bool)) func([]byte) proto.Verdict {
		return func(b []byte) proto.Verdict { v, _ := is(b); return v }
	}
	long := make([]byte, 40)
	prototest.Rejects(t, "zeros, SMB", long, single(IsSMB))
	prototest.Rejects(t, "zeros, Kerberos", long, single(IsKerberos))
	prototest.Rejects(t, "another TPKT", x224(0xe0, "\xc1\x02\x01\x00"), single(IsRDP))
	prototest.Rejects(t, "BER of SNMP", append([]byte("\x30\x26\x02\x01\x01\x04\x06public\xa0"), long...), single(IsLDAP))
	prototest.Rejects(t, "BER of SNMP, datagram", append([]byte("\x30\x26\x02\x01\x01\x04\x06public\xa0"), long...), IsLDAPDatagram)
	prototest.Rejects(t, "SOCKS", append([]byte{5, 1, 0}, long...), single(IsRPC))
	prototest.Rejects(t, "chance", []byte(strings.Repeat("\x6a\x91", 50)), IsKerberosDatagram)
	prototest.Rejects(t, "zeros, RDP over UDP", make([]byte, 1200), IsRDPDatagram)
	s := NewSMB()
	data := []byte(strings.Repeat("contents of a file", 70))
	var out proto.Sink
	if n := testing.AllocsPerRun(100, func() { s.Segment(proto.Opener, data, &out) }); n != 0 {
		t.Errorf("%v allocations for a segment of a file", n)
	}
}

func FuzzSMB(f *testing.F) {
	client, server := smbTalk()
	f.Add(client, server, uint16(0))
	f.Add([]byte("\x00\x00\x00\x2c\xffSMBr\x00\x00\x00\x00\x18\x53\xc8"+strings.Repeat("\x00", 20)+"\x00\x09\x00\x02NT LM 0.12\x00"), []byte{}, uint16(0))
	f.Fuzz(func(t *testing.T, client, server []byte, step uint16) {
		if len(client) == 0 || len(client)+len(server) > 40<<10 {
			return
		}
		v, _ := IsSMB(client)
		prototest.Verdict(t, v, client)
		s := NewSMB()
		prototest.Feed(t, s, client, server, int(step))
		if len(s.trees) > treesKept || len(s.pending) > pendingKept+32 {
			t.Errorf("%d trees, %d pending", len(s.trees), len(s.pending))
		}
	})
}

func FuzzWindows(f *testing.F) {
	f.Add(x224(0xe0, "Cookie: mstshash=yamada\r\n\x01\x00\x08\x00\x03\x00\x00\x00"), x224(0xd0, "\x02\x00\x08\x00\x02\x00\x00\x00"))
	f.Add([]byte(ber(0x30, ber(2, "\x01"), ber(0x60, ber(2, "\x03"), ber(4, "cn=bob"), ber(0x80, "x")))), rpcBind())
	f.Add([]byte("\x00\x00\x00\x20\x6a\x1e\x30\x1c\xa1\x03\x02\x01\x05\xa2\x03\x02\x01\x0a\xa4\x10\x30\x0e\xa2\x0c\x1b\x0aHOSPITAL12"), authenticate("a", "b", "c"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		if len(a) == 0 || len(a)+len(b) > 40<<10 {
			return
		}
		for _, is := range []func([]byte) (proto.Verdict, bool){IsRDP, IsKerberos, IsLDAP, IsRPC} {
			v, _ := is(a)
			prototest.Verdict(t, v, a)
		}
		for _, is := range []func([]byte) proto.Verdict{IsKerberosDatagram, IsLDAPDatagram, IsRDPDatagram} {
			prototest.Verdict(t, is(a), a)
		}
		for _, step := range []int{0, 3} {
			prototest.Feed(t, NewRDP(), a, b, step)
			prototest.Feed(t, NewKerberos(), a, b, step)
			prototest.Feed(t, NewLDAP(), a, b, step)
			prototest.Feed(t, NewRPC(), a, b, step)
		}
		prototest.Datagrams(t, NewKerberos(), a, b)
		ntlm(b, nil)
	})
}
