package core

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Core is a core being read. It is not safe for concurrent use.
type Core struct {
	pid    int
	mem    *os.File
	head   []byte // not read yet
	rest   []segment
	at     uint64 // next address of rest[0]
	size   int64
	left   Left
	page   uint64
	broken int64 // pages that could not be read and are zero
	read   int64
	gone   bool
}

// Open looks at a process and prepares its core. The process should be stopped
// or frozen: what runs changes while it is read, and its registers are not
// asked for. Call Close.
func Open(ctx context.Context, pid int, o Options) (*Core, error) {
	m, ok := machines[runtime.GOARCH]
	if !ok {
		return nil, ErrMachine
	}
	if pid == os.Getpid() {
		return nil, ErrOwn
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = defaultMax
	}
	c := &Core{pid: pid, page: uint64(os.Getpagesize())}
	p, err := readProcess(pid)
	if err != nil {
		return nil, err
	}
	maps, err := readMaps(pid)
	if err != nil {
		return nil, err
	}
	threads, err := c.threads(ctx, p)
	if err != nil {
		return nil, err
	}
	touched, err := c.touched(ctx, maps)
	if err != nil {
		return nil, err
	}
	note := p.all(threads, maps, m, c.page)
	room := o.MaxBytes - int64(len(note)) - int64(sizeProgram*(count(touched)+len(maps)+2)) - int64(c.page)
	segments, left := choose(maps, touched, uint64(max(0, room))/c.page*c.page)
	c.left.Bytes = int64(left)
	c.head = head(note, segments, m, c.page)
	c.size = int64(len(c.head))
	for _, s := range segments {
		if s.stored {
			c.rest = append(c.rest, s)
			c.size += int64(s.end - s.start)
		}
	}
	if c.mem, err = os.Open(c.proc("mem")); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Core) proc(name string) string { return "/proc/" + strconv.Itoa(c.pid) + "/" + name }

// Size is how many bytes will be read, when the process stays.
func (c *Core) Size() int64 { return c.size }

// Left says what is not in the core.
func (c *Core) Left() Left { return c.left }

// Cut says, after reading, what could not be read; empty: nothing.
func (c *Core) Cut() string {
	switch {
	case c.gone:
		return fmt.Sprintf("the process ended while its memory was read: %d of %d bytes are here", c.read, c.size)
	case c.broken > 0:
		return fmt.Sprintf("%d pages could not be read and are zero here", c.broken)
	}
	return ""
}

// Close ends reading.
func (c *Core) Close() error { return c.mem.Close() }

// Read gives the file from its beginning. When the process ends meanwhile, the
// file ends, too, and Cut says so.
func (c *Core) Read(p []byte) (int, error) {
	if len(c.head) > 0 {
		n := copy(p, c.head)
		c.head = c.head[n:]
		c.read += int64(n)
		return n, nil
	}
	if len(c.rest) == 0 || c.gone {
		return 0, io.EOF
	}
	s := c.rest[0]
	c.at = max(c.at, s.start)
	n := c.memory(p[:min(uint64(len(p)), s.end-c.at)])
	c.read += int64(n)
	if c.at += uint64(n); c.at == s.end {
		c.rest = c.rest[1:]
	}
	if n == 0 && c.gone {
		return 0, io.EOF
	}
	return n, nil
}

// memory reads what stands at c.at. A page that cannot be read is zero.
func (c *Core) memory(p []byte) int {
	n, err := c.mem.ReadAt(p, int64(c.at))
	if n > 0 {
		return n
	}
	if errors.Is(err, io.EOF) || errors.Is(err, unix.ESRCH) { // it has no memory any more
		c.gone = true
		return 0
	}
	n = int(min(uint64(len(p)), c.page-c.at%c.page))
	clear(p[:n])
	c.broken++
	return n
}

// readMaps reads the address space of a process without the pages that the
// kernel gives to all.
func readMaps(pid int) ([]mapping, error) {
	text, err := readSome(fmt.Sprintf("/proc/%d/maps", pid), maxMapsText)
	if err != nil {
		return nil, err
	}
	all, err := parseMaps(string(text))
	if err != nil {
		return nil, err
	}
	var out []mapping
	for _, m := range all {
		if m.path != "[vsyscall]" && m.path != "[vvar]" && m.path != "[vvar_vclock]" {
			out = append(out, m)
		}
	}
	if len(out) == 0 {
		return nil, ErrNoMemory
	}
	return out, nil
}

func readSome(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, limit))
	if e := f.Close(); err == nil {
		err = e
	}
	if errors.Is(err, unix.ESRCH) { // it ended between opening and reading
		err = &fs.PathError{Op: "read", Path: path, Err: fs.ErrNotExist}
	}
	return b, err
}

