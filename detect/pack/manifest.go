package pack

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/sonae/sonae/detect/pack/box"
)

// Files of a pack that are no rules.
const (
	Manifest  = "MANIFEST"     // a line "SHA-256 (hex), two spaces, name" per file, as sha256sum writes and checks it
	Signature = "MANIFEST.sig" // a signed note (x/mod/sumdb/note) about the manifest
)

// What can be wrong with a pack beyond damage.
var (
	ErrManifest  = errors.New("the pack is not what its manifest says")
	ErrSignature = errors.New("the pack is not signed with that key")
)

// signedText is what the note says: the digest of the manifest and nothing
// that could be taken for another kind of document.
func signedText(manifest []byte) string {
	sum := sha256.Sum256(manifest)
	return "sonae rule pack\nsha256 " + hex.EncodeToString(sum[:]) + "\n"
}

// read reads the files of a pack; one folder that holds all the rest is left
// out of their names.
func read(tree fs.FS) (map[string][]byte, error) {
	list, err := fs.ReadDir(tree, ".")
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	if len(list) == 1 && list[0].IsDir() {
		if tree, err = fs.Sub(tree, list[0].Name()); err != nil {
			return nil, fmt.Errorf("read rules: %w", err)
		}
	}
	return box.Files(tree)
}

// verify compares the files with the manifest, where there is one, and the
// manifest with its signature, where a key is given. It says who signed.
func verify(files map[string][]byte, key string) (signer string, err error) {
	manifest, listed := files[Manifest]
	if listed {
		if err := compare(files, manifest); err != nil {
			return "", err
		}
	}
	if key == "" {
		return "", nil
	}
	v, err := note.NewVerifier(key)
	if err != nil {
		return "", fmt.Errorf("the key %q is none: %w", key, err)
	}
	if !listed || files[Signature] == nil {
		return "", fmt.Errorf("%w: it has no %s", ErrSignature, Signature)
	}
	n, err := note.Open(files[Signature], note.VerifierList(v))
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrSignature, err)
	}
	if n.Text != signedText(manifest) {
		return "", fmt.Errorf("%w: what is signed is another manifest", ErrSignature)
	}
	return v.Name(), nil
}

// compare names the first difference between files and manifest.
func compare(files map[string][]byte, manifest []byte) error {
	sums := map[string]string{}
	for s := bufio.NewScanner(bytes.NewReader(manifest)); s.Scan(); {
		sum, name, ok := strings.Cut(s.Text(), "  ")
		if !ok || len(sum) != 2*sha256.Size {
			return fmt.Errorf("%w: it holds a line %q", ErrManifest, s.Text())
		}
		sums[strings.TrimPrefix(name, "./")] = strings.ToLower(sum)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if name == Manifest || name == Signature {
			continue
		}
		want, ok := sums[name]
		if !ok {
			return fmt.Errorf("%w: %s is not in it", ErrManifest, name)
		}
		if got := sha256.Sum256(files[name]); hex.EncodeToString(got[:]) != want {
			return fmt.Errorf("%w: %s differs", ErrManifest, name)
		}
		delete(sums, name)
	}
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		return fmt.Errorf("%w: %s is missing", ErrManifest, name)
	}
	return nil
}

// Make makes a pack of the rules at a path, with a manifest and, when signer
// (a private key of x/mod/sumdb/note) is not empty, a signature.
func Make(from, signer string) ([]byte, error) {
	tree, err := Tree(from)
	if err != nil {
		return nil, err
	}
	files, err := read(tree)
	if err != nil {
		return nil, err
	}
	files = kept(files)
	delete(files, Manifest)
	delete(files, Signature)
	var manifest bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(&manifest, "%x  %s\n", sha256.Sum256(files[name]), name)
	}
	files[Manifest] = manifest.Bytes()
	if signer != "" {
		s, err := note.NewSigner(strings.TrimSpace(signer))
		if err != nil {
			return nil, fmt.Errorf("the key to sign with is none: %w", err)
		}
		if files[Signature], err = note.Sign(&note.Note{Text: signedText(manifest.Bytes())}, s); err != nil {
			return nil, fmt.Errorf("sign the pack: %w", err)
		}
	}
	return box.Encode(files)
}

// NewKey makes a pair of keys for packs under a name: the private one to sign
// with, the public one to give to others.
func NewKey(name string) (signer, verifier string, err error) {
	if name == "" || strings.ContainsAny(name, " +\n\t") {
		return "", "", fmt.Errorf("%q is no name for a key: no blanks and no +", name)
	}
	return note.GenerateKey(rand.Reader, name)
}

// kept are the files that a pack is made of: rules, who may use them, and what
// proves them.
func kept(files map[string][]byte) map[string][]byte {
	out := map[string][]byte{}
	for name, data := range files {
		base := strings.ToUpper(path.Base(name))
		if isRule(name) || strings.HasPrefix(base, "LICENSE") || strings.HasPrefix(base, "LICENCE") || name == Manifest || name == Signature {
			out[name] = data
		}
	}
	return out
}

func isRule(name string) bool {
	ext := strings.ToLower(path.Ext(name))
	return ext == ".yml" || ext == ".yaml"
}
