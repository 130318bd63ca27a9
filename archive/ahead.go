package archive

import (
	"context"
	"strings"

	"github.com/sonae/sonae/archive/lang"
)

// ahead has the system read the columns of a scope that a table is made of,
// without waiting. The engine reads them column by column and waits for each;
// and where nothing is in memory, the system reads much around them that nobody
// asked for. The scope is part of one of so many files: where not all can be
// kept open, opening them each time would cost more than it saves.
func (a *Archive) ahead(ctx context.Context, r request, sc scope, files int) {
	if files > maxOpened {
		return
	}
	named := namedIn(r, sc)
	_ = atOnceEach(ctx, len(sc.files), func(i int) error {
		f := &sc.files[i]
		if f.number < 0 {
			return nil
		}
		pages, release, err := a.opened.use(f.path)
		if err != nil {
			return nil // the engine finds out what is wrong
		}
		defer release()
		for k, g := range pages.Groups() {
			if sc.has(g.Part) && r.covers(g.From, g.To) {
				pages.Ahead(k, named)
			}
		}
		return nil
	})
}

// namedIn tells which columns a table is made of: those that its statement
// names. What somebody typed stands in its parameters.
func namedIn(r request, sc scope) func(string) bool {
	b := lang.NewBuilder(r.options)
	text := b.Direct(r.Query, "", sc.condition()+" AND "+r.condition(b))
	words := map[string]bool{}
	for word := range strings.FieldsFuncSeq(text, func(c rune) bool { return c != '_' && (c < 'a' || c > 'z') }) {
		words[word] = true
	}
	return func(name string) bool { return words[name] }
}
