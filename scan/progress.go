package scan

import "sync/atomic"

// Progress is how far a scan is. It may be read at any time.
type Progress struct {
	total, read, events, findings atomic.Int64
}

// skip moves on by what of a file will not be read any more.
func (p *Progress) skip(n int64) {
	if n > 0 {
		p.read.Add(n)
	}
}

// Findings is how many were found so far.
func (p *Progress) Findings() int { return int(p.findings.Load()) }
