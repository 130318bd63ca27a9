package task

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/evidence"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/notify"
	"github.com/sonae/sonae/playbook"
	"github.com/sonae/sonae/state"
)

func asFault(err error) (*fault.Error, bool) {
	var f *fault.Error
	ok := errors.As(err, &f)
	return f, ok
}

func version(ctx context.Context, db *state.DB, kind, id string, no int) (r Record, err error) {
	var body string
	if err := db.QueryRow(ctx, `SELECT body FROM task_record WHERE kind = $1 AND id = $2 AND no = $3`, kind, id, no).Scan(&body); err != nil {
		return r, err
	}
	return r, json.Unmarshal([]byte(body), &r)
}

func (x *table) add(n NewTask) Task {
	x.t.Helper()
	t, err := x.Add(x.t.Context(), x.in.ID, n, x.anna.Person)
	x.must(err)
	return t
}

func (x *table) move(t Task, to State, reason string) Task {
	x.t.Helper()
	t, err := x.Move(x.t.Context(), x.in.ID, t.ID, to, reason, x.ben.Person)
	x.must(err)
	return t
}

func TestTaskGoesFromStateToState(t *testing.T) {
	for name, tt := range map[string]struct {
		way    []State // all but the last with a reason
		reason string  // of the last
		want   string  // key of the fault, "": allowed
	}{
		"begun":                        {[]State{Doing}, "", ""},
		"done at once":                 {[]State{Done}, "", ""},
		"done after it was begun":      {[]State{Doing, Done}, "", ""},
		"given up for a reason":        {[]State{Cancelled}, "重複", ""},
		"given up without a reason":    {[]State{Cancelled}, "", "task.reason-missing"},
		"done twice":                   {[]State{Done, Done}, "", "task.move"},
		"taken up again for a reason":  {[]State{Done, Doing}, "足りなかった", ""},
		"taken up again without one":   {[]State{Done, Doing}, "", "task.reason-missing"},
		"begun after it was given up":  {[]State{Cancelled, Doing}, "x", "task.move"},
		"to a state that is not there": {[]State{"flying"}, "x", "task.move"},
		"begun twice":                  {[]State{Doing, Doing}, "", "task.move"},
	} {
		t.Run(name, func(t *testing.T) {
			now, x := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Task{State: Todo}
			var err error
			for i, to := range tt.way {
				reason := "理由"
				if i == len(tt.way)-1 {
					reason = tt.reason
				}
				if err = x.move(to, reason, now, auth.Person{ID: "pe-1"}); err != nil {
					break
				}
			}
			if f, _ := asFault(err); (f == nil) != (tt.want == "") || f != nil && f.Key != tt.want {
				t.Fatalf("got %v, want %q", err, tt.want)
			}
			if err == nil && x.Open() != x.EndedAt.IsZero() {
				t.Errorf("state %s ended at %v", x.State, x.EndedAt)
			}
		})
	}
}

func TestTaskIsKeptCountedAndWrittenDown(t *testing.T) {
	x := newTable(t)
	x.things.alerts = map[string]alert.Alert{"al-1": {ID: "al-1", Incident: x.in.ID}, "al-2": {ID: "al-2"}}
	x.things.bags = map[string]evidence.Bag{"bag-1": {ID: "bag-1", Incident: x.in.ID}}
	a := x.add(NewTask{Title: " 委託先に\n電話する ", Person: x.ben.ID, Due: x.now.Add(time.Hour), Promised: "保健所", Entry: 1, Alert: "al-1", Bag: "bag-1"})
	x.pass(time.Millisecond) // records are listed as they were made
	b := x.add(NewTask{Title: "端末を数える", Role: "technical"})
	if a.No != 1 || b.No != 2 || a.Title != "委託先に 電話する" || a.Promised != "保健所" {
		t.Fatalf("tasks %+v and %+v", a, b)
	}
	for name, n := range map[string]NewTask{
		"task.title-missing": {Title: " \u202e "},
		"task.too-long":      {Title: strings.Repeat("長", 201)},
		"task.owner":         {Title: "x", Person: x.ben.ID, Role: "technical"},
		"task.role-unknown":  {Title: "x", Role: "cook"},
		"task.clock-unknown": {Title: "x", Clock: "moon"},
		"task.step-unknown":  {Title: "x", Run: "run-1", Visit: 1},
		"task.before":        {Title: "x", Clock: "appi_26.prompt", Before: -1},
		"task.time":          {Title: "x", Due: time.Date(20, 1, 1, 0, 0, 0, 0, time.UTC)},
		"task.link":          {Title: "x", Entry: 99},
	} {
		_, err := x.Add(t.Context(), x.in.ID, n, x.anna.Person)
		x.refused(err, fault.Invalid, name)
	}
	_, err := x.Add(t.Context(), x.in.ID, NewTask{Title: "x", Alert: "al-2"}, x.anna.Person) // of another incident
	x.refused(err, fault.Invalid, "task.link")
	_, err = x.Add(t.Context(), "in-none", NewTask{Title: "x"}, x.anna.Person)
	x.refused(err, fault.Missing, "incident.missing")
	_, err = x.Move(t.Context(), "in-other", a.ID, Done, "", x.ben.Person) // rights were asked for that incident
	x.refused(err, fault.Missing, "task.missing")

	if b = x.move(b, Doing, ""); b.Person != x.ben.ID || b.BeganAt.IsZero() {
		t.Errorf("whoever begins it owns it: %+v", b)
	}
	x.pass(2 * time.Hour)
	got, err := x.Counts(t.Context(), x.in.ID)
	x.must(err)
	if want := (Counts{Todo: 1, Doing: 1, Overdue: 1}); got != want {
		t.Errorf("counts %+v, want %+v", got, want)
	}
	a = x.move(a, Done, "")
	_, err = x.Give(t.Context(), x.in.ID, a.ID, NewTask{Role: "privacy"}, x.anna.Person)
	x.refused(err, fault.Conflict, "task.over")
	_, err = x.Give(t.Context(), x.in.ID, b.ID, NewTask{Person: x.carla.ID}, x.anna.Person)
	x.must(err)
	keys := x.keys(KindTask) // two tasks of one moment have no order
	slices.Sort(keys)
	if got, want := strings.Join(keys, " "), "task.added task.added task.doing task.done task.given"; got != want {
		t.Errorf("chronology %s, want %s", got, want)
	}
	if d := x.differences(); len(d) != 0 {
		t.Errorf("differences %v", d)
	}
}

