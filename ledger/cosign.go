package ledger

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	fnote "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

// maxCosignatures bounds how many witnesses a checkpoint can carry.
const maxCosignatures = 16

// cosignatureSize is what the base64 of a cosignature/v1 line holds: the key's
// hash, the time, an Ed25519 signature (C2SP tlog-cosignature).
const cosignatureSize = 4 + 8 + ed25519.SignatureSize

// WitnessKey is the public key of a witness. The zero value is no key.
type WitnessKey struct {
	text     string
	verifier note.Verifier
}

// ParseWitnessKey reads a verifier key NAME+HASH+KEY for cosignature/v1 with
// Ed25519, as `sonae witness` prints it. A plain Ed25519 verifier key of other
// witnesses is taken too and converted.
func ParseWitnessKey(key string) (WitnessKey, error) {
	key = strings.TrimSpace(key)
	if converted, err := fnote.VKeyToCosignatureV1(key); err == nil {
		key = converted
	}
	v, err := fnote.NewVerifierForCosignatureV1(key)
	if err != nil {
		return WitnessKey{}, fmt.Errorf("witness key: %w", err)
	}
	_, rest, _ := strings.Cut(key, "+")
	_, b64, _ := strings.Cut(rest, "+")
	raw, err := base64.StdEncoding.Strict().DecodeString(b64)
	if err != nil || len(raw) != 1+ed25519.PublicKeySize || key != fmt.Sprintf("%s+%08x+%s", v.Name(), v.KeyHash(), b64) {
		return WitnessKey{}, errors.New("witness key: not an Ed25519 key for cosignatures, or its hash does not fit")
	}
	return WitnessKey{key, v}, nil
}

// WitnessSigner makes cosignatures with a private key in the format of
// golang.org/x/mod/sumdb/note, and tells the public key for them.
func WitnessSigner(signerKey string) (note.Signer, WitnessKey, error) {
	_, plain, err := keyPair(signerKey)
	if err != nil {
		return nil, WitnessKey{}, fmt.Errorf("witness %w", err)
	}
	signer, err := fnote.NewSignerForCosignatureV1(signerKey)
	if err != nil {
		return nil, WitnessKey{}, errors.New("witness signer key is not an Ed25519 key")
	}
	key, err := ParseWitnessKey(plain)
	return signer, key, err
}

// String returns the key as ParseWitnessKey reads it.
func (k WitnessKey) String() string { return k.text }

// Verifier checks cosignatures of this key.
func (k WitnessKey) Verifier() note.Verifier { return k.verifier }

// ID is the witness's name and the hash of its key: unique, and short enough
// for people.
func (k WitnessKey) ID() string {
	return fmt.Sprintf("%s+%08x", k.verifier.Name(), k.verifier.KeyHash())
}

// Bare returns the checkpoint without cosignatures.
func (c Checkpoint) Bare() Checkpoint {
	if end := c.own(); end > 0 {
		c.Text = c.Text[:end]
	}
	return c
}

// own returns where the log's own signature ends in the text.
func (c Checkpoint) own() int {
	head := strings.Index(c.Text, "\n\n")
	if head < 0 {
		return 0
	}
	return head + 2 + strings.IndexByte(c.Text[head+2:], '\n') + 1
}

// lines returns the cosignature lines.
func (c Checkpoint) lines() []string {
	var lines []string
	for line := range strings.Lines(c.Text[c.own():]) {
		lines = append(lines, line)
	}
	return lines
}

// Cosigned checks the cosignature of a witness and returns the time that the
// witness put into it, to the second. An error means that the checkpoint
// carries none by that key, or a wrong one.
func (c Checkpoint) Cosigned(by WitnessKey) (time.Time, error) {
	n, err := note.Open([]byte(c.Text), note.VerifierList(by.verifier))
	if err != nil {
		return time.Time{}, fmt.Errorf("cosignature of %s: %w", by.ID(), err)
	}
	at, err := fnote.CoSigV1Timestamp(n.Sigs[0])
	if err != nil {
		return time.Time{}, fmt.Errorf("cosignature of %s: %w", by.ID(), err)
	}
	return at.UTC(), nil
}

// with returns the checkpoint with the witness's line out of text, which may
// hold lines of others, and the time in it. Lines that c carries already stay.
func (c Checkpoint) with(text string, by WitnessKey) (Checkpoint, time.Time, error) {
	n, err := note.Open([]byte(c.Bare().Text+text), note.VerifierList(by.verifier))
	if err != nil {
		return c, time.Time{}, fmt.Errorf("cosignature of %s: %w", by.ID(), err)
	}
	sig, err := base64.StdEncoding.DecodeString(n.Sigs[0].Base64)
	if err != nil {
		return c, time.Time{}, fmt.Errorf("cosignature of %s: %w", by.ID(), err)
	}
	c.Text += line(by.verifier.Name(), sig)
	at, err := c.Cosigned(by)
	return c, at, err
}

// line spells a signature line in the one canonical way.
func line(name string, sig []byte) string {
	return "— " + name + " " + base64.StdEncoding.EncodeToString(sig) + "\n"
}

// cosignatureLine returns the canonical spelling of a line whose key is not
// known here, or an error when it cannot be a cosignature.
func cosignatureLine(s note.Signature) (string, error) {
	sig, err := base64.StdEncoding.DecodeString(s.Base64)
	if err != nil || len(sig) != cosignatureSize {
		return "", fmt.Errorf("checkpoint: the signature of %q is not a cosignature", s.Name)
	}
	return line(s.Name, sig), nil
}
