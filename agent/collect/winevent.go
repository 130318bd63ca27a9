package collect

import (
	"time"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source"
	"github.com/sonae/sonae/source/windows"
	"github.com/sonae/sonae/source/winxml"
)

// maxWinEvent bounds an event as Windows renders it, in bytes of UTF-8.
const maxWinEvent = 1 << 20

// winReader turns rendered events of Windows into events, with the names that
// Sigma's rules use. Not for concurrent use.
type winReader struct {
	parser winxml.Parser
	names  source.Names
	rec    event.Record
}

// event returns the event of a rendered <Event>. why says what is wrong with
// one that cannot be read to its end; what came before it is in the event.
func (w *winReader) event(xml []byte, now time.Time) (e event.Event, why string) {
	w.rec.Reset()
	if len(xml) > maxWinEvent {
		xml = xml[:maxWinEvent]
	}
	why = w.parser.Parse(&w.rec, xml, &w.names)
	windows.Complete(&w.rec)
	e = w.rec.Event("")
	e.Host = "" // the hub sets it
	if e.Product == "" {
		e.Product = windows.Product
	}
	if e.Time.IsZero() {
		e.Time = now.UTC()
	}
	return e, why
}
