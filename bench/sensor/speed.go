package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/sonae/sonae/flow"
	"github.com/sonae/sonae/source/pcap"
)

// cost is what reading a capture took.
type cost struct {
	Packets int64
	Allocs  uint64 // after the first half, in which tables grow
	Half    int64  // packets in the second half
	Flows   uint64
	Said    int    // flows and messages handed out
	Early   int    // of these in the first half
	Heap    uint64 // bytes in use at the end
	CPU     float64
	RSS     int64 // KiB at most
}

// table is one with every detector on and somebody who listens to everything.
func table(most int, said *int) *flow.Table {
	return flow.New(flow.Config{MaxFlows: most, Emit: func(flow.Flow) { *said++ }, Tell: func(flow.Message) { *said++ }})
}

// readOne reads a capture and prints its cost as JSON.
func readOne(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	var c cost
	var before, after runtime.MemStats
	t := table(1<<17, &c.Said)
	bytes, half := int64(0), info.Size()/2
	err = pcap.Read(f, func(p pcap.Packet) error {
		if bytes < half && bytes+int64(len(p.Data))+16 >= half {
			runtime.ReadMemStats(&before)
			c.Half, c.Early = -c.Packets, c.Said
		}
		bytes += int64(len(p.Data)) + 16
		c.Packets++
		t.Packet(p.At, p.Link, p.Data)
		return nil
	})
	if err != nil {
		return err
	}
	runtime.ReadMemStats(&after)
	c.Half += c.Packets
	c.Allocs, c.Heap, c.Flows = after.Mallocs-before.Mallocs, after.HeapInuse, t.Stats().Opened
	return json.NewEncoder(os.Stdout).Encode(c)
}

// holdMany opens n connections of many kinds, of which none ends, and prints
// the memory as JSON.
func holdMany(n int) error {
	var c cost
	t := table(n, &c.Said)
	at := time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)
	for i := range n {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		at = at.Add(time.Millisecond / 4)
		t.Packet(at, flow.LinkRaw, first(a, i))
		c.Packets++
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	c.Heap, c.Flows = m.HeapInuse, uint64(t.Stats().Flows)
	runtime.KeepAlive(t)
	return json.NewEncoder(os.Stdout).Encode(c)
}

// first makes the first packet of a connection: of BitTorrent, of TLS cut
// short, a SYN, a question to DNS, a datagram of nothing known.
func first(a netip.Addr, i int) []byte {
	payload := [][]byte{
		[]byte("\x13BitTorrent protocol\x00\x00\x00\x00\x00\x10\x00\x05INFOHASHINFOHASHINFO-TR3000-abcdefghijkl"),
		[]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("r", 60)),
		nil,
		[]byte("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x06sample\x03com\x00\x00\x01\x00\x01"),
		[]byte("\x9f nothing that anybody knows"),
	}[i%5]
	proto, head := byte(6), 20
	if i%5 > 2 {
		proto, head = 17, 8
	}
	b := make([]byte, 20+head, 20+head+len(payload))
	b[0], b[8], b[9] = 0x45, 64, proto
	binary.BigEndian.PutUint16(b[2:], uint16(20+head+len(payload)))
	copy(b[12:], a.AsSlice())
	copy(b[16:], []byte{203, 0, 113, byte(i)})
	binary.BigEndian.PutUint16(b[20:], uint16(1024+i%60000))
	binary.BigEndian.PutUint16(b[22:], 51413)
	if proto == 6 {
		b[32], b[33] = 5<<4, 0x10
		if payload == nil {
			b[33] = 2
		}
	} else {
		binary.BigEndian.PutUint16(b[24:], uint16(8+len(payload)))
	}
	return append(b, payload...)
}

// spent runs a program and returns its output and the processor time it took.
func spent(name string, args ...string) ([]byte, cost, error) {
	cmd := exec.Command(name, args...)
	var out, says bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &says
	if err := cmd.Run(); err != nil {
		return nil, cost{}, fmt.Errorf("%s: %w: %s", filepath.Base(name), err, says.String())
	}
	u := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	return out.Bytes(), cost{CPU: (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(), RSS: u.Maxrss}, nil
}

// self runs this program and returns what it prints, with the processor time.
func self(args ...string) (c cost, err error) {
	me, err := os.Executable()
	if err != nil {
		return c, err
	}
	out, used, err := spent(me, args...)
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(out, &c); err != nil {
		return c, err
	}
	c.CPU, c.RSS = used.CPU, used.RSS
	return c, nil
}

// race makes the two files and lets both programs read them in turn.
func race(data, dir, reader string, rounds int, size int64) (string, error) {
	var b strings.Builder
	b.WriteString("| file | packets | mean bytes | connections | Sonae, Mpps a processor second, best (worst) | ndpiReader | times as fast, in one round at least | allocations a packet | for each flow or message handed out | Sonae, MB resident | ndpiReader |\n")
	b.WriteString("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n")
	for _, kind := range []string{"mix", "bulk"} {
		path := filepath.Join(dir, kind+".pcap")
		if err := interleave(data, path, kind == "bulk", size); err != nil {
			return "", fmt.Errorf("make %s: %w", kind, err)
		}
		row, err := trial(path, kind, reader, rounds)
		if err != nil {
			return "", err
		}
		b.WriteString(row)
		if err := os.Remove(path); err != nil {
			return "", err
		}
	}
	held, err := self("-hold", "100000")
	if err != nil {
		return "", err
	}
	fmt.Fprintf(&b, "\n* %d connections held at once: %.0f MB heap in use, %.0f MB resident.\n", held.Flows, float64(held.Heap)/1e6, float64(held.RSS)*1024/1e6)
	return b.String(), nil
}

func trial(path, kind, reader string, rounds int) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	var mine, other cost
	var best, worst, bestOther, worstOther, least float64
	for range rounds {
		if mine, err = self("-read", path); err != nil {
			return "", err
		}
		if _, other, err = spent(reader, "-q", "-i", path); err != nil {
			return "", err
		}
		a, b := float64(mine.Packets)/mine.CPU/1e6, float64(mine.Packets)/other.CPU/1e6
		best, bestOther = max(best, a), max(bestOther, b)
		if worst == 0 || a < worst {
			worst = a
		}
		if worstOther == 0 || b < worstOther {
			worstOther = b
		}
		if least == 0 || a/b < least {
			least = a / b
		}
	}
	return fmt.Sprintf("| %s | %d | %d | %d | %.2f (%.2f) | %.2f (%.2f) | %.1f | %.3f | %.1f | %.0f | %.0f |\n", kind, mine.Packets, (info.Size()-24)/mine.Packets-16, mine.Flows,
		best, worst, bestOther, worstOther, least, float64(mine.Allocs)/float64(mine.Half), float64(mine.Allocs)/float64(max(mine.Said-mine.Early, 1)), float64(mine.RSS)*1024/1e6, float64(other.RSS)*1024/1e6), nil
}
