package ioc

import (
	"regexp"
	"strings"
)

// comparison is one comparison of a STIX pattern: path, operator, values. Of
// STIX 2.1 part 9 this is what lists of indicators use.
var comparison = regexp.MustCompile(`([A-Za-z0-9-]+):([A-Za-z0-9_.\-\[\]*']+?)\s*(=|IN|ISSUBSET)\s*(\((?:[^()']|'(?:[^'\\]|\\.)*')*\)|'(?:[^'\\]|\\.)*')`)

// quoted is one value in a pattern.
var quoted = regexp.MustCompile(`'((?:[^'\\]|\\.)*)'`)

// maxPattern bounds a pattern in bytes.
const maxPattern = 64 << 10

// stix reads the indicators of a bundle, or of an array of objects.
func (p *parsing) stix(data []byte) {
	n := 0
	ok := objects(data, func(v any) {
		if bundle, ok := v.(map[string]any); ok && bundle["type"] == "bundle" {
			v = bundle["objects"]
		}
		list, ok := v.([]any)
		if !ok {
			list = []any{v}
		}
		for _, one := range list {
			n++
			if o, ok := one.(map[string]any); ok {
				p.stixObject(n, o)
			}
		}
	})
	if !ok {
		p.refuse(n+1, "JSON", Nothing)
	}
}

func (p *parsing) stixObject(n int, o map[string]any) {
	text := func(name string) string { s, _ := o[name].(string); return s }
	switch {
	case o["type"] == "identity" && p.out.Name == "":
		p.out.Name = cut(text("name"))
		return
	case o["type"] != "indicator":
		return
	}
	pattern := text("pattern")
	kind := text("pattern_type")
	switch {
	case o["revoked"] == true:
		p.refuse(n, pattern, NotForUse)
		return
	case kind != "" && kind != "stix" || pattern == "" || len(pattern) > maxPattern:
		p.refuse(n, pattern, Nothing)
		return
	}
	about := Indicator{Note: text("name")}
	if c, ok := o["confidence"].(float64); ok && c >= 1 && c <= 100 {
		about.Confidence = int(c)
	}
	if until := text("valid_until"); until != "" {
		t, ok := moment(until)
		if !ok {
			p.refuse(n, pattern, BadTime)
			return
		}
		about.Until = t
	}
	p.pattern(n, pattern, about)
}

// pattern takes the values of a pattern each of which is enough. What must be
// seen together with something else is refused: half of it proves nothing.
func (p *parsing) pattern(n int, pattern string, about Indicator) {
	rest := quoted.ReplaceAllString(pattern, "''")
	for _, word := range []string{" AND ", " FOLLOWEDBY ", "NOT ", " WITHIN ", " REPEATS ", " LIKE ", " MATCHES ", "!=", ">", "<"} {
		if strings.Contains(strings.ToUpper(rest), word) {
			p.refuse(n, pattern, Compound)
			return
		}
	}
	found := comparison.FindAllStringSubmatch(pattern, -1)
	if len(found) == 0 {
		p.refuse(n, pattern, Nothing)
		return
	}
	for _, c := range found {
		kind, ok := stixKind(c[1], c[2])
		for _, v := range quoted.FindAllStringSubmatch(c[4], -1) {
			value := strings.NewReplacer(`\'`, `'`, `\\`, `\`).Replace(v[1])
			if !ok {
				p.refuse(n, value, Nothing)
				continue
			}
			p.value(n, kind, value, about)
		}
	}
}

// stixKind tells what a path of an object means.
func stixKind(object, path string) (Kind, bool) {
	switch {
	case (object == "ipv4-addr" || object == "ipv6-addr") && path == "value":
		return IP, true
	case object == "domain-name" && path == "value":
		return Domain, true
	case object == "url" && path == "value":
		return URL, true
	case strings.Contains(strings.ToLower(path), "hashes."):
		return Hash, true
	case strings.Contains(strings.ToLower(path), "ja4"):
		return JA4, true
	}
	return "", false
}