// prompt is a clock of the incident after somebody stated that personal data
// that is sensitive leaked.
func (x *table) state(known time.Time) duty.Clock {
	x.t.Helper()
	a, err := x.duties.Assess(x.t.Context(), x.in.ID)
	x.must(err)
	f := a.Facts
	f.KnownAt, f.Personal, f.Sensitive = known, duty.Yes, duty.Yes
	x.must(x.duties.Restate(x.t.Context(), x.in.ID, f, "確かめた", x.anna.Person))
	a, err = x.duties.Assess(x.t.Context(), x.in.ID)
	x.must(err)
	for _, c := range a.Clocks {
		if c.ID == "appi_26.prompt" {
			return c
		}
	}
	x.t.Fatalf("no clock of the prompt report: %+v", a.Clocks)
	return duty.Clock{}
}

func TestClocksSuggestTasksAndMoveThem(t *testing.T) {
	x := newTable(t)
	c := x.state(x.now)
	before, err := x.Suggest(t.Context(), x.in.ID)
	x.must(err)
	task := x.add(NewTask{Title: "速報", Role: "privacy", Clock: c.ID, Before: 120})
	if want := c.Due.Add(-2 * time.Hour); !task.Due.At.Equal(want) || task.Due.Clock != c.ID {
		t.Errorf("due %+v, want %v", task.Due, want)
	}
	after, err := x.Suggest(t.Context(), x.in.ID)
	x.must(err)
	offers := func(all []duty.Clock) bool {
		return slices.ContainsFunc(all, func(o duty.Clock) bool { return o.ID == c.ID })
	}
	if !offers(before) || offers(after) || len(after) != len(before)-1 {
		t.Errorf("suggested %d, then %d", len(before), len(after))
	}

	moved := x.state(x.now.Add(-24 * time.Hour)) // it was known a day earlier
	if moved.Due.Equal(c.Due) {
		t.Fatal("the clock did not move")
	}
	for range 2 { // told twice
		x.must(x.FollowClocks(t.Context(), x.in.ID))
	}
	if task, err = x.Task(t.Context(), task.ID); err != nil || !task.Due.At.Equal(moved.Due.Add(-2*time.Hour)) {
		t.Errorf("due %v (%v), want two hours before %v", task.Due.At, err, moved.Due)
	}
	if got, want := strings.Join(x.keys(KindTask), " "), "task.added task.moved"; got != want {
		t.Errorf("chronology %s, want %s", got, want)
	}
	x.move(task, Cancelled, "不要")
	if again, err := x.Suggest(t.Context(), x.in.ID); err != nil || !offers(again) {
		t.Errorf("a clock whose task was given up is not offered again (%v)", err)
	}
}

func TestTaskTakesTheTimeOfAStep(t *testing.T) {
	x := newTable(t)
	due := x.now.Add(30 * time.Minute)
	x.things.runs = []playbook.Run{{ID: "run-1", Visits: []playbook.Visit{{No: 1, State: playbook.Open, DueAt: due}, {No: 2, State: playbook.Done}}}}
	if task := x.add(NewTask{Title: "隔離", Run: "run-1", Visit: 1}); !task.Due.At.Equal(due) || task.Due.Visit != 1 {
		t.Errorf("due %+v, want %v", task.Due, due)
	}
	_, err := x.Add(t.Context(), x.in.ID, NewTask{Title: "x", Run: "run-1", Visit: 2}, x.anna.Person)
	x.refused(err, fault.Invalid, "task.step-unknown")
}

