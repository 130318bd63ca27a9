package samba

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Prefix is what full_audit:prefix must be set to: who did it comes before
// everything that who did it can choose.
const Prefix = "sonae|%d|%I|%i|%m|%u|%S"

// Operations that full_audit must tell.
const (
	Open     = "create_file"
	Write    = "pwrite_send"
	WriteNow = "pwrite"
	Cut      = "ftruncate"
	Rename   = "renameat"
	Delete   = "unlinkat"
)

// Op is one operation of a client.
type Op struct {
	At      time.Time // zero: the log says no time
	PID     int       // of the smbd that served it
	Client  netip.Addr
	Server  netip.Addr // address of this machine at which the client is connected
	Machine string     // what the client calls itself: not to be believed
	User    string
	Share   string
	Verb    string
	OK      bool
	Why     string // of a failure
	Access  uint32 // Open: what was asked for, MS-SMB2 2.2.13.1
	Folder  bool   // Open
	How     string // Open: open, create, overwrite_if …
	Path    string // on this machine
	To      string // Rename
}

// Writes says whether a file was opened to be changed.
func (o Op) Writes() bool {
	const data, appends, maximum, all, write = 0x2, 0x4, 0x02000000, 0x10000000, 0x40000000
	return o.Access&(data|appends|maximum|all|write) != 0
}

// Reads says whether a file was opened to be read.
func (o Op) Reads() bool {
	const data, maximum, all, read = 0x1, 0x02000000, 0x10000000, 0x80000000
	return o.Access&(data|maximum|all|read) != 0
}

// Audit puts the lines of Samba's log together. A message of Samba is a head
// line, "[2026/11/28 17:48:27.315189,  1] …", and its text behind two spaces.
// Only the first line of the text counts: a file may have a name with line
// breaks in it, so as to look like what somebody else did. It is not safe for
// concurrent use.
type Audit struct {
	head bool
	at   time.Time
}

// Line takes one line without its break, and says whether it is an operation.
func (a *Audit) Line(line string) (Op, bool) {
	if strings.HasPrefix(line, "[") {
		a.head, a.at = true, headTime(line)
		return Op{}, false
	}
	text, ok := strings.CutPrefix(line, "  ")
	first := a.head
	a.head = false
	if !ok || !first {
		return Op{}, false
	}
	op, ok := parse(text)
	op.At = a.at
	return op, ok
}

func headTime(line string) time.Time {
	stamp, _, _ := strings.Cut(line[1:], ",")
	t, err := time.ParseInLocation("2006/01/02 15:04:05.999999", stamp, time.Local)
	if err != nil {
		return time.Time{}
	}
	return t
}

// maxField bounds what a client chooses, but for paths: PATH_MAX bounds those.
const (
	maxField = 256
	maxPath  = 4096
)

// parse reads the text of one message: the fields of Prefix, the operation, ok
// or fail, and what it was done to.
func parse(text string) (Op, bool) {
	f := strings.SplitN(text, "|", 10)
	if len(f) < 10 || f[0] != "sonae" || len(f[4]) > maxField || len(f[5]) > maxField || len(f[6]) > maxField {
		return Op{}, false
	}
	pid, err := strconv.Atoi(f[1])
	client, err2 := netip.ParseAddr(f[2])
	if err != nil || err2 != nil || pid < 2 {
		return Op{}, false
	}
	server, _ := netip.ParseAddr(f[3]) // it is only told
	op := Op{PID: pid, Client: client.Unmap().WithZone(""), Server: server.Unmap().WithZone(""), Machine: f[4], User: f[5], Share: f[6], Verb: f[7]}
	switch {
	case f[8] == "ok":
		op.OK = true
	case strings.HasPrefix(f[8], "fail"):
		op.Why = f[8][len("fail"):]
	default:
		return Op{}, false
	}
	return op, op.read(f[9])
}

// read takes up what an operation was done to. A name with the separator in it
// is ambiguous where two names stand.
func (o *Op) read(rest string) bool {
	switch o.Verb {
	case Open:
		f := strings.SplitN(rest, "|", 4)
		if len(f) != 4 {
			return false
		}
		access, err := strconv.ParseUint(f[0], 0, 32)
		if err != nil {
			return false
		}
		o.Access, o.Folder, o.How, o.Path = uint32(access), f[1] == "dir", f[2], f[3]
	case Rename:
		f := strings.Split(rest, "|")
		if len(f) != 2 {
			return false
		}
		o.Path, o.To = f[0], f[1]
	case Write, WriteNow, Cut, Delete:
		o.Path = rest
	default:
		return false
	}
	whole := func(p string) bool { return strings.HasPrefix(p, "/") && len(p) <= maxPath }
	return whole(o.Path) && (o.Verb != Rename || whole(o.To))
}
