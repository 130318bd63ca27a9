package collect

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"time"

	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/event"
)

var errNoKernel = errors.New("eBPF is refused")

const (
	// gather is how long records are left to come together once all were
	// read: a wake-up for each would cost more than the records do.
	gather = 10 * time.Millisecond
	// countEvery is the time between two looks at what found no room.
	countEvery = time.Second
)

// hear reports what the kernel's part tells until ctx ends. errNoKernel when
// the kernel does not take it.
func (p *Processes) hear(ctx context.Context, q *Queue) error {
	k, err := openKernel()
	if err != nil {
		return fmt.Errorf("%w: %w", errNoKernel, err)
	}
	p.fill() // after the programs are there: what begins meanwhile is told
	p.ready(BackendEBPF, "", q)
	stop := context.AfterFunc(ctx, func() { _ = k.rd.Close() }) // closed again below, which is no error
	defer stop()
	return errors.Join(p.take(ctx, k, q), k.close())
}

// take handles records until the reader is closed.
func (p *Processes) take(ctx context.Context, k *kernel, q *Queue) error {
	var raw ringbuf.Record
	var dropped uint64
	next := time.Now().Add(countEvery)
	k.rd.SetDeadline(next)
	for {
		err := k.rd.ReadInto(&raw)
		switch {
		case errors.Is(err, ringbuf.ErrClosed):
			return nil
		case err == nil:
			if r, err := parseRecord(raw.RawSample); err != nil {
				q.Lost(1)
			} else {
				p.told(r, q)
			}
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return err
		}
		if now := time.Now(); now.After(next) {
			dropped = p.recount(k.dropped(), dropped, q)
			next = now.Add(countEvery)
			k.rd.SetDeadline(next)
		}
		if err == nil && raw.Remaining == 0 && !pause(ctx, gather) {
			return nil
		}
	}
}

// recount says how many records found no room, and looks at what is there when
// there are more than before: a beginning or an end may be among them.
func (p *Processes) recount(now, before uint64, q *Queue) uint64 {
	if now > before {
		q.Lost(now - before)
		p.say(fmt.Sprintf("%s; %d records found no room", p.how, now))
		p.poll(q)
	}
	return now
}

// told reports one record.
func (p *Processes) told(r record, q *Queue) {
	now := p.cfg.Now()
	at := wall(r.at, now)
	switch r.kind {
	case recordExec:
		pr := p.program(r, at)
		p.t.add(pr)
		q.Put(p.t.start(pr))
	case recordFork:
		p.forked(r, at)
	case recordExit:
		if old, known := p.t.live[r.pid]; known && old.started == r.started {
			p.ended(old, at, exitCode(r.code), q)
		}
	case recordOpened, recordAccepted:
		p.connected(r, at, q)
	}
}

// program is the process whose program begins. What the kernel's part had no
// room for is read from /proc while the process is there; arguments that are
// still not whole end in "…".
func (p *Processes) program(r record, at time.Time) process {
	pr := process{pid: r.pid, parent: r.parent, started: r.started, image: r.image, command: r.command, dir: r.dir, group: r.group, user: p.t.name(r.uid), seen: at}
	if r.whole && pr.image != "" && pr.dir != "" && pr.group != "" {
		return pr
	}
	now, ok := p.t.read(r.pid, at)
	if !ok || now.started != r.started {
		now = process{}
	}
	for _, f := range []struct{ to, from *string }{{&pr.image, &now.image}, {&pr.dir, &now.dir}, {&pr.group, &now.group}} {
		if *f.to == "" {
			*f.to = *f.from
		}
	}
	if !r.whole {
		if pr.command += "…"; now.command != "" && now.image == pr.image {
			pr.command = now.command
		}
	}
	return pr
}

// forked remembers a process that runs the program of another. It is told when
// it begins one of its own.
func (p *Processes) forked(r record, at time.Time) {
	parent, known := p.t.live[r.parent]
	if !known || r.parent == kernelThreads {
		delete(p.t.live, r.pid) // whoever had the number before is gone
		return
	}
	parent.pid, parent.parent, parent.started, parent.seen, parent.forked = r.pid, r.parent, r.started, at, true
	p.t.add(parent)
}

// connected reports a connection that a process opened or accepted.
func (p *Processes) connected(r record, at time.Time, q *Queue) {
	if r.proto == "" || r.local.Port() == 0 || r.remote.Port() == 0 {
		return // not of ours, or refused before the call had returned
	}
	pr, known := p.t.live[r.pid]
	if !known {
		if pr, known = p.t.read(r.pid, at); !known {
			pr = process{}
		}
	}
	pr.pid, pr.user = r.pid, p.t.name(r.uid)
	c := Connection{Proto: r.proto, Local: r.local, Remote: r.remote, Opened: r.kind == recordOpened, PID: r.pid, Image: pr.image, Command: pr.command, User: pr.user}
	if p.cfg.Connected != nil {
		p.cfg.Connected(c)
	}
	if r.proto == "tcp" { // that a name server was chosen says nothing; its packets do
		q.Put(c.event(at))
	}
}

// event is the connection in Sigma's words; the source is who opened it.
func (c Connection) event(at time.Time) event.Event {
	from, to := c.Local, c.Remote
	if !c.Opened {
		from, to = c.Remote, c.Local
	}
	plain := func(a netip.Addr) string { return a.Unmap().WithZone("").String() }
	port := func(a netip.AddrPort) string { return strconv.Itoa(int(a.Port())) }
	f := map[string]string{
		event.FieldPID: strconv.Itoa(c.PID), event.FieldProtocol: c.Proto, event.FieldInitiated: strconv.FormatBool(c.Opened),
		event.FieldSrcIP: plain(from.Addr()), event.FieldSrcPort: port(from), event.FieldDstIP: plain(to.Addr()), event.FieldDstPort: port(to),
	}
	for k, v := range map[string]string{event.FieldImage: c.Image, event.FieldCommand: c.Command, event.FieldUser: c.User} {
		if v != "" {
			f[k] = v
		}
	}
	return event.Event{Time: at.UTC(), Kind: event.KindProcess, Product: "linux", Category: "network_connection", Fields: f}
}

// exitCode is how a process ended, from its wait status.
func exitCode(code uint32) string {
	status := unix.WaitStatus(code)
	if status.Signaled() {
		return "signal " + strconv.Itoa(int(status.Signal()))
	}
	return strconv.Itoa(status.ExitStatus())
}
