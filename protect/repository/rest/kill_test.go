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

// TestKilledAtRandomPoints kills the service while it takes a backup. Whatever
// was acknowledged is there, whatever is there is sound, for restic and for
// our reader, and the next backup goes on.
func TestKilledAtRandomPoints(t *testing.T) {
	rounds := 12
	if testing.Short() {
		rounds = 3
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
		select {
		case err := <-done:
			if err == nil {
				acknowledged++
			}
			p.kill()
		case <-time.After(time.Duration(rand.IntN(2500)) * time.Millisecond):
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
	if len(report.Snapshots) < acknowledged {
		t.Errorf("%d backups were acknowledged, %d snapshots are there", acknowledged, len(report.Snapshots))
	}
	same(t, src, restored(t, r, src, "latest"))
	t.Logf("killed %d times, %d backups acknowledged, %d snapshots, %d packs that nothing needs", rounds, acknowledged, len(report.Snapshots), report.Unindexed)
}
