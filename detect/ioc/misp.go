package ioc

import (
	"strings"
)

// mispKinds are the types of MISP's attributes that can be looked for. Where a
// type holds two values, parts says which of them counts.
var mispKinds = map[string]struct {
	kind Kind
	part int // 0: the whole value, else the part from 1
}{
	"ip-src": {IP, 0}, "ip-dst": {IP, 0}, "ip-src|port": {IP, 1}, "ip-dst|port": {IP, 1}, "domain": {Domain, 0}, "hostname": {Domain, 0},
	"hostname|port": {Domain, 1}, "domain|ip": {Domain, 1}, "url": {URL, 0}, "uri": {URL, 0}, "md5": {Hash, 0}, "sha1": {Hash, 0}, "sha256": {Hash, 0},
	"filename|md5": {Hash, 2}, "filename|sha1": {Hash, 2}, "filename|sha256": {Hash, 2}, "malware-sample": {Hash, 2}, "ja4-fingerprint": {JA4, 0}, "ja4": {JA4, 0},
}

// misp reads events of MISP, what its REST interface answers, and feeds: it
// looks for attributes wherever they stand.
func (p *parsing) misp(data []byte) {
	n := 0
	ok := objects(data, func(v any) {
		p.attributes(v, 0, &n)
	})
	if !ok {
		p.refuse(n+1, "JSON", Nothing)
	}
}

// maxDepth bounds how deep objects are looked into.
const maxDepth = 16

func (p *parsing) attributes(v any, depth int, n *int) {
	if depth > maxDepth {
		return
	}
	switch v := v.(type) {
	case []any:
		for _, one := range v {
			p.attributes(one, depth+1, n)
		}
	case map[string]any:
		if info, ok := v["info"].(string); ok && p.out.Name == "" {
			p.out.Name = cut(info)
		}
		kind, ok1 := v["type"].(string)
		value, ok2 := v["value"].(string)
		if ok1 && ok2 {
			*n++
			p.attribute(*n, kind, value, v)
			return
		}
		for _, inner := range []string{"response", "Event", "Attribute", "Object", "Attributes", "Objects"} {
			if below, ok := v[inner]; ok {
				p.attributes(below, depth+1, n)
			}
		}
	}
}

func (p *parsing) attribute(n int, name, value string, v map[string]any) {
	known, ok := mispKinds[strings.ToLower(name)]
	if !ok {
		p.refuse(n, name+": "+value, Nothing)
		return
	}
	if use, said := v["to_ids"].(bool); said && !use || v["deleted"] == true {
		p.refuse(n, value, NotForUse)
		return
	}
	if known.part > 0 {
		parts := strings.SplitN(value, "|", 2)
		if len(parts) < known.part {
			p.refuse(n, value, Nothing)
			return
		}
		value = parts[known.part-1]
	}
	comment, _ := v["comment"].(string)
	p.value(n, known.kind, value, Indicator{Note: comment})
}
