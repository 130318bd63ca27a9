package segment

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// Sum is a digest of a set of events that does not depend on their order and
// that can be added up: the sum of the parts is the sum of the whole. So it
// can be told that merging, which spreads the events of one segment over
// others by day and kind, lost, changed and invented nothing.
//
// It is LtHash with 1,024 lanes of 16 bits (M. Bellare, D. Micciancio, "A new
// paradigm for collision-free hashing: incrementality at reduced cost",
// EUROCRYPT 1997; parameters of K. Lewi, W. Kim, I. Maykov, S. Weis, "Securing
// update propagation with homomorphic hashing", 2019, ePrint 2019/227, which
// puts them above 200 bits). A plain sum of 256-bit digests would not do:
// D. Wagner's generalised birthday attack (CRYPTO 2002) finds other events with
// the same sum. Each event is spread over the lanes by AES-256 in counter mode
// under its SHA-256, instead of BLAKE2Xb, because processors do both in
// hardware.
//
// The zero value is the sum of no events.
type Sum struct {
	Rows  int64
	lanes [sumWords]uint64 // four lanes each
}

const (
	sumBytes = 2048
	sumWords = sumBytes / 8
)

// Add adds the events of another sum.
func (s *Sum) Add(o *Sum) {
	s.Rows += o.Rows
	for i, v := range o.lanes {
		s.lanes[i] = addLanes(s.lanes[i], v)
	}
}

// addLanes adds four 16-bit numbers each without carry from one to the next.
func addLanes(x, y uint64) uint64 {
	const top = 0x8000_8000_8000_8000
	return ((x &^ top) + (y &^ top)) ^ ((x ^ y) & top)
}

// Digest returns a short digest of the sum, hexadecimal: SHA-256 over the
// number of events and the lanes.
func (s *Sum) Digest() string {
	b := make([]byte, 0, 32+sumBytes)
	b = append(b, "sonae segment sum 1\n"...)
	b = binary.LittleEndian.AppendUint64(b, uint64(s.Rows))
	for _, v := range s.lanes {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	d := sha256.Sum256(b)
	return hex.EncodeToString(d[:])
}

// summer adds rows to sums; it keeps its buffers.
type summer struct {
	event  []byte
	stream [sumBytes]byte
}

var zeros [sumBytes]byte

func (m *summer) add(s *Sum, r *Row) error {
	m.event = r.canonical(m.event[:0])
	seed := sha256.Sum256(m.event)
	block, err := aes.NewCipher(seed[:])
	if err != nil {
		return fmt.Errorf("sum of events: %w", err)
	}
	var iv [aes.BlockSize]byte
	cipher.NewCTR(block, iv[:]).XORKeyStream(m.stream[:], zeros[:])
	for i := range s.lanes {
		s.lanes[i] = addLanes(s.lanes[i], binary.LittleEndian.Uint64(m.stream[8*i:]))
	}
	s.Rows++
	return nil
}

// canonical appends what is said of an event, independent of the columns it
// lies in: a field that gets a column of its own in a later release does not
// change it.
func (r *Row) canonical(b []byte) []byte {
	b = append(b, 1) // version of this encoding
	b = binary.LittleEndian.AppendUint64(b, uint64(r.Time))
	b = binary.LittleEndian.AppendUint64(b, uint64(r.Ingested))
	b = appendText(b, r.Batch)
	b = binary.AppendUvarint(b, uint64(uint32(r.Row)))
	for _, s := range [...]string{r.ID, r.Site, r.Host, r.Kind, r.Product, r.Category, r.Service, r.Raw} {
		b = appendText(b, s)
	}
	if r.Drill {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	r.eachField(func(name, value string) {
		b = appendText(appendText(b, name), value)
	})
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}
