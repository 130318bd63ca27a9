// Package bag is the form of a sealed evidence bag and its offline check.
//
// In: a bag as a folder or as the zip that the hub exports, and the verifier
// key of the ledger. Out: Report, which names every file that differs. Always
// true: no network and no hub is needed; any changed, added, removed or
// renamed file is named; memory is bounded whatever the bag holds.
//
// A bag follows BagIt 1.0 (RFC 8493). Its files prove each other in a chain:
//
//	proof.json              the ledger holds the digest of tagmanifest-sha256.txt
//	tagmanifest-sha256.txt  digests of all files beside data/ but those two
//	manifest-sha256.txt     digests of all files in data/, for `sha256sum -c`
//	manifest-sha512.txt     the same with SHA-512
//	custody.jsonl           who held it, each line with the digest of the line before
//	items.jsonl             what was taken, how, and what is missing and why
//	manifest-sha256.txt.tst RFC 3161 time stamp, when an authority was configured
//	ledger-key.txt          the public key that checks proof.json
//
// An exported zip also has custody-after-sealing.jsonl, with a ledger proof of
// its own.
package bag

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"unicode"
)

// Names of the files of a bag.
const (
	Declaration = "bagit.txt"
	Info        = "bag-info.txt"
	Manifest256 = "manifest-sha256.txt"
	Manifest512 = "manifest-sha512.txt"
	TagManifest = "tagmanifest-sha256.txt"
	Items       = "items.jsonl"
	Custody     = "custody.jsonl"
	Key         = "ledger-key.txt"
	Stamp       = "manifest-sha256.txt.tst"
	Proof       = "proof.json"
	After       = "custody-after-sealing.jsonl"
	AfterProof  = "custody-after-sealing.proof.json"
	Data        = "data/"
)

// Types of the leaves in the ledger.
const (
	LeafBag   = "bag"   // Ref: bag id. Digest: SHA-256 of tagmanifest-sha256.txt
	LeafAfter = "after" // Ref: bag id and line number. Digest: SHA-256 of custody-after-sealing.jsonl
)

// DeclarationText is the whole of bagit.txt.
const DeclarationText = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"

// Entry is one line of a manifest.
type Entry struct {
	Path   string // slash separated, from the bag's folder
	Digest string // lower-case hex
}

const (
	maxManifest = 64 << 20 // bytes
	maxPath     = 512      // bytes
	maxDepth    = 12
)

// ValidPath says whether a path below data/ may be used: it means the same on
// every system, and needs no escaping in a manifest.
func ValidPath(p string) bool {
	if len(p) > maxPath || !fs.ValidPath(p) || p == "." || strings.Count(p, "/") >= maxDepth || strings.ContainsAny(p, `\%:*?"<>|`) {
		return false
	}
	for seg := range strings.SplitSeq(p, "/") {
		if strings.TrimSpace(seg) != seg || strings.HasSuffix(seg, ".") {
			return false
		}
	}
	return !strings.ContainsFunc(p, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar })
}

// WriteManifest writes entries in the order of their paths, as sha256sum does.
func WriteManifest(w io.Writer, entries []Entry) error {
	entries = slices.Clone(entries)
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	out := bufio.NewWriter(w)
	for _, e := range entries {
		fmt.Fprintf(out, "%s  %s\n", e.Digest, e.Path)
	}
	return out.Flush()
}

// ParseManifest reads exactly what WriteManifest writes for digests of size
// bytes; the error names the line.
func ParseManifest(b []byte, size int) ([]Entry, error) {
	if len(b) > maxManifest {
		return nil, fmt.Errorf("manifest of %d bytes is too long", len(b))
	}
	if len(b) > 0 && b[len(b)-1] != '\n' {
		return nil, errors.New("last line does not end")
	}
	var out []Entry
	last := ""
	for n := 1; len(b) > 0; n++ {
		line, rest, _ := bytes.Cut(b, []byte("\n"))
		b = rest
		digest, path, ok := strings.Cut(string(line), "  ")
		raw, err := hex.DecodeString(digest)
		if !ok || err != nil || len(raw) != size || digest != strings.ToLower(digest) {
			return nil, fmt.Errorf("line %d is not a digest, two spaces and a path", n)
		}
		if !ValidPath(path) {
			return nil, fmt.Errorf("line %d: path cannot be used", n)
		}
		if n > 1 && path <= last {
			return nil, fmt.Errorf("line %d is not in the order of the paths", n)
		}
		last = path
		out = append(out, Entry{Path: path, Digest: digest})
	}
	return out, nil
}
