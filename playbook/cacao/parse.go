package cacao

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// Problem is one thing that a playbook must not be.
type Problem struct {
	Step     string `json:"step,omitempty"` // id, empty: of the playbook itself
	Property string `json:"property,omitempty"`
	What     string `json:"what"`
}

// String is one line for a terminal.
func (p Problem) String() string {
	where := "playbook"
	if p.Step != "" {
		where = p.Step
	}
	if p.Property != "" {
		where += ": " + p.Property
	}
	return where + ": " + p.What
}

// Problems is the error of a playbook that cannot be used. There is at least
// one.
type Problems []Problem

// Error names the first problem, and how many there are.
func (p Problems) Error() string {
	if len(p) == 1 {
		return p[0].String()
	}
	return fmt.Sprintf("%s (and %d more)", p[0], len(p)-1)
}

// Parse reads one playbook and checks it. The error is Problems.
func Parse(data []byte) (*Playbook, error) {
	p, err := Read(data)
	if err != nil {
		return nil, err
	}
	if found := Check(p); len(found) > 0 {
		return nil, found
	}
	return p, nil
}

// Read reads one playbook without checking what it says. The error is
// Problems.
func Read(data []byte) (*Playbook, error) {
	if err := plain(data); err != nil {
		return nil, Problems{{What: err.Error()}}
	}
	var p Playbook
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, Problems{unreadable(err)}
	}
	return &p, nil
}

// Emit writes the playbook as indented JSON, properties sorted by name, so
// that the same playbook is always the same text.
func Emit(p *Playbook) ([]byte, error) {
	text, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("write playbook %s: %w", p.ID, err)
	}
	// Through a map, because encoding/json sorts the names of maps only.
	var all any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&all); err != nil {
		return nil, fmt.Errorf("write playbook %s: %w", p.ID, err)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(all); err != nil {
		return nil, fmt.Errorf("write playbook %s: %w", p.ID, err)
	}
	return b.Bytes(), nil
}

func unreadable(err error) Problem {
	var step *stepError
	p := Problem{What: err.Error()}
	if errors.As(err, &step) {
		p.Step, p.What = step.step, step.err.Error()
	}
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		p.Property, p.What = kind.Field, fmt.Sprintf("is a JSON %s, which it must not be", kind.Value)
	}
	return p
}

// plain refuses what readers of JSON disagree about or what makes them grow:
// broken UTF-8, a property that stands twice, deep nesting, more than one value.
func plain(data []byte) error {
	if len(data) > MaxBytes {
		return fmt.Errorf("has %d bytes, more than %d", len(data), MaxBytes)
	}
	if !utf8.Valid(data) {
		return errors.New("is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := value(d, 0); err != nil {
		return fmt.Errorf("byte %d: %w", d.InputOffset(), err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("byte %d: something follows the playbook", d.InputOffset())
	}
	return nil
}

func value(d *json.Decoder, depth int) error {
	if depth > MaxDepth {
		return fmt.Errorf("is nested deeper than %d", MaxDepth)
	}
	t, err := d.Token()
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	switch t {
	case json.Delim('{'):
		return object(d, depth)
	case json.Delim('['):
		for d.More() {
			if err := value(d, depth+1); err != nil {
				return err
			}
		}
		_, err = d.Token()
	}
	return err
}

func object(d *json.Decoder, depth int) error {
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		name, ok := t.(string)
		if !ok {
			return fmt.Errorf("the name of a property is no string")
		}
		if seen[name] {
			return fmt.Errorf("property %q stands twice", name)
		}
		seen[name] = true
		if err := value(d, depth+1); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}
