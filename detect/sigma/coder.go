package sigma

import (
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"github.com/sonae/sonae/event"
)

// coder writes the parts of a Content one after another, or reads them: the
// same functions do both, so that they cannot differ. Read texts are parts of
// in.
type coder struct {
	out     []byte
	in      string
	reading bool
	bad     bool // in is not what coder wrote
	depth   int
}

func encodeContent(c Content) string {
	w := coder{}
	w.content(&c)
	return string(w.out)
}

// decodeContent returns false where the entry is not what encodeContent makes.
func decodeContent(entry, file string) (Content, bool) {
	r := coder{in: entry, reading: true}
	var c Content
	if r.content(&c); r.bad || r.in != "" {
		return Content{}, false
	}
	for _, d := range c.Drafts {
		d.File = file
	}
	for _, f := range c.Filters {
		f.File = file
	}
	for _, e := range c.Rejected {
		e.File = file
	}
	return c, true
}

func (c *coder) content(v *Content) {
	list(c, &v.Drafts, func(c *coder, d **Draft) {
		if c.reading {
			*d = &Draft{}
		}
		c.meta(&(*d).Meta)
		list(c, &(*d).Blocks, (*coder).block)
	})
	list(c, &v.Filters, func(c *coder, f **Filter) {
		if c.reading {
			*f = &Filter{}
		}
		c.meta(&(*f).Meta)
		c.flag(&(*f).All)
		c.texts(&(*f).Rules)
		c.block(&(*f).Block)
	})
	list(c, &v.Rejected, func(c *coder, e **Error) {
		if c.reading {
			*e = &Error{}
		}
		c.number(&(*e).Line)
		c.text(&(*e).ID)
		c.flag(&(*e).Unbuilt)
		c.text(&(*e).Placeholder)
		c.text(&(*e).Reason)
	})
}

func (c *coder) meta(m *Meta) {
	for _, s := range []*string{&m.ID, &m.Name, &m.Title, &m.Taxonomy, &m.Status, &m.Description, &m.License, &m.Author, &m.Date, &m.Modified,
		&m.Logsource.Product, &m.Logsource.Category, &m.Logsource.Service, &m.Extra.Propose} {
		c.text(s)
	}
	for _, l := range []*[]string{&m.References, &m.Tags, &m.Fields, &m.FalsePositives, &m.Scope} {
		c.texts(l)
	}
	for _, t := range []*map[string]string{&m.LogsourceNotes, &m.Extra.Title, &m.Extra.What, &m.Extra.Affects, &m.Extra.Next} {
		c.table(t)
	}
	list(c, &m.Related, func(c *coder, r *Related) { c.text(&r.ID); c.text(&r.Type) })
	level := int(m.Level)
	c.number(&level)
	m.Level = event.Severity(level)
	c.number(&m.Line)
	has := m.Threshold != nil
	if c.flag(&has); !has || c.bad {
		return
	}
	if c.reading {
		m.Threshold = &Threshold{}
	}
	window := int(m.Threshold.Window)
	c.number(&m.Threshold.Count)
	c.number(&window)
	m.Threshold.Window = time.Duration(window)
	c.texts(&m.Threshold.By)
	c.text(&m.Threshold.Distinct)
}

func (c *coder) block(b *Block) {
	c.text(&b.Name)
	list(c, &b.Selections, func(c *coder, s *Selection) { c.text(&s.Name); c.part(&s.Part) })
	list(c, &b.Conditions, func(c *coder, t *Condition) { c.text(&t.Text); c.number(&t.Line) })
}

func (c *coder) part(p **Part) {
	if c.depth++; c.depth > maxYAMLDepth+2 {
		c.bad = true
	}
	defer func() { c.depth-- }()
	if c.reading {
		*p = &Part{}
	}
	if c.bad {
		return
	}
	leaf := (*p).Leaf != nil
	if c.flag(&leaf); !leaf {
		list(c, &(*p).All, (*coder).part)
		list(c, &(*p).Any, (*coder).part)
		return
	}
	if c.reading {
		(*p).Leaf = &Leaf{}
	}
	l := (*p).Leaf
	c.text(&l.Field)
	c.texts(&l.Modifiers)
	c.number(&l.Line)
	list(c, &l.Values, func(c *coder, v *Value) {
		kind := int(v.Kind)
		c.text(&v.Text)
		c.number(&kind)
		c.number(&v.Line)
		v.Kind = ValueKind(kind)
	})
}

// list codes a slice; an empty one is read as nil.
func list[T any](c *coder, l *[]T, each func(*coder, *T)) {
	n := len(*l)
	c.number(&n)
	if c.reading {
		if *l = nil; n < 0 || n > len(c.in) { // each takes a byte at least
			c.bad = true
		}
		if c.bad || n == 0 {
			return
		}
		*l = make([]T, n)
	}
	for i := range *l {
		if each(c, &(*l)[i]); c.bad {
			return
		}
	}
}

func (c *coder) texts(l *[]string) { list(c, l, (*coder).text) }

func (c *coder) table(m *map[string]string) {
	keys := slices.Sorted(maps.Keys(*m))
	c.texts(&keys)
	if c.reading && len(keys) > 0 {
		*m = make(map[string]string, len(keys))
	}
	for _, k := range keys {
		v := (*m)[k]
		c.text(&v)
		(*m)[k] = v
	}
}

func (c *coder) flag(b *bool) {
	n := 0
	if *b {
		n = 1
	}
	c.number(&n)
	*b = n == 1
}

func (c *coder) text(s *string) {
	n := len(*s)
	c.number(&n)
	if !c.reading {
		c.out = append(c.out, *s...)
		return
	}
	if n < 0 || n > len(c.in) {
		c.bad = true
		return
	}
	*s, c.in = c.in[:n], c.in[n:]
}

// number codes a number in as few bytes as it needs.
func (c *coder) number(n *int) {
	if !c.reading {
		c.out = binary.AppendVarint(c.out, int64(*n))
		return
	}
	var u uint64
	for i := 0; i < len(c.in) && i < binary.MaxVarintLen64; i++ {
		b := c.in[i]
		u |= uint64(b&0x7F) << (7 * i)
		if b < 0x80 {
			c.in = c.in[i+1:]
			*n = int(int64(u>>1) ^ -int64(u&1))
			return
		}
	}
	c.bad, *n = true, 0
}
