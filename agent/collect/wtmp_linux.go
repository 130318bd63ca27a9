package collect

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/sonae/sonae/event"
)

// Records of utmp(5) on 64-bit Linux.
const (
	utmpSize    = 384
	bootTime    = 2
	userProcess = 7
	deadProcess = 8
)

// Logins follows wtmp and btmp: log-ins on machines that log them nowhere else.
type Logins struct {
	said
	cfg         Config
	wtmp, btmp  string
	users       map[string]string // line → user, to name who logged out
	offW, offB  int64
	fileW, filB os.FileInfo
}

// NewLogins follows the system's files.
func NewLogins(cfg Config) *Logins {
	l := &Logins{cfg: cfg, wtmp: "/var/log/wtmp", btmp: "/var/log/btmp", users: map[string]string{}}
	l.say("not started")
	return l
}

// Name implements Collector.
func (l *Logins) Name() string { return "logins" }

// Run implements Collector.
func (l *Logins) Run(ctx context.Context, q *Queue) error {
	l.offW, l.fileW = end(l.wtmp)
	l.offB, l.filB = end(l.btmp)
	for {
		l.offW, l.fileW = l.poll(l.wtmp, l.offW, l.fileW, false, q)
		l.offB, l.filB = l.poll(l.btmp, l.offB, l.filB, true, q)
		switch {
		case l.fileW == nil && l.filB == nil:
			l.say("no wtmp and no btmp on this machine")
		default:
			l.say("wtmp, btmp")
		}
		if !pause(ctx, time.Second) {
			return nil
		}
	}
}

func end(path string) (int64, os.FileInfo) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, nil
	}
	return info.Size() - info.Size()%utmpSize, info
}

// poll reads the records after off and returns the new offset.
func (l *Logins) poll(path string, off int64, was os.FileInfo, failed bool, q *Queue) (int64, os.FileInfo) {
	f, err := os.Open(path)
	if err != nil {
		return 0, nil
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return off, was
	}
	if was == nil || !os.SameFile(was, info) || info.Size() < off {
		off = 0
	}
	var b [utmpSize]byte
	for {
		if _, err := io.ReadFull(io.NewSectionReader(f, off, utmpSize), b[:]); err != nil {
			return off, info
		}
		off += utmpSize
		if e, ok := l.event(b[:], failed); ok {
			q.Put(e)
		}
	}
}

// event turns a record into a log-in event, when it is about a person.
func (l *Logins) event(b []byte, failed bool) (event.Event, bool) {
	line, user, host := cstring(b[8:40]), cstring(b[44:76]), cstring(b[76:332])
	at := time.Unix(int64(int32(binary.NativeEndian.Uint32(b[340:]))), int64(int32(binary.NativeEndian.Uint32(b[344:])))*1000).UTC()
	f := map[string]string{fieldTerminal: line}
	switch typ := binary.NativeEndian.Uint16(b); {
	case failed && user != "":
		f[fieldAction] = "failure"
	case !failed && typ == userProcess && user != "":
		f[fieldAction] = "login"
		if len(l.users) < 10000 {
			l.users[line] = user
		}
	case !failed && typ == deadProcess && l.users[line] != "":
		f[fieldAction], user = "logout", l.users[line]
		delete(l.users, line)
	default:
		if typ == bootTime {
			clear(l.users)
		}
		return event.Event{}, false
	}
	f[event.FieldUser] = user
	if ip := address(b[348:364]); ip != "" {
		f[event.FieldSrcIP] = ip
	} else if host != "" {
		f["SourceHostname"] = host
	}
	return event.Event{Time: at, Kind: event.KindLogin, Product: "linux", Category: "authentication", Service: "utmp", Fields: f,
		Raw: fmt.Sprintf("%s %s %s %s", f[fieldAction], user, line, host)}, true
}

func cstring(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}

// address reads ut_addr_v6: an IPv4 address has zeros after its four bytes.
func address(b []byte) string {
	a := netip.AddrFrom16([16]byte(b))
	if bytes.Equal(b[4:], make([]byte, 12)) {
		a = netip.AddrFrom4([4]byte(b))
	}
	if a.IsUnspecified() {
		return ""
	}
	return a.Unmap().String()
}
