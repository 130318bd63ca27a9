// Package block reads a finished page into the few shapes that other formats
// know: headings, paragraphs, items of lists and tables.
//
// In: a page of report/html, or any HTML. Out: blocks of text. Always true:
// what a person wrote stays as it was, line breaks of preformatted text
// included; scripts, styles and pictures are left out; depth and size are
// bounded.
package block

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// Shape is what a block is.
type Shape int

// Shapes.
const (
	Paragraph Shape = iota
	Heading         // Level 1 to 3
	Item            // of a list, Level its depth from 0
	Table
)

// Align is where the text of a block stands.
type Align int

// Alignments.
const (
	Left Align = iota
	Right
	Center
)

// Block is a heading, paragraph, item or table.
type Block struct {
	Shape  Shape
	Level  int
	Align  Align
	Boxed  bool // with a line around it
	Break  bool // begins a new sheet
	Large  bool // a notice that is read from afar
	Mark   string
	Runs   []Run
	Widths []int // of the columns of a table, in percent; may be empty
	Rows   []Row
}

// Row is a line of a table.
type Row struct {
	Head  bool // repeated at the head of every sheet
	Cells []Cell
}

// Cell is a field of a table.
type Cell struct {
	Head   bool
	Span   int // columns, at least 1
	Blocks []Block
}

// Run is text of one look; "\n" is a line break.
type Run struct {
	Text    string
	Bold    bool
	Strike  bool
	Mono    bool
	Small   bool
	Missing bool // the mark of what nobody has stated
	Auto    bool // the mark of what was filled in
}

// Bounds of a page.
const (
	maxDepth = 100
	maxNodes = 500_000
)

// Read turns a page into blocks. An error means that it is nested too deeply or
// too long.
func Read(page []byte) ([]Block, error) {
	root, err := html.Parse(bytes.NewReader(page))
	if err != nil {
		return nil, fmt.Errorf("read a page: %w", err)
	}
	r := &reader{}
	r.children(root, look{}, 0)
	r.end()
	if r.err != nil {
		return nil, fmt.Errorf("read a page: %w", r.err)
	}
	return r.out, nil
}

// look is what surrounds a text.
type look struct {
	run   Run
	block Block // shape and place that a paragraph takes over
	pre   bool
	list  int // depth of lists
}

type reader struct {
	out   []Block
	open  *Block // the block that takes text
	fresh bool   // the next block begins a new sheet
	nodes int
	err   error
}

// end closes the open block; blanks at its ends and empty ones are dropped.
func (r *reader) end() {
	b := r.open
	r.open = nil
	if b == nil {
		return
	}
	trim(b)
	if len(b.Runs) == 0 && b.Shape != Table {
		return
	}
	b.Break, r.fresh = b.Break || r.fresh, false
	r.out = append(r.out, *b)
}

func trim(b *Block) {
	for len(b.Runs) > 0 {
		b.Runs[0].Text = strings.TrimLeft(b.Runs[0].Text, " \n\t")
		if b.Runs[0].Text != "" {
			break
		}
		b.Runs = b.Runs[1:]
	}
	for len(b.Runs) > 0 {
		last := &b.Runs[len(b.Runs)-1]
		if last.Text = strings.TrimRight(last.Text, " \n\t"); last.Text != "" {
			break
		}
		b.Runs = b.Runs[:len(b.Runs)-1]
	}
}

// begin closes the open block and opens another one.
func (r *reader) begin(b Block) {
	r.end()
	r.open = &b
}

func (r *reader) children(n *html.Node, l look, depth int) {
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		r.node(c, l, depth+1)
	}
}

func (r *reader) node(n *html.Node, l look, depth int) {
	r.nodes++
	switch {
	case r.err != nil:
		return
	case depth > maxDepth:
		r.err = fmt.Errorf("nested deeper than %d", maxDepth)
		return
	case r.nodes > maxNodes:
		r.err = fmt.Errorf("more than %d parts", maxNodes)
		return
	}
	switch n.Type {
	case html.TextNode:
		r.text(n.Data, l)
	case html.ElementNode:
		r.element(n, l, depth)
	case html.DocumentNode:
		r.children(n, l, depth)
	}
}

func (r *reader) element(n *html.Node, l look, depth int) {
	class := classes(n)
	if slices.Contains(class, "draft-mark") {
		return
	}
	l = l.within(class)
	if slices.Contains(class, "apart") {
		r.end()
		r.fresh = true
	}
	switch n.DataAtom {
	case atom.Head, atom.Script, atom.Style, atom.Svg, atom.Template, atom.Noscript, atom.Colgroup:
		return
	case atom.Br:
		r.raw("\n", l)
	case atom.B, atom.Strong:
		l.run.Bold = true
		r.children(n, l, depth)
	case atom.S, atom.Del:
		l.run.Strike = true
		r.children(n, l, depth)
	case atom.H1, atom.H2, atom.H3, atom.P, atom.Dt, atom.Dd, atom.Li, atom.Caption:
		r.begin(l.as(n.DataAtom))
		if n.DataAtom == atom.Dt || n.DataAtom == atom.Caption {
			l.run.Bold = true
		}
		r.children(n, l, depth)
		r.end()
	case atom.Ul, atom.Ol:
		r.end()
		l.list++
		r.children(n, l, depth)
		r.end()
	case atom.Table:
		r.table(n, l, depth)
	case atom.Div, atom.Section, atom.Main, atom.Body, atom.Html, atom.Article, atom.Dl, atom.Blockquote:
		r.end()
		r.children(n, l, depth)
		r.end()
	default:
		r.children(n, l, depth)
	}
}

