package winproc

import (
	"os"
	"strings"
	"testing"
	"time"
)

// This very process is found, and told as it is.
func TestThisProcessIsKnown(t *testing.T) {
	all, err := List()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		if p.PID != os.Getpid() {
			continue
		}
		q := Fill(p)
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		if !strings.EqualFold(q.Image, self) || q.Parent != os.Getppid() {
			t.Errorf("%+v, want image %s, parent %d", q, self, os.Getppid())
		}
		if !strings.Contains(q.Command, "-test.") {
			t.Errorf("command line %q", q.Command)
		}
		if q.User == "" || time.Since(q.Start) > time.Hour {
			t.Errorf("user %q, start %s", q.User, q.Start)
		}
		return
	}
	t.Fatalf("process %d is not among %d", os.Getpid(), len(all))
}

// A process that is gone leaves what was known.
func TestAProcessThatIsGone(t *testing.T) {
	if p := Fill(Process{PID: 0x7ffffff0, Image: "a.exe"}); p.Image != "a.exe" || p.Command != "" {
		t.Errorf("%+v", p)
	}
}
