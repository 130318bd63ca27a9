package engine

import "bytes"

// maxLine bounds a line of restic, in bytes: a status names the files that are
// being read, and their paths are long. A longer line is left out.
const maxLine = 4 << 20

// lines is a Writer that hands over what is written to it line by line, however
// it comes in pieces. It never fails, so that no program waits for it.
type lines struct {
	each    func(line []byte) // without its end; must not keep it
	begun   []byte            // of a line whose end has not come
	over    bool              // that line is too long
	skipped int               // lines that were too long
}

// Write takes a piece.
func (l *lines) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			l.add(p)
			break
		}
		if len(l.begun) == 0 && !l.over && i <= maxLine { // the usual case copies nothing
			l.hand(p[:i])
		} else {
			l.add(p[:i])
			l.end()
		}
		p = p[i+1:]
	}
	return n, nil
}

// add keeps a piece of a line.
func (l *lines) add(p []byte) {
	if l.over || len(l.begun)+len(p) > maxLine {
		l.begun, l.over = nil, true
		return
	}
	l.begun = append(l.begun, p...)
}

// end hands over the line that was begun; also the last one, which may lack its end.
func (l *lines) end() {
	if l.over {
		l.skipped++
	} else {
		l.hand(l.begun)
	}
	l.begun, l.over = l.begun[:0], false
}

// hand calls each, unless the line is empty; Windows ends lines with two bytes.
func (l *lines) hand(line []byte) {
	if line = bytes.TrimSuffix(line, []byte("\r")); len(line) > 0 {
		l.each(line)
	}
}
