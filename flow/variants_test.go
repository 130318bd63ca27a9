package flow

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rc4"
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"math/big"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
)

// The clients of this file are made here: real key exchanges and ciphers, with
// every choice that a client has drawn from a seed, so that nothing is tuned to
// one program or one capture.

// msePrime is P of the key exchange; its generator is 2.
var msePrime, _ = new(big.Int).SetString("FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A63A36210000000000090563", 16)

// dice draws what clients choose.
type dice struct{ *rand.Rand }

func newDice(seed uint64) dice { return dice{rand.New(rand.NewPCG(seed, 7))} }

func (d dice) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(d.Uint32())
	}
	return b
}

// mse is one obfuscated handshake as the two sides send it: [0] and [2] from
// the opener, [1] and [3] from the other.
type mse [4][]byte

// shake makes a handshake with paddings up to the given lengths. plain says
// that only the handshake is obfuscated; pre, that the opener sends the first
// message of BitTorrent with it.
func (d dice) shake(padA, padB int, plain, pre bool) (m mse) {
	exponent := func() *big.Int { return new(big.Int).SetBytes(d.bytes(20)) }
	xa, xb := exponent(), exponent()
	key := func(x *big.Int) []byte {
		return new(big.Int).Exp(big.NewInt(2), x, msePrime).FillBytes(make([]byte, 96))
	}
	ya, yb := key(xa), key(xb)
	secret := new(big.Int).Exp(new(big.Int).SetBytes(yb), xa, msePrime).FillBytes(make([]byte, 96))
	skey := d.bytes(20)
	digest := func(parts ...[]byte) []byte {
		h := sha1.New()
		for _, p := range parts {
			h.Write(p)
		}
		return h.Sum(nil)
	}
	stream := func(word string) *rc4.Cipher {
		c, _ := rc4.NewCipher(digest([]byte(word), secret, skey))
		c.XORKeyStream(make([]byte, 1024), make([]byte, 1024))
		return c
	}
	seal := func(c *rc4.Cipher, b []byte) []byte {
		out := make([]byte, len(b))
		c.XORKeyStream(out, b)
		return out
	}
	padded := func(method byte, pad []byte) []byte { // VC, method, padding
		b := append(make([]byte, 8), 0, 0, 0, method)
		return append(binary.BigEndian.AppendUint16(b, uint16(len(pad))), pad...)
	}
	method := byte(2)
	if plain {
		method = 1
	}
	m[0] = append(ya, d.bytes(d.IntN(padA+1))...)
	m[1] = append(yb, d.bytes(d.IntN(padB+1))...)
	both := digest([]byte("req2"), skey)
	for i, c := range digest([]byte("req3"), secret) {
		both[i] ^= c
	}
	first := ""
	if pre {
		first = btHandshake()
	}
	third := padded(method, make([]byte, d.IntN(100)))
	third = append(binary.BigEndian.AppendUint16(third, uint16(len(first))), first...)
	m[2] = append(append(digest([]byte("req1"), secret), both...), seal(stream("keyA"), third)...)
	out := stream("keyB")
	m[3] = seal(out, padded(method, make([]byte, d.IntN(100))))
	if plain {
		m[3] = append(m[3], btHandshake()...)
	} else {
		m[3] = append(m[3], seal(out, []byte(btHandshake()))...)
	}
	return m
}

// parts sends b in segments of random sizes of at most most bytes.
func (s *session) parts(d dice, side int, b []byte, most int) {
	for len(b) > 0 {
		n := min(len(b), 1+d.IntN(most))
		s.send(side, string(b[:n]))
		b = b[n:]
	}
}

func (s *session) shake(d dice, m mse, most int) {
	for k, b := range m {
		s.parts(d, k&1, b, most)
	}
}

// far gives address n of a network of strangers and a port of their choice.
func (d dice) far(n int, six bool) netip.AddrPort {
	port := uint16(1024 + d.IntN(60000))
	if port == 5222 {
		port++
	}
	if six {
		return netip.AddrPortFrom(netip.MustParseAddr(fmt.Sprintf("2001:db8:%x::%x", n+1, d.IntN(9999)+1)), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{byte(11 + n), byte(d.IntN(256)), byte(d.IntN(256)), 7}), port)
}

func (d dice) near(six bool) netip.AddrPort {
	port := uint16(1024 + d.IntN(60000))
	if six {
		return netip.AddrPortFrom(netip.MustParseAddr("2001:db8:ffff::5"), port)
	}
	return netip.AddrPortFrom(netip.MustParseAddr("10.20.30.40"), port)
}

