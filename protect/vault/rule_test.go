package vault

import (
	"slices"
	"testing"
	"time"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/repository"
)

type findingOf detect.Finding

func toFinding(f findingOf) detect.Finding { return detect.Finding(f) }

// noon is Sunday 22 November 2026, 12:00 in Japan.
var noon = time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)

func snapshots(at ...time.Time) (out []Choice) {
	for i, t := range at {
		out = append(out, Choice{Snapshot: string(rune('a' + i)), Received: t, Of: "files"})
	}
	return out
}

func TestGenerationsCountWhenTheHubReceivedThem(t *testing.T) {
	day := 24 * time.Hour
	all := snapshots(noon.Add(-400*day), noon.Add(-40*day), noon.Add(-2*day-time.Hour), noon.Add(-2*day), noon.Add(-day), noon)
	for name, tt := range map[string]struct {
		g    Generations
		goes string
	}{
		"the newest two":       {Generations{Last: 2}, "dcba"},
		"three days":           {Generations{Daily: 3}, "cba"},
		"two months":           {Generations{Monthly: 2}, "edca"},
		"two years":            {Generations{Yearly: 2}, "edcb"},
		"days and years":       {Generations{Daily: 2, Yearly: 5}, "dcb"},
		"more than there are":  {Generations{Last: 100}, ""},
		"a week begins Monday": {Generations{Weekly: 1}, "edcba"},
	} {
		goes := ""
		for _, c := range choose(all, tt.g, nil) {
			if len(c.Keep) == 0 {
				goes += c.Snapshot
			}
		}
		if goes != tt.goes {
			t.Errorf("%s: %q go instead of %q", name, goes, tt.goes)
		}
	}
}

// What a policy keeps stays, whatever else is asked, and one thing that is backed
// up never pushes out another.
func TestWhatAPolicyKeepsNeverGoes(t *testing.T) {
	day := 24 * time.Hour
	var all []Choice
	for i := range 5 {
		at := noon.Add(-time.Duration(i) * day)
		all = append(all, Choice{Snapshot: "files" + string(rune('0'+i)), Received: at, Of: "files", Policy: "po-1"},
			Choice{Snapshot: "db" + string(rune('0'+i)), Received: at.Add(time.Minute), Of: "db", Policy: "po-1"},
			Choice{Snapshot: "old" + string(rune('0'+i)), Received: at.Add(-90 * day), Of: "old", Policy: "po-ended"})
	}
	policies := map[string]Generations{"po-1": {Daily: 3}}
	for name, tt := range map[string]struct {
		g    Generations
		goes []string
	}{
		"the policies alone": {Generations{}, []string{"db3", "db4", "files3", "files4"}},
		"fewer than it":      {Generations{Last: 1}, []string{"db3", "db4", "files3", "files4", "old1", "old2", "old3", "old4"}},
		"more than it":       {Generations{Daily: 4}, []string{"db4", "files4", "old4"}},
	} {
		goes := Prune{Choices: choose(all, tt.g, policies)}.going()
		if slices.Sort(goes); !slices.Equal(goes, tt.goes) {
			t.Errorf("%s: %v go instead of %v", name, goes, tt.goes)
		}
	}
}

