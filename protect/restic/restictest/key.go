package restictest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/crypto/poly1305" //lint:ignore SA1019 the format is Poly1305-AES, for which this is the part
	"golang.org/x/crypto/scrypt"
)

// cheap is what it costs to try a password out, as scrypt's N. restic lets it
// cost half a second, again for each call: most of what tests would wait for.
const cheap = 1 << 10

// cheapen seals the only key of a repository in a folder anew, so that its
// password is tried out quickly. It is a key as any other for who reads it.
func cheapen(t testing.TB, repo string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(repo, "keys", "*"))
	must(t, err)
	if len(names) != 1 {
		t.Fatalf("a new repository has %d keys", len(names))
	}
	raw, err := os.ReadFile(names[0])
	must(t, err)
	fields := map[string]json.RawMessage{} // all of them are kept
	must(t, json.Unmarshal(raw, &fields))
	var key struct {
		N, R, P    int
		Salt, Data []byte
	}
	must(t, json.Unmarshal(raw, &key))

	text := user(t, key.Salt, key.N, key.R, key.P).open(t, key.Data)
	_, _ = rand.Read(key.Salt) // has no error
	key.Data = user(t, key.Salt, cheap, key.R, 1).seal(t, text)
	for name, value := range map[string]any{"N": cheap, "p": 1, "salt": key.Salt, "data": key.Data} {
		fields[name], err = json.Marshal(value)
		must(t, err)
	}
	raw, err = json.Marshal(fields)
	must(t, err)
	sum := sha256.Sum256(raw)
	must(t, os.WriteFile(filepath.Join(repo, "keys", hex.EncodeToString(sum[:])), raw, 0o600))
	must(t, os.Remove(names[0]))
}

// box seals as restic does: a vector, AES-256 in counter mode, Poly1305-AES.
type box struct{ encrypt, k, r []byte }

const ends = 16 // bytes of the vector, and of the proof at the end

// user is the key that is made of the password.
func user(t testing.TB, salt []byte, n, r, p int) box {
	t.Helper()
	b, err := scrypt.Key([]byte(Password), salt, n, r, p, 64)
	must(t, err)
	return box{b[:32], b[32:48], b[48:]}
}

func (b box) open(t testing.TB, sealed []byte) []byte {
	t.Helper()
	if len(sealed) < 2*ends {
		t.Fatalf("a sealed key of %d bytes", len(sealed))
	}
	text := append([]byte(nil), sealed[ends:len(sealed)-ends]...)
	if string(b.proof(t, sealed[:ends], text)) != string(sealed[len(sealed)-ends:]) {
		t.Fatal("the key of a new repository is not sealed with the tests' password")
	}
	b.stream(t, sealed[:ends]).XORKeyStream(text, text)
	return text
}

func (b box) seal(t testing.TB, text []byte) []byte {
	t.Helper()
	iv := make([]byte, ends)
	_, _ = rand.Read(iv) // has no error
	sealed := append([]byte(nil), text...)
	b.stream(t, iv).XORKeyStream(sealed, sealed)
	return append(append(append([]byte(nil), iv...), sealed...), b.proof(t, iv, sealed)...)
}

func (b box) stream(t testing.TB, iv []byte) cipher.Stream {
	t.Helper()
	c, err := aes.NewCipher(b.encrypt)
	must(t, err)
	return cipher.NewCTR(c, iv)
}

func (b box) proof(t testing.TB, iv, sealed []byte) []byte {
	t.Helper()
	c, err := aes.NewCipher(b.k)
	must(t, err)
	var once [32]byte
	copy(once[:], b.r)
	c.Encrypt(once[16:], iv)
	var sum [ends]byte
	poly1305.Sum(&sum, sealed, &once)
	return sum[:]
}
