package detect

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/detect/sigma"
	"github.com/sonae/sonae/event"
)

// Adjustment is what somebody decided about a rule: to leave out matches that
// are known and harmless, or to take them for more or less grave. It says who
// decided, why, and until when; after that it no longer holds. It stands in a
// file and is for rules that run over files; a hub records what people change
// with package tuning, and its engines ask only that.
type Adjustment struct {
	Rule     string          // id
	Suppress bool            // leave out, else Level counts
	Level    *event.Severity // instead of the rule's
	Owner    string
	Reason   string
	Until    time.Time // the moment from which it no longer holds
	File     string
	Line     int

	when *sigma.Rule // nil for every match
	hits *atomic.Uint64
}

// Hits is how often it was applied.
func (a Adjustment) Hits() uint64 { return a.hits.Load() }

// Adjustments are applied in their order: the first that fits a match counts.
// They are safe for concurrent use.
type Adjustments struct {
	now  clock.Now
	all  []Adjustment
	by   map[string][]int
	when *sigma.Set // conditions
}

// adjustProduct is the log source of the conditions, so that none of them asks
// where an event came from.
const adjustProduct = "adjustment"

// maxAdjustments bounds a file of adjustments, in bytes.
const maxAdjustments = 1 << 20

// adjustFile is the form of a file.
type adjustFile struct {
	Suppress []yaml.Node `yaml:"suppress"`
	Levels   []yaml.Node `yaml:"levels"`
}

// adjustEntry is one of its entries.
type adjustEntry struct {
	Rule   string    `yaml:"rule"`
	When   yaml.Node `yaml:"when"`
	Level  string    `yaml:"level"`
	Owner  string    `yaml:"owner"`
	Reason string    `yaml:"reason"`
	Until  string    `yaml:"until"`
}

// ReadAdjustments reads files of adjustments, by name. Errors name file and
// line; a file that is not wholly understood is refused, for a suppression that
// is read too widely hides an attack. The date of an expiry is a day in Japan,
// the whole of which it holds.
func ReadAdjustments(files map[string][]byte, names []string, now clock.Now) (*Adjustments, error) {
	a := &Adjustments{now: now, by: map[string][]int{}}
	for _, name := range names {
		if err := a.read(name, files[name]); err != nil {
			return nil, err
		}
	}
	var conditions []*sigma.Rule
	for i := range a.all {
		a.by[a.all[i].Rule] = append(a.by[a.all[i].Rule], i)
		if a.all[i].when != nil {
			conditions = append(conditions, a.all[i].when)
		}
	}
	a.when = sigma.NewSet(conditions)
	return a, nil
}

func (a *Adjustments) read(name string, data []byte) error {
	if len(data) > maxAdjustments {
		return fmt.Errorf("%s: the file is larger than %d bytes", name, maxAdjustments)
	}
	var f adjustFile
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(&f); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: %w", name, err)
	}
	for i := range f.Suppress {
		if err := a.add(name, &f.Suppress[i], true); err != nil {
			return err
		}
	}
	for i := range f.Levels {
		if err := a.add(name, &f.Levels[i], false); err != nil {
			return err
		}
	}
	return nil
}

func (a *Adjustments) add(file string, n *yaml.Node, suppress bool) error {
	wrong := func(err error) error { return fmt.Errorf("%s:%d: %w", file, n.Line, err) }
	var e adjustEntry
	if err := strict(n, &e); err != nil {
		return wrong(err)
	}
	adj := Adjustment{Rule: e.Rule, Suppress: suppress, Owner: e.Owner, Reason: e.Reason, File: file, Line: n.Line, hits: new(atomic.Uint64)}
	for key, value := range map[string]string{"rule": e.Rule, "owner": e.Owner, "reason": e.Reason, "until": e.Until} {
		if value == "" {
			return wrong(fmt.Errorf("%s is missing", key))
		}
	}
	day, err := time.ParseInLocation(time.DateOnly, e.Until, clock.Tokyo())
	if err != nil {
		return wrong(fmt.Errorf("until: %q is no day such as 2027-03-31", e.Until))
	}
	adj.Until = day.AddDate(0, 0, 1)
	switch {
	case suppress && e.Level != "":
		return wrong(errors.New("level: what is suppressed has none"))
	case !suppress:
		level, err := event.ParseSeverity(e.Level)
		if err != nil {
			return wrong(fmt.Errorf("level: %w", err))
		}
		adj.Level = &level
	}
	if e.When.Kind != 0 {
		if adj.when, err = condition(&e.When, len(a.all)); err != nil {
			return wrong(fmt.Errorf("when: %w", err))
		}
	}
	a.all = append(a.all, adj)
	return nil
}

