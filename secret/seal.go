package secret

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"
)

// sealVersion is the first byte of everything sealed.
const sealVersion = 1

var errUnseal = errors.New("sealed text is damaged, or was sealed with another key or for another purpose")

// Seal encrypts a small secret for storage. context says what it is and whose
// (for example "totp/pe-1"); Unseal needs the same, so that a sealed value
// cannot be moved to another row.
func (k *Keys) Seal(plain, context []byte) ([]byte, error) { return sealWith(k.data, plain, context) }

// Unseal is the inverse of Seal.
func (k *Keys) Unseal(sealed, context []byte) ([]byte, error) {
	return unsealWith(k.data, sealed, context)
}

// Mac returns a keyed digest (HMAC-SHA-256) of text, for looking something up
// without keeping it. purpose separates uses from each other.
func (k *Keys) Mac(purpose, text string) []byte {
	key := hmac.New(sha256.New, k.data)
	key.Write([]byte("sonae mac v1\x00" + purpose))
	mac := hmac.New(sha256.New, key.Sum(nil))
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

func sealWith(key, plain, context []byte) ([]byte, error) {
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	out := make([]byte, 1+aead.NonceSize(), 1+aead.NonceSize()+len(plain)+aead.Overhead())
	out[0] = sealVersion
	if _, err := rand.Read(out[1:]); err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return aead.Seal(out, out[1:], plain, context), nil
}

func unsealWith(key, sealed, context []byte) ([]byte, error) {
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, fmt.Errorf("unseal: %w", err)
	}
	if len(sealed) < 1+aead.NonceSize()+aead.Overhead() || sealed[0] != sealVersion {
		return nil, errUnseal
	}
	nonce, body := sealed[1:1+aead.NonceSize()], sealed[1+aead.NonceSize():]
	plain, err := aead.Open(nil, nonce, body, context)
	if err != nil {
		return nil, errUnseal
	}
	return plain, nil
}
