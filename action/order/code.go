package order

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// CodeHash returns what Order.CodeHash holds for a release code. A person
// types the code from paper, so case, spaces and hyphens do not matter, and
// the letters that Crockford's base 32 leaves out count as the digits they
// are taken for (O is 0; I and L are 1).
func CodeHash(code string) string {
	plain := strings.Map(func(r rune) rune {
		switch r {
		case ' ', '-', '\t', '\r', '\n', '−', '‐', '　':
			return -1
		case 'O':
			return '0'
		case 'I', 'L':
			return '1'
		}
		return r
	}, strings.ToUpper(code))
	sum := sha256.Sum256([]byte(plain))
	return hex.EncodeToString(sum[:])
}
