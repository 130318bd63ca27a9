package segment

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func sketchOf(t testing.TB, texts ...string) *Sketch {
	t.Helper()
	var k sketcher
	for i, s := range texts {
		k.add(&Row{Raw: s})
		k.end(int64(i), 1000)
	}
	f, err := k.write(filepath.Join(t.TempDir(), "1.sketch"))
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := OpenSketch(f.Path, f.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSketch(t *testing.T) {
	s := sketchOf(t, "powershell -c IEX Invoke-Mimikatz", "患者情報を閲覧しました ÄÖÜ \u212Aelvin \u0130\u017Ftanbul", "src=203.0.113.77:443 dst=10.0.0.1", "")
	if !slices.Equal(s.Parts(), []int64{0, 1, 2, 3}) {
		t.Errorf("parts %v", s.Parts())
	}
	for needle, want := range map[string][]int64{
		"Invoke-Mimikatz": {0}, "invoke-MIMI": {0}, "IMIKAT": {0}, "mimikatz2": {}, "情報を閲": {1}, "患者情報": {1}, "患者一覧": {},
		"203.0.113.77": {2}, "203.0.113.7": {2}, "113.77:443": {2}, "203.0.113.8": {}, "3.0.113.77": {2}, "213.0.113.77": {},
		"": {0, 1, 2, 3}, "iex": {0, 1, 2, 3}, "äöü": {0, 1, 2, 3}, "ました äö": {1}, "kelvin": {1}, "istanbul": {1}, "\u0130\u017Ftanbul": {1}, "ｋelvin": {1}, "\u212Aelvin": {1},
	} {
		if got := s.MayHold(needle); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", needle, got, want)
		}
	}
}

func TestASketchOfSegmentsHidesNothing(t *testing.T) {
	dir := t.TempDir()
	f := written(t, dir, 3, batchOf(1, 2000), odd())
	s, _, err := OpenSketch(f.Sketch.Path, f.Sketch.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	if f.Sketch.Bytes > 2*f.Rows+64 {
		t.Errorf("%d bytes for %d events", f.Sketch.Bytes, f.Rows)
	}
	for _, e := range all(t, f) {
		texts := []string{e.Raw, e.Host, e.Site, string(e.Kind)}
		for name, v := range e.Fields {
			if h := hotOf(name); h == nil || h.Text != nil {
				texts = append(texts, v)
			}
		}
		for _, text := range texts {
			for i := range min(len(text), 40) {
				part := text[i:min(len(text), i+12)]
				needle := strings.ToUpper(part)
				if !utf8.ValidString(part) || lower(needle) != lower(part) {
					continue
				}
				if len(s.MayHold(needle)) == 0 {
					t.Fatalf("%q in %q is hidden", needle, text)
				}
			}
		}
	}
}

// FuzzSketchHidesNothing looks for a part of a text in any case.
func FuzzSketchHidesNothing(f *testing.F) {
	f.Add("powershell -c Invoke-Mimikatz 203.0.113.77", 3, 20)
	f.Add("患者情報 \u212A\u017F\u0130 ÄÖ", 0, 12)
	f.Fuzz(func(t *testing.T, text string, from, to int) {
		text = clean(text)
		if from < 0 || to > len(text) || from > to || !utf8.ValidString(text[from:to]) {
			return
		}
		var k sketcher
		k.add(&Row{Fields: []Field{{"f", text}}})
		k.end(7, 1)
		s := Sketch{parts: k.parts}
		for _, needle := range []string{text[from:to], strings.ToUpper(text[from:to]), strings.ToLower(text[from:to])} {
			if lower(needle) == lower(text[from:to]) && len(s.MayHold(needle)) == 0 {
				t.Errorf("%q is hidden in %q", needle, text)
			}
		}
	})
}

func TestAChangedSketchIsRefused(t *testing.T) {
	f := written(t, t.TempDir(), 3, batchOf(1, 20))
	b, err := os.ReadFile(f.Sketch.Path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(f.Sketch.Path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := OpenSketch(f.Sketch.Path, f.Sketch.SHA256); err == nil {
		t.Error("accepted")
	}
}

func FuzzSketch(f *testing.F) {
	var k sketcher
	k.add(&Row{Raw: "Invoke-Mimikatz from 203.0.113.77"})
	k.end(77, 100)
	k.add(&Row{Raw: "患者情報"})
	k.end(78, 3)
	facts, err := k.write(filepath.Join(f.TempDir(), "1.sketch"))
	if err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(facts.Path)
	if err != nil {
		f.Fatal(err)
	}
	k.fine, k.parts = true, nil
	k.add(&Row{Raw: "Invoke-Mimikatz from 203.0.113.77"})
	k.end(77, 1)
	fine, _ := k.encode()
	f.Add(fine, "mimikatz")
	f.Add(good, "mimikatz")
	f.Add(good[:len(good)-1], "患者")
	f.Add([]byte(sketchMagic+"\xff\xff\xff\xff"), "x")
	f.Fuzz(func(t *testing.T, b []byte, needle string) {
		s, _, err := parseSketch(b, int64(len(b)))
		if err != nil {
			return
		}
		size := 0
		for _, p := range s.parts {
			size += len(p.bits)
		}
		if size > len(b) {
			t.Errorf("%d bytes of bitmaps from a file of %d", size, len(b))
		}
		if got := s.MayHold(needle); len(got) > len(s.Parts()) {
			t.Errorf("%v of %v", got, s.Parts())
		}
		if !bytes.HasPrefix(b, []byte(sketchMagic)) && !bytes.HasPrefix(b, []byte(fineMagic)) {
			t.Error("accepted without its magic")
		}
	})
}

// lower is how the engine compares; strings.EqualFold takes more for equal.
func lower(s string) string { return strings.ToLower(s) }
