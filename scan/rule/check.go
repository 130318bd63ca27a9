package rule

import (
	"bytes"
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/detect/pack"
	"github.com/sonae/sonae/detect/rules"
	"github.com/sonae/sonae/scan"
)

// check looks for what is wrong or unwise in rules.
func (c *call) check() int {
	engine, report, ok := c.load()
	if !ok {
		return unusable
	}
	docs, err := documents(c.paths)
	if err != nil {
		c.say(err.Error())
		return unusable
	}
	status := c.rejected(report)
	where := map[string]string{}
	for _, l := range report.Loaded {
		where[l.ID] = fmt.Sprintf("%s:%d", l.File, l.Line)
	}
	warnings := 0
	var costs []cost
	for _, s := range engine.Scopes() {
		d := docs[s.Rule.ID]
		for _, w := range slices.Concat(c.form(d), c.fields(s)) {
			fmt.Fprintf(c.out, "%s: %s\n", where[s.Rule.ID], w)
			warnings++
		}
		costs = append(costs, costOf(s, d))
	}
	fmt.Fprintln(c.out, c.t("check.sum", "rules", fmt.Sprint(len(report.Loaded)), "rejected", fmt.Sprint(len(report.Rejected)), "warnings", fmt.Sprint(warnings)))
	c.costs(costs)
	if len(c.events) > 0 && !c.noise(engine) {
		return unusable
	}
	return status
}

// document is a rule as it is written.
type document struct {
	keys      []string
	modifiers map[string]bool
	short     bool // looks for text of fewer than 3 characters within a value
}

// knownKeys are what the specification and Sonae give a meaning.
var knownKeys = []string{"title", "id", "name", "related", "status", "description", "references", "author", "date", "modified", "license", "taxonomy",
	"logsource", "detection", "fields", "falsepositives", "level", "tags", "scope", "sonae", "threshold", "correlation", "filter", "action", "generate"}

// documents reads the rules once more, by id, as they are written.
func documents(paths []string) (map[string]document, error) {
	trees := []fs.FS{rules.FS}
	if len(paths) > 0 {
		trees = nil
	}
	for _, p := range paths {
		tree, err := pack.Tree(p)
		if err != nil {
			return nil, err
		}
		trees = append(trees, tree)
	}
	all := map[string]document{}
	for _, tree := range trees {
		err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
			if ext := strings.ToLower(path.Ext(name)); err != nil || d.IsDir() || ext != ".yml" && ext != ".yaml" {
				return err
			}
			b, err := fs.ReadFile(tree, name)
			if err != nil {
				return err
			}
			inFile(b, func(id string, d document) { all[id] = d })
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// inFile reads the documents of a file, as far as they can be read; what
// cannot be, the report of loading names.
func inFile(text []byte, each func(id string, d document)) {
	for dec := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var doc map[string]yaml.Node
		if err := dec.Decode(&doc); err != nil {
			return
		}
		d := document{keys: slices.Sorted(maps.Keys(doc)), modifiers: map[string]bool{}}
		if detection := doc["detection"]; detection.Kind == yaml.MappingNode {
			for i := 0; i+1 < len(detection.Content); i += 2 {
				if name := detection.Content[i].Value; name != "condition" && name != "timeframe" {
					d.node(detection.Content[i+1], 0)
				}
			}
		}
		id := doc["id"]
		each(id.Value, d)
	}
}

// maxDepth bounds how deep selections are looked into.
const maxDepth = 8

func (d *document) node(n *yaml.Node, depth int) {
	if depth > maxDepth {
		return
	}
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			d.field(n.Content[i].Value, n.Content[i+1])
		}
	case yaml.SequenceNode:
		for _, c := range n.Content {
			if c.Kind == yaml.ScalarNode {
				d.modifiers["keywords"] = true
			}
			d.node(c, depth+1)
		}
	}
}

func (d *document) field(name string, value *yaml.Node) {
	_, mods, has := strings.Cut(name, "|")
	if !has {
		d.modifiers["="] = true
	}
	for m := range strings.SplitSeq(mods, "|") {
		if m != "" {
			d.modifiers[m] = true
		}
	}
	if !strings.Contains(mods, "contains") {
		return
	}
	values := value.Content
	if value.Kind == yaml.ScalarNode {
		values = []*yaml.Node{value}
	}
	for _, v := range values {
		if len(strings.Trim(v.Value, "*")) < 3 {
			d.short = true
		}
	}
}

