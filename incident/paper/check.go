package paper

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/sonae/sonae/incident/record"
	"github.com/sonae/sonae/ledger"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/rows"
)

// Bounds of an export that is checked, in bytes and files.
const (
	maxExported = 64 << 20 // one file
	maxRecord   = 1 << 20  // a proof, a memo, a list
	maxFiles    = 20_000
)

// ErrNotAnExport is returned for what is no export of paper at all.
var ErrNotAnExport = errors.New("not an export of paper")

// Checked is what Check found.
type Checked struct {
	Export   ExportList
	Recorded string // when the list was recorded, empty without a valid proof
	Files    int
	Problems []string // "file: what", empty: intact
}

// IsExport says whether a folder, or a zip, looks like an export of paper.
func IsExport(name string) bool {
	tree, done, err := openTree(name)
	if err != nil {
		return false
	}
	defer done()
	b, err := readFile(tree, Index, maxRecord)
	return err == nil && bytes.Contains(b, []byte(exportSchema))
}

// openTree opens a folder or a zip.
func openTree(name string) (fs.FS, func(), error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, nil, err
	}
	if info.IsDir() {
		return os.DirFS(name), func() {}, nil
	}
	z, err := zip.OpenReader(name)
	if err != nil {
		return nil, nil, err
	}
	return z, func() { _ = z.Close() }, nil // it was only read
}

func readFile(tree fs.FS, name string, limit int64) ([]byte, error) {
	f, err := tree.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a file", name)
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("longer than %d bytes", limit)
	}
	return b, err
}

// OwnKey is the key that lies in an export; empty when there is none.
func OwnKey(name string) string {
	tree, done, err := openTree(name)
	if err != nil {
		return ""
	}
	defer done()
	b, err := readFile(tree, keyName, 4<<10)
	if err != nil {
		return ""
	}
	return string(bytes.TrimSpace(b))
}

// Check compares an export, a folder or a zip, with its proofs, without the hub.
// The error is that it cannot be read at all; everything else is a problem.
func Check(name, verifierKey string) (Checked, error) {
	tree, done, err := openTree(name)
	if err != nil {
		return Checked{}, fmt.Errorf("check an export: %w", err)
	}
	defer done()
	return check(tree, verifierKey)
}

func check(tree fs.FS, key string) (Checked, error) {
	var c Checked
	body, err := readFile(tree, Index, maxRecord)
	if err != nil {
		return c, ErrNotAnExport
	}
	bad := func(name, what string, args ...any) {
		c.Problems = append(c.Problems, name+": "+fmt.Sprintf(what, args...))
	}
	at, err := proved(tree, Index, body, key)
	if err != nil {
		bad(Index, "%v", err)
	}
	var v record.Version
	if json.Unmarshal(body, &v) != nil || json.Unmarshal(v.Body, &c.Export) != nil || c.Export.Schema != exportSchema {
		if err == nil {
			bad(Index, "it is not the list of an export")
		}
		return c, nil
	}
	c.Recorded = at
	known := map[string]bool{Index: true, Index + ProofSuffix: true, keyName: true, readme: true}
	for _, f := range c.Export.Files {
		known[f.Name], known[f.Name+ProofSuffix] = true, true
		if f.Kind == kindPicture || f.Kind == kindSheet {
			known[f.Name+RecordSuffix] = true
		}
		c.Files++
		if err := checkOne(tree, f, key); err != nil {
			bad(f.Name, "%v", err)
		}
	}
	strangers(tree, known, bad)
	return c, nil
}

// strangers names what is there and in no list.
func strangers(tree fs.FS, known map[string]bool, bad func(name, what string, args ...any)) {
	n := 0
	err := fs.WalkDir(tree, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if n++; n > maxFiles {
			return fmt.Errorf("more than %d files", maxFiles)
		}
		if !e.IsDir() && !known[name] {
			bad(name, "the list of the export does not have it")
		}
		return nil
	})
	if err != nil {
		bad(".", "%v", err)
	}
}

// checkOne compares one listed file with the list and its own proof.
func checkOne(tree fs.FS, f ExportedFile, key string) error {
	if !fs.ValidPath(f.Name) || path.Clean(f.Name) != f.Name {
		return errors.New("the list has a name that cannot be")
	}
	data, err := readFile(tree, f.Name, maxExported)
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("is missing")
	}
	if err != nil {
		return fmt.Errorf("cannot be read: %v", err)
	}
	if got := digestOf(data); got != f.Digest {
		return fmt.Errorf("has SHA-256 %s, the list recorded %s", got, f.Digest)
	}
	_, err = against(tree, f.Name, data, key)
	return err
}

