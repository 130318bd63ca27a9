// Package leaf is what the ledger stores: digests, never personal data.
//
// In: the canonical bytes of a record. Out: a Leaf that names the record and
// binds its content. Always true: standard library only, so that the agent,
// the stages and the offline verifier can all use it; equal records give equal
// leaves on every machine.
package leaf

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

// Leaf is one line of the ledger.
type Leaf struct {
	Type   string    `json:"type"`   // what kind of record: entry, segment, bag, order, approval, document, login, …
	Ref    string    `json:"ref"`    // which one, e.g. "in-…/7"; never a name or an address of a person
	Digest string    `json:"digest"` // hex SHA-256 of the record, see Digest
	At     time.Time `json:"at"`     // when the record was made, UTC
}

// Digest returns the hex SHA-256 of the canonical JSON of record. Go writes
// struct fields in order and map keys sorted, so the bytes are stable as long
// as the type is. A record that holds personal or guessable text must carry a
// random salt field (see Salt), so that its digest cannot be tried out.
func Digest(record any) (string, error) {
	b, err := json.Marshal(record)
	if err != nil {
		return "", fmt.Errorf("digest of %T: %w", record, err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// Salt returns 16 random bytes in hex.
func Salt() string {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic("leaf: no randomness: " + err.Error())
	}
	return hex.EncodeToString(b[:])
}

// Of makes the leaf of a record.
func Of(kind, ref string, at time.Time, record any) (Leaf, error) {
	d, err := Digest(record)
	if err != nil {
		return Leaf{}, err
	}
	return Leaf{Type: kind, Ref: ref, Digest: d, At: at.UTC()}, nil
}
