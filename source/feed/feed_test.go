package feed

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sonae/sonae/event"
)

const suricata = `{"timestamp":"2026-11-28T10:00:00+0900","flow_id":%d,"event_type":"%s","src_ip":"192.168.1.5","src_port":50000,"dest_ip":"198.51.100.7","dest_port":443,"proto":"TCP","app_proto":"tls","flow":{"bytes_toserver":900,"bytes_toclient":300},"alert":{"severity":1},"dns":{"rrname":"a"}}` + "\n"

const zeekHeader = "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tservice\torig_bytes\tresp_bytes\tconn_state\n#types\ttime\tstring\taddr\tport\taddr\tport\tenum\tstring\tcount\tcount\tstring\n"

func conn(n int) string {
	return fmt.Sprintf("1767323045.%d\tC%d\t192.168.1.5\t%d\t198.51.100.7\t443\ttcp\tssl\t10\t20\tSF\n", n, n, 50000+n)
}

// running is a Feed at work.
type running struct {
	*Feed
	t    *testing.T
	mu   sync.Mutex
	got  []event.Event
	stop func()
}

func run(t *testing.T, cfg Config) *running {
	t.Helper()
	r := &running{t: t}
	cfg.Now, cfg.Log = time.Now, slog.New(slog.NewTextHandler(t.Output(), nil))
	cfg.Emit = func(_ context.Context, e event.Event) bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.got = append(r.got, e)
		return true
	}
	r.Feed = New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

// await waits for n events and returns them.
func (r *running) await(n int) []event.Event {
	r.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		r.mu.Lock()
		got := append([]event.Event(nil), r.got...)
		r.mu.Unlock()
		if len(got) >= n {
			if len(got) > n {
				r.t.Fatalf("%d events, want %d", len(got), n)
			}
			return got
		}
		if time.Now().After(end) {
			r.t.Fatalf("%d events, want %d: %+v", len(got), n, r.Stats())
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func eve(n int, kind string) string { return fmt.Sprintf(suricata, n, kind) }

func (r *running) opened(files int) {
	r.t.Helper()
	for end := time.Now().Add(20 * time.Second); r.Stats().Files < files; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("%+v", r.Stats())
		}
	}
}

func TestEVEThroughRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "eve.json")
	write(t, path, eve(0, "flow"))
	marks := map[string]string{}
	r := run(t, Config{EVE: []string{path}, Keep: func(p, m string) { marks[p] = m }})
	r.opened(1) // what was there before is old
	write(t, path, eve(1, "flow")+eve(2, "stats")+"broken\n"+eve(3, "alert"))
	got := r.await(2)
	if e := got[0]; e.Kind != event.KindFlow || e.Product != "sonae" || e.Fields["Sensor"] != "suricata" || e.Fields["LocalIp"] != "192.168.1.5" || e.Fields["BytesSent"] != "900" || e.Fields["CommunityId"] == "" {
		t.Errorf("got %+v", e)
	}
	if e := got[1]; e.Product != "suricata" || e.Service != "alert" || e.Fields["alert.severity"] != "1" || e.Fields["Sensor"] != "suricata" {
		t.Errorf("got %+v", e)
	}
	write(t, path, eve(4, "dns"))
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	write(t, path, eve(5, "flow"))
	r.await(4)
	r.stop()
	if s := r.Stats(); s.Damaged != 1 || s.Events != 4 {
		t.Errorf("%+v", s)
	}
	write(t, path, eve(6, "flow")) // while nobody reads
	again := run(t, Config{EVE: []string{path}, Mark: func(p string) string { return marks[p] }})
	if e := again.await(1)[0]; e.Fields["FlowId"] == got[0].Fields["FlowId"] {
		t.Errorf("got %+v", e)
	}
}

func TestZeekInTheMiddleAndAfterRotation(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "conn.log")
	write(t, path, zeekHeader+conn(0))
	r := run(t, Config{Zeek: []string{dir}})
	r.opened(1)
	write(t, path, conn(1)) // the header was written before anybody looked
	if e := r.await(1)[0]; e.Fields["Sensor"] != "zeek" || e.Fields["SourcePort"] != "50001" || e.Fields["Application"] != "tls" || e.Fields["Confidence"] != "probable" {
		t.Errorf("got %+v", e)
	}
	write(t, path, "#close\t2026\n")
	if err := os.Rename(path, filepath.Join(dir, "conn.old")); err != nil {
		t.Fatal(err)
	}
	write(t, path, zeekHeader+conn(2))
	r.await(2)
	write(t, filepath.Join(dir, "notice.log"), `{"ts":1767323045.1,"uid":"C","note":"Scan::Port_Scan","src":"192.168.1.5","_path":"notice"}`+"\n") // JSON, and a log that comes later
	if e := r.await(3)[2]; e.Product != "zeek" || e.Service != "notice" {
		t.Errorf("got %+v", e)
	}
}

func TestSockets(t *testing.T) {
	dir := t.TempDir()
	stream, dgram := filepath.Join(dir, "s"), filepath.Join(dir, "d")
	r := run(t, Config{Sockets: []string{stream, "dgram:" + dgram}, Rate: 50})
	dial := func(network, path string) net.Conn {
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			c, err := net.Dial(network, path)
			if err == nil {
				t.Cleanup(func() { _ = c.Close() })
				return c
			}
			if time.Now().After(end) {
				t.Fatal(err)
			}
		}
	}
	c := dial("unix", stream)
	fmt.Fprint(c, eve(1, "flow"))
	r.await(1)
	d := dial("unixgram", dgram)
	fmt.Fprint(d, eve(2, "flow"))
	r.await(2)
	for i := range 2000 {
		fmt.Fprint(c, eve(10+i, "flow"))
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if s := r.Stats(); s.Events+s.Dropped == 2002 && s.Dropped > 1000 {
			break
		} else if time.Now().After(end) {
			t.Fatalf("%+v", s)
		}
	}
	r.stop()
	if _, err := os.Lstat(stream); err == nil {
		t.Error("the socket stays behind")
	}
	write(t, stream, "not a socket")
	if err := freeSocket(stream); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("another file is taken away: %v", err)
	}
}

// TestWhatWaitsInAFileIsNotLost has a rate that is lower than what comes.
func TestWhatWaitsInAFileIsNotLost(t *testing.T) {
	path := filepath.Join(t.TempDir(), "eve.json")
	write(t, path, "")
	r := run(t, Config{EVE: []string{path}, Rate: 100})
	r.opened(1)
	var b strings.Builder
	for i := range 250 {
		b.WriteString(eve(i, "flow"))
	}
	began := time.Now()
	write(t, path, b.String())
	r.await(250)
	if d := time.Since(began); d < time.Second || r.Stats().Dropped != 0 {
		t.Errorf("after %v: %+v", d, r.Stats())
	}
}
