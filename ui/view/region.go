package view

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/a-h/templ"
)

// Regions collects the parts of a page that change while somebody looks at
// it. The live stream renders the same page as a request would and sends only
// the regions, so screen and stream cannot disagree.
type Regions struct {
	Order []string
	HTML  map[string]string
}

type regionsKey struct{}

// Collect returns a context in which every Region is recorded in r as well.
func Collect(ctx context.Context, r *Regions) context.Context {
	r.Order, r.HTML = nil, map[string]string{}
	return context.WithValue(ctx, regionsKey{}, r)
}

// Region wraps its children in an element that can be replaced while the page
// is open. id is unique on the page. Fields that people type into stay outside.
func Region(id string) templ.Component {
	return templ.ComponentFunc(func(ctx context.Context, w io.Writer) error {
		children := templ.GetChildren(ctx)
		ctx = templ.ClearChildren(ctx)
		var b bytes.Buffer
		fmt.Fprintf(&b, `<div id="%s" class="region">`, templ.EscapeString(id))
		if err := children.Render(ctx, &b); err != nil {
			return fmt.Errorf("render region %s: %w", id, err)
		}
		b.WriteString("</div>")
		if r, ok := ctx.Value(regionsKey{}).(*Regions); ok {
			r.Order = append(r.Order, id)
			r.HTML[id] = b.String()
		}
		_, err := w.Write(b.Bytes())
		return err
	})
}
