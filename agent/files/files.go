// Package files tells who reads and who writes what in the folders that a site
// watches, what changed in those that must not change, what is copied to
// removable media, and what an antivirus program finds in files that programs
// wrote which nobody trusts.
//
// In: Config, ScanConfig, the kernel's fanotify, /proc, the package database.
// Out: events in the words of Sigma's file categories and of its antivirus
// category, with user and program. Always true: it reads, hashes and marks only
// what it was told to; it never makes another program wait; what the
// kernel had no room to tell is counted and said.
package files

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"time"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/event"
)

// Config is what is watched.
type Config struct {
	Folders   []Folder `yaml:"folders"`
	Integrity []string `yaml:"integrity"` // files and folders that change rarely
	Removable bool     `yaml:"removable"` // tell of removable media and what is copied to them
}

// Folder is one that is watched with all below it.
type Folder struct {
	Path      string   `yaml:"path"`
	Protected bool     `yaml:"protected"` // it holds personal data: who reads is told, too
	Duty      []string `yaml:"duty"`      // hours of work, e.g. "mon-fri 07:00-20:00"; none: always
}

// Check says what cannot be meant.
func (c Config) Check() error {
	var errs []error
	for _, f := range c.Folders {
		if !filepath.IsAbs(f.Path) {
			errs = append(errs, fmt.Errorf("folder %q must begin at /", f.Path))
		}
		if _, err := ParseHours(f.Duty); err != nil {
			errs = append(errs, fmt.Errorf("folder %s: %w", f.Path, err))
		}
	}
	for _, p := range c.Integrity {
		if !filepath.IsAbs(p) {
			errs = append(errs, fmt.Errorf("%q must begin at /", p))
		}
	}
	return errors.Join(errs...)
}

// Deps is what the collectors need of others.
type Deps struct {
	Dir string // where the baseline of hashes is kept
	Now clock.Now
	Log *slog.Logger
}

// actor is who did something.
type actor struct {
	pid                  int
	image, command, user string
}

func (a actor) fill(f map[string]string) {
	for k, v := range map[string]string{event.FieldImage: a.image, event.FieldCommand: a.command, event.FieldUser: a.user} {
		if v != "" {
			f[k] = v
		}
	}
	if a.pid > 0 {
		f[event.FieldPID] = strconv.Itoa(a.pid)
	}
}

// Categories, as Sigma names them; accesses are Sonae's own on Linux.
const (
	written = "file_event"
	deleted = "file_delete"
	renamed = "file_rename"
	read    = "file_access"
)

func told(at time.Time, category, service string, f map[string]string) event.Event {
	return event.Event{Time: at.UTC(), Kind: event.KindLog, Product: "linux", Category: category, Service: service, Fields: f}
}
