// Package settings reads what the site wants an agent to watch beside what every
// agent watches.
//
// In: a YAML file. Out: Settings. Always true: a word it does not know is an
// error with its line, never skipped; a file that others may write, or that
// holds a password and others may read, is refused.
package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"gopkg.in/yaml.v3"

	"github.com/sonae/sonae/agent/files"
	"github.com/sonae/sonae/agent/health"
	"github.com/sonae/sonae/agent/watcher"
)

// Settings is the file.
type Settings struct {
	Health  health.Config  `yaml:"health"`
	Files   files.Config   `yaml:"files"`
	Watcher watcher.Config `yaml:"watcher"` // of the hub
}

// maxFile bounds the file in bytes.
const maxFile = 1 << 20

// Load reads a file. One that is not there, where the site did not name it, is
// one without a word.
func Load(path string, named bool) (Settings, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) && !named {
		return Settings{}, nil
	}
	if err != nil {
		return Settings{}, fmt.Errorf("settings: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Settings{}, fmt.Errorf("settings: %w", err)
	}
	if err := private(info); err != nil {
		return Settings{}, fmt.Errorf("settings: %s: %w", path, err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return Settings{}, fmt.Errorf("settings: %w", err)
	}
	s, err := Parse(data)
	if err != nil {
		return Settings{}, fmt.Errorf("settings: %s: %w", path, err)
	}
	return s, nil
}

// Parse reads the text of a file.
func Parse(text []byte) (Settings, error) {
	var s Settings
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&s); err != nil && !errors.Is(err, io.EOF) {
		return Settings{}, err
	}
	return s, s.check()
}

func (s Settings) check() error {
	return errors.Join(s.Health.Check(), s.Files.Check(), s.Watcher.Check())
}
