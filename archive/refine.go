package archive

import (
	"context"
	"slices"

	"github.com/sonae/sonae/archive/lang"
	"github.com/sonae/sonae/archive/segment"
)

// maxRefined is how many files the dictionaries are asked of; where there are
// more, the engine reads for so long that it hardly matters.
const maxRefined = 1024

// refine leaves out the row groups, and files, in which by the dictionaries of
// the columns no row can be what x says: reading a dictionary costs less than
// having the engine open the file. A shared archive has not got the files yet.
func (a *Archive) refine(ctx context.Context, s scope, x lang.Expr) scope {
	tests := conjuncts(lang.Tests(x))
	if len(tests) == 0 || a.shared != nil || len(s.files) > maxRefined {
		return s
	}
	fine := scope{parts: []int64{}, whole: s.whole}
	type answer struct {
		parts []int64
		of    int
		known bool
	}
	told := make([]answer, len(s.files))
	if err := atOnceEach(ctx, len(told), func(i int) error {
		t := &told[i]
		t.parts, t.of, t.known = a.fulfilling(&s.files[i], &s, tests)
		return nil
	}); err != nil {
		return s
	}
	for i, f := range s.files {
		t := &told[i]
		parts := t.parts
		switch {
		case !t.known && s.parts == nil:
			n, _ := segment.Number(f.path)
			fine.whole = append(slices.Clip(fine.whole), n)
		case !t.known:
			parts = partsIn(s.parts, f.number)
		case len(parts) == 0:
			continue
		default:
			f.rows = f.rows * int64(len(parts)) / int64(t.of)
		}
		fine.files, fine.parts, fine.rows = append(fine.files, f), append(fine.parts, parts...), fine.rows+f.rows
	}
	if len(fine.parts)+len(fine.whole) > maxParts {
		fine.parts, fine.whole = nil, nil
	}
	slices.Sort(fine.parts)
	return fine
}

// fulfilling returns the row groups of a file, of those in a scope, that may
// hold what all tests ask for, and how many there were; not ok if that is not
// known.
func (a *Archive) fulfilling(f *file, s *scope, tests []*lang.Test) (parts []int64, of int, ok bool) {
	if f.number < 0 || slices.Contains(s.whole, f.number) {
		return nil, 0, false
	}
	pages, release, err := a.opened.use(f.path)
	if err != nil {
		return nil, 0, false // the engine finds out what is wrong
	}
	defer release()
	for i, g := range pages.Groups() {
		if !s.has(g.Part) {
			continue
		}
		of++
		may, err := mayHold(pages, i, tests)
		if err != nil {
			return nil, 0, false
		}
		if may {
			parts = append(parts, g.Part)
		}
	}
	return parts, of, true
}

// mayHold says whether all tests may hold for some row of a row group.
func mayHold(pages *segment.Pages, group int, tests []*lang.Test) (may bool, err error) {
	for _, t := range tests {
		if may, err = pages.MayHold(group, t.Column, t.Holds); err != nil || !may {
			return false, err
		}
	}
	return true, nil
}

// conjuncts are the tests of columns that all must hold.
func conjuncts(t *lang.Test) (all []*lang.Test) {
	for _, one := range t.All {
		all = append(all, conjuncts(one)...)
	}
	if t.Holds != nil && t.Column != "raw" && t.Column != lang.AnyField {
		all = append(all, t)
	}
	return all
}

// partsIn are those of some row groups that lie in a segment.
func partsIn(parts []int64, number int64) []int64 {
	from, _ := slices.BinarySearch(parts, number<<16)
	to, _ := slices.BinarySearch(parts, (number+1)<<16)
	return parts[from:to]
}
