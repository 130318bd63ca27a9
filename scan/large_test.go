package scan_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/detect/pack"
	"github.com/sonae/sonae/scan"
)

// bigEVTX writes an event log of about size bytes: the chunks of a real one,
// over and over.
func bigEVTX(t *testing.T, size int64) string {
	t.Helper()
	sample, err := os.ReadFile(filepath.Join(unpacked(t, "detect/evtx-samples.tar.gz"), "security.evtx"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "Security.evtx")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const header = 4096
	if _, err := f.Write(sample[:header]); err != nil {
		t.Fatal(err)
	}
	for n := int64(header); n < size; n += int64(len(sample) - header) {
		if _, err := f.Write(sample[header:]); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func TestOneLargeLogIsReadByAllCoresWithTheSameResult(t *testing.T) {
	path := bigEVTX(t, 3<<20)
	rules := filepath.Join(unpacked(t, "detect/sigmahq-rules.tar.gz"), "rules/windows/builtin/security")
	var first []scan.Finding
	for _, jobs := range []int{1, 2, 5} {
		engine, _, err := pack.Load([]string{rules})
		if err != nil {
			t.Fatal(err)
		}
		found, r := scanned(t, scan.Options{Paths: []string{path}, Engine: engine, Jobs: jobs, BigLog: 1 << 20})
		if len(found) == 0 || r.Stats.Events < 3000 {
			t.Fatalf("%d findings in %d events", len(found), r.Stats.Events)
		}
		if first == nil {
			first = found
			continue
		}
		if diff := cmp.Diff(first, found, cmp.AllowUnexported(scan.Rule{})); diff != "" {
			t.Errorf("%d jobs give another result", jobs)
		}
	}
}

// TestOneLargeJSONLogIsReadByAllCoresWithTheSameResult has damaged lines in it,
// each of which must be named with its own number.
func TestOneLargeJSONLogIsReadByAllCoresWithTheSameResult(t *testing.T) {
	path := filepath.Join(t.TempDir(), "all.jsonl")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(f)
	for n := range 150_000 {
		switch {
		case n%50_000 == 777:
			fmt.Fprintln(w, "no JSON here")
		case n%10_000 == 5:
			fmt.Fprintf(w, `{"product":"test","User":"root","N":"%d"}`+"\n", n)
		default:
			fmt.Fprintf(w, `{"product":"test","User":"u","N":"%d"}`+"\n", n)
		}
	}
	if err := errors.Join(w.Flush(), f.Close()); err != nil {
		t.Fatal(err)
	}
	var first []scan.Finding
	var damaged string
	for _, jobs := range []int{1, 2, 5} {
		found, r := scanned(t, scan.Options{Paths: []string{path}, Engine: rules(t, rootRule), Jobs: jobs, BigLog: 1 << 20})
		if len(found) != 15 || r.Stats.Events != 149_997 || len(r.Damaged) != 1 {
			t.Fatalf("%d jobs: %d findings in %d events, damaged %v", jobs, len(found), r.Stats.Events, r.Damaged)
		}
		if first == nil {
			first, damaged = found, r.Damaged[0].Err.Error()
			continue
		}
		if diff := cmp.Diff(first, found, cmp.AllowUnexported(scan.Rule{})); diff != "" {
			t.Errorf("%d jobs give another result:\n%s", jobs, diff)
		}
		if got := r.Damaged[0].Err.Error(); got != damaged {
			t.Errorf("%d jobs say %q, one says %q", jobs, got, damaged)
		}
	}
}

// TestMemoryStaysBounded runs the program over a large log with many findings.
// SONAE_TEST_LARGE=1 makes it 2 GB.
func TestMemoryStaysBounded(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs the peak of a process as Linux counts it")
	}
	if testing.Short() {
		t.Skip("writes a large file")
	}
	size := int64(64 << 20)
	if os.Getenv("SONAE_TEST_LARGE") != "" {
		size = 2 << 30
	}
	path := bigEVTX(t, size)
	rules := filepath.Join(unpacked(t, "detect/sigmahq-rules.tar.gz"), "rules")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Args = []string{"sonae", "scan", "--stats", "--rules", rules, "--html", filepath.Join(t.TempDir(), "r.html"), "--format", "jsonl", path}
	cmd.Stdout, cmd.Stderr = io.Discard, os.Stderr
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	peak := usage.Maxrss << 10
	t.Logf("%d MB: peak memory %d MB, %s CPU", size>>20, peak>>20, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
	if peak > 300<<20 {
		t.Errorf("it took %d MB of memory, more than 300", peak>>20)
	}
}
