package search

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/event"
)

// Bounds of a back-test.
const (
	testFor      = 20 * time.Second // a person waits for it
	testBatch    = 500
	testExamples = 10
	testKept     = 20_000      // events that are counted, of one slice of time
	testSlice    = time.Minute // shorter ones are not cut: what is so late still counts
)

// BackTest runs a rule, or a correlation with the rules that it counts, over
// the events of the past that a person may see (sites; nil: all), in the order
// of time. After twenty seconds it stops and says how far it came. Alerts are
// counted as people would see them if they closed those of a machine once a
// day.
func (b *Rulebook) BackTest(ctx context.Context, text string, from, to time.Time, sites []string) (BackTest, error) {
	ctx, stop := context.WithTimeout(ctx, testFor)
	defer stop()
	return b.backTest(ctx, text, from, to, sites, func(BackTest) {})
}

// backTest tells what it has after each slice of time. When the time of ctx is
// over it returns that.
func (b *Rulebook) backTest(ctx context.Context, text string, from, to time.Time, sites []string, each func(BackTest)) (BackTest, error) {
	rule, err := b.readRule(text)
	if err != nil {
		return BackTest{}, err
	}
	t := &trial{rule: rule, events: b.events, sites: sites, most: b.kept, each: each,
		out: BackTest{From: from, To: to, Until: from}, alerted: map[string]bool{}, hosts: map[string]bool{}}
	for day := from; day.Before(to); {
		begin := midnight(day)
		end := begin.AddDate(0, 0, 1)
		if end.After(to) {
			end = to
		}
		t.out.Days = append(t.out.Days, TestDay{Day: begin})
		err := t.slice(ctx, day, end)
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			break
		}
		if err != nil {
			return BackTest{}, fmt.Errorf("back-test: %w", err)
		}
		day = end
	}
	return t.end(), nil
}

// trial is a back-test under way.
type trial struct {
	rule    ruleText
	events  Events
	sites   []string
	most    int // events that may be kept
	each    func(BackTest)
	out     BackTest
	alerted map[string]bool // by host and day
	hosts   map[string]bool // where it spoke
	part    part
}

// part is what a slice of time gave so far.
type part struct {
	batch   event.Batch
	scanned int64
	counted []detect.Match // newest first, as the archive tells them
}

// errFull says that a slice holds more than may be kept.
var errFull = errors.New("the slice holds too much")

// slice looks at the events of a stretch of one day. The archive tells the
// newest first, and what is counted must come in the order of time: what
// counts is kept until the slice is read, and a slice that holds too much is
// cut in two.
func (t *trial) slice(ctx context.Context, from, to time.Time) error {
	t.part = part{}
	cut := to.Sub(from) > testSlice
	err := t.events.Events(ctx, archive.Search{Query: t.rule.query, From: from, To: to, Sites: t.sites}, func(e event.Event) error {
		return t.take(e, cut)
	})
	if errors.Is(err, errFull) {
		half := from.Add(to.Sub(from) / 2)
		if err := t.slice(ctx, from, half); err != nil {
			return err
		}
		return t.slice(ctx, half, to)
	}
	if err != nil {
		return err // what was read stays in part
	}
	t.flush()
	t.out.Until = to
	t.each(t.told())
	return nil
}

func (t *trial) take(e event.Event, cut bool) error {
	p := &t.part
	p.batch.Events = append(p.batch.Events, e)
	if len(p.batch.Events) >= min(testBatch, t.most) {
		t.judge()
	}
	if len(p.counted) < t.most {
		return nil
	}
	if cut {
		return errFull
	}
	t.flush()
	return nil
}

// judge looks which of what was gathered the rules are about.
func (t *trial) judge() {
	p := &t.part
	p.scanned += int64(len(p.batch.Events))
	found, counted := t.rule.engine.Judge(p.batch)
	for i := range found {
		if found[i].Rule.ID == t.rule.id {
			t.hit(found[i].Events[0])
			t.alert(found[i])
		}
	}
	p.counted = append(p.counted, counted...)
	p.batch.Events = p.batch.Events[:0]
}

// flush counts what was gathered, the oldest first.
func (t *trial) flush() {
	t.judge()
	p := &t.part
	t.out.Scanned += p.scanned
	slices.Reverse(p.counted)
	slices.SortStableFunc(p.counted, func(a, b detect.Match) int { return a.Event.Time.Compare(b.Event.Time) })
	if t.rule.counts {
		t.out.Counted += int64(len(p.counted))
	} else {
		for _, m := range p.counted {
			t.hit(m.Event)
		}
	}
	for _, f := range t.rule.engine.Correlate(p.counted) {
		if f.Rule.ID != t.rule.id {
			continue
		}
		if t.rule.counts {
			t.hit(f.Events[len(f.Events)-1])
		}
		t.alert(f)
	}
	p.scanned, p.counted = 0, p.counted[:0]
}

func (t *trial) day() *TestDay { return &t.out.Days[len(t.out.Days)-1] }

// hit counts an event that the rule speaks of.
func (t *trial) hit(e event.Event) {
	t.out.Matches++
	t.day().Matches++
	t.hosts[e.Host] = true
	if len(t.out.Examples) < testExamples {
		t.out.Examples = append(t.out.Examples, e)
	}
}

func (t *trial) alert(f detect.Finding) {
	key := f.Host + " " + f.Time.In(clock.Tokyo()).Format(time.DateOnly)
	if !t.alerted[key] {
		t.alerted[key] = true
		t.out.Alerts++
		t.day().Alerts++
	}
}

// end is the result, also where the time was up in the middle of a slice.
func (t *trial) end() BackTest {
	if len(t.out.Days) > 0 {
		t.flush()
	}
	return t.told()
}

func (t *trial) told() BackTest {
	t.out.Hosts = len(t.hosts)
	if days := t.out.Until.Sub(t.out.From).Hours() / 24; days > 0 {
		t.out.AlertsPerDay = float64(t.out.Alerts) / days
	}
	return t.out
}
