package forensic

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// clocks is what is needed to compare this machine's times with others'.
func (c *Collector) clocks(context.Context, int64) ([]byte, string, error) {
	var mono, boot unix.Timespec
	err := errors.Join(unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono), unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot))
	if err != nil {
		return nil, "", err
	}
	now := c.cfg.Now()
	zone, offset := time.Now().Zone()
	name, _ := os.Hostname() // empty says that it has none
	b, err := json.MarshalIndent(map[string]any{
		"wall_utc": now.UTC().Format(time.RFC3339Nano), "wall_local": now.Local().Format(time.RFC3339Nano), "zone": zone, "zone_offset_seconds": offset,
		"monotonic_ns": mono.Nano(), "since_boot_ns": boot.Nano(), "hostname": name,
		"agent_pid": os.Getpid(), "agent_version": c.cfg.Version, "agent_sha256": ownSum(),
		"boot_id": line("/proc/sys/kernel/random/boot_id"), "uptime": line("/proc/uptime"), "kernel": line("/proc/version"),
		"timezone_file": linkOf("/etc/localtime"), "machine_id": line("/etc/machine-id"),
	}, "", "  ")
	return append(b, '\n'), "", err
}

// ownSum is the hash of the agent's own program; "" when it cannot be read.
func ownSum() string {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return ""
	}
	h := sha256.New()
	_, err = io.Copy(h, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}

// line reads a one-line file; "" when there is none.
func line(path string) string {
	b, _, err := readAll(path, 4096)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func linkOf(path string) string {
	s, err := os.Readlink(path)
	if err != nil {
		return ""
	}
	return s
}

// pids lists the processes; their directories may be gone a moment later.
func pids() ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var out []int
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out, nil
}

// processList writes one JSON line for each process.
func processList(ctx context.Context, limit int64) ([]byte, string, error) {
	all, err := pids()
	if err != nil {
		return nil, "", err
	}
	return jsonLines(limit, func(add func(any) bool) error {
		for _, pid := range all {
			p := fmt.Sprintf("/proc/%d/", pid)
			stat := line(p + "stat")
			if stat == "" {
				continue // it has ended since
			}
			status := fields(line(p + "status"))
			ok := add(map[string]any{"pid": pid, "ppid": status["PPid"], "name": status["Name"], "uid": status["Uid"], "gid": status["Gid"], "state": status["State"],
				"cmdline": arguments(p + "cmdline"), "exe": linkOf(p + "exe"), "cwd": linkOf(p + "cwd"), "cgroup": line(p + "cgroup"), "stat": stat})
			if !ok || ctx.Err() != nil {
				return ctx.Err()
			}
		}
		return nil
	})
}

func fields(status string) map[string]string {
	m := map[string]string{}
	for l := range strings.Lines(status) {
		if k, v, ok := strings.Cut(l, ":"); ok {
			m[k] = strings.Join(strings.Fields(v), " ")
		}
	}
	return m
}

func arguments(path string) []string {
	b, _, err := readAll(path, 64<<10)
	if err != nil || len(b) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
}

// jsonLines collects lines until the limit.
func jsonLines(limit int64, f func(add func(any) bool) error) ([]byte, string, error) {
	var b bytes.Buffer
	cut := ""
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	var broke error
	err := f(func(v any) bool {
		before := b.Len()
		if broke = enc.Encode(v); broke != nil {
			return false
		}
		if int64(b.Len()) > limit {
			b.Truncate(before)
			cut = cutAt(limit)
		}
		return cut == ""
	})
	return b.Bytes(), cut, errors.Join(err, broke)
}

// socketTable joins the kernel's tables with the processes that hold the
// sockets.
func socketTable(ctx context.Context, limit int64) ([]byte, string, error) {
	owners, err := socketOwners(ctx)
	if err != nil {
		return nil, "", err
	}
	return jsonLines(limit, func(add func(any) bool) error {
		for _, proto := range []string{"tcp", "tcp6", "udp", "udp6"} {
			b, _, err := readAll("/proc/net/"+proto, maxSmall)
			if err != nil {
				continue // sent as an item of its own, with the reason
			}
			rows := bufio.NewScanner(bytes.NewReader(b))
			for rows.Scan() {
				s, ok := parseSocket(proto, rows.Text())
				if !ok {
					continue
				}
				s.PIDs = owners[s.Inode]
				if !add(s) {
					return nil
				}
			}
		}
		return ctx.Err()
	})
}

// socket is one row of /proc/net/{tcp,udp}*.
type socket struct {
	Proto  string `json:"proto"`
	Local  string `json:"local"`
	Remote string `json:"remote"`
	State  string `json:"state"`
	UID    string `json:"uid"`
	Inode  string `json:"inode"`
	PIDs   []int  `json:"pids"`
}

// states of /proc/net/tcp (include/net/tcp_states.h).
var states = map[string]string{"01": "established", "02": "syn-sent", "03": "syn-received", "04": "fin-wait-1", "05": "fin-wait-2", "06": "time-wait",
	"07": "close", "08": "close-wait", "09": "last-ack", "0A": "listen", "0B": "closing", "0C": "new-syn-received"}

func parseSocket(proto, row string) (socket, bool) {
	f := strings.Fields(row)
	if len(f) < 10 {
		return socket{}, false
	}
	local, ok1 := parseAddr(f[1])
	remote, ok2 := parseAddr(f[2])
	state := states[f[3]]
	if strings.HasPrefix(proto, "udp") {
		state = map[string]string{"01": "connected", "07": "unconnected"}[f[3]]
	}
	return socket{Proto: proto, Local: local.String(), Remote: remote.String(), State: state, UID: f[7], Inode: f[9]}, ok1 && ok2
}

// parseAddr reads "0100007F:1F90": 32-bit words in the byte order of the
// machine, then the port.
func parseAddr(s string) (netip.AddrPort, bool) {
	host, port, ok := strings.Cut(s, ":")
	raw, err := hex.DecodeString(host)
	p, perr := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil || perr != nil || len(raw)%4 != 0 {
		return netip.AddrPort{}, false
	}
	if littleEndian {
		for i := 0; i < len(raw); i += 4 {
			slices.Reverse(raw[i : i+4])
		}
	}
	a, ok := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(a, uint16(p)), ok
}

// socketOwners maps socket inodes to the processes that have them open.
func socketOwners(ctx context.Context) (map[string][]int, error) {
	all, err := pids()
	if err != nil {
		return nil, err
	}
	owners := map[string][]int{}
	for _, pid := range all {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		dir := fmt.Sprintf("/proc/%d/fd", pid)
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // it has ended since, or is the kernel's
		}
		for _, e := range entries {
			target := linkOf(dir + "/" + e.Name())
			inode, ok := strings.CutPrefix(strings.TrimSuffix(target, "]"), "socket:[")
			if ok && !slices.Contains(owners[inode], pid) {
				owners[inode] = append(owners[inode], pid)
			}
		}
	}
	return owners, nil
}
