package restic

import (
	"bytes"
	"encoding/json"
	"fmt"
)

func decodeBytes(b []byte, into any) error { return decodeAll(bytes.NewReader(b), into) }

// object reads one JSON object; field reads the value of each of its names, or
// skips it.
func object(d *json.Decoder, field func(name string) error) error {
	if err := delim(d, '{'); err != nil {
		return err
	}
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		name, _ := t.(string)
		if seen[name] { // which of both would another reader take?
			return fmt.Errorf("%.40q stands there twice", name)
		}
		if len(seen) == maxFields {
			return fmt.Errorf("more than %d fields", maxFields)
		}
		seen[name] = true
		if err := field(name); err != nil {
			return err
		}
	}
	return delim(d, '}')
}

// maxFields bounds the names of an object.
const maxFields = 64

// array reads one JSON array, or null; each reads one value.
func array(d *json.Decoder, each func() error) error {
	t, err := d.Token()
	if err != nil || t == nil {
		return err
	}
	if t != json.Delim('[') {
		return fmt.Errorf("%v instead of an array", t)
	}
	for d.More() {
		if err := each(); err != nil {
			return err
		}
	}
	return delim(d, ']')
}

func delim(d *json.Decoder, want json.Delim) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	if t != want {
		return fmt.Errorf("%.40v instead of %v", t, want)
	}
	return nil
}

// skip reads over one value, which a later version of the format may have.
func skip(d *json.Decoder) error {
	var raw json.RawMessage
	return d.Decode(&raw)
}
