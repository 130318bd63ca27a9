package detect

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/sonae/sonae/detect/correlate"
	"github.com/sonae/sonae/detect/sigma"
)

// plan is how correlations hang together.
type plan struct {
	nodes  []*node
	feeds  map[string][]edge // id of a rule → who counts its matches
	silent map[string]bool   // rules that are no findings of their own
}

// node is a correlation in force.
type node struct {
	*sigma.Correlation
	shown     Rule
	threshold bool              // made of the key "threshold": groups by host, too
	silent    bool              // only other correlations want to know
	below     []string          // ids of what it refers to; none for a threshold
	up        []edge            // who counts its firings
	digest    [sha256.Size]byte // of all that says when it fires
	window    *correlate.Window[evidence]
}

// edge leads to a correlation, as one of the rules it refers to.
type edge struct {
	to  *node
	ref int
}

// maxChain bounds how many correlations may stand on each other.
const maxChain = 8

// planning resolves references.
type planning struct {
	*loading
	plan  *plan
	named map[string][]string // name or id → ids
	rules map[string]*sigma.Rule
	todo  map[string]*sigma.Correlation
	nodes map[string]*node // by id; a threshold stands for its rule
	under []string         // the correlations that are being resolved, outermost first
	speak map[string]bool  // what some correlation generates
}

// plan resolves what correlations refer to. One that cannot be resolved is
// rejected.
func (l *loading) plan() *plan {
	p := &planning{loading: l, plan: &plan{feeds: map[string][]edge{}, silent: map[string]bool{}},
		named: map[string][]string{}, rules: map[string]*sigma.Rule{}, todo: map[string]*sigma.Correlation{}, nodes: map[string]*node{}, speak: map[string]bool{}}
	for _, r := range l.rules {
		p.rules[r.ID] = r
		p.name(r)
		if r.Threshold != nil {
			n := &node{Correlation: thresholdOf(r), threshold: true, digest: l.sources[r.ID]}
			p.add(n)
			p.plan.feeds[r.ID] = append(p.plan.feeds[r.ID], edge{n, 0})
			p.plan.silent[r.ID] = true
		}
	}
	for _, c := range l.correlations {
		p.todo[c.ID] = c
		p.name(&c.Rule)
	}
	for _, c := range l.correlations {
		if err := p.resolve(c); err != nil {
			l.reject(&c.Rule, err.Error())
			continue
		}
		l.loaded(&c.Rule)
	}
	p.quieten()
	return p.plan
}

func (p *planning) name(r *sigma.Rule) {
	if r.Name != "" && r.Name != r.ID {
		p.named[r.Name] = append(p.named[r.Name], r.ID)
	}
}

// thresholdOf makes a correlation of the key "threshold".
func thresholdOf(r *sigma.Rule) *sigma.Correlation {
	c := &sigma.Correlation{Rule: *r, Refs: []string{r.ID}, GroupBy: r.Threshold.By}
	c.Config = correlate.Config{Kind: correlate.EventCount, Rules: 1, Span: r.Threshold.Window,
		Tests: []correlate.Test{{Op: correlate.GTE, N: float64(r.Threshold.Count)}}}
	if r.Threshold.Distinct != "" {
		c.Config.Kind, c.Fields = correlate.ValueCount, []string{r.Threshold.Distinct}
	}
	return c
}

func (p *planning) add(n *node) {
	n.shown = show(&n.Rule)
	n.window = correlate.New[evidence](n.Config)
	p.nodes[n.ID] = n
	p.plan.nodes = append(p.plan.nodes, n)
}

// resolve makes the node of a correlation and of those it stands on.
func (p *planning) resolve(c *sigma.Correlation) error {
	if p.nodes[c.ID] != nil {
		return nil
	}
	for _, id := range p.under {
		if id == c.ID {
			return fmt.Errorf("the correlation refers to itself: %s", strings.Join(append(p.under, c.ID), " → "))
		}
	}
	if len(p.under) >= maxChain {
		return fmt.Errorf("more than %d correlations stand on each other", maxChain)
	}
	p.under = append(p.under, c.ID)
	defer func() { p.under = p.under[:len(p.under)-1] }()
	ids, digest, err := p.below(c)
	if err != nil {
		return err
	}
	n := &node{Correlation: c, digest: digest, below: ids}
	p.add(n)
	for i, id := range ids {
		if below := p.nodes[id]; below != nil {
			below.up = append(below.up, edge{n, i})
		} else {
			p.plan.feeds[id] = append(p.plan.feeds[id], edge{n, i})
		}
		p.speak[id] = p.speak[id] || c.Generate
	}
	return nil
}

// below returns the ids of what a correlation refers to, and the digest of it
// all: of its own file and theirs, down to the rules.
func (p *planning) below(c *sigma.Correlation) (ids []string, digest [sha256.Size]byte, err error) {
	h := sha256.New()
	own := p.sources[c.ID]
	h.Write(own[:])
	for _, ref := range c.Refs {
		id, err := p.find(ref)
		if err != nil {
			return nil, digest, err
		}
		source := p.sources[id]
		if n := p.nodes[id]; n != nil {
			source = n.digest
		}
		h.Write(source[:])
		ids = append(ids, id)
	}
	h.Sum(digest[:0])
	return ids, digest, nil
}

// find returns the id of the rule or correlation that a reference means; a
// correlation is resolved then.
func (p *planning) find(ref string) (string, error) {
	id := ref
	if p.rules[ref] == nil && p.todo[ref] == nil {
		switch ids := p.named[ref]; len(ids) {
		case 0:
			return "", fmt.Errorf("there is no rule %q, or it was rejected", ref)
		case 1:
			id = ids[0]
		default:
			return "", fmt.Errorf("several rules are called %q: %s", ref, strings.Join(ids, ", "))
		}
	}
	if c := p.todo[id]; c != nil {
		if err := p.resolve(c); err != nil {
			return "", err
		}
	}
	return id, nil
}

// quieten makes those silent that only correlations use: the specification
// wants a rule that one refers to as a finding of its own only where some
// correlation says "generate".
func (p *planning) quieten() {
	for id, speaks := range p.speak {
		if n := p.nodes[id]; n != nil {
			n.silent = !speaks
			continue
		}
		p.plan.silent[id] = !speaks
	}
}
