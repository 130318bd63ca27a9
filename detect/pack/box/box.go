// Package box keeps the files of a rule pack so that no antivirus takes them
// for what they describe: rules quote the commands of attackers word by word.
//
// In: files by name. Out: a blob, and the files again as fs.FS. Always true:
// the same files give the same blob; a damaged blob is refused; what it
// unpacks to is bounded. It hides nothing from people: the encoding is no
// encryption, and `sonae rule list` shows what is inside.
package box

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
)

// magic begins every blob; its end is the version of the form. After it come
// the SHA-256 of a zip file and the encoded zip file.
const magic = "SONAE-RULES-1\n"

// Bounds of what a pack may hold. All public rules together have 6 MB.
const (
	MaxFiles = 100_000
	MaxBytes = 256 << 20
)

// ErrDamaged is wrapped by every error about the content of a blob.
var ErrDamaged = errors.New("damaged rule pack")

// Is says whether a file begins like a blob.
func Is(head []byte) bool { return bytes.HasPrefix(head, []byte(magic)) }

// Encode packs files. Names are slash-separated and relative.
func Encode(files map[string][]byte) ([]byte, error) {
	var plain bytes.Buffer
	z := zip.NewWriter(&plain)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if !fs.ValidPath(name) {
			return nil, fmt.Errorf("pack rules: %q is no name for a file", name)
		}
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate})
		if err == nil {
			_, err = w.Write(files[name])
		}
		if err != nil {
			return nil, fmt.Errorf("pack rules: %s: %w", name, err)
		}
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("pack rules: %w", err)
	}
	sum := sha256.Sum256(plain.Bytes())
	body := plain.Bytes()
	mask(body, sum)
	return slices.Concat([]byte(magic), sum[:], body), nil
}

// Open shows the files of a blob.
func Open(blob []byte) (fs.FS, error) {
	body, ok := bytes.CutPrefix(blob, []byte(magic))
	if !ok || len(body) < sha256.Size {
		return nil, fmt.Errorf("%w: it does not begin like one", ErrDamaged)
	}
	sum := [sha256.Size]byte(body)
	plain := slices.Clone(body[sha256.Size:])
	mask(plain, sum)
	if sha256.Sum256(plain) != sum {
		return nil, fmt.Errorf("%w: its digest differs", ErrDamaged)
	}
	z, err := zip.NewReader(bytes.NewReader(plain), int64(len(plain)))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	total := uint64(0)
	for _, f := range z.File {
		total += f.UncompressedSize64 // the zip reader gives out no more than this
	}
	if len(z.File) > MaxFiles || total > MaxBytes {
		return nil, fmt.Errorf("%w: it holds more than %d files or %d bytes", ErrDamaged, MaxFiles, MaxBytes)
	}
	return z, nil
}

// Files reads all plain files of a tree, within the bounds.
func Files(tree fs.FS) (map[string][]byte, error) {
	files, total := map[string][]byte{}, 0
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := tree.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		b, err := io.ReadAll(io.LimitReader(f, int64(MaxBytes-total)+1))
		if err != nil {
			return err
		}
		if total += len(b); total > MaxBytes || len(files) == MaxFiles {
			return fmt.Errorf("more than %d files or %d bytes", MaxFiles, MaxBytes)
		}
		files[name] = b
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	return files, nil
}

// mask encodes and decodes: a stream of numbers that begins with the digest is
// laid over the bytes.
func mask(b []byte, seed [sha256.Size]byte) {
	x := binary.LittleEndian.Uint64(seed[:]) | 1
	for i := range b {
		if i%8 == 0 { // xorshift
			x ^= x << 13
			x ^= x >> 7
			x ^= x << 17
		}
		b[i] ^= byte(x >> (8 * (i % 8)))
	}
}