// Bits of an entry of /proc/PID/pagemap (Documentation/admin-guide/mm/pagemap.rst).
const touchedBits = 1<<63 | 1<<62 // in memory, or swapped out

// touched finds the pages of each mapping that are in memory or in swap.
func (c *Core) touched(ctx context.Context, maps []mapping) ([][]run, error) {
	f, err := os.Open(c.proc("pagemap"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	out := make([][]run, len(maps))
	scanned := uint64(0)
	for i, m := range maps {
		if scanned += m.end - m.start; scanned > maxScanned {
			scanned -= m.end - m.start
			c.left.Unscanned += int64(m.end - m.start)
			continue
		}
		runs, err := c.scan(ctx, f, m)
		if err != nil {
			return nil, err
		}
		out[i] = merge(runs, maxGap*c.page)
	}
	for gap := 2 * maxGap * c.page; count(out)+len(maps) > maxSegments && gap > 0; gap *= 2 {
		for i := range out {
			out[i] = merge(out[i], gap)
		}
	}
	if count(out)+len(maps) > maxSegments {
		return nil, fmt.Errorf("core: more than %d mappings", maxSegments)
	}
	return out, nil
}

// scan reads the page map of one mapping, a portion at a time.
func (c *Core) scan(ctx context.Context, f *os.File, m mapping) ([]run, error) {
	var out []run
	buf := make([]byte, 64<<10)
	for at := m.start; at < m.end; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		want := min(uint64(len(buf)), (m.end-at)/c.page*8)
		n, err := f.ReadAt(buf[:want], int64(at/c.page*8))
		if n < 8 {
			if err == nil || errors.Is(err, io.EOF) {
				return out, nil // the mapping is gone
			}
			return nil, fmt.Errorf("core: page map of %x: %w", at, err)
		}
		for e := buf[:n/8*8]; len(e) > 0; e = e[8:] {
			if binary.NativeEndian.Uint64(e)&touchedBits != 0 {
				out = grow(out, at, at+c.page, maxGap*c.page)
			}
			at += c.page
		}
	}
	return out, nil
}

// grow adds a page to runs, so that a large mapping needs no list of its pages.
func grow(runs []run, start, end, gap uint64) []run {
	if n := len(runs); n > 0 && start-runs[n-1].end <= gap {
		runs[n-1].end = end
		return runs
	}
	return append(runs, run{start, end})
}

func count(all [][]run) (n int) {
	for _, r := range all {
		n += len(r)
	}
	return n
}

// readProcess reads what stands in /proc/PID.
func readProcess(pid int) (process, error) {
	dir := fmt.Sprintf("/proc/%d/", pid)
	stat, err := readSome(dir+"stat", 4096)
	if err != nil {
		return process{}, err
	}
	p, err := parseStat(string(stat))
	if err != nil {
		return p, err
	}
	args, err := readSome(dir+"cmdline", 4096)
	if err != nil {
		return p, err
	}
	p.args = strings.TrimSpace(strings.ReplaceAll(string(args), "\x00", " "))
	status, err := readSome(dir+"status", 64<<10)
	if err != nil {
		return p, err
	}
	p.uid, p.gid = firstNumber(string(status), "Uid:"), firstNumber(string(status), "Gid:")
	if p.auxv, err = readSome(dir+"auxv", 64<<10); err != nil {
		return p, err
	}
	return p, nil
}

// parseStat reads /proc/PID/stat; the name may hold anything, parentheses
// included (proc_pid_stat(5)).
func parseStat(text string) (process, error) {
	open, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if open < 1 || end < open {
		return process{}, errors.New("core: /proc/PID/stat cannot be read")
	}
	f := strings.Fields(text[end+1:])
	if len(f) < 17 || len(f[0]) != 1 {
		return process{}, errors.New("core: /proc/PID/stat is too short")
	}
	number := func(s string) int { n, _ := strconv.Atoi(s); return n } // the kernel wrote it
	return process{pid: number(strings.TrimSpace(text[:open])), name: text[open+1 : end], state: f[0][0], ppid: number(f[1]), pgrp: number(f[2]), sid: number(f[3]),
		flags: uint64(number(f[6])), utime: uint64(number(f[11])), stime: uint64(number(f[12])), nice: int8(number(f[16]))}, nil
}

func firstNumber(status, key string) uint32 {
	for l := range strings.Lines(status) {
		if rest, ok := strings.CutPrefix(l, key); ok {
			if f := strings.Fields(rest); len(f) > 0 {
				n, _ := strconv.ParseUint(f[0], 10, 32) // the kernel wrote it
				return uint32(n)
			}
		}
	}
	return 0
}
