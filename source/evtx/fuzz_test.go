package evtx

import (
	"bytes"
	"testing"

	"github.com/sonae/sonae/event"
)

// FuzzRead reads anything as a log, as a chunk and as the XML of a record. It
// must come to an end without much memory, deliver only what its report
// counts, and give the same the second time.
func FuzzRead(f *testing.F) {
	f.Add(logOf(small(1), small(5)))
	f.Add(small(1))
	f.Add(small(1)[chunkHeader:])
	f.Add(chunkOf(1, data(text("x"), "Name", text("n"))))
	f.Fuzz(func(t *testing.T, b []byte) {
		once := summary(t, b)
		if again := summary(t, b); again != once {
			t.Errorf("first %+v, then %+v", once, again)
		}
		if len(b) < 1<<12 {
			summary(t, logOf(chunkOf(1, data(text("x")), func(x *writer) { x.bytes(b...) })))
		}
	})
}

type counts struct{ records, pairs, text int }

func summary(t *testing.T, log []byte) counts {
	var c counts
	report, _ := Read(t.Context(), bytes.NewReader(log), Options{}, func(r *event.Record) error {
		c.records++
		c.pairs += len(r.Pairs)
		if len(r.Pairs) > maxPairs+8 {
			t.Errorf("%d pairs", len(r.Pairs))
		}
		for i := range r.Pairs {
			if r.Pairs[i].Name == nil {
				t.Error("a pair without name")
			}
			c.text += len(r.Pairs[i].Value)
		}
		return nil
	})
	if report.Records != c.records || report.Bytes != int64(len(log)) {
		t.Errorf("%d records and %d bytes, the report has %d and %d", c.records, len(log), report.Records, report.Bytes)
	}
	if len(report.Damage) > maxDamage || report.Damaged < len(report.Damage) {
		t.Errorf("%d damages listed, %d counted", len(report.Damage), report.Damaged)
	}
	return c
}
