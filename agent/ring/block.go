package ring

import (
	"encoding/binary"
	"hash/crc32"
	"net/netip"
	"time"
	"unsafe"

	"github.com/sonae/sonae/flow"
	"github.com/sonae/sonae/source/pcap"
)

// A segment is a row of blocks. A block is a head of one page and packets; it
// says its own length, what times and, in a Bloom filter, what addresses are
// in it, and its check sums, so that a cut reads heads and few packets, and a
// crash spoils the block that was being written and no other.
//
//	0  magic      8 bytes
//	8  seq        u64, counts pages written to the ring
//	16 size       u32, of the whole block, a multiple of align
//	20 used       u32, bytes of packets after the head
//	24 count      u32, of packets
//	28 lane       u32
//	32 first      i64, ns since 1970 of the earliest packet
//	40 last       i64, of the latest
//	48 body sum   u32, CRC-32C of the packets
//	52 head sum   u32, CRC-32C of the head, this field being 0
//	64 filter     filterBytes
//
// Numbers are little-endian. A packet is recordHead bytes and its data.
const (
	magic       = "SNRING01"
	align       = 4096
	headSize    = align
	blockSize   = 1 << 20
	filterAt    = 64
	filterBytes = headSize - filterAt
	filterBits  = filterBytes * 8
)

// recordHead is time, link, captured bytes and bytes on the wire.
const recordHead = 8 + 4 + 4 + 4

// castagnoli is a table that the standard library computes with instructions
// of the processor.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// block is one that is being filled.
type block struct {
	b           []byte // head and packets; its capacity is blockSize and it begins at a page
	count       uint32
	first, last int64
	seen        [pcap.MaxEnds]pcap.Ends // of the packet before: mostly the same again
	seenN       int
}

func newBlock() *block {
	raw := make([]byte, blockSize+align)
	skip := int(-uintptr(unsafe.Pointer(&raw[0])) & (align - 1)) // direct writes want memory at a page
	k := &block{b: raw[skip : skip+headSize : skip+blockSize]}
	k.reset()
	return k
}

func (k *block) reset() {
	k.b = k.b[:headSize]
	clear(k.b)
	k.count, k.first, k.last, k.seenN = 0, 0, 0, 0
}

// room says whether a packet of n bytes fits in.
func (k *block) room(n int) bool { return len(k.b)+recordHead+n <= blockSize }

// add appends a packet, for which there must be room.
func (k *block) add(at time.Time, link flow.LinkType, data []byte, length int) {
	ns := at.UnixNano()
	if k.count == 0 {
		k.first, k.last = ns, ns
	}
	k.first, k.last = min(k.first, ns), max(k.last, ns)
	k.count++
	b := binary.LittleEndian.AppendUint64(k.b, uint64(ns))
	b = binary.LittleEndian.AppendUint32(b, uint32(link))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))
	b = binary.LittleEndian.AppendUint32(b, uint32(length))
	k.b = append(b, data...)
	k.mark(link, data)
}

// mark puts the addresses of a packet into the filter.
func (k *block) mark(link flow.LinkType, data []byte) {
	var e [pcap.MaxEnds]pcap.Ends
	n := pcap.EndsOf(link, data, &e)
	if n == k.seenN && e == k.seen {
		return
	}
	k.seen, k.seenN = e, n
	filter := k.b[filterAt:headSize]
	for i := range e[:n] {
		set(filter, addressKey(e[i].Src.Addr()))
		set(filter, addressKey(e[i].Dst.Addr()))
		set(filter, pairKey(e[i].Src, e[i].Dst, e[i].Proto))
	}
}

// finish fills in the head and returns the block padded to whole pages.
func (k *block) finish(seq uint64, lane uint32) []byte {
	used := len(k.b) - headSize
	size := (len(k.b) + align - 1) / align * align
	clear(k.b[len(k.b):size])
	h := k.b[:headSize]
	copy(h, magic)
	le := binary.LittleEndian
	le.PutUint64(h[8:], seq)
	le.PutUint32(h[16:], uint32(size))
	le.PutUint32(h[20:], uint32(used))
	le.PutUint32(h[24:], k.count)
	le.PutUint32(h[28:], lane)
	le.PutUint64(h[32:], uint64(k.first))
	le.PutUint64(h[40:], uint64(k.last))
	le.PutUint32(h[48:], crc32.Checksum(k.b[headSize:], castagnoli()))
	le.PutUint32(h[52:], 0)
	le.PutUint32(h[52:], crc32.Checksum(h, castagnoli()))
	return k.b[:size]
}

// head is what the first page of a block says.
type head struct {
	seq         uint64
	size, used  uint32
	lane        uint32
	first, last int64
	sum         uint32
	filter      []byte // within the page that was read
}

// readHead reads the first page of a block; false when it is none.
func readHead(p []byte) (h head, ok bool) {
	le := binary.LittleEndian
	if len(p) != headSize || string(p[:8]) != magic {
		return h, false
	}
	sum := le.Uint32(p[52:])
	le.PutUint32(p[52:], 0)
	if crc32.Checksum(p, castagnoli()) != sum {
		return h, false
	}
	h = head{seq: le.Uint64(p[8:]), size: le.Uint32(p[16:]), used: le.Uint32(p[20:]), lane: le.Uint32(p[28:]),
		first: int64(le.Uint64(p[32:])), last: int64(le.Uint64(p[40:])), sum: le.Uint32(p[48:]), filter: p[filterAt:]}
	return h, h.size >= headSize && h.size <= blockSize && h.size%align == 0 && h.used <= h.size-headSize
}

// packets calls f for every packet of the body of a block, until it returns an
// error. The data is only valid during the call.
func packets(body []byte, f func(pcap.Packet) error) error {
	le := binary.LittleEndian
	for len(body) >= recordHead {
		size := int64(le.Uint32(body[12:]))
		if size > int64(len(body)-recordHead) {
			return errBody
		}
		p := pcap.Packet{At: time.Unix(0, int64(le.Uint64(body))).UTC(), Link: flow.LinkType(le.Uint32(body[8:])),
			Length: int(le.Uint32(body[16:])), Data: body[recordHead : recordHead+size]}
		body = body[recordHead+size:]
		if err := f(p); err != nil {
			return err
		}
	}
	if len(body) != 0 {
		return errBody
	}
	return nil
}

// set and has keep a set of keys in a Bloom filter with two bits for each.
func set(filter []byte, key uint64) {
	for _, at := range bits(key) {
		filter[at/8] |= 1 << (at % 8)
	}
}

func has(filter []byte, key uint64) bool {
	for _, at := range bits(key) {
		if filter[at/8]&(1<<(at%8)) == 0 {
			return false
		}
	}
	return true
}

func bits(key uint64) [2]uint32 {
	return [2]uint32{uint32(key >> 32 * filterBits >> 32), uint32(key & (1<<32 - 1) * filterBits >> 32)}
}

// mix spreads a number over all bits (the finaliser of splitmix64, Steele et
// al. 2014). It is written to disk, so it must never change.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

func addressKey(a netip.Addr) uint64 {
	b := a.As16()
	return mix(binary.BigEndian.Uint64(b[:8])*0x9e3779b97f4a7c15 ^ mix(binary.BigEndian.Uint64(b[8:])+1))
}

// pairKey is the same in both directions.
func pairKey(a, b netip.AddrPort, proto uint8) uint64 {
	return mix(mix(addressKey(a.Addr())+uint64(a.Port())) + mix(addressKey(b.Addr())+uint64(b.Port())) + uint64(proto))
}
