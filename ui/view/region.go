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

type sendKey struct{}

// Early returns a context in which Then calls send with all that is rendered so far.
func Early(ctx context.Context, send func()) context.Context {
	return context.WithValue(ctx, sendKey{}, send)
}

// Then lets the reader see what stands above it while rest makes what is below:
// a page whose head is quick paints at once. An error of rest ends the page.
func Then(rest func() error) templ.Component {
	return templ.ComponentFunc(func(ctx context.Context, w io.Writer) error {
		if send, ok := ctx.Value(sendKey{}).(func()); ok {
			if err := templ.Flush().Render(templ.ClearChildren(ctx), w); err != nil { // out of templ's own buffer
				return fmt.Errorf("send the head of the page: %w", err)
			}
			send()
		}
		return rest()
	})
}
