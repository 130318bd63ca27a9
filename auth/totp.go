package auth

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/pquerna/otp/hotp"
	"github.com/pquerna/otp/totp"
)

// Time steps of the second factor (RFC 6238).
const (
	stepSeconds = 30
	stepSkew    = 1 // steps that the telephone's clock may be off
)

// newTOTP makes a secret, 160 bits in base32.
func newTOTP() (string, error) {
	b := make([]byte, 20)
	if _, err := rand.Read(b); err != nil {
		return "", fmt.Errorf("make second factor: %w", err)
	}
	return base32.StdEncoding.EncodeToString(b), nil
}

// totpURL is what telephones scan to learn a secret. The first administrator
// has not chosen a log-in name yet.
func totpURL(secret, login string) (string, error) {
	if login == "" {
		login = "administrator"
	}
	raw, err := base32.StdEncoding.DecodeString(secret)
	if err != nil {
		return "", fmt.Errorf("second factor: %w", err)
	}
	key, err := totp.Generate(totp.GenerateOpts{Issuer: "Sonae", AccountName: login, Secret: raw})
	if err != nil {
		return "", fmt.Errorf("second factor: %w", err)
	}
	return key.URL(), nil
}

// matchCode returns the time step to which code belongs. Steps up to and
// including used do not count any more.
func matchCode(secret, code string, at time.Time, used int64) (step int64, ok bool) {
	code = strings.Join(strings.Fields(code), "") // telephones show "123 456"
	now := at.Unix() / stepSeconds
	for s := now - stepSkew; s <= now+stepSkew; s++ {
		want, err := hotp.GenerateCode(secret, uint64(s))
		if err != nil {
			return 0, false
		}
		if subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 && s > used {
			step, ok = s, true
		}
	}
	return step, ok
}

// sealTOTP encrypts a secret for the row of owner.
func (k *Keeper) sealTOTP(secret, owner string) (string, error) {
	b, err := k.keys.Seal([]byte(secret), []byte("auth.totp/"+owner))
	if err != nil {
		return "", err
	}
	return base64.RawStdEncoding.EncodeToString(b), nil
}

func (k *Keeper) unsealTOTP(sealed, owner string) (string, error) {
	b, err := base64.RawStdEncoding.DecodeString(sealed)
	if err != nil {
		return "", fmt.Errorf("second factor of %s: %w", owner, err)
	}
	plain, err := k.keys.Unseal(b, []byte("auth.totp/"+owner))
	if err != nil {
		return "", fmt.Errorf("second factor of %s: %w", owner, err)
	}
	return string(plain), nil
}
