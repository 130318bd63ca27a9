package guard

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sync"
)

// baseline remembers, per program, how many files one run of it usually turns
// into noise: a tool that encrypts two files each night does so rightly. It is
// safe for concurrent use.
type baseline struct {
	path string

	mu  sync.Mutex
	max map[string]int // sha256 of the program → files
}

const (
	maxPrograms = 1024
	mostUsual   = 64 // so many a person must have let pass; more needs the allow-list
)

func openBaseline(dir string) (*baseline, error) {
	b := &baseline{max: map[string]int{}}
	if dir == "" {
		return b, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	b.path = filepath.Join(dir, "usual.json")
	data, err := os.ReadFile(b.path)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err != nil {
		return nil, err
	}
	if json.Unmarshal(data, &b.max) != nil || b.max == nil {
		b.max = map[string]int{} // learned again; a guard that does not start is worse
	}
	return b, nil
}

// interpreters run what others wrote: what they do says nothing about the next
// thing that they run.
var interpreters = regexp.MustCompile(`^(ba|da|z|k|fi|tc)?sh$|^busybox$|^(python|perl|ruby|node|php|java|lua|pwsh|tclsh|openssl|gpg|gpg2|7z|7za|rsync|xargs|find|env|sudo)[0-9.]*$`)

// learn notes that one run of a program turned n files, and nobody minded.
func (b *baseline) learn(sum, image string, n int) {
	if n == 0 || sum == "" || interpreters.MatchString(shown(image)) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.max) >= maxPrograms && b.max[sum] == 0 {
		return
	}
	b.max[sum] = max(b.max[sum], min(n, mostUsual))
}

// extra is how many files more than others a program may turn.
func (b *baseline) extra(sum string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.max[sum]
}

func (b *baseline) save() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.path == "" {
		return nil
	}
	data, err := json.Marshal(b.max)
	if err != nil {
		return err
	}
	if err := os.WriteFile(b.path+".new", data, 0o600); err != nil {
		return fmt.Errorf("guard: what is usual: %w", err)
	}
	return os.Rename(b.path+".new", b.path)
}
