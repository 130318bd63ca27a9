package search

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing/fstest"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/archive/lang"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
)

// Bounds of a back-test.
const (
	testFor      = 20 * time.Second // a person waits for it
	testBatch    = 500
	testExamples = 10
	testKept     = 20_000 // events that match, of one day; more are counted in portions
)

// BackTest runs a rule over the events of the past that a person may see
// (sites; nil: all), day by day, the oldest first. After twenty seconds it
// stops and says how far it came. Alerts are counted as people would see them
// if they closed those of a machine once a day.
func (b *Rulebook) BackTest(ctx context.Context, text string, from, to time.Time, sites []string) (BackTest, error) {
	ctx, stop := context.WithTimeout(ctx, testFor)
	defer stop()
	return b.backTest(ctx, text, from, to, sites, func(BackTest) {})
}

// backTest tells what it has after each day. When the time of ctx is over it
// returns that.
func (b *Rulebook) backTest(ctx context.Context, text string, from, to time.Time, sites []string, each func(BackTest)) (BackTest, error) {
	rule, err := readRule(text)
	if err != nil {
		return BackTest{}, err
	}
	t := &trial{rule: rule, out: BackTest{From: from, To: to, Until: from}, alerted: map[string]bool{}, hosts: map[string]bool{}}
	for day := from; day.Before(to); {
		begin := midnight(day)
		next := begin.AddDate(0, 0, 1)
		end := next
		if end.After(to) {
			end = to
		}
		t.out.Days = append(t.out.Days, TestDay{Day: begin})
		err := b.events.Events(ctx, archive.Search{Query: rule.query, From: day, To: end, Sites: sites}, t.take)
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			break
		}
		if err != nil {
			return BackTest{}, fmt.Errorf("back-test: %w", err)
		}
		t.match()
		t.alert()
		day, t.out.Until = next, end
		each(t.end())
	}
	return t.end(), nil
}

// trial is a back-test under way.
type trial struct {
	rule    ruleText
	out     BackTest
	batch   event.Batch
	n       int
	matched []event.Event   // newest first, as the archive tells them
	alerted map[string]bool // by host and day
	hosts   map[string]bool // where something matched
}

func (t *trial) take(e event.Event) error {
	t.batch.Events = append(t.batch.Events, e)
	if len(t.batch.Events) >= testBatch {
		t.match()
	}
	return nil
}

// match looks which of what was gathered the rule is about.
func (t *trial) match() {
	if len(t.batch.Events) == 0 {
		return
	}
	t.named()
	day := &t.out.Days[len(t.out.Days)-1]
	t.out.Scanned += int64(len(t.batch.Events))
	for _, f := range t.rule.each.Match(t.batch) {
		t.out.Matches++
		day.Matches++
		t.hosts[f.Host] = true
		t.example(f.Events[0])
		t.matched = append(t.matched, f.Events[0])
	}
	t.batch.Events = nil
	if len(t.matched) >= testKept {
		t.alert()
	}
}

// named gives the batch a new id: the engine takes one id for one batch.
func (t *trial) named() {
	t.n++
	t.batch.ID = fmt.Sprint("trial ", t.n)
}

// alert runs the whole rule over what matched, the oldest first: what comes
// much later than its like is not counted.
func (t *trial) alert() {
	t.named()
	slices.Reverse(t.matched)
	day := &t.out.Days[len(t.out.Days)-1]
	for _, f := range t.rule.engine.Match(event.Batch{ID: t.batch.ID, Events: t.matched}) {
		key := f.Host + " " + f.Time.In(clock.Tokyo()).Format(time.DateOnly)
		if !t.alerted[key] {
			t.alerted[key] = true
			t.out.Alerts++
			day.Alerts++
		}
	}
	t.matched = nil
}

func (t *trial) example(e event.Event) {
	if len(t.out.Examples) < testExamples {
		t.out.Examples = append(t.out.Examples, e)
	}
}

func (t *trial) end() BackTest {
	if len(t.matched) > 0 { // the time was up
		t.alert()
	}
	t.out.Hosts = len(t.hosts)
	if days := t.out.Until.Sub(t.out.From).Hours() / 24; days > 0 {
		t.out.AlertsPerDay = float64(t.out.Alerts) / days
	}
	return t.out
}

// ruleText is one rule as people write it, understood.
type ruleText struct {
	id, title string
	level     event.Severity
	query     string         // finds no fewer events than the rule
	engine    *detect.Engine // with its threshold
	each      *detect.Engine // without: every event that matches
}

// readRule understands exactly one rule. What is wrong with it is Invalid, with
// the line.
func readRule(text string) (ruleText, error) {
	engine, report, err := detect.Load(file(text))
	if err != nil {
		return ruleText{}, err
	}
	if len(report.Rejected) > 0 {
		r := report.Rejected[0]
		return ruleText{}, fault.New(fault.Invalid, "rule.rejected", r.Line, r.Reason)
	}
	rules := engine.Rules()
	if len(rules) != 1 {
		return ruleText{}, fault.New(fault.Invalid, "rule.one", len(rules))
	}
	out := ruleText{id: rules[0].ID, title: report.Loaded[0].Title, level: rules[0].Level, engine: engine}
	var parts map[string]any
	if err := yaml.Unmarshal([]byte(text), &parts); err != nil {
		return ruleText{}, fault.New(fault.Invalid, "rule.rejected", 1, err.Error())
	}
	out.query = sourceQuery(parts["logsource"])
	delete(parts, "threshold")
	without, err := yaml.Marshal(parts)
	if err != nil {
		return ruleText{}, fmt.Errorf("rule without its threshold: %w", err)
	}
	if out.each, _, err = detect.Load(file(string(without))); err != nil {
		return ruleText{}, err
	}
	return out, nil
}

func file(text string) fstest.MapFS {
	return fstest.MapFS{"rule.yml": &fstest.MapFile{Data: []byte(text)}}
}

// sourceQuery asks for the events of a log source.
func sourceQuery(source any) string {
	m, _ := source.(map[string]any) // the engine has understood it
	var all []lang.Expr
	for _, key := range []string{"product", "category", "service"} {
		if v, ok := m[key].(string); ok {
			all = append(all, lang.Match{Field: key, Op: lang.In, Values: []string{v}})
		}
	}
	parts := make([]string, len(all))
	for i, x := range all {
		parts[i] = lang.Query{Where: x}.String()
	}
	return strings.Join(parts, " ")
}