func TestLateTaskTellsItsOwnerOnce(t *testing.T) {
	x := newTable(t)
	_, err := x.Assign(t.Context(), x.in.ID, NewPost{Role: "technical", Person: x.carla.ID}, x.anna.Person)
	x.must(err)
	mine := x.add(NewTask{Title: "自分の", Person: x.ben.ID, Due: x.now.Add(time.Hour)})
	x.add(NewTask{Title: "役割の", Role: "technical", Due: x.now.Add(time.Hour)})
	x.add(NewTask{Title: "まだ", Due: x.now.Add(3 * time.Hour)})
	x.add(NewTask{Title: "いつでも"})
	causes := func() (out []notify.Cause) {
		x.must(x.Look(t.Context()))
		out, err := x.Causes(t.Context(), x.in.ID)
		x.must(err)
		return out
	}
	if got := causes(); len(got) != 0 {
		t.Fatalf("told too early: %+v", got)
	}
	x.pass(time.Hour)
	if got := causes(); len(got) != 0 {
		t.Fatalf("told at the very moment: %+v", got)
	}
	x.pass(time.Second)
	got := causes()
	if len(got) != 2 || !slices.Equal(got[0].People, []string{x.ben.ID}) || !slices.Equal(got[1].People, []string{x.carla.ID}) ||
		got[0].Kind != notify.OfTask || !strings.Contains(got[0].Title["ja"], "自分の") {
		t.Fatalf("causes %+v", got)
	}
	first := got[0].Ref
	if got = causes(); len(got) != 2 || got[0].Ref != first {
		t.Errorf("told anew: %+v", got)
	}
	if n := strings.Count(strings.Join(x.keys(KindTask), " "), "task.late"); n != 2 {
		t.Errorf("the chronology says %d times that a task is late", n)
	}
	// a new time is a new matter
	_, err = x.Give(t.Context(), x.in.ID, mine.ID, NewTask{Person: x.ben.ID, Due: x.now.Add(time.Hour)}, x.anna.Person)
	x.must(err)
	if got = causes(); len(got) != 1 {
		t.Errorf("its time was moved, and it is told still: %+v", got)
	}
	x.pass(2 * time.Hour)
	if got = causes(); len(got) != 3 || slices.ContainsFunc(got, func(c notify.Cause) bool { return c.Ref == first }) {
		t.Errorf("late again: %+v", got)
	}
	x.move(mine, Done, "")
	if got = causes(); len(got) != 2 {
		t.Errorf("done, and told still: %+v", got)
	}
	x.must(x.room.Move(t.Context(), x.in.ID, incident.Ended, "終結", x.anna.Person))
	if got = causes(); len(got) != 0 {
		t.Errorf("told of an incident that is over: %+v", got)
	}
}

func TestMineAreThoseOfAPersonAndOfHerRoles(t *testing.T) {
	x := newTable(t)
	p, err := x.Assign(t.Context(), x.in.ID, NewPost{Role: "privacy", Person: x.ben.ID}, x.anna.Person)
	x.must(err)
	x.add(NewTask{Title: "人", Person: x.ben.ID})
	x.add(NewTask{Title: "役割", Role: "privacy"})
	x.add(NewTask{Title: "他人", Person: x.carla.ID})
	x.move(x.add(NewTask{Title: "済み", Person: x.ben.ID}), Done, "")
	first := x.in
	x.pass(time.Millisecond)
	x.in = x.opened() // where ben has no role
	x.add(NewTask{Title: "別の事案", Person: x.ben.ID})
	x.add(NewTask{Title: "別の事案の役割", Role: "privacy"})
	titles := func() string {
		all, err := x.Mine(t.Context(), x.ben.ID)
		x.must(err)
		var out []string
		for _, o := range all {
			out = append(out, o.Title)
		}
		return strings.Join(out, " ")
	}
	if got, want := titles(), "人 役割 別の事案"; got != want {
		t.Errorf("mine are %s, want %s", got, want)
	}
	x.must(x.Leave(t.Context(), first.ID, p.ID, time.Time{}, x.anna.Person))
	if got, want := titles(), "人 別の事案"; got != want {
		t.Errorf("without the role: %s, want %s", got, want)
	}
}

