package guard

import (
	"bytes"
	"testing"
)

func FuzzFanotify(f *testing.F) {
	good := []byte{24, 0, 0, 0, 3, 0, 24, 0, 0, 0, 1, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1, 2, 0, 0}
	f.Add(good)
	f.Add(append(bytes.Clone(good), good[:10]...))
	f.Add([]byte{255, 255, 255, 255, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		if err := parseFanotify(b, func(happening) { n++ }); err == nil && n*fanotifyHeader > len(b) {
			t.Errorf("%d records in %d bytes", n, len(b))
		}
	})
}

func FuzzRecord(f *testing.F) {
	f.Add(make([]byte, recordSmall))
	b := make([]byte, recordSize)
	b[0] = byte(recordRise)
	copy(b[recordSmall:], "name")
	copy(b[recordSmall+recordName:], "..")
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRecord(b)
		if err == nil && len(r.path) > recordSize {
			t.Errorf("a path of %d bytes", len(r.path))
		}
	})
}

func FuzzStat(f *testing.F) {
	f.Add([]byte("1 (a b) c)) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12 1 1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, ok := parseStat(b); ok && s.state == 0 {
			t.Error("no state")
		}
	})
}

func FuzzSample(f *testing.F) {
	f.Add([]byte("text"), []byte("other"), "a.txt")
	f.Fuzz(func(t *testing.T, before, after []byte, name string) {
		s := newSampler()
		pre, err := s.take(bytes.NewReader(before), int64(len(before)))
		if err != nil {
			t.Fatal(err)
		}
		post, err := s.like(bytes.NewReader(after), int64(len(after)), pre)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(before, after) && compare(pre, post, name) != WhyNone && pre.Blocks > 0 {
			t.Error("what did not change is lost")
		}
		uncommon(name, name+".x")
	})
}
