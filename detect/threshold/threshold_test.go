package threshold

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/statetest"
)

var (
	noon  = time.Date(2026, 11, 28, 3, 0, 0, 0, time.UTC)
	admin = auth.Person{ID: "pe-admin"}
)

func TestHysteresis(t *testing.T) {
	disk := Limit{On: 0.9, Off: 0.8, For: time.Minute}
	days := Limit{On: 21, Off: 28, Below: true}
	down := Limit{On: 1, Off: 0, For: 30 * time.Second}
	type at struct {
		seconds int
		value   float64
		want    turn
	}
	for name, c := range map[string]struct {
		limit Limit
		steps []at
	}{
		"long enough too much":      {disk, []at{{0, 0.91, stays}, {30, 0.95, stays}, {60, 0.95, fires}}},
		"a short peak":              {disk, []at{{0, 0.91, stays}, {30, 0.5, stays}, {60, 0.95, stays}, {119, 0.95, stays}, {120, 0.95, fires}}},
		"between on and off":        {disk, []at{{0, 0.91, stays}, {60, 0.91, fires}, {120, 0.85, stays}, {300, 0.85, stays}, {400, 0.95, stays}}},
		"well again, long enough":   {disk, []at{{0, 0.91, stays}, {60, 0.91, fires}, {120, 0.8, stays}, {180, 0.8, clears}, {181, 0.91, stays}}},
		"well only for a moment":    {disk, []at{{0, 0.91, stays}, {60, 0.91, fires}, {120, 0.7, stays}, {150, 0.85, stays}, {180, 0.7, stays}, {239, 0.7, stays}, {240, 0.7, clears}}},
		"below, at once":            {days, []at{{0, 22, stays}, {1, 21, fires}, {2, 25, stays}, {3, 28, clears}, {4, -3, fires}}},
		"down and up":               {down, []at{{0, 1, stays}, {30, 1, fires}, {40, 0, stays}, {70, 0, clears}}},
		"the clock was set back":    {disk, []at{{100, 0.91, stays}, {0, 0.91, stays}, {59, 0.91, stays}, {60, 0.91, fires}}},
		"on and off are the same":   {Limit{On: 5, Off: 5}, []at{{0, 5, fires}, {1, 4.9, clears}, {2, 5, fires}}},
		"of two values it is never": {disk, []at{{0, 0.89, stays}, {3600, 0.89, stays}}},
	} {
		t.Run(name, func(t *testing.T) {
			tr := &track{}
			for _, s := range c.steps {
				got := tr.step(c.limit, s.value, noon.Add(time.Duration(s.seconds)*time.Second))
				if got != s.want {
					t.Fatalf("after %d s with %v: %v, want %v", s.seconds, s.value, got, s.want)
				}
				switch got {
				case fires:
					tr.firing = "f"
				case clears:
					tr.firing = ""
				}
			}
		})
	}
}

// world is a Desk with a clock and machines that tests set.
type world struct {
	*Desk
	t        *testing.T
	db       *state.DB
	at       time.Time
	machines []Machine
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, db: statetest.Open(t), at: noon}
	w.restart()
	return w
}

func (w *world) restart() {
	w.Desk = New(w.db, func(context.Context) ([]Machine, error) { return w.machines, nil }, func() time.Time { return w.at }, slog.New(slog.NewTextHandler(w.t.Output(), nil)))
}

