package scan

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/sonae/sonae/i18n"
)

// terminal says whether people look at w.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}

// screenWidth is how wide a terminal is said to be.
func screenWidth(w io.Writer) int {
	if terminal(w) {
		if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil {
			return n
		}
	}
	return minWidth
}

// showEvery is how often the bar moves.
const showEvery = 250 * time.Millisecond

// show draws a bar until the returned function is called, which removes it.
func (p *Progress) show(w io.Writer, say words) (stop func()) {
	done, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		began := time.Now()
		tick := time.NewTicker(showEvery)
		defer tick.Stop()
		for {
			select {
			case <-done:
				fmt.Fprint(w, "\r\x1b[K")
				return
			case <-tick.C:
				fmt.Fprint(w, "\r\x1b[K", p.bar(say, time.Since(began)))
			}
		}
	}()
	return func() { close(done); <-gone }
}

// bar is the progress after a time, in at most 79 columns.
func (p *Progress) bar(say words, spent time.Duration) string {
	total, read, events, findings := p.total.Load(), p.read.Load(), p.events.Load(), p.findings.Load()
	if total == 0 {
		return ""
	}
	if read >= total {
		return cut(say.T("progress.counting", "findings", i18n.Count(findings)), minWidth-1)
	}
	eta := ""
	if read > 0 && spent > 2*time.Second {
		left := time.Duration(float64(spent) * float64(total-read) / float64(read))
		eta = say.T("progress.eta", "span", i18n.Span(say.lang, left))
	}
	rate := int64(float64(read) / max(spent.Seconds(), 0.001))
	return cut(say.T("progress", "percent", padLeft(strconv.Itoa(int(100*float64(read)/float64(total)))+"%", 4), "read", i18n.Bytes(read), "total", i18n.Bytes(total),
		"events", i18n.Count(events), "findings", i18n.Count(findings), "rate", i18n.Bytes(rate), "eta", eta), minWidth-1)
}
