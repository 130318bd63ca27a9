package rest_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/protect/restic/restictest"
)

// process is the service in a process of its own.
type process struct {
	cmd  *exec.Cmd
	addr string
}

func spawn(t *testing.T, dir string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serveEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the service says nothing: %v", err)
	}
	return &process{cmd, strings.TrimSpace(addr)}
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait() // it was killed
}

func (p *process) restic(r restictest.Program) restictest.Program {
	return r.At("rest:http://emr-1:pw-emr-1@" + p.addr + "/restic/emr-1/")
}

// wait returns when a backup has ended, or at a random moment while its files
// come: after some of them, or in the middle of an upload.
func wait(t *testing.T, done <-chan error, dir string, files int) (err error, ended bool) {
	t.Helper()
	before := len(read(t, filepath.Join(dir, "emr-1", "repository")))
	for {
		select {
		case err := <-done:
			return err, true
		case <-time.After(time.Millisecond):
		}
		coming, _ := os.ReadDir(filepath.Join(dir, "emr-1", "incoming"))
		count := 0
		_ = filepath.WalkDir(filepath.Join(dir, "emr-1", "repository"), func(_ string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				count++
			}
			return nil
		})
		if count >= before+files && (files > 0 || len(coming) > 0) {
			time.Sleep(time.Duration(rand.IntN(30_000)) * time.Microsecond) // the moment itself is the dice
			return nil, false
		}
	}
}

// TestKilledAtRandomPoints kills the service while it takes a backup. Whatever
// was acknowledged is there, whatever is there is sound, for restic and for
// our reader, and the next backup goes on.
func TestKilledAtRandomPoints(t *testing.T) {
	rounds := 15
	if testing.Short() {
		rounds = 5
	}
	dir := filepath.Join(t.TempDir(), "hub")
	newest := restictest.Newest(t)
	p := spawn(t, dir)
	defer func() { p.kill() }()
	p.restic(newest).Run(t, "init")
	src := t.TempDir()
	acknowledged := 0
	for i := range rounds {
		restictest.Write(t, filepath.Join(src, fmt.Sprint("noise-", i)), restictest.Noise(6<<20+i))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		cmd := p.restic(newest).Command(ctx, "--pack-size", "4", "backup", src)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		if err, ended := wait(t, done, dir, rand.IntN(4)); ended {
			if err == nil {
				acknowledged++
			}
			p.kill()
		} else {
			p.kill()
			_ = cmd.Process.Kill() // it would try again for a quarter of an hour
			<-done
		}
		cancel()
		p = spawn(t, dir)
	}
	r := p.restic(newest)
	r.Run(t, "backup", src)
	acknowledged++
	r.Run(t, "check", "--read-data")
	report := verify(t, filepath.Join(dir, "emr-1", "repository"))
	if report.Unindexed == 0 {
		t.Error("no kill came in the middle of a backup")
	}
	if len(report.Snapshots) < acknowledged {
		t.Errorf("%d backups were acknowledged, %d snapshots are there", acknowledged, len(report.Snapshots))
	}
	same(t, src, restored(t, r, src, "latest"))
	t.Logf("killed %d times, %d backups acknowledged, %d snapshots, %d packs that nothing needs", rounds, acknowledged, len(report.Snapshots), report.Unindexed)
}
