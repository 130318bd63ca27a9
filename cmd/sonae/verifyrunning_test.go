package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What a running hub was about to record is no difference; what stays is one,
// and a hub that does not run is not waited for.
func TestVerifyLooksAgainWhileTheHubRuns(t *testing.T) {
	for name, tt := range map[string]struct {
		runs    bool
		differ  int // looks that find a difference
		looks   int
		differs bool
	}{
		"intact":                  {true, 0, 1, false},
		"on its way":              {true, 2, 3, false},
		"changed":                 {true, 99, looks, true},
		"changed, not running":    {false, 99, 1, true},
		"on its way, not running": {false, 1, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			lock(t, dir, tt.runs)
			var out strings.Builder
			c := &check{out: &out}
			n := 0
			err := c.settled(t.Context(), dir, func() error {
				n++
				if n <= tt.differ {
					c.differ("a row")
				}
				return os.WriteFile(filepath.Join(dir, "ledger", "checkpoint"), []byte{byte(n)}, 0o600)
			})
			if err != nil || n != tt.looks || (c.differences > 0) != tt.differs {
				t.Errorf("%v: %d looks, want %d; %d differences", err, n, tt.looks, c.differences)
			}
			if said := strings.Count(out.String(), differsWord); said != c.differences {
				t.Errorf("%d differences were said, %d found:\n%s", said, c.differences, out.String())
			}
		})
	}
}

// lock makes a hub's folder, whose lock is held as by a running hub.
func lock(t *testing.T, dir string, held bool) {
	t.Helper()
	if err := os.Mkdir(filepath.Join(dir, "ledger"), 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if held {
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
			t.Fatal(err)
		}
	}
}