func TestRolesAreHeldFromWhenToWhen(t *testing.T) {
	x := newTable(t)
	ctx, in := t.Context(), x.in.ID
	x.must(x.FollowCommand(ctx, in))
	x.must(x.FollowCommand(ctx, in)) // told twice
	x.pass(time.Millisecond)
	for key, n := range map[string]NewPost{
		"task.command-by-handover": {Role: Commander, Person: x.ben.ID},
		"task.role-unknown":        {Role: "cook", Person: x.ben.ID},
		"task.post-who":            {Role: "technical"},
		"task.future":              {Role: "technical", Person: x.ben.ID, From: x.now.Add(time.Hour)},
	} {
		_, err := x.Assign(ctx, in, n, x.anna.Person)
		x.refused(err, fault.Invalid, key)
	}
	_, err := x.Assign(ctx, in, NewPost{Role: Commander, Person: x.ben.ID, Deputy: true}, x.anna.Person)
	x.must(err)
	_, err = x.Assign(ctx, in, NewPost{Role: Commander, Person: x.ben.ID, Deputy: true}, x.anna.Person)
	x.refused(err, fault.Conflict, "task.post-held")
	vendor, err := x.Assign(ctx, in, NewPost{Role: "contractor", Name: "ABC社 鈴木", Contact: "090-0000-0000"}, x.anna.Person)
	x.must(err)
	x.must(x.room.Command(ctx, in, x.carla.ID, x.carla.Person))
	x.pass(time.Minute)
	x.must(x.FollowCommand(ctx, in))
	x.refused(x.Leave(ctx, in, vendor.ID, vendor.From.Add(-time.Hour), x.anna.Person), fault.Invalid, "task.before-from")
	x.must(x.Leave(ctx, in, vendor.ID, time.Time{}, x.anna.Person))
	x.refused(x.Leave(ctx, in, vendor.ID, time.Time{}, x.anna.Person), fault.Conflict, "task.post-over")

	posts, err := x.Posts(ctx, in)
	x.must(err)
	if len(posts) != 4 || posts[0].Person != x.anna.ID || posts[0].Until.IsZero() {
		t.Fatalf("posts %+v", posts)
	}
	roles, err := x.Roles(ctx)
	x.must(err)
	top := Chart(roles, posts, x.now)
	if len(top.Posts) != 2 || top.Posts[0].Person != x.carla.ID || !top.Posts[1].Deputy || len(top.Under) == 0 {
		t.Errorf("at the top %+v", top)
	}
	if d := x.differences(); len(d) != 0 {
		t.Errorf("differences %v", d)
	}
}

func TestSiteNamesItsRoles(t *testing.T) {
	x := newTable(t)
	own := Role{ID: "technical", Name: map[string]string{"ja": "情報システム室長", "en": "Head of IT"}, Duty: map[string]string{"ja": "復旧", "en": "Recovery"}}
	for range 2 {
		x.must(x.Rename(t.Context(), own, x.anna.Person))
	}
	roles, err := x.Roles(t.Context())
	x.must(err)
	if got := RoleName(roles, "technical", "ja"); got != "情報システム室長" || roles[0].ID != Commander {
		t.Errorf("the role is %q, the first %q", got, roles[0].ID)
	}
	own.Name["en"] = " "
	x.refused(x.Rename(t.Context(), own, x.anna.Person), fault.Invalid, "task.name-missing")
	own.ID = "cook"
	x.refused(x.Rename(t.Context(), own, x.anna.Person), fault.Invalid, "task.role-unknown")
	if n := len(x.versions(KindRole)); n != 2 {
		t.Errorf("%d versions, want both", n)
	}
}

