package plan

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"

	"gopkg.in/yaml.v3"
)

// plans are ready-made plans to begin with, as data.
//
//go:embed plans/*.yaml
var plans embed.FS

// Hospital is the ready-made plan of a regional hospital. All its numbers are
// assumptions to be replaced by one's own.
func Hospital() (Plan, error) {
	text, err := plans.ReadFile("plans/hospital.yaml")
	if err != nil {
		return Plan{}, fmt.Errorf("ready-made plan: %w", err)
	}
	return read(text)
}

// read takes YAML with the names that the JSON of a plan has.
func read(text []byte) (Plan, error) {
	var any map[string]any
	if err := yaml.Unmarshal(text, &any); err != nil {
		return Plan{}, fmt.Errorf("read a plan: %w", err)
	}
	asJSON, err := json.Marshal(any)
	if err != nil {
		return Plan{}, fmt.Errorf("read a plan: %w", err)
	}
	var p Plan
	d := json.NewDecoder(bytes.NewReader(asJSON))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return Plan{}, fmt.Errorf("read a plan: %w", err)
	}
	return p, p.Check()
}
