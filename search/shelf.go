package search

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/detect/baseline"
	"github.com/sonae/sonae/detect/ioc"
	"github.com/sonae/sonae/detect/sigma"
	"github.com/sonae/sonae/detect/tuning"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
)

// Listed is a rule as the list shows it.
type Listed struct {
	detect.Info
	Origin Origin
	Tally
	Share   float64 // of the time that all conditions cost, 0 to 1
	Heard   bool    // a log source that it is about sent something in a month
	Off     bool    // it says nothing: disabled
	Changes int     // suppressions and other levels in force
}

// Level is the one that its findings have, where a change for all its events
// says so.
func (l Listed) level(changes []Tuned) event.Severity {
	for _, c := range changes {
		if c.Kind == tuning.Relevel && len(c.When) == 0 {
			return c.Level
		}
	}
	return l.Rule.Level
}

// Shown is a part of the rules that a list can be narrowed to.
type Shown string

// Parts of the rules.
const (
	ShownAll     Shown = ""
	ShownHit     Shown = "hit"     // matched in a month
	ShownUnheard Shown = "unheard" // can never fire on what comes in
	ShownChanged Shown = "changed" // with changes in force
	ShownOff     Shown = "off"     // disabled
)

// RuleFilter selects rules. Zero fields select all.
type RuleFilter struct {
	Text   string // part of the title, id, tags, author or description
	Level  string // as event.Severity writes it
	Source string // part of "product category service"
	Origin Origin
	Shown  Shown
	Limit  int // 50 when 0
	Offset int
}

// RuleList is a page of the rules in force, and what people must know beside.
type RuleList struct {
	Rules    []Listed
	Total    int               // that the filter selects
	All      int               // in force
	Unheard  int               // of them that can never fire on what comes in
	Rejected []detect.Rejected // files and rules that could not be taken
	Sources  []SeenSource      // what comes in
	Trouble  string            // why the newest rules could not be loaded; "" when they are
	LoadedAt time.Time
}

// List lists rules: those that matched first, by their hits, then by title.
func (b *Rulebook) List(ctx context.Context, f RuleFilter) (RuleList, error) {
	all, sources, err := b.all(ctx)
	if err != nil {
		return RuleList{}, err
	}
	out := RuleList{All: len(all), Sources: sources, Rejected: b.engine.Load().Report().Rejected}
	if t := b.trouble.Load(); t != nil {
		out.Trouble = *t
	}
	if at := b.loadedAt.Load(); at != nil {
		out.LoadedAt = *at
	}
	var chosen []Listed
	for _, l := range all {
		if !l.Heard && !l.Off {
			out.Unheard++
		}
		if f.selects(l) {
			chosen = append(chosen, l)
		}
	}
	slices.SortStableFunc(chosen, func(x, y Listed) int {
		return cmp.Or(cmp.Compare(y.Hits, x.Hits), strings.Compare(x.Title.In("en"), y.Title.In("en")), strings.Compare(x.ID, y.ID))
	})
	if f.Limit <= 0 {
		f.Limit = 50
	}
	out.Total = len(chosen)
	out.Rules = chosen[min(f.Offset, len(chosen)):min(f.Offset+f.Limit, len(chosen))]
	return out, nil
}

func (f RuleFilter) selects(l Listed) bool {
	isFrom := func(s sigma.Logsource) bool {
		return has(strings.Join([]string{s.Product, s.Category, s.Service}, " "), f.Source)
	}
	switch {
	case f.Level != "" && l.Rule.Level.String() != f.Level,
		f.Origin != "" && l.Origin != f.Origin,
		f.Source != "" && !slices.ContainsFunc(l.Looks, isFrom),
		f.Shown == ShownHit && l.Hits == 0,
		f.Shown == ShownUnheard && (l.Heard || l.Off),
		f.Shown == ShownChanged && l.Changes == 0,
		f.Shown == ShownOff && !l.Off:
		return false
	}
	return f.Text == "" || has(l.ID, f.Text) || has(l.Title["ja"], f.Text) || has(l.Title["en"], f.Text) || has(l.Author, f.Text) ||
		has(l.Description, f.Text) || has(strings.Join(l.Tags, " "), f.Text)
}