// TestEveryObfuscatedPeerIsFound: a host with three or more obfuscated peers,
// whoever opens, however long the padding, however the bytes are cut.
func TestEveryObfuscatedPeerIsFound(t *testing.T) {
	for seed := range uint64(60) {
		d := newDice(seed)
		w := newTap(Config{})
		peers, six, most := 3+d.IntN(6), seed%3 == 2, []int{2000, 700, 96, 40}[d.IntN(4)]
		padA := []int{512, 512, 0, 200}[d.IntN(4)]
		for n := range peers {
			a, b := d.near(six), d.far(n, six)
			if d.IntN(3) == 0 { // a peer from outside opens
				a, b = netip.AddrPortFrom(b.Addr(), a.Port()), netip.AddrPortFrom(a.Addr(), 51413)
			}
			s := w.connect(a, b)
			s.shake(d, d.shake(padA, 512, false, d.IntN(2) == 0), most)
			s.parts(d, 0, d.bytes(900), most)
		}
		w.Flush()
		found := 0
		for _, f := range w.flows {
			if f.Phase == End && f.Label == LabelBitTorrent && f.Rule == RuleMSEHost && f.Confidence == Probable && len(f.Proof) > 0 && f.Fact(FactFlights) != "" {
				found++
			}
		}
		if found != peers {
			t.Errorf("seed %d: %d of %d peers found (segments up to %d, padding up to %d)", seed, found, peers, most, padA)
		}
	}
}

// TestOnePeerAloneIsAHint, and one whose handshake turns plain is certain.
func TestOnePeerAloneIsAHint(t *testing.T) {
	for seed := range uint64(20) {
		d := newDice(seed)
		w := newTap(Config{})
		a, b := d.near(false), d.far(0, false)
		w.connect(a, b).shake(d, d.shake(512, 512, false, true), 1400)
		plain := d.far(1, false)
		w.connect(netip.AddrPortFrom(netip.MustParseAddr("10.9.9.9"), 40000), plain).shake(d, d.shake(512, 512, true, true), 1400)
		for _, f := range w.flows {
			if f.Src == a {
				t.Errorf("seed %d: a single connection speaks before its end: %+v", seed, f)
			}
		}
		w.Flush()
		if f := w.last(t, a, b); f.Rule != RuleMSEShape || f.Confidence != Hint {
			t.Errorf("seed %d: %+v", seed, f)
		}
		f := w.last(t, netip.MustParseAddrPort("10.9.9.9:40000"), plain)
		if f.Rule != RuleMSEPlain || f.Confidence != Certain || string(f.Proof) != btHandshake() {
			t.Errorf("seed %d: %+v", seed, f)
		}
	}
}

// TestOneObfuscatedPeerOfAKnownHost: a host that spoke to a tracker needs no
// three peers.
func TestOneObfuscatedPeerOfAKnownHost(t *testing.T) {
	d := newDice(5)
	w := newTap(Config{})
	w.connect(netip.MustParseAddrPort("10.20.30.40:4000"), tracker).send(0, announceLine)
	a, b := d.near(false), d.far(0, false)
	w.connect(a, b).shake(d, d.shake(512, 512, false, true), 1400)
	if f := w.last(t, a, b); f.Rule != RuleMSEHost || f.Confidence != Probable {
		t.Errorf("%+v", f)
	}
}

// TestWhatOnlyLooksRandomStaysSilent: tunnels, proxies and nodes that open with
// random bytes too.
func TestWhatOnlyLooksRandomStaysSilent(t *testing.T) {
	shadow := func(d dice, plain int) []byte { // AEAD: a salt, then sealed chunks of length and payload
		block, _ := aes.NewCipher(d.bytes(32))
		g, _ := cipher.NewGCM(block)
		out := d.bytes(32)
		out = g.Seal(out, make([]byte, 12), make([]byte, 2), nil)
		return g.Seal(out, append(make([]byte, 11), 1), make([]byte, plain), nil)
	}
	vpn := func(d dice, n int) []byte { // OpenVPN over TCP: a length, then noise under a static key
		return append(binary.BigEndian.AppendUint16(nil, uint16(n)), d.bytes(n)...)
	}
	for name, flights := range map[string]func(d dice, n int) mse{
		"shadowsocks with TLS inside": func(d dice, n int) mse {
			return mse{shadow(d, 517+d.IntN(40)), shadow(d, 1300+d.IntN(2500)), shadow(d, 64), shadow(d, 500)}
		},
		"obfs4": func(d dice, n int) mse {
			return mse{d.bytes(64 + 85 + d.IntN(8043)), d.bytes(96 + d.IntN(8096)), d.bytes(100 + d.IntN(1400)), d.bytes(500)}
		},
		"shadowsocks with small pages": func(d dice, n int) mse {
			return mse{shadow(d, 40+d.IntN(300)), shadow(d, 100+d.IntN(1200)), shadow(d, 40+d.IntN(300)), shadow(d, 500)}
		},
		"OpenVPN with a static key": func(d dice, n int) mse {
			return mse{vpn(d, 110+d.IntN(300)), vpn(d, 110+d.IntN(300)), vpn(d, 120), vpn(d, 500)}
		},
		"a protocol with hellos of one size": func(d dice, n int) mse {
			return mse{d.bytes(160), d.bytes(128), d.bytes(90), d.bytes(200)}
		},
		"a protocol whose server's hello varies": func(d dice, n int) mse {
			return mse{d.bytes(160), d.bytes(100 + d.IntN(400)), d.bytes(90), d.bytes(200)}
		},
		"RLPx before EIP-8": func(d dice, n int) mse {
			return mse{d.bytes(rlpxAuth), d.bytes(rlpxAck), d.bytes(100 + d.IntN(100)), d.bytes(200)}
		},
	} {
		for seed := range uint64(15) {
			d := newDice(seed)
			w := newTap(Config{})
			servers := 8
			if strings.HasPrefix(name, "shadowsocks with small") {
				servers = 2 // with more, chance makes three that fit before one that does not
			}
			for n := range 32 {
				server := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(n % servers), 9}), uint16(8388+seed))
				s := w.connect(d.near(false), server)
				s.shake(d, flights(d, n), 1400)
			}
			w.Flush()
			for _, f := range w.flows {
				if f.Label == LabelBitTorrent && f.Confidence != Hint || f.Label == LabelWinny {
					t.Errorf("%s, seed %d: %+v", name, seed, f)
				}
			}
		}
	}
}

