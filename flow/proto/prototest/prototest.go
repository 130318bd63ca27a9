// Package prototest drives dissectors in tests the way package flow does.
//
// In: a session and what both sides say. Out: the facts and messages it tells.
// Always true: it fails the test when a session breaks the rules of package
// proto: more facts than are allowed, values that are not text, a proof outside
// the bytes.
package prototest

import (
	"testing"
	"unicode/utf8"

	"github.com/sonae/sonae/flow/proto"
)

// Told is what a session has told in the end.
type Told struct {
	Facts    []proto.Fact
	Messages []proto.Message
	Better   proto.Verdict
	Name     string
}

// Value returns the first fact of that name, "" when there is none.
func (t Told) Value(name string) string {
	for _, f := range t.Facts {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// Feed gives both directions to s in turns, step bytes at a time, the opener
// first; 0 for all at once.
func Feed(t testing.TB, s proto.Session, opener, answerer []byte, step int) Told {
	t.Helper()
	var told Told
	all, at := [2][]byte{opener, answerer}, [2]int{}
	open := [2]bool{true, true}
	for at[0] < len(opener) || at[1] < len(answerer) {
		for side := range 2 {
			from := at[side]
			if from == len(all[side]) {
				continue
			}
			to := len(all[side])
			if step > 0 {
				to = min(to, from+step)
			}
			at[side] = to
			var out proto.Sink
			given := all
			if open[side] {
				open[side] = s.Bytes(proto.Side(side), all[side][:to:to], from, &out)
			} else if w, ok := s.(proto.Watcher); ok {
				given[side] = all[side][from:to]
				w.Segment(proto.Side(side), given[side], &out)
			}
			told.add(t, &out, given)
		}
	}
	return told
}

// Datagrams gives datagrams to s, the first from the opener, then in turns.
func Datagrams(t testing.TB, s proto.Talk, datagrams ...[]byte) Told {
	t.Helper()
	var told Told
	for i, b := range datagrams {
		var out proto.Sink
		more := s.Datagram(proto.Side(i%2), b, &out)
		told.add(t, &out, [2][]byte{b, b})
		if !more {
			break
		}
	}
	return told
}

// add takes over what one call has told, and looks at it.
func (told *Told) add(t testing.TB, out *proto.Sink, all [2][]byte) {
	t.Helper()
	check(t, out.Facts)
	for _, f := range out.Facts {
		told.Facts = proto.With(told.Facts, f.Name, f.Value)
	}
	for _, m := range out.Messages {
		check(t, m.Facts)
	}
	told.Messages = append(told.Messages, out.Messages...)
	if v := out.Better; v.Label != "" {
		told.Better = v
		Verdict(t, v, all[v.From])
	}
	if out.Name != "" {
		told.Name = out.Name
	}
}

func check(t testing.TB, facts []proto.Fact) {
	t.Helper()
	if len(facts) > proto.MaxFacts {
		t.Errorf("%d facts", len(facts))
	}
	for _, f := range facts {
		if f.Name == "" || f.Value == "" || len(f.Value) > proto.MaxValue || !utf8.ValidString(f.Value) {
			t.Errorf("fact %q: %q", f.Name, f.Value)
		}
		for _, r := range f.Value {
			if r < ' ' {
				t.Errorf("fact %q: %q holds a control character", f.Name, f.Value)
			}
		}
	}
}

// Verdict checks that the proof of v lies in b.
func Verdict(t testing.TB, v proto.Verdict, b []byte) {
	t.Helper()
	if v.Label == "" {
		return
	}
	if v.At < 0 || v.Size <= 0 || v.At+v.Size > len(b) {
		t.Errorf("%+v of %d bytes", v, len(b))
	}
	if v.Confidence != proto.Certain && v.Confidence != proto.Probable && v.Confidence != proto.Hint {
		t.Errorf("%+v", v)
	}
}

// Rejects checks that looking at b tells nothing and allocates nothing.
func Rejects(t *testing.T, name string, b []byte, is func([]byte) proto.Verdict) {
	t.Helper()
	if v := is(b); v.Label != "" {
		t.Errorf("%s: %+v", name, v)
	}
	if n := testing.AllocsPerRun(100, func() { is(b) }); n != 0 {
		t.Errorf("%s: %v allocations to reject", name, n)
	}
}
