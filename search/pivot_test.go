package search

import (
	"encoding/json"
	"testing"

	"github.com/sonae/sonae/archive"
)

func unmarshal(b []byte, v any) error { return json.Unmarshal(b, v) }

func TestAConditionIsAddedToTheFilter(t *testing.T) {
	term := Term("DestinationIp", "203.0.113.7", false)
	for name, tt := range map[string]struct {
		query string
		keep  bool
		want  string
	}{
		"nothing before":              {"", false, `DestinationIp="203.0.113.7"`},
		"beside another":              {"host:pc-3", false, `host:pc-3 DestinationIp="203.0.113.7"`},
		"an alternative binds":        {"a or b", false, `(a or b) DestinationIp="203.0.113.7"`},
		"a quoted or is text":         {`"a or b"`, false, `"a or b" DestinationIp="203.0.113.7"`},
		"a table becomes its events":  {"x | count by host", false, `x DestinationIp="203.0.113.7"`},
		"a table stays":               {"x | count by host", true, `x DestinationIp="203.0.113.7" | count by host`},
		"only stages":                 {"| top 5 host", true, `DestinationIp="203.0.113.7" | top 5 host`},
		"a quoted bar is text":        {`"a | b"`, true, `"a | b" DestinationIp="203.0.113.7"`},
		"a bar in an expression":      {`raw:/a|b/ | count`, true, `raw:/a|b/ DestinationIp="203.0.113.7" | count`},
		"it is there already":         {`DestinationIp="203.0.113.7" x`, false, `DestinationIp="203.0.113.7" x`},
		"a longer one is another one": {`xDestinationIp="203.0.113.7"`, false, `xDestinationIp="203.0.113.7" DestinationIp="203.0.113.7"`},
	} {
		if got := With(tt.query, term, tt.keep); got != tt.want {
			t.Errorf("%s: %q becomes %q, want %q", name, tt.query, got, tt.want)
		}
	}
	if got, want := Term("CommandLine", `say "hi" \n`, true), `-CommandLine="say ""hi"" \n"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestWhatAValueIs(t *testing.T) {
	for _, tt := range []struct {
		field, value string
		want         Kind
	}{
		{"host", "ho-1", Host}, {"User", "tanaka", User}, {"DestinationIp", "2001:db8::1", Address}, {"DestinationIp", "not an address", ""},
		{"Image", "/usr/bin/curl", Process}, {"Hashes", "MD5=x", Hash}, {"Application", "dns", ""}, {"User", "", ""},
	} {
		if got, _ := KindOf(tt.field, tt.value); got != tt.want {
			t.Errorf("%s %q is %q, want %q", tt.field, tt.value, got, tt.want)
		}
	}
}

func TestAGraphShowsSomeOfEveryRelation(t *testing.T) {
	e := Entity{Kind: Host, Value: "pc"}
	for _, f := range []string{"User", "DestinationIp", "Application"} {
		s := archive.FieldStats{Field: f, Distinct: 40}
		for n := range 20 {
			s.Top = append(s.Top, archive.Value{Text: "192.0.2." + string(rune('0'+n%10)), Count: int64(100 - n)})
		}
		e.Related = append(e.Related, related(f, s, "192.0.2.0"))
	}
	kinds := map[Kind]int{}
	for _, n := range e.Nodes() {
		kinds[n.Kind]++
		if n.Value == "192.0.2.0" {
			t.Error("the entity is its own neighbour")
		}
	}
	if kinds[User] != 9 || kinds[Address] != 9 || len(kinds) != 2 {
		t.Errorf("nodes by kind: %v", kinds)
	}
}
