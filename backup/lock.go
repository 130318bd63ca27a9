package backup

import (
	"bytes"
	"fmt"
	"strings"

	"filippo.io/age"

	"github.com/sonae/sonae/fault"
)

// Lock is for whom a backup is encrypted.
type Lock struct{ recipients []age.Recipient }

// Key is what opens a backup.
type Key struct{ identities []age.Identity }

// Recipients makes a Lock of public keys (age1…), of which any one opens the
// backup later.
func Recipients(keys ...string) (Lock, error) {
	if len(keys) == 0 {
		return Lock{}, fault.New(fault.Invalid, "backup.recipient", "")
	}
	list, err := age.ParseRecipients(strings.NewReader(strings.Join(keys, "\n")))
	if err != nil {
		return Lock{}, fault.New(fault.Invalid, "backup.recipient", strings.Join(keys, ", ")).With(err)
	}
	return Lock{list}, nil
}

// minPassphrase is the shortest passphrase, in bytes: the file may be tried
// out by whoever has a copy.
const minPassphrase = 12

// PassphraseLock makes a Lock of a passphrase, whose line end does not count.
func PassphraseLock(text []byte) (Lock, error) {
	text = bytes.TrimRight(text, "\r\n")
	if len(text) < minPassphrase {
		return Lock{}, fault.New(fault.Invalid, "backup.passphrase", minPassphrase)
	}
	r, err := age.NewScryptRecipient(string(text))
	if err != nil {
		return Lock{}, fmt.Errorf("passphrase: %w", err)
	}
	return Lock{[]age.Recipient{r}}, nil
}

// PassphraseKey is the inverse of PassphraseLock.
func PassphraseKey(text []byte) (Key, error) {
	id, err := age.NewScryptIdentity(string(bytes.TrimRight(text, "\r\n")))
	if err != nil {
		return Key{}, fault.New(fault.Invalid, "backup.passphrase", minPassphrase).With(err)
	}
	return Key{[]age.Identity{id}}, nil
}

// Identities reads the private keys of a file (AGE-SECRET-KEY-…).
func Identities(text []byte) (Key, error) {
	list, err := age.ParseIdentities(bytes.NewReader(text))
	if err != nil {
		return Key{}, fault.New(fault.Invalid, "backup.identity") // not the cause: it may hold a part of the key
	}
	return Key{list}, nil
}

// NewIdentity makes a private key, as the text of a file for Identities, and
// the public key that belongs to it.
func NewIdentity() (text []byte, recipient string, err error) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, "", fmt.Errorf("new key: %w", err)
	}
	recipient = id.Recipient().String()
	return fmt.Appendf(nil, "# public key: %s\n%s\n", recipient, id), recipient, nil
}

// Order asks a running hub for a backup, over the socket that only its owner
// can open.
type Order struct {
	Recipients []string `json:"recipients,omitempty"`
	Passphrase []byte   `json:"passphrase,omitempty"`
}

// DigestTrailer is where the answer to an Order says what Made.Digest is.
const DigestTrailer = "Sonae-Digest"

// Lock makes the Lock that is asked for: a passphrase stands alone, by the
// rules of the file.
func (o Order) Lock() (Lock, error) {
	switch {
	case len(o.Passphrase) > 0 && len(o.Recipients) > 0:
		return Lock{}, fault.New(fault.Invalid, "backup.one-lock")
	case len(o.Passphrase) > 0:
		return PassphraseLock(o.Passphrase)
	}
	return Recipients(o.Recipients...)
}
