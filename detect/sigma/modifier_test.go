package sigma

import (
	"encoding/base64"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf16"
)

// wide returns text in UTF-16, as a program would write it before base64.
func wide(text string, big bool, before ...byte) []byte {
	for _, u := range utf16.Encode([]rune(text)) {
		if big {
			before = append(before, byte(u>>8), byte(u))
		} else {
			before = append(before, byte(u), byte(u>>8))
		}
	}
	return before
}

func in64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// TestModifiers holds a truth table for each modifier of the specification
// (appendix "Sigma Modifiers" 2.1.0) and for how they go together.
func TestModifiers(t *testing.T) {
	type m = map[string]string
	f := func(values ...string) (out []m) {
		for _, v := range values {
			out = append(out, m{"F": v})
		}
		return out
	}
	for name, tt := range map[string]struct {
		detection string
		yes, no   []m
	}{
		// generic
		"neq":                       {"s: {F|neq: a}\ncondition: s", append(f("b", "", "aa"), m{}), f("a", "A")},
		"neq of a list is none of":  {"s: {F|neq: [a, b]}\ncondition: s", f("c"), f("a", "b")},
		"neq of a number":           {"s: {F|neq: 5}\ncondition: s", f("6", "x"), f("5")},
		"neq with contains":         {"s: {F|contains|neq: a}\ncondition: s", f("b"), f("a", "xax")},
		"neq with all":              {"s: {F|contains|all|neq: [a, b]}\ncondition: s", f("a", "b", "c"), f("ab", "ba")},
		"neq with re":               {"s: {F|re|neq: '^a'}\ncondition: s", f("ba", "A"), f("a", "ab")},
		"neq with cidr":             {"s: {F|cidr|neq: 10.0.0.0/8}\ncondition: s", f("192.0.2.1", "x"), f("10.1.1.1")},
		"neq null is presence":      {"s: {F|neq: null}\ncondition: s", f("", "a"), []m{{}}},
		"neq binds to its line":     {"s: {F|neq: a, G: b}\ncondition: s", []m{{"F": "x", "G": "b"}}, []m{{"F": "a", "G": "b"}, {"F": "x"}}},
		"startswith and a wildcard": {"s: {F|startswith: 'a?c'}\ncondition: s", f("abcd", "abc"), f("ac", "xabc")},
		"endswith and a wildcard":   {"s: {F|endswith: 'a*c'}\ncondition: s", f("xabc", "ac"), f("acx")},
		"contains of a list":        {"s: {F|contains: [a, b]}\ncondition: s", f("xax", "b"), f("c")},
		"exists both ways":          {"s: {F|exists: true, G|exists: false}\ncondition: s", f("", "x"), []m{{}, {"F": "", "G": ""}}},
		"cased":                     {"s: {F|cased: Ab}\ncondition: s", f("Ab"), f("ab", "AB")},
		"cased startswith":          {"s: {F|startswith|cased: Ab}\ncondition: s", f("Abc"), f("abc")},
		"cased endswith":            {"s: {F|cased|endswith: Ab}\ncondition: s", f("xAb"), f("xab")},
		"cased all":                 {"s: {F|contains|all|cased: [A, b]}\ncondition: s", f("bA"), f("ba", "BA")},
		"cased with a wildcard":     {"s: {F|cased: 'A*b'}\ncondition: s", f("Axb"), f("axb", "AxB")},
		"cased windash":             {"s: {F|contains|windash|cased: ' -E'}\ncondition: s", f("x /E"), f("x /e")},
		"cased neq":                 {"s: {F|cased|neq: A}\ncondition: s", f("a"), f("A")},
		"cased keywords":            {"k: {'|cased': [Ab, Cd]}\ncondition: k", []m{{"X": "xAbx"}, {"Y": "Cd"}}, []m{{"X": "ab"}}},
		"cased re is re":            {"s: {F|re|cased: 'A.'}\ncondition: s", f("Ab"), f("ab")},
		// regular expressions
		"re":                     {"s: {F|re: 'a+b'}\ncondition: s", f("xaab"), f("AAB", "b")},
		"re i":                   {"s: {F|re|i: '^a+b$'}\ncondition: s", f("AAB"), f("xaab")},
		"re without m":           {"s: {F|re: '^b$'}\ncondition: s", f("b"), f("a\nb\nc")},
		"re m":                   {"s: {F|re|m: '^b$'}\ncondition: s", f("a\nb\nc"), f("a\nB\nc")},
		"re without s":           {"s: {F|re: 'a.b'}\ncondition: s", f("a.b"), f("a\nb")},
		"re s":                   {"s: {F|re|s: 'a.b'}\ncondition: s", f("a\nb"), f("A\nb")},
		"re i m s":               {"s: {F|re|i|m|s: '^a.b$'}\ncondition: s", f("x\nA\nB\ny"), f("xa\nb")},
		"re all":                 {"s: {F|re|all: ['a', 'b']}\ncondition: s", f("ba"), f("a", "b")},
		"re keeps its backslash": {"s: {F|re: '\\\\x\\*'}\ncondition: s", f("\\x*"), f("x*", "\\xx")},
		"re keyword":             {"k: {'|re': ['a.c']}\ncondition: k", []m{{"X": "xabcx"}}, []m{{"X": "ac"}}},
		// encodings
		"base64":                    {"s: {F|base64: foo}\ncondition: s", f(in64([]byte("foo"))), f("foo")},
		"base64 contains":           {"s: {F|base64|contains: foobar}\ncondition: s", f("x" + in64([]byte("foobar"))), f("foobar")},
		"base64offset at any place": {"s: {F|base64offset|contains: sonae}\ncondition: s", f(in64([]byte("sonae!")), in64([]byte("xsonae!")), in64([]byte("xxsonae!")), in64([]byte("xxxsonae"))), f(in64([]byte("sona")))},
		"utf16le base64":            {"s: {F|utf16le|base64|contains: cmdx}\ncondition: s", f(in64(wide("cmdx", false))), f(in64([]byte("cmdx")), in64(wide("cmdx", true)))},
		"wide is utf16le":           {"s: {F|wide|base64|contains: cmdx}\ncondition: s", f(in64(wide("cmdx", false))), f(in64(wide("cmdx", true)))},
		"utf16be base64":            {"s: {F|utf16be|base64|contains: cmdx}\ncondition: s", f(in64(wide("cmdx", true))), f(in64(wide("cmdx", false)))},
		"utf16 has the mark":        {"s: {F|utf16|base64: cmd}\ncondition: s", f(in64(wide("cmd", false, 0xFF, 0xFE))), f(in64(wide("cmd", false)))},
		"utf16 base64offset":        {"s: {F|utf16|base64offset|contains: cmd}\ncondition: s", f(in64(wide("cmd", false, 'x', 0xFF, 0xFE))), f(in64(wide("cmd", false)))},
		"wide beyond ascii":         {"s: {F|wide|base64: 備え}\ncondition: s", f(in64(wide("備え", false))), f("備え")},
		"wide alone":                {"s: {F|wide|contains: cmd}\ncondition: s", f("x c\x00m\x00d\x00"), f("cmd")},
		"utf16be alone":             {"s: {F|utf16be: cmd}\ncondition: s", f("\x00c\x00m\x00d"), f("c\x00m\x00d\x00")},
		"utf16 alone":               {"s: {F|utf16: cmd}\ncondition: s", f("\uFEFFc\x00m\x00d\x00"), f("c\x00m\x00d\x00")},
		"wide with a wildcard":      {"s: {F|wide: 'a*b'}\ncondition: s", f("a\x00zzb\x00"), f("ab")},
		"escape before base64":      {"s: {F|base64: 'a\\*b'}\ncondition: s", f(in64([]byte("a*b"))), f(in64([]byte("a\\*b")))},
		"two changes in order":      {"s: {F|base64|base64: ab}\ncondition: s", f(in64([]byte(in64([]byte("ab"))))), f(in64([]byte("ab")))},
		"windash, all dashes":       {"s: {F|windash: '-a'}\ncondition: s", f("-a", "/a", "–a", "—a", "―a"), f("a", "--a", "=a")},
		"windash from a slash":      {"s: {F|contains|windash: ' /a'}\ncondition: s", f("x -a", "x ―a"), f("x a")},
		"windash from an en dash":   {"s: {F|windash: '–a'}\ncondition: s", f("-a", "/a"), f("a")},
		"windash twice":             {"s: {F|windash: '-a /b'}\ncondition: s", f("-a -b", "/a –b", "—a /b"), f("a b")},
		"windash of a double dash":  {"s: {F|windash: '--a'}\ncondition: s", f("--a", "-/a", "-–a"), f("/-a", "//a")},
		"windash all":               {"s: {F|contains|all|windash: ['-a', '-b']}\ncondition: s", f("/b -a"), f("/a")},
		"windash then base64":       {"s: {F|windash|base64: '-a'}\ncondition: s", f(in64([]byte("-a")), in64([]byte("/a")), in64([]byte("–a"))), f("-a")},
		// numbers
		"gt":                  {"s: {F|gt: 5}\ncondition: s", f("6", "5.1", "1e3"), f("5", "4", "-6", "", "x")},
		"gte":                 {"s: {F|gte: 5}\ncondition: s", f("5", "5.0", "6"), f("4.9")},
		"lt":                  {"s: {F|lt: 5}\ncondition: s", f("4", "-1"), f("5", "5.5")},
		"lte":                 {"s: {F|lte: 5}\ncondition: s", f("5", "4"), f("5.5")},
		"gt of a text number": {"s: {F|gt: '5'}\ncondition: s", f("6"), f("5")},
		"gt neq":              {"s: {F|gt|neq: 5}\ncondition: s", f("5", "x"), f("6")},
		"lt all":              {"s: {F|lt|all: [5, 3]}\ncondition: s", f("2"), f("4")},
		// dates
		"minute": {"s: {F|minute: 4}\ncondition: s", f("2026-01-02T03:04:05Z", "2026-01-02 03:04:05.123", "2026-01-02T03:04:05+09:00"), f("2026-01-02T03:05:04Z", "4", "", "x", "2026-01-02")},
		"hour":   {"s: {F|hour: 3}\ncondition: s", f("2026-01-02T03:04:05+09:00", "2026-01-02 03:59:59"), f("2026-01-02T18:04:05Z")},
		"day":    {"s: {F|day: 2}\ncondition: s", f("2026-01-02", "2026/01/02 23:00:00"), f("2026-02-01")},
		"week":   {"s: {F|week: [1, 53]}\ncondition: s", f("2026-01-01", "2021-01-01T00:00:00Z"), f("2026-01-10")},
		"month":  {"s: {F|month: 12}\ncondition: s", f("2026-12-31T23:59:59Z"), f("2026-11-12")},
		"year":   {"s: {F|year: 2026}\ncondition: s", f("2026-12-31T23:59:59.999999Z"), f("2025-12-31")},
		"hour of an epoch": {"s: {F|hour: 0}\ncondition: s", f("1767225600", "1767225600.25", "1767225600123"),
			f("1767229200", "-1", "1e99")},
		"hour in a range": {"s: {F|hour|gte: 22}\ncondition: s", f("2026-01-02T22:00:00Z"), f("2026-01-02T21:59:59Z")},
		"hour neq":        {"s: {F|hour|neq: 3}\ncondition: s", append(f("2026-01-02T04:00:00Z"), m{}), f("2026-01-02T03:00:00Z")},
		// addresses
		"cidr of a list": {"s: {F|cidr: ['10.0.0.0/8', '2001:db8::/32', '::1/128']}\ncondition: s", f("10.0.0.1", "2001:DB8::1", "::1"), f("2001:db9::1", "::2", "10.0.0.1/8", "")},
		"cidr /32":       {"s: {F|cidr: 192.0.2.7/32}\ncondition: s", f("192.0.2.7"), f("192.0.2.8")},
		"cidr all":       {"s: {F|cidr|all: [10.0.0.0/8, 10.1.0.0/16]}\ncondition: s", f("10.1.0.1"), f("10.2.0.1")},
		// references
		"fieldref":            {"s: {F|fieldref: G}\ncondition: s", []m{{"F": "a", "G": "A"}}, []m{{"F": "a", "G": "b"}, {"F": "a"}, {"G": "a"}, {}}},
		"fieldref startswith": {"s: {F|fieldref|startswith: G}\ncondition: s", []m{{"F": "abc", "G": "AB"}}, []m{{"F": "ab", "G": "abc"}}},
		"fieldref contains":   {"s: {F|contains|fieldref: G}\ncondition: s", []m{{"F": "xabx", "G": "AB"}}, []m{{"F": "xax", "G": "ab"}}},
		"fieldref cased":      {"s: {F|fieldref|cased: G}\ncondition: s", []m{{"F": "A", "G": "A"}}, []m{{"F": "a", "G": "A"}}},
		"fieldref neq":        {"s: {F|fieldref|neq: G}\ncondition: s", []m{{"F": "a", "G": "b"}, {"F": "a"}, {}}, []m{{"F": "a", "G": "A"}}},
		"fieldref endswith cased neq": {"s: {F|fieldref|endswith|cased|neq: G}\ncondition: s",
			[]m{{"F": "xAB", "G": "ab"}}, []m{{"F": "xab", "G": "ab"}}},
		"fieldref of a list": {"s: {F|fieldref: [G, H]}\ncondition: s", []m{{"F": "a", "H": "a"}, {"F": "a", "G": "a"}}, []m{{"F": "a", "G": "b"}}},
		"fieldref all":       {"s: {F|fieldref|all: [G, H]}\ncondition: s", []m{{"F": "a", "G": "a", "H": "a"}}, []m{{"F": "a", "H": "a"}}},
		"fieldref list neq":  {"s: {F|fieldref|neq: [G, H]}\ncondition: s", []m{{"F": "a", "G": "b", "H": "c"}}, []m{{"F": "a", "G": "b", "H": "a"}}},
	} {
		t.Run(name, func(t *testing.T) {
			r := parseOne(t, rule(tt.detection))
			for _, e := range tt.yes {
				if !matches(r, e, "") {
					t.Errorf("%q does not match", e)
				}
			}
			for _, e := range tt.no {
				if matches(r, e, "") {
					t.Errorf("%q matches", e)
				}
			}
		})
	}
}

