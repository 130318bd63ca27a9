package tail

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Marks remembers how far logs were read. What is written to disk is
// settle old, because newer lines may still be in a queue in memory: after a
// crash a few lines come twice rather than never.
type Marks struct {
	path string

	mu   sync.Mutex
	now  map[string]string
	past map[string]string
	took time.Time
}

const settle = 3 * time.Second

// OpenMarks reads the Marks kept in dir; without dir nothing is kept.
func OpenMarks(dir, name string) *Marks {
	if dir == "" {
		return &Marks{now: map[string]string{}}
	}
	p := &Marks{path: filepath.Join(dir, name), now: map[string]string{}}
	b, err := os.ReadFile(p.path)
	if err != nil || json.Unmarshal(b, &p.now) != nil || p.now == nil {
		p.now = map[string]string{} // begin at the end of every log
	}
	return p
}

// Get returns a mark, "" when there is none.
func (p *Marks) Get(key string) string { p.mu.Lock(); defer p.mu.Unlock(); return p.now[key] }

// Set remembers a mark.
func (p *Marks) Set(key, value string) { p.mu.Lock(); defer p.mu.Unlock(); p.now[key] = value }

// Save writes what was known settle ago.
func (p *Marks) Save(now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.took) < settle {
		return nil
	}
	out := p.past
	p.past, p.took = maps.Clone(p.now), now
	if out == nil {
		return nil
	}
	return p.write(out)
}

// Close writes what is known at the end of an orderly run.
func (p *Marks) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.write(p.now)
}

func (p *Marks) write(m map[string]string) error {
	if p.path == "" {
		return nil
	}
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := os.WriteFile(p.path+".new", b, 0o600); err != nil {
		return errors.Join(err, remove(p.path+".new"))
	}
	return os.Rename(p.path+".new", p.path)
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
