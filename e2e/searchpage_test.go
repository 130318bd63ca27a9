//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/archive/archivetest"
)

// TestSearchPageOverManyEvents asks the search page of a real hub the questions
// of a night shift over the archive that SONAE_BENCH_ARCHIVE names (see
// make bench-search), and prints how long each page took, the first time and
// again, and how much memory the hub had. It fails when an answer is wrong,
// never because it is slow.
func TestSearchPageOverManyEvents(t *testing.T) {
	from := os.Getenv("SONAE_BENCH_ARCHIVE")
	if from == "" {
		t.Skip("SONAE_BENCH_ARCHIVE names no archive (make bench-search)")
	}
	w := newWorld(t, "sp")
	dir := filepath.Join(t.TempDir(), "hub")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if b, err := exec.Command("cp", "-a", from, filepath.Join(dir, "archive")).CombinedOutput(); err != nil {
		t.Fatalf("copy the archive: %v: %s", err, b)
	}
	built := build(t)
	h := startHubWith(t, add(t, w, "hub", "192.168.10.5/24", "2001:db8:10::5/64"), hubProcess{program: built.hub, args: []string{"serve"}, dir: dir})
	h.client.Timeout = time.Minute
	p := h.join(t, h.link, "admin", "病院 情報担当")
	p.do(t, http.MethodPut, "/sites/hospital", map[string]string{"name": "中央病院", "kind": "hospital"}, nil, 0)
	time.Sleep(20 * time.Second) // what a hub does at its start is over
	t.Logf("%-34s %4d MB", "memory, 20 s after the start", resident(t, h)>>20)

	day := url.Values{"range": {"own"}, "from": {"2026-11-18T09:00:00"}, "to": {"2026-11-19T09:00:00"}}
	all := url.Values{"range": {"own"}, "from": {"2026-11-14T09:00:00"}, "to": {"2026-11-24T09:00:00"}}
	for _, q := range []struct {
		name, text string
		span       url.Values
		shows      string // what the page must hold
	}{
		{"a day, everything", "", day, ""},
		{"a day, failed log-ons", "event_code=" + archivetest.FailedCode, day, ""},
		{"rare address, everything", "ip:" + archivetest.RareAddress, all, archivetest.RareAddress},
		{"rare address as text, everything", archivetest.RareAddress, all, archivetest.RareAddress},
		{"rare hash, everything", "hash:" + archivetest.RareHash, all, ""},
		{"free text, a word, everything", archivetest.Command, all, archivetest.Command},
		{"free text, Japanese, everything", `"` + archivetest.Phrase + `"`, all, archivetest.Phrase},
		{"free text, nothing can be skipped", "zqj", all, ""},
	} {
		v := url.Values{"q": {q.text}}
		for k := range q.span {
			v[k] = q.span[k]
		}
		var took []time.Duration
		for range 6 {
			began := time.Now()
			page := p.page(t, "/search?"+v.Encode())
			took = append(took, time.Since(began))
			if !strings.Contains(page, q.shows) {
				t.Fatalf("%s: the page does not show %q", q.name, q.shows)
			}
		}
		again := slices.Sorted(slices.Values(took[1:]))
		t.Logf("%-34s first %s, again %s (median of 5), at most %s; memory %d MB", q.name, seconds(took[0]), seconds(again[2]), seconds(again[4]), resident(t, h)>>20)
	}
	t.Logf("%-34s %4d MB", "memory, at the most", peak(t, h)>>20)
	for _, rest := range []time.Duration{time.Minute, 5 * time.Minute} { // what was decoded is let go of after five
		time.Sleep(rest)
		t.Logf("%-34s %4d MB, %d MB of them mapped from files", fmt.Sprintf("memory, idle for another %v", rest), resident(t, h)>>20, status(t, h, "RssFile:")>>20)
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

// resident is how many bytes of memory the hub has; peak is the most it had.
func resident(t *testing.T, h *hubProcess) int64 { return status(t, h, "VmRSS:") }
func peak(t *testing.T, h *hubProcess) int64     { return status(t, h, "VmHWM:") }

func status(t *testing.T, h *hubProcess, name string) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", h.process.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == name {
			kb, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatalf("%s is not in /proc", name)
	return 0
}
