package owner

import (
	"net/netip"
	"sync"
	"time"
)

// Finder finds owners. It is safe for concurrent use.
type Finder struct {
	conf Config

	mu      sync.Mutex
	sockets map[conn]uint64     // identity → inode, from the last look
	holders map[uint64]int      // inode → PID, from the last search
	people  map[int]Process     // PID → what is known of it
	known   map[conn]remembered // what Of has answered or could have
	users   map[uint32]string
	read    time.Time // when people was begun anew
	next    time.Time // the next look at the sockets is not before this
	tidy    time.Time // room is made for what is noted not before this
	boot    time.Time
}

// remembered is an owner and until when it is believed without a socket.
type remembered struct {
	process Process
	until   time.Time
}

// believe is how long what was read of a process is not read again. A process
// that puts another program in its place is noticed after this.
const believe = 5 * time.Second

// New makes a Finder.
func New(c Config) *Finder {
	return &Finder{
		conf:   c.withDefaults(),
		people: make(map[int]Process),
		known:  make(map[conn]remembered),
		users:  make(map[uint32]string),
	}
}

// Of returns the owner of the connection of proto ("tcp" or "udp") between the
// local and the remote address. An invalid remote asks for whoever has the
// local port open. It reads /proc when the answer is not known and the last
// look is long enough ago, which takes some tens of milliseconds on a machine
// with hundreds of processes.
func (f *Finder) Of(proto string, local, remote netip.AddrPort) (Process, bool) {
	c, ok := connOf(proto, local, remote)
	if !ok {
		return Process{}, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.conf.Now()
	// Of the exact connection an earlier answer is good: its socket has not
	// changed hands since. Of a mere port the newest look decides.
	if k, ok := f.known[c]; ok && now.Before(k.until) {
		return k.process, true
	}
	if !now.Before(f.next) {
		f.look(now)
	}
	for _, form := range c.forms() {
		if inode, ok := f.sockets[form]; ok {
			if p, ok := f.holder(inode); ok {
				f.remember(form, p, now)
				return p, true
			}
		}
	}
	for _, form := range c.forms() {
		if k, ok := f.known[form]; ok && now.Before(k.until) {
			return k.process, true
		}
	}
	return Process{}, false
}

// Note remembers who opened or accepted a connection, from somebody who saw it
// happen: a process that ends at once is its owner all the same. It waits for a
// look that goes on.
func (f *Finder) Note(proto string, local, remote netip.AddrPort, p Process) {
	c, ok := connOf(proto, local, remote)
	if !ok {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.conf.Now()
	if len(f.known) >= maxKnown && !now.Before(f.tidy) {
		f.forget(now)
		f.tidy = now.Add(time.Second) // going through all of them for each would cost too much
	}
	f.remember(c, p, now)
}

// look reads the sockets, and the processes that hold them when there is a new
// one among them.
func (f *Finder) look(now time.Time) {
	begin := time.Now()
	f.sockets = readSockets(f.conf.Proc)
	if now.Sub(f.read) >= believe {
		f.people, f.read = make(map[int]Process), now
	}
	for _, inode := range f.sockets {
		if _, ok := f.holders[inode]; !ok {
			f.search()
			break
		}
	}
	for c, inode := range f.sockets {
		if p, ok := f.holder(inode); ok {
			f.remember(c, p, now)
		}
	}
	f.forget(now)
	f.next = now.Add(max(f.conf.Every, 10*time.Since(begin)))
}

// search goes through the open files of all processes.
func (f *Finder) search() {
	wanted := make(map[uint64]bool, len(f.sockets))
	for _, inode := range f.sockets {
		wanted[inode] = true
	}
	f.holders = searchHolders(f.conf.Proc, wanted)
	// Sockets that nobody holds, or nobody who can be seen, are noted too, so
	// that they do not cause a search at every look.
	for inode := range wanted {
		if _, ok := f.holders[inode]; !ok {
			f.holders[inode] = 0
		}
	}
}

// holder returns the process that holds an inode.
func (f *Finder) holder(inode uint64) (Process, bool) {
	pid := f.holders[inode]
	if pid == 0 {
		return Process{}, false
	}
	if p, ok := f.people[pid]; ok {
		return p, true
	}
	if f.boot.IsZero() {
		f.boot = bootTime(f.conf.Proc)
	}
	p, ok := readProcess(f.conf.Proc, pid, f.boot, f.users)
	if !ok {
		delete(f.holders, inode) // another may have inherited the socket: search again
		return p, false
	}
	if len(f.people) < maxProcesses {
		f.people[pid] = p
	}
	return p, true
}

func (f *Finder) remember(c conn, p Process, now time.Time) {
	if _, ok := f.known[c]; ok || len(f.known) < maxKnown {
		f.known[c] = remembered{p, now.Add(f.conf.Remember)}
	}
}

// forget drops what is too old.
func (f *Finder) forget(now time.Time) {
	for c, k := range f.known {
		if !now.Before(k.until) {
			delete(f.known, c)
		}
	}
}
