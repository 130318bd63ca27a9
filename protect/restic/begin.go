package restic

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"github.com/restic/chunker"
)

// Work of a key that Begin makes (scrypt): a few milliseconds and 1 MiB. Work keeps
// a thief from trying out what people can remember, and costs every backup and
// every restore half a second. Nobody tries out 256 random bits.
const (
	beginN = 1 << 10
	beginR = 8
	beginP = 1
)

// Begin makes the two files with which a repository of format 2 begins, as `restic
// init` does: a key file, whose name is the SHA-256 of its bytes, and config.
// password must be made of 256 random bits. who is told to whoever lists the keys.
func Begin(password, who string, now time.Time) (key, config []byte, err error) {
	master := make([]byte, 64)
	if _, err := rand.Read(master); err != nil {
		return nil, nil, err
	}
	k, err := newKey(master[:32], master[32:48], master[48:])
	if err != nil {
		return nil, nil, err
	}
	var text masterKey
	text.Encrypt, text.MAC.K, text.MAC.R = master[:32], master[32:48], master[48:]
	raw, err := json.Marshal(text)
	if err != nil {
		return nil, nil, err
	}
	f := KeyFile{Created: now, Username: who, Hostname: who, KDF: "scrypt", N: beginN, R: beginR, P: beginP}
	if key, err = f.seal(password, raw); err != nil {
		return nil, nil, err
	}
	if raw, err = newConfig(); err != nil {
		return nil, nil, err
	}
	config, err = k.seal(raw)
	return key, config, err
}

// newConfig is the text of a new config: files are cut where a polynomial says that
// nobody else has.
func newConfig() ([]byte, error) {
	cut, err := chunker.RandomPolynomial()
	if err != nil {
		return nil, fmt.Errorf("choose where files are cut: %w", err)
	}
	c := Config{Version: 2, Polynomial: cut.String()[len("0x"):]}
	if _, err := rand.Read(c.ID[:]); err != nil {
		return nil, err
	}
	return json.Marshal(c)
}
