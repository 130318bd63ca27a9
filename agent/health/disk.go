package health

import (
	"context"
	"fmt"

	"github.com/sonae/sonae/source/agentlink/wire"
)

// volume is a mounted file system and what is used of it.
type volume struct {
	path             string
	used, size       float64 // bytes; size is used and what is free for others than root
	inodes, inodeAll float64 // 0 all: it has no fixed number of them
}

// volumes remembers how each volume filled. Only the task of the volumes uses it.
type volumes struct {
	bytes, inodes map[string]*series
}

func newVolumes() *volumes { return &volumes{map[string]*series{}, map[string]*series{}} }

// maxVolumes bounds what is remembered: containers mount many and forget them.
const maxVolumes = 16

func (m *Monitor) measureVolumes(context.Context) []wire.Measure {
	found := mounted()
	found = found[:min(len(found), maxVolumes)]
	forget(m.volumes.bytes, found)
	forget(m.volumes.inodes, found)
	var out []wire.Measure
	for _, v := range found {
		out = append(out, wire.Measure{Name: Disk, Object: v.path, Value: v.used / v.size})
		hours, ok := m.fills(m.volumes.bytes, v.path, v.used, v.size)
		if v.inodeAll > 0 {
			out = append(out, wire.Measure{Name: Inodes, Object: v.path, Value: v.inodes / v.inodeAll})
			if sooner, known := m.fills(m.volumes.inodes, v.path, v.inodes, v.inodeAll); known && (!ok || sooner < hours) {
				hours, ok = sooner, true
			}
		}
		if ok {
			out = append(out, wire.Measure{Name: Fills, Object: v.path, Value: hours, Detail: fmt.Sprintf("%.0f h", hours)})
		}
	}
	return out
}

func (m *Monitor) fills(of map[string]*series, path string, used, size float64) (hours float64, ok bool) {
	s := of[path]
	if s == nil {
		s = &series{}
		of[path] = s
	}
	s.add(m.deps.Now(), used)
	return s.full(size)
}

// forget drops the past of what is mounted no longer.
func forget(past map[string]*series, found []volume) {
	for path := range past {
		gone := true
		for _, v := range found {
			gone = gone && v.path != path
		}
		if gone {
			delete(past, path)
		}
	}
}
