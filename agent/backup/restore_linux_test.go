package backup_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sonae/sonae/agent/linktest"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/protect/restic/restictest"
)

// A restore that leaves alone what is there brings back what is missing. When the
// agent was restarted in the middle of it, it goes on, and takes nothing that it
// half wrote itself for somebody else's.
func TestARestoreThatWasInterruptedGoesOn(t *testing.T) {
	for _, p := range restictest.All(t) {
		t.Run(p.Version, func(t *testing.T) {
			b := setUp(t, p.Path)
			src := t.TempDir()
			restictest.Small(t, src, 20)
			restictest.Write(t, filepath.Join(src, "scan"), restictest.Noise(2<<20))
			restictest.Write(t, filepath.Join(src, "mine"), []byte("as it was saved"))
			first := b.do(folders(src))
			if first.State != job.OK {
				t.Fatalf("%+v", first)
			}
			sound := filepath.Join(t.TempDir(), "sound")
			if err := os.CopyFS(sound, os.DirFS(src)); err != nil {
				t.Fatal(err)
			}
			j := back(first.Sources[0].Snapshots[0], "/")
			j.Restore.Overwrite, j.Limits.Download = job.Never, 400
			restictest.Write(t, filepath.Join(src, "mine"), []byte("what somebody wrote since"))
			if err := errors.Join(os.Remove(filepath.Join(src, "scan")), os.Remove(filepath.Join(sound, "mine"))); err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(p.Version, "0.14") {
				id := b.order(j, nil)
				linktest.Await(t, "the restore is in the middle", func() bool {
					_, r, _ := b.report(id)
					return r.Progress != nil && r.Progress.Step == "restore" && r.Progress.Sent > 300<<10
				})
				b.restart()
				r := b.end(id)
				if r.State != job.OK || r.Restore.Files != 1 || r.Restore.Skipped != 21 || r.Restore.Verified != 1 {
					t.Fatalf("%+v %+v", r, r.Restore)
				}
				if raw, err := os.ReadFile(filepath.Join(src, "mine")); err != nil || string(raw) != "what somebody wrote since" {
					t.Errorf("%q, %v", raw, err)
				}
				if err := os.Remove(filepath.Join(src, "mine")); err != nil {
					t.Fatal(err)
				}
				same(t, sound, src)
				if left, _ := filepath.Glob(filepath.Join(b.dir, "backup", "spared-*")); len(left) > 0 {
					t.Errorf("left over: %v", left)
				}
				return
			}
			// an old restic replaces what is there: it does not get to do so
			if r := b.do(j); r.State != job.Failed || !strings.Contains(r.Error, "0.17") {
				t.Errorf("%+v", r)
			}
			if raw, err := os.ReadFile(filepath.Join(src, "mine")); err != nil || string(raw) != "what somebody wrote since" {
				t.Errorf("%q, %v", raw, err)
			}
			j.Restore.Target, j.Limits.Download = t.TempDir(), 0
			if r := b.do(j); r.State != job.OK || r.Restore.Verified != 22 { // nothing is there
				t.Errorf("%+v %+v", r, r.Restore)
			}
		})
	}
}
