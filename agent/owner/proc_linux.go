package owner

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// clockTicks is USER_HZ, which is 100 for user space on every architecture
// that Go supports, whatever the kernel was built with.
const clockTicks = 100

// readSockets reads the socket tables (proc(5)). Missing tables, such as those
// of IPv6 where it is turned off, count as empty.
func readSockets(proc string) map[conn]uint64 {
	all := make(map[conn]uint64)
	for _, name := range [...]string{"tcp", "tcp6", "udp", "udp6"} {
		f, err := os.Open(filepath.Join(proc, "net", name))
		if err != nil {
			continue
		}
		readTable(f, name[:3] == "udp", all)
		f.Close()
	}
	return all
}

// readTable adds the sockets of one table to all.
func readTable(r io.Reader, udp bool, all map[conn]uint64) {
	lines := bufio.NewScanner(io.LimitReader(r, maxSockets*256))
	lines.Scan() // the heading
	for lines.Scan() && len(all) < maxSockets {
		f := bytes.Fields(lines.Bytes())
		if len(f) < 10 {
			continue
		}
		local, ok := parseAddress(f[1])
		remote, ok2 := parseAddress(f[2])
		inode, err := strconv.ParseUint(string(f[9]), 10, 64)
		if !ok || !ok2 || err != nil || inode == 0 { // 0: closing, or not yet accepted
			continue
		}
		c := conn{udp: udp, local: local, remote: remote}
		if remote.Port() == 0 {
			c.remote = netip.AddrPort{}
			if local.Addr().IsUnspecified() {
				c.local = netip.AddrPortFrom(netip.Addr{}, local.Port())
			}
		}
		if _, ok := all[c]; !ok {
			all[c] = inode
		}
	}
}

// parseAddress reads an address as the tables write it: each 32-bit word in
// the byte order of the machine, then the port.
func parseAddress(s []byte) (netip.AddrPort, bool) {
	host, port, ok := bytes.Cut(s, []byte{':'})
	if !ok || len(host) != 8 && len(host) != 32 || len(port) != 4 {
		return netip.AddrPort{}, false
	}
	var b [18]byte
	n, err := hex.Decode(b[:16], host)
	if err != nil {
		return netip.AddrPort{}, false
	}
	if _, err := hex.Decode(b[16:], port); err != nil {
		return netip.AddrPort{}, false
	}
	for i := 0; i < n; i += 4 {
		binary.BigEndian.PutUint32(b[i:], binary.NativeEndian.Uint32(b[i:]))
	}
	a, _ := netip.AddrFromSlice(b[:n])
	return plain(netip.AddrPortFrom(a, binary.BigEndian.Uint16(b[16:]))), true
}

// searchHolders finds which processes hold the wanted sockets. Where several
// share one, the first by number, usually the parent, is taken.
func searchHolders(proc string, wanted map[uint64]bool) map[uint64]int {
	held := make(map[uint64]int, len(wanted))
	for _, pid := range numbers(proc) {
		dir := filepath.Join(proc, strconv.Itoa(pid), "fd")
		for _, fd := range numbers(dir) {
			to, err := os.Readlink(filepath.Join(dir, strconv.Itoa(fd)))
			if err != nil {
				continue
			}
			text, ok := strings.CutPrefix(to, "socket:[")
			if !ok {
				continue
			}
			inode, err := strconv.ParseUint(strings.TrimSuffix(text, "]"), 10, 64)
			if err == nil && wanted[inode] && held[inode] == 0 {
				held[inode] = pid
			}
		}
	}
	return held
}

// numbers lists the entries of dir whose names are numbers.
func numbers(dir string) (all []int) {
	d, err := os.Open(dir)
	if err != nil {
		return nil // gone, or not ours to read
	}
	defer d.Close()
	names, _ := d.Readdirnames(maxSockets)
	for _, name := range names {
		if n, err := strconv.Atoi(name); err == nil {
			all = append(all, n)
		}
	}
	return all
}

// readProcess reads what is known of a process. ok is false when it is gone.
func readProcess(proc string, pid int, boot time.Time, users map[uint32]string) (p Process, ok bool) {
	dir := filepath.Join(proc, strconv.Itoa(pid))
	start, ok := startTime(dir, boot)
	if !ok {
		return Process{}, false
	}
	p = Process{PID: pid, Start: start, Command: commandLine(dir), User: userOf(dir, users)}
	if exe, err := os.Readlink(filepath.Join(dir, "exe")); err == nil {
		p.Image, p.Deleted = strings.CutSuffix(exe, " (deleted)")
	}
	// The number may have gone to another process in between.
	if again, ok := startTime(dir, boot); !ok || !again.Equal(start) {
		return Process{}, false
	}
	return p, true
}

func readSome(path string, most int64) []byte {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	b, _ := io.ReadAll(io.LimitReader(f, most)) // a process that ends meanwhile leaves what was read
	return b
}

// startTime reads field 22 of stat. The name in field 2 may hold spaces and
// parentheses, so the fields are counted from the last parenthesis.
func startTime(dir string, boot time.Time) (time.Time, bool) {
	b := readSome(filepath.Join(dir, "stat"), 4096)
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(f) < 20 {
		return time.Time{}, false
	}
	ticks, err := strconv.ParseInt(string(f[19]), 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	return boot.Add(time.Duration(ticks) * (time.Second / clockTicks)), true
}

// bootTime reads btime of /proc/stat, seconds since 1970.
func bootTime(proc string) time.Time {
	for line := range bytes.Lines(readSome(filepath.Join(proc, "stat"), 1<<20)) {
		if rest, ok := bytes.CutPrefix(line, []byte("btime ")); ok {
			if sec, err := strconv.ParseInt(string(bytes.TrimSpace(rest)), 10, 64); err == nil {
				return time.Unix(sec, 0).UTC()
			}
		}
	}
	return time.Unix(0, 0).UTC()
}

func commandLine(dir string) string {
	b := bytes.TrimRight(readSome(filepath.Join(dir, "cmdline"), maxCommand), "\x00")
	return strings.ToValidUTF8(string(bytes.ReplaceAll(b, []byte{0}, []byte{' '})), "\uFFFD")
}

// userOf returns the name of the effective user.
func userOf(dir string, users map[uint32]string) string {
	for line := range bytes.Lines(readSome(filepath.Join(dir, "status"), 1<<16)) {
		rest, ok := bytes.CutPrefix(line, []byte("Uid:"))
		f := bytes.Fields(rest)
		if !ok || len(f) < 2 {
			continue
		}
		id, err := strconv.ParseUint(string(f[1]), 10, 32)
		if err != nil {
			return ""
		}
		if name, ok := users[uint32(id)]; ok {
			return name
		}
		name := string(f[1])
		if u, err := user.LookupId(name); err == nil {
			name = u.Username
		}
		if len(users) < maxProcesses {
			users[uint32(id)] = name
		}
		return name
	}
	return ""
}
