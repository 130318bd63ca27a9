package collect

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/event"
)

// Health samples the load. It is safe for concurrent use.
type Health struct {
	said
	cfg Config

	mu         sync.Mutex
	busy, all  uint64
	last       Load
	lastSample time.Time
}

const (
	reportEvery = time.Minute
	sampleEvery = time.Second // the least between two samples: shares of less are noise
)

// NewHealth makes the collector.
func NewHealth(cfg Config) *Health {
	h := &Health{cfg: cfg}
	h.say("/proc and the mounted volumes")
	return h
}

// Name implements Collector.
func (h *Health) Name() string { return "health" }

// Run implements Collector: one event each minute.
func (h *Health) Run(ctx context.Context, q *Queue) error {
	h.Sample()
	for pause(ctx, reportEvery) {
		l := h.Sample()
		share := func(v float64) string { return strconv.FormatFloat(v, 'f', 3, 64) }
		q.Put(event.Event{Time: h.cfg.Now().UTC(), Kind: event.KindHealth, Product: "linux", Service: "health",
			Fields: map[string]string{"Cpu": share(l.CPU), "Memory": share(l.Memory), "Disk": share(l.Disk), "Volume": l.Volume}})
	}
	return nil
}

// Sample returns the load now. What cannot be read is 0.
func (h *Health) Sample() Load {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.cfg.Now()
	if age := now.Sub(h.lastSample); age >= 0 && age < sampleEvery {
		return h.last
	}
	h.lastSample = now
	if b, err := os.ReadFile("/proc/stat"); err == nil {
		busy, all := parseCPU(b)
		if all > h.all && busy >= h.busy {
			h.last.CPU = float64(busy-h.busy) / float64(all-h.all)
		}
		h.busy, h.all = busy, all
	}
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		h.last.Memory = parseMemory(b)
	}
	if b, err := os.ReadFile("/proc/self/mounts"); err == nil {
		h.last.Disk, h.last.Volume = fullest(b)
	}
	return h.last
}

// parseCPU reads the first line of /proc/stat: ticks that were not idle, and all.
func parseCPU(b []byte) (busy, all uint64) {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	f := strings.Fields(string(line))
	if len(f) < 5 || f[0] != "cpu" {
		return 0, 0
	}
	for i, s := range f[1:min(len(f), 9)] { // guest times are contained in user times
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			return 0, 0
		}
		all += n
		if i != 3 && i != 4 { // idle, iowait
			busy += n
		}
	}
	return busy, all
}

// parseMemory reads /proc/meminfo.
func parseMemory(b []byte) float64 {
	var total, free float64
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		f := strings.Fields(s.Text())
		if len(f) < 2 {
			continue
		}
		n, err := strconv.ParseFloat(f[1], 64)
		if err != nil {
			continue
		}
		switch f[0] {
		case "MemTotal:":
			total = n
		case "MemAvailable:":
			free = n
		}
	}
	if total <= 0 || free > total {
		return 0
	}
	return (total - free) / total
}

// notVolumes are file systems that are full by nature, or none at all; network
// file systems can hang whoever asks.
var notVolumes = map[string]bool{"squashfs": true, "iso9660": true, "tmpfs": true, "devtmpfs": true, "proc": true, "sysfs": true, "cgroup2": true, "devpts": true,
	"nfs": true, "nfs4": true, "cifs": true, "smb3": true, "autofs": true, "fuse.sshfs": true, "9p": true}

// fullest asks the mounted volumes.
func fullest(mounts []byte) (share float64, volume string) {
	for s := bufio.NewScanner(bytes.NewReader(mounts)); s.Scan(); {
		f := strings.Fields(s.Text())
		if len(f) < 3 || notVolumes[f[2]] {
			continue
		}
		path := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\134`, `\`).Replace(f[1])
		var st unix.Statfs_t
		if unix.Statfs(path, &st) != nil || st.Blocks == 0 {
			continue
		}
		used := st.Blocks - min(st.Bfree, st.Blocks)
		if whole := used + st.Bavail; whole > 0 { // as df counts: what is kept for root is not free
			if v := float64(used) / float64(whole); v > share || volume == "" {
				share, volume = v, path
			}
		}
	}
	return share, volume
}
