// Package changes tells what is new on a machine that rarely changes: ports that
// are listened on, accounts, privileges and keys.
//
// In: /proc, the files of accounts. Out: events about what was not so before.
// Always true: what was there when it first looked is learned without a word
// but for a count; what changed while it did not run is told; no password, not
// even as a hash, leaves it or is stored.
package changes

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/event"
)

// Deps is what the collectors need of others.
type Deps struct {
	Dir string // where is kept what is known
	Now clock.Now
	Log *slog.Logger
}

func (d Deps) told(category, service string, f map[string]string) event.Event {
	return event.Event{Time: d.Now().UTC(), Kind: event.KindLog, Product: "linux", Category: category, Service: service, Fields: f}
}

// load reads what is known, and says whether there is anything.
func (d Deps) load(name string, v any) bool {
	b, err := os.ReadFile(filepath.Join(d.Dir, name))
	if err != nil {
		return false
	}
	if err := json.Unmarshal(b, v); err != nil {
		d.Log.Error("what is known of this machine is damaged", "file", name, "err", err)
		return false
	}
	return true
}

func (d Deps) save(name string, v any) {
	path := filepath.Join(d.Dir, name)
	b, err := json.Marshal(v)
	if err == nil {
		err = os.WriteFile(path+".new", b, 0o600)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		d.Log.Error("what is known of this machine is not stored", "file", name, "err", err)
	}
}

// every calls f at once and then again and again until ctx ends.
func every(ctx context.Context, d time.Duration, f func()) {
	t := time.NewTicker(d)
	defer t.Stop()
	for {
		f()
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}