func TestHoursAreCorrectedNeverEdited(t *testing.T) {
	x := newTable(t)
	ctx, in := t.Context(), x.in.ID
	noon := x.now
	at := func(hours int) time.Time { return noon.Add(time.Duration(13+hours) * time.Hour) }
	ben, err := x.Begin(ctx, in, NewStay{Person: x.ben.ID, Role: "technical"}, x.ben.Person)
	x.must(err)
	_, err = x.Begin(ctx, in, NewStay{Person: x.ben.ID, Role: "recorder"}, x.ben.Person)
	x.refused(err, fault.Conflict, "task.stay-overlaps")
	_, err = x.Begin(ctx, in, NewStay{Person: x.carla.ID}, x.ben.Person)
	x.refused(err, fault.Invalid, "task.role-unknown")
	_, err = x.Begin(ctx, in, NewStay{Person: x.carla.ID, Role: "desk", From: noon.Add(time.Hour)}, x.ben.Person)
	x.refused(err, fault.Invalid, "task.future")
	x.pass(13 * time.Hour)
	if tired := Tired(x.stays(), x.now); len(tired) != 1 || tired[x.ben.ID] != 13*time.Hour {
		t.Errorf("tired: %v", tired)
	}
	x.must(x.End(ctx, in, ben.ID, time.Time{}, x.ben.Person))
	x.refused(x.End(ctx, in, ben.ID, time.Time{}, x.ben.Person), fault.Conflict, "task.stay-over")
	if tired := Tired(x.stays(), x.now); len(tired) != 0 {
		t.Errorf("gone home, and tired: %v", tired)
	}

	// he went home after ten hours, and nobody noted it
	_, err = x.Correct(ctx, in, ben.ID, NewStay{Role: "technical", From: at(-13), Until: at(-3)}, x.anna.Person)
	x.refused(err, fault.Invalid, "task.reason-missing")
	x.pass(time.Millisecond)
	right, err := x.Correct(ctx, in, ben.ID, NewStay{Role: "technical", From: at(-13), Until: at(-3), Reason: "記録漏れ"}, x.anna.Person)
	x.must(err)
	_, err = x.Correct(ctx, in, ben.ID, NewStay{Role: "technical", From: at(-13), Until: at(-4), Reason: "x"}, x.anna.Person)
	x.refused(err, fault.Conflict, "task.stay-corrected")
	x.pass(time.Millisecond)
	_, err = x.Begin(ctx, in, NewStay{Person: x.ben.ID, Role: "recorder", From: at(-3), Until: at(-1)}, x.ben.Person)
	x.must(err)
	want := []Sum{{x.ben.ID, "recorder", 2 * time.Hour, false}, {x.ben.ID, "technical", 10 * time.Hour, false}, {x.ben.ID, "", 12 * time.Hour, false}}
	if d := cmp.Diff(want, Sums(x.stays(), x.now)); d != "" {
		t.Errorf("sums (-want +got):\n%s", d)
	}
	// and was not there at all
	x.pass(time.Millisecond)
	_, err = x.Correct(ctx, in, right.ID, NewStay{Role: "technical", From: at(-13), Until: at(-13), Reason: "人違い"}, x.anna.Person)
	x.must(err)
	if got := Sums(x.stays(), x.now); got[len(got)-1].Time != 2*time.Hour {
		t.Errorf("sums %+v", got)
	}

	var b bytes.Buffer
	roles, err := x.Roles(ctx)
	x.must(err)
	x.must(WriteCSV(&b, x.stays(), roles, map[string]string{x.ben.ID: "=1+1"}, "ja", x.now))
	wantCSV := "\ufeff氏名,役割,開始,終了,時間,備考\n" +
		"'=1+1,技術責任者,2026-11-27 12:00,2026-11-28 01:00,0.00,改められた記録（数えない）\n" +
		"'=1+1,技術責任者,2026-11-27 12:00,2026-11-27 22:00,0.00,改められた記録（数えない）\n" +
		"'=1+1,技術責任者,2026-11-27 12:00,2026-11-27 12:00,0.00,人違い\n" +
		"'=1+1,記録係,2026-11-27 22:00,2026-11-28 00:00,2.00,\n"
	if d := cmp.Diff(strings.Split(wantCSV, "\n"), strings.Split(b.String(), "\n")); d != "" {
		t.Errorf("CSV (-want +got):\n%s", d)
	}
	if got, want := strings.Join(x.keys(KindStay), " "), "stay.began stay.ended stay.corrected stay.began stay.corrected"; got != want {
		t.Errorf("chronology %s, want %s", got, want)
	}
	if d := x.differences(); len(d) != 0 {
		t.Errorf("differences %v", d)
	}
}

func (x *table) stays() []Stay {
	x.t.Helper()
	all, err := x.Stays(x.t.Context(), x.in.ID)
	x.must(err)
	return all
}

