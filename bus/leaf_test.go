package bus

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nkeys"

	"github.com/sonae/sonae/fault"
)

// wire is a line between two sites that can be cut.
type wire struct {
	t      *testing.T
	to     string
	listen net.Listener

	mu    sync.Mutex
	cut   bool
	open  []net.Conn
	lines int // that were ever made
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{t: t, to: to, listen: l}
	t.Cleanup(func() { _ = l.Close(); w.setCut(true) })
	go w.run() // ends with the listener
	return w
}

func (w *wire) run() {
	for {
		in, err := w.listen.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", w.to)
		w.mu.Lock()
		if err != nil || w.cut {
			w.mu.Unlock()
			_ = in.Close()
			if err == nil {
				_ = out.Close()
			}
			continue
		}
		w.open = append(w.open, in, out)
		w.lines++
		w.mu.Unlock()
		go func() { _, _ = io.Copy(in, out); _ = in.Close() }()
		go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
	}
}

func (w *wire) setCut(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	for _, c := range w.open {
		_ = c.Close()
	}
	w.open = nil
}

// house is a main hub with leaves that may speak for two sites.
type house struct {
	main    *Bus
	ca      string
	seeds   map[string]string // site → file
	effects record
}

func newHouse(t *testing.T, dir string) *house {
	t.Helper()
	ca, cert, key := certificate(t)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	h := &house{ca: ca, seeds: map[string]string{}}
	sites := map[string]string{}
	for _, site := range []string{"a", "b"} {
		file, public := seed(t)
		h.seeds[site], sites[public] = file, site
	}
	h.main = openWith(t, Config{Dir: dir, Partitioned: []string{"event.*.*"}, LeafListen: &LeafListen{
		Addr: "127.0.0.1:0", Sites: sites, TLS: &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13},
		Check: func(site, _, _ string, body []byte) error {
			if !bytes.HasPrefix(body, []byte(site+" ")) {
				return fault.New(fault.Invalid, "test.site")
			}
			return nil
		},
	}})
	if err := h.main.Join(t.Context(), OnBytes("event.>", "detect", h.effects.handle).Partitioned()); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *house) leaf(t *testing.T, dir, site, addr string) *Bus {
	t.Helper()
	return openWith(t, Config{Dir: dir, Partitioned: []string{"event.*.*"}, Leaf: &Leaf{
		URL: "tls://" + addr, Credentials: h.seeds[site], CA: h.ca, Site: site}})
}

// A leaf takes messages while the line is cut, also over its own restart, and
// the main hub gets each of them once and in order when the line is there.
func TestLeafTakesMessagesWhileTheLineIsCut(t *testing.T) {
	h := newHouse(t, t.TempDir())
	w := newWire(t, h.main.LeafAddr())
	w.setCut(true)
	dir := t.TempDir()
	leaf := h.leaf(t, dir, "a", w.listen.Addr().String())
	const hosts = 5
	n := 0
	put := func(count int) {
		for range count {
			for i := range hosts {
				if err := leaf.Offer(t.Context(), fmt.Sprintf("event.a.h%d", i), fmt.Sprintf("h%d.%d", i, n), fmt.Appendf(nil, "a h%d %d", i, n)); err != nil {
					t.Fatal(err)
				}
			}
			n++
		}
	}
	put(20) // the line was never there
	if err := leaf.Close(); err != nil {
		t.Fatal(err)
	}
	leaf = h.leaf(t, dir, "a", w.listen.Addr().String())
	put(5)
	if len(h.effects.all()) != 0 {
		t.Fatal("the line is not cut")
	}
	for range 4 {
		before := len(h.effects.all())
		w.setCut(false)
		put(40) // what is on the line when it breaks may have been taken or not
		until(t, "something to arrive", func() bool { return len(h.effects.all()) > before+10 })
		w.setCut(true)
		put(10)
	}
	w.setCut(false)
	until(t, "everything", func() bool { return len(h.effects.all()) >= hosts*n })
	var plain []string
	for _, s := range h.effects.all() {
		plain = append(plain, strings.TrimPrefix(s, "a "))
	}
	inOrder(t, plain, hosts, n)
	until(t, "nothing left at the leaf", func() bool { return stored(t, leaf, "EVENT") == 0 })
	if w.lines < 4 {
		t.Errorf("the line was made %d times only", w.lines)
	}
}

