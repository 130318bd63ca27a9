package sigma

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"gopkg.in/yaml.v3"

	"github.com/sonae/sonae/event"
)

// parseMeta reads everything but the detection.
func parseMeta(r *Meta, m map[string]*yaml.Node) error {
	if err := parseNames(r, m); err != nil {
		return err
	}
	if r.Title == "" {
		return errors.New("the rule has no title")
	}
	level := ""
	if err := text(m, "level", &level); err != nil {
		return err
	}
	r.Level = event.Medium
	if level != "" {
		l, err := event.ParseSeverity(level)
		if err != nil {
			return at(m["level"], fmt.Errorf("level: %w", err))
		}
		r.Level = l
	}
	for _, step := range []func(*Meta, map[string]*yaml.Node) error{parseLogsource, parseRelated, parseExtra, parseThreshold} {
		if err := step(r, m); err != nil {
			return err
		}
	}
	if r.ID == "" {
		r.ID = ownID(r)
	}
	return nil
}

// parseNames reads the plain texts and lists of texts.
func parseNames(r *Meta, m map[string]*yaml.Node) error {
	for _, f := range []struct {
		key  string
		into *string
	}{
		{"id", &r.ID}, {"name", &r.Name}, {"title", &r.Title}, {"taxonomy", &r.Taxonomy}, {"status", &r.Status},
		{"description", &r.Description}, {"license", &r.License}, {"author", &r.Author}, {"date", &r.Date}, {"modified", &r.Modified},
	} {
		if err := text(m, f.key, f.into); err != nil {
			return err
		}
	}
	for _, f := range []struct {
		key  string
		into *[]string
	}{
		{"references", &r.References}, {"tags", &r.Tags}, {"fields", &r.Fields},
		{"falsepositives", &r.FalsePositives}, {"scope", &r.Scope},
	} {
		if err := texts(m, f.key, f.into); err != nil {
			return err
		}
	}
	return nil
}

// ownID makes an id for a rule that has none, which Sigma allows: findings
// need one, and it must not change when only the detection is tuned.
func ownID(r *Meta) string {
	if r.Name != "" {
		return r.Name
	}
	sum := sha256.Sum256([]byte(r.Title + "\x00" + r.Logsource.Product + "\x00" + r.Logsource.Category + "\x00" + r.Logsource.Service))
	return "title-" + hex.EncodeToString(sum[:8])
}

func parseRelated(r *Meta, m map[string]*yaml.Node) error {
	n := m["related"]
	if n == nil || n.Tag == "!!null" {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		return at(n, errors.New("related must be a list"))
	}
	for _, c := range n.Content {
		parts, err := mapping(c)
		if err != nil {
			return err
		}
		var one Related
		if err := errors.Join(text(parts, "id", &one.ID), text(parts, "type", &one.Type)); err != nil {
			return at(c, err)
		}
		r.Related = append(r.Related, one)
	}
	return nil
}

// parseLogsource reads the log source. What stands there besides product,
// category and service is for people: the specification has it not evaluated.
func parseLogsource(r *Meta, m map[string]*yaml.Node) error {
	n := m["logsource"]
	if n == nil {
		return errors.New("the rule has no logsource")
	}
	parts, err := mapping(n)
	if err != nil {
		return err
	}
	l := &r.Logsource
	into := map[string]*string{"product": &l.Product, "category": &l.Category, "service": &l.Service}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i].Value
		note := ""
		to := into[key]
		if to == nil {
			to = &note
		}
		if err := text(parts, key, to); err != nil {
			return err
		}
		if note != "" {
			if r.LogsourceNotes == nil {
				r.LogsourceNotes = map[string]string{}
			}
			r.LogsourceNotes[key] = note
		}
	}
	if *l == (Logsource{}) {
		return at(n, errors.New("the logsource names neither product, category nor service"))
	}
	return nil
}
