package source

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf16"
)

func TestTimes(t *testing.T) {
	jst := time.FixedZone("JST", 9*3600)
	for in, want := range map[string]string{
		"2026-01-02T03:04:05Z":            "2026-01-02T03:04:05Z",
		"2026-01-02t03:04:05z":            "2026-01-02T03:04:05Z",
		"2026-01-02T03:04:05.123456789Z":  "2026-01-02T03:04:05.123456789Z",
		"2026-01-02T03:04:05.1234567891Z": "2026-01-02T03:04:05.123456789Z",
		"2026-01-02T03:04:05+09:00":       "2026-01-01T18:04:05Z",
		"2026-01-02T03:04:05.5-0330":      "2026-01-02T06:34:05.5Z",
		"2026-01-02 03:04:05":             "2026-01-01T18:04:05Z",
		"2026-01-02 03:04:05,250":         "2026-01-01T18:04:05.25Z",
		"2026-01-02 03:04:05 UTC":         "2026-01-02T03:04:05Z",
		"2026-12-31T23:59:60Z":            "2027-01-01T00:00:00Z",
		"1767323045":                      "2026-01-02T03:04:05Z",
		"1767323045.000001":               "2026-01-02T03:04:05.000001Z",
		"1767323045000":                   "2026-01-02T03:04:05Z",
		"1767323045000001":                "2026-01-02T03:04:05.000001Z",
		"1767323045000000001":             "2026-01-02T03:04:05.000000001Z",

		"":                            "",
		"yesterday":                   "",
		"12":                          "",
		"2026-02-30T03:04:05Z":        "",
		"2026-13-01T03:04:05Z":        "",
		"2026-01-02T24:04:05Z":        "",
		"2026-01-02T03:04:05.Z":       "",
		"2026-01-02T03:04:05+9:00":    "",
		"2026-01-02T03:04:05+09:":     "",
		"2026-01-02T03:04:05 and so":  "",
		"1767323045.":                 "",
		"17673230450000000010":        "",
		"1767323045x":                 "",
		"2026-01-02x03:04:05":         "",
		"99999999999999999999999999":  "",
		"2026-01-02T03:04:05+99:99":   "",
		"2026-01-02T03:04:05.1.2Z":    "",
		"2026-01-0203:04:05 12345678": "",
	} {
		got := ""
		if at, ok := Time([]byte(in), jst); ok {
			got = at.Format(time.RFC3339Nano)
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestStampsWithoutAYear(t *testing.T) {
	jst := time.FixedZone("JST", 9*3600)
	opt := Options{Now: time.Date(2026, 1, 1, 0, 30, 0, 0, jst), Zone: jst}
	for in, want := range map[string]string{
		"Dec 31 23:59:58 x":                "2025-12-31T14:59:58Z",
		"Jan  1 00:00:01 x":                "2025-12-31T15:00:01Z",
		"Jan  2 00:00:01 x":                "2026-01-01T15:00:01Z", // a clock may be ahead
		"Jan  3 00:00:01 x":                "2025-01-02T15:00:01Z",
		"Feb 29 00:00:01 x":                "2024-02-28T15:00:01Z",
		"Jan  2 2020 00:00:01 x":           "2020-01-01T15:00:01Z",
		"Jan  2 00:00:01.123 x":            "2026-01-01T15:00:01Z",
		"2026-01-01T00:29:59.5+09:00 x":    "2025-12-31T15:29:59.5Z",
		"Feb 30 00:00:01 x":                "",
		"Foo  1 00:00:01 x":                "",
		"Jan  1 00:00 x":                   "",
		"Jan  1 00:00:61 x":                "",
		"Jan 32 00:00:01 x":                "",
		"2026-01-01T00:29:59.5+09:00:00 x": "",
	} {
		got := ""
		if at, rest, ok := Stamp([]byte(in), opt); ok {
			got = at.Format(time.RFC3339Nano)
			if string(rest) != "x" {
				t.Errorf("%q: %q is left", in, rest)
			}
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	if at, _, ok := Stamp([]byte("Jan  1 00:00:01 x"), Options{}); !ok || !at.IsZero() {
		t.Errorf("without now: got %v, %v", at, ok)
	}
}

func TestLines(t *testing.T) {
	long := strings.Repeat("x", MaxRecord+1)
	for name, c := range map[string]struct {
		in   string
		want []string
		bad  uint64
	}{
		"none":              {in: ""},
		"plain":             {in: "a\nb\r\n\nc", want: []string{"a", "b", "c"}},
		"byte order":        {in: "\xef\xbb\xbfa\nb\n", want: []string{"a", "b"}},
		"too long":          {in: "a\n" + long + "\nb\n", want: []string{"a", "b"}, bad: 1},
		"just long enough":  {in: "a\n" + long[1:] + "\nb\n", want: []string{"a", long[1:], "b"}},
		"too long, the end": {in: "a\n" + long + long, want: []string{"a"}, bad: 1},
	} {
		t.Run(name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(c.in), iotest.HalfReader(strings.NewReader(c.in)), iotest.DataErrReader(strings.NewReader(c.in))} {
				var report Report
				var got []string
				err := EachLine(context.Background(), r, &report, func(l *Lines, line []byte) error {
					got = append(got, string(line))
					if at := l.Offset(); len(line) < 9 && !strings.HasPrefix(c.in[max(at, 0):], string(line)) && c.in[0] != '\xef' {
						t.Errorf("%q is not at %d", line, at)
					}
					return nil
				})
				if err != nil || strings.Join(got, "|") != strings.Join(c.want, "|") || report.BadTotal != c.bad || report.Bytes != uint64(len(c.in)) {
					t.Errorf("%v, %d lines, report %+v", err, len(got), report)
				}
			}
		})
	}
}

func TestTroubleOfTheStreamIsTold(t *testing.T) {
	trouble := errors.New("the disk is gone")
	var report Report
	n := 0
	err := EachLine(context.Background(), io.MultiReader(strings.NewReader("a\nb\n"), iotest.ErrReader(trouble)), &report, func(*Lines, []byte) error { n++; return nil })
	if !errors.Is(err, trouble) || n != 2 {
		t.Errorf("got %v after %d lines", err, n)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := EachLine(ctx, strings.NewReader("a\n"), &report, func(*Lines, []byte) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v of a context that ended", err)
	}
}

func FuzzUTF16(f *testing.F) {
	f.Add([]byte{0x3d, 0xd8, 0x00, 0xde, 0x3d}, true)
	f.Fuzz(func(t *testing.T, b []byte, big bool) {
		units := make([]uint16, len(b)/2)
		mark := "\xff\xfe"
		for i := range units {
			units[i] = uint16(b[2*i]) | uint16(b[2*i+1])<<8
			if big {
				units[i] = units[i]>>8 | units[i]<<8
			}
		}
		if big {
			mark = "\xfe\xff"
		}
		w := NewWindow(iotest.OneByteReader(io.MultiReader(strings.NewReader(mark), bytes.NewReader(b))))
		for w.More() {
			continue
		}
		if got, want := string(w.Bytes()), string(utf16.Decode(units)); got != want && w.Err() == nil {
			t.Errorf("%x: got %q, want %q", b, got, want)
		}
	})
}

func FuzzTime(f *testing.F) {
	for _, s := range []string{"2026-01-02T03:04:05.123+09:00", "1767323045.1", "Jan  2 03:04:05 x"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, ok := Time(b, time.UTC)
		want, err := time.Parse(time.RFC3339Nano, string(b))
		if err == nil && ok && !got.Equal(want) {
			t.Errorf("%q: got %v, want %v", b, got, want)
		}
		_, _, _ = Stamp(b, Options{Now: time.Unix(1767323045, 0)})
	})
}
