package sensor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/flow"
)

// Layout of a TPACKET_V3 block (linux/if_packet.h): the block descriptor, then
// packets that each begin with tpacket3_hdr, followed by sockaddr_ll.
const (
	blockSize    = 256 << 10
	blockTimeout = 10 // milliseconds until a block that is not full is handed over

	blockStatus = 8
	blockCount  = 12
	blockFirst  = 16

	packetNext   = 0
	packetSec    = 4
	packetNsec   = 8
	packetSnap   = 12
	packetLen    = 16
	packetStatus = 20
	packetMAC    = 24
	packetNet    = 26
	packetTCI    = 32
	packetTPID   = 36
	packetAddr   = 48 // sockaddr_ll
	packetHead   = packetAddr + unix.SizeofSockaddrLinklayer

	addrHardware = packetAddr + 8
	addrKind     = packetAddr + 10
)

// outgoing is the value of sll_pkttype for packets that this machine sends.
const outgoing = 4

// socket is a packet socket with its ring. One goroutine reads it.
type socket struct {
	fd     int
	ring   []byte
	next   int    // block to read next
	tagged []byte // a frame with its VLAN tag put back
}

// see receives one frame and its length on the wire.
type see func(at time.Time, link flow.LinkType, frame []byte, length int)

// openSocket opens a socket on all interfaces that takes nothing until attach
// has said what.
func openSocket(ringBytes int) (*socket, error) {
	// Protocol 0: nothing arrives before bind.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	k := &socket{fd: fd}
	if err := k.setUp(ringBytes); err != nil {
		return nil, errors.Join(err, k.close())
	}
	return k, nil
}

func (k *socket) setUp(ringBytes int) error {
	if err := unix.SetsockoptInt(k.fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3); err != nil {
		return fmt.Errorf("TPACKET_V3: %w", err)
	}
	blocks := max(ringBytes/blockSize, 4)
	const frame = 2048 // only has to divide the block
	req := unix.TpacketReq3{
		Block_size:     blockSize,
		Block_nr:       uint32(blocks),
		Frame_size:     frame,
		Frame_nr:       uint32(blocks * (blockSize / frame)),
		Retire_blk_tov: blockTimeout,
	}
	if err := unix.SetsockoptTpacketReq3(k.fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &req); err != nil {
		return fmt.Errorf("receive ring: %w", err)
	}
	ring, err := unix.Mmap(k.fd, 0, blocks*blockSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map the receive ring: %w", err)
	}
	k.ring = ring
	if err := k.attach([]bpf.Instruction{bpf.RetConstant{Val: 0}}); err != nil {
		return err
	}
	all := binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL}) // network byte order
	if err := unix.Bind(k.fd, &unix.SockaddrLinklayer{Protocol: all}); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	return nil
}

// attach makes p the filter of the socket, in the place of the one before.
func (k *socket) attach(p []bpf.Instruction) error {
	raw, err := bpf.Assemble(p)
	if err != nil {
		return fmt.Errorf("packet filter: %w", err)
	}
	code := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		code[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	prog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	if err := unix.SetsockoptSockFprog(k.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog); err != nil {
		return fmt.Errorf("packet filter of %d instructions: %w", len(code), err)
	}
	return nil
}

// join makes the socket share the packets with the others of a group, which the
// first one founds. It returns the group.
func (k *socket) join(first bool, group int) (int, error) {
	how := group&0xffff | unix.PACKET_FANOUT_HASH<<16
	if first {
		how = (unix.PACKET_FANOUT_HASH | unix.PACKET_FANOUT_FLAG_UNIQUEID) << 16
	}
	if err := unix.SetsockoptInt(k.fd, unix.SOL_PACKET, unix.PACKET_FANOUT, how); err != nil {
		return 0, fmt.Errorf("share packets between queues: %w", err)
	}
	group, err := unix.GetsockoptInt(k.fd, unix.SOL_PACKET, unix.PACKET_FANOUT)
	if err != nil {
		return 0, fmt.Errorf("share packets between queues: %w", err)
	}
	return group, nil
}

// ready says whether a block waits to be read.
func (k *socket) ready() bool {
	return atomic.LoadUint32(k.status())&unix.TP_STATUS_USER != 0
}

// status is the hand-over of the next block between kernel and reader: its load
// and store order all other accesses to the block.
func (k *socket) status() *uint32 {
	return (*uint32)(unsafe.Pointer(&k.ring[k.next*blockSize+blockStatus]))
}

// wait returns when a block may be ready, or after d. An interface that goes
// down is no error.
func (k *socket) wait(d time.Duration) error {
	p := []unix.PollFd{{Fd: int32(k.fd), Events: unix.POLLIN | unix.POLLERR}}
	if _, err := unix.Poll(p, int(d/time.Millisecond)); err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("poll: %w", err)
	}
	if p[0].Revents&unix.POLLERR == 0 {
		return nil
	}
	code, err := unix.GetsockoptInt(k.fd, unix.SOL_SOCKET, unix.SO_ERROR) // fetching clears it
	if err != nil {
		return fmt.Errorf("poll: %w", err)
	}
	switch e := unix.Errno(code); e {
	case 0, unix.ENETDOWN, unix.ENODEV, unix.ENXIO:
		return nil
	default:
		return fmt.Errorf("poll: %w", e)
	}
}

