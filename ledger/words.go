package ledger

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	flog "github.com/transparency-dev/formats/log"
)

// A checkpoint is read out as its size and a few words of two syllables. The
// words stand for 96 bits of a digest over the log's name, size and root; one
// word more shows that a word was misread. There are 256 words: one of sixteen
// first syllables and one of sixteen second ones, chosen so that the two cannot
// be mistaken for each other and that none sounds like its neighbour on a bad
// line. They can be written in kana or in Latin letters.
const (
	tagWords = 12
	allWords = tagWords + 1
)

var (
	firstKana   = [16]string{"か", "さ", "た", "な", "は", "ま", "や", "ら", "き", "に", "み", "り", "つ", "す", "ふ", "む"}
	firstLatin  = [16]string{"ka", "sa", "ta", "na", "ha", "ma", "ya", "ra", "ki", "ni", "mi", "ri", "tsu", "su", "fu", "mu"}
	secondKana  = [16]string{"こ", "そ", "と", "の", "ほ", "も", "よ", "ろ", "け", "せ", "て", "ね", "へ", "め", "れ", "わ"}
	secondLatin = [16]string{"ko", "so", "to", "no", "ho", "mo", "yo", "ro", "ke", "se", "te", "ne", "he", "me", "re", "wa"}
)

// Words is a checkpoint as people read it to each other.
type Words struct {
	Size uint64
	tag  [tagWords]byte
}

// Words returns what people read out of a checkpoint.
func (c Checkpoint) Words() Words {
	origin, _, _ := strings.Cut(c.Text, "\n")
	return wordsOf(origin, c.Size, c.root())
}

// WordsOf returns the words of a signed note without checking the signature; ok
// is false when the text is no checkpoint at all.
func WordsOf(text string) (w Words, ok bool) {
	var cp flog.Checkpoint
	if _, err := cp.Unmarshal([]byte(text)); err != nil || len(cp.Hash) != sha256.Size {
		return w, false
	}
	return wordsOf(cp.Origin, cp.Size, cp.Hash), true
}

func wordsOf(origin string, size uint64, root []byte) Words {
	sum := sha256.Sum256([]byte("sonae.ledger.words/1\n" + origin + "\n" + decimal(size) + "\n" + base64.StdEncoding.EncodeToString(root) + "\n"))
	return Words{size, [tagWords]byte(sum[:])}
}

// check is the word that shows a misread word or size.
func (w Words) check() byte {
	sum := sha256.Sum256([]byte("sonae.ledger.words/1 check\n" + decimal(w.Size) + "\n" + string(w.tag[:])))
	return sum[0]
}

// Kana returns the words in hiragana, separated by blanks, without the size.
func (w Words) Kana() string { return w.spell(firstKana, secondKana) }

// Latin returns the words in Latin letters (Hepburn), without the size.
func (w Words) Latin() string { return w.spell(firstLatin, secondLatin) }

func (w Words) spell(first, second [16]string) string {
	all := make([]string, 0, allWords)
	for _, b := range append(w.tag[:tagWords:tagWords], w.check()) {
		all = append(all, first[b>>4]+second[b&15])
	}
	return strings.Join(all, " ")
}

// String is what is read out: size and words.
func (w Words) String() string { return decimal(w.Size) + " " + w.Kana() }

// maxWords bounds what ParseWords reads.
const maxWords = 1 << 10

// ParseWords reads a size and words as somebody wrote them down: in hiragana,
// katakana or Latin letters, full or half width, with any separators. An error
// says which word is none, or that the last word does not fit the others.
func ParseWords(text string) (Words, error) {
	var w Words
	if len(text) > maxWords {
		return w, errors.New("words: too long")
	}
	fields := strings.FieldsFunc(plain(text), func(r rune) bool { return strings.ContainsRune(" \t\r\n\u3000,、。.・/-—:;", r) })
	if len(fields) == 0 {
		return w, errors.New("words: the number of leaves comes first")
	}
	size, err := strconv.ParseUint(fields[0], 10, 64)
	if err != nil || size > maxIndex {
		return w, fmt.Errorf("words: the number of leaves comes first, not %q", fields[0])
	}
	w.Size = size
	rest, n := strings.Join(fields[1:], ""), 0
	var last byte
	for ; rest != ""; n++ {
		b, after, ok := word(rest)
		if !ok {
			return w, fmt.Errorf("words: word %d is none of the words: %q", n+1, cut(rest))
		}
		switch {
		case n < tagWords:
			w.tag[n] = b
		case n == tagWords:
			last = b
		}
		rest = after
	}
	if n != allWords {
		return w, fmt.Errorf("words: %d words instead of %d", n, allWords)
	}
	if last != w.check() {
		return w, errors.New("words: the last word does not fit: a word or the number was misread")
	}
	return w, nil
}

// plain turns katakana into hiragana, full-width signs into half-width ones,
// and capitals into small letters.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'ァ' && r <= 'ヶ':
			return r - 'ァ' + 'ぁ'
		case r >= '！' && r <= '～':
			r -= '！' - '!'
		}
		if r >= 'A' && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, text)
}

// word reads one word at the beginning of text.
func word(text string) (b byte, rest string, ok bool) {
	for _, in := range [][2][16]string{{firstKana, secondKana}, {firstLatin, secondLatin}} {
		hi, after, ok := syllable(text, in[0])
		if !ok {
			continue
		}
		if lo, after, ok := syllable(after, in[1]); ok {
			return hi<<4 | lo, after, true
		}
	}
	return 0, text, false
}

func syllable(text string, of [16]string) (n byte, rest string, ok bool) {
	for i, s := range of {
		if after, ok := strings.CutPrefix(text, s); ok {
			return byte(i), after, true
		}
	}
	return 0, text, false
}

// cut shortens a text for a message.
func cut(text string) string {
	if r := []rune(text); len(r) > 8 {
		return string(r[:8]) + "…"
	}
	return text
}