func TestRotaShowsGaps(t *testing.T) {
	t0 := time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)
	at := func(h int) time.Time { return t0.Add(time.Duration(h) * time.Hour) }
	for name, tt := range map[string]struct {
		shifts []notify.Shift
		want   []Slot
	}{
		"nobody": {nil, []Slot{{at(0), at(24), []string{}}}},
		"a gap between two": {[]notify.Shift{{Person: "a", From: at(-5), Until: at(8), Order: 1}, {Person: "b", From: at(10), Until: at(30), Order: 1}},
			[]Slot{{at(0), at(8), []string{"a"}}, {at(8), at(10), []string{}}, {at(10), at(24), []string{"b"}}}},
		"two at once, in their order": {[]notify.Shift{{Person: "b", From: at(0), Until: at(24), Order: 2}, {Person: "a", From: at(0), Until: at(12), Order: 1}},
			[]Slot{{at(0), at(12), []string{"a", "b"}}, {at(12), at(24), []string{"b"}}}},
		"one after the other, the same person": {[]notify.Shift{{Person: "a", From: at(0), Until: at(12), Order: 1}, {Person: "a", From: at(12), Until: at(24), Order: 1}},
			[]Slot{{at(0), at(24), []string{"a"}}}},
		"of another site, over, or later": {[]notify.Shift{{Person: "a", Site: "other", From: at(0), Until: at(24)}, {Person: "a", From: at(-9), Until: at(0)}, {Person: "a", From: at(24), Until: at(25)}},
			[]Slot{{at(0), at(24), []string{}}}},
		"of this site": {[]notify.Shift{{Person: "a", Site: "clinic", From: at(0), Until: at(24)}}, []Slot{{at(0), at(24), []string{"a"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(tt.want, Rota(tt.shifts, []string{"clinic"}, at(0), at(24))); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

func TestOnCallComesFromTheShifts(t *testing.T) {
	x := newTable(t)
	if got, err := x.OnCall(t.Context(), x.in); err != nil || len(got) != 0 {
		t.Errorf("on call %v (%v), want nobody", got, err)
	}
	_, err := x.calls.AddShift(t.Context(), notify.Shift{Site: "clinic", Person: x.ben.ID, From: x.now, Until: x.now.Add(8 * time.Hour), Order: 1}, x.anna.Person)
	x.must(err)
	if got, err := x.OnCall(t.Context(), x.in); err != nil || !slices.Equal(got, []string{x.ben.ID}) {
		t.Errorf("on call %v (%v), want ben", got, err)
	}
}

func (x *table) offer(to member) Handover {
	x.t.Helper()
	h, err := x.Offer(x.t.Context(), x.in.ID, NewHandover{To: to.ID, Lang: "ja", Text: "読んでください"}, x.anna.Person)
	x.must(err)
	return h
}

func (x *table) commander() string {
	x.t.Helper()
	in, err := x.room.Get(x.t.Context(), x.in.ID)
	x.must(err)
	return in.Commander
}

func TestDraftSaysWhatTheRecordsSay(t *testing.T) {
	x := newTable(t)
	x.state(x.now)
	x.must(x.FollowCommand(t.Context(), x.in.ID))
	x.things.actions = []action.Action{
		{Kind: action.Isolate, State: action.Verified, Host: "ho-1", ExpiresAt: x.now.Add(4 * time.Hour)},
		{Kind: action.Isolate, State: action.Released, Host: "ho-2"},
		{Kind: action.Preserve, State: action.Requested, Host: "ho-1", RequestedAt: x.now},
	}
	x.add(NewTask{Title: "件数を知らせる", Person: x.ben.ID, Promised: "保健所", Due: x.now.Add(time.Hour)})
	for range 8 {
		x.add(NewTask{Title: "端末を見る", Role: "technical"})
	}
	_, err := x.Assign(t.Context(), x.in.ID, NewPost{Role: "contractor", Name: "ABC社 鈴木", Contact: "090-0000-0000"}, x.anna.Person)
	x.must(err)
	_, err = x.Begin(t.Context(), x.in.ID, NewStay{Person: x.carla.ID, Role: "recorder"}, x.anna.Person)
	x.must(err)
	for lang, want := range map[string][]string{
		"ja": {"状態: 発生", "cc-pc-07: ネットワークから隔離（2026-11-27 16:00 まで）", "承認待ち: cc-pc-07", "速報", "保健所へ: 件数を知らせる（馬場 勉、2026-11-27 13:00）",
			"端末を見る（技術責任者、期限なし）", "ほか2件", "指揮者: 阿部 杏", "委託先との連絡係: ABC社 鈴木 090-0000-0000", "記録係: 唐沢 佳"},
		"en": {"State:", "(until 2026-11-27 16:00)", "waits for approval", "to 保健所: 件数を知らせる", "2 more", "Commander: 阿部 杏"},
	} {
		got, err := x.Draft(t.Context(), x.in.ID, lang)
		x.must(err)
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("the draft in %s lacks %q:\n%s", lang, w, got)
			}
		}
		if n := strings.Count(got, "\n"); n > 40 || strings.Contains(got, "⟦") || strings.Contains(got, "ho-2") {
			t.Errorf("the draft in %s has %d lines:\n%s", lang, n, got)
		}
	}
}

func TestCommandMovesWhenTheNextCommanderSigned(t *testing.T) {
	x := newTable(t)
	ctx, in := t.Context(), x.in.ID
	_, err := x.Offer(ctx, in, NewHandover{To: x.carla.ID, Lang: "ja", Text: "x"}, x.ben.Person)
	x.refused(err, fault.Denied, "task.handover-not-commander")
	_, err = x.Offer(ctx, in, NewHandover{To: x.anna.ID, Lang: "ja", Text: "x"}, x.anna.Person)
	x.refused(err, fault.Invalid, "task.handover-to")
	_, err = x.Offer(ctx, in, NewHandover{To: x.ben.ID, Lang: "ja", Text: " "}, x.anna.Person)
	x.refused(err, fault.Invalid, "task.text-missing")

	h := x.offer(x.ben)
	_, err = x.Offer(ctx, in, NewHandover{To: x.carla.ID, Lang: "ja", Text: "x"}, x.anna.Person)
	x.refused(err, fault.Conflict, "task.handover-waits")
	x.refused(x.Sign(ctx, in, h.ID, x.code(x.carla, 0), x.carla.Person), fault.Denied, "task.handover-not-yours")
	x.refused(x.Sign(ctx, in, h.ID, "000000", x.ben.Person), fault.Invalid, "auth.code-refused")
	x.refused(x.Sign(ctx, in, h.ID, x.code(x.carla, 0), x.ben.Person), fault.Invalid, "auth.code-refused") // somebody else's
	if got := x.commander(); got != x.anna.ID {
		t.Fatalf("%s commands before it was signed", got)
	}

	code := x.code(x.ben, 0)
	x.must(x.people.Confirm(ctx, x.ben.Person, code)) // used for something else
	x.refused(x.Sign(ctx, in, h.ID, code, x.ben.Person), fault.Invalid, "auth.code-refused")
	x.pass(time.Minute)
	x.must(x.Sign(ctx, in, h.ID, x.code(x.ben, 0), x.ben.Person))
	if got := x.commander(); got != x.ben.ID {
		t.Errorf("%s commands, want ben", got)
	}
	x.pass(time.Minute)
	x.refused(x.Sign(ctx, in, h.ID, x.code(x.ben, 0), x.ben.Person), fault.Conflict, "task.handover-over")
	if h, err = x.Handover(ctx, in, h.ID); err != nil || h.State != Signed || h.Text != "読んでください" || h.Records == "" {
		t.Errorf("hand-over %+v (%v)", h, err)
	}
	if d := x.differences(); len(d) != 0 {
		t.Errorf("differences %v", d)
	}
}

func TestWrongCodesAreLimited(t *testing.T) {
	x := newTable(t)
	h := x.offer(x.ben)
	tries := 0
	for ; tries < 20; tries++ {
		if err := x.Sign(t.Context(), x.in.ID, h.ID, "000000", x.ben.Person); fault.Of(err) == fault.Busy {
			break
		}
	}
	if tries > 5 {
		t.Fatalf("%d codes were tried", tries)
	}
	x.refused(x.Sign(t.Context(), x.in.ID, h.ID, x.code(x.ben, 0), x.ben.Person), fault.Busy, "auth.locked")
	_, err := x.people.LogIn(t.Context(), auth.Credentials{Login: "ben", Password: "橋の上 犬が三匹 雨あがり", Code: x.code(x.ben, 0)})
	x.must(err) // whoever found the open screen does not lock ben out
	x.pass(time.Minute)
	x.must(x.Sign(t.Context(), x.in.ID, h.ID, x.code(x.ben, 0), x.ben.Person))
}

func TestHandoverThatWasNotTakenStaysOnRecord(t *testing.T) {
	x := newTable(t)
	ctx, in := t.Context(), x.in.ID
	first := x.offer(x.ben)
	x.refused(x.Refuse(ctx, in, first.ID, "", x.ben.Person), fault.Invalid, "task.reason-missing")
	x.refused(x.Refuse(ctx, in, first.ID, "x", x.carla.Person), fault.Denied, "task.handover-not-yours")
	x.must(x.Refuse(ctx, in, first.ID, "手が離せない", x.ben.Person))
	second := x.offer(x.carla)
	x.refused(x.Withdraw(ctx, in, second.ID, "x", x.carla.Person), fault.Denied, "task.handover-not-yours")
	x.must(x.Withdraw(ctx, in, second.ID, "状況が変わった", x.anna.Person))
	third := x.offer(x.carla)
	x.must(x.room.Command(ctx, in, x.ben.ID, x.ben.Person)) // taken over in the meantime
	x.refused(x.Sign(ctx, in, third.ID, x.code(x.carla, 0), x.carla.Person), fault.Conflict, "task.handover-stale")
	all, err := x.Handovers(ctx, in)
	x.must(err)
	if len(all) != 3 || all[0].State != Offered || all[1].State != Withdrawn || all[2].State != Refused || all[2].Reason != "手が離せない" {
		t.Errorf("hand-overs %+v", all)
	}
	if got := x.commander(); got != x.ben.ID {
		t.Errorf("%s commands, want ben", got)
	}
}

func TestTwoWhoSignAtOnceSignOnce(t *testing.T) {
	x := newTable(t)
	// two offers at the same moment
	var wg sync.WaitGroup
	offers := make([]error, 2)
	for i, to := range []member{x.ben, x.carla} {
		wg.Go(func() {
			_, offers[i] = x.Offer(t.Context(), x.in.ID, NewHandover{To: to.ID, Lang: "ja", Text: "x"}, x.anna.Person)
		})
	}
	wg.Wait()
	if (offers[0] == nil) == (offers[1] == nil) {
		t.Fatalf("offered: %v, %v; want one", offers[0], offers[1])
	}
	all, err := x.Handovers(t.Context(), x.in.ID)
	x.must(err)
	next := x.ben
	if all[0].To == x.carla.ID {
		next = x.carla
	}
	// the same person in several windows, with the codes of two steps
	codes := []string{x.code(next, 0), x.code(next, 0), x.code(next, 30*time.Second), x.code(next, 30*time.Second)}
	errs := make([]error, len(codes))
	for i, code := range codes {
		wg.Go(func() { errs[i] = x.Sign(t.Context(), x.in.ID, all[0].ID, code, next.Person) })
	}
	wg.Wait()
	signed := 0
	for _, err := range errs {
		switch {
		case err == nil:
			signed++
		case fault.Of(err) == "":
			t.Errorf("a fault of our own: %v", err)
		}
	}
	if signed != 1 || x.commander() != next.ID {
		t.Errorf("signed %d times, %s commands", signed, x.commander())
	}
	if got, want := strings.Join(x.keys(KindHandover), " "), "handover.offered handover.signed"; got != want {
		t.Errorf("chronology %s, want %s", got, want)
	}
}

// dying is a room that is gone when command is to move.
type dying struct {
	Incidents
	dead bool
}

func (d *dying) HandOver(ctx context.Context, id, from, to string, by auth.Person) error {
	if d.dead {
		return errors.New("power failure")
	}
	return d.Incidents.HandOver(ctx, id, from, to, by)
}

func TestCommandMovesAfterAPowerFailure(t *testing.T) {
	x := newTable(t)
	room := &dying{x.room, true}
	x.Desk.deps.Incidents = room
	h := x.offer(x.ben)
	if err := x.Sign(t.Context(), x.in.ID, h.ID, x.code(x.ben, 0), x.ben.Person); err == nil || x.commander() != x.anna.ID {
		t.Fatalf("signed with %v, %s commands", err, x.commander())
	}
	room.dead = false
	versions := x.versions(KindHandover)
	for _, r := range versions { // the bus tells of them again
		x.must(x.Follow(t.Context(), r))
	}
	if got := x.commander(); got != x.ben.ID {
		t.Errorf("%s commands, want ben", got)
	}
	x.must(x.room.Command(t.Context(), x.in.ID, x.carla.ID, x.carla.Person))
	x.must(x.Follow(t.Context(), versions[len(versions)-1])) // and again, long after
	if got := x.commander(); got != x.carla.ID {
		t.Errorf("%s commands, want carla", got)
	}
}

func TestTamperingIsFound(t *testing.T) {
	for name, tt := range map[string]struct{ change, want string }{
		"a title":           {`UPDATE task_record SET body = replace(body, '隔離', '放置') WHERE kind = 'task'`, "changed"},
		"who signed":        {`UPDATE task_record SET body = replace(body, '"state":"offered"', '"state":"signed"') WHERE kind = 'handover'`, "unreadable"}, // it waits for nobody any more
		"hours":             {`UPDATE task_record SET body = replace(body, '"role":"recorder"', '"role":"desk"') WHERE kind = 'stay'`, "changed"},
		"a post":            {`UPDATE task_record SET body = replace(body, 'ABC社', 'XYZ社') WHERE kind = 'post'`, "changed"},
		"words of a role":   {`UPDATE task_record SET body = replace(body, '室長', '課長') WHERE kind = 'role'`, "changed"},
		"what goes on":      {`UPDATE task_record SET going_on = 0 WHERE kind = 'task'`, "unreadable"},
		"of which incident": {`UPDATE task_record SET incident = 'in-x' WHERE kind = 'task'`, "unreadable"},
		"one taken out":     {`DELETE FROM task_record WHERE kind = 'stay'`, "missing"},
		"one put in": {`INSERT INTO task_record (kind, id, no, incident, going_on, body) SELECT kind, id, 2, incident, going_on, replace(body, '"no":1,"incident"', '"no":2,"incident"')
			FROM task_record WHERE kind = 'post'`, "not-in-ledger"},
		"a kind of its own": {`UPDATE task_record SET kind = 'memo' WHERE kind = 'role'`, "missing unreadable"},
	} {
		t.Run(name, func(t *testing.T) {
			x := newTable(t)
			x.add(NewTask{Title: "隔離"})
			x.offer(x.ben)
			_, err := x.Begin(t.Context(), x.in.ID, NewStay{Person: x.ben.ID, Role: "recorder"}, x.ben.Person)
			x.must(err)
			_, err = x.Assign(t.Context(), x.in.ID, NewPost{Role: "contractor", Name: "ABC社"}, x.anna.Person)
			x.must(err)
			x.must(x.Rename(t.Context(), Role{ID: "technical", Name: map[string]string{"ja": "室長", "en": "Head"}, Duty: map[string]string{"ja": "復旧", "en": "Recovery"}}, x.anna.Person))
			if d := x.differences(); len(d) != 0 {
				t.Fatalf("before: %v", d)
			}
			x.must(x.db.Tx(t.Context(), func(tx *state.Tx) error {
				_, err := tx.ExecContext(t.Context(), tt.change)
				return err
			}))
			if got := strings.Join(x.differences(), " "); got != tt.want {
				t.Errorf("found %q, want %q", got, tt.want)
			}
		})
	}
}
