package forensic

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sonae/sonae/action/order"
)

// held is how much memory the stopped process of BenchmarkCollect has touched.
const held = 256 << 20

// holder starts a process that holds memory, and stops it.
func holder(b *testing.B) int {
	b.Helper()
	cmd := exec.Command("sh", "-c", fmt.Sprintf("head -c %d /dev/zero | tail; sleep 300", held))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); _ = cmd.Wait() })
	if _, err := out.Read(make([]byte, 1)); err != nil { // it has all, and begins to print it
		b.Fatal(err)
	}
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGSTOP); err != nil {
		b.Fatal(err)
	}
	return cmd.Process.Pid
}

// BenchmarkCollect is a whole collection of this machine with a process of
// 256 MiB, to nowhere: what the machine itself needs. It prints when each stage
// was done.
func BenchmarkCollect(b *testing.B) {
	if os.Getuid() != 0 {
		b.Skip("reading the memory of another process needs root")
	}
	pid := holder(b)
	c := New(Config{Ring: bytesRing(make([]byte, 64<<20)), Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	var sum Summary
	for b.Loop() {
		begun := time.Now()
		done, size := map[string]time.Duration{}, map[string]int64{}
		var names []string
		var err error
		sum, err = c.Collect(b.Context(), order.Order{PID: pid}, func(_ context.Context, it Item, r io.Reader) error {
			n, err := io.Copy(io.Discard, r)
			name, _, _ := strings.Cut(it.Path, "/")
			if strings.HasSuffix(it.Path, "core.elf") {
				name = "memory"
			}
			if _, ok := done[name]; !ok {
				names = append(names, name)
			}
			done[name], size[name] = time.Since(begun), size[name]+n
			return err
		}, nil)
		if err != nil {
			b.Fatal(err)
		}
		for _, n := range names {
			b.Logf("%-12s done after %7.2f s, %9.1f MiB", n, done[n].Seconds(), float64(size[n])/(1<<20))
		}
	}
	b.ReportMetric(float64(sum.Items), "items")
	b.ReportMetric(float64(sum.Bytes)/(1<<20), "MiB")
}
