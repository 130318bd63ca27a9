package drill

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"strings"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/source/agentlink/wire"
	"github.com/sonae/sonae/source/pcap"
)

// item is one thing to hand over.
type item struct {
	path, title, method string
	body                []byte
}

// about stands in every bag of a drill, so that nobody takes it for a case.
const about = `訓練の証拠袋です。
中身は、実在の機器から取ったものではありません。実際のBitTorrentソフトを隔離した環境で動かして記録した通信と、
そのときのプロセスの情報です。時刻は訓練を始めた時刻に合わせて、実際より速く進むように書き換えてあります。

This evidence bag belongs to a drill.
Nothing in it was taken from a machine in use. It holds the traffic of a real BitTorrent client that was recorded in an
isolated environment, and what the kernel knew about its process. Times were moved to the time of the drill and run faster.
`

// preserve hands over the recording as an agent would hand over its ring.
func (d *Drill) preserve(ctx context.Context, o order.Order) error {
	items, err := d.items()
	if err != nil {
		return err
	}
	for _, it := range items {
		if err := d.handOver(ctx, o, it); err != nil {
			return fmt.Errorf("hand over %s: %w", it.path, err)
		}
		if err := d.answer(ctx, o, order.Result{Phase: order.Progress, Detail: it.path}); err != nil {
			return err
		}
	}
	return d.answer(ctx, o, order.Result{Phase: order.Done})
}

// handOver streams one item and hashes what leaves, as both ends must agree.
func (d *Drill) handOver(ctx context.Context, o order.Order, it item) error {
	short, long := sha256.New(), sha512.New()
	body := io.TeeReader(bytes.NewReader(it.body), io.MultiWriter(short, long))
	sum := func(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }
	return d.Item(ctx, Host, wire.ItemHeader{Bag: o.Bag, Path: it.path, Title: it.title, Method: it.method, StartedAt: d.Now().UTC()},
		body, func() (string, string) { return sum(short), sum(long) })
}

func (d *Drill) items() ([]item, error) {
	packets, err := d.capture()
	if err != nil {
		return nil, err
	}
	proc := fmt.Sprintf("process/%d/", d.facts.PID)
	text := func(s string) []byte { return []byte(strings.TrimRight(s, "\n") + "\n") }
	lines := func(l []string) []byte { return text(strings.Join(l, "\n")) }
	return []item{
		{"README-drill.txt", "訓練の証拠であること", "drill", []byte(about)},
		{"network/capture.pcapng", "通信の記録(訓練)", "recorded with tcpdump; times moved", packets},
		{"network/tcp.txt", "TCPの接続の一覧(訓練)", "/proc/PID/net/tcp, recorded", text(d.facts.TCP)},
		{"network/udp.txt", "UDPの一覧(訓練)", "/proc/PID/net/udp, recorded", text(d.facts.UDP)},
		{"network/routes.txt", "経路(訓練)", "ip route, recorded", text(d.facts.Routes)},
		{proc + "status.txt", "プロセスの状態(訓練)", "/proc/PID/status, recorded", text(d.facts.Status)},
		{proc + "command.txt", "実行ファイルとコマンド(訓練)", "/proc/PID/exe, cmdline, cwd, recorded", lines([]string{
			"image: " + d.facts.Image, "sha256: " + d.facts.SHA256, "command: " + d.facts.Command,
			"directory: " + d.facts.Cwd, "user: " + d.facts.User,
		})},
		{proc + "files.txt", "開いているファイル(訓練)", "/proc/PID/fd, recorded", lines(d.facts.Files)},
		{proc + "libraries.txt", "読み込んだライブラリー(訓練)", "/proc/PID/maps, recorded", lines(d.facts.Libraries)},
	}, nil
}

// capture writes the recording as pcapng, with the times of the last play, so
// that it agrees with the chronology.
func (d *Drill) capture() ([]byte, error) {
	d.mu.Lock()
	s := d.shift
	d.mu.Unlock()
	var out bytes.Buffer
	w, err := pcap.NewWriter(&out, "sonae drill")
	if err != nil {
		return nil, fmt.Errorf("write capture: %w", err)
	}
	for _, p := range d.packets {
		moved := p.Packet
		moved.At, moved.Data = s.at(p.At), p.data
		if err := w.Write(moved); err != nil {
			return nil, fmt.Errorf("write capture: %w", err)
		}
	}
	if err := w.Flush(); err != nil {
		return nil, fmt.Errorf("write capture: %w", err)
	}
	return out.Bytes(), nil
}
