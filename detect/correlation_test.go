package detect

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/event"
)

// base is a rule that matches events whose field R is its name.
func base(name string) string {
	return fmt.Sprintf("title: %s\nid: id-%s\nname: %s\nlogsource: {product: p}\ndetection:\n  s: {R: %s}\n  condition: s\n", name, name, name, name)
}

// over is a correlation of the given lines.
func over(id string, lines ...string) string {
	return "title: " + id + "\nid: " + id + "\ncorrelation:\n  " + strings.Join(lines, "\n  ") + "\n"
}

func engine(t *testing.T, docs ...string) *Engine {
	t.Helper()
	e, rep, err := Load(rules(map[string]string{"r.yml": strings.Join(docs, "---\n")}))
	if err != nil || len(rep.Rejected) > 0 {
		t.Fatal(err, rep.Rejected)
	}
	return e
}

// step is an event: seconds after noon, the rule that it matches, and fields
// as k=v.
type step struct {
	at     int
	rule   string
	fields string
}

func (s step) event(n int) event.Event {
	e := event.Event{ID: fmt.Sprint("e", n), Time: time.Date(2026, 4, 1, 12, 0, s.at, 0, time.UTC), Site: "s", Host: "h", Product: "p", Fields: map[string]string{"R": s.rule}}
	for _, kv := range strings.Fields(s.fields) {
		k, v, _ := strings.Cut(kv, "=")
		switch k {
		case "host":
			e.Host = v
		case "site":
			e.Site = v
		case "drill":
			e.Drill = true
		default:
			e.Fields[k] = v
		}
	}
	return e
}

// run says which rules found something at which event.
func run(e *Engine, steps []step) (out []string) {
	for i, s := range steps {
		for _, f := range e.Match(event.Batch{ID: fmt.Sprint("b", i), Events: []event.Event{s.event(i)}}) {
			out = append(out, fmt.Sprintf("%s@%d", f.Rule.ID, f.Time.Sub(time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC))/time.Second))
		}
	}
	return out
}

// repeat makes n steps, a second apart.
func repeat(n, at int, rule, fields string) (out []step) {
	for i := range n {
		out = append(out, step{at + i, rule, strings.ReplaceAll(fields, "#", fmt.Sprint(i))})
	}
	return out
}

