package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"github.com/sonae/sonae/fault"
)

// Length of a password in characters, after NIST SP 800-63B-4 §3.1.1: long,
// no rules about kinds of characters, and not one that everybody tries.
const (
	minPassword = 12
	maxPassword = 256
)

//go:embed denied.txt
var deniedText string

func deniedPasswords() map[string]bool {
	denied := map[string]bool{}
	for line := range strings.Lines(deniedText) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			denied[line] = true
		}
	}
	return denied
}

// checkPassword refuses passwords that are short, known or made from the
// log-in name.
func (k *Keeper) checkPassword(password, login string) error {
	lower := strings.ToLower(password)
	switch n := utf8.RuneCountInString(password); {
	case !utf8.ValidString(password) || n > maxPassword:
		return fault.New(fault.Invalid, "auth.password-long")
	case n < minPassword:
		return fault.New(fault.Invalid, "auth.password-short")
	case login != "" && strings.Contains(lower, login):
		return fault.New(fault.Invalid, "auth.password-login")
	case k.denied[lower] || repeats(lower) || counts(lower):
		return fault.New(fault.Invalid, "auth.password-common")
	}
	return nil
}

// repeats says whether text is one short piece over and over: abcabcabcabc.
func repeats(text string) bool {
	r := []rune(text)
	for unit := 1; unit <= 4; unit++ {
		same := true
		for i := unit; i < len(r) && same; i++ {
			same = r[i] == r[i-unit]
		}
		if same {
			return true
		}
	}
	return false
}

// counts says whether every character follows the one before it, up or down:
// 123456789012, abcdefghijkl.
func counts(text string) bool {
	r := []rune(text)
	up, down := true, true
	for i := 1; i < len(r); i++ {
		d := r[i] - r[i-1]
		up = up && (d == 1 || r[i-1] == '9' && r[i] == '0')
		down = down && (d == -1 || r[i-1] == '0' && r[i] == '9')
	}
	return up || down
}

// Cost of hashing (RFC 9106): about 80 ms and 64 MiB on one core of 2024. The
// numbers stand in every hash, so they can grow; older hashes are renewed at
// the next log-in.
const (
	hashTime    = 2
	hashMemory  = 64 << 10 // KiB
	hashThreads = 1
	hashBytes   = 32
)

func hashPassword(password string) (string, error) {
	salt := make([]byte, 16)
	if _, err := rand.Read(salt); err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	sum := argon2.IDKey([]byte(password), salt, hashTime, hashMemory, hashThreads, hashBytes)
	return encodeHash(hashTime, hashMemory, hashThreads, salt, sum), nil
}

func encodeHash(t, m uint32, p uint8, salt, sum []byte) string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, m, t, p, b64.EncodeToString(salt), b64.EncodeToString(sum))
}

// comparePassword says whether password belongs to hash, and whether hash was
// made at a lower cost than today's.
func comparePassword(hash, password string) (ok, weak bool, err error) {
	var version int
	var t, m uint32
	var p uint8
	parts := strings.Split(hash, "$")
	if len(parts) != 6 || parts[1] != "argon2id" {
		return false, false, errors.New("stored password is not argon2id")
	}
	if _, err := fmt.Sscanf(parts[2], "v=%d", &version); err != nil || version != argon2.Version {
		return false, false, errors.New("stored password has an unknown version")
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &m, &t, &p); err != nil || t == 0 || p == 0 || m > 1<<20 || t > 64 {
		return false, false, errors.New("stored password has an unusable cost")
	}
	salt, errSalt := base64.RawStdEncoding.DecodeString(parts[4])
	want, errSum := base64.RawStdEncoding.DecodeString(parts[5])
	if err := errors.Join(errSalt, errSum); err != nil || len(want) < 16 {
		return false, false, errors.New("stored password is damaged")
	}
	got := argon2.IDKey([]byte(password), salt, t, m, p, uint32(len(want)))
	return subtle.ConstantTimeCompare(got, want) == 1, t < hashTime || m < hashMemory, nil
}

// gate lets few hash at once, so that a flood of log-ins cannot take the
// memory, and few more wait.
type gate struct {
	running chan struct{}
	waiting chan struct{}
}

// At most this many hash and wait at once.
const (
	gateRunning = 2
	gateWaiting = 32
)

func newGate() gate {
	return gate{make(chan struct{}, gateRunning), make(chan struct{}, gateWaiting)}
}

// do runs f when it is its turn.
func (g gate) do(ctx context.Context, f func() error) error {
	select {
	case g.waiting <- struct{}{}:
		defer func() { <-g.waiting }()
	default:
		return fault.New(fault.Busy, "auth.busy")
	}
	select {
	case g.running <- struct{}{}:
		defer func() { <-g.running }()
	case <-ctx.Done():
		return ctx.Err()
	}
	return f()
}
