package policy

import (
	"slices"
	"time"
)

// generations is how many of them the ministry's "several generations" are held
// to mean: 安全管理ガイドライン speaks of several (複数世代) without a number, and
// with fewer than three an encrypted one pushes out the last good one.
const generations = fewest

// rules holds a class against 3-2-1-1-0, against the ministry's rule where it
// holds for the data, and against what its owner allows. Each check is that of
// the part that has least.
func rules(c Class, parts []Part, v Cover, now time.Time) []Rule {
	if len(parts) == 0 { // the data itself is there, and nothing else
		parts = []Part{{}}
	}
	three := Rule{Key: "32110", Checks: []Check{
		least("copies", 3, parts, func(p Part) int { return 1 + len(alive(p)) }), // the data itself is one
		least("media", 2, parts, func(p Part) int { return kinds(alive(p)) }),
		least("away", 1, parts, func(p Part) int {
			return count(alive(p), func(x Copy) bool { return x.Site != "" && x.Site != c.Site })
		}),
		least("unreachable", 1, parts, func(p Part) int {
			return count(alive(p), func(x Copy) bool { return x.Reach(now) != "" })
		}),
		flawless(parts, now),
	}}
	all := []Rule{three}
	if c.Medical {
		all = append(all, ministry(parts, v, now))
	}
	return append(all, own(c, v))
}

// ministry is the rule of 診療録管理体制加算 (令和6年度): several methods, several
// generations, a part of it offline, drilled about yearly. An area that can only
// be appended to may stand for offline if recovery from it really works, so it
// counts only with a restore that was proven within a year
// (reference/legal.md §3.4).
func ministry(parts []Part, v Cover, now time.Time) Rule {
	return Rule{Key: "ministry", Checks: []Check{
		least("methods", 2, parts, func(p Part) int { return kinds(alive(p)) }),
		least("generations", generations, parts, func(p Part) int {
			n := 0
			for _, x := range alive(p) {
				n = max(n, x.Generations)
			}
			return n
		}),
		least("offline", 1, parts, func(p Part) int {
			return count(alive(p), func(x Copy) bool {
				return x.Offline || x.Reach(now) != "" && p.Proven(now) == Proven
			})
		}),
		yes("drilled", v.Proof == Proven),
	}}
}

// own is what the owner of the class allows.
func own(c Class, v Cover) Rule {
	loss := Check{Key: "loss", Mark: Unknown, Want: int(c.MaxLoss / time.Hour), Have: -1}
	if v.Loss >= 0 {
		loss.Have = int((v.Loss + time.Hour - 1) / time.Hour)
	}
	if c.MaxLoss > 0 {
		loss.Mark = mark(v.Loss >= 0 && v.Loss <= c.MaxLoss)
	}
	return Rule{Key: "own", Checks: []Check{loss, yes("targets", len(v.Parts) > 0 && !slices.ContainsFunc(v.Parts, lacksTarget)), yes("fresh", len(v.Parts) > 0 && !v.Late)}}
}

// lacksTarget says whether a part has no copy where its policy wants one.
func lacksTarget(p Part) bool {
	return slices.ContainsFunc(p.Policy.Targets, func(m Medium) bool {
		return !slices.ContainsFunc(p.Copies, func(c Copy) bool { return c.Medium == m && c.Counts() })
	})
}

// flawless is the 0 of 3-2-1-1-0: every copy was read back whole within a year,
// and the last restore was proven.
func flawless(parts []Part, now time.Time) Check {
	flaws := 0
	for _, p := range parts {
		flaws += count(p.Copies, func(c Copy) bool { return c.Damage != "" || now.Sub(c.ReadBack) > year })
		if p.Proven(now) != Proven {
			flaws++
		}
	}
	return Check{Key: "zero", Mark: mark(flaws == 0), Have: flaws}
}

// alive are the copies of a part from which something could come back that is of
// use: a tape of last year is none.
func alive(p Part) []Copy {
	return slices.DeleteFunc(slices.Clone(p.Copies), func(c Copy) bool { return !c.Counts() })
}

// Counts says whether a copy is one for the rules.
func (c Copy) Counts() bool { return c.Damage == "" && c.Generations > 0 && !c.TooOld }

func kinds(all []Copy) int {
	seen := map[Medium]bool{}
	for _, c := range all {
		seen[c.Medium] = true
	}
	return len(seen)
}

func count(all []Copy, is func(Copy) bool) int {
	n := 0
	for _, c := range all {
		if is(c) {
			n++
		}
	}
	return n
}

// least is a check of a number, of the part that has least.
func least(key string, want int, parts []Part, have func(Part) int) Check {
	c := Check{Key: key, Want: want}
	for i, p := range parts {
		if n := have(p); i == 0 || n < c.Have {
			c.Have = n
		}
	}
	c.Mark = mark(c.Have >= want)
	return c
}

func yes(key string, met bool) Check {
	c := Check{Key: key, Mark: mark(met), Want: 1}
	if met {
		c.Have = 1
	}
	return c
}

func mark(met bool) Mark {
	if met {
		return Met
	}
	return NotMet
}
