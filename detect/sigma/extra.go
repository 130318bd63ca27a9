package sigma

import (
	"errors"
	"fmt"
	"time"

	"gopkg.in/yaml.v3"
)

// parseExtra reads the key "sonae".
func parseExtra(r *Meta, m map[string]*yaml.Node) error {
	n := m["sonae"]
	if n == nil {
		return nil
	}
	parts, err := mapping(n)
	if err != nil {
		return err
	}
	texts := map[string]*map[string]string{"title": &r.Extra.Title, "what": &r.Extra.What, "affects": &r.Extra.Affects, "next": &r.Extra.Next}
	for key, value := range parts {
		into := texts[key]
		switch {
		case key == "propose":
			if err := text(parts, key, &r.Extra.Propose); err != nil {
				return err
			}
		case into == nil:
			return at(value, fmt.Errorf("sonae: unknown key %q", key))
		default:
			if *into, err = languages(value); err != nil {
				return err
			}
		}
	}
	return nil
}

// languages reads a text in Japanese and English; both must be there, because
// half of a translation would be noticed at night.
func languages(n *yaml.Node) (map[string]string, error) {
	m, err := mapping(n)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for lang, v := range m {
		if (lang != "ja" && lang != "en") || v.Kind != yaml.ScalarNode || v.Value == "" {
			return nil, at(v, errors.New("texts are given as a map with the keys ja and en"))
		}
		out[lang] = v.Value
	}
	if len(out) != 2 {
		return nil, at(n, errors.New("texts are given in both ja and en"))
	}
	return out, nil
}

// Limits of a threshold: they bound its memory.
const (
	maxCount  = 1000
	maxWindow = 24 * time.Hour
)

// parseThreshold reads the key "threshold".
func parseThreshold(r *Meta, m map[string]*yaml.Node) error {
	n := m["threshold"]
	if n == nil {
		return nil
	}
	parts, err := mapping(n)
	if err != nil {
		return err
	}
	t := &Threshold{}
	window := ""
	for key, v := range parts {
		var into any
		switch key {
		case "count":
			into = &t.Count
		case "window":
			into = &window
		case "by":
			into = &t.By
		case "distinct":
			into = &t.Distinct
		default:
			return at(v, fmt.Errorf("threshold: unknown key %q", key))
		}
		if err := v.Decode(into); err != nil {
			return at(v, fmt.Errorf("threshold: %s: %w", key, err))
		}
	}
	if t.Window, err = time.ParseDuration(window); err != nil || t.Window < time.Second || t.Window > maxWindow {
		return at(n, fmt.Errorf("threshold: window %q is not between 1s and %s", window, maxWindow))
	}
	if t.Count < 2 || t.Count > maxCount {
		return at(n, fmt.Errorf("threshold: count %d is not between 2 and %d", t.Count, maxCount))
	}
	r.Threshold = t
	return nil
}
