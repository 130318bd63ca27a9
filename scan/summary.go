package scan

import (
	"cmp"
	"slices"
	"time"

	"github.com/sonae/sonae/event"
)

// Summary is what a result says as a whole.
type Summary struct {
	Levels      [event.Critical + 1]int
	Rules       []RuleCount // the gravest first, then the most frequent
	Hosts       []HostCount // likewise
	MoreHosts   int         // findings on hosts beyond maxHosts
	First, Last time.Time   // of findings; zero when none has a time
	Steps       []Step      // findings over time, oldest first; none when no finding has a time
	StepSize    time.Duration
}

// RuleCount counts the findings of a rule.
type RuleCount struct {
	Rule        Rule
	Findings    int
	Hosts       int // different ones, at most maxHosts
	First, Last time.Time
}

// HostCount counts the findings on a host; Host is "" where none is named.
type HostCount struct {
	Host        string
	Levels      [event.Critical + 1]int
	Findings    int
	Worst       event.Severity
	First, Last time.Time
}

// Step counts the findings from At on, for StepSize.
type Step struct {
	At     time.Time
	Levels [event.Critical + 1]int
}

// Findings counts them all.
func (s Step) Findings() (n int) {
	for _, c := range s.Levels {
		n += c
	}
	return n
}

// maxHosts bounds the hosts that are told apart, maxSteps the columns of the
// timeline.
const (
	maxHosts = 10000
	maxSteps = 60
)

// Summary counts the findings. It reads them all, twice.
func (r *Result) Summary() (*Summary, error) {
	s := &Summary{}
	rules, hosts := map[string]*RuleCount{}, map[string]*HostCount{}
	pairs := map[[2]string]bool{}
	err := r.Each(func(f Finding) error {
		s.Levels[f.Rule.Level]++
		span(&s.First, &s.Last, f.Time)
		rc := rules[f.Rule.ID]
		if rc == nil {
			rc = &RuleCount{Rule: f.Rule}
			rules[f.Rule.ID] = rc
		}
		rc.add(f, pairs)
		h := hosts[f.Host]
		if h == nil {
			if len(hosts) == maxHosts {
				s.MoreHosts++
				return nil
			}
			h = &HostCount{Host: f.Host}
			hosts[f.Host] = h
		}
		h.add(f)
		return nil
	}, nil)
	if err != nil {
		return nil, err
	}
	s.order(rules, hosts)
	return s, r.steps(s)
}

func span(first, last *time.Time, t time.Time) {
	if t.IsZero() {
		return
	}
	if first.IsZero() || t.Before(*first) {
		*first = t
	}
	if t.After(*last) {
		*last = t
	}
}

func (c *RuleCount) add(f Finding, pairs map[[2]string]bool) {
	c.Findings++
	c.Rule.Level = max(c.Rule.Level, f.Rule.Level)
	span(&c.First, &c.Last, f.Time)
	if k := [2]string{f.Rule.ID, f.Host}; len(pairs) < 10*maxHosts && !pairs[k] {
		pairs[k] = true
		c.Hosts++
	}
}

func (h *HostCount) add(f Finding) {
	h.Findings++
	h.Levels[f.Rule.Level]++
	h.Worst = max(h.Worst, f.Rule.Level)
	span(&h.First, &h.Last, f.Time)
}

func (s *Summary) order(rules map[string]*RuleCount, hosts map[string]*HostCount) {
	for _, c := range rules {
		s.Rules = append(s.Rules, *c)
	}
	slices.SortFunc(s.Rules, func(a, b RuleCount) int {
		return cmp.Or(cmp.Compare(b.Rule.Level, a.Rule.Level), cmp.Compare(b.Findings, a.Findings), cmp.Compare(a.Rule.ID, b.Rule.ID))
	})
	for _, h := range hosts {
		s.Hosts = append(s.Hosts, *h)
	}
	slices.SortFunc(s.Hosts, func(a, b HostCount) int {
		return cmp.Or(cmp.Compare(b.Worst, a.Worst), cmp.Compare(b.Findings, a.Findings), cmp.Compare(a.Host, b.Host))
	})
}

// stepSizes are what a column of the timeline may stand for.
var stepSizes = [...]time.Duration{time.Second, 10 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour,
	3 * time.Hour, 6 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour, 30 * 24 * time.Hour, 365 * 24 * time.Hour}

// steps counts the findings over time, in at most maxSteps columns.
func (r *Result) steps(s *Summary) error {
	if s.First.IsZero() {
		return nil
	}
	for _, d := range stepSizes {
		s.StepSize = d
		if s.Last.Sub(s.First.Truncate(d))/d < maxSteps {
			break
		}
	}
	for s.Last.Sub(s.First.Truncate(s.StepSize))/s.StepSize >= maxSteps { // centuries: clocks were wrong
		s.StepSize *= 2
	}
	begin := s.First.Truncate(s.StepSize)
	s.Steps = make([]Step, s.Last.Sub(begin)/s.StepSize+1)
	for i := range s.Steps {
		s.Steps[i].At = begin.Add(time.Duration(i) * s.StepSize)
	}
	return r.Each(func(f Finding) error {
		if !f.Time.IsZero() {
			s.Steps[min(int(f.Time.Sub(begin)/s.StepSize), len(s.Steps)-1)].Levels[f.Rule.Level]++
		}
		return nil
	}, nil)
}
