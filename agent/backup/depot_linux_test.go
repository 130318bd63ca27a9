package backup_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/protect/restic/restictest"
)

// TestAToolOfTheHubIsUsedWhereTheMachineHasNone: a machine without restic, or with
// an old one, backs up with the one that the signed job names; any other bytes are
// never run, and then an old one is still better than none.
func TestAToolOfTheHubIsUsedWhereTheMachineHasNone(t *testing.T) {
	newest := restictest.Newest(t)
	body, err := os.ReadFile(newest.Path)
	if err != nil {
		t.Skipf("%s is not a path: make s3", newest.Path)
	}
	sum := sha256.Sum256(body)
	good := job.Tool{OS: runtime.GOOS, Arch: runtime.GOARCH, Version: newest.Version, SHA256: hex.EncodeToString(sum[:]), Size: int64(len(body))}
	changed := func(change func(*job.Tool)) job.Tool { x := good; change(&x); return x }
	src := t.TempDir()
	restictest.Small(t, src, 3)
	old := "/usr/bin/restic"
	for name, tt := range map[string]struct {
		own   string
		tool  job.Tool
		sent  []byte
		state job.State
		uses  string
	}{
		"none of its own":         {"/nowhere/restic", good, body, job.OK, newest.Version},
		"an old one":              {old, good, body, job.OK, newest.Version},
		"other bytes":             {"/nowhere/restic", good, append(bytes.Clone(body), 0), job.CouldNotRun, ""},
		"an old one, other bytes": {old, good, bytes.Repeat([]byte{1}, len(body)), job.OK, "0.14.0"},
		"another version":         {"/nowhere/restic", changed(func(x *job.Tool) { x.Version = "0.17.9" }), body, job.CouldNotRun, ""},
		"the hub has none":        {"/nowhere/restic", good, nil, job.CouldNotRun, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := setUp(t, tt.own)
			if tt.sent != nil {
				b.hub.Tools[good.SHA256] = tt.sent
			}
			j := folders(src)
			j.Tools = []job.Tool{tt.tool}
			r := b.do(j)
			if r.State != tt.state || tt.uses != "" && r.Restic != tt.uses {
				t.Fatalf("%s with restic %q: %s", r.State, r.Restic, r.Error)
			}
			kept, err := filepath.Glob(filepath.Join(b.dir, "backup", "tools", "*", "*"))
			if fetched := tt.uses == newest.Version || name == "another version"; err != nil || len(kept) > 0 != fetched {
				t.Errorf("kept %v %v", kept, err)
			}
			if tt.uses != newest.Version || name == "an old one" {
				return
			}
			// the next job uses what is there; what somebody changed is fetched again
			delete(b.hub.Tools, good.SHA256)
			if r := b.do(j); r.State != job.OK || r.Restic != tt.uses {
				t.Errorf("again: %s with restic %q: %s", r.State, r.Restic, r.Error)
			}
			if err := os.WriteFile(kept[0], []byte("#!/bin/sh\necho restic 0.18.0"), 0o700); err != nil {
				t.Fatal(err)
			}
			if r := b.do(j); r.State != job.CouldNotRun {
				t.Errorf("a changed program: %s with restic %q", r.State, r.Restic)
			}
		})
	}
}
