package sensor

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/sonae/sonae/flow"
	"github.com/sonae/sonae/source/pcap"
)

// ring keeps the newest packets in chunks of equal size, at most limit bytes
// with their record headers. A full chunk is never written again, so a reader
// holds on to the chunks it has seen while new ones take their place. Safe for
// concurrent use.
type ring struct {
	mu     sync.Mutex
	chunk  int
	most   int // chunks
	full   [][]byte
	filled []byte // the chunk being filled; its capacity is the chunk size
}

// recordHead is time, link, captured bytes and bytes on the wire.
const recordHead = 8 + 4 + 4 + 4

func newRing(limit int64) *ring {
	if limit < 0 {
		return &ring{}
	}
	chunk := int(min(max(limit/8, 64<<10), 1<<20))
	return &ring{chunk: chunk, most: max(int(limit/int64(chunk)), 2)}
}

// add keeps a copy of data. A frame larger than a chunk keeps its beginning.
func (r *ring) add(at time.Time, link flow.LinkType, data []byte, length int) {
	if r.most == 0 {
		return
	}
	data = data[:min(len(data), r.chunk-recordHead, pcap.MaxPacket)]
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.filled)+recordHead+len(data) > cap(r.filled) {
		r.turn()
	}
	b := binary.NativeEndian.AppendUint64(r.filled, uint64(at.UnixNano()))
	b = binary.NativeEndian.AppendUint32(b, uint32(link))
	b = binary.NativeEndian.AppendUint32(b, uint32(len(data)))
	b = binary.NativeEndian.AppendUint32(b, uint32(length))
	r.filled = append(b, data...)
}

// turn begins a new chunk and drops the oldest when there are too many. The
// dropped chunk is not used again: somebody may still be reading it.
func (r *ring) turn() {
	if r.filled != nil {
		r.full = append(r.full, r.filled)
	}
	if len(r.full) >= r.most {
		n := copy(r.full, r.full[len(r.full)-r.most+1:])
		clear(r.full[n:])
		r.full = r.full[:n]
	}
	r.filled = make([]byte, 0, r.chunk)
}

// snapshot returns the chunks as they are now, oldest first.
func (r *ring) snapshot() [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := append([][]byte(nil), r.full...)
	return append(s, r.filled[:len(r.filled):len(r.filled)])
}

// write writes what the ring held when it was called, and returns how many
// packets that were.
func (r *ring) write(ctx context.Context, to io.Writer) (packets int, err error) {
	w, err := pcap.NewWriter(to, "sonae-agent")
	if err != nil {
		return 0, err
	}
	chunks := r.snapshot()
	for i, b := range chunks {
		chunks[i] = nil // may be freed while the rest is written
		if err := ctx.Err(); err != nil {
			return packets, fmt.Errorf("write the packet ring: %w", err)
		}
		for len(b) > 0 {
			size := int(binary.NativeEndian.Uint32(b[12:]))
			p := pcap.Packet{
				At:     time.Unix(0, int64(binary.NativeEndian.Uint64(b))),
				Link:   flow.LinkType(binary.NativeEndian.Uint32(b[8:])),
				Length: int(binary.NativeEndian.Uint32(b[16:])),
				Data:   b[recordHead : recordHead+size],
			}
			if err := w.Write(p); err != nil {
				return packets, err
			}
			packets++
			b = b[recordHead+size:]
		}
	}
	return packets, w.Flush()
}
