package sigma

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// File is one rule file.
type File struct {
	Name string
	Data []byte
}

// Transform changes a draft before it is compiled, and says whether it did.
// It is called for one draft at a time but from several goroutines.
type Transform func(*Draft) (changed bool, err error)

// Variant is a second form of the rules, for events that name things
// otherwise: each rule that Transform changes is loaded in that form besides.
type Variant struct {
	Name      string
	Transform Transform
}

// Options of Load. The zero value compiles rules as they are written.
type Options struct {
	Placeholders Placeholders
	Transforms   []Transform // applied to every rule, in order
	Variants     []Variant   // after Transforms
	Workers      int         // 0 means one for each core
	Cache        *Cache      // nil: none
}

// Loaded is what Load made of the files, in their order.
type Loaded struct {
	Rules    []*Rule
	Rejected []*Error
	Filters  []Applied
	Cached   int // files that came from the cache
}

// Load reads rule files, applies the filters among them to the rules among
// them, transforms and compiles the rules. The same id may stand several times.
func Load(files []File, o Options) Loaded {
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	contents := make([]Content, len(files))
	var cached atomic.Int64
	parallel(o.Workers, len(files), func(i int) {
		hit := false
		contents[i], hit = o.Cache.read(files[i])
		if hit {
			cached.Add(1)
		}
	})
	out := Loaded{Cached: int(cached.Load())}
	var drafts []*Draft
	var filters []*Filter
	for _, c := range contents {
		drafts, filters = append(drafts, c.Drafts...), append(filters, c.Filters...)
		out.Rejected = append(out.Rejected, c.Rejected...)
	}
	narrowed := map[*Draft][]string{}
	out.Filters = applyFilters(filters, drafts, narrowed)
	made := make([]result, len(drafts))
	parallel(o.Workers, len(drafts), func(i int) { made[i] = o.compile(drafts[i], narrowed[drafts[i]]) })
	for _, m := range made {
		out.Rules, out.Rejected = append(out.Rules, m.rules...), append(out.Rejected, m.bad...)
	}
	return out
}

// result is what one draft became.
type result struct {
	rules []*Rule
	bad   []*Error
}

func (o *Options) compile(d *Draft, filters []string) (out result) {
	reject := func(err error) {
		e := rejection(d.File, d.Line, err)
		e.ID = d.ID
		out.bad = append(out.bad, e)
	}
	for _, t := range o.Transforms {
		if _, err := t(d); err != nil {
			reject(err)
			return out
		}
	}
	add := func(d *Draft, variant string) {
		r, err := d.Compile(o.Placeholders)
		if err != nil {
			reject(err)
			return
		}
		r.Variant, r.Filters = variant, filters
		out.rules = append(out.rules, r)
	}
	var forms []*Draft
	for _, v := range o.Variants {
		form := d.Clone()
		changed, err := v.Transform(form)
		switch {
		case err != nil:
			reject(err)
			form = nil
		case !changed:
			form = nil
		}
		forms = append(forms, form)
	}
	add(d, "")
	for i, form := range forms {
		if form != nil {
			add(form, o.Variants[i].Name)
		}
	}
	return out
}

// parallel calls f with 0 … n-1 from so many goroutines and waits for them.
func parallel(workers, n int, f func(int)) {
	if workers = min(workers, n); workers <= 1 {
		for i := range n {
			f(i)
		}
		return
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	wg.Wait()
}
