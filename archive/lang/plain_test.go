package lang

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzTestsOfTexts compares plain code with what the engine is asked.
func FuzzTestsOfTexts(f *testing.F) {
	for _, s := range []string{"Invoke-MIMIKATZ", "\u212Aelvin \u0130stanbul \u017Fea", "aaaaab", "zZzZ-z", "患者 zq", ""} {
		f.Add(s, "kelvin")
		f.Add(s, "mimi")
		f.Add(s, "aab")
		f.Add(s, "z-Z")
		f.Add(s, "İs")
	}
	f.Fuzz(func(t *testing.T, s, text string) {
		if text == "" || !utf8.ValidString(s) || !utf8.ValidString(text) || cased(text) && !isASCII(text) {
			return
		}
		want := strings.Contains(s, text)
		if cased(text) {
			want = regexp.MustCompile("(?is)" + regexp.QuoteMeta(text)).MatchString(s)
		}
		if got := anyCased(text)(s); got != want {
			t.Errorf("%q in %q in any case: %v", text, s, got)
		}
		if cased(text) {
			want = strings.Contains(strings.ToLower(s), strings.ToLower(text))
		}
		if got := lowered(text)(s); got != want {
			t.Errorf("%q in %q in lower case: %v", text, s, got)
		}
	})
}

func TestTestsAreExactOrSaySo(t *testing.T) {
	for query, want := range map[string]bool{
		"user=root": true, "user:root": true, "user:Jörg": false, "user:ro*": false, "user in (a, b)": true, "NOT user=root": true, "NOT user:/r.t/": false,
		"raw:/plain/": true, "raw:/plain/i": false, "raw:/(?i)plain/": false, "raw:/a+/": false, "ip:10.0.0.1": true, "ip:10.0.0.0/8": false, "bytes_out>1": false,
		"Custom=x": false, "id=ba-1": false, "user:* OR drill:true": false, "text": true, "te*xt": false, `"te*xt"`: true, "hash:AB12": true, "time>2026-01-01": false,
	} {
		q, err := Parse(query)
		if err != nil {
			t.Fatal(err)
		}
		if got := Tests(q.Where).Exact(); got != want {
			t.Errorf("%s: exact is %v", query, got)
		}
	}
	if !Tests(nil).Exact() {
		t.Error("everything is not exact")
	}
}
