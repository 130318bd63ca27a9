package drill

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/protect/restic/restictest"
	"github.com/sonae/sonae/state/statetest"
)

// A machine whose clock was ahead once would have the drill try that backup for
// years, and whoever owns it could choose which.
func TestTheNewestIsWhatTheHubReceivedLast(t *testing.T) {
	statetest.OnlySQLite(t, heavy)
	b := newBench(t)
	src := t.TempDir()
	restictest.Write(t, filepath.Join(src, "a"), []byte("old"))
	b.program.Run(t, "init")
	b.program.Run(t, "backup", "--time", "2041-01-01 00:00:00", src)
	snapshots := func() []string {
		all, err := filepath.Glob(filepath.Join(b.program.Repo, "snapshots", "*"))
		b.ok(err)
		return all
	}
	ahead := snapshots()[0]
	b.ok(os.Chtimes(ahead, start, start.Add(-time.Hour)))
	restictest.Write(t, filepath.Join(src, "a"), []byte("new"))
	b.program.Run(t, "backup", src)
	b.Received = func(_ context.Context, host string) (func(string) time.Time, error) {
		return func(id string) (at time.Time) {
			if info, err := os.Stat(filepath.Join(b.program.Repo, "snapshots", id)); err == nil && host == "ho-1" {
				at = info.ModTime()
			}
			return at
		}, nil
	}
	n := b.define(Definition{Level: Files, Every: 1})
	r := b.hold(n)
	wants(t, r, Passed, "")
	if r.Snapshot == nil || strings.HasSuffix(ahead, r.Snapshot.ID.String()) || r.Snapshot.Time.Year() == 2041 {
		t.Errorf("tried the one of 2041, received before: %+v", r.Snapshot)
	}
	b.Received = nil
	if r := b.hold(n); r.Snapshot == nil || r.Snapshot.Time.Year() != 2041 {
		t.Errorf("nobody knows when they came: %+v", r.Snapshot)
	}
}