func TestModifiersThatDoNotGoTogether(t *testing.T) {
	for modifiers, want := range map[string]string{
		"":                             `unknown modifier ""`,
		"Contains":                     `unknown modifier "Contains"`,
		"re|windash":                   "windash cannot be used with re",
		"cidr|contains":                "cidr and contains cannot be used together",
		"startswith|endswith":          "startswith and endswith cannot be used together",
		"cased|gt":                     "cased cannot be used with gt",
		"re|i|cased":                   "cased and i cannot be used together",
		"hour|minute":                  "hour and minute cannot be used together",
		"hour|contains":                "hour and contains cannot be used together",
		"hour|cased":                   "hour compares numbers",
		"neq|neq":                      "neq stands twice",
		"base64|expand":                "expand must stand before base64",
		"fieldref|expand":              "expand cannot be used with fieldref",
		"fieldref|contains|startswith": "fieldref and startswith cannot be used together",
	} {
		_, bad := Parse("t.yml", []byte(rule("s:\n  F|"+modifiers+": 1\ncondition: s")))
		if modifiers == "" {
			_, bad = Parse("t.yml", []byte(rule("s:\n  F|contains||all: 1\ncondition: s")))
		}
		if len(bad) != 1 || !strings.Contains(bad[0].Reason, want) || bad[0].Line != 6 {
			t.Errorf("%s: got %v, want line 6 and %q", modifiers, bad, want)
		}
	}
	for detection, want := range map[string]string{
		"s: {F|hour: 24}":           "hour is between 0 and 23, not 24",
		"s: {F|month: 0}":           "month is between 1 and 12, not 0",
		"s: {F|hour: noon}":         "hour needs a whole number",
		"s: {F|wide: 備え}":           "without base64 takes ASCII only",
		"s: {F|base64: 'a*'}":       "base64 of a value with a wildcard",
		"s: {'|hour': 1}":           "a keyword has neither",
		"s: {'|fieldref': G}":       "a keyword has neither",
		"s: {'|exists': true}":      "exists needs a field",
		"s: {F|exists: yes please}": "exists needs a field and true or false",
		"s: {F|contains: null}":     "null takes neither",
		"s: [null]":                 "null takes neither",
		"s: {F: !!binary aGVsbG8=}": "type binary is not understood",
		"s: {F: !custom x}":         "is not understood",
		"s: {F|fieldref: ''}":       "fieldref needs the name",
		"s: {F: [[a]]}":             "a value must be text",
		"s: [[[]]]":                 "the selection is empty",
	} {
		_, bad := Parse("t.yml", []byte(rule(detection+"\ncondition: s")))
		if len(bad) != 1 || !strings.Contains(bad[0].Reason, want) || bad[0].Line != 5 {
			t.Errorf("%s: got %v, want line 5 and %q", detection, bad, want)
		}
	}
}

