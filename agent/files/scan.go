package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/sonae/sonae/agent/guard"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/evidence/antivirus"
)

// ScanConfig says which files an antivirus program looks at. Zero fields take
// the value named in the comment.
type ScanConfig struct {
	Folders  []string        // only files below these; empty: all volumes of this machine
	MaxBytes int64           // larger files are counted, not scanned; 25 MiB, as clamd is installed
	Allow    []guard.Allowed // programs that are trusted beside those of the system's packages
}

// defaultMaxBytes is StreamMaxLength of a clamd as installed.
const defaultMaxBytes = 25 << 20

// Check says what cannot be meant.
func (c ScanConfig) Check() error {
	var errs []error
	for _, f := range c.Folders {
		if !filepath.IsAbs(f) {
			errs = append(errs, fmt.Errorf("folder %q must begin at /", f))
		}
	}
	if c.MaxBytes < 0 {
		errs = append(errs, errors.New("the largest file to scan has no size below 0"))
	}
	return errors.Join(errs...)
}

// Virus is an antivirus program. An error says that it did not look.
type Virus interface {
	Scan(ctx context.Context, r io.Reader) (antivirus.Result, error)
}

// ScanDeps is what the scanner needs of others.
type ScanDeps struct {
	Deps
	Virus Virus
	// Found takes what was found; it must not give it up for telemetry, and
	// return at once.
	Found func(event.Event)
}
