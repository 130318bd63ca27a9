package guard

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
)

// Allowed is a program that may do to files what it likes: its path, and what
// it holds, so that nobody else takes its place.
type Allowed struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"` // hexadecimal
}

// ParseAllowed reads "PATH SHA256", or the line that sha256sum prints.
func ParseAllowed(line string) (Allowed, error) {
	f := strings.Fields(line)
	if len(f) != 2 {
		return Allowed{}, errors.New("not a path and a SHA-256 sum")
	}
	if strings.HasPrefix(f[1], "/") || strings.HasPrefix(f[1], "*/") {
		f[0], f[1] = strings.TrimPrefix(f[1], "*"), f[0]
	}
	sum, err := hex.DecodeString(f[1])
	if err != nil || len(sum) != sha256.Size || !strings.HasPrefix(f[0], "/") {
		return Allowed{}, fmt.Errorf("%q is not an absolute path and a SHA-256 sum", line)
	}
	return Allowed{Path: f[0], SHA256: strings.ToLower(f[1])}, nil
}

// allowList knows the allowed programs. It is safe for concurrent use.
type allowList struct {
	sums map[string]map[string]bool // path → sums

	mu    sync.Mutex
	known map[stamp]string // sums of files looked at
}

// stamp is a file that has not been written to since it was looked at.
type stamp struct {
	fileID
	size, mtime, ctime int64
}

const maxKnown = 1024

func newAllowList(all []Allowed) *allowList {
	l := &allowList{sums: map[string]map[string]bool{}, known: map[stamp]string{}}
	for _, a := range all {
		if l.sums[a.Path] == nil {
			l.sums[a.Path] = map[string]bool{}
		}
		l.sums[a.Path][strings.ToLower(a.SHA256)] = true
	}
	return l
}

// sum is the SHA-256 sum of a file that was seen as s.
func (l *allowList) sum(s stamp, f io.Reader) (string, error) {
	l.mu.Lock()
	sum, ok := l.known[s]
	l.mu.Unlock()
	if ok {
		return sum, nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(f, 1<<30)); err != nil {
		return "", err
	}
	sum = hex.EncodeToString(h.Sum(nil))
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.known) >= maxKnown {
		clear(l.known)
	}
	l.known[s] = sum
	return sum, nil
}

// ReadAllowed reads a file of allowed programs: one on each line, # begins a
// comment.
func ReadAllowed(path string) ([]Allowed, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("allowed programs: %w", err)
	}
	var out []Allowed
	for i, line := range strings.Split(string(b), "\n") {
		line, _, _ = strings.Cut(line, "#")
		if strings.TrimSpace(line) == "" {
			continue
		}
		a, err := ParseAllowed(line)
		if err != nil {
			return nil, fmt.Errorf("allowed programs: line %d: %w", i+1, err)
		}
		out = append(out, a)
	}
	return out, nil
}