// form says what is missing or unknown in how a rule is written.
func (c *call) form(d document) (warnings []string) {
	for _, key := range []string{"description", "author", "status", "level"} {
		if d.keys != nil && !slices.Contains(d.keys, key) {
			warnings = append(warnings, c.t("check.missing", "key", key))
		}
	}
	for _, key := range d.keys {
		if !slices.Contains(knownKeys, key) {
			warnings = append(warnings, c.t("check.unknown-key", "key", key))
		}
	}
	return warnings
}

// fields says which fields nobody has seen in that log source.
func (c *call) fields(s detect.Scope) (warnings []string) {
	names, ok := fieldsOf(s)
	if !ok {
		return []string{c.t("check.unknown-source", "source", sourceName(s))}
	}
	for _, f := range s.Fields() {
		if names[f] {
			continue
		}
		if like := closest(f, names); like != "" {
			warnings = append(warnings, c.t("check.like-field", "field", f, "source", sourceName(s), "like", like))
			continue
		}
		warnings = append(warnings, c.t("check.unknown-field", "field", f, "source", sourceName(s)))
	}
	return warnings
}

// cost is an estimate of what a rule costs each event, and why.
type cost struct {
	id     string
	points int
	why    []string // keys of the catalogue
}

// dear is from how many points on a rule is named.
const dear = 12

// costOf estimates from how the rule is written: the engine finds literals of
// three letters and more almost for free, and everything else only looks at an
// event when such a literal was there.
func costOf(s detect.Scope, d document) cost {
	c := cost{id: s.Rule.ID, points: 1}
	for _, part := range []struct {
		applies bool
		points  int
		why     string
	}{
		{d.modifiers["keywords"], 8, "keywords"},
		{d.modifiers["re"], 5, "re"},
		{d.modifiers["base64offset"] || d.modifiers["windash"], 1, "variants"},
		{d.short, 3, "short"},
	} {
		if part.applies {
			c.points += part.points
			c.why = append(c.why, part.why)
		}
	}
	if s.Category == "" && s.Service == "" {
		c.points *= 3
		c.why = append(c.why, "wide")
	}
	return c
}

// costs names the dearest rules.
func (c *call) costs(all []cost) {
	slices.SortFunc(all, func(a, b cost) int { return cmp.Or(cmp.Compare(b.points, a.points), cmp.Compare(a.id, b.id)) })
	if len(all) == 0 || all[0].points < dear {
		fmt.Fprintln(c.out, c.t("check.cheap"))
		return
	}
	fmt.Fprintf(c.out, "\n%s\n", c.t("check.dear"))
	for i, x := range all {
		if i == 10 || x.points < dear {
			break
		}
		var why []string
		for _, key := range x.why {
			why = append(why, c.t("cost."+key))
		}
		fmt.Fprintf(c.out, "%7d  %s  %s\n", x.points, x.id, strings.Join(why, ", "))
	}
}

// noisy is from how many findings in 100,000 events on a rule needs a filter.
const noisy = 10

// noise counts what the rules find in logs that are thought to be harmless.
func (c *call) noise(engine *detect.Engine) bool {
	r, ok := c.scanned(engine)
	if !ok {
		return false
	}
	defer r.Close() // a temporary file that stays is found by the system
	sum, err := r.Summary()
	if err != nil {
		c.say(err.Error())
		return false
	}
	fmt.Fprintf(c.out, "\n%s\n", c.t("check.noise", "events", fmt.Sprint(r.Stats.Events)))
	slices.SortStableFunc(sum.Rules, func(a, b scan.RuleCount) int { return cmp.Compare(b.Findings, a.Findings) })
	for _, rc := range sum.Rules {
		rate := float64(rc.Findings) * 1e5 / float64(max(r.Stats.Events, 1))
		word := c.t("check.quiet")
		if rate >= noisy {
			word = c.t("check.noisy")
		}
		fmt.Fprintf(c.out, "%7d  %9.1f  %s  %s  %s\n", rc.Findings, rate, word, rc.Rule.ID, rc.Rule.Title)
	}
	return true
}