func TestPruningNeedsTwoPeopleAndTime(t *testing.T) {
	w, ctx, src := newWorld(t), t.Context(), tree(t)
	p := w.agent("ho-1")
	p.Run(t, "init")
	for range 2 {
		p.Run(t, "backup", "--host", "ho-1", src)
	}
	_, err := w.AskPrune(ctx, "ho-1", Generations{}, "容量", anna)
	w.is(err, fault.Invalid, "vault.generations")
	_, err = w.AskPrune(ctx, "ho-1", Generations{Last: 5}, "容量", anna)
	w.is(err, fault.Conflict, "vault.nothing-goes")
	x, err := w.AskPrune(ctx, "ho-1", Generations{Last: 1}, "容量", anna)
	w.ok(err)
	w.is(w.ApprovePrune(ctx, x.ID, anna), fault.Denied, "vault.own")
	w.ok(w.ApprovePrune(ctx, x.ID, ben))
	_, err = w.MayPrune(ctx, x.ID)
	w.is(err, fault.Conflict, "vault.not-due")
	w.ahead.Store(int64(cooling + time.Minute))
	got, err := w.MayPrune(ctx, x.ID)
	if w.ok(err); got.Goes() != 1 {
		t.Errorf("%d go", got.Goes())
	}
	_, fresh, err := w.Alarm(ctx, frozen("ho-1", "hospital"))
	if w.ok(err); !fresh {
		t.Error("not cut")
	}
	_, err = w.MayPrune(ctx, x.ID)
	w.is(err, fault.Conflict, "vault.frozen")
	_, err = w.AskPrune(ctx, "ho-1", Generations{Last: 1}, "容量", anna)
	w.is(err, fault.Conflict, "vault.frozen")
	w.ok(w.StopPrune(ctx, x.ID, "警報のため", anna))
	w.is(w.StopPrune(ctx, x.ID, "もう一度", anna), fault.Conflict, "vault.not-waiting")
}

func TestDamageAndGapsAreNeverCalledSound(t *testing.T) {
	day := 24 * time.Hour
	begun := noon.Add(-200 * day)
	night := func(ago int, r Result) Read {
		at := noon.Add(-time.Duration(ago) * day)
		_, part := nightOf(at)
		return Read{Scope: ReadPart, Part: part, Begun: at, Ended: at, Result: r, Damages: []string{"data/ab: offset 1"}, Why: "disk"}
	}
	nights := func(n int) (out []Read) {
		for i := range n {
			out = append(out, night(i, Sound))
		}
		return out
	}
	all := Read{Scope: ReadAll, Begun: noon, Ended: noon, Result: Sound}
	for name, tt := range map[string]struct {
		reads []Read
		begun time.Time
		want  LevelState
	}{
		"nothing was read":                  {nil, begun, LevelNever},
		"thirty nights":                     {nights(30), begun, LevelSound},
		"ten nights of an old one":          {nights(10), begun, LevelStale},
		"ten nights of a new one":           {nights(10), noon.Add(-11 * day), LevelSound},
		"a damage among them":               {slices.Insert(nights(30), 7, night(7, Damaged)), begun, LevelDamaged},
		"a damage before all was read":      {append([]Read{all}, night(3, Damaged)), begun, LevelSound},
		"the last could not run":            {slices.Insert(nights(30), 0, night(0, Unread)), begun, LevelUnread},
		"all was read, after months of not": {[]Read{all}, begun, LevelSound},
	} {
		if got := levelOf(tt.reads, tt.begun, noon); got.State != tt.want {
			t.Errorf("%s: %s instead of %s", name, got.State, tt.want)
		}
	}
}

func TestEveryPackIsReadWithinThirtyNights(t *testing.T) {
	seen := map[int]bool{}
	for i := range parts {
		name, part := nightOf(noon.Add(time.Duration(i) * 24 * time.Hour))
		if name == "" || part < 0 || part >= parts {
			t.Fatalf("night %q, part %d", name, part)
		}
		seen[part] = true
	}
	if len(seen) != parts {
		t.Errorf("%d of %d parts", len(seen), parts)
	}
	if name, _ := nightOf(time.Date(2026, 11, 21, 15, 30, 0, 0, time.UTC)); name != "" {
		t.Errorf("at half past midnight: %s", name)
	}
}

