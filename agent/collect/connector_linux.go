package collect

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// The process connector, linux/cn_proc.h and linux/connector.h.
const (
	cnIdxProc = 1
	cnValProc = 1
	cnListen  = 1

	procNone = 0x00000000
	procExec = 0x00000002
	procExit = 0x80000000

	netlinkHeader = 16
	cnHeader      = 20
	eventHeader   = 16
)

var errNoConnector = errors.New("not permitted here")

// procEvent is one message of the connector.
type procEvent struct {
	what      uint32
	cpu, seq  uint32 // the kernel counts the messages of each processor
	pid, tgid int
	code      uint32 // wait status (exit), or the answer to listen (none)
}

// parseConnector reads the messages of one datagram. What is not whole ends
// the datagram.
func parseConnector(b []byte, each func(procEvent)) {
	for len(b) >= netlinkHeader {
		size := int(binary.NativeEndian.Uint32(b))
		if size < netlinkHeader || size > len(b) {
			return
		}
		if m := b[netlinkHeader:size]; len(m) >= cnHeader+eventHeader &&
			binary.NativeEndian.Uint32(m) == cnIdxProc && binary.NativeEndian.Uint32(m[4:]) == cnValProc {
			if e, ok := parseProcEvent(m[cnHeader:]); ok {
				e.seq = binary.NativeEndian.Uint32(m[8:])
				each(e)
			}
		}
		b = b[min((size+3)&^3, len(b)):]
	}
}

func parseProcEvent(b []byte) (procEvent, bool) {
	e := procEvent{what: binary.NativeEndian.Uint32(b), cpu: binary.NativeEndian.Uint32(b[4:])}
	d := b[eventHeader:]
	switch e.what {
	case procNone:
		if len(d) < 4 {
			return e, false
		}
		e.code = binary.NativeEndian.Uint32(d)
	case procExec, procExit:
		if len(d) < 8 {
			return e, false
		}
		e.pid, e.tgid = int(int32(binary.NativeEndian.Uint32(d))), int(int32(binary.NativeEndian.Uint32(d[4:])))
		if e.what == procExit && len(d) >= 12 {
			e.code = binary.NativeEndian.Uint32(d[8:])
		}
	}
	return e, true
}

// connect subscribes to the connector.
func connect() (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_CONNECTOR)
	if err != nil {
		return -1, err
	}
	fail := func(err error) (int, error) { return -1, errors.Join(err, unix.Close(fd)) }
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: cnIdxProc}); err != nil {
		return fail(err)
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20) // the default buffer works, too
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 250_000}); err != nil {
		return fail(err)
	}
	b := make([]byte, netlinkHeader+cnHeader+4)
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], unix.NLMSG_DONE)
	binary.NativeEndian.PutUint32(b[12:], uint32(os.Getpid()))
	m := b[netlinkHeader:]
	binary.NativeEndian.PutUint32(m, cnIdxProc)
	binary.NativeEndian.PutUint32(m[4:], cnValProc)
	binary.NativeEndian.PutUint16(m[16:], 4)
	binary.NativeEndian.PutUint32(m[cnHeader:], cnListen)
	if err := unix.Sendto(fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fail(err)
	}
	return fd, nil
}

// listen reports through the connector until ctx ends. errNoConnector when
// the kernel does not answer: older ones do so only in the first namespaces,
// newer ones answer everywhere, with the numbers of the first. why says why
// there is nothing better.
func (p *Processes) listen(ctx context.Context, why string, q *Queue) error {
	if err := numbered(); err != nil {
		return fmt.Errorf("%w: %w", errNoConnector, err)
	}
	fd, err := connect()
	if err != nil {
		return fmt.Errorf("%w: %w", errNoConnector, err)
	}
	defer func() { _ = unix.Close(fd) }() // nothing was written to it
	b := make([]byte, 64<<10)
	heard, until := false, time.Now().Add(time.Second)
	for ctx.Err() == nil {
		n, from, err := unix.Recvfrom(fd, b, 0)
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			if !heard && time.Now().After(until) {
				return errNoConnector
			}
			continue
		case errors.Is(err, unix.ENOBUFS): // too many at once: see what is there now; how many is seen by the next numbers
			p.poll(q)
			continue
		case err != nil:
			return err
		}
		if nl, ok := from.(*unix.SockaddrNetlink); !ok || nl.Pid != 0 { // only the kernel is believed
			continue
		}
		var refused error
		parseConnector(b[:n], func(e procEvent) {
			if e.what == procNone && e.code != 0 {
				refused = fmt.Errorf("%w: %w", errNoConnector, unix.Errno(e.code))
			}
			if !heard && refused == nil {
				heard = true
				p.fill()
				p.ready(BackendConnector, why, q)
			}
			q.Lost(p.missed.note(e))
			p.happened(e, q)
		})
		if refused != nil {
			return refused
		}
	}
	return nil
}

// gaps finds what the kernel could not hand over, by the numbers that it gives
// the messages of each processor.
type gaps map[uint32]uint32

// note returns how many messages are missing before e.
func (g gaps) note(e procEvent) uint64 {
	if e.what == procNone { // the answer to us has a number of our own
		return 0
	}
	last, known := g[e.cpu]
	if !known && len(g) >= maxProcessors {
		return 0
	}
	g[e.cpu] = e.seq
	if n := e.seq - last - 1; known && n < 1<<31 { // else it came out of order
		return uint64(n)
	}
	return 0
}

// maxProcessors bounds what a wrong message can make the map hold.
const maxProcessors = 8192

// happened reports one event of the connector. Ends of threads are none.
func (p *Processes) happened(e procEvent, q *Queue) {
	now := p.cfg.Now()
	old, known := p.t.live[e.tgid]
	switch {
	case e.what == procExec:
		pr, ok := p.t.read(e.tgid, now)
		if !ok { // gone before it could be looked at
			p.unread++
			p.say(fmt.Sprintf("%s; %d processes ended before they could be looked at", p.how, p.unread))
			return
		}
		p.t.add(pr)
		q.Put(p.t.start(pr))
	case e.what == procExit && e.pid == e.tgid && known:
		p.ended(old, now, exitCode(e.code), q)
	}
}
