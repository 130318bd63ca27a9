package view

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/ready/asset"
)

func TestNextDeadline(t *testing.T) {
	now := time.Date(2026, 11, 22, 5, 0, 0, 0, time.UTC)
	in := func(h int) time.Time { return now.Add(time.Duration(h) * time.Hour) }
	clock := func(id string, a duty.Answer, target, due time.Time) duty.Clock {
		return duty.Clock{ID: id, Applies: a, Target: target, Due: due}
	}
	for name, tt := range map[string]struct {
		clocks []duty.Clock
		id     string
		target bool
	}{
		"none":                          {nil, "", false},
		"our target comes first":        {[]duty.Clock{clock("a", duty.Yes, in(10), in(20))}, "a", true},
		"the legal day after it":        {[]duty.Clock{clock("a", duty.Yes, in(-10), in(20))}, "a", false},
		"the earliest of several":       {[]duty.Clock{clock("a", duty.Yes, time.Time{}, in(20)), clock("b", duty.Unknown, time.Time{}, in(5))}, "b", false},
		"what does not apply is left":   {[]duty.Clock{clock("a", duty.No, in(1), in(2)), clock("b", duty.Yes, time.Time{}, in(9))}, "b", false},
		"all passed: the latest legal":  {[]duty.Clock{clock("a", duty.Yes, in(-9), in(-8)), clock("b", duty.Yes, in(-2), in(-1))}, "b", false},
		"one passed, another still due": {[]duty.Clock{clock("a", duty.Yes, in(-9), in(-8)), clock("b", duty.Yes, time.Time{}, in(1))}, "b", false},
	} {
		got := NextDeadline(tt.clocks, now)
		if got == nil {
			if tt.id != "" {
				t.Errorf("%s: none, want %s", name, tt.id)
			}
			continue
		}
		if got.Clock.ID != tt.id || got.Target != tt.target {
			t.Errorf("%s: %s target %v, want %s %v", name, got.Clock.ID, got.Target, tt.id, tt.target)
		}
	}
}

func TestServicesSurviveTheirForm(t *testing.T) {
	list := []asset.Service{{ID: "sv-1", Name: "電話受付", Effect: "電話を受けられない", Load: "40件/時"}, {ID: "sv-2", Name: "印刷"}}
	if d := cmp.Diff(list, ParseServices(ServiceLines(list), list)); d != "" {
		t.Error(d)
	}
	got := ParseServices("\r\n 新しい業務 |止まる\r\n\r\n", nil)
	if len(got) != 1 || got[0].Name != "新しい業務" || got[0].Effect != "止まる" || got[0].ID == "" {
		t.Errorf("got %+v", got)
	}
}

func TestEntriesNamePeopleHostsAndSites(t *testing.T) {
	name := func(kind string) func(string) string { return func(id string) string { return kind + " " + id } }
	p := Page{Lang: "ja", Names: Names{Person: name("人"), Host: name("機器"), Site: name("拠点")}}
	got := p.NamesIn(map[string]string{"by": "pe-1", "host": "drill-pc", "hosts": "ho-1, ho-2", "site": "callcentre", "reason": "ただの文, ho-3", "lease": "60"})
	want := map[string]string{"pe-1": "人 pe-1", "drill-pc": "機器 drill-pc", "ho-1": "機器 ho-1", "ho-2": "機器 ho-2", "callcentre": "拠点 callcentre", "ho-3": "機器 ho-3"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestCountedStepsBecomeAList(t *testing.T) {
	for text, want := range map[string][]string{
		"1. 切らない。\n2. 開く。 3. 残す。": {"切らない。", "開く。", "残す。"},
		"1. only one":          {"only one"},
		"no count, 2. no step": nil,
		"":                     nil,
	} {
		if diff := cmp.Diff(want, counted(text)); diff != "" {
			t.Errorf("%q: -want +got:\n%s", text, diff)
		}
	}
}

func TestIDsAndDigestsAreSetAsCode(t *testing.T) {
	digest := strings.Repeat("0a", 32)
	got := partsOf("証拠袋 bag-01ab-02cd を封印した: " + digest + "。")
	want := []piece{{Text: "証拠袋 "}, {Text: "bag-01ab-02cd", Code: true, Bag: true}, {Text: " を封印した: "}, {Text: digest, Code: true}, {Text: "。"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestPracticeHasNamesInBothLanguages(t *testing.T) {
	if got := Practised("en", "訓練用PC"); got != "Practice PC" {
		t.Errorf("the practice host is %q in English", got)
	}
	if got := Practised("en", "受付PC"); got != "受付PC" {
		t.Errorf("a host that people named became %q", got)
	}
}
