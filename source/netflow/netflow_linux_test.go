package netflow

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sonae/sonae/flow"
)

// heard gathers what a Listener tells.
type heard struct {
	mu    sync.Mutex
	flows []flow.Flow
}

func (h *heard) take(f flow.Flow) { h.mu.Lock(); defer h.mu.Unlock(); h.flows = append(h.flows, f) }

func (h *heard) all() []flow.Flow {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]flow.Flow(nil), h.flows...)
}

func listen(t *testing.T, cfg Config) (*Listener, *heard) {
	t.Helper()
	h := &heard{}
	cfg.Addr, cfg.Emit, cfg.Now, cfg.Log = "127.0.0.1:0", h.take, time.Now, slog.New(slog.NewTextHandler(t.Output(), nil))
	l, err := Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		_ = l.Close()
	})
	return l, h
}

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// pcapOf writes a capture of one TCP connection: 192.0.2.10:40000 asks, sends
// 100 packets of 1,000 bytes, and is answered with 50 of 500.
func pcapOf(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	put := func(v any) { _ = binary.Write(&b, binary.LittleEndian, v) }
	put([]uint32{0xa1b2c3d4, 0x00040002, 0, 0, 65535, 1})
	at := uint32(time.Now().Add(-time.Minute).Unix())
	n := uint32(0)
	client, server := netip.MustParseAddrPort("192.0.2.10:40000"), netip.MustParseAddrPort("198.51.100.7:443")
	frame := func(src, dst netip.AddrPort, flags byte, payload int) {
		f := tcpFrame(src, dst, flags, payload)
		put([]uint32{at + n/1000, n % 1000 * 1000, uint32(len(f)), uint32(len(f))})
		b.Write(f)
		n++
	}
	frame(client, server, 0x02, 0)
	frame(server, client, 0x12, 0)
	frame(client, server, 0x10, 0)
	for range 50 {
		frame(client, server, 0x18, 1000)
		frame(client, server, 0x18, 1000)
		frame(server, client, 0x18, 500)
	}
	frame(client, server, 0x11, 0)
	frame(server, client, 0x11, 0)
	frame(client, server, 0x10, 0)
	path := filepath.Join(t.TempDir(), "one.pcap")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func tcpFrame(src, dst netip.AddrPort, flags byte, payload int) []byte {
	f := make([]byte, 14+20+20+payload)
	f[0], f[6], f[12] = 2, 2, 8
	ip := f[14:]
	ip[0], ip[8], ip[9] = 0x45, 64, 6
	binary.BigEndian.PutUint16(ip[2:], uint16(40+payload))
	copy(ip[12:], src.Addr().AsSlice())
	copy(ip[16:], dst.Addr().AsSlice())
	sum := uint32(0)
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum))
	tcp := ip[20:]
	binary.BigEndian.PutUint16(tcp, src.Port())
	binary.BigEndian.PutUint16(tcp[2:], dst.Port())
	tcp[12], tcp[13] = 0x50, flags
	return f
}

// need skips where an exporter of Debian is not installed.
func need(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("needs %s", program)
	}
}

// TestRealExporters has exporters of Debian read a capture and tell of it.
func TestRealExporters(t *testing.T) {
	capture := pcapOf(t)
	softflowd := func(version string) func(port string) *exec.Cmd {
		return func(port string) *exec.Cmd {
			return exec.Command("softflowd", "-r", capture, "-v", version, "-n", "127.0.0.1:"+port, "-D", "-p", filepath.Join(t.TempDir(), "pid"), "-c", "none")
		}
	}
	pmacctd := func(plugin, extra string) func(port string) *exec.Cmd {
		return func(port string) *exec.Cmd {
			conf := filepath.Join(t.TempDir(), "pmacctd.conf")
			name, _, _ := strings.Cut(plugin, ",")
			text := "daemonize: false\npcap_savefile: " + capture + "\npcap_savefile_wait: false\nplugins: " + name + "\n" + name + "_receiver: 127.0.0.1:" + port + "\n" + extra
			if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			return exec.Command("pmacctd", "-f", conf)
		}
	}
	for _, c := range []struct {
		name, program, sensor string
		run                   func(port string) *exec.Cmd
		sampled               bool
	}{
		{"NetFlow 5 of softflowd", "softflowd", "netflow 127.0.0.1", softflowd("5"), false},
		{"NetFlow 9 of softflowd", "softflowd", "netflow 127.0.0.1", softflowd("9"), false},
		{"IPFIX of softflowd", "softflowd", "ipfix 127.0.0.1", softflowd("10"), false},
		{"IPFIX of pmacctd", "pmacctd", "ipfix 127.0.0.1", pmacctd("nfprobe", "nfprobe_version: 10\naggregate: src_host,dst_host,src_port,dst_port,proto\n"), false},
		{"sFlow of pmacctd", "pmacctd", "sflow 127.0.0.1", pmacctd("sfprobe", "sampling_rate: 1\n"), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			need(t, c.program)
			l, h := listen(t, Config{Exporters: loopback, Window: 3 * time.Second})
			_, port, _ := net.SplitHostPort(l.Addr().String())
			cmd := c.run(port)
			cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
			var f flow.Flow
			for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
				if all := h.all(); len(all) > 0 {
					f = all[0]
					break
				}
			}
			s := l.Stats()
			if f.Sensor != c.sensor || f.Src != netip.MustParseAddrPort("192.0.2.10:40000") || f.Dst != netip.MustParseAddrPort("198.51.100.7:443") || f.Proto != "tcp" {
				t.Fatalf("told %+v, %+v", f, s)
			}
			if s.Unreadable != 0 || s.Refused != 0 {
				t.Errorf("%+v", s)
			}
			out, in := int64(100*1040+4*40), int64(50*540+2*40)
			if c.sampled { // samples of frames: a few are left out at random even at a rate of one
				if f.Out < out/2 || f.In < in/2 || f.Out < f.In {
					t.Errorf("told %d and %d bytes, want about %d and %d", f.Out, f.In, out, in)
				}
				return
			}
			if f.Out != out || f.In != in || f.PacketsOut != 104 || f.PacketsIn != 52 {
				t.Errorf("told %d bytes in %d packets and %d in %d, want %d and %d", f.Out, f.PacketsOut, f.In, f.PacketsIn, out, in)
			}
		})
	}
}
