package duty

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/notify"
)

// active are the incidents that a Watch sees.
type active []incident.Incident

func (a active) List(_ context.Context, f incident.Filter) ([]incident.Incident, int, error) {
	return a[min(f.Offset, len(a)):], len(a), nil
}

// TestClocksAreToldWhenNearAndWhenOver lets ten days pass hour by hour: each
// clock is told of from noon of the day before its end, and from its end on.
func TestClocksAreToldWhenNearAndWhenOver(t *testing.T) {
	now := at(t, "2026-11-22 16:00")
	d := desk(t, now)
	d.now = func() time.Time { return now }
	in := incident.Incident{ID: "in-1", No: 7, KnownAt: now.Add(-time.Hour).UTC()}
	if err := d.Start(t.Context(), in, ""); err != nil {
		t.Fatal(err)
	}
	state := func(change func(*Facts)) {
		t.Helper()
		a, err := d.Assess(t.Context(), in.ID)
		if err != nil {
			t.Fatal(err)
		}
		f := a.Facts
		change(&f)
		if err := d.SetFacts(t.Context(), in.ID, f, anna); err != nil {
			t.Fatal(err)
		}
	}
	state(func(f *Facts) { f.Personal, f.Sensitive, f.MyNumber, f.BadIntent = Yes, Yes, No, No })

	var told []string
	first := map[string]notify.Cause{}
	watch := func(list active) {
		t.Helper()
		err := d.look(t.Context(), list, func(_ context.Context, x notify.Cause) error {
			if _, ok := first[x.Ref]; !ok {
				first[x.Ref] = x
				told = append(told, now.Format("01-02 15:04 ")+x.Ref)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for end := now.AddDate(0, 0, 10); now.Before(end); now = now.Add(time.Hour) {
		watch(active{in, {ID: "in-2"}}) // the clocks of in-2 have not started
	}
	told = slices.DeleteFunc(told, func(s string) bool { return strings.Contains(s, "person.notice") }) // a test of its own
	want := []string{"11-25 12:00 in-1/appi_26.prompt/2026-11-26/near", "11-27 00:00 in-1/appi_26.prompt/2026-11-26/over"}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Fatalf("told (-want +got):\n%s", diff)
	}
	near, over := first[strings.Fields(want[0])[2]], first[strings.Fields(want[1])[2]]
	if near.Severity != event.High || over.Severity != event.Critical || near.Path != "/incidents/in-1#duties" || near.Incident != "in-1" || near.Kind != notify.OfDuty {
		t.Errorf("causes %+v and %+v", near, over)
	}
	for _, text := range []string{near.Title["ja"], near.Title["en"], over.Title["ja"], over.Title["en"]} {
		if !strings.Contains(text, "7") || !strings.Contains(text, "2026-11-26 23:59") || strings.ContainsAny(text, "⟦⟧{}") {
			t.Errorf("title %q", text)
		}
	}
	if !strings.Contains(near.Title["ja"], "速報(個人情報保護法 第26条)") {
		t.Errorf("title %q", near.Title["ja"])
	}

	causes := func(in incident.Incident) int {
		t.Helper()
		list, err := d.Causes(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		return len(slices.DeleteFunc(list, func(x notify.Cause) bool { return strings.Contains(x.Ref, "person.notice") }))
	}
	ended := in
	ended.State = incident.Ended
	if causes(in) != 1 || causes(ended) != 0 {
		t.Errorf("%d causes while it lasts, %d after its end", causes(in), causes(ended))
	}
	state(func(f *Facts) { f.PromptFiledAt = now.Add(-time.Hour).UTC() })
	if n := causes(in); n != 0 {
		t.Errorf("%d causes after the report was filed", n)
	}
}

// TestAPrecautionWakesNobody: whether the duty applies is not known.
func TestAPrecautionWakesNobody(t *testing.T) {
	n := Near{Clock{ID: "contractor.notice", Regime: "contractor", Kind: KindContractor, Applies: Unknown, Due: at(t, "2026-11-24 23:59")}, true}
	x := n.cause(incident.Incident{ID: "in-1", No: 1})
	if x.Severity != event.High || strings.Contains(x.Title["ja"], "委託先から") {
		t.Errorf("cause %+v", x)
	}
}