// winnyHello is what one side of Winny sends first: the key, and a first block
// with commands behind it.
func (d dice) winnyHello(key []byte) []byte {
	c, err := rc4.NewCipher(winnyString(key))
	if err != nil {
		panic(err)
	}
	version := append(binary.LittleEndian.AppendUint32(nil, 12710), "Winny Ver2.0b1  "...)
	inner, _ := rc4.NewCipher([]byte("98789asj"))
	inner.XORKeyStream(version, version)
	block := append([]byte{1, 0, 0, 0, 0x61, 0x15, 0, 0, 0, 0}, version...)
	c.XORKeyStream(block, block)
	return append(append(d.bytes(2), key...), block...)
}

func TestEveryWinnyIsFound(t *testing.T) {
	for seed := range uint64(300) {
		d := newDice(seed)
		w := newTap(Config{})
		key := d.bytes(4)
		if seed%4 == 1 {
			key[d.IntN(4)] = 0
		}
		a, b := d.near(seed%5 == 4), d.far(0, seed%5 == 4)
		s := w.connect(a, b)
		side := int(seed % 2)
		hello := d.winnyHello(key)
		if seed%3 == 0 { // the other side says something first that is nothing
			s.send(1-side, string(d.bytes(3)))
		}
		s.parts(d, side, hello, []int{2000, 11, 6, 1}[d.IntN(4)])
		f := w.last(t, a, b)
		if f.Label != LabelWinny || f.Rule != RuleWinny || f.Confidence != Certain || string(f.Proof) != string(hello[:winnySize]) {
			t.Errorf("seed %d, key %x: %+v", seed, key, f)
		}
	}
}

func TestWinnyVector(t *testing.T) {
	var v verdict // the doctest of Pyny
	if !classifyWinny([]byte("\x11\x22\xd2\x46\xad\x10\xdc\x9a\x1e\xf9\x71"), &v) {
		t.Error("the published vector is not recognised")
	}
	d := newDice(1)
	for range 200000 {
		if classifyWinny(d.bytes(11), &v) {
			t.Error("chance was taken for Winny")
		}
	}
}

// TestShareBehaviour: there is no sample of Share, so this shows only that
// the rule does what it says.
func TestShareBehaviour(t *testing.T) {
	d := newDice(3)
	w := newTap(Config{})
	prefix := d.bytes(sharePrefix)
	greet := func(n int, prefix []byte) netip.AddrPort {
		b := d.far(n, false)
		s := w.connect(d.near(false), b)
		s.send(1, string(append(append([]byte(nil), prefix...), d.bytes(shareGreeting-sharePrefix)...)))
		s.send(0, string(d.bytes(40)))
		return b
	}
	var servers []netip.AddrPort
	for n := range 3 {
		servers = append(servers, greet(n, prefix))
	}
	other := greet(4, d.bytes(sharePrefix))
	w.Flush()
	for _, b := range append(servers, other) {
		for _, f := range w.flows {
			if f.Dst == b && f.Phase == End && (f.Label == LabelShare) != (b != other) {
				t.Errorf("%+v", f)
			}
		}
	}
}

// TestUnknownNetworkBehaviour: random bytes in both directions on many ports
// are a hint at Perfect Dark and no more; a proxy's client is none.
func TestUnknownNetworkBehaviour(t *testing.T) {
	for name, tt := range map[string]struct{ in, out, want int }{
		"both directions": {5, 5, 10}, "a client": {0, 9, 0}, "a server": {9, 0, 0},
	} {
		d := newDice(9)
		w := newTap(Config{})
		open := func(a, b netip.AddrPort) {
			w.connect(a, b).shake(d, mse{d.bytes(700), d.bytes(900), d.bytes(300), d.bytes(40)}, 1400)
		}
		for n := range tt.in {
			a := d.far(n, false)
			open(a, netip.MustParseAddrPort("10.20.30.40:24000"))
		}
		for n := range tt.out {
			open(d.near(false), d.far(50+n, false))
		}
		w.Flush()
		found := 0
		for _, f := range w.flows {
			if f.Label == LabelPerfectDark && f.Confidence == Hint {
				found++
			} else if f.Label != "" {
				t.Errorf("%s: %+v", name, f)
			}
		}
		if found != tt.want {
			t.Errorf("%s: %d hints, want %d", name, found, tt.want)
		}
	}
}
