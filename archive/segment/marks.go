package segment

import (
	"fmt"
	"math/bits"
)

// Marks are rows of a row group, as bits.
type Marks [rowsPerGroup / 64]uint64

// MarkAll marks all rows of some blocks of a row group.
func (m *Marks) MarkAll(of Blocks, rows int) {
	for b := range 64 {
		if of>>b&1 != 0 {
			m.span(b*BlockRows, min((b+1)*BlockRows, rows))
		}
	}
}

func (m *Marks) span(from, to int) {
	for ; from < to && from%64 != 0; from++ {
		m.Set(from)
	}
	for ; from+64 <= to; from += 64 {
		m[from/64] = ^uint64(0)
	}
	for ; from < to; from++ {
		m.Set(from)
	}
}

// Set marks a row.
func (m *Marks) Set(i int) { m[i/64] |= 1 << (i % 64) }

// And leaves what both mark.
func (m *Marks) And(o *Marks) {
	for i := range m {
		m[i] &= o[i]
	}
}

// Or marks what either marks.
func (m *Marks) Or(o *Marks) {
	for i := range m {
		m[i] |= o[i]
	}
}

// Without leaves what o does not mark.
func (m *Marks) Without(o *Marks) {
	for i := range m {
		m[i] &^= o[i]
	}
}

// Count returns how many rows are marked.
func (m *Marks) Count() (n int) {
	for _, w := range m {
		n += bits.OnesCount64(w)
	}
	return n
}

// Blocks returns the blocks with marked rows.
func (m *Marks) Blocks() (b Blocks) {
	const words = BlockRows / 64
	for i, w := range m {
		if w != 0 {
			b |= 1 << (i / words)
		}
	}
	return b
}

// Lines returns the marked rows, ascending.
func (m *Marks) Lines() []int {
	lines := make([]int, 0, m.Count())
	for i, w := range m {
		for ; w != 0; w &= w - 1 {
			lines = append(lines, i*64+bits.TrailingZeros64(w))
		}
	}
	return lines
}

// AnyField is the name by which Mark looks into all values of fields that have
// no column.
const AnyField = fieldsName

// Mark returns the rows, in some blocks of a row group, of which test holds for
// the text in a column.
func (p *Pages) Mark(group int, name string, in Blocks, test func(string) bool) (m Marks, err error) {
	defer caught(&err)
	leaf := valueLeaf
	if name != AnyField {
		c := columnOf(name)
		if c == nil || c.text == nil {
			return m, fmt.Errorf("mark rows: no column of texts is called %s", name)
		}
		leaf = c.leaf
	}
	c, err := p.chunk(group, leaf)
	if err == nil {
		err = c.mark(in, test, &m)
	}
	if err != nil {
		return m, fmt.Errorf("mark rows: column %s: %w", name, err)
	}
	return m, nil
}

func (c *columnChunk) mark(in Blocks, test func(string) bool, m *Marks) error {
	v := verdicts{c: c, test: test, of: make([]verdict, max(0, len(c.words.offsets)-1))}
	if in.Count()*BlockRows >= len(v.of) && !v.all() && !c.plain {
		return nil
	}
	rows := c.first[len(c.first)-1]
	for row := 0; row < rows; {
		if in>>(row/BlockRows)&1 == 0 {
			row = (row/BlockRows + 1) * BlockRows
			continue
		}
		p, first, err := c.at(row)
		if err != nil {
			return err
		}
		end := min(first+p.rows, (row/BlockRows+1)*BlockRows, rows)
		if p.texts != nil {
			p.testTexts(test, row-first, end-first, first, m)
		} else {
			p.testWords(&v, row-first, end-first, first, m)
		}
		row = end
	}
	return nil
}

// verdicts are what a test says of the words of a dictionary, each of which is
// tested once.
type verdicts struct {
	c    *columnChunk
	test func(string) bool
	of   []verdict
}

type verdict uint8

const (
	untested verdict = iota
	holds
	fails
)

func (v *verdicts) holds(word int32) bool {
	if v.of[word] == untested {
		v.of[word] = fails
		if v.test(v.c.words.at(int(word))) {
			v.of[word] = holds
		}
	}
	return v.of[word] == holds
}

// all tests all words, and says whether the test holds for any.
func (v *verdicts) all() (any bool) {
	for word := range v.of {
		any = v.holds(int32(word)) || any
	}
	return any
}

func (p *page) testTexts(test func(string) bool, from, to, first int, m *Marks) {
	for i := from; i < to; i++ {
		for k, end := p.values(i); k < end; k++ {
			if test(p.texts.at(k)) {
				m.Set(first + i)
				break
			}
		}
	}
}

func (p *page) testWords(v *verdicts, from, to, first int, m *Marks) {
	if p.starts == nil && p.index == nil && p.wide == nil {
		if v.holds(p.same) {
			m.span(first+from, first+to)
		}
		return
	}
	for i := from; i < to; i++ {
		for k, end := p.values(i); k < end; k++ {
			if v.holds(p.word(k)) {
				m.Set(first + i)
				break
			}
		}
	}
}

// MayHold says whether test may hold for the text of some row of a row group in
// a column: no, if the column has a dictionary of few words and it holds for
// none of them.
func (p *Pages) MayHold(group int, name string, test func(string) bool) (may bool, err error) {
	defer caught(&err)
	c := columnOf(name)
	if c == nil || c.text == nil {
		return true, nil
	}
	of, err := p.chunk(group, c.leaf)
	if err != nil {
		return true, err
	}
	if of.plain || len(of.words.offsets) > 4096 {
		return true, nil
	}
	v := verdicts{c: of, test: test, of: make([]verdict, max(0, len(of.words.offsets)-1))}
	return v.all(), nil
}

// Times calls each with the times of marked rows, the last row first, apart
// from those before since; each returns what since is from then on.
func (p *Pages) Times(group int, m *Marks, since int64, each func(line int, at int64) (since int64)) (err error) {
	defer caught(&err)
	c, err := p.chunk(group, columnOf("time").leaf)
	if err != nil {
		return fmt.Errorf("read times: %w", err)
	}
	for row := c.first[len(c.first)-1] - 1; row >= 0; {
		w := m[row/64] << (63 - row%64)
		if w == 0 {
			row = row/64*64 - 1
			continue
		}
		row -= bits.LeadingZeros64(w)
		p, first, err := c.at(row)
		if err != nil {
			return fmt.Errorf("read times: %w", err)
		}
		for ; row >= first && p.most >= since; row-- {
			if at := p.larges[row-first]; at >= since && m[row/64]>>(row%64)&1 != 0 {
				since = each(row, at)
			}
		}
		row = min(row, first-1)
	}
	return nil
}

// Batches returns batch and row in the batch of rows of a row group, whose
// numbers ascend: only these columns of the rows are set.
func (p *Pages) Batches(group int, lines []int) (rows []Row, err error) {
	defer caught(&err)
	rows = make([]Row, len(lines))
	for _, name := range []string{"batch", "batch_row"} {
		if err := p.fill(group, lines, rows, columnOf(name)); err != nil {
			return nil, fmt.Errorf("read rows: column %s: %w", name, err)
		}
	}
	return rows, nil
}
