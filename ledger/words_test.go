package ledger

import (
	"fmt"
	"strings"
	"testing"
)

func TestWordsAreReadBack(t *testing.T) {
	w := wordsOf("sonae", 1234, make([]byte, 32))
	if len(strings.Fields(w.Kana())) != allWords || len(strings.Fields(w.Latin())) != allWords {
		t.Fatalf("%s\n%s", w.Kana(), w.Latin())
	}
	for name, text := range map[string]string{
		"as printed":         w.String(),
		"Latin":              "1234 " + w.Latin(),
		"capitals, commas":   "１２３４: " + strings.ToUpper(strings.ReplaceAll(w.Latin(), " ", ", ")),
		"without separators": "1234 " + strings.ReplaceAll(w.Kana(), " ", ""),
		"katakana": "1234　" + strings.Map(func(r rune) rune {
			if r >= 'ぁ' && r <= 'ゖ' {
				return r + 'ァ' - 'ぁ'
			}
			return r
		}, w.Kana()),
	} {
		if got, err := ParseWords(text); err != nil || got != w {
			t.Errorf("%s: %q: %v, %v", name, text, got, err)
		}
	}
	words := strings.Fields(w.Kana())
	for name, text := range map[string]string{
		"nothing":       "",
		"no size":       w.Kana(),
		"another size":  "1235 " + w.Kana(),
		"one too few":   "1234 " + strings.Join(words[1:], " "),
		"one too many":  w.String() + " " + words[0],
		"another word":  strings.Replace(w.String(), words[3], "かこ", 1),
		"no word":       strings.Replace(w.String(), words[3], "かに", 1),
		"very long":     "1 " + strings.Repeat("かこ", 1<<10),
		"enormous size": "99999999999999999999 " + w.Kana(),
		"exchanged":     "1234 " + strings.Join(append([]string{words[1], words[0]}, words[2:]...), " "),
	} {
		if got, err := ParseWords(text); err == nil {
			t.Errorf("%s: %q was taken as %v", name, text, got)
		}
	}
	for _, other := range []Words{wordsOf("sonae", 1234, append(make([]byte, 31), 1)), wordsOf("other", 1234, make([]byte, 32)), wordsOf("sonae", 1235, make([]byte, 32))} {
		if other.Kana() == w.Kana() {
			t.Errorf("%v has the words of another log", other)
		}
	}
}

// TestWordsAreAllDifferent: 256 words, none the beginning of another, so that
// they can be read without separators.
func TestWordsAreAllDifferent(t *testing.T) {
	for name, in := range map[string][2][16]string{"kana": {firstKana, secondKana}, "latin": {firstLatin, secondLatin}} {
		seen := map[string]bool{}
		for i := range 256 {
			w := in[0][i>>4] + in[1][i&15]
			if b, rest, ok := word(w + "x"); !ok || int(b) != i || rest != "x" || seen[w] {
				t.Errorf("%s: %q is read as %d, rest %q", name, w, b, rest)
			}
			seen[w] = true
		}
		for _, rude := range []string{"くそ", "kuso", "しね", "shine"} {
			if seen[rude] {
				t.Errorf("%s: %s is among the words", name, rude)
			}
		}
	}
}

func FuzzParseWords(f *testing.F) {
	f.Add(wordsOf("sonae", 7, make([]byte, 32)).String())
	f.Add("1 ka ko")
	f.Fuzz(func(t *testing.T, text string) {
		w, err := ParseWords(text)
		if err != nil {
			return
		}
		if again, err := ParseWords(fmt.Sprint(w)); err != nil || again != w {
			t.Errorf("%q was read as %v, and that as %v, %v", text, w, again, err)
		}
	})
}
