package backup

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/sonae/sonae/fault"
)

// maxSealed bounds a sealed text, in bytes.
const maxSealed = 64 << 10

// SealText encrypts a short text for whoever holds the keys of the lock, as text
// that can be printed: the program age opens it too (age -d -i KEY).
func SealText(l Lock, plain string) (string, error) {
	var out bytes.Buffer
	a := armor.NewWriter(&out)
	w, err := age.Encrypt(a, l.recipients...)
	if err != nil {
		return "", fmt.Errorf("seal text: %w", err)
	}
	if _, err := io.WriteString(w, plain); err != nil {
		return "", fmt.Errorf("seal text: %w", err)
	}
	if err := errors.Join(w.Close(), a.Close()); err != nil {
		return "", fmt.Errorf("seal text: %w", err)
	}
	return out.String(), nil
}

// OpenText is the inverse of SealText: fault.Denied "backup.key" when the key
// is none of those, fault.Invalid "backup.foreign" when it is no such text.
func OpenText(k Key, sealed string) (string, error) {
	if len(sealed) > maxSealed {
		return "", fault.New(fault.Invalid, "backup.foreign").With(fmt.Errorf("%d bytes", len(sealed)))
	}
	r, err := age.Decrypt(armor.NewReader(strings.NewReader(sealed)), k.identities...)
	var wrong *age.NoIdentityMatchError
	if errors.As(err, &wrong) {
		return "", fault.New(fault.Denied, "backup.key")
	}
	if err != nil {
		return "", fault.New(fault.Invalid, "backup.foreign").With(err)
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxSealed))
	if err != nil {
		return "", fault.New(fault.Invalid, "backup.foreign").With(err)
	}
	return string(plain), nil
}
