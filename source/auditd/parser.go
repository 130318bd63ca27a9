package auditd

import (
	"bytes"
	"strconv"
	"time"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source"
)

// maxPairs bounds the pairs of an event.
const maxPairs = 16 << 10

// parser makes a record of the lines of one event.
type parser struct {
	rec  event.Record
	room []byte // decoded values
	node []byte
	kind []byte // type of the line
	key  known
	args []byte // of EXECVE, joined by blanks
}

// known are the values that become Sigma's names.
type known struct {
	exe, pid, ppid, uid, user, auid, cwd []byte
	arch, syscall, syscallName, success  []byte
	saddr, address, port                 []byte
	executed                             bool
	split                                []byte // name of an argument that comes in pieces
	piece                                int    // where its value is in the room
}

// parse fills p.rec.
func (p *parser) parse(id, lines []byte) {
	p.rec.Reset()
	p.room, p.args, p.node = p.room[:0], p.args[:0], nil
	p.key = known{}
	stamp, _, _ := bytes.Cut(id, []byte(":"))
	p.rec.Time, _ = source.Time(stamp, time.UTC)
	p.rec.Raw = bytes.TrimSuffix(lines, []byte("\n"))
	for rest := lines; len(rest) > 0; {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\n"))
		p.line(line)
	}
	p.complete()
}

// line adds what a line says: [node=N ]type=T msg=audit(…): name=value …
func (p *parser) line(line []byte) {
	at := bytes.Index(line, typeIs)
	if at < 0 {
		return
	}
	if i := bytes.LastIndex(line[:at], []byte("node=")); i >= 0 {
		p.node = bytes.TrimSpace(line[i+len("node=") : at])
	}
	var body []byte
	p.kind, body, _ = bytes.Cut(line[at+len(typeIs):], []byte(" "))
	if i := bytes.Index(body, closing); i >= 0 {
		body = body[i+len(closing):]
	}
	p.rec.Add(nameType, p.kind, event.Plain)
	p.key.split = nil
	if string(p.kind) == "EXECVE" {
		p.key.executed = true
	}
	p.words(body)
	p.endSplit()
}

var nameType = []byte("type")

// words adds name=value name="value" name='name=value …' until the end. 0x1D
// stands before what was enriched.
func (p *parser) words(b []byte) {
	for len(p.rec.Pairs) < maxPairs {
		for len(b) > 0 && (b[0] == ' ' || b[0] == 0x1d || b[0] == ',') {
			b = b[1:]
		}
		i := bytes.IndexByte(b, '=')
		if i < 0 {
			return
		}
		name := b[:i]
		if j := bytes.LastIndexAny(name, " \x1d"); j >= 0 { // words without a value
			name = name[j+1:]
		}
		b = b[i+1:]
		var value []byte
		quote := byte(0)
		switch {
		case len(b) > 0 && (b[0] == '"' || b[0] == '\'' || b[0] == '{'):
			quote = b[0]
			value, b = quoted(b)
		default:
			n := bytes.IndexAny(b, " \x1d")
			if n < 0 {
				n = len(b)
			}
			value, b = b[:n], b[n:]
		}
		switch {
		case len(name) == 0 || len(name) > 128:
		case quote == '\'' && string(name) == "msg":
			p.words(value)
		case quote == '{': // SADDR={ saddr_fam=inet laddr=… }
			p.words(value)
		default:
			p.pair(name, value, quote != 0)
		}
	}
}

// quoted cuts the value between the quote at the beginning of b and its fellow.
func quoted(b []byte) (value, rest []byte) {
	fellow := b[0]
	if fellow == '{' {
		fellow = '}'
	}
	i := bytes.IndexByte(b[1:], fellow)
	if i < 0 {
		return b[1:], nil
	}
	return b[1 : i+1], b[i+2:]
}

