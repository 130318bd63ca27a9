package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/sonae/sonae/event"
)

// Stamp is what the hub knows of the sender of a batch, whatever that says. It
// stands before the batch on the bus, which so need not be encoded again.
type Stamp struct {
	Site string    `json:"site"`
	Host string    `json:"host"`
	At   time.Time `json:"at"` // when it came, by the clock of the hub
}

// stampMagic begins a stamped batch; no zstd frame does.
const (
	stampMagic  = "SONAEB1\n"
	stampHeader = len(stampMagic) + 2
)

// Stamped returns a batch, which CheckBatch accepted, with its stamp.
func Stamped(s Stamp, batch []byte) ([]byte, error) {
	text, err := json.Marshal(s)
	if err == nil && len(text) > 1<<16-1 {
		err = ErrTooLarge
	}
	if err != nil {
		return nil, fmt.Errorf("stamp batch: %w", err)
	}
	out := make([]byte, 0, stampHeader+len(text)+len(batch))
	out = append(out, stampMagic...)
	out = binary.BigEndian.AppendUint16(out, uint16(len(text)))
	return append(append(out, text...), batch...), nil
}

// DecodeStamped reads what Stamped returned: site, host, ids of events and the
// drill mark are those of the stamp, and times are such that 64 bits hold their
// nanoseconds. A batch without a stamp, as the hub makes for drills and as
// release 0.1 left on the bus, is read as it is. The bounds and errors are
// those of DecodeBatch.
func DecodeStamped(data []byte) (event.Batch, error) {
	rest, stamped := bytes.CutPrefix(data, []byte(stampMagic))
	if !stamped {
		return DecodeBatch(data)
	}
	n := 0
	if len(rest) >= 2 {
		n = 2 + int(binary.BigEndian.Uint16(rest))
	}
	if n == 0 || len(rest) < n {
		return event.Batch{}, errors.New("decode stamped batch: the stamp ends early")
	}
	var s Stamp
	if err := json.Unmarshal(rest[2:n], &s); err != nil {
		return event.Batch{}, fmt.Errorf("decode stamped batch: %w", err)
	}
	b, _, err := decode(rest[n:], true, &s)
	return b, err
}

// mark makes a batch the sender's own, apart from its events.
func (s *Stamp) mark(b *event.Batch) {
	b.Site, b.Host, b.SentAt = s.Site, s.Host, Plausible(b.SentAt, s.At)
}

// own makes a batch the sender's own.
func (s *Stamp) own(b *event.Batch) {
	s.mark(b)
	for i := range b.Events {
		e := &b.Events[i]
		e.ID, e.Site, e.Host, e.Drill = b.ID+"-"+strconv.Itoa(i), s.Site, s.Host, false
		e.Time = Plausible(e.Time, s.At)
	}
}

// Plausible replaces a time that nanoseconds in 64 bits cannot hold by now. A
// clock that is merely wrong is kept: what the machine believed is a fact, too.
func Plausible(t, now time.Time) time.Time {
	if y := t.Year(); y < 1970 || y > 2200 {
		return now
	}
	return t.UTC()
}