func TestCorrelations(t *testing.T) {
	count := over("c", "type: event_count", "rules: [a]", "group-by: [U]", "timespan: 10s", "condition: {gte: 3}")
	ordered := over("o", "type: temporal_ordered", "rules: [a, b, c]", "group-by: [U]", "timespan: 10s")
	temporal := strings.Replace(ordered, "temporal_ordered", "temporal", 1)
	for name, tt := range map[string]struct {
		docs  []string
		steps []step
		want  []string
	}{
		"counts":                          {[]string{base("a"), count}, repeat(3, 0, "a", "U=x"), []string{"c@2"}},
		"nine are not seven":              {[]string{base("a"), count}, slices.Concat(repeat(9, 0, "a", "U=x")), []string{"c@2"}},
		"an attack that lasts":            {[]string{base("a"), count}, repeat(30, 0, "a", "U=x"), []string{"c@2", "c@12", "c@22"}},
		"falls below and comes again":     {[]string{base("a"), count}, []step{{0, "a", "U=x"}, {1, "a", "U=x"}, {5, "a", "U=x"}, {12, "a", "U=x"}, {13, "a", "U=x"}, {14, "a", "U=x"}}, []string{"c@5", "c@13"}},
		"trap: group-by ignored":          {[]string{base("a"), count}, repeat(9, 0, "a", "U=x#"), nil},
		"trap: window too long":           {[]string{base("a"), count}, []step{{0, "a", "U=x"}, {5, "a", "U=x"}, {10, "a", "U=x"}}, nil},
		"within the window":               {[]string{base("a"), count}, []step{{0, "a", "U=x"}, {5, "a", "U=x"}, {9, "a", "U=x"}}, []string{"c@9"}},
		"without the field of the group":  {[]string{base("a"), count}, repeat(9, 0, "a", ""), nil},
		"sites are apart":                 {[]string{base("a"), count}, repeat(3, 0, "a", "U=x site=s#"), nil},
		"a drill is apart":                {[]string{base("a"), count}, append(repeat(2, 0, "a", "U=x"), step{3, "a", "U=x drill=1"}), nil},
		"hosts are together":              {[]string{base("a"), count}, repeat(3, 0, "a", "U=x host=h#"), []string{"c@2"}},
		"by host, which is no field":      {[]string{base("a"), strings.Replace(count, "[U]", "[ComputerName]", 1)}, repeat(3, 0, "a", "host=h#"), nil},
		"one host":                        {[]string{base("a"), strings.Replace(count, "[U]", "[ComputerName]", 1)}, repeat(3, 0, "a", "U=x#"), []string{"c@2"}},
		"a range":                         {[]string{base("a"), strings.Replace(count, "gte: 3", "gt: 1, lte: 2", 1)}, repeat(3, 0, "a", "U=x"), []string{"c@1"}},
		"in the wrong order of arrival":   {[]string{base("a"), count}, []step{{9, "a", "U=x"}, {1, "a", "U=x"}, {5, "a", "U=x"}}, []string{"c@9"}},
		"two rules are counted together":  {[]string{base("a"), base("b"), strings.Replace(count, "[a]", "[a, b]", 1)}, []step{{0, "a", "U=x"}, {1, "b", "U=x"}, {2, "a", "U=x"}}, []string{"c@2"}},
		"by id":                           {[]string{base("a"), strings.Replace(count, "[a]", "[id-a]", 1)}, repeat(3, 0, "a", "U=x"), []string{"c@2"}},
		"generate":                        {[]string{base("a"), count + "generate: true\n"}, repeat(3, 0, "a", "U=x"), []string{"id-a@0", "id-a@1", "c@2", "id-a@2"}},
		"generate by one of two":          {[]string{base("a"), count + "generate: true\n", strings.ReplaceAll(count, "c\n", "d\n")}, repeat(1, 0, "a", "U=x"), []string{"id-a@0"}},
		"temporal":                        {[]string{base("a"), base("b"), base("c"), temporal}, []step{{0, "c", "U=x"}, {1, "a", "U=x"}, {2, "b", "U=x"}}, []string{"o@2"}},
		"temporal, one missing":           {[]string{base("a"), base("b"), base("c"), temporal}, []step{{0, "c", "U=x"}, {1, "a", "U=x"}, {2, "a", "U=x"}}, nil},
		"trap: temporal ignores group-by": {[]string{base("a"), base("b"), base("c"), temporal}, []step{{0, "c", "U=x"}, {1, "a", "U=x"}, {2, "b", "U=y"}}, nil},
		"trap: temporal, window too long": {[]string{base("a"), base("b"), base("c"), temporal}, []step{{0, "c", "U=x"}, {1, "a", "U=x"}, {10, "b", "U=x"}}, nil},
		"ordered":                         {[]string{base("a"), base("b"), base("c"), ordered}, []step{{0, "a", "U=x"}, {1, "b", "U=x"}, {2, "c", "U=x"}}, []string{"o@2"}},
		"trap: order ignored":             {[]string{base("a"), base("b"), base("c"), ordered}, []step{{0, "b", "U=x"}, {1, "a", "U=x"}, {2, "c", "U=x"}}, nil},
		"trap: order after the first":     {[]string{base("a"), base("b"), base("c"), ordered}, []step{{0, "a", "U=x"}, {1, "c", "U=x"}, {2, "b", "U=x"}}, nil},
		"trap: ordered ignores group-by":  {[]string{base("a"), base("b"), base("c"), ordered}, []step{{0, "a", "U=x"}, {1, "b", "U=y"}, {2, "c", "U=x"}}, nil},
		"trap: ordered, window too long":  {[]string{base("a"), base("b"), base("c"), ordered}, []step{{0, "a", "U=x"}, {5, "b", "U=x"}, {10, "c", "U=x"}}, nil},
		"ordered, the middle comes late":  {[]string{base("a"), base("b"), base("c"), ordered}, []step{{0, "a", "U=x"}, {2, "c", "U=x"}, {1, "b", "U=x"}}, []string{"o@2"}},
		"two of three":                    {[]string{base("a"), base("b"), base("c"), temporal + "  condition: {gte: 2}\n"}, []step{{0, "c", "U=x"}, {1, "c", "U=x"}, {2, "b", "U=x"}}, []string{"o@2"}},
		"values":                          {[]string{base("a"), over("c", "type: value_count", "rules: [a]", "group-by: [U]", "timespan: 10s", "condition: {field: V, gte: 3}")}, append(repeat(5, 0, "a", "U=x V=1"), repeat(3, 5, "a", "U=x V=#")...), []string{"c@7"}},
		"values of two fields":            {[]string{base("a"), over("c", "type: value_count", "rules: [a]", "group-by: [U]", "timespan: 10s", "condition: {field: [V, W], gte: 2}")}, []step{{0, "a", "U=x V=1 W=1"}, {1, "a", "U=x V=1"}, {2, "a", "U=x V=1 W=2"}}, []string{"c@2"}},
		"sum":                             {[]string{base("a"), over("c", "type: value_sum", "rules: [a]", "group-by: [U]", "timespan: 10s", "condition: {field: V, gt: 100}")}, []step{{0, "a", "U=x V=60"}, {1, "a", "U=x V=none"}, {2, "a", "U=x V=40"}, {3, "a", "U=x V=0.5"}}, []string{"c@3"}},
		"average":                         {[]string{base("a"), over("c", "type: value_avg", "rules: [a]", "timespan: 10s", "condition: {field: V, gt: 50}")}, []step{{0, "a", "V=10"}, {1, "a", "V=90"}, {2, "a", "V=60"}}, []string{"c@2"}},
		"median":                          {[]string{base("a"), over("c", "type: value_median", "rules: [a]", "timespan: 10s", "condition: {field: V, gte: 50}")}, []step{{0, "a", "V=1"}, {1, "a", "V=2"}, {2, "a", "V=98"}, {3, "a", "V=99"}}, []string{"c@3"}},
		"percentile":                      {[]string{base("a"), over("c", "type: value_percentile", "rules: [a]", "timespan: 100s", "condition: {field: V, gte: 90, percentile: 90}")}, append(repeat(20, 0, "a", "V=5"), step{30, "a", "V=95"}, step{31, "a", "V=95"}, step{32, "a", "V=95"}), []string{"c@32"}},
		"a rare value":                    {[]string{base("a"), over("c", "type: value_percentile", "rules: [a]", "timespan: 100s", "condition: {field: V, lte: 10}")}, append(repeat(12, 0, "a", "V=often"), step{30, "a", "V=rare"}), []string{"c@30"}},
		"aliases": {[]string{base("a"), base("b"), over("c", "type: temporal", "rules: [a, b]", "group-by: [ip, port]", "timespan: 10s", "aliases: {ip: {a: Src, b: Dst}}")},
			[]step{{0, "a", "Src=1 Dst=2 port=7"}, {1, "b", "Src=1 Dst=2 port=7"}, {2, "b", "Src=2 Dst=1 port=8"}, {3, "b", "Src=2 Dst=1 port=7"}}, []string{"c@3"}},
		"chained": {[]string{base("a"), base("b"), over("d", "type: temporal_ordered", "rules: [c, b]", "group-by: [U]", "timespan: 10s"), count},
			append(repeat(3, 0, "a", "U=x"), step{3, "b", "U=y"}, step{4, "b", "U=x"}), []string{"d@4"}},
		"chained and generated": {[]string{base("a"), base("b"), over("d", "type: temporal_ordered", "rules: [c, b]", "group-by: [U]", "timespan: 10s") + "generate: true\n", count},
			append(repeat(3, 0, "a", "U=x"), step{4, "b", "U=x"}), []string{"c@2", "d@4", "id-b@4"}},
		"threshold under a correlation": {[]string{"threshold: {count: 2, window: 10s}\n" + base("a"), base("b"), over("d", "type: temporal", "rules: [a, b]", "timespan: 10s")},
			[]step{{0, "b", ""}, {1, "a", ""}, {2, "a", ""}}, []string{"d@2"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := run(engine(t, tt.docs...), tt.steps); !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestCorrelationsThatCannotBeResolved(t *testing.T) {
	c := func(id, refs string) string {
		return over(id, "type: temporal", "rules: ["+refs+"]", "timespan: 10s")
	}
	var chain []string
	for i := range 12 {
		chain = append(chain, c(fmt.Sprint("k", i), fmt.Sprint("k", i+1)))
	}
	for name, tt := range map[string]struct {
		text string
		want []string
	}{
		"missing rule":  {c("c", "a, b") + "---\n" + base("a"), []string{`c: there is no rule "b", or it was rejected`}},
		"rejected rule": {c("c", "a") + "---\n" + strings.ReplaceAll(base("a"), "R:", "R|nope:"), []string{`id-a: unknown modifier "nope"`, `c: there is no rule "a", or it was rejected`}},
		"itself":        {c("c", "c"), []string{"c: the correlation refers to itself: c → c"}},
		"each other":    {c("c", "d") + "---\n" + c("d", "c"), []string{"c: the correlation refers to itself: c → d → c", "d: the correlation refers to itself: d → c → d"}},
		"two of a name": {c("c", "a") + "---\n" + base("a") + "---\n" + strings.ReplaceAll(base("a"), "id-a", "id-b"), []string{`c: several rules are called "a": id-a, id-b`}},
		"taken id":      {base("a") + "---\n" + c("id-a", "a"), []string{"id-a: the id is taken by r.yml"}},
		"a long chain":  {strings.Join(chain[:1], ""), []string{`k0: there is no rule "k1", or it was rejected`}},
	} {
		t.Run(name, func(t *testing.T) {
			_, rep, err := Load(rules(map[string]string{"r.yml": tt.text}))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range rep.Rejected {
				got = append(got, r.ID+": "+r.Reason)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	_, rep, _ := Load(rules(map[string]string{"r.yml": strings.Join(append(chain, base("k12")), "---\n")}))
	if len(rep.Rejected) == 0 || !strings.Contains(rep.Rejected[0].Reason, "stand on each other") {
		t.Errorf("a chain of twelve: %+v", rep.Rejected)
	}
}

func TestFindingOfACorrelationSaysWhatCameTogether(t *testing.T) {
	e := engine(t, base("a"), over("c", "type: event_count", "rules: [a]", "group-by: [U, ComputerName]", "timespan: 10m", "condition: {gte: 100}"))
	var found []Finding
	for i, s := range repeat(100, 0, "a", "U=x") {
		found = append(found, e.Match(event.Batch{ID: fmt.Sprint(i), Events: []event.Event{s.event(i)}})...)
	}
	if len(found) != 1 {
		t.Fatalf("%d findings", len(found))
	}
	at := func(s int) time.Time { return time.Date(2026, 4, 1, 12, 0, s, 0, time.UTC) }
	want := &Correlated{Group: []GroupValue{{"U", "x"}, {"ComputerName", "h"}}, Value: 100, Count: 100, From: at(0), To: at(99)}
	if diff := cmp.Diff(want, found[0].Correlated); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if n := len(found[0].Events); n != 40 || found[0].Events[0].ID != "e0" || found[0].Events[20].ID != "e80" || found[0].Events[39].ID != "e99" {
		t.Errorf("%d events, want the first and the last twenty", n)
	}
}

// The example of the specification, with a chain in reverse order.
const bruteForce = `title: Correlation - Multiple Failed Logins Followed by Successful Login
id: b180ead8-d58f-40b2-ae54-c8940995b9b6
status: experimental
references:
    - https://reference.com
author: Florian Roth (Nextron Systems)
date: 2023-06-16
correlation:
    type: temporal_ordered
    rules:
        - multiple_failed_login
        - successful_login
    group-by:
        - User
    timespan: 10m
falsepositives:
    - Unlikely
level: high
---
title: Multiple failed logons
id: a8418a5a-5fc4-46b5-b23b-6c73beb19d41
name: multiple_failed_login
correlation:
    type: event_count
    rules:
        - failed_login
    group-by:
        - User
    timespan: 10m
    condition:
        gte: 10
---
title: Single failed login
id: 53ba33fd-3a50-4468-a5ef-c583635cfa92
name: failed_login
logsource:
    product: windows
    service: security
detection:
    selection:
        EventID:
            - 529
            - 4625
    condition: selection
---
title: Successful login
id: 4d0a2c83-c62c-4ed4-b475-c7e23a9269b8
name: successful_login
logsource:
    product: windows
    service: security
detection:
    selection:
        EventID:
            - 528
            - 4624
    condition: selection
`

func TestFailuresThenSuccessOfTheSpecification(t *testing.T) {
	e, rep, err := Load(rules(map[string]string{"r.yml": bruteForce}))
	if err != nil || len(rep.Rejected) > 0 {
		t.Fatal(err, rep.Rejected)
	}
	b := event.Batch{ID: "b"}
	for i := range 11 {
		id := "4625"
		if i == 10 {
			id = "4624"
		}
		b.Events = append(b.Events, event.Event{ID: fmt.Sprint("e", i), Time: time.Unix(1e9+int64(i), 0), Product: "windows", Service: "security", Fields: map[string]string{"EventID": id, "User": "u"}})
	}
	found := e.Match(b)
	if len(found) != 1 || found[0].Rule.Level != event.High || len(found[0].Events) != 11 || found[0].Correlated.Value != 2 {
		t.Errorf("got %+v", found)
	}
}

// specification reads a file of the specification's tests.
func specification(t *testing.T) map[string]string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	name := ""
	for ; name == "" && dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		at := filepath.Join(dir, "shared/data/detect/sigma-spec-schemas-and-tests.tar.gz")
		if _, err := os.Stat(at); err == nil {
			name = at
		}
	}
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("the specification is not here: shared/data/detect/sigma-spec-schemas-and-tests.tar.gz beside the project")
	}
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(h.Name, "tests/schema/correlation/") && ruleFile(h.Name) {
			out[filepath.Base(h.Name)] = string(text)
		}
	}
}

// Each example of the specification loads with rules of the names that it
// refers to, fires on what it describes and on nothing less.
func TestExamplesOfTheSpecification(t *testing.T) {
	examples := specification(t)
	if len(examples) != 8 {
		t.Errorf("%d examples, want 8", len(examples))
	}
	recon := []step{{0, "recon_cmd_a", "ComputerName=c User=u"}, {1, "recon_cmd_b", "ComputerName=c User=u"}, {2, "recon_cmd_c", "ComputerName=c User=u"}}
	uuid := "5638f7c0-ac70-491d-8465-2a65075e0d86"
	for file, tt := range map[string]struct {
		fires []step
		not   []step
	}{
		"event_count.yml":      {repeat(100, 0, uuid, "ComputerName=c"), repeat(99, 0, uuid, "ComputerName=c")},
		"event_count_ecs.yml":  {repeat(100, 0, uuid, "dns.question.name=c"), repeat(100, 0, uuid, "dns.question.name=c#")},
		"value_count.yml":      {repeat(100, 0, uuid, "ComputerName=c WorkstationName=w User=u#"), repeat(100, 0, uuid, "ComputerName=c WorkstationName=w User=u")},
		"temporal.yml":         {[]step{recon[2], recon[0], recon[1]}, recon[:2]},
		"temporal_ordered.yml": {recon, []step{{0, "recon_cmd_b", "ComputerName=c User=u"}, {1, "recon_cmd_a", "ComputerName=c User=u"}, {2, "recon_cmd_c", "ComputerName=c User=u"}}},
		"value_sum.yml":        {repeat(3, 0, "website_access", "SourceIP=1 User=u bytes_sent=400000"), repeat(3, 0, "website_access", "SourceIP=1 User=u# bytes_sent=400000")},
		"value_avg.yml":        {[]step{{0, "rule_a_id", "SourceIP=1 User=u BytesOut=400"}, {1, "rule_a_id", "SourceIP=1 User=u BytesOut=700"}}, []step{{0, "rule_a_id", "SourceIP=1 User=u BytesOut=500"}}},
		"value_percentile.yml": {append(repeat(99, 0, "process_creation", "ComputerName=c Image=often"), step{200, "process_creation", "ComputerName=c Image=rare"}),
			append(repeat(98, 0, "process_creation", "ComputerName=c Image=often"), step{200, "process_creation", "ComputerName=c Image=rare"})},
	} {
		t.Run(file, func(t *testing.T) {
			files := fstest.MapFS{file: &fstest.MapFile{Data: []byte(examples[file])}}
			names := map[string]bool{}
			for _, s := range append(slices.Clone(tt.fires), tt.not...) {
				names[s.rule] = true
			}
			if strings.HasPrefix(file, "temporal") {
				names["recon_cmd_c"] = true
			}
			for name := range names {
				files[name+".yml"] = &fstest.MapFile{Data: []byte(strings.ReplaceAll(base(name), "id-", ""))}
			}
			for _, c := range []struct {
				steps []step
				want  int
			}{{tt.fires, 1}, {tt.not, 0}} {
				e, rep, err := Load(files)
				if err != nil || len(rep.Rejected) > 0 {
					t.Fatal(err, rep.Rejected)
				}
				if got := run(e, c.steps); len(got) != c.want {
					t.Errorf("%d events: got %v, want %d", len(c.steps), got, c.want)
				}
			}
		})
	}
}

// Judged anywhere and counted in one place gives what Match gives.
func TestJudgeAndCorrelateAreMatch(t *testing.T) {
	docs := []string{base("a"), over("c", "type: event_count", "rules: [a]", "group-by: [U]", "timespan: 10s", "condition: {gte: 3}") + "generate: true\n",
		"threshold: {count: 4, window: 10s}\n" + strings.ReplaceAll(base("a"), "id-a\nname: a", "id-t")}
	at, apart := engine(t, docs...), engine(t, docs...)
	var steps []event.Event
	for i, s := range repeat(40, 0, "a", "U=x") {
		steps = append(steps, s.event(i))
	}
	b := event.Batch{ID: "b", Events: steps}
	found, counted := apart.Judge(b)
	found = append(found, apart.Correlate(counted)...)
	want := at.Match(b)
	byID := func(a, b Finding) int { return strings.Compare(a.ID, b.ID) }
	slices.SortFunc(found, byID)
	slices.SortFunc(want, byID)
	if diff := cmp.Diff(want, found); diff != "" || len(want) < 44 {
		t.Errorf("%d findings (-match +apart):\n%s", len(want), diff)
	}
	if again := apart.Correlate(counted); len(again) > 0 {
		t.Errorf("the same matches once more found %d", len(again))
	}
}

func TestAnEngineThatWasReplacedCountsForItsHeir(t *testing.T) {
	docs := []string{base("a"), over("c", "type: event_count", "rules: [a]", "timespan: 10s", "condition: {gte: 3}")}
	old := engine(t, docs...)
	run(old, repeat(1, 0, "a", ""))
	e := engine(t, docs...)
	e.Adopt(old)
	_, counted := old.Judge(event.Batch{ID: "late", Events: []event.Event{step{1, "a", ""}.event(1)}})
	old.Correlate(counted) // it had been taken out a moment before
	var state bytes.Buffer
	if err := old.Snapshot(&state); err != nil {
		t.Fatal(err)
	}
	third := engine(t, docs...)
	if begun, err := third.Restore(bytes.NewReader(state.Bytes())); err != nil || len(begun) > 0 {
		t.Fatal(begun, err)
	}
	for name, e := range map[string]*Engine{"the heir": e, "one that was restored": third} {
		if got := run(e, []step{{9, "x", ""}, {9, "x", ""}, {2, "a", ""}}); len(got) != 1 {
			t.Errorf("%s found %v, want one", name, got)
		}
	}
}

func TestDamagedStateOfCorrelationsIsRefused(t *testing.T) {
	docs := []string{base("a"), over("c", "type: event_count", "rules: [a]", "timespan: 10s", "condition: {gte: 3}")}
	e := engine(t, docs...)
	run(e, repeat(2, 0, "a", ""))
	var state bytes.Buffer
	if err := e.Snapshot(&state); err != nil {
		t.Fatal(err)
	}
	for i := range state.Len() {
		bad := bytes.Clone(state.Bytes())
		bad[i] ^= 0x10
		if _, err := e.Restore(bytes.NewReader(bad)); err == nil {
			t.Errorf("byte %d was changed and nobody saw", i)
		}
		if _, err := e.Restore(bytes.NewReader(state.Bytes()[:i])); err == nil {
			t.Errorf("%d bytes were taken for the whole", i)
		}
	}
	if n := e.Counts()["c"].Samples; n != 0 {
		t.Errorf("%d events left of a damaged state", n)
	}
	changed := engine(t, docs[0], strings.Replace(docs[1], "10s", "11s", 1))
	if begun, err := changed.Restore(&state); err != nil || !slices.Equal(begun, []string{"c"}) {
		t.Errorf("got %v, %v; want c to begin from zero", begun, err)
	}
}
