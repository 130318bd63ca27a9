package proto

import (
	"strings"
	"testing"
)

func TestTextStaysText(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                  "plain",
		"山田":                     "山田",
		"a\x00b\n":               "a\uFFFDb\uFFFD",
		`\\server\share`:         `\\server\share`,
		"\xff":                   "\uFFFD",
		strings.Repeat("山", 100): strings.Repeat("山", 85),
	} {
		if got := Text([]byte(in)); got != want {
			t.Errorf("Text(%q) = %q, want %q", in, got, want)
		}
	}
	if got := Text16([]byte{'a', 0, 0x71, 0x5c, 1, 0}); got != "a山\uFFFD" {
		t.Errorf("Text16 = %q", got)
	}
}

func TestReaderEndsQuietly(t *testing.T) {
	r := Reader{B: []byte{0, 3, 'a', 'b'}}
	if r.Vector(2); !r.Bad || len(r.B) != 0 || r.Uint(4) != 0 {
		t.Errorf("%+v", r)
	}
	r = Reader{B: []byte{0x30, 0x82, 0, 1, 7, 9}}
	if tag, content := r.Element(); tag != 0x30 || string(content) != "\x07" || string(r.B) != "\x09" {
		t.Errorf("%x %x %+v", tag, content, r)
	}
}

func TestSinkIsBounded(t *testing.T) {
	var s Sink
	for i := range 1000 {
		s.Fact("n", strings.Repeat("x", i+1))
		s.Tell(Opener, []Fact{{"n", "v"}})
	}
	if len(s.Facts) != MaxFacts || len(s.Messages) != MaxMessages {
		t.Errorf("%d facts, %d messages", len(s.Facts), len(s.Messages))
	}
	s.Reset()
	if len(s.Facts) != 0 || len(s.Messages) != 0 {
		t.Error("not empty")
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte{0x30, 3, 2, 1, 5})
	f.Fuzz(func(t *testing.T, b []byte) {
		for r := (Reader{B: b}); len(r.B) > 0; {
			before := len(r.B)
			if tag, content := r.Element(); r.Bad && (tag != 0 || content != nil) || !r.Bad && len(r.B) >= before {
				t.Fatalf("%x: %d before, %+v", b, before, r)
			}
		}
		Field(b, 0x30)
		if s := Text(b); len(s) > 3*MaxValue {
			t.Errorf("%d bytes", len(s))
		}
	})
}