// looks lets time go by while a machine says the same of itself.
func (w *world) looks(d time.Duration, measures ...Measure) {
	w.t.Helper()
	for end := w.at.Add(d); !w.at.After(end); w.at = w.at.Add(lookEvery) {
		w.machines = []Machine{{Site: "hp", Host: "sv1", Seen: w.at, Measures: measures}}
		if err := w.Look(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
	}
}

// told are the findings that were emitted.
func (w *world) told() []detect.Finding {
	w.t.Helper()
	rows, err := w.db.Query(w.t.Context(), `SELECT body FROM outbox WHERE subject LIKE 'finding.%' ORDER BY seq`)
	if err != nil {
		w.t.Fatal(err)
	}
	defer rows.Close()
	var out []detect.Finding
	for rows.Next() {
		var b []byte
		var f []detect.Finding
		if err := errors.Join(rows.Scan(&b), json.Unmarshal(b, &f)); err != nil {
			w.t.Fatal(err)
		}
		out = append(out, f...)
	}
	return out
}

func (w *world) open() []Firing {
	w.t.Helper()
	out, err := w.Open(w.t.Context(), "")
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

func disk(v float64) Measure { return Measure{Name: "disk", Object: "/var", Value: v} }

func TestAFullVolumeIsToldOnceUntilItIsWellAgain(t *testing.T) {
	w := newWorld(t)
	w.looks(4*time.Minute, disk(0.95))
	if len(w.told()) != 0 {
		t.Fatal("told too early")
	}
	w.looks(10*time.Minute, disk(0.95))
	w.looks(time.Hour, disk(0.87)) // neither too much nor well
	w.looks(time.Minute, disk(0.99))
	told, open := w.told(), w.open()
	if len(told) != 1 || len(open) != 1 || open[0].Worst != 0.99 || !open[0].Told {
		t.Fatalf("told %d times, open %+v", len(told), open)
	}
	if f := told[0]; f.Host != "sv1" || f.Rule.Level != event.Medium || !strings.Contains(f.Rule.What["ja"], "/var") || !strings.Contains(f.Rule.What["en"], "95%") {
		t.Errorf("told %+v", f.Rule)
	}
	w.looks(6*time.Minute, disk(0.5))
	if len(w.open()) != 0 {
		t.Error("well again, and still open")
	}
	w.looks(6*time.Minute, disk(0.95))
	if len(w.told()) != 2 {
		t.Error("not told the second time")
	}
	c, err := w.Counts(t.Context(), noon, "hp")
	if got := c["disk"]; err != nil || got.Fired != 2 || got.Hosts != 1 || got.Open != 1 || got.Short != 0 || got.Busiest != "sv1" || got.Lasted < time.Hour {
		t.Errorf("counts %+v, %v", got, err)
	}
}

func TestARestartTellsNothingTwice(t *testing.T) {
	w := newWorld(t)
	w.looks(10*time.Minute, disk(0.95))
	w.restart()
	w.looks(10*time.Minute, disk(0.95))
	if n := len(w.told()); n != 1 {
		t.Fatalf("told %d times", n)
	}
	w.looks(10*time.Minute, disk(0.5))
	if len(w.open()) != 0 {
		t.Error("what fired before the restart does not clear")
	}
}

func TestWhatCannotBeStoredIsTriedAgain(t *testing.T) {
	w := newWorld(t)
	w.looks(4*time.Minute+45*time.Second, disk(0.95))
	w.machines[0].Seen = w.at
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Look(ctx); err == nil {
		t.Fatal("want an error")
	}
	w.looks(time.Minute, disk(0.95))
	if n := len(w.told()); n != 1 {
		t.Errorf("told %d times", n)
	}
}

func TestASilentMachineSaysNothing(t *testing.T) {
	w := newWorld(t)
	w.machines = []Machine{{Site: "hp", Host: "sv1", Seen: noon, Measures: []Measure{{Name: "service", Object: "db", Value: 1}}}}
	for range 100 {
		w.at = w.at.Add(10 * time.Minute)
		if err := w.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(w.told()) != 0 {
		t.Error("told of an old value")
	}
}

func TestWhatIsMeasuredNoLongerIsOver(t *testing.T) {
	w := newWorld(t)
	w.looks(10*time.Minute, disk(0.95), Measure{Name: "cpu", Value: 0.1})
	w.looks(10*time.Minute, Measure{Name: "cpu", Value: 0.1})
	if len(w.open()) != 1 {
		t.Fatal("over at once")
	}
	w.looks(10*time.Minute, Measure{Name: "cpu", Value: 0.1})
	if len(w.open()) != 0 {
		t.Error("never over")
	}
}

func TestLimitsOfMachinesComeBeforeThoseOfSites(t *testing.T) {
	w := newWorld(t)
	set := func(l Limit) {
		t.Helper()
		if err := w.SetLimit(t.Context(), l, admin); err != nil {
			t.Fatal(err)
		}
	}
	set(Limit{Name: "disk", On: 0.5, Off: 0.4, Level: event.High})
	set(Limit{Name: "disk", Site: "hp", On: 0.6, Off: 0.5, Level: event.High})
	set(Limit{Name: "disk", Site: "hp", Host: "sv1", On: 0.7, Off: 0.6, Level: event.High})
	for _, c := range []struct {
		site, host string
		on         float64
	}{{"hp", "sv1", 0.7}, {"hp", "sv2", 0.6}, {"cc", "pc1", 0.5}} {
		if l, err := w.Limit(t.Context(), "disk", c.site, c.host); err != nil || l.On != c.on {
			t.Errorf("%s %s: %v, %v", c.site, c.host, l.On, err)
		}
	}
	if err := w.DropLimit(t.Context(), "disk", "hp", "sv1", admin); err != nil {
		t.Fatal(err)
	}
	if l, err := w.Limit(t.Context(), "disk", "hp", "sv1"); err != nil || l.On != 0.6 {
		t.Errorf("after taking it back: %v, %v", l.On, err)
	}
	w.looks(time.Minute, disk(0.61))
	if len(w.told()) != 1 {
		t.Error("the limit of the site did not fire")
	}
	var n int
	if err := w.db.QueryRow(t.Context(), `SELECT COUNT(*) FROM outbox WHERE subject = 'record.threshold'`).Scan(&n); err != nil || n != 4 {
		t.Errorf("%d changes in the ledger, %v", n, err)
	}
}

func TestLimitsThatMeanNothingAreRefused(t *testing.T) {
	w := newWorld(t)
	for name, l := range map[string]Limit{
		"unknown":          {Name: "noise", On: 1},
		"off above on":     {Name: "disk", On: 0.8, Off: 0.9},
		"off below on":     {Name: "certificate", On: 20, Off: 10},
		"too long":         {Name: "disk", On: 0.8, Off: 0.7, For: 48 * time.Hour},
		"negative time":    {Name: "disk", On: 0.8, Off: 0.7, For: -1},
		"no such severity": {Name: "disk", On: 0.8, Off: 0.7, Level: 99},
	} {
		if err := w.SetLimit(t.Context(), l, admin); fault.Of(err) != fault.Invalid && fault.Of(err) != fault.Missing {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPlannedWorkIsQuietAndRecorded(t *testing.T) {
	w := newWorld(t)
	win, err := w.Plan(t.Context(), Window{Site: "hp", Until: noon.Add(time.Hour), Reason: "更新"}, admin)
	if err != nil {
		t.Fatal(err)
	}
	down := Measure{Name: "service", Object: "db", Value: 1, Detail: "inactive"}
	w.looks(10*time.Minute, down)
	w.looks(10*time.Minute, Measure{Name: "service", Object: "db"})
	w.looks(30*time.Minute, down)
	if len(w.told()) != 0 || len(w.open()) != 1 || w.open()[0].Planned != win.ID {
		t.Fatalf("told %d, open %+v", len(w.told()), w.open())
	}
	list, err := w.Windows(t.Context(), "hp")
	if err != nil || len(list) != 1 || list[0].Held != 2 {
		t.Errorf("windows %+v, %v", list, err)
	}
	for at, want := range map[time.Duration]bool{-time.Second: false, 0: true, 59 * time.Minute: true, time.Hour: false} {
		if got, err := w.Planned(t.Context(), "hp", "sv1", noon.Add(at)); err != nil || got != want {
			t.Errorf("planned after %v: %v, %v", at, got, err)
		}
	}
	if got, err := w.Planned(t.Context(), "other", "sv1", noon); err != nil || got {
		t.Errorf("planned at another site: %v, %v", got, err)
	}
	w.looks(30*time.Minute, down) // the window ends, the service is still down
	if n := len(w.told()); n != 1 {
		t.Errorf("told %d times of what outlasts the work", n)
	}
	if f := w.told()[0]; f.Time.Before(win.Until) {
		t.Errorf("told at %v", f.Time)
	}
}

func TestPlannedWorkThatEndsEarly(t *testing.T) {
	w := newWorld(t)
	win, err := w.Plan(t.Context(), Window{Site: "hp", Host: "sv1", Until: noon.Add(10 * time.Hour), Reason: "work"}, admin)
	if err != nil {
		t.Fatal(err)
	}
	w.looks(10*time.Minute, disk(0.99))
	if err := w.EndWindow(t.Context(), win.ID, auth.Person{ID: "pe-2", Site: "cc"}); fault.Of(err) != fault.Denied {
		t.Errorf("somebody of another site: %v", err)
	}
	if err := w.EndWindow(t.Context(), win.ID, admin); err != nil {
		t.Fatal(err)
	}
	w.looks(time.Minute, disk(0.99))
	if n := len(w.told()); n != 1 {
		t.Errorf("told %d times", n)
	}
}

func TestWindowsThatMeanNothingAreRefused(t *testing.T) {
	w := newWorld(t)
	good := Window{Site: "hp", Until: noon.Add(time.Hour), Reason: "work"}
	for name, spoil := range map[string]func(*Window){
		"no site":   func(w *Window) { w.Site = "" },
		"no reason": func(w *Window) { w.Reason = " " },
		"over":      func(w *Window) { w.From, w.Until = noon.Add(-2*time.Hour), noon.Add(-time.Hour) },
		"a month":   func(w *Window) { w.Until = noon.Add(31 * 24 * time.Hour) },
		"controls":  func(w *Window) { w.Reason = "a\x00b" },
	} {
		x := good
		spoil(&x)
		if _, err := w.Plan(t.Context(), x, admin); fault.Of(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPlannedWorkExplainsOnlyTheRulesItNames(t *testing.T) {
	w := newWorld(t)
	if _, err := w.Plan(t.Context(), Window{Site: "hp", Host: "sv1", Until: noon.Add(time.Hour), Reason: "更新", Rules: []string{"file-changed"}}, admin); err != nil {
		t.Fatal(err)
	}
	found := func(id, rule, host string, at time.Duration) detect.Finding {
		return detect.Finding{ID: id, Rule: detect.Rule{ID: rule}, Site: "hp", Host: host, Time: noon.Add(at)}
	}
	all := []detect.Finding{found("1", "file-changed", "sv1", time.Minute), found("2", "ransom-note", "sv1", time.Minute),
		found("3", "file-changed", "sv2", time.Minute), found("4", "file-changed", "sv1", 2*time.Hour), found("5", "file-changed", "sv1", -time.Minute)}
	for range 2 { // the bus may bring them twice
		left, err := w.Unplanned(t.Context(), all)
		ids := ""
		for _, f := range left {
			ids += f.ID
		}
		if err != nil || ids != "2345" {
			t.Errorf("left %s, %v", ids, err)
		}
	}
	list, err := w.Windows(t.Context(), "")
	if err != nil || len(list) != 1 || list[0].Held != 1 {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestEveryMeasureHasItsWords(t *testing.T) {
	for _, name := range Names() {
		l, _ := Default(name)
		f := finding(Firing{ID: "fi-1", Name: name, Host: "h", Object: "x", Value: 1, Detail: "why", Limit: l}, noon)
		for _, text := range []detect.Text{f.Rule.Title, f.Rule.What, f.Rule.Affects, f.Rule.Next} {
			for _, lang := range []string{"ja", "en"} {
				if text[lang] == "" || strings.Contains(text[lang], "%!") || strings.Contains(text[lang], "%[") {
					t.Errorf("%s in %s: %q", name, lang, text[lang])
				}
			}
		}
		if err := l.check(); err != nil {
			t.Errorf("default of %s: %v", name, err)
		}
	}
}

func TestOldFiringsAreForgotten(t *testing.T) {
	w := newWorld(t)
	w.looks(10*time.Minute, disk(0.95))
	w.looks(10*time.Minute, disk(0.1))
	w.at = w.at.Add(keepFor)
	if n, err := w.Forget(t.Context()); err != nil || n != 1 {
		t.Errorf("forgot %d, %v", n, err)
	}
}

func BenchmarkLook(b *testing.B) {
	var machines []Machine
	for i := range 1000 {
		m := Machine{Site: "hp", Host: fmt.Sprint("sv", i), Seen: noon}
		for j := range 30 {
			m.Measures = append(m.Measures, Measure{Name: "disk", Object: fmt.Sprint("/", j), Value: 0.5})
		}
		machines = append(machines, m)
	}
	d := New(statetest.Open(b), func(context.Context) ([]Machine, error) { return machines, nil }, func() time.Time { return noon }, slog.New(slog.DiscardHandler))
	b.ReportAllocs()
	for b.Loop() {
		if err := d.Look(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
