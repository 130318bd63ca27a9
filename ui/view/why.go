package view

import (
	"context"
	"io"

	"github.com/a-h/templ"

	"github.com/sonae/sonae/detect/sigma"
)

// marked is the event's value with the part that matched marked. It is written
// by hand, because no space may come into a value.
func marked(p Page, l *sigma.Line) templ.Component {
	return templ.ComponentFunc(func(_ context.Context, w io.Writer) error {
		text := templ.EscapeString[string]
		out := "<code>"
		if l.Cut {
			out += "… "
		}
		out += text(l.Value[:l.From])
		if l.To > l.From {
			out += `<mark><span class="visually-hidden">` + text(p.T("why.mark")) + "</span>" + text(l.Value[l.From:l.To]) + "</mark>"
		}
		out += text(l.Value[l.To:])
		if l.Cut {
			out += " …"
		}
		_, err := io.WriteString(w, out+"</code>")
		return err
	})
}
