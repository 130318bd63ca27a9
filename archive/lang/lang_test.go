package lang

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/i18n"
)

func parsed(t testing.TB, text string) Query {
	t.Helper()
	q, err := Parse(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return q
}

func TestQueriesAreReadAsTheyAreMeant(t *testing.T) {
	text := func(s string) Expr { return Text{s, true} }
	is := func(field string, op Op, v ...string) Expr { return Match{field, op, v} }
	for in, want := range map[string]Query{
		"":               {},
		"  ":             {},
		"a b":            {Where: And{[]Expr{text("a"), text("b")}}},
		"a AND b or c":   {Where: Or{[]Expr{And{[]Expr{text("a"), text("b")}}, text("c")}}},
		"a (b OR -c)":    {Where: And{[]Expr{text("a"), Or{[]Expr{text("b"), Not{text("c")}}}}}},
		"not a":          {Where: Not{text("a")}},
		`"a or ""b"" \"`: {Where: text(`a or "b" \`)},
		"ab*c":           {Where: Text{"ab*c", false}},
		"「失敗　しました」　user：root": {Where: And{[]Expr{text("失敗　しました"), is("user_name", Like, "root")}}},
		"（a｜b）":                                 {},
		"user:adm*":                             {Where: is("user_name", Like, "adm*")},
		"User = 'x'":                            {Where: is("user_name", Equals, "'x'")},
		"user.name!=root":                       {Where: is("user_name", Differs, "root")},
		"EventID=4625":                          {Where: is("event_code", Equals, "4625")},
		"bytes_out > 10MB":                      {Where: is("bytes_out", Greater, "10MB")},
		"DestinationPort<=1024":                 {Where: is("destination_port", LessEqual, "1024")},
		"port:443":                              {Where: is("port", Equals, "443")},
		"code in (4624, 4625)":                  {Where: is("event_code", In, "4624", "4625")},
		"code:(4624 OR 4625)":                   {Where: Or{[]Expr{is("event_code", Like, "4624"), is("event_code", Like, "4625")}}},
		`command:/-enc\x20[a-z|]+\//i`:          {Where: is("process_command_line", RegexFold, `-enc\x20[a-z|]+/`)},
		"process:/usr/bin/curl":                 {Where: is("process_executable", Like, "/usr/bin/curl")},
		"process:/tmp/ x":                       {Where: And{[]Expr{is("process_executable", Regex, "tmp"), text("x")}}},
		"process:/usr/bin/ x":                   {Where: And{[]Expr{is("process_executable", Like, "/usr/bin/"), text("x")}}},
		"source_ip:10.1.2.3/8":                  {Where: is("source_ip", Network, "10.0.0.0/8")},
		"LocalIp:2001:db8::/32":                 {Where: is("LocalIp", Network, "2001:db8::/32")},
		"ip:192.0.2.7":                          {Where: is("ip", Like, "192.0.2.7")},
		"fe80::1 aa:bb:cc:dd:ee:ff https://x/y": {Where: And{[]Expr{text("fe80::1"), text("aa:bb:cc:dd:ee:ff"), text("https://x/y")}}},
		`C:\Windows\x`:                          {Where: text(`C:\Windows\x`)},
		"user:*":                                {Where: Match{"user_name", Exists, nil}},
		"LogonType:3":                           {Where: is("LogonType", Like, "3")},
		"time>=-2h drill:true":                  {Where: And{[]Expr{is("time", GreaterEqual, "-2h"), is("drill", Equals, "true")}}},
		"host:ho-1 | limit 50":                  {Where: is("host", Like, "ho-1"), Limit: 50},
		"| count":                               {Group: &Group{Kind: "count", Aggs: []Agg{{Func: "count"}}}},
		"x|count by user,code":                  {Where: text("x"), Group: &Group{Kind: "count", By: []string{"user_name", "event_code"}, Aggs: []Agg{{Func: "count"}}}},
		"| top 20 dst by sum(BytesSent)":        {Group: &Group{Kind: "top", Top: 20, By: []string{"destination_ip"}, Aggs: []Agg{{Func: "sum", Field: "bytes_out"}}}},
		"| top LogonType":                       {Group: &Group{Kind: "top", Top: 10, By: []string{"LogonType"}, Aggs: []Agg{{Func: "count"}}}},
		"| stats count, distinct(src), p95(bytes_in) by user | where count > 5 | sort -p95(bytes_in), user | limit 50": {
			Group: &Group{Kind: "stats", By: []string{"user_name"}, Aggs: []Agg{{Func: "count"}, {Func: "distinct", Field: "source_ip"}, {Func: "p", Field: "bytes_in", P: 95}}},
			Then:  []Then{Having{1, Greater, "5"}, Sort{[]Key{{3, true}, {0, false}}}, Limit{50}}},
		"| timeline 1h by host": {Group: &Group{Kind: "timeline", Every: time.Hour, By: []string{"host"}, Aggs: []Agg{{Func: "count"}}}},
	} {
		if in == "（a｜b）" {
			if _, err := Parse(in); err == nil {
				t.Errorf("%s: accepted", in)
			}
			continue
		}
		got := parsed(t, in)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -want +got\n%s", in, diff)
		}
		if again := parsed(t, got.String()); !cmp.Equal(again, got) {
			t.Errorf("%s: written as %s, which is something else", in, got)
		}
	}
}

func TestErrorsSayWhereAndWhat(t *testing.T) {
	for in, want := range map[string]Error{
		"a (b":                    {4, "", "search.expect-close"},
		"a )":                     {2, ")", "search.unexpected"},
		"()":                      {1, ")", "search.expect-condition"},
		"a OR":                    {4, "", "search.expect-condition"},
		"a OR OR b":               {5, "OR", "search.expect-condition"},
		"NOT":                     {3, "", "search.expect-condition"},
		`a "b`:                    {2, `"`, "search.expect-quote"},
		`""`:                      {0, `"`, "search.empty"},
		"失敗 user:":                {8, "", "search.expect-value"},
		":x":                      {0, ":x", "search.expect-field"},
		"bytes_in > many":         {11, "many", "search.expect-number"},
		"source_ip:10.0.0.0/33":   {10, "10.0.0.0/33", "search.expect-network"},
		"command:/(/":             {8, "", "search.bad-regex"},
		"bytes_in:/1/":            {9, "/1/", "search.no-regex"},
		"command:/(a{999}){999}/": {8, "/", "search.bad-regex"},
		"time:2026":               {5, "2026", "search.expect-time"},
		"time:2026-11-22":         {5, "2026-11-22", "search.expect-order"},
		"drill:maybe":             {6, "maybe", "search.expect-bool"},
		"user in (a b)":           {11, "b", "search.expect-comma"},
		"a | kount":               {4, "kount", "search.expect-stage"},
		"a |":                     {3, "", "search.expect-stage"},
		"| sort count":            {2, "sort", "search.no-table"},
		"| count | count":         {10, "count", "search.one-table"},
		"| count by ip":           {11, "ip", "search.expect-name"},
		"| count by user, User":   {17, "User", "search.twice"},
		"| stats p0(bytes_in)":    {8, "p0", "search.expect-function"},
		"| stats sum bytes_in":    {12, "bytes_in", "search.expect-open"},
		"| stats sum(time)":       {12, "time", "search.not-number"},
		"| top 0 user":            {6, "0", "search.expect-count"},
		"| timeline 1x":           {11, "1x", "search.expect-span"},
		"| count | where n > 1":   {16, "n", "search.expect-column"},
		"| count | where count ~": {22, "~", "search.expect-operator"},
		"a\xff":                   {0, "text", "search.not-text"},
		strings.Repeat("(", 100):  {maxDepth, "(", "search.too-deep"},
		strings.Repeat("a ", 300): {512, "a", "search.too-many-terms"},
		strings.Repeat("a", 9000): {8192, "", "search.too-long"},
	} {
		_, err := Parse(in)
		short := in[:min(len(in), 30)]
		if fault.Of(err) != fault.Invalid {
			t.Errorf("%s: %v", short, err)
			continue
		}
		var got *Error
		if at, ok := Offset(err); !ok {
			t.Errorf("%s: no position: %v", short, err)
		} else if got = asError(err); got.Key != want.Key || at != want.Offset || want.Found != "" && got.Found != want.Found {
			t.Errorf("%s: %+v, want %+v", short, *got, want)
		}
		if got != nil && !i18n.Has("fault."+got.Key) {
			t.Errorf("the catalogue has no %s", got.Key)
		}
	}
}

func asError(err error) *Error {
	for err != nil {
		if e, ok := err.(*Error); ok {
			return e
		}
		u, ok := err.(interface{ Unwrap() error })
		if !ok {
			return nil
		}
		err = u.Unwrap()
	}
	return nil
}

func TestFieldsHaveWords(t *testing.T) {
	for _, f := range Fields() {
		if !i18n.Has(f.Words) {
			t.Errorf("the catalogue has no %s", f.Words)
		}
		for _, name := range append([]string{f.Name, f.ECS, f.Sigma, strings.ToUpper(f.Name)}, f.Aliases...) {
			if name != "" && Resolve(name).Name != f.Name {
				t.Errorf("%s is %s, not %s", name, Resolve(name).Name, f.Name)
			}
		}
	}
	if _, err := ParseField("ip"); fault.Of(err) != fault.Invalid {
		t.Errorf("two columns: %v", err)
	}
	if _, err := ParseField("a'] OR 1=1"); fault.Of(err) != fault.Invalid {
		t.Errorf("not a name: %v", err)
	}
	if f, err := ParseField("LogonType"); err != nil || f.Known() {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestNumbers(t *testing.T) {
	for in, want := range map[string]float64{"443": 443, "-1": -1, "10MB": 1e7, "10mb": 1e7, "1KiB": 1024, "5m": 300, "2h": 7200, "1.5s": 1.5, "20ms": 0.02, "50%": 0.5, "1e3": 1000} {
		if got, ok := Number(in); !ok || got != want {
			t.Errorf("%s: %v %v, want %v", in, got, ok, want)
		}
	}
	for _, in := range []string{"", "x", "MB", "1x", "1M", "0x10", "NaN", "Inf", "1e999", "１", "1_0", "--1"} {
		if got, ok := Number(in); ok {
			t.Errorf("%q is %v", in, got)
		}
	}
}

// TestWhatIsTypedIsNeverInTheText: of everything typed only parameters arrive.
func TestWhatIsTypedIsNeverInTheText(t *testing.T) {
	const evil = `x') OR 1=1; DROP TABLE y --`
	quoted := `"` + evil + `"`
	for _, in := range []string{quoted, "user:" + quoted, "user=" + quoted, "Custom:" + quoted, "user in (" + quoted + ")", "raw:*" + quoted,
		"raw:/x'\\)OR1=1;DROP--/", "| count by user | where user = " + quoted, "ＯＲ:" + quoted, "a'b:c", "| count by O-R.1"} {
		q, err := Parse(in)
		if err != nil {
			t.Logf("%s: refused: %v", in, err)
			continue
		}
		b := NewBuilder(Options{})
		text := b.Condition(q.Where)
		if q.Group != nil {
			text = b.Direct(q, "t", text) + b.Part(q, "t", text) + b.Merge(q, "p")
		}
		for _, word := range []string{"DROP", "1=1", "--", "x'", "a'b", "O-R"} {
			if strings.Contains(text, word) {
				t.Errorf("%s: %q is in the statement: %s", in, word, text)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "a b OR -c", `user:"x""y" code in (1, 2)`, "「失敗」（a：b）", "a:/b\\/c/i", "ip:10.0.0.0/9", "| stats count, p95(x) by y | where p95(x) > 1GB | sort -count",
		"x | timeline 5m by kind", "| top 3 a by avg(b)", "not not a", "a*?b", "time>-1d", "or:x in:(y)", "bytes_in=0 port!=0", "in in (in)", "by:by|count by by"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		q, err := Parse(text)
		if err != nil {
			if at, ok := Offset(err); fault.Of(err) != fault.Invalid || !ok || at < 0 || at > len([]rune(text)) {
				t.Fatalf("%q: %v at %d", text, err, at)
			}
			return
		}
		written := q.String()
		again, err := Parse(written)
		if err != nil && asError(err).Key == "search.too-long" {
			return
		}
		if err != nil {
			t.Fatalf("%q is written as %q: %v", text, written, err)
		}
		if diff := cmp.Diff(q, again); diff != "" {
			t.Fatalf("%q is written as %q:\n%s", text, written, diff)
		}
		b := NewBuilder(Options{Now: time.Unix(1e9, 0)})
		condition := b.Condition(q.Where)
		if q.Group != nil {
			b.Direct(q, "t", condition)
			b.Part(q, "t", condition)
			b.Merge(q, "p")
		}
		Needs(q.Where)
	})
}
