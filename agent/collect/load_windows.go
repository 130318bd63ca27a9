package collect

import (
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Health samples the load. It is safe for concurrent use.
type Health struct {
	cfg           Config
	times, memory *windows.LazyProc

	mu         sync.Mutex
	idle, all  uint64
	last       Load
	lastSample time.Time
}

const sampleEvery = time.Second // the least between two samples: shares of less are noise

// NewHealth makes the sampler.
func NewHealth(cfg Config) *Health {
	k := windows.NewLazySystemDLL("kernel32.dll")
	return &Health{cfg: cfg, times: k.NewProc("GetSystemTimes"), memory: k.NewProc("GlobalMemoryStatusEx")}
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
	h.cpu()
	h.last.Memory = h.used()
	h.last.Disk, h.last.Volume = fullest()
	return h.last
}

func (h *Health) cpu() {
	var idle, kernel, user windows.Filetime
	if ok, _, _ := h.times.Call(uintptr(unsafe.Pointer(&idle)), uintptr(unsafe.Pointer(&kernel)), uintptr(unsafe.Pointer(&user))); ok == 0 {
		return
	}
	ticks := func(t windows.Filetime) uint64 { return uint64(t.HighDateTime)<<32 | uint64(t.LowDateTime) }
	all := ticks(kernel) + ticks(user) // kernel time has the idle time in it
	if i := ticks(idle); all > h.all && h.all > 0 && i >= h.idle {
		h.last.CPU = max(0, 1-float64(i-h.idle)/float64(all-h.all))
	}
	h.idle, h.all = ticks(idle), all
}

// memoryStatus is MEMORYSTATUSEX.
type memoryStatus struct {
	length, load uint32
	rest         [7]uint64
}

func (h *Health) used() float64 {
	m := memoryStatus{length: uint32(unsafe.Sizeof(memoryStatus{}))}
	if ok, _, _ := h.memory.Call(uintptr(unsafe.Pointer(&m))); ok == 0 {
		return 0
	}
	return float64(m.load) / 100
}

// fullest looks at the fixed drives.
func fullest() (share float64, volume string) {
	mask, err := windows.GetLogicalDrives()
	if err != nil {
		return 0, ""
	}
	for i := range 26 {
		if mask&(1<<i) == 0 {
			continue
		}
		root := string(rune('A'+i)) + `:\`
		path, err := windows.UTF16PtrFromString(root)
		if err != nil || windows.GetDriveType(path) != windows.DRIVE_FIXED {
			continue
		}
		var free, total uint64
		if windows.GetDiskFreeSpaceEx(path, nil, &total, &free) != nil || total == 0 {
			continue
		}
		if s := 1 - float64(free)/float64(total); s >= share {
			share, volume = s, root
		}
	}
	return share, volume
}