// strict decodes n and refuses what into does not know.
func strict(n *yaml.Node, into any) error {
	text, err := yaml.Marshal(n)
	if err != nil {
		return err
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	return d.Decode(into)
}

// condition makes a rule of a selection, so that all of Sigma's modifiers can
// be used.
func condition(when *yaml.Node, number int) (*sigma.Rule, error) {
	text, err := yaml.Marshal(map[string]any{
		"title": "when", "id": fmt.Sprint(number), "logsource": map[string]string{"product": adjustProduct},
		"detection": map[string]any{"selection": when, "condition": "selection"},
	})
	if err != nil {
		return nil, err
	}
	rules, _, bad := sigma.Parse("when", text)
	if len(bad) > 0 {
		return nil, errors.New(bad[0].Reason)
	}
	if len(rules) != 1 {
		return nil, errors.New("no selection")
	}
	return rules[0], nil
}

// List returns all adjustments, those that no longer hold too.
func (a *Adjustments) List() []Adjustment { return a.all }

// Expired returns those that no longer hold: whoever owns them has to decide
// again.
func (a *Adjustments) Expired() []Adjustment {
	var out []Adjustment
	for _, adj := range a.all {
		if !a.now().Before(adj.Until) {
			out = append(out, adj)
		}
	}
	return out
}

// find returns the first adjustment of a rule that holds and fits, nil when
// there is none. a may be nil. matching calls hit for the conditions that the
// event fulfils; it is asked only when there are conditions.
func (a *Adjustments) find(rule string, matching func(set *sigma.Set, hit func(*sigma.Rule))) *Adjustment {
	if a == nil || len(a.by[rule]) == 0 {
		return nil
	}
	var met map[*sigma.Rule]bool
	now := a.now()
	for _, i := range a.by[rule] {
		adj := &a.all[i]
		if !now.Before(adj.Until) {
			continue
		}
		if adj.when != nil && met == nil {
			met = map[*sigma.Rule]bool{}
			matching(a.when, func(r *sigma.Rule) { met[r] = true })
		}
		if adj.when == nil || met[adj.when] {
			adj.hits.Add(1)
			return adj
		}
	}
	return nil
}

// findEvent is find for an event as the hub has it.
func (a *Adjustments) findEvent(rule string, e event.Event) *Adjustment {
	return a.find(rule, func(set *sigma.Set, hit func(*sigma.Rule)) {
		set.Match(sigma.Event{Source: sigma.Source{Product: adjustProduct}, Fields: e.Fields, Raw: e.Raw}, hit)
	})
}

// Adjust lets a apply to what the engine finds from now on; nil is none. What
// is suppressed is neither a finding nor counted. The engine of a Switch does
// not ask a.
func (e *Engine) Adjust(a *Adjustments) { e.adjust.Store(a) }

// spoken says whether a rule may speak of an event, and what is shown of it
// then, after what people changed about it. hit says that it is to be counted
// as one of the rule's.
func (e *Engine) spoken(r Rule, ev event.Event, hit bool) (Rule, bool) {
	if e.watch != nil {
		return e.watch.judge(r, &ev, hit)
	}
	adj := e.adjust.Load().findEvent(r.ID, ev)
	return adj.graded(r), !adj.suppresses()
}

func (a *Adjustment) suppresses() bool { return a != nil && a.Suppress }

// graded is the rule with the level that was decided; a may be nil.
func (a *Adjustment) graded(r Rule) Rule {
	if a != nil && a.Level != nil {
		r.Level = *a.Level
	}
	return r
}