// TestWildcardsAndEscapes follows the section "Escape Character".
func TestWildcardsAndEscapes(t *testing.T) {
	for value, tt := range map[string]struct{ yes, no []string }{
		`a\b`:       {[]string{`a\b`}, []string{`ab`, `a\\b`}},
		`a\\b`:      {[]string{`a\b`}, []string{`a\\b`}},
		`a\*`:       {[]string{`a*`}, []string{`a\`, `ab`, `a\*`}},
		`a\?`:       {[]string{`a?`}, []string{`ab`, `a\b`}},
		`a\\*`:      {[]string{`a\`, `a\bcd`}, []string{`a*`, `ab`}},
		`a\\?`:      {[]string{`a\b`}, []string{`a\`, `a?`}},
		`a\\\*`:     {[]string{`a\*`}, []string{`a\b`, `a\\*`}},
		`a\\\\b`:    {[]string{`a\\b`}, []string{`a\b`}},
		`a\\\b`:     {[]string{`a\\b`}, []string{`a\b`}},
		`a\`:        {[]string{`a\`}, []string{`a`}},
		`a\\`:       {[]string{`a\`}, []string{`a\\`}},
		`?`:         {[]string{`a`, `備`}, []string{``, `ab`}},
		`??`:        {[]string{`ab`}, []string{`a`, `abc`}},
		`*?`:        {[]string{`a`, `ab`}, []string{``}},
		`*`:         {[]string{``, `a`}, nil},
		`**`:        {[]string{``, `a`}, nil},
		`a**b`:      {[]string{`ab`, `axb`}, []string{`a`}},
		``:          {[]string{``}, []string{`a`, ` `}},
		`%name%`:    {[]string{`%name%`}, []string{`name`}},
		`*a*b*`:     {[]string{`ab`, `xaxbx`}, []string{`ba`}},
		`C:\Win\*`:  {[]string{`c:\win*`}, []string{`C:\Win\x`}},
		`C:\Win\\*`: {[]string{`c:\win\x`}, []string{`C:\Win*`}},
	} {
		r := parseOne(t, rule("s: {F: '"+value+"'}\ncondition: s"))
		for _, v := range tt.yes {
			if !matches(r, map[string]string{"F": v}, "") {
				t.Errorf("%s does not match %s", value, v)
			}
		}
		for _, v := range tt.no {
			if matches(r, map[string]string{"F": v}, "") {
				t.Errorf("%s matches %s", value, v)
			}
		}
		if matches(r, nil, "") {
			t.Errorf("%s matches an absent field", value)
		}
	}
}

func TestExpand(t *testing.T) {
	known, err := ReadPlaceholders(fstest.MapFS{
		"Servers.txt":    {Data: []byte("# ours\nsrv*\n\n  db-1  \r\n")},
		"more/sites.yml": {Data: []byte("net: [10.0.0.0/8, 192.0.2.0/24]\ndomain: EXAMPLE\ndot: a.b\n")},
		"README.md":      {Data: []byte("not read")},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		line    string
		yes, no []string
	}{
		"values may hold wildcards":  {"F|expand: '%Servers%'", []string{"srv-7", "DB-1"}, []string{"x", "%Servers%"}},
		"inside a longer value":      {"F|expand: '\\\\%domain%\\admin-%Servers%'", []string{`\example\admin-srv9`, `\EXAMPLE\admin-db-1`}, []string{`\example\admin-x`}},
		"with contains":              {"F|contains|expand: '%domain%'", []string{"x.example.y"}, []string{"exampl"}},
		"with all":                   {"F|contains|expand|all: ['%domain%', '%Servers%']", []string{"example db-1"}, []string{"example"}},
		"with neq":                   {"F|expand|neq: '%domain%'", []string{"x"}, []string{"example"}},
		"an escaped percent sign":    {`F|expand: '\%plain%domain%'`, []string{"%plainexample"}, []string{"plainexample"}},
		"a percent sign of no name":  {"F|expand: '50% of %domain%'", []string{"50% of example"}, []string{"50 of example"}},
		"in a network":               {"F|cidr|expand: '%net%'", []string{"10.1.2.3", "192.0.2.9"}, []string{"192.0.3.1"}},
		"in an expression, as it is": {"F|re|expand: '^%dot%$'", []string{"a.b"}, []string{"axb"}},
		"before base64":              {"F|expand|base64: '%dot%'", []string{in64([]byte("a.b"))}, []string{"a.b"}},
		"without expand":             {"F: '%domain%'", []string{"%domain%"}, []string{"example"}},
	} {
		t.Run(name, func(t *testing.T) {
			l := Load([]File{{"t.yml", []byte(rule("s:\n  " + tt.line + "\ncondition: s"))}}, Options{Placeholders: known})
			if len(l.Rules) != 1 {
				t.Fatal(l.Rejected)
			}
			for _, v := range tt.yes {
				if !matches(l.Rules[0], map[string]string{"F": v}, "") {
					t.Errorf("%q does not match", v)
				}
			}
			for _, v := range tt.no {
				if matches(l.Rules[0], map[string]string{"F": v}, "") {
					t.Errorf("%q matches", v)
				}
			}
		})
	}
}

func TestAPlaceholderWithoutValuesIsNamed(t *testing.T) {
	l := Load([]File{{"t.yml", []byte(rule("s:\n  F|expand: 'x%DC-NAME%'\ncondition: s"))}}, Options{})
	if len(l.Rejected) != 1 || l.Rejected[0].Placeholder != "DC-NAME" || l.Rejected[0].Line != 6 {
		t.Errorf("got %+v", l.Rejected)
	}
}

func TestPlaceholderFilesAreCheckedAndBounded(t *testing.T) {
	if _, err := ReadPlaceholders(fstest.MapFS{"a.yml": {Data: []byte("ok: x\nbad: {a: b}\n")}}); err == nil || !strings.Contains(err.Error(), "a.yml:2: bad must be a list") {
		t.Errorf("got %v", err)
	}
	known := Placeholders{"a": make([]string, 100)}
	l := Load([]File{{"t.yml", []byte(rule("s: {F|expand: '%a%%a%%a%'}\ncondition: s"))}}, Options{Placeholders: known})
	if len(l.Rejected) != 1 || !strings.Contains(l.Rejected[0].Reason, "more than 4096 variants") {
		t.Errorf("got %v", l.Rejected)
	}
}

// TestTheShortWayIsTheLongWay compares the tests of all public values.
func TestTheShortWayIsTheLongWay(t *testing.T) {
	n := 0
	for _, f := range corpusFiles(t) {
		for _, d := range Read(f.Name, f.Data).Drafts {
			for _, sel := range d.Blocks[0].Selections {
				sel.Part.Leaves(func(l *Leaf) {
					s, err := parseSpec(l.Modifiers)
					if err != nil {
						t.Fatal(err)
					}
					for _, v := range l.Values {
						got, ok := s.simple(l.Field, v)
						if !ok || v.Kind == Null || s.test != "" && s.test != "contains" && s.test != "startswith" && s.test != "endswith" {
							continue
						}
						n++
						p := parsePattern(v.Text).wrap(s.test == "contains" || s.test == "endswith" || l.Field == "", s.test == "contains" || s.test == "startswith" || l.Field == "" && s.test == "")
						if want := p.compile(s.cased); l.Field != "" && (want.shape != got.shape || string(want.text) != string(got.text)) {
							t.Errorf("%s|%v %q: got %v, want %v", l.Field, l.Modifiers, v.Text, got.literal, want)
						}
					}
				})
			}
		}
	}
	if n > 0 && n < 30000 {
		t.Errorf("only %d values compared", n)
	}
}
