package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/sonae/sonae/ledger/leaf"
)

// key is the identity of a leaf: two leaves with the same key are the same
// record. 128 bits of SHA-256 keep the index small.
type key [16]byte

func keyOf(l leaf.Leaf) key {
	h := sha256.New()
	for _, s := range []string{l.Type, l.Ref, l.Digest} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	return key(h.Sum(nil)[:16])
}

// encode returns the canonical bytes of l: its JSON with the time in UTC.
func encode(l leaf.Leaf) ([]byte, error) {
	if l.Type == "" || !utf8.ValidString(l.Type) || !utf8.ValidString(l.Ref) {
		return nil, fmt.Errorf("leaf of type %q: type and ref must be text", l.Type)
	}
	if b, err := hex.DecodeString(l.Digest); err != nil || len(b) != sha256.Size || hex.EncodeToString(b) != l.Digest {
		return nil, fmt.Errorf("leaf of type %q: digest is not a SHA-256 in lower-case hex", l.Type)
	}
	l.At = l.At.UTC()
	b, err := json.Marshal(l)
	if err != nil {
		return nil, fmt.Errorf("leaf of type %q: %w", l.Type, err)
	}
	return b, nil
}

// decode reads what encode wrote and refuses any other spelling.
func decode(b []byte) (leaf.Leaf, error) {
	var l leaf.Leaf
	if err := json.Unmarshal(b, &l); err != nil {
		return l, fmt.Errorf("leaf: %w", err)
	}
	again, err := encode(l)
	if err != nil {
		return l, err
	}
	if !bytes.Equal(b, again) {
		return l, errors.New("leaf is not in canonical form")
	}
	return l, nil
}

// split cuts an entry bundle (tlog-tiles: 16-bit length, bytes, …) and returns
// the entries with the offset of each. After a damaged length it returns what
// came before and the offset at which it stopped.
func split(raw []byte) (entries [][]byte, offsets []int, err error) {
	for at := 0; at < len(raw); {
		if len(raw)-at < 2 {
			return entries, append(offsets, at), errors.New("half a length at the end")
		}
		end := at + 2 + int(binary.BigEndian.Uint16(raw[at:]))
		if end > len(raw) {
			return entries, append(offsets, at), fmt.Errorf("entry of %d bytes, %d are there", end-at-2, len(raw)-at-2)
		}
		entries, offsets = append(entries, raw[at+2:end]), append(offsets, at)
		at = end
	}
	return entries, append(offsets, len(raw)), nil
}
