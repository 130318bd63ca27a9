package sensor

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/flow"
)

// kernelPacket is one packet as the kernel lays it into a block.
type kernelPacket struct {
	hardware uint16
	kind     byte
	status   uint32
	tci      uint16
	tpid     uint16
	net      int // bytes of link header
	data     string
	length   int
}

// kernelBlock makes a block that was handed over.
func kernelBlock(packets ...kernelPacket) []byte {
	b := make([]byte, blockSize)
	put := binary.NativeEndian.PutUint32
	put16 := binary.NativeEndian.PutUint16
	put(b[blockStatus:], unix.TP_STATUS_USER)
	put(b[blockCount:], uint32(len(packets)))
	put(b[blockFirst:], 48)
	at := 48
	for _, k := range packets {
		p := b[at:]
		const mac = 82
		size := (mac + len(k.data) + 15) &^ 15
		put(p[packetNext:], uint32(size))
		put(p[packetSec:], 1795251600)
		put(p[packetNsec:], 5)
		put(p[packetSnap:], uint32(len(k.data)))
		put(p[packetLen:], uint32(max(k.length, len(k.data))))
		put(p[packetStatus:], k.status)
		put16(p[packetMAC:], mac)
		put16(p[packetNet:], uint16(mac+k.net))
		put(p[packetTCI:], uint32(k.tci))
		put16(p[packetTPID:], k.tpid)
		put16(p[addrHardware:], k.hardware)
		p[addrKind] = k.kind
		copy(p[mac:], k.data)
		at += size
	}
	return b
}

type seen struct {
	Link   flow.LinkType
	Frame  string
	Length int
}

func TestFramesOfABlock(t *testing.T) {
	const macs = "ddddddssssss"
	k := &socket{ring: append(kernelBlock(
		kernelPacket{hardware: unix.ARPHRD_ETHER, net: 14, data: macs + "\x08\x00IPv4", length: 1500},
		kernelPacket{hardware: unix.ARPHRD_ETHER, net: 14, data: macs + "\x08\x00tag", status: unix.TP_STATUS_VLAN_VALID, tci: 0x2005},
		kernelPacket{hardware: unix.ARPHRD_ETHER, net: 14, data: macs + "\x08\x00QinQ", status: unix.TP_STATUS_VLAN_VALID | unix.TP_STATUS_VLAN_TPID_VALID, tci: 7, tpid: 0x88a8},
		kernelPacket{hardware: unix.ARPHRD_LOOPBACK, net: 14, data: macs + "\x08\x00out", kind: outgoing},
		kernelPacket{hardware: unix.ARPHRD_LOOPBACK, net: 14, data: macs + "\x08\x00in"},
		kernelPacket{hardware: unix.ARPHRD_NONE, data: "E tunnel"},
		kernelPacket{hardware: unix.ARPHRD_IPGRE, net: 4, data: "greeE inside"},
	), kernelBlock()...)}
	var got []seen
	f := func(at time.Time, link flow.LinkType, frame []byte, length int) {
		if !at.Equal(time.Unix(1795251600, 5)) {
			t.Errorf("time %v", at)
		}
		got = append(got, seen{link, string(bytes.Clone(frame)), length})
	}
	for range 2 {
		if !k.block(f) {
			t.Fatal("a block that was handed over is not read")
		}
	}
	if k.block(f) {
		t.Error("a block was read that belongs to the kernel")
	}
	want := []seen{
		{flow.LinkEthernet, macs + "\x08\x00IPv4", 1500},
		{flow.LinkEthernet, macs + "\x81\x00\x20\x05\x08\x00tag", 21},
		{flow.LinkEthernet, macs + "\x88\xa8\x00\x07\x08\x00QinQ", 22},
		{flow.LinkEthernet, macs + "\x08\x00in", 16},
		{flow.LinkRaw, "E tunnel", 8},
		{flow.LinkRaw, "E inside", 8},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