// within is a look inside an element of these classes.
func (l look) within(class []string) look {
	for _, c := range class {
		switch c {
		case "right":
			l.block.Align = Right
		case "center":
			l.block.Align = Center
		case "lead", "contact", "drill", "status":
			l.block.Boxed = true
			if c == "drill" || c == "status" {
				l.block.Align, l.run.Bold = Center, true
			}
		case "notice":
			l.block.Large = true
		case "text", "sonae-checkpoint":
			l.pre = true
		case "mono", "sonae-digest":
			l.run.Mono = true
		case "small":
			l.run.Small = true
		case "missing":
			l.run.Missing, l.run.Bold = true, true
		case "auto":
			l.run.Auto, l.run.Small = true, true
		}
	}
	return l
}

// as is the block that an element opens.
func (l look) as(a atom.Atom) Block {
	b := l.block
	switch a {
	case atom.H1, atom.H2, atom.H3:
		b.Shape, b.Level = Heading, map[atom.Atom]int{atom.H1: 1, atom.H2: 2, atom.H3: 3}[a]
	case atom.Li:
		b.Shape, b.Level = Item, max(0, l.list-1)
	case atom.Dd:
		b.Shape, b.Level, b.Mark = Item, 0, " "
	}
	return b
}

func (r *reader) text(s string, l look) {
	if !l.pre {
		s = collapse(s)
	}
	if s == "" || r.open == nil && strings.TrimSpace(s) == "" {
		return
	}
	r.raw(s, l)
}

func (r *reader) raw(s string, l look) {
	if r.open == nil {
		b := l.block
		r.open = &b
	}
	if n := len(r.open.Runs); n > 0 && strings.HasPrefix(s, " ") && !l.pre && endsBlank(r.open.Runs[n-1].Text) {
		if s = s[1:]; s == "" {
			return
		}
	}
	run := l.run
	run.Text = s
	r.open.Runs = append(r.open.Runs, run)
}

func endsBlank(s string) bool { return strings.HasSuffix(s, " ") || strings.HasSuffix(s, "\n") }

// collapse makes one blank of every stretch of white space. The wide blank of
// Japanese is not white space here.
func collapse(s string) string {
	var b strings.Builder
	blank := false
	for _, c := range s {
		if c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f' {
			blank = true
			continue
		}
		if blank {
			b.WriteByte(' ')
			blank = false
		}
		b.WriteRune(c)
	}
	if blank {
		b.WriteByte(' ')
	}
	return b.String()
}

func (r *reader) table(n *html.Node, l look, depth int) {
	r.end()
	t := Block{Shape: Table, Break: r.fresh}
	r.fresh = false
	r.rows(&t, n, l, false, depth)
	r.open = nil
	if len(t.Rows) > 0 {
		r.out = append(r.out, t)
	}
}

func (r *reader) rows(t *Block, n *html.Node, l look, head bool, depth int) {
	if depth > maxDepth {
		r.err = fmt.Errorf("nested deeper than %d", maxDepth)
		return
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		switch c.DataAtom {
		case atom.Colgroup:
			t.Widths = widths(c)
		case atom.Caption:
			r.element(c, l, depth+1)
		case atom.Thead:
			r.rows(t, c, l, true, depth+1)
		case atom.Tbody, atom.Tfoot:
			r.rows(t, c, l, false, depth+1)
		case atom.Tr:
			if row := r.row(c, l, head, depth+1); len(row.Cells) > 0 {
				t.Rows = append(t.Rows, row)
			}
		}
	}
}

func (r *reader) row(n *html.Node, l look, head bool, depth int) Row {
	row := Row{Head: head}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		if c.DataAtom != atom.Td && c.DataAtom != atom.Th {
			continue
		}
		inner := &reader{nodes: r.nodes}
		cl := l.within(classes(c))
		cl.block = Block{}
		if slices.Contains(classes(c), "num") {
			cl.block.Align = Right
		}
		cl.run.Bold = cl.run.Bold || c.DataAtom == atom.Th
		inner.children(c, cl, depth+1)
		inner.end()
		r.nodes = inner.nodes
		if inner.err != nil {
			r.err = inner.err
		}
		span := 1
		if s, err := strconv.Atoi(attr(c, "colspan")); err == nil && s > 1 && s <= 20 {
			span = s
		}
		row.Cells = append(row.Cells, Cell{Head: c.DataAtom == atom.Th, Span: span, Blocks: inner.out})
	}
	return row
}

// widths reads "width:26%" of the columns.
func widths(n *html.Node) []int {
	var all []int
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		if c.DataAtom != atom.Col {
			continue
		}
		_, rest, _ := strings.Cut(attr(c, "style"), "width:")
		value, _, _ := strings.Cut(rest, "%")
		w, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil || w <= 0 || w > 100 {
			return nil
		}
		all = append(all, int(w))
	}
	return all
}

func classes(n *html.Node) []string { return strings.Fields(attr(n, "class")) }

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}
