package guard

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// canaries are decoys in the watched folders: files with believable names that
// come first and last in a list, which nobody has a reason to change. What is
// lost of them is not lost. They are safe for concurrent use.
type canaries struct {
	path string // where they are remembered

	mu  sync.Mutex
	all map[string]bool
}

const maxCanaries = 256

// openCanaries makes the decoys that are missing: two in each watched folder
// and in the first folders below it.
func openCanaries(dir string, watch []string, now time.Time) (*canaries, error) {
	c := &canaries{all: map[string]bool{}}
	if dir != "" {
		c.path = filepath.Join(dir, "canaries.json")
	}
	var had []string
	if data, err := os.ReadFile(c.path); err == nil {
		_ = json.Unmarshal(data, &had) // what cannot be read is made anew
	}
	for _, root := range watch {
		folders := []string{root}
		entries, err := os.ReadDir(root)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if e.IsDir() && !strings.HasPrefix(e.Name(), ".") && e.Name() != "lost+found" {
				folders = append(folders, filepath.Join(root, e.Name()))
			}
		}
		for _, folder := range folders {
			if len(c.all)+2 > maxCanaries {
				break
			}
			if err := c.fill(folder, had, now); err != nil {
				return nil, err
			}
		}
	}
	return c, c.save()
}

// fill makes the decoys of one folder, unless it has them. A folder that
// cannot be written to goes without.
func (c *canaries) fill(folder string, had []string, now time.Time) error {
	for _, path := range had {
		if filepath.Dir(path) == folder {
			if _, err := os.Lstat(path); err == nil {
				c.all[path] = true
			}
		}
	}
	for _, first := range []bool{true, false} {
		if slices.ContainsFunc(had, func(p string) bool {
			return c.all[p] && filepath.Dir(p) == folder && strings.HasPrefix(filepath.Base(p), "0") == first
		}) {
			continue
		}
		path := filepath.Join(folder, canaryName(first))
		err := writeCanary(path, now)
		switch {
		case errors.Is(err, fs.ErrExist):
		case errors.Is(err, fs.ErrPermission), isReadOnly(err):
			return nil
		case err != nil:
			return err
		default:
			c.all[path] = true
		}
	}
	return nil
}

// names that a clerk would have given.
var canaryWords = []string{"患者一覧", "職員名簿", "予算案", "会計台帳", "patients", "accounts", "contracts", "payroll"}

func canaryName(first bool) string {
	word := canaryWords[pick(len(canaryWords))]
	year := 2015 + pick(10)
	if first {
		return fmt.Sprintf("00_%s_%d.csv", word, year)
	}
	return fmt.Sprintf("zz_%s_%d.csv", word, year) // behind what begins with a letter; CJK names come after it
}

func pick(n int) int {
	i, err := rand.Int(rand.Reader, big.NewInt(int64(n)))
	if err != nil {
		return 0
	}
	return int(i.Int64())
}

// writeCanary writes a list that looks like others, of invented numbers only.
func writeCanary(path string, now time.Time) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString("no,date,code,amount,remark\n")
	for i := range 400 {
		fmt.Fprintf(&b, "%05d,%d-%02d-%02d,A%06d,%d,\n", i+1, 2015+pick(10), 1+pick(12), 1+pick(28), pick(1000000), 100*pick(10000))
	}
	_, err = f.WriteString(b.String())
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	old := now.AddDate(0, 0, -30-pick(300))
	return os.Chtimes(path, old, old)
}

func (c *canaries) count() int { c.mu.Lock(); defer c.mu.Unlock(); return len(c.all) }

// has says whether path is a decoy.
func (c *canaries) has(path string) bool { c.mu.Lock(); defer c.mu.Unlock(); return c.all[path] }

func (c *canaries) paths() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for p := range c.all {
		out = append(out, p)
	}
	slices.Sort(out)
	return out
}

// close takes the decoys away again that nothing will remember.
func (c *canaries) close() error {
	if c.path != "" {
		return nil
	}
	var errs []error
	for _, p := range c.paths() {
		if err := os.Remove(p); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (c *canaries) save() error {
	if c.path == "" {
		return nil
	}
	data, err := json.Marshal(c.paths())
	if err != nil {
		return err
	}
	return os.WriteFile(c.path, data, 0o600)
}
