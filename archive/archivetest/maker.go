package archivetest

import (
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/event"
)

// maker writes the events of one batch. All texts are cut from one buffer:
// that is several times faster than a string for each.
type maker struct {
	g *Generator
	h *host
	dice
	b     strings.Builder
	start int

	open [open]connection

	what needle // to be planted in this event
	nth  int
}

func (m *maker) text(parts ...string) *maker {
	for _, s := range parts {
		m.b.WriteString(s)
	}
	return m
}

func (m *maker) num(n int) *maker {
	var digits [20]byte
	m.b.Write(strconv.AppendInt(digits[:0], int64(n), 10))
	return m
}

// hex writes n as hexadecimal digits with leading zeros.
func (m *maker) hex(n uint64, digits int) *maker {
	for i := digits - 1; i >= 0; i-- {
		m.b.WriteByte("0123456789abcdef"[n>>(4*i)&15])
	}
	return m
}

func (m *maker) when(t time.Time, layout string) *maker {
	var b [40]byte
	m.b.Write(t.AppendFormat(b[:0], layout))
	return m
}

// cut returns what was written since the last cut.
func (m *maker) cut() string {
	s := m.b.String()[m.start:]
	m.start = m.b.Len()
	return s
}

func (m *maker) user() string { return m.g.users[m.g.userDice.pick(m.Uint64())] }
func (m *maker) away() string { return m.g.away[m.g.awayDice.pick(m.Uint64())] }
func (m *maker) near() string { return m.g.hosts[m.below(len(m.g.hosts))].address }

// make fills in one event: what is planted decides its shape, otherwise the
// mix of the host's system.
func (m *maker) make(e *event.Event) {
	if shape, ok := shapes[m.what]; ok {
		shape(m, e)
		return
	}
	n := m.below(100)
	switch {
	case n < 30:
		m.flow(e)
	case n < 44:
		m.dns(e)
	case n < 52:
		m.web(e)
	case m.h.windows && n < 72:
		m.process(e)
	case m.h.windows && n < 86:
		m.logon(e)
	case m.h.windows:
		m.registry(e)
	case n < 64:
		m.auth(e)
	case n < 82:
		m.audit(e)
	default:
		m.syslog(e)
	}
}

// shapes says which kind of event carries what is planted.
var shapes = map[needle]func(*maker, *event.Event){
	exact: (*maker).process, mixed: (*maker).process, hash: (*maker).process,
	phrase: (*maker).syslog, addressText: (*maker).syslog,
	addressColumn: (*maker).flow, rareUser: (*maker).auth, failed: (*maker).logon,
}
