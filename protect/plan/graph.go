package plan

import (
	"slices"
)

// cycle returns the names along a way that leads back to where it began, nil
// when there is none.
func (p *Plan) cycle() []string {
	const (
		entered = 1
		left    = 2
	)
	state := map[string]int{}
	var trail []string
	var walk func(key string) []string
	walk = func(key string) []string {
		trail = append(trail, key)
		state[key] = entered
		for _, need := range p.Service(key).After {
			switch state[need] {
			case entered:
				return append(slices.Clone(trail[slices.Index(trail, need):]), need)
			case left:
				continue
			}
			if way := walk(need); way != nil {
				return way
			}
		}
		state[key] = left
		trail = trail[:len(trail)-1]
		return nil
	}
	for _, s := range p.Services {
		if state[s.Key] != 0 {
			continue
		}
		if way := walk(s.Key); way != nil {
			slices.Reverse(way) // what is needed comes first
			for i, key := range way {
				way[i] = p.Service(key).Name.In("ja")
			}
			return way
		}
	}
	return nil
}

// sort puts each service behind what it needs, else leaves the order as it is.
func (p *Plan) sort() {
	var out []Service
	done := map[string]bool{}
	for len(out) < len(p.Services) {
		for _, s := range p.Services {
			if !done[s.Key] && !slices.ContainsFunc(s.After, func(need string) bool { return !done[need] }) {
				out, done[s.Key] = append(out, s), true
				break
			}
		}
	}
	p.Services = out
}

// Layers are the keys of the services by how many others must run before them
// one after the other. Within a layer, services stand near what they need.
func (p *Plan) Layers() [][]string {
	depth := map[string]int{}
	var layers [][]string
	for _, s := range p.Services { // each stands behind what it needs
		d := 0
		for _, need := range s.After {
			d = max(d, depth[need]+1)
		}
		depth[s.Key] = d
		for len(layers) <= d {
			layers = append(layers, nil)
		}
		layers[d] = append(layers[d], s.Key)
	}
	place := map[string]float64{}
	for _, layer := range layers {
		near := map[string]float64{}
		for i, key := range layer {
			near[key] = float64(i)
			if after := p.Service(key).After; len(after) > 0 {
				near[key] = 0
				for _, need := range after {
					near[key] += place[need] / float64(len(after))
				}
			}
		}
		slices.SortStableFunc(layer, func(a, b string) int {
			switch {
			case near[a] < near[b]:
				return -1
			case near[a] > near[b]:
				return 1
			}
			return 0
		})
		for i, key := range layer {
			place[key] = float64(i)
		}
	}
	return layers
}

// before says of every service which must run before it, however far.
func (p *Plan) before() map[string]map[string]bool {
	all := map[string]map[string]bool{}
	for _, s := range p.Services {
		all[s.Key] = map[string]bool{}
		for _, need := range s.After {
			all[s.Key][need] = true
			for far := range all[need] {
				all[s.Key][far] = true
			}
		}
	}
	return all
}

// Edges are the dependencies that a drawing needs: one that follows from others
// is left out.
func (p *Plan) Edges() [][2]string {
	before := p.before()
	var all [][2]string
	for _, s := range p.Services {
		for _, need := range s.After {
			implied := slices.ContainsFunc(s.After, func(other string) bool { return before[other][need] })
			if !implied {
				all = append(all, [2]string{need, s.Key})
			}
		}
	}
	return all
}

// shape is how services follow one another: one service, parts one after the
// other, or parts side by side.
type shape struct {
	service string // of one
	series  bool
	parts   []shape
	gate    []string // of one: what people must see running before it begins
}

// shaped takes the graph apart into what goes one after the other and what
// goes side by side. Where that is not possible without making somebody wait
// for nothing, the services go side by side and each begins at a gate: people
// say that what it needs is running.
func (p *Plan) shaped() shape {
	keys := make([]string, len(p.Services))
	for i, s := range p.Services {
		keys[i] = s.Key
	}
	return p.take(keys, p.before())
}

func (p *Plan) take(keys []string, before map[string]map[string]bool) shape {
	if len(keys) == 1 {
		return shape{service: keys[0]}
	}
	related := func(a, b string) bool { return before[a][b] || before[b][a] }
	if parts := components(keys, related); len(parts) > 1 {
		return p.all(false, parts, before)
	}
	if parts := components(keys, func(a, b string) bool { return !related(a, b) }); len(parts) > 1 {
		return p.all(true, parts, before)
	}
	s := shape{}
	for _, key := range keys {
		one := shape{service: key}
		for _, need := range p.Service(key).After {
			if slices.Contains(keys, need) {
				one.gate = append(one.gate, need)
			}
		}
		s.parts = append(s.parts, one)
	}
	return s
}

func (p *Plan) all(series bool, parts [][]string, before map[string]map[string]bool) shape {
	s := shape{series: series}
	if series { // all of one part come before all of the next
		slices.SortFunc(parts, func(a, b []string) int {
			if before[b[0]][a[0]] {
				return -1
			}
			return 1
		})
	}
	for _, part := range parts {
		s.parts = append(s.parts, p.take(part, before))
	}
	return s
}

// components are the groups that hang together, in the order of keys.
func components(keys []string, joined func(a, b string) bool) [][]string {
	group := map[string]int{}
	n := 0
	for _, key := range keys {
		if group[key] != 0 {
			continue
		}
		n++
		group[key] = n
		for open := []string{key}; len(open) > 0; {
			at := open[0]
			open = open[1:]
			for _, other := range keys {
				if group[other] == 0 && joined(at, other) {
					group[other] = n
					open = append(open, other)
				}
			}
		}
	}
	parts := make([][]string, n)
	for _, key := range keys {
		parts[group[key]-1] = append(parts[group[key]-1], key)
	}
	return parts
}
