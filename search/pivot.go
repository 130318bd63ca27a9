package search

import (
	"net/netip"
	"strings"
)

// Quote writes a value so that the language of the archive reads it as it is.
func Quote(value string) string { return `"` + strings.ReplaceAll(value, `"`, `""`) + `"` }

// Term is the condition that a field has exactly this value; without is its
// opposite, which also holds where the field is absent.
func Term(field, value string, without bool) string {
	t := field + "=" + Quote(value)
	if without {
		return "-" + t
	}
	return t
}

// With adds a condition to the filter of a query. Its stages after the first |
// stay only where keep says so: somebody who narrows a table wants to see the
// events behind it.
func With(query, term string, keep bool) string {
	filter, stages := Split(query)
	switch {
	case filter == "":
		filter = term
	case contains(filter, term):
	case hasOr(filter):
		filter = "(" + filter + ") " + term
	default:
		filter += " " + term
	}
	if keep && stages != "" {
		return filter + " | " + stages
	}
	return filter
}

func contains(filter, term string) bool {
	return filter == term || strings.HasPrefix(filter, term+" ") || strings.HasSuffix(filter, " "+term) || strings.Contains(filter, " "+term+" ")
}

// Split cuts a query at its first |, outside quotes, regular expressions
// excepted only when they are quoted too.
func Split(query string) (filter, stages string) {
	quoted, regex := false, false
	before := rune(' ')
	for i, r := range query {
		switch {
		case regex:
			regex = r != '/' || before == '\\'
		case r == '"':
			quoted = !quoted
		case quoted:
		case r == '/' && before == ':':
			regex = true
		case r == '|':
			return strings.TrimSpace(query[:i]), strings.TrimSpace(query[i+1:])
		}
		before = r
	}
	return strings.TrimSpace(query), ""
}

// hasOr says whether OR stands in a filter, outside quotes: better once too
// often in parentheses than a condition that binds to one side only.
func hasOr(filter string) bool {
	quoted := false
	for part := range strings.FieldsSeq(strings.NewReplacer(`"`, ` " `, "(", " ", ")", " ").Replace(filter)) {
		switch {
		case part == `"`:
			quoted = !quoted
		case !quoted && strings.EqualFold(part, "or"):
			return true
		}
	}
	return false
}

// Kind is what an Entity is.
type Kind string

// Kinds of entities.
const (
	Host    Kind = "host"
	User    Kind = "user"
	Address Kind = "address"
	Hash    Kind = "hash"
	Process Kind = "process"
)

// Kinds lists them in the order in which people read them.
func Kinds() []Kind { return []Kind{Host, User, Address, Process, Hash} }

// Find returns the search for all events that name an entity.
func (k Kind) Find(value string) string {
	switch k {
	case Host:
		return Term("host", value, false)
	case User:
		return Term("User", value, false)
	case Address:
		return Term("ip", value, false)
	case Hash:
		return "hash:" + Quote(value)
	}
	return Term("Image", value, false)
}

// KindOf says what kind of entity the value of a field is; false when it is
// none. field is a name of event.Event.Fields or of a column.
func KindOf(field, value string) (Kind, bool) {
	if value == "" {
		return "", false
	}
	switch strings.ToLower(field) {
	case "host":
		return Host, true
	case "user", "user_name", "targetusername", "subjectusername":
		return User, true
	case "sourceip", "destinationip", "localip", "remoteip", "source_ip", "destination_ip", "ipaddress", "ip":
		if _, err := netip.ParseAddr(value); err == nil {
			return Address, true
		}
	case "image", "parentimage", "process_executable", "process_parent_executable":
		return Process, true
	case "hashes", "file_hash", "md5", "sha1", "sha256", "imphash":
		return Hash, true
	}
	return "", false
}