// What the main hub refuses for good is put aside at the leaf with the reason;
// what is good behind it goes on.
func TestLeafPutsAsideWhatTheMainHubRefuses(t *testing.T) {
	h := newHouse(t, t.TempDir())
	leaf := h.leaf(t, t.TempDir(), "a", h.main.LeafAddr())
	for _, m := range [][3]string{{"event.a.h1", "h1.0", "a good"}, {"event.a.h1", "h1.1", "b of another site"}, {"event.b.h1", "h1.2", "a by its subject"},
		{"event.a.h1", "h2.3", "a by its id"}, {"event.a.h1", "h1.4", "a last"}} {
		if err := leaf.Publish(t.Context(), m[0], m[1], []byte(m[2])); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the good ones", func() bool { return len(h.effects.all()) == 2 })
	if got, want := h.effects.all(), []string{"a good", "a last"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	until(t, "three letters", func() bool {
		l, err := leaf.Dead(t.Context(), 0, 10)
		return err == nil && len(l) == 3 && l[0].Join == "uplink" && strings.Contains(l[0].Reason, "bus.leaf")
	})
}

// rawLeaf speaks the protocol of leaf nodes by hand, as somebody would who took
// a leaf over and keeps to no rules of its own side.
type rawLeaf struct {
	conn net.Conn
	in   *bufio.Reader
}

func dialRaw(t *testing.T, h *house, seedFile string) *rawLeaf {
	t.Helper()
	pool, err := authority(h.ca)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := tls.Dial("tcp", h.main.LeafAddr(), &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	r := &rawLeaf{conn, bufio.NewReader(conn)}
	line, err := r.in.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var info struct {
		Nonce string `json:"nonce"`
	}
	if err := json.Unmarshal([]byte(strings.TrimPrefix(line, "INFO ")), &info); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(seedFile)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := nkeys.FromSeed(text)
	if err != nil {
		t.Fatal(err)
	}
	public, _ := pair.PublicKey()
	sig, err := pair.Sign([]byte(info.Nonce))
	if err != nil {
		t.Fatal(err)
	}
	connect, err := json.Marshal(map[string]any{"version": "2.15.2", "nkey": public, "sig": base64.RawURLEncoding.EncodeToString(sig),
		"headers": true, "server_id": "EVIL", "name": "evil", "proto": 1, "remote_account": "POST"})
	if err != nil {
		t.Fatal(err)
	}
	r.say(t, "CONNECT "+string(connect)+"\r\nPING\r\n")
	return r
}

func (r *rawLeaf) say(t *testing.T, text string) {
	t.Helper()
	if _, err := io.WriteString(r.conn, text); err != nil {
		t.Fatal(err)
	}
}

// until reads to a line with one of the words and returns all lines.
func (r *rawLeaf) until(words ...string) (all []string) {
	for {
		line, err := r.in.ReadString('\n')
		if err != nil {
			return append(all, "end: "+err.Error())
		}
		all = append(all, line)
		for _, w := range words {
			if strings.Contains(line, w) {
				return all
			}
		}
	}
}

// hand sends what a leaf hands on, under any subject and with any reply.
func (r *rawLeaf) hand(t *testing.T, to, reply, subject, id, body string) {
	t.Helper()
	head := fmt.Sprintf("NATS/1.0\r\n%s: %s\r\n%s: %s\r\n\r\n", postSubject, subject, postID, id)
	r.say(t, fmt.Sprintf("HMSG %s %s %d %d\r\n%s%s\r\n", to, reply, len(head), len(head)+len(body), head, body))
}

// Somebody who holds the key of site b and speaks the protocol by hand can
// neither speak for site a, nor reach the streams, nor read what others send.
// Most tries end the connection, so each has its own.
func TestLeafOfOneSiteIsNothingElse(t *testing.T) {
	h := newHouse(t, t.TempDir())
	honest := h.leaf(t, t.TempDir(), "a", h.main.LeafAddr())
	sent := 0
	share := func() {
		if err := honest.Offer(t.Context(), "event.a.h1", fmt.Sprintf("h1.%d", 100+sent), fmt.Appendf(nil, "a secret %d", sent)); err != nil {
			t.Fatal(err)
		}
		sent++
		until(t, "the honest ones", func() bool { return len(h.effects.all()) == sent })
	}
	var seen strings.Builder
	try := func(act func(*rawLeaf)) {
		evil := dialRaw(t, h, h.seeds["b"])
		if got := evil.until("PONG", "end:"); !strings.Contains(got[len(got)-1], "PONG") {
			t.Fatalf("not connected: %q", got)
		}
		act(evil)
		share()
		_, _ = io.WriteString(evil.conn, "PING\r\n") // it may be closed already
		for _, line := range evil.until("PONG", "end:") {
			seen.WriteString(line)
		}
		_ = evil.conn.Close()
	}
	for _, s := range []string{">", "up.>", "up.a", "event.>", "_INBOX.>", "_INBOX.up-a.>", "$JS.>", "*.*.*"} {
		try(func(e *rawLeaf) { e.say(t, "LS+ "+s+"\r\n") })
	}
	for _, m := range [][5]string{
		{"up.a", "_INBOX.up-b.x", "event.a.h1", "h1.1", "a forged through a's door"},
		{"up.b", "_INBOX.up-a.x", "event.b.h1", "h1.2", "b answer to another"},
		{"event.a.h1", "_INBOX.up-b.x", "event.a.h1", "h1.3", "a straight into the stream"},
		{"event.@01.a.h1", "_INBOX.up-b.x", "event.a.h1", "h1.4", "a straight into a partition"},
		{"$JS.API.STREAM.DELETE.EVENT", "_INBOX.up-b.x", "", "", ""},
	} {
		try(func(e *rawLeaf) { e.hand(t, m[0], m[1], m[2], m[3], m[4]) })
	}
	if strings.Contains(seen.String(), "secret") || strings.Contains(seen.String(), postStatus) {
		t.Errorf("site b got what is not its own: %s", seen.String())
	}
	evil := dialRaw(t, h, h.seeds["b"])
	evil.say(t, "LS+ _INBOX.up-b.x\r\n")
	for _, m := range [][4]string{{"event.a.h1", "h1.5", "a through the own door", "denied bus.leaf"}, {"event.@01.b.h1", "h1.6", "b with a partition", "denied bus.leaf"},
		{"event.b.h1", "h2.7", "b with a foreign id", "denied bus.leaf"}, {"event.b.h1", "h1.8", "a in its body", "invalid test.site"}, {"event.b.h9", "h9.9", "b honest at last", "ok"}} {
		evil.hand(t, "up.b", "_INBOX.up-b.x", m[0], m[1], m[2])
		if got := strings.Join(evil.until(postStatus, "end:"), ""); !strings.Contains(got, postStatus+": "+m[3]) {
			t.Errorf("%s: got %q, want %q", m[2], got, m[3])
		}
	}
	until(t, "the last one", func() bool { return len(h.effects.all()) == sent+1 })
	for _, s := range h.effects.all() {
		if !strings.HasPrefix(s, "a secret") && s != "b honest at last" {
			t.Errorf("%q was taken", s)
		}
	}
}

func TestUnknownLeafIsNotLetIn(t *testing.T) {
	h := newHouse(t, t.TempDir())
	file, _ := seed(t)
	stranger := dialRaw(t, h, file)
	if got := stranger.until("PONG", "-ERR", "end:"); strings.Contains(got[len(got)-1], "PONG") {
		t.Errorf("let in: %q", got)
	}
}

// A hub that gets leaves keeps the streams that it had.
func TestHubKeepsItsStreamsWhenItGetsLeaves(t *testing.T) {
	dir := t.TempDir()
	b := openWith(t, Config{Dir: dir, Partitioned: []string{"event.*.*"}})
	if _, err := b.pumpsOf(t.Context(), OnBytes("event.>", "detect", nil).Partitioned()); err != nil {
		t.Fatal(err)
	}
	send(t, b, "event.a.h1", "a before")
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	h := newHouse(t, dir)
	until(t, "what was there before", func() bool { return slices.Equal(h.effects.all(), []string{"a before"}) })
}

func TestLeafConfigurationIsChecked(t *testing.T) {
	for name, cfg := range map[string]Config{
		"a leaf with leaves":  {Leaf: &Leaf{}, LeafListen: &LeafListen{}},
		"an external leaf":    {Leaf: &Leaf{}, External: &External{}},
		"no certificate":      {LeafListen: &LeafListen{Addr: "127.0.0.1:0", Check: func(string, string, string, []byte) error { return nil }}},
		"no check":            {LeafListen: &LeafListen{Addr: "127.0.0.1:0", TLS: &tls.Config{}}},
		"no port":             {LeafListen: &LeafListen{Addr: "127.0.0.1", TLS: &tls.Config{}}},
		"no credentials":      {Leaf: &Leaf{URL: "tls://127.0.0.1:1", CA: "nowhere"}},
		"an authority of air": {Leaf: &Leaf{URL: "tls://127.0.0.1:1", CA: os.DevNull}},
	} {
		cfg.Dir = t.TempDir()
		if _, err := Open(context.Background(), cfg, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