func has(text, part string) bool {
	return strings.Contains(strings.ToLower(text), strings.ToLower(strings.TrimSpace(part)))
}

// all are the rules in force and those that people made and disabled.
func (b *Rulebook) all(ctx context.Context) ([]Listed, []SeenSource, error) {
	sources, err := b.Sources(ctx)
	if err != nil {
		return nil, nil, err
	}
	tallies, err := b.tallies(ctx)
	if err != nil {
		return nil, nil, err
	}
	changes, err := b.inForce(ctx)
	if err != nil {
		return nil, nil, err
	}
	engine := b.engine.Load()
	infos := engine.Infos()
	var cost time.Duration
	for _, i := range infos {
		cost += i.Cost
	}
	var out []Listed
	for _, i := range infos {
		l := Listed{Info: i, Origin: originOf(i), Tally: tallies[i.ID], Heard: engine.Heard(i.ID, func(l sigma.Logsource) bool { return heard(l, sources) })}
		if cost > 0 {
			l.Share = float64(i.Cost) / float64(cost)
		}
		l.take(changes[i.ID])
		out = append(out, l)
	}
	off, err := b.disabled(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, i := range off {
		out = append(out, Listed{Info: i, Origin: Made, Tally: tallies[i.ID], Heard: slices.ContainsFunc(i.Looks, func(l sigma.Logsource) bool { return heard(l, sources) }), Off: true})
	}
	return out, sources, nil
}

// take adds what the changes in force mean for the rule.
func (l *Listed) take(changes []Tuned) {
	l.Rule.Level = l.level(changes)
	for _, c := range changes {
		if c.Kind == tuning.Disable {
			l.Off = true
			continue
		}
		l.Changes++
	}
}

// heard says whether the records that a rule needs come in. Behaviours are rare
// and made of others, which must come in; what a threat list names is found in
// all that comes in.
func heard(l sigma.Logsource, sources []SeenSource) bool {
	if l.Category == ioc.Category {
		return len(sources) > 0
	}
	if l.Category == baseline.Category {
		l = sigma.Logsource{Category: baseline.MadeOf(l.Service)}
	}
	return slices.ContainsFunc(sources, func(s SeenSource) bool { return s.Fits(l) })
}

// inForce are the changes in force by rule.
func (b *Rulebook) inForce(ctx context.Context) (map[string][]Tuned, error) {
	list, err := b.open(ctx)
	if err != nil {
		return nil, err
	}
	out, now := map[string][]Tuned{}, b.now()
	for _, c := range list {
		if c.State(now) == InForce {
			out[c.Rule] = append(out[c.Rule], c)
		}
	}
	return out, nil
}

// disabled are the rules that people made and disabled, read anew.
func (b *Rulebook) disabled(ctx context.Context) ([]detect.Info, error) {
	list, err := b.Rules(ctx)
	if err != nil {
		return nil, err
	}
	var out []detect.Info
	for _, r := range list {
		if r.Watches() {
			continue
		}
		if i, err := b.infoOf(r); err == nil { // it could be read when it was enabled
			out = append(out, i)
		}
	}
	return out, nil
}

func (b *Rulebook) infoOf(r Rule) (detect.Info, error) {
	read, err := b.readRule(r.YAML)
	if err != nil { // a correlation whose rules are gone
		return detect.Info{}, err
	}
	if i, ok := read.engine.Info(r.ID); ok {
		return i, nil
	}
	return detect.Info{}, fmt.Errorf("rule %s: %w", r.ID, fs.ErrNotExist)
}

// Opened is one rule with all that is known of it.
type Opened struct {
	Listed
	YAML    string
	Stale   bool              // the file is not any more what was loaded
	Why     *Reason           // its condition, without an event; nil while it is not in force
	Sources []SeenSource      // of this installation that it is about
	Made    *Rule             // for those that people made
	Tuned   []Tuned           // the newest 50 changes
	Held    map[string]uint64 // events that each change applied to since the hub started
}

// Open returns one rule. Missing when nobody knows it.
func (b *Rulebook) Open(ctx context.Context, id string) (Opened, error) {
	all, sources, err := b.all(ctx)
	if err != nil {
		return Opened{}, err
	}
	at := slices.IndexFunc(all, func(l Listed) bool { return l.ID == id })
	if at < 0 {
		return Opened{}, fault.New(fault.Missing, "rule.unknown", id)
	}
	out := Opened{Listed: all[at], Held: b.engine.Held()}
	for _, s := range sources {
		if slices.ContainsFunc(out.Looks, s.Fits) {
			out.Sources = append(out.Sources, s)
		}
	}
	if out.Tuned, _, err = b.Changes(ctx, id, 50, 0); err != nil {
		return Opened{}, err
	}
	if out.Origin == Made {
		err = b.openMade(ctx, &out)
	} else {
		b.openText(&out)
	}
	return out, err
}

func (b *Rulebook) openMade(ctx context.Context, o *Opened) error {
	list, err := b.Rules(ctx)
	if err != nil {
		return err
	}
	for _, r := range list {
		if r.ID == o.ID {
			o.Made, o.YAML = &r, r.YAML
		}
	}
	o.explain(b.engine.Load())
	return nil
}

func (b *Rulebook) openText(o *Opened) {
	engine := b.engine.Load()
	var err error
	if o.YAML, o.Stale, err = engine.Source(o.ID); err != nil { // the file went; the rule is in force still
		b.log.Warn("text of a rule cannot be read", "rule", o.ID, "err", err)
		o.Stale = true
	}
	o.explain(engine)
}

func (o *Opened) explain(e *detect.Engine) { o.Why = reason(e, o.ID, nil) }

// Reason is why a rule speaks of an event: its condition, and how many events
// it needs.
type Reason struct {
	sigma.Explanation
	Threshold *sigma.Threshold // nil: every match is a finding
	Counts    *detect.Counts   // of a correlation, which has no condition of its own; else nil
}

func reason(e *detect.Engine, rule string, of *event.Event) *Reason {
	i, ok := e.Info(rule)
	if !ok {
		return nil
	}
	why, _ := e.Explain(rule, of)
	return &Reason{why, i.Threshold, i.Counts}
}

// Explain says why a rule in force speaks of an event; nil for a rule that is
// not in force.
func (b *Rulebook) Explain(rule string, e event.Event) *Reason {
	return reason(b.engine.Load(), rule, &e)
}

// textOf is the text of a rule in force.
func (b *Rulebook) textOf(id string) (string, error) {
	text, _, err := b.engine.Load().Source(id)
	if err != nil {
		return "", fault.New(fault.Missing, "rule.unknown", id).With(err)
	}
	return text, nil
}

// SwitchOff makes a rule say nothing, whoever it comes from; a reason is
// needed.
func (b *Rulebook) SwitchOff(ctx context.Context, id, reason string, by auth.Person) error {
	i, ok := b.engine.Load().Info(id)
	if ok && originOf(i) != Made {
		if reason = strings.TrimSpace(reason); reason == "" || len(reason) > maxReason {
			return fault.New(fault.Invalid, "rule.reason")
		}
		if off, err := b.inForce(ctx); err != nil {
			return err
		} else if slices.ContainsFunc(off[id], func(t Tuned) bool { return t.Kind == tuning.Disable }) {
			return fault.New(fault.Conflict, "rule.off", id)
		}
		_, err := b.Tune(ctx, tuning.Change{Rule: id, Kind: tuning.Disable, Owner: cmp.Or(by.Name, by.Login, by.ID), Reason: reason}, by)
		return err
	}
	return b.Disable(ctx, id, reason, by)
}

// SwitchOn lets a rule speak again; a reason is needed.
func (b *Rulebook) SwitchOn(ctx context.Context, id, reason string, by auth.Person) error {
	if reason = strings.TrimSpace(reason); reason == "" || len(reason) > maxReason {
		return fault.New(fault.Invalid, "rule.reason")
	}
	changes, err := b.inForce(ctx)
	if err != nil {
		return err
	}
	for _, c := range changes[id] {
		if c.Kind == tuning.Disable {
			return b.EndTuned(ctx, c.ID, reason, by)
		}
	}
	list, err := b.Rules(ctx)
	if err != nil {
		return err
	}
	for _, r := range list {
		if r.ID == id && !r.Watches() {
			_, err := b.Enable(ctx, r.YAML, by)
			return err
		}
	}
	return fault.New(fault.Conflict, "rule.on", id)
}
