// Package beside checks a file by the proof that lies beside it.
//
// In: FILE and FILE.proof, the ledger's key. Out: what is wrong. Always true:
// the file is read as bytes only, whatever its format; a proof binds all of
// them.
package beside

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/sonae/sonae/ledger"
)

// Suffix is what the name of a proof has more than that of its file.
const Suffix = ".proof"

// Report is what Verify found.
type Report struct {
	Document   string   `json:"document"`    // id, face and format as the ledger recorded them, e.g. "do-…/approved/ja.docx"
	Digest     string   `json:"digest"`      // of the file as it is now
	RecordedAt string   `json:"recorded_at"` // RFC 3339, empty without a valid proof
	Problems   []string `json:"problems"`    // empty: intact
}

// Bounds in bytes: documents are smaller than 64 MiB, proofs than 1 MiB.
const (
	maxFile  = 256 << 20
	maxProof = 1 << 20
)

// Verify checks a file without the hub. The error is that one of both cannot be
// read; everything else is a problem in the Report.
func Verify(path, verifierKey string) (Report, error) {
	digest, err := sum(path)
	if err != nil {
		return Report{}, fmt.Errorf("verify document: %w", err)
	}
	b, err := read(path+Suffix, maxProof)
	if err != nil {
		return Report{}, fmt.Errorf("verify document: %w", err)
	}
	return verify(digest, b, verifierKey), nil
}

func verify(digest string, proof []byte, verifierKey string) Report {
	r := Report{Digest: digest}
	p, err := ledger.ParseProof(proof)
	if err != nil {
		r.Problems = append(r.Problems, fmt.Sprintf("the proof is damaged: %v", err))
		return r
	}
	if err := p.Verify(verifierKey); err != nil {
		r.Problems = append(r.Problems, fmt.Sprintf("the proof does not hold: %v", err))
		return r
	}
	r.Document, r.RecordedAt = p.Leaf.Ref, p.Leaf.At.Format(time.RFC3339)
	if p.Leaf.Type != "document" || p.Leaf.Digest != digest {
		r.Problems = append(r.Problems, fmt.Sprintf("the ledger recorded %s %s with SHA-256 %s, this file has %s", p.Leaf.Type, p.Leaf.Ref, p.Leaf.Digest, digest))
	}
	return r
}

func sum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(f, maxFile+1))
	if err != nil {
		return "", err
	}
	if n > maxFile {
		return "", fmt.Errorf("%s is longer than any document", path)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func read(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = errors.New(path + " is longer than any proof")
	}
	return b, err
}
