package bpf

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// TestTwoBuildsAreTheSame builds the object twice and compares it with the one
// that lies in this program.
func TestTwoBuildsAreTheSame(t *testing.T) {
	if _, err := exec.LookPath("clang"); err != nil || runtime.GOARCH != "amd64" {
		t.Skip("no clang here, or not for this processor")
	}
	var all [][]byte
	for range 2 {
		dir := t.TempDir()
		if out, err := exec.Command("sh", "../../../tools/bpf.sh", dir).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		b, err := os.ReadFile(filepath.Join(dir, "telemetry_amd64.o"))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	if len(all[0]) == 0 || !bytes.Equal(all[0], all[1]) {
		t.Error("two builds differ")
	}
	if b, err := Object(); err == nil && !bytes.Equal(b, all[0]) {
		t.Error("the object in this program is not that of its source: make bpf")
	}
}
