package detect

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
)

// maxRuleFiles bounds a folder of rules; the public rules are under 4,000.
const maxRuleFiles = 50000

// Fingerprint changes when a file below root is added, removed, written or
// touched, without reading any. A root that is not there has one too.
func Fingerprint(root fs.FS) (string, error) {
	h, n := sha256.New(), 0
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if n++; n > maxRuleFiles {
			return fmt.Errorf("there are more than %d files", maxRuleFiles)
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%d:%s %d %d\n", len(name), name, info.Size(), info.ModTime().UnixNano())
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) { // no folder, or a file that went while it was looked at
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("look at rules: %w", err)
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}
