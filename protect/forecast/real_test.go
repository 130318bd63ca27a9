package forecast

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/protect/plan"
)

// drilled is a data set that is really backed up and restored.
type drilled struct {
	name  string
	small int // files of 4 KiB
	large int // files of 32 MiB
}

// TestForecastOfRealDrills backs up data sets with stock restic and restores
// them: a rate is fitted from some, and what it says about three others must be
// within 25 % of what they took. It takes minutes of a quiet machine, so it runs
// where SONAE_BENCH_FORECAST names the file for its table
// (make bench-forecast).
func TestForecastOfRealDrills(t *testing.T) {
	out := os.Getenv("SONAE_BENCH_FORECAST")
	if out == "" {
		t.Skip("a measurement: make bench-forecast")
	}
	if _, err := exec.LookPath("restic"); err != nil {
		t.Fatalf("restic is not installed: %v", err)
	}
	learn := []drilled{{"small files, few", 4_000, 0}, {"large files, few", 0, 8}, {"both", 6_000, 6}, {"small files, many", 16_000, 0}, {"large files, many", 0, 20}, {"mostly large", 2_000, 14}}
	judge := []drilled{{"many small files", 11_000, 0}, {"few large files", 0, 13}, {"a mixture", 8_000, 10}}
	var measured []Restore
	for _, d := range learn {
		m := restored(t, d)
		measured = append(measured, m)
		t.Logf("%s: %d bytes, %d files, %.2f s", d.name, m.Bytes, m.Files, m.Seconds)
	}
	source := plan.Source{Key: "hub", Name: said("repository"), Rate: 100, Files: 1000}
	rate := Fit(source, measured)
	var b strings.Builder
	fmt.Fprintf(&b, "# Forecast and real restores\n\nWritten by `make bench-forecast` (%s, stock restic, local repository). The rate was fitted from %d other drills: start %.2f s, %.0f MB/s, %.3f s for each 1,000 files, spread %.0f %%.\n\n",
		time.Now().UTC().Format("2006-01-02"), rate.Drills, rate.Start, 1/rate.Byte/1e6, rate.File*1000, rate.Spread*100)
	b.WriteString("| data | MB | files | predicted P50, s | measured, s | difference |\n|---|---:|---:|---:|---:|---:|\n")
	for _, d := range judge {
		m := restored(t, d)
		p50 := predicted(t, source, measured, m)
		diff := p50/m.Seconds - 1
		fmt.Fprintf(&b, "| %s | %.0f | %d | %.2f | %.2f | %+.0f %% |\n", d.name, float64(m.Bytes)/1e6, m.Files, p50, m.Seconds, diff*100)
		if diff < -0.25 || diff > 0.25 {
			t.Errorf("%s: predicted %.2f s, measured %.2f s", d.name, p50, m.Seconds)
		}
	}
	if err := os.WriteFile(out, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Log(b.String())
}

// predicted is the P50 in seconds of a plan with one service of this size.
func predicted(t *testing.T, source plan.Source, measured []Restore, m Restore) float64 {
	t.Helper()
	p := plan.Plan{ID: "pl-1", Name: said("drill"), Staff: 1, Streams: 1, Sources: []plan.Source{source},
		Services: []plan.Service{{Key: "data", Name: said("data"), Source: source.Key, Bytes: m.Bytes, Files: m.Files, Streams: 1}}}
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	return Make(Given{Plan: p, Restores: measured, Now: time.Now()}).Back.P50 * 3600
}

// restored makes a data set, backs it up and measures its restore: the middle
// one of three.
func restored(t *testing.T, d drilled) Restore {
	t.Helper()
	dir, err := os.MkdirTemp("", "forecast")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	data, repo := filepath.Join(dir, "data"), filepath.Join(dir, "repo")
	m := Restore{Source: "hub", Streams: 1, Ref: d.name}
	m.Bytes, m.Files = fill(t, data, d)
	restic(t, repo, "init")
	restic(t, repo, "backup", data)
	var took []float64
	for range 3 {
		to := filepath.Join(dir, "back")
		if err := exec.CommandContext(t.Context(), "sync").Run(); err != nil { // what was written before must not count
			t.Fatal(err)
		}
		began := time.Now()
		restic(t, repo, "restore", "latest", "--target", to)
		took = append(took, time.Since(began).Seconds())
		same(t, filepath.Join(to, data), m)
		if err := os.RemoveAll(to); err != nil {
			t.Fatal(err)
		}
	}
	m.At, m.Seconds = time.Now(), middle(took)
	return m
}

func middle(all []float64) float64 {
	a, b, c := all[0], all[1], all[2]
	return max(min(a, b), min(max(a, b), c))
}

// fill writes files that look like documents and images: half of each can be
// compressed.
func fill(t *testing.T, dir string, d drilled) (bytes, files int64) {
	t.Helper()
	luck := rand.NewChaCha8([32]byte{byte(d.small), byte(d.small >> 8), byte(d.large)})
	write := func(name string, size int) {
		body := make([]byte, size)
		for at := 0; at < size; at += 1024 {
			_, _ = luck.Read(body[at : at+512]) // never fails
		}
		if err := os.WriteFile(name, body, 0o600); err != nil {
			t.Fatal(err)
		}
		bytes, files = bytes+int64(size), files+1
	}
	for i := range d.small {
		sub := filepath.Join(dir, fmt.Sprintf("d%03d", i/200))
		if i%200 == 0 {
			if err := os.MkdirAll(sub, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		write(filepath.Join(sub, fmt.Sprintf("f%d.xml", i)), 4<<10)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range d.large {
		write(filepath.Join(dir, fmt.Sprintf("l%d.dcm", i)), 32<<20)
	}
	return bytes, files
}

// same says whether as much came back as there was.
func same(t *testing.T, dir string, want Restore) {
	t.Helper()
	var bytes, files int64
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			bytes, files = bytes+info.Size(), files+1
		}
		return err
	})
	if err != nil || bytes != want.Bytes || files != want.Files {
		t.Fatalf("restored %d bytes in %d files, %v; there were %d in %d", bytes, files, err, want.Bytes, want.Files)
	}
}

func restic(t *testing.T, repo string, args ...string) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Minute)
	defer stop()
	cmd := exec.CommandContext(ctx, "restic", args...)
	cmd.Env = append(os.Environ(), "RESTIC_REPOSITORY="+repo, "RESTIC_PASSWORD=forecast", "RESTIC_CACHE_DIR="+repo+"-cache", "RESTIC_PROGRESS_FPS=0.1")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("restic %s: %v\n%s", args[0], err, text)
	}
}
