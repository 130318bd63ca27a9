package ioc

import (
	"encoding/csv"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
)

// columns are the names that the first line of a CSV may give, by what they
// mean. Without such a line the columns are in this order.
var columns = []struct {
	means string
	names []string
}{
	{"value", []string{"value", "indicator", "ioc", "ioc_value", "observable"}},
	{"type", []string{"type", "kind", "ioc_type", "indicator_type"}},
	{"confidence", []string{"confidence", "confidence_level"}},
	{"until", []string{"until", "valid_until", "expiry", "expires", "expiration"}},
	{"note", []string{"note", "comment", "description", "malware", "tags"}},
}

// csv reads a CSV with the columns value, type, confidence, until and note.
func (p *parsing) csv(data []byte) {
	r := csv.NewReader(strings.NewReader(strings.ToValidUTF8(string(data), "\uFFFD")))
	r.FieldsPerRecord, r.LazyQuotes, r.TrimLeadingSpace, r.Comment, r.ReuseRecord = -1, true, true, '#', true
	at := map[string]int{}
	for i, c := range columns {
		at[c.means] = i
	}
	for first := true; ; {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return
		}
		line, _ := r.FieldPos(0)
		if err != nil {
			p.refuse(line, err.Error(), Nothing)
			continue
		}
		if first {
			first = false
			if named := header(row); named != nil {
				at = named
				continue
			}
		}
		p.row(line, func(name string) string {
			i, ok := at[name]
			if !ok || i >= len(row) {
				return ""
			}
			return strings.TrimSpace(row[i])
		})
	}
}

// header reads the names of columns; nil when the row is no such line.
func header(row []string) map[string]int {
	at := map[string]int{}
	for i, cell := range row {
		name := strings.ToLower(strings.Trim(strings.TrimSpace(cell), `"`))
		for _, c := range columns {
			if _, known := at[c.means]; !known && slices.Contains(c.names, name) {
				at[c.means] = i
			}
		}
	}
	if _, ok := at["value"]; !ok {
		return nil
	}
	return at
}

func (p *parsing) row(line int, get func(string) string) {
	value := get("value")
	if value == "" {
		return
	}
	about := Indicator{Note: get("note")}
	if text := get("confidence"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 100 {
			p.refuse(line, value+" "+text, BadNumber)
			return
		}
		about.Confidence = n
	}
	if text := get("until"); text != "" {
		t, ok := moment(text)
		if !ok {
			p.refuse(line, value+" "+text, BadTime)
			return
		}
		about.Until = t
	}
	p.value(line, kindNamed(get("type")), value, about)
}

// kindNamed knows what lists call kinds; what nobody knows is found out.
func kindNamed(name string) Kind {
	switch name = strings.ToLower(name); {
	case strings.Contains(name, "ja4"):
		return JA4
	case strings.Contains(name, "url"), strings.Contains(name, "uri"):
		return URL
	case strings.Contains(name, "domain"), strings.Contains(name, "host"), strings.Contains(name, "fqdn"):
		return Domain
	case strings.Contains(name, "md5"), strings.Contains(name, "sha"), strings.Contains(name, "hash"):
		return Hash
	case strings.Contains(name, "cidr"), strings.Contains(name, "net"):
		return Net
	case strings.Contains(name, "ip"):
		return IP
	}
	return ""
}
