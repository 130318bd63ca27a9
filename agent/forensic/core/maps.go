package core

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// mapping is one line of /proc/PID/maps.
type mapping struct {
	start, end uint64
	offset     uint64 // in the file, bytes
	flags      uint32 // PF_R, PF_W, PF_X
	shared     bool
	path       string // empty: anonymous; in brackets: the kernel's name
}

// Flags of a program header.
const (
	flagX = 1
	flagW = 2
	flagR = 4
)

var errMaps = errors.New("core: /proc/PID/maps cannot be read")

// parseMaps reads /proc/PID/maps (proc_pid_maps(5)).
func parseMaps(text string) ([]mapping, error) {
	var out []mapping
	no := 0
	for line := range strings.Lines(text) {
		no++
		if len(out) == maxMappings {
			return nil, fmt.Errorf("%w: more than %d mappings", errMaps, maxMappings)
		}
		m, ok := parseMapping(strings.TrimSuffix(line, "\n"))
		if !ok || len(out) > 0 && m.start < out[len(out)-1].end {
			return nil, fmt.Errorf("%w: line %d", errMaps, no)
		}
		out = append(out, m)
	}
	return out, nil
}

// parseMapping reads "start-end perms offset dev inode    path".
func parseMapping(line string) (m mapping, ok bool) {
	var f [5]string
	rest := line
	for i := range f {
		f[i], rest, _ = strings.Cut(rest, " ")
	}
	from, to, ok := strings.Cut(f[0], "-")
	if !ok || len(f[1]) != 4 || f[4] == "" {
		return m, false
	}
	var errs [3]error
	m.start, errs[0] = strconv.ParseUint(from, 16, 64)
	m.end, errs[1] = strconv.ParseUint(to, 16, 64)
	m.offset, errs[2] = strconv.ParseUint(f[2], 16, 64)
	if errors.Join(errs[:]...) != nil || m.start >= m.end {
		return m, false
	}
	for i, bit := range []uint32{flagR, flagW, flagX} {
		if f[1][i] != '-' {
			m.flags |= bit
		}
	}
	m.shared = f[1][3] == 's'
	m.path = strings.TrimLeft(rest, " ")
	return m, true
}

// isFile says whether a file stands behind the mapping, for NT_FILE.
func (m mapping) isFile() bool { return strings.HasPrefix(m.path, "/") }

// rank is how early a mapping is taken when not all have room: what only this
// process knows comes first.
func (m mapping) rank() int {
	switch {
	case !m.isFile() && !m.shared:
		return 0
	case !m.shared:
		return 1
	}
	return 2
}

// run is touched memory from start to end.
type run struct{ start, end uint64 }

// merge joins runs with no more than gap bytes between them.
func merge(runs []run, gap uint64) []run {
	var out []run
	for _, r := range runs {
		if n := len(out); n > 0 && r.start-out[n-1].end <= gap {
			out[n-1].end = r.end
			continue
		}
		out = append(out, r)
	}
	return out
}

// segment is one PT_LOAD: memory of a mapping, with content or without.
type segment struct {
	run
	flags  uint32
	stored bool
}

// choose makes segments of the touched runs of each mapping so that their
// content has at most room bytes, and says how many bytes were left out.
func choose(maps []mapping, touched [][]run, room uint64) (out []segment, left uint64) {
	order := make([]int, len(maps))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(maps[a].rank(), maps[b].rank()), cmp.Compare(total(touched[a]), total(touched[b])))
	})
	for _, i := range order {
		m := maps[i]
		if len(touched[i]) == 0 {
			out = append(out, segment{run{m.start, m.end}, m.flags, false})
		}
		for _, r := range touched[i] {
			n := min(r.end-r.start, room)
			if n < r.end-r.start {
				left += r.end - r.start - n
				if n == 0 {
					continue
				}
			}
			room -= n
			out = append(out, segment{run{r.start, r.start + n}, m.flags, true})
		}
	}
	slices.SortFunc(out, func(a, b segment) int { return cmp.Compare(a.start, b.start) })
	return out, left
}

func total(runs []run) (n uint64) {
	for _, r := range runs {
		n += r.end - r.start
	}
	return n
}
