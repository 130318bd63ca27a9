package scan

import (
	"bytes"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
)

// joined cuts a text and returns its pieces, the last one being what could not
// be cut.
func joined(t *testing.T, text string, size int) (parts []string, whole bool) {
	t.Helper()
	room := sync.Pool{New: func() any { return new([]byte) }}
	lines, bytesBefore := uint64(0), int64(0)
	rest, at, err := divide(strings.NewReader(text), size, &room, func(p piece) error {
		if p.line != lines || p.offset != bytesBefore {
			t.Errorf("piece %d begins behind line %d, byte %d; want %d, %d", len(parts), p.line, p.offset, lines, bytesBefore)
		}
		parts = append(parts, string(p.data))
		lines += uint64(bytes.Count(p.data, []byte{'\n'}))
		bytesBefore += int64(len(p.data))
		room.Put(&p.data)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if rest == nil {
		return parts, true
	}
	b, err := io.ReadAll(rest)
	if err != nil {
		t.Fatal(err)
	}
	if at.line != lines || at.offset != bytesBefore {
		t.Errorf("the rest begins behind line %d, byte %d; want %d, %d", at.line, at.offset, lines, bytesBefore)
	}
	return append(parts, string(b)), false
}

func TestLogsAreCutBetweenObjectsOnly(t *testing.T) {
	for _, c := range []struct {
		name, text string
		size       int
		want       []string
	}{
		{"between lines", "{\"a\":1}\n{\"b\":2}\n{\"c\":3}\n", 12, []string{"{\"a\":1}\n", "{\"b\":2}\n", "{\"c\":3}\n"}},
		{"with carriage returns", "{\"a\":1}\r\n{\"b\":2}\r\n", 14, []string{"{\"a\":1}\r\n", "{\"b\":2}\r\n"}},
		{"not inside an array", "[{\"a\":1},\n{\"b\":2},\n{\"c\":3}]\n", 16, []string{"[{\"a\":1},\n{\"b\":2},\n{\"c\":3}]\n"}},
		{"not in a written-out object", "{\n\"a\":\n{\"x\":1}}\n", 10, []string{"{\n\"a\":\n{\"x\":1}}\n"}},
		{"nothing", "", 10, []string{""}},
	} {
		parts, _ := joined(t, c.text, c.size)
		if !slices.Equal(parts, c.want) {
			t.Errorf("%s: %q, want %q", c.name, parts, c.want)
		}
	}
}

func FuzzDivide(f *testing.F) {
	f.Add("{\"a\":1}\n{\"b\":2}\n", uint8(9))
	f.Add("}\n{}\n{", uint8(3))
	f.Fuzz(func(t *testing.T, text string, size uint8) {
		parts, _ := joined(t, text, int(size)+1)
		if strings.Join(parts, "") != text {
			t.Errorf("%q is not %q", parts, text)
		}
	})
}

func TestPiecesOfAnySizeMakeTheSameLog(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var b strings.Builder
	for range 500 {
		b.WriteString("{\"a\":\"" + strings.Repeat("x", r.IntN(90)) + "\"}\n")
	}
	for _, size := range []int{64, 100, 1000, 100000} {
		parts, whole := joined(t, b.String(), size)
		if strings.Join(parts, "") != b.String() {
			t.Errorf("pieces of %d bytes lose something", size)
		}
		if size >= 200 && !whole {
			t.Errorf("pieces of %d bytes are not cut to the end", size)
		}
	}
}
