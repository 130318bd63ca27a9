package html

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"

	"github.com/sonae/sonae/ledger"
)

// ErrNotReport says that a file is no report page of Sonae at all.
var ErrNotReport = errors.New("not a report page of Sonae")

// maxPage bounds what Verify reads. A page holds at most a few hundred lines
// of chronology.
const maxPage = 32 << 20

// Report is what Verify found.
type Report struct {
	Document   string   `json:"document"`    // id and language as the ledger recorded them, e.g. "do-…/ja"
	Digest     string   `json:"digest"`      // of the page as it is now
	Recorded   string   `json:"recorded"`    // the digest that the ledger recorded
	RecordedAt string   `json:"recorded_at"` // RFC 3339, empty without a valid proof
	Size       uint64   `json:"size"`        // of the log, by the signed checkpoint
	Problems   []string `json:"problems"`    // empty: intact
}

// Intact says whether nothing was found.
func (r Report) Intact() bool { return len(r.Problems) == 0 }

func (r *Report) problem(format string, args ...any) {
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}

// Verify checks a report page without the hub: that the text is the one whose
// digest the ledger recorded, that the proof leads to a checkpoint signed by
// the owner of verifierKey, and that nothing else was put into the page. The
// error is ErrNotReport, or that the file cannot be read; everything else is a
// problem in the Report.
func Verify(path, verifierKey string) (Report, error) {
	f, err := os.Open(path)
	if err != nil {
		return Report{}, fmt.Errorf("verify report: %w", err)
	}
	defer f.Close()
	page, err := io.ReadAll(io.LimitReader(f, maxPage+1))
	if err != nil {
		return Report{}, fmt.Errorf("verify report: %w", err)
	}
	if len(page) > maxPage {
		return Report{}, fmt.Errorf("verify report %s: longer than %d bytes: %w", path, maxPage, ErrNotReport)
	}
	return verify(page, verifierKey)
}

var documentRef = regexp.MustCompile(`<meta name="sonae-document" content="([^"]*)">`)

func verify(page []byte, verifierKey string) (Report, error) {
	if !looksLikeReport(page) {
		return Report{}, ErrNotReport
	}
	var r Report
	blank, texts, err := open(page)
	if err != nil {
		r.problem("%v", err)
		return r, nil
	}
	r.Digest, r.Recorded = Digest(blank), texts["digest in the head"]
	if r.Digest != r.Recorded {
		r.problem("the text was changed: its SHA-256 is %s, the page states %s", r.Digest, r.Recorded)
	}
	s := seal{digest: r.Recorded}
	if s.proof, err = base64.StdEncoding.Strict().DecodeString(texts["proof"]); err != nil {
		r.problem("the proof is damaged: %v", err)
		return r, nil
	}
	if len(s.proof) == 0 {
		r.problem("the page was printed before the ledger had recorded it: there is no proof in it")
		return r, nil
	}
	s.checkpoint = r.checkProof(s.proof, verifierKey, blank)
	for _, p := range places(page) {
		if texts[p.name] != p.text(s) {
			r.problem("the %s is not what the proof says", p.name)
		}
	}
	return r, nil
}

// checkProof compares the page with the leaf that the ledger signed for and
// returns the checkpoint.
func (r *Report) checkProof(b []byte, verifierKey string, blank []byte) string {
	p, err := ledger.ParseProof(b)
	if err != nil {
		r.problem("the proof is damaged: %v", err)
		return ""
	}
	cp, err := ledger.ParseCheckpoint(p.Checkpoint, verifierKey)
	if err == nil {
		err = p.Verify(verifierKey)
	}
	if err != nil {
		r.problem("the proof does not hold: %v", err)
		return p.Checkpoint
	}
	r.Size, r.Document, r.RecordedAt = cp.Size, p.Leaf.Ref, p.Leaf.At.Format("2006-01-02T15:04:05Z07:00")
	if p.Leaf.Type != "document" && p.Leaf.Type != "sheet-page" || p.Leaf.Digest != r.Digest {
		r.problem("the ledger recorded %s %s with SHA-256 %s, this page has %s", p.Leaf.Type, p.Leaf.Ref, p.Leaf.Digest, r.Digest)
	}
	if m := documentRef.FindSubmatch(blank); m == nil || string(m[1]) != p.Leaf.Ref {
		r.problem("the page says it is document %q, the proof is for %q", m, p.Leaf.Ref)
	}
	return p.Checkpoint
}

// looksLikeReport is generous, so that a damaged report is called damaged and
// not something else.
func looksLikeReport(page []byte) bool {
	for _, p := range places(page) {
		if bytes.Contains(page, []byte(p.begin)) {
			return true
		}
	}
	return documentRef.Match(page)
}
