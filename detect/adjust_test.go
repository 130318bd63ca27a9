package detect

import (
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/event"
)

const adjustText = `
suppress:
  - rule: a
    when: {Image|endswith: \backup.exe, User: svc}
    owner: Tanaka
    reason: the nightly backup
    until: 2026-12-31
  - rule: b
    owner: Tanaka
    reason: over
    until: 2026-01-31
levels:
  - rule: a
    level: critical
    when:
      - Host: server1
      - Host: server2
    owner: Suzuki
    reason: servers with patient data
    until: 2026-12-31
`

func adjustments(t *testing.T, text string, now time.Time) (*Adjustments, error) {
	t.Helper()
	return ReadAdjustments(map[string][]byte{"a.yml": []byte(text)}, []string{"a.yml"}, func() time.Time { return now })
}

func TestAdjustments(t *testing.T) {
	files := rules(map[string]string{"a.yml": good, "b.yml": strings.ReplaceAll(good, "id: a", "id: b"),
		"c.yml": "threshold: {count: 2, window: 10m}\n" + strings.ReplaceAll(good, "id: a", "id: c")})
	e, rep, err := Load(files)
	if err != nil || len(rep.Rejected) > 0 {
		t.Fatal(err, rep.Rejected)
	}
	now := time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)
	a, err := adjustments(t, adjustText+"  - rule: c\n    level: low\n    owner: x\n    reason: y\n    until: 2026-12-31\n", now)
	if err != nil {
		t.Fatal(err)
	}
	e.Adjust(a)
	ev := func(id string, fields ...string) event.Event {
		m := map[string]string{"F": "x"}
		for i := 0; i < len(fields); i += 2 {
			m[fields[i]] = fields[i+1]
		}
		return event.Event{ID: id, Time: now, Host: "h", Product: "p", Fields: m}
	}
	for _, c := range []struct {
		name  string
		event event.Event
		a     string // level of rule a, "" when it finds nothing
	}{
		{"plain", ev("1"), "high"},
		{"suppressed", ev("2", "Image", `C:\tools\backup.exe`, "User", "svc"), ""},
		{"half of the condition", ev("3", "Image", `C:\tools\backup.exe`), "high"},
		{"raised", ev("4", "Host", "server2"), "critical"},
		{"the first that fits counts", ev("5", "Image", `C:\backup.exe`, "User", "svc", "Host", "server1"), ""},
	} {
		levels := map[string]string{}
		for _, f := range e.Match(event.Batch{Host: "h", Events: []event.Event{c.event}}) {
			levels[f.Rule.ID] = f.Rule.Level.String()
		}
		if levels["a"] != c.a || levels["b"] != "high" {
			t.Errorf("%s: levels %v, want a %q and b high", c.name, levels, c.a)
		}
		if l, fired := levels["c"]; fired && l != "low" {
			t.Errorf("%s: the counting rule has level %s", c.name, l)
		}
		r := &event.Record{Product: "p"}
		for k, v := range c.event.Fields {
			r.Add([]byte(k), []byte(v), event.Plain)
		}
		e.NewMatcher().Match(r, func(h Hit) {
			if h.Rule.ID == "a" && (h.Suppressed != (c.a == "") || !h.Suppressed && h.Level.String() != c.a) {
				t.Errorf("%s: offline it is %+v", c.name, h)
			}
		})
	}
	if x := a.Expired(); len(x) != 1 || x[0].Rule != "b" || x[0].Line != 8 || x[0].Hits() != 0 {
		t.Errorf("expired: %+v", x)
	}
	if n := a.List()[0].Hits(); n != 4 {
		t.Errorf("applied %d times, want 4: two events, in both ways", n)
	}
}

func TestAdjustmentsHoldUntilTheEndOfTheDayInJapan(t *testing.T) {
	for name, c := range map[string]struct {
		now  time.Time
		want int
	}{
		"the last minute": {time.Date(2026, 12, 31, 14, 59, 0, 0, time.UTC), 1},
		"the next day":    {time.Date(2026, 12, 31, 15, 0, 0, 0, time.UTC), 3},
	} {
		a, err := adjustments(t, adjustText, c.now)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(a.Expired()); got != c.want {
			t.Errorf("%s: %d expired, want %d", name, got, c.want)
		}
	}
}

func TestAdjustmentsThatAreNotWhollyUnderstoodAreRefused(t *testing.T) {
	entry := "suppress:\n  - rule: a\n    owner: o\n    reason: r\n    until: 2026-12-31\n"
	for name, c := range map[string]struct{ text, want string }{
		"no owner":          {strings.Replace(entry, "owner: o\n    ", "", 1), "a.yml:2: owner is missing"},
		"no reason":         {strings.Replace(entry, "    reason: r\n", "", 1), "reason is missing"},
		"no expiry":         {strings.Replace(entry, "    until: 2026-12-31\n", "", 1), "until is missing"},
		"no rule":           {strings.Replace(entry, "rule: a\n    ", "", 1), "rule is missing"},
		"bad day":           {strings.Replace(entry, "2026-12-31", "soon", 1), `"soon" is no day`},
		"unknown key":       {strings.Replace(entry, "owner: o", "ownr: o", 1), "ownr"},
		"unknown part":      {"hide: []\n", "hide"},
		"unknown modifier":  {entry + "    when: {A|nope: x}\n", `when: unknown modifier "nope"`},
		"level of nothing":  {strings.Replace(entry, "suppress", "levels", 1), "level"},
		"suppress to level": {entry + "    level: low\n", "suppressed has none"},
		"no YAML":           {"a: [", "a.yml"},
	} {
		_, err := adjustments(t, c.text, time.Time{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

// FuzzAdjustments wants no panic, and an owner and a reason in all it takes.
func FuzzAdjustments(f *testing.F) {
	f.Add([]byte(adjustText))
	f.Add([]byte("suppress: [{rule: a, when: [x]}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		a, err := ReadAdjustments(map[string][]byte{"a": text}, []string{"a"}, time.Now)
		if err != nil {
			return
		}
		for _, adj := range a.List() {
			if adj.Owner == "" || adj.Reason == "" || adj.Until.IsZero() {
				t.Errorf("%+v", adj)
			}
		}
	})
}
