package restic

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"time"

	"golang.org/x/crypto/scrypt"
)

// maxKeyFile bounds a key file and the file config, in bytes; restic's have
// about 450 and 155.
const maxKeyFile = 64 << 10

// Bounds of scrypt: who can write a key file must not be able to stop the
// reader with it. restic chooses 32 MiB and about half a second.
const (
	maxScryptMemory = 256 << 20 // 128·N·r bytes
	maxScryptWork   = 1 << 24   // N·r·p: about ten times what restic chooses
)

// KeyFile is a file of keys/: the master key, sealed with a password. Nothing
// in it but Data is protected against change.
type KeyFile struct {
	Created  time.Time `json:"created"`
	Username string    `json:"username"`
	Hostname string    `json:"hostname"`
	KDF      string    `json:"kdf"`
	N        int       `json:"N"`
	R        int       `json:"r"`
	P        int       `json:"p"`
	Salt     []byte    `json:"salt"`
	Data     []byte    `json:"data"`
}

// ParseKeyFile reads a key file and refuses parameters that are out of bounds.
func ParseKeyFile(raw []byte) (*KeyFile, error) {
	if len(raw) > maxKeyFile {
		return nil, fmt.Errorf("a key file of %d bytes, more than %d", len(raw), maxKeyFile)
	}
	var f KeyFile
	if err := decodeBytes(raw, &f); err != nil {
		return nil, err
	}
	return &f, f.check()
}

func (f *KeyFile) check() error {
	switch {
	case f.KDF != "scrypt":
		return fmt.Errorf("key derivation %.20q is not scrypt", f.KDF)
	case f.N < 2 || f.N > maxScryptMemory || bits.OnesCount(uint(f.N)) != 1:
		return fmt.Errorf("scrypt: N = %d is not a power of two in bounds", f.N)
	case f.R < 1 || f.P < 1 || f.R > maxScryptWork || f.P > maxScryptWork:
		return fmt.Errorf("scrypt: r = %d, p = %d are out of bounds", f.R, f.P)
	case 128*uint64(f.N)*uint64(f.R) > maxScryptMemory || uint64(f.N)*uint64(f.R) > maxScryptWork/uint64(f.P):
		return fmt.Errorf("scrypt: N = %d, r = %d, p = %d ask for more memory or work than is allowed", f.N, f.R, f.P)
	case len(f.Salt) < 16:
		return fmt.Errorf("scrypt: a salt of %d bytes is too short", len(f.Salt))
	case len(f.Data) < Overhead:
		return fmt.Errorf("%d bytes of sealed key are too few", len(f.Data))
	}
	return nil
}

// Open unseals the master key: ErrPassword when the password is another one.
func (f *KeyFile) Open(password string) (*Key, error) {
	text, err := f.master(password)
	if err != nil {
		return nil, err
	}
	return parseMaster(text)
}

// master unseals the text of the master key.
func (f *KeyFile) master(password string) ([]byte, error) {
	user, err := f.user(password)
	if err != nil {
		return nil, err
	}
	text, err := user.open(append([]byte(nil), f.Data...))
	if errors.Is(err, ErrMAC) {
		return nil, ErrPassword
	}
	return text, err
}

// user derives the key that seals the master key.
func (f *KeyFile) user(password string) (*Key, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	b, err := scrypt.Key([]byte(password), f.Salt, f.N, f.R, f.P, 64)
	if err != nil {
		return nil, fmt.Errorf("scrypt: %w", err)
	}
	return newKey(b[:32], b[32:48], b[48:])
}

// saltSize is how long restic's own salts are.
const saltSize = 64

// Again returns the bytes of a second key file for the same master key, which
// another password opens: a key for the safe. It costs as much work to try out
// as the first one. who is told to whoever lists the keys.
func (f *KeyFile) Again(password, second, who string, now time.Time) ([]byte, error) {
	text, err := f.master(password)
	if err != nil {
		return nil, err
	}
	out := KeyFile{Created: now, Username: who, Hostname: who, KDF: f.KDF, N: f.N, R: f.R, P: f.P}
	return out.seal(second, text)
}

// seal seals the text of a master key and returns the bytes of the file.
func (f KeyFile) seal(password string, text []byte) ([]byte, error) {
	f.Salt, f.Data = make([]byte, saltSize), make([]byte, Overhead)
	if _, err := rand.Read(f.Salt); err != nil {
		return nil, err
	}
	user, err := f.user(password)
	if err != nil {
		return nil, err
	}
	if f.Data, err = user.seal(text); err != nil {
		return nil, err
	}
	return json.Marshal(f)
}

// masterKey is the text of a master key.
type masterKey struct {
	MAC struct {
		K []byte `json:"k"`
		R []byte `json:"r"`
	} `json:"mac"`
	Encrypt []byte `json:"encrypt"`
}

func parseMaster(text []byte) (*Key, error) {
	var m masterKey
	if err := decodeBytes(text, &m); err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	k, err := newKey(m.Encrypt, m.MAC.K, m.MAC.R)
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	return k, nil
}
