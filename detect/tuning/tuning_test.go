package tuning

import (
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/event"
)

var start = time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC)

func TestChangesDoWhatTheySay(t *testing.T) {
	e := event.Event{Site: "hospital", Host: "ho-1", Fields: map[string]string{"Image": `C:\Tools\Backup.exe`, "User": "svc_backup"}}
	change := func(k Kind, when ...Match) Change {
		return Change{ID: "c", Rule: "r", Kind: k, When: when, Level: event.Low, Until: start.Add(time.Hour)}
	}
	for name, tt := range map[string]struct {
		change Change
		after  time.Duration
		level  event.Severity
		speaks bool
	}{
		"a suppression that holds silences":              {change(Suppress, Match{"User", "is", "SVC_Backup"}), 0, event.High, false},
		"its time over, it does not":                     {change(Suppress, Match{"User", "is", "svc_backup"}), time.Hour, event.High, true},
		"another value does not hold":                    {change(Suppress, Match{"User", "is", "svc_back"}), 0, event.High, true},
		"all conditions must hold":                       {change(Suppress, Match{"User", "is", "svc_backup"}, Match{"host", "is", "ho-2"}), 0, event.High, true},
		"contains, startswith and endswith fold case":    {change(Suppress, Match{"Image", "contains", "tools"}, Match{"Image", "startswith", `c:\`}, Match{"Image", "endswith", "BACKUP.EXE"}), 0, event.High, false},
		"an absent field holds nothing, not even itself": {change(Suppress, Match{"CommandLine", "contains", ""}), 0, event.High, true},
		"the site is a field":                            {change(Suppress, Match{"site", "is", "hospital"}), 0, event.High, false},
		"another level":                                  {change(Relevel), 0, event.Low, true},
		"another level for some":                         {change(Relevel, Match{"User", "is", "root"}), 0, event.High, true},
		"disabled":                                       {Change{ID: "c", Rule: "r", Kind: Disable}, 1000 * time.Hour, event.High, false},
		"a change of another rule":                       {Change{ID: "c", Rule: "q", Kind: Disable}, 0, event.High, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := New([]Change{tt.change})
			level, speaks := s.Judge("r", event.High, &e, start.Add(tt.after))
			if level != tt.level || speaks != tt.speaks {
				t.Errorf("got %v, speaks %v; want %v, %v", level, speaks, tt.level, tt.speaks)
			}
			held := s.Held()["c"]
			if applied := !speaks || level != event.High; applied != (held == 1) {
				t.Errorf("applied %v, counted %d", applied, held)
			}
		})
	}
}

func TestTheFirstLevelCounts(t *testing.T) {
	s := New([]Change{{ID: "a", Rule: "r", Kind: Relevel, Level: event.Critical}, {ID: "b", Rule: "r", Kind: Relevel, Level: event.Low}})
	if level, speaks := s.Judge("r", event.High, &event.Event{}, start); level != event.Critical || !speaks {
		t.Errorf("got %v, %v", level, speaks)
	}
}

func TestUnfoundedChangesAreRefused(t *testing.T) {
	good := Change{Rule: "r", Kind: Suppress, When: []Match{{"User", "is", "x"}}, Owner: "検査科", Reason: "夜間の取込", Until: start.Add(time.Hour)}
	if err := good.Check(start); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Change){
		"no rule":          func(c *Change) { c.Rule = "" },
		"no kind":          func(c *Change) { c.Kind = "hush" },
		"no owner":         func(c *Change) { c.Owner = " " },
		"no reason":        func(c *Change) { c.Reason = "" },
		"an endless text":  func(c *Change) { c.Reason = strings.Repeat("x", MaxText+1) },
		"no condition":     func(c *Change) { c.When = nil },
		"no end":           func(c *Change) { c.Until = time.Time{} },
		"over already":     func(c *Change) { c.Until = start },
		"more than a year": func(c *Change) { c.Until = start.Add(MaxPeriod + 1) },
		"no field":         func(c *Change) { c.When = []Match{{"", "is", "x"}} },
		"no value":         func(c *Change) { c.When = []Match{{"User", "contains", ""}} },
		"unknown op":       func(c *Change) { c.When = []Match{{"User", "like", "x"}} },
		"too many":         func(c *Change) { c.When = make([]Match, MaxWhen+1) },
		"disabled in part": func(c *Change) { c.Kind = Disable },
	} {
		c := good
		spoil(&c)
		if c.Check(start) == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestNoChangesChangeNothing(t *testing.T) {
	var s *Set
	if level, speaks := s.Judge("r", event.High, &event.Event{}, start); level != event.High || !speaks || len(s.Held()) != 0 {
		t.Error("a nil set changed something")
	}
}
