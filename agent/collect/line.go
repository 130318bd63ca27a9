package collect

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source/linux"
	"github.com/sonae/sonae/source/tail"
)

// maxLine bounds one line of a log in bytes; the rest of a longer one is cut.
const maxLine = tail.MaxLine

// entry is one line of any system log.
type entry struct {
	at       time.Time
	program  string
	pid      string
	unit     string
	priority string // 0–7
	facility string // 4 and 10 are authentication
	message  string
	cursor   string
}

// events turns a line into a log event and, when it tells of a log-in, a
// log-in event.
func (e entry) events() []event.Event {
	f := map[string]string{}
	for k, v := range map[string]string{"Program": e.program, event.FieldPID: e.pid, "Unit": e.unit, "Priority": e.priority} {
		if v != "" {
			f[k] = v
		}
	}
	out := []event.Event{{Time: e.at, Kind: event.KindLog, Product: "linux", Service: e.service(), Fields: f, Raw: e.message}}
	if l, ok := loginOf(e.program, e.message, e.at); ok {
		out = append(out, l)
	}
	return out
}

// service names the log source as Sigma does.
func (e entry) service() string {
	facility, err := strconv.Atoi(e.facility)
	if err != nil {
		facility = linux.NoFacility
	}
	return linux.Service([]byte(e.program), facility)
}

// parseLine reads a line of a syslog file: an RFC 3339 or a traditional time,
// the host, the program with its number, the message. What does not look like
// that is a message of now.
func parseLine(line string, now time.Time, auth bool) entry {
	e := entry{at: now.UTC(), message: line}
	if auth {
		e.facility = "10"
	}
	at, rest, ok := lineTime(line, now)
	if !ok {
		return e
	}
	e.at = at
	_, rest, ok = strings.Cut(rest, " ") // the host is this one
	if !ok {
		return e
	}
	tag, message, ok := strings.Cut(rest, ": ")
	if !ok || len(tag) > 128 || strings.ContainsRune(tag, ' ') {
		e.message = rest
		return e
	}
	e.message, e.program = message, tag
	if name, pid, ok := strings.Cut(strings.TrimSuffix(tag, "]"), "["); ok {
		e.program = name
		if _, err := strconv.ParseUint(pid, 10, 31); err == nil {
			e.pid = pid
		}
	}
	return e
}

// lineTime reads the time at the head of a line. A traditional time has no
// year: it is the one that makes it lie at most a day ahead of now.
func lineTime(line string, now time.Time) (at time.Time, rest string, ok bool) {
	if head, rest, ok := strings.Cut(line, " "); ok && len(head) >= len("2006-01-02T15:04:05Z") {
		if at, err := time.Parse(time.RFC3339Nano, head); err == nil {
			return at.UTC(), rest, true
		}
	}
	if len(line) < len(time.Stamp)+1 || line[len(time.Stamp)] != ' ' {
		return at, line, false
	}
	at, err := time.ParseInLocation("2006 "+time.Stamp, strconv.Itoa(now.Year())+" "+line[:len(time.Stamp)], now.Location())
	if err != nil {
		return at, line, false
	}
	if at.After(now.Add(24 * time.Hour)) {
		at = at.AddDate(-1, 0, 0)
	}
	return at.UTC(), line[len(time.Stamp)+1:], true
}

// parseJournal reads one object of `journalctl -o json`.
func parseJournal(line []byte, now time.Time) (entry, bool) {
	var m map[string]json.RawMessage
	if json.Unmarshal(line, &m) != nil {
		return entry{}, false
	}
	get := func(key string) string { return text(m[key]) }
	e := entry{at: now.UTC(), program: get("SYSLOG_IDENTIFIER"), pid: get("_PID"), unit: get("_SYSTEMD_UNIT"), priority: get("PRIORITY"),
		facility: get("SYSLOG_FACILITY"), message: get("MESSAGE"), cursor: get("__CURSOR")}
	if e.program == "" {
		e.program = get("_COMM")
	}
	if us, err := strconv.ParseInt(get("__REALTIME_TIMESTAMP"), 10, 64); err == nil {
		e.at = time.UnixMicro(us).UTC()
	}
	e.message = e.message[:min(len(e.message), maxLine)]
	return e, true
}

// text reads a journal field: text, an array of bytes when it is not UTF-8, or
// an array of texts when it was given several times.
func text(raw json.RawMessage) string {
	if len(raw) == 0 {
		return ""
	}
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var bytes []uint16
	if json.Unmarshal(raw, &bytes) == nil {
		b := make([]byte, len(bytes))
		for i, c := range bytes {
			b[i] = byte(c)
		}
		return strings.ToValidUTF8(string(b), "\uFFFD")
	}
	var many []json.RawMessage
	if json.Unmarshal(raw, &many) == nil && len(many) > 0 && json.Unmarshal(many[0], &s) == nil {
		return s
	}
	return ""
}
