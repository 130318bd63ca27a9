package sigma

import (
	"slices"
	"testing"
)

func TestMissingFields(t *testing.T) {
	for _, c := range []struct {
		name, detection string
		has             []string
		want            []string
	}{
		{"all are there", "{s: {A: x, B: y}, condition: s}", []string{"A", "B"}, nil},
		{"one of an and", "{s: {A: x, B: y}, condition: s}", []string{"A"}, []string{"B"}},
		{"one of an or is enough", "{s: {A: x}, t: {B: y}, condition: s or t}", []string{"A"}, nil},
		{"a filter needs nothing", "{s: {A: x}, t: {B: y}, condition: s and not t}", []string{"A"}, nil},
		{"null wants it absent", "{s: {A: null}, condition: s}", nil, nil},
		{"not null", "{s: {A: null}, condition: not s}", nil, []string{"A"}},
		{"exists", "{s: {A|exists: true}, condition: s}", nil, []string{"A"}},
		{"keywords look everywhere", "{s: [x, y], condition: s}", nil, nil},
		{"another field", "{s: {A|fieldref: B}, condition: s}", []string{"A"}, []string{"B"}},
		{"several", "{s: {A: x}, t: {B: y}, condition: all of them}", nil, []string{"A", "B"}},
	} {
		rules, _, bad := Parse("r.yml", []byte("title: T\nid: t\nlogsource: {product: p}\ndetection: "+c.detection+"\n"))
		if len(bad) > 0 {
			t.Fatalf("%s: %v", c.name, bad[0])
		}
		got := rules[0].Missing(func(f string) bool { return slices.Contains(c.has, f) })
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
