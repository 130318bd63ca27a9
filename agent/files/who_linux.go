package files

import (
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"
)

// people finds who a process is. Not for concurrent use.
type people struct {
	known map[int32]seenActor
	users map[string]string
}

type seenActor struct {
	actor
	at time.Time
}

// Bounds of what is remembered of processes.
const (
	maxPeople   = 8192
	maxCommand  = 4096
	sureFor     = time.Second      // the same number is the same process
	rememberFor = 10 * time.Second // a process that ended is still who it was
)

func newPeople() *people { return &people{map[int32]seenActor{}, map[string]string{}} }

// of returns who pid is; only its number when it ended before anybody could look.
func (p *people) of(pid int32, now time.Time) actor {
	before, known := p.known[pid]
	if age := now.Sub(before.at); known && age >= 0 && age < sureFor {
		return before.actor
	}
	a, ok := p.look(pid)
	if !ok {
		if known && now.Sub(before.at) < rememberFor {
			return before.actor
		}
		return actor{pid: int(pid)}
	}
	if len(p.known) >= maxPeople {
		clear(p.known)
	}
	p.known[pid] = seenActor{a, now}
	return a
}

func (p *people) look(pid int32) (actor, bool) {
	dir := "/proc/" + strconv.Itoa(int(pid))
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return actor{}, false
	}
	a := actor{pid: int(pid)}
	if a.image, err = os.Readlink(dir + "/exe"); err != nil {
		return actor{}, false // it is ending
	}
	a.image = strings.TrimSuffix(a.image, " (deleted)")
	if b, err := os.ReadFile(dir + "/cmdline"); err == nil {
		a.command = strings.ToValidUTF8(strings.ReplaceAll(strings.TrimRight(string(b[:min(len(b), maxCommand)]), "\x00"), "\x00", " "), "\uFFFD")
	}
	_, rest, _ := strings.Cut(string(status), "\nUid:")
	if f := strings.Fields(rest); len(f) > 1 {
		a.user = p.name(f[1])
	}
	return a, true
}

func (p *people) name(uid string) string {
	if n, ok := p.users[uid]; ok {
		return n
	}
	n := uid
	if u, err := user.LookupId(uid); err == nil {
		n = u.Username
	}
	if len(p.users) >= maxPeople {
		clear(p.users)
	}
	p.users[uid] = n
	return n
}
