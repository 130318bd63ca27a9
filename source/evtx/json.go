package evtx

import (
	"encoding/json"

	"github.com/sonae/sonae/event"
)

// AppendJSON appends the pairs of r as one JSON object, to be shown or kept
// with a finding: names in the order of the record, several values of a name
// as an array, all values as strings.
func AppendJSON(dst []byte, r *event.Record) []byte {
	values := make(map[string][]int, len(r.Pairs))
	for i := range r.Pairs {
		name := string(r.Pairs[i].Name)
		values[name] = append(values[name], i)
	}
	dst = append(dst, '{')
	for i := range r.Pairs {
		name := string(r.Pairs[i].Name)
		if values[name][0] != i {
			continue
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendString(dst, name), ':')
		dst = appendValues(dst, r, values[name])
	}
	return append(dst, '}')
}

func appendValues(dst []byte, r *event.Record, at []int) []byte {
	if len(at) == 1 {
		return appendString(dst, r.Pairs[at[0]].Text())
	}
	dst = append(dst, '[')
	for i, n := range at {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, r.Pairs[n].Text())
	}
	return append(dst, ']')
}

func appendString(dst []byte, s string) []byte {
	quoted, err := json.Marshal(s)
	if err != nil { // a string always has a form
		return append(dst, `""`...)
	}
	return append(dst, quoted...)
}