// against compares a file with the proof that lies beside it. It returns what
// the ledger binds.
func against(tree fs.FS, name string, data []byte, key string) (leaf.Leaf, error) {
	bound, err := readFile(tree, name+RecordSuffix, maxRecord)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		bound = data
	case err != nil:
		return leaf.Leaf{}, fmt.Errorf("its record cannot be read: %v", err)
	default:
		var v record.Version
		var x struct {
			File File `json:"file"`
		}
		if json.Unmarshal(bound, &v) != nil || json.Unmarshal(v.Body, &x) != nil {
			return leaf.Leaf{}, errors.New("its record is damaged")
		}
		if got := digestOf(data); got != x.File.Digest {
			return leaf.Leaf{}, fmt.Errorf("has SHA-256 %s, its record has %s", got, x.File.Digest)
		}
	}
	p, err := proofOf(tree, name, key)
	if err != nil {
		return leaf.Leaf{}, err
	}
	if got := digestOf(bound); got != p.Leaf.Digest {
		return p.Leaf, fmt.Errorf("the ledger recorded %s %s with SHA-256 %s, this has %s", p.Leaf.Type, p.Leaf.Ref, p.Leaf.Digest, got)
	}
	return p.Leaf, nil
}

func proofOf(tree fs.FS, name, key string) (ledger.Proof, error) {
	b, err := readFile(tree, name+ProofSuffix, maxRecord)
	if err != nil {
		return ledger.Proof{}, fmt.Errorf("its proof cannot be read: %v", err)
	}
	p, err := ledger.ParseProof(b)
	if err != nil {
		return p, fmt.Errorf("its proof is damaged: %v", err)
	}
	if err := p.Verify(key); err != nil {
		return p, fmt.Errorf("its proof does not hold: %v", err)
	}
	if p.Leaf.Type != table.Type && p.Leaf.Type != "entry" {
		return p, fmt.Errorf("its proof is about %s %s", p.Leaf.Type, p.Leaf.Ref)
	}
	return p, nil
}

// proved checks a file that the ledger binds itself, and returns when that was.
func proved(tree fs.FS, name string, data []byte, key string) (string, error) {
	l, err := against(tree, name, data, key)
	return l.At.Format("2006-01-02T15:04:05Z07:00"), err
}

// CheckFile compares one file of an export with the proof beside it.
func CheckFile(name, verifierKey string) (leaf.Leaf, error) {
	dir, base := path.Split(name)
	if dir == "" {
		dir = "."
	}
	tree := os.DirFS(dir)
	data, err := readFile(tree, base, maxExported)
	if err != nil {
		return leaf.Leaf{}, err
	}
	return against(tree, base, data, verifierKey)
}

// IsProof says whether a proof is about something that came on paper.
func IsProof(b []byte) bool {
	p, err := ledger.ParseProof(b)
	return err == nil && (p.Leaf.Type == table.Type || p.Leaf.Type == "entry")
}

// VerifyFiles compares the kept bytes of pictures and logs with their records.
// open returns a file by its name in the store; an error that is fs.ErrNotExist
// names it as missing.
func VerifyFiles(ctx context.Context, db *state.DB, open func(name string) (io.ReadCloser, error)) ([]rows.Difference, error) {
	var found []rows.Difference
	for _, kind := range []string{kindPicture, kindSheet} {
		list, err := table.Newest(ctx, db, kind, "")
		if err != nil {
			return nil, err
		}
		for _, v := range list {
			var x struct {
				File File `json:"file"`
			}
			if json.Unmarshal(v.Body, &x) != nil { // VerifyRows names the row
				continue
			}
			if what := compareKept(open, object(v.Incident, x.File.Digest), x.File); what != "" {
				found = append(found, rows.Difference{Kind: rows.Changed, Ref: v.ID, Detail: what})
			}
		}
	}
	return found, nil
}

func compareKept(open func(name string) (io.ReadCloser, error), name string, f File) string {
	r, err := open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "the file " + name + " is missing"
	}
	if err != nil {
		return "the file " + name + " cannot be read: " + err.Error()
	}
	defer r.Close()
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(r, maxExported)); err != nil {
		return "the file " + name + " cannot be read: " + err.Error()
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != f.Digest {
		return fmt.Sprintf("the file %s has SHA-256 %s, the record has %s", name, got, f.Digest)
	}
	return ""
}
