package engine

import (
	"context"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

// What a policy says reaches restic: shadow copies of Windows, what is left out,
// one file system, how many files are read at once where the version knows it.
// Paths come last, and can be no options.
func TestWhatResticIsTold(t *testing.T) {
	b := Backup{Hostname: "emr-1", Tags: []string{"policy:p"}, Paths: []string{`D:\共有`, "/srv"}, Excludes: []string{"*.tmp", "--stdin"}, OneSystem: true, Shadow: true, Read: 4}
	for minor, want := range map[int]string{
		14: `--host emr-1 --tag policy:p --exclude=*.tmp --exclude=--stdin --one-file-system --use-fs-snapshot -- D:\共有 /srv`,
		18: `--retry-lock 5m0s --host emr-1 --tag policy:p --exclude=*.tmp --exclude=--stdin --one-file-system --use-fs-snapshot --read-concurrency 4 -- D:\共有 /srv`,
	} {
		if got := strings.Join(b.args(Restic{Version: Version{Minor: minor}}), " "); got != want {
			t.Errorf("0.%d\ngot  %s\nwant %s", minor, got, want)
		}
	}
	b = Backup{Time: time.Date(2026, 11, 29, 3, 4, 5, 678, time.Local), Name: "/emr.dump", Stream: func(context.Context, io.Writer) error { return nil }}
	if got, want := b.args(Restic{Version: Version{Minor: 14}}), []string{"--time", "2026-11-29 03:04:05", "--stdin", "--stdin-filename", "/emr.dump"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