// pair adds one value.
func (p *parser) pair(name, value []byte, quoted bool) {
	if !quoted && string(value) == "(null)" {
		return
	}
	if string(p.kind) == "EXECVE" && len(name) > 1 && name[0] == 'a' && name[1] >= '0' && name[1] <= '9' {
		p.argument(name, value, quoted)
		return
	}
	if !quoted && encoded(name) {
		value = p.decode(value)
	}
	if string(name) == "proctitle" {
		value = p.blanks(value)
	}
	p.rec.Add(name, value, event.Plain)
	p.key.note(name, value)
}

// encoded says whether a value of that name is written in hexadecimal when it
// holds blanks, quotes or control characters.
func encoded(name []byte) bool {
	switch string(name) {
	case "name", "comm", "exe", "cwd", "proctitle", "cmd", "data", "acct", "key", "path", "dir", "file", "vm", "watch", "ocomm", "old-chardev", "new-chardev", "grp", "device":
		return true
	}
	return false
}

// decode turns hexadecimal digits into what they stand for; other values are
// left as they are.
func (p *parser) decode(v []byte) []byte {
	if len(v) < 2 || len(v)%2 != 0 {
		return v
	}
	from := len(p.room)
	for i := 0; i < len(v); i += 2 {
		high, ok1 := digit(v[i])
		low, ok2 := digit(v[i+1])
		if !ok1 || !ok2 {
			p.room = p.room[:from]
			return v
		}
		p.room = append(p.room, high<<4|low)
	}
	return p.room[from:len(p.room):len(p.room)]
}

func digit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'A' && c <= 'F': // the kernel writes capitals
		return c - 'A' + 10, true
	}
	return 0, false
}

// blanks shows the zero bytes between arguments as blanks.
func (p *parser) blanks(v []byte) []byte {
	if bytes.IndexByte(v, 0) < 0 {
		return v
	}
	from := len(p.room)
	for _, c := range bytes.TrimRight(v, "\x00") {
		if c == 0 {
			c = ' '
		}
		p.room = append(p.room, c)
	}
	return p.room[from:len(p.room):len(p.room)]
}

// argument adds a0 … of EXECVE. A long one comes as a2_len=, a2[0]=, a2[1]=.
func (p *parser) argument(name, value []byte, quoted bool) {
	if bytes.HasSuffix(name, []byte("_len")) {
		return
	}
	if !quoted {
		value = p.decode(value)
	}
	base, _, pieces := bytes.Cut(name, []byte("["))
	if !pieces {
		p.endSplit()
		p.whole(name, value)
		return
	}
	if !bytes.Equal(base, p.key.split) {
		p.endSplit()
		p.key.split, p.key.piece = base, len(p.args)
		if len(p.args) > 0 {
			p.args = append(p.args, ' ')
			p.key.piece++
		}
	}
	p.args = append(p.args, value...)
}

// endSplit adds an argument of which all pieces have come.
func (p *parser) endSplit() {
	if p.key.split == nil {
		return
	}
	from := len(p.room)
	p.room = append(p.room, p.args[p.key.piece:]...)
	p.rec.Add(p.key.split, p.room[from:len(p.room):len(p.room)], event.Plain)
	p.key.split = nil
}

func (p *parser) whole(name, value []byte) {
	p.rec.Add(name, value, event.Plain)
	if len(p.args) > 0 {
		p.args = append(p.args, ' ')
	}
	p.args = append(p.args, value...)
}

// note keeps the values that become Sigma's names.
func (k *known) note(name, value []byte) {
	switch string(name) {
	case "exe":
		k.exe = value
	case "pid":
		k.pid = value
	case "ppid":
		k.ppid = value
	case "uid":
		k.uid = value
	case "UID":
		k.user = value
	case "auid":
		k.auid = value
	case "cwd":
		k.cwd = value
	case "arch":
		k.arch = value
	case "syscall":
		k.syscall = value
	case "SYSCALL":
		k.syscallName = value
	case "success":
		k.success = value
	case "saddr":
		k.saddr = value
	case "laddr":
		k.address = value
	case "lport":
		k.port = value
	}
}

func atoi(b []byte) int {
	n, err := strconv.Atoi(string(b))
	if err != nil {
		return -1
	}
	return n
}
