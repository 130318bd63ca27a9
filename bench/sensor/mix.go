package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/flow"
	"github.com/sonae/sonae/source/pcap"
)

// frame is one packet of a capture, by the time since the capture began.
type frame struct {
	after  time.Duration
	data   []byte
	length int
}

// load reads the packets of a capture that were taken from Ethernet.
func load(path string) (all []frame, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var start time.Time
	err = pcap.Read(f, func(p pcap.Packet) error {
		if p.Link != flow.LinkEthernet {
			return nil
		}
		if start.IsZero() {
			start = p.At
		}
		all = append(all, frame{max(0, p.At.Sub(start)), slices.Clone(p.Data), p.Length})
		return nil
	})
	return all, err
}

// interleave writes a capture of about size bytes: all captures, or for bulk
// those with large packets, one beside the other in their own times, again and
// again with other addresses.
func interleave(data, path string, bulk bool, size int64) error {
	files, err := captures(data)
	if err != nil {
		return err
	}
	var all []frame
	total := int64(0)
	for _, name := range files {
		part, err := load(name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		sum := int64(0)
		for _, f := range part {
			sum += int64(len(f.data)) + 16
		}
		if len(part) == 0 || bulk && sum/int64(len(part)) < 600 {
			continue
		}
		all, total = append(all, part...), total+sum
	}
	if total == 0 {
		return errors.New("no packets")
	}
	slices.SortStableFunc(all, func(a, b frame) int { return int(a.after - b.after) })
	return write(path, all, int((size+total-1)/total))
}

// write repeats frames, each time with other addresses and later.
func write(path string, all []frame, times int) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	head := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	head = append(head, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	head = binary.LittleEndian.AppendUint32(head, 1<<18)
	_, err = w.Write(binary.LittleEndian.AppendUint32(head, 1))
	span := min(all[len(all)-1].after, 5*time.Minute)
	for n := range times {
		for _, p := range all {
			at := time.Unix(1_700_000_000, 0).Add(time.Duration(n)*span + min(p.after, span))
			var h []byte
			h = binary.LittleEndian.AppendUint32(h, uint32(at.Unix()))
			h = binary.LittleEndian.AppendUint32(h, uint32(at.Nanosecond()/1000))
			h = binary.LittleEndian.AppendUint32(h, uint32(len(p.data)))
			h = binary.LittleEndian.AppendUint32(h, uint32(p.length))
			_, e1 := w.Write(h)
			_, e2 := w.Write(shifted(p.data, n))
			err = errors.Join(err, e1, e2)
		}
	}
	return errors.Join(err, w.Flush(), f.Close())
}

// shifted gives an IPv4 packet other addresses: n is added to their second byte.
func shifted(b []byte, n int) []byte {
	if n == 0 || len(b) < 34 || b[12] != 8 || b[13] != 0 {
		return b
	}
	b = slices.Clone(b)
	b[27] += byte(n)
	b[31] += byte(n)
	return b
}

// machine says where and when it was measured.
func machine() string {
	model := "an unknown processor"
	text, _ := os.ReadFile("/proc/cpuinfo") // where it cannot be read the table says so
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
		}
	}
	load, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(load), " ")
	return fmt.Sprintf("%s, %d × %s, %s, load when measured %s.\n\n", time.Now().Format(time.DateOnly), runtime.NumCPU(), model, runtime.Version(), first)
}
