package flow

// Winny opens every connection with two bytes that mean nothing, four bytes of
// RC4 key, and from then on a stream of blocks encrypted with it: a length of
// four bytes, lowest first, and a command of one byte. The first block of both
// sides is a command 0x61 of length 1. The key is a C string: it ends at its
// first zero byte (binzume.net/library/winny03.html; arufa.wordpress.com,
// 2008-08-10; the doctest of Pyny).
const (
	winnyKey   = 2
	winnyBlock = winnyKey + 4
	winnySize  = winnyBlock + 5
)

// classifyWinny reports whether b begins with the first block of Winny. Of
// random bytes one beginning in 2^40 does.
func classifyWinny(b []byte, v *verdict) bool {
	if len(b) < winnySize {
		return false
	}
	want := [5]byte{1, 0, 0, 0, 0x61}
	var stream [5]byte
	rc4Start(winnyString(b[winnyKey:winnyBlock]), &stream)
	for i, c := range stream {
		if b[winnyBlock+i]^c != want[i] {
			return false
		}
	}
	*v = verdict{app: appWinny, rule: ruleWinny, proof: b[:winnySize]}
	return true
}

// winnyString cuts a key at its first zero byte; a key that begins with one is
// that byte.
func winnyString(key []byte) []byte {
	for n, c := range key {
		if c == 0 {
			return key[:max(n, 1)]
		}
	}
	return key
}

// rc4Start fills out with the first bytes of the RC4 stream of key. It stands
// here because crypto/rc4 puts each cipher on the heap, and this runs for every
// connection that is not recognised.
func rc4Start(key []byte, out *[5]byte) {
	var s [256]byte
	for i := range s {
		s[i] = byte(i)
	}
	j, k := byte(0), 0
	for i := range s {
		j += s[i] + key[k]
		s[i], s[j] = s[j], s[i]
		if k++; k == len(key) {
			k = 0
		}
	}
	j = 0
	for n := range out {
		i := byte(n + 1)
		j += s[i]
		s[i], s[j] = s[j], s[i]
		out[n] = s[s[i]+s[j]]
	}
}
