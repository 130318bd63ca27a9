package sniff

import (
	"bytes"

	"github.com/sonae/sonae/source"
	"github.com/sonae/sonae/source/accesslog"
)

// binaries are files that are no text, by how they begin.
var binaries = []struct {
	magic string
	looks string
}{
	{"\x1f\x8b", "a gzip file"}, {"\x28\xb5\x2f\xfd", "a zstd file"}, {"PK\x03\x04", "a zip file"}, {"PK\x05\x06", "a zip file"},
	{"BZh", "a bzip2 file"}, {"\xfd7zXZ\x00", "an xz file"}, {"7z\xbc\xaf\x27\x1c", "a 7-Zip file"}, {"Rar!\x1a\x07", "a RAR file"},
	{"\xd4\xc3\xb2\xa1", "a network capture"}, {"\xa1\xb2\xc3\xd4", "a network capture"}, {"\x4d\x3c\xb2\xa1", "a network capture"},
	{"\xa1\xb2\x3c\x4d", "a network capture"}, {"\x0a\x0d\x0d\x0a", "a network capture"},
	{"\x7fELF", "a program of Linux"}, {"MZ", "a program of Windows"}, {"%PDF-", "a PDF document"}, {"SQLite format 3\x00", "an SQLite database"},
	{"\x89PNG\r\n\x1a\n", "a picture"}, {"\xff\xd8\xff", "a picture"}, {"GIF8", "a picture"}, {"LPKSHHRH", "a binary journal of systemd: export it with journalctl -o export --file"},
	{"regf", "a registry hive of Windows"}, {"\xd0\xcf\x11\xe0", "an old Office document"}, {"PAR1", "a Parquet file"},
	{"LfLe", "an event log of Windows XP (.evt)"}, {"MAM\x04", "a compressed prefetch file"},
}

// Detect names the format of the stream that begins with head.
func Detect(head []byte) (Format, error) {
	if len(head) == 0 {
		return "", ErrEmpty
	}
	if bytes.HasPrefix(head, []byte("ElfFile\x00")) || bytes.HasPrefix(head, []byte("ElfChnk\x00")) {
		return EVTX, nil
	}
	for _, b := range binaries {
		if bytes.HasPrefix(head, []byte(b.magic)) {
			return "", &Unknown{b.looks}
		}
	}
	if len(head) > 262 && string(head[257:262]) == "ustar" {
		return "", &Unknown{"a tar archive"}
	}
	w := source.NewWindow(bytes.NewReader(head))
	for w.More() {
		continue
	}
	text := w.Bytes()
	if isJournal(text) { // may hold binary values
		return Journal, nil
	}
	if bytes.IndexByte(text[:min(len(text), 4096)], 0) >= 0 {
		return "", &Unknown{"a binary file"}
	}
	if isXML(text) {
		if bytes.Contains(text, []byte("<Event ")) || bytes.Contains(text, []byte("<Event>")) {
			return WinXML, nil
		}
		return "", &Unknown{"XML without Windows events"}
	}
	return vote(text)
}

func isXML(text []byte) bool {
	t := bytes.TrimSpace(text)
	return bytes.HasPrefix(t, []byte("<?xml")) || bytes.HasPrefix(t, []byte("<Event")) || bytes.HasPrefix(t, []byte("<!DOCTYPE")) || bytes.HasPrefix(t, []byte("<html"))
}

// isJournal knows the first fields that journalctl -o export writes.
func isJournal(text []byte) bool {
	t := bytes.TrimLeft(text, "\n")
	return bytes.HasPrefix(t, []byte("__CURSOR=")) || bytes.HasPrefix(t, []byte("__REALTIME_TIMESTAMP="))
}

// maxVotes is how many lines are asked.
const maxVotes = 40

// vote lets every line say what it looks like. The format that most lines have
// wins when it has at least a third of them; the first line breaks a tie.
func vote(text []byte) (Format, error) {
	votes := map[Format]int{}
	var order []Format
	all := 0
	for rest := text; len(rest) > 0 && all < maxVotes; {
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		rest = after
		line = bytes.TrimRight(line, "\r ")
		if len(bytes.TrimSpace(line)) == 0 || !whole && all > 0 && len(text) == HeadSize {
			continue
		}
		f := formatOf(line)
		switch f {
		case JSON, Zeek: // what follows may look like anything, being values
			if all == 0 || votes[f] == all {
				return f, nil
			}
		}
		all++
		if f == "" {
			continue
		}
		if votes[f]++; votes[f] == 1 {
			order = append(order, f)
		}
	}
	var best Format
	for _, f := range order {
		if best == "" || votes[f] > votes[best] {
			best = f
		}
	}
	switch {
	case all == 0:
		return "", ErrEmpty
	case best == "" || votes[best]*3 < all:
		return "", &Unknown{"text in no format of logs that is known"}
	}
	return best, nil
}

// formatOf says what a line looks like, or nothing.
func formatOf(line []byte) Format {
	t := bytes.TrimLeft(line, " \t")
	switch {
	case isObject(t):
		return JSON
	case bytes.HasPrefix(t, []byte("#separator ")), bytes.HasPrefix(t, []byte("#fields\t")):
		return Zeek
	case bytes.HasPrefix(t, []byte("#Fields: ")), bytes.HasPrefix(t, []byte("#Software: ")), bytes.HasPrefix(t, []byte("#Version: ")):
		return Access
	case hasEarly(t, "type=") && hasEarly(t, " msg=audit("):
		return Auditd
	case hasEarly(t, "CEF:0|"), hasEarly(t, "CEF:1|"), hasEarly(t, "LEEF:1.0|"), hasEarly(t, "LEEF:2.0|"):
		return CEF
	case accesslog.Is(t):
		return Access
	case isSyslog(t):
		return Syslog
	}
	return ""
}

func hasEarly(t []byte, what string) bool { return bytes.Contains(t[:min(len(t), 256)], []byte(what)) }

// isObject says whether a line begins JSON objects.
func isObject(t []byte) bool {
	if rest, ok := bytes.CutPrefix(t, []byte("Record ")); ok { // evtx_dump
		return len(bytes.TrimLeft(rest, "0123456789")) == 0
	}
	rest := bytes.TrimLeft(t, "[ \t")
	switch {
	case len(t) == 0 || t[0] != '{' && t[0] != '[':
		return false
	case len(rest) == 0:
		return true
	case rest[0] != '{':
		return false
	}
	rest = bytes.TrimLeft(rest[1:], " \t")
	return len(rest) == 0 || rest[0] == '"' || rest[0] == '}'
}

// isSyslog says whether a line begins as syslog does.
func isSyslog(t []byte) bool {
	digits := len(t) - len(bytes.TrimLeft(t, "0123456789"))
	if digits > 0 && digits < 8 && len(t) > digits+1 && t[digits] == ' ' && t[digits+1] == '<' {
		t = t[digits+1:]
	}
	if t[0] == '<' {
		i := bytes.IndexByte(t[:min(len(t), 5)], '>')
		return i > 1 && len(bytes.TrimLeft(t[1:i], "0123456789")) == 0
	}
	if bytes.HasPrefix(t, []byte("date=")) && bytes.Contains(t, []byte(" logid=")) {
		return true
	}
	_, rest, ok := source.Stamp(t, source.Options{})
	return ok && bytes.IndexByte(rest, ' ') > 0
}
