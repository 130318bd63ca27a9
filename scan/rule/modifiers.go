package rule

import (
	"strings"

	"github.com/sonae/sonae/detect"
)

func join(names []string) string { return strings.Join(names, ", ") }

// sourceName names what a rule looks at.
func sourceName(s detect.Scope) string {
	var parts []string
	for _, p := range []string{s.Product, s.Category, s.Service} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, " / ")
}

// modifiers counts the rules that use each modifier; "=" are plain values.
func modifiers(paths []string) (map[string]int, error) {
	docs, err := documents(paths)
	if err != nil {
		return nil, err
	}
	counts := map[string]int{}
	for _, d := range docs {
		for m := range d.modifiers {
			counts[m]++
		}
	}
	return counts, nil
}