func TestAReadFromTheFutureKeepsNoneFromBeingMade(t *testing.T) {
	day := 24 * time.Hour
	read := func(begun, upto time.Duration) Read {
		return Read{Scope: ReadNew, Result: Sound, Begun: noon.Add(begun), Upto: noon.Add(upto)}
	}
	for name, tt := range map[string]struct {
		before []Read
		since  time.Duration
		due    bool
	}{
		"an hour ago":                        {[]Read{read(-time.Hour, -time.Hour)}, -time.Hour, true},
		"a minute ago":                       {[]Read{read(-time.Minute, -time.Minute)}, -time.Minute, false},
		"before the clock was set back":      {[]Read{read(day, day)}, day, true},
		"before and after it was set back":   {[]Read{read(day, day), read(-time.Minute, day+1)}, day + 1, false},
		"before, and an hour ago":            {[]Read{read(day, day), read(-time.Hour, day+1)}, day + 1, true},
		"before, and the last could not run": {[]Read{read(day, day), {Scope: ReadNew, Result: Unread, Begun: noon.Add(-time.Minute)}}, day, true},
	} {
		if since, due := newDue(tt.before, noon); !since.Equal(noon.Add(tt.since)) || due != tt.due {
			t.Errorf("%s: since %s, %v", name, since, due)
		}
	}
}

func TestGrowthIsComparedWithTheUsualDay(t *testing.T) {
	gib := int64(1 << 30)
	days := func(today int64, before ...int64) (out []repository.Receipt) {
		out = append(out, repository.Receipt{At: noon.Add(-27 * 24 * time.Hour), Size: 500 * gib}) // the first backup
		for i, n := range before {
			out = append(out, repository.Receipt{At: noon.Add(-time.Duration(len(before)-i)*24*time.Hour - time.Hour), Size: n})
		}
		return append(out, repository.Receipt{At: noon.Add(-time.Hour), Size: today})
	}
	usual := []int64{gib, gib, 2 * gib, gib, gib / 2, gib}
	for name, tt := range map[string]struct {
		all  []repository.Receipt
		want bool
	}{
		"as usual":       {days(2*gib, usual...), false},
		"ten times":      {days(10*gib, usual...), true},
		"too few days":   {days(10*gib, usual[:3]...), false},
		"small anyway":   {days(gib/2, 1000, 1000, 1000, 1000, 1000, 1000), false},
		"nothing at all": {nil, false},
	} {
		if today, usual, got := unusual(tt.all, noon, growthFloor); got != tt.want {
			t.Errorf("%s: %v (%d of usually %d)", name, got, today, usual)
		}
	}
}

func TestWhatMayBeAnAccidentIsNoAttackTheFirstTime(t *testing.T) {
	b := &bucket{}
	x := refusal{key: "protect.junk"}
	for i, want := range []class{odd, odd, attack} {
		x.At, x.what = noon.Add(time.Duration(i)*time.Minute), string(rune('a'+i))
		if b.add(x); b.class() != want {
			t.Errorf("refusal %d: %v", i+1, b.class())
		}
	}
	slow := &bucket{}
	for i := range 5 {
		x.At, x.what = noon.Add(time.Duration(i)*time.Hour), string(rune('a'+i))
		if slow.add(x); slow.class() != odd {
			t.Errorf("one an hour: %v", slow.class())
		}
	}
	again := &bucket{}
	for range 20 { // restic sends what was refused again, for minutes
		if again.add(x); again.class() != odd {
			t.Errorf("the same file again: %v", again.class())
		}
	}
	pass := &bucket{}
	if pass.add(refusal{Refusal: repository.Refusal{Who: passPrefix + "1"}, key: "protect.role"}); pass.class() != odd {
		t.Errorf("somebody with a pass: %v", pass.class())
	}
	for _, key := range []string{"protect.snapshot-time", "protect.snapshot-old"} { // a clock that is wrong is so for every backup
		clocks := &bucket{}
		for i := range 9 {
			x.key, x.At, x.what = key, noon.Add(time.Duration(i)*time.Second), string(rune('a'+i))
			if clocks.add(x); clocks.class() != skewed {
				t.Errorf("%s: %v", key, clocks.class())
			}
		}
	}
	for key, want := range map[string]class{"protect.append-only": attack, "protect.quota": room, "protect.lost": lost, "protect.cut": quiet, "": quiet} {
		if got := classOf(key); got != want {
			t.Errorf("%s: %v", key, got)
		}
	}
}
