package rule

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"text/tabwriter"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/event"
)

// list names every rule, and those that cannot be used with the reason.
func (c *call) list() int {
	engine, report, ok := c.load()
	if !ok {
		return unusable
	}
	levels := map[string]event.Severity{}
	for _, r := range engine.Rules() {
		levels[r.ID] = r.Level
	}
	table := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	for _, l := range report.Loaded {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s:%d\t%s\n", l.ID, levels[l.ID], l.Title, l.File, l.Line, l.Author)
	}
	_ = table.Flush() // the terminal has gone
	return c.rejected(report)
}

// stats counts rules by level, log source and modifier, and says which of them
// cannot fire on given events.
func (c *call) stats() int {
	engine, report, ok := c.load()
	if !ok {
		return unusable
	}
	c.levels(engine, report)
	scopes := engine.Scopes()
	sources := map[string]int{}
	for _, s := range scopes {
		sources[sourceName(s)]++
	}
	c.table(c.t("stats.sources"), sources)
	uses, err := modifiers(c.paths)
	if err != nil {
		c.say(err.Error())
		return unusable
	}
	c.table(c.t("stats.modifiers"), uses)
	if len(c.events) > 0 && !c.silent(engine) {
		return unusable
	}
	if len(report.Rejected) > 0 {
		return bad
	}
	return good
}

func (c *call) levels(engine *detect.Engine, report detect.Report) {
	levels := map[event.Severity]int{}
	for _, r := range engine.Rules() {
		levels[r.Level]++
	}
	fmt.Fprintf(c.out, "loaded %d\n", len(report.Loaded))
	for s := event.Critical; s >= event.Info; s-- {
		if levels[s] > 0 {
			fmt.Fprintf(c.out, "  %s %d\n", s, levels[s])
		}
	}
	unbuilt := 0
	reasons := map[string]int{}
	for _, r := range report.Rejected {
		if r.Unbuilt {
			unbuilt++
		}
		reasons[r.Reason]++
	}
	fmt.Fprintf(c.out, "rejected %d, of them not supported %d\n", len(report.Rejected), unbuilt)
	for _, r := range slices.Sorted(maps.Keys(reasons)) {
		fmt.Fprintf(c.out, "  %d %s\n", reasons[r], r)
	}
}

// table prints counts, the largest first.
func (c *call) table(head string, counts map[string]int) {
	fmt.Fprintf(c.out, "\n%s\n", head)
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	for _, n := range names {
		fmt.Fprintf(c.out, "%7d  %s\n", counts[n], n)
	}
}

// silent names the rules that cannot fire on the events that were given.
func (c *call) silent(engine *detect.Engine) bool {
	r, ok := c.scanned(engine)
	if !ok {
		return false
	}
	defer r.Close() // a temporary file that stays is found by the system
	b := r.Blind()
	fmt.Fprintf(c.out, "\n%s\n", c.t("stats.silent", "events", fmt.Sprint(r.Stats.Events)))
	for _, u := range b.Unseen {
		fmt.Fprintf(c.out, "%7d  %s\n", u.Rules, c.t("stats.unseen", "source", u.Name))
	}
	for _, s := range b.Starved {
		fmt.Fprintf(c.out, "         %s\n", c.t("stats.starved", "rule", s.Rule.ID, "title", s.Rule.Title, "fields", join(s.Fields)))
	}
	for _, s := range b.Unruled {
		fmt.Fprintf(c.out, "         %s\n", c.t("stats.unruled", "source", s.Name(), "events", fmt.Sprint(s.Events)))
	}
	return true
}
