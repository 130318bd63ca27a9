package journal

import (
	"strconv"
	"time"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source"
	"github.com/sonae/sonae/source/linux"
)

// Completer gives entries of the journal their time, host and log source, and
// adds what the line says. It is for one reader at a time.
type Completer struct{ text []byte }

// entry is what Complete looks for.
type entry struct {
	identifier, comm, pid, message, facility, transport []byte
}

// Complete completes a record whose pairs have the names of the journal.
func (c *Completer) Complete(r *event.Record, names *source.Names) {
	c.text = c.text[:0]
	c.joinBytes(r)
	var e entry
	for i := range r.Pairs {
		p := &r.Pairs[i]
		switch string(p.Name) {
		case "MESSAGE":
			e.message = c.plain(p)
		case "SYSLOG_IDENTIFIER":
			e.identifier = c.plain(p)
		case "_COMM":
			e.comm = c.plain(p)
		case "_PID":
			e.pid = p.Value
		case "SYSLOG_FACILITY":
			e.facility = p.Value
		case "_TRANSPORT":
			e.transport = p.Value
		case "_HOSTNAME":
			r.Host = names.Of(c.plain(p))
		case "__REALTIME_TIMESTAMP":
			if us, err := strconv.ParseInt(string(p.Value), 10, 64); err == nil {
				r.Time = time.UnixMicro(us).UTC()
			}
		}
	}
	program := e.identifier
	if len(program) == 0 {
		program = e.comm
	}
	if len(program) == 0 && string(e.transport) == "kernel" {
		program = e.transport
	}
	linux.Complete(r, program, e.pid, e.message, facility(e.facility))
}

// facility reads a number of syslog.
func facility(b []byte) int {
	if len(b) == 0 {
		return linux.NoFacility
	}
	n, err := strconv.Atoi(string(b))
	if err != nil {
		return linux.NoFacility
	}
	return n
}

func (c *Completer) plain(p *event.Pair) []byte {
	if p.Enc == event.Plain {
		return p.Value
	}
	from := len(c.text)
	c.text = p.AppendText(c.text)
	return c.text[from:len(c.text):len(c.text)]
}

// joinBytes makes one text of a MESSAGE that is no UTF-8, which JSON shows as
// an array of its bytes.
func (c *Completer) joinBytes(r *event.Record) {
	n, first := 0, -1
	for i := range r.Pairs {
		if string(r.Pairs[i].Name) != "MESSAGE" {
			continue
		}
		v, ok := small(r.Pairs[i].Value)
		if !ok {
			return
		}
		if c.text = append(c.text, v); first < 0 {
			first = i
		}
		n++
	}
	if n < 2 {
		return
	}
	text := c.text[:n:n]
	kept := r.Pairs[:0]
	for i, p := range r.Pairs {
		if i == first {
			kept = append(kept, event.Pair{Name: p.Name, Value: text})
		} else if string(p.Name) != "MESSAGE" {
			kept = append(kept, p)
		}
	}
	r.Pairs = kept
}

// small reads a number below 256.
func small(b []byte) (byte, bool) {
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' || n > 255 {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return byte(n), len(b) > 0 && n < 256
}