// block hands out the frames of the next block, if the kernel has handed it
// over, and gives it back.
func (k *socket) block(f see) bool {
	b := k.ring[k.next*blockSize : (k.next+1)*blockSize]
	status := k.status()
	if atomic.LoadUint32(status)&unix.TP_STATUS_USER == 0 {
		return false
	}
	at := int(u32(b, blockFirst))
	for range u32(b, blockCount) {
		if at < 0 || at+packetHead > len(b) { // the kernel does not do this
			break
		}
		p := b[at:]
		k.frame(p, f)
		at += int(u32(p, packetNext))
	}
	atomic.StoreUint32(status, unix.TP_STATUS_KERNEL)
	k.next = (k.next + 1) * blockSize % len(k.ring) / blockSize
	return true
}

func u16(b []byte, at int) uint16 { return binary.NativeEndian.Uint16(b[at:]) }
func u32(b []byte, at int) uint32 { return binary.NativeEndian.Uint32(b[at:]) }

// frame hands out the frame that p begins with.
func (k *socket) frame(p []byte, f see) {
	hardware, kind := u16(p, addrHardware), p[addrKind]
	if hardware == unix.ARPHRD_LOOPBACK && kind == outgoing {
		return // the same packet arrives a moment later
	}
	mac, snap, length := int(u16(p, packetMAC)), int(u32(p, packetSnap)), int(u32(p, packetLen))
	if mac+snap > len(p) {
		return
	}
	b := p[mac : mac+snap]
	at := time.Unix(int64(u32(p, packetSec)), int64(u32(p, packetNsec)))
	if hardware != unix.ARPHRD_ETHER && hardware != unix.ARPHRD_LOOPBACK {
		// Tunnels and other devices without Ethernet headers: from the IP header on.
		skip := min(max(int(u16(p, packetNet))-mac, 0), len(b))
		f(at, flow.LinkRaw, b[skip:], length-skip)
		return
	}
	if u32(p, packetStatus)&unix.TP_STATUS_VLAN_VALID != 0 && len(b) >= 12 {
		b = k.tag(p, b)
		length += 4
	}
	f(at, flow.LinkEthernet, b, length)
}

// tag puts the VLAN tag back that the kernel took out of the frame.
func (k *socket) tag(p, b []byte) []byte {
	tpid := uint16(unix.ETH_P_8021Q)
	if u32(p, packetStatus)&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
		tpid = u16(p, packetTPID)
	}
	t := append(k.tagged[:0], b[:12]...)
	t = binary.BigEndian.AppendUint16(t, tpid)
	t = binary.BigEndian.AppendUint16(t, uint16(u32(p, packetTCI)))
	k.tagged = append(t, b[12:]...)
	return k.tagged
}

func (k *socket) close() error {
	var errs []error
	if k.ring != nil {
		errs = append(errs, unix.Munmap(k.ring))
		k.ring = nil
	}
	return errors.Join(append(errs, unix.Close(k.fd))...)
}
