package i18n

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func TestBothLanguagesSayTheSame(t *testing.T) {
	all := catalogues()
	if len(all[Japanese]) == 0 {
		t.Fatal("the Japanese catalogue is empty")
	}
	for _, pair := range [][2]string{{Japanese, English}, {English, Japanese}} {
		for key, text := range all[pair[0]] {
			if strings.TrimSpace(text) == "" {
				t.Errorf("%s: %q is empty", pair[0], key)
			}
			other, ok := all[pair[1]][key]
			if !ok {
				t.Errorf("%s has no %q", pair[1], key)
				continue
			}
			if got, want := names(other), names(text); !slices.Equal(got, want) {
				t.Errorf("%q: placeholders of %s %v, of %s %v", key, pair[0], want, pair[1], got)
			}
		}
	}
}

// names returns the distinct placeholders of text, sorted.
func names(text string) []string {
	found := placeholder.FindAllString(text, -1)
	slices.Sort(found)
	return slices.Compact(found)
}

func TestEnglishHasNoJapanese(t *testing.T) {
	for key, text := range catalogues()[English] {
		for _, r := range text {
			if r >= 0x3040 && r <= 0x30ff { // hiragana and katakana; single kanji may be quoted
				t.Errorf("%q in English contains %q: %s", key, r, text)
				break
			}
		}
	}
}

func TestKeyMayStandInOneFileOnly(t *testing.T) {
	fsys := fstest.MapFS{
		"ja/a.json": {Data: []byte(`{"x":"1"}`)},
		"ja/b.json": {Data: []byte(`{"x":"2"}`)},
	}
	if _, err := load(fsys, "ja"); err == nil || !strings.Contains(err.Error(), `"x"`) {
		t.Errorf("load = %v, want an error that names the key", err)
	}
}

func TestT(t *testing.T) {
	if got := T("ja", "no.such.key", nil); got != "⟦no.such.key⟧" {
		t.Errorf("unknown key = %q", got)
	}
	if got, want := T("fr", "app.name", nil), T("ja", "app.name", nil); got != want {
		t.Errorf("unknown language = %q, want the Japanese %q", got, want)
	}
}

func TestFillReplacesOnce(t *testing.T) {
	got := Fill("{a} and {b} and {c}", map[string]string{"a": "{b}", "b": "<b>"})
	if want := "{b} and <b> and {c}"; got != want {
		t.Errorf("Fill = %q, want %q", got, want)
	}
}
