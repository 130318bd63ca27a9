package html

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	stdhtml "html"
	"slices"
	"strings"

	"github.com/sonae/sonae/ledger"
	"github.com/sonae/sonae/ledger/paper"
)

// seal is what stands in the places of a finished page.
type seal struct {
	digest     string // hex SHA-256 of the page with blank places
	proof      []byte // ledger.Proof.Bytes, empty: not yet recorded
	checkpoint string // the signed note inside the proof
}

// place is a stretch of the page whose text follows from the seal. What people
// wrote is escaped, so it contains neither < nor a straight quote, and cannot
// look like the beginning of a place.
type place struct {
	name       string
	begin, end string
	text       func(s seal) string
}

// places lists the places of a page. Pages that were made before checkpoints
// were also printed as words and a code have fewer of them, and another foot;
// they stay as they were made.
func places(page []byte) []place {
	digest := func(s seal) string { return s.digest }
	foot, more := seal.words, []place{
		{"words on the page", `<td class="sonae-words" lang="ja">`, `</td>`, seal.spelled},
		{"code on the page", `<td class="sonae-qr">`, `</td>`, seal.code},
	}
	if !slices.ContainsFunc(more, func(p place) bool { return bytes.Contains(page, []byte(p.begin)) }) {
		foot, more = seal.short, nil
	}
	return append([]place{
		{"proof", `<meta name="sonae-proof" content="`, `"`, func(s seal) string { return base64.StdEncoding.EncodeToString(s.proof) }},
		{"digest in the head", `<meta name="sonae-digest" content="`, `"`, digest},
		{"digest at the foot", `--sonae-digest:"`, `"`, digest},
		{"checkpoint at the foot", `--sonae-checkpoint:"`, `"`, foot},
		{"digest on the page", `<td class="sonae-digest">`, `</td>`, digest},
		{"checkpoint on the page", `<td class="sonae-checkpoint">`, `</td>`, func(s seal) string { return stdhtml.EscapeString(s.note()) }},
	}, more...)
}

// holds names a place that stands in the body of a page, where none may be.
func holds(body []byte) string {
	for _, p := range places([]byte(`<td class="sonae-qr">`)) { // all places there are
		if bytes.Contains(body, []byte(p.begin)) {
			return p.name
		}
	}
	return ""
}

// words is the checkpoint in the space of a page foot, as it is read out.
func (s seal) words() string {
	if w, ok := ledger.WordsOf(s.checkpoint); ok {
		return w.String()
	}
	return "—"
}

// spelled is the checkpoint as it is read out, in both scripts.
func (s seal) spelled() string {
	if w, ok := ledger.WordsOf(s.checkpoint); ok {
		return w.String() + "<br>" + w.Latin()
	}
	return "—"
}

// code is the whole checkpoint for a camera. What is too long for a code is
// longer than any checkpoint.
func (s seal) code() string {
	if s.checkpoint == "" {
		return "—"
	}
	svg, err := paper.QR(s.checkpoint)
	if err != nil {
		return "—"
	}
	return svg
}

// short is what pages without words have at their foot: size of the log and
// the beginning of its root. It holds no quote: the lines of a note are a name, a
// number and base64.
func (s seal) short() string {
	lines := strings.Split(s.checkpoint, "\n")
	if len(lines) < 3 {
		return "—"
	}
	return strings.Map(func(r rune) rune {
		if r == '"' || r == '<' || r == '\\' {
			return -1
		}
		return r
	}, lines[0]+" "+lines[1]+" "+lines[2][:min(16, len(lines[2]))]+"…")
}

func (s seal) note() string {
	if s.checkpoint == "" {
		return "—"
	}
	return s.checkpoint
}

// Digest returns the hex SHA-256 of a page with blank places.
func Digest(blank []byte) string {
	sum := sha256.Sum256(blank)
	return hex.EncodeToString(sum[:])
}

// Fill puts the digest, the ledger's proof and its checkpoint into the places
// that Write left blank. Without a proof the page says "—" there.
func Fill(blank []byte, digest string, proof []byte, checkpoint string) ([]byte, error) {
	s := seal{digest: digest, proof: proof, checkpoint: checkpoint}
	out := blank
	for _, p := range places(blank) {
		from, to, err := p.find(out)
		if err != nil {
			return nil, err
		}
		if from != to {
			return nil, fmt.Errorf("the place of the %s is not blank", p.name)
		}
		out = bytes.Join([][]byte{out[:from], []byte(p.text(s)), out[to:]}, nil)
	}
	return out, nil
}

var errNoPlace = errors.New("is missing")

// find returns where the text of the place begins and ends.
func (p place) find(page []byte) (from, to int, err error) {
	at := bytes.Index(page, []byte(p.begin))
	if at < 0 {
		return 0, 0, fmt.Errorf("the place of the %s %w", p.name, errNoPlace)
	}
	from = at + len(p.begin)
	if bytes.Contains(page[from:], []byte(p.begin)) {
		return 0, 0, fmt.Errorf("the place of the %s stands there twice", p.name)
	}
	n := bytes.Index(page[from:], []byte(p.end))
	if n < 0 {
		return 0, 0, fmt.Errorf("the place of the %s has no end", p.name)
	}
	return from, from + n, nil
}

// open takes a finished page apart: the page with blank places, and what stood
// in the places by name.
func open(page []byte) (blank []byte, texts map[string]string, err error) {
	blank, texts = page, map[string]string{}
	for _, p := range places(page) {
		from, to, err := p.find(blank)
		if err != nil {
			return nil, texts, err
		}
		texts[p.name] = string(blank[from:to])
		blank = bytes.Join([][]byte{blank[:from], blank[to:]}, nil)
	}
	return blank, texts, nil
}
