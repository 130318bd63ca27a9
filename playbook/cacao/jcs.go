package cacao

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// errNotCanonical says that a text has no canonical form.
var errNotCanonical = errors.New("cacao: a text that is not I-JSON has no canonical form")

// Canonical writes JSON in the form of RFC 8785 (JCS): no white space, members
// in the order of their names in UTF-16, numbers as ECMAScript writes them. A
// member that stands twice, or bytes that are no UTF-8, are an error: two
// readers could read two texts out of them.
func Canonical(source []byte) ([]byte, error) {
	if !utf8.Valid(source) {
		return nil, errNotCanonical
	}
	d := json.NewDecoder(bytes.NewReader(source))
	d.UseNumber()
	var out bytes.Buffer
	if err := canonical(&out, d, 0); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errNotCanonical
	}
	return out.Bytes(), nil
}

func canonical(out *bytes.Buffer, d *json.Decoder, depth int) error {
	if depth > 4*MaxDepth {
		return fmt.Errorf("cacao: nested deeper than %d", 4*MaxDepth)
	}
	t, err := d.Token()
	if err != nil {
		return err
	}
	switch v := t.(type) {
	case json.Delim:
		if v == '[' {
			return canonicalList(out, d, depth)
		}
		return canonicalObject(out, d, depth)
	case string:
		canonicalString(out, v)
	case json.Number:
		return canonicalNumber(out, v)
	case bool:
		out.WriteString(strconv.FormatBool(v))
	default:
		out.WriteString("null")
	}
	return nil
}

func canonicalList(out *bytes.Buffer, d *json.Decoder, depth int) error {
	out.WriteByte('[')
	for first := true; d.More(); first = false {
		if !first {
			out.WriteByte(',')
		}
		if err := canonical(out, d, depth+1); err != nil {
			return err
		}
	}
	out.WriteByte(']')
	_, err := d.Token()
	return err
}

func canonicalObject(out *bytes.Buffer, d *json.Decoder, depth int) error {
	type member struct {
		name  string
		order []uint16
		value []byte
	}
	var all []member
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		name, ok := t.(string)
		if !ok {
			return errNotCanonical
		}
		var value bytes.Buffer
		if err := canonical(&value, d, depth+1); err != nil {
			return err
		}
		all = append(all, member{name, utf16.Encode([]rune(name)), value.Bytes()})
	}
	if _, err := d.Token(); err != nil {
		return err
	}
	slices.SortFunc(all, func(x, y member) int { return slices.Compare(x.order, y.order) })
	out.WriteByte('{')
	for i, m := range all {
		if i > 0 {
			if cmp.Compare(all[i-1].name, m.name) == 0 {
				return errNotCanonical
			}
			out.WriteByte(',')
		}
		canonicalString(out, m.name)
		out.WriteByte(':')
		out.Write(m.value)
	}
	out.WriteByte('}')
	return nil
}

// canonicalString escapes what must be, and nothing else; unlike encoding/json it
// leaves U+2028 and U+2029 as they are.
func canonicalString(out *bytes.Buffer, s string) {
	out.WriteByte('"')
	for _, r := range s {
		switch r {
		case '"', '\\':
			out.WriteByte('\\')
			out.WriteRune(r)
		case '\b':
			out.WriteString(`\b`)
		case '\f':
			out.WriteString(`\f`)
		case '\n':
			out.WriteString(`\n`)
		case '\r':
			out.WriteString(`\r`)
		case '\t':
			out.WriteString(`\t`)
		default:
			if r < 0x20 {
				fmt.Fprintf(out, `\u%04x`, r)
				continue
			}
			out.WriteRune(r)
		}
	}
	out.WriteByte('"')
}

// canonicalNumber writes a number as an IEEE 754 double; encoding/json writes
// those as ECMAScript does.
func canonicalNumber(out *bytes.Buffer, n json.Number) error {
	f, err := strconv.ParseFloat(n.String(), 64)
	if err != nil || math.IsInf(f, 0) {
		return errNotCanonical
	}
	if f == 0 { // minus zero, too
		out.WriteByte('0')
		return nil
	}
	b, err := json.Marshal(f)
	if err != nil {
		return errNotCanonical
	}
	out.Write(b)
	return nil
}
