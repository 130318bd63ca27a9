package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/sonae/sonae/event"
)

// Limits of a batch.
const (
	MaxBatch    = 4 << 20  // bytes on the wire
	MaxDecoded  = 32 << 20 // bytes after decompression
	MaxPerBatch = 20000    // events
	MaxEvent    = 1 << 20  // bytes of one event as JSON
	MaxFields   = 600000   // fields of all events together
)

// ErrTooLarge says that a batch exceeds one of the limits.
var ErrTooLarge = errors.New("batch exceeds a limit")

// EncodeBatch writes a batch as zstd-compressed JSON.
func EncodeBatch(b event.Batch) ([]byte, error) {
	if len(b.Events) > MaxPerBatch {
		return nil, fmt.Errorf("encode batch %s: %d events, more than %d: %w", b.ID, len(b.Events), MaxPerBatch, ErrTooLarge)
	}
	var out bytes.Buffer
	z, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
	if err != nil {
		return nil, fmt.Errorf("encode batch: %w", err)
	}
	if err := json.NewEncoder(z).Encode(b); err != nil {
		return nil, fmt.Errorf("encode batch %s: %w", b.ID, err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("encode batch %s: %w", b.ID, err)
	}
	if out.Len() > MaxBatch {
		return nil, fmt.Errorf("encode batch %s: %d bytes, more than %d: %w", b.ID, out.Len(), MaxBatch, ErrTooLarge)
	}
	return out.Bytes(), nil
}

// envelope is a batch whose events are still text, so that they can be counted
// before they take memory.
type envelope struct {
	event.Batch
	Events json.RawMessage `json:"events"`
}

// DecodeBatch reads what EncodeBatch wrote. Whatever data holds, it needs a
// small multiple of MaxDecoded bytes of memory: the number of events, the size
// of each and the number of their fields are bounded while they are read. An
// error that wraps ErrTooLarge names the limit; any other means that data is
// no batch.
func DecodeBatch(data []byte) (event.Batch, error) {
	b, _, err := decode(data, true, nil)
	return b, err
}

// CheckBatch reads a batch without keeping its events: the errors are those of
// DecodeBatch.
func CheckBatch(data []byte) (id string, events int, err error) {
	b, events, err := decode(data, false, nil)
	return b.ID, events, err
}

// decode reads a batch. Without build, the events need not be in it.
func decode(data []byte, build bool, stamp *Stamp) (b event.Batch, events int, err error) {
	err = decompressed(data, func(text []byte) (err error) {
		q := quick{text: text, build: build, stamp: stamp, known: map[string]string{}}
		var ok bool
		if b, events, ok = q.batch(); ok {
			if stamp != nil {
				stamp.mark(&b)
			}
			return nil
		}
		if b, err = decodeAny(text); err == nil && stamp != nil {
			stamp.own(&b)
		}
		events = len(b.Events)
		return err
	})
	if err != nil {
		return event.Batch{}, 0, err
	}
	return b, events, nil
}

// decodeAny reads every JSON text that is a batch.
func decodeAny(text []byte) (event.Batch, error) {
	var e envelope
	if err := json.Unmarshal(text, &e); err != nil {
		return event.Batch{}, fmt.Errorf("decode batch: %w", err)
	}
	b := e.Batch
	var err error
	if b.Events, err = decodeEvents(e.Events); err != nil {
		return event.Batch{}, fmt.Errorf("decode batch %.64q: %w", b.ID, err)
	}
	return b, nil
}

// unpacker is shared: it keeps its tables.
var unpacker = func() *zstd.Decoder {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(MaxDecoded), zstd.WithDecoderMaxWindow(8<<20))
	if err != nil {
		panic("wire: decoder: " + err.Error()) // the options are constants
	}
	return z
}()

// texts are buffers of decompressed batches, none larger than usualText.
var texts = sync.Pool{New: func() any { return new([]byte) }}

const usualText = 1 << 20

// decompressed calls f with the text of a batch, which f must not keep.
func decompressed(data []byte, f func(text []byte) error) error {
	if len(data) > MaxBatch {
		return fmt.Errorf("decode batch: %d bytes, more than %d: %w", len(data), MaxBatch, ErrTooLarge)
	}
	buf := texts.Get().(*[]byte)
	defer texts.Put(buf)
	text, err := unpacker.DecodeAll(data, (*buf)[:0])
	if err != nil || len(text) > MaxDecoded {
		if text, err = decompress(data); err != nil { // which knows the reasons
			return fmt.Errorf("decode batch: %w", err)
		}
	}
	if cap(text) <= usualText {
		*buf = text
	}
	return f(text)
}

func decompress(data []byte) ([]byte, error) {
	z, err := zstd.NewReader(bytes.NewReader(data), zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderMaxMemory(MaxDecoded), zstd.WithDecoderMaxWindow(8<<20))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	text, err := io.ReadAll(io.LimitReader(z, MaxDecoded+1))
	switch {
	case errors.Is(err, zstd.ErrDecoderSizeExceeded), errors.Is(err, zstd.ErrWindowSizeExceeded), len(text) > MaxDecoded:
		return nil, fmt.Errorf("more than %d bytes after decompression: %w", MaxDecoded, ErrTooLarge)
	case err != nil:
		return nil, err
	}
	return text, nil
}

// decodeEvents reads a JSON array of events one by one.
func decodeEvents(text []byte) ([]event.Event, error) {
	if len(text) == 0 || string(text) == "null" {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return nil, errors.New("events are no array")
	}
	var out []event.Event
	fields := 0
	for d.More() {
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return nil, fmt.Errorf("event %d at offset %d: %w", len(out), d.InputOffset(), err)
		}
		if len(out) == MaxPerBatch || len(raw) > MaxEvent {
			return nil, fmt.Errorf("event %d of %d bytes: %w", len(out), len(raw), ErrTooLarge)
		}
		var e event.Event
		if err := json.Unmarshal(raw, &e); err != nil {
			return nil, fmt.Errorf("event %d at offset %d: %w", len(out), d.InputOffset(), err)
		}
		if fields += len(e.Fields); fields > MaxFields {
			return nil, fmt.Errorf("event %d: more than %d fields: %w", len(out), MaxFields, ErrTooLarge)
		}
		out = append(out, e)
	}
	return out, nil
}
