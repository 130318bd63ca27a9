package main

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/linktest"
)

// TestPacketsOfAConnectionAreHandedOver: a running agent keeps packets on disk
// and hands those of one connection over when it is told to.
func TestPacketsOfAConnectionAreHandedOver(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("capturing needs root")
	}
	h := linktest.Start(t)
	dir := t.TempDir()
	if err := command(t, dir, "enroll", "--token", h.Token("callcentre").Encode(), "--name", "pc").Run(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "identity.json"))
	if err != nil {
		t.Fatal(err)
	}
	var id struct{ Host string }
	if err := json.Unmarshal(b, &id); err != nil {
		t.Fatal(err)
	}
	cmd := command(t, dir, "run", "--heartbeat", "100ms", "--interface", "lo", "--packets", "16", "--queues", "2", "--filter", "udp or tcp")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	linktest.Await(t, "the sensor", func() bool {
		host, err := h.Registry.Host(t.Context(), id.Host)
		return err == nil && host.Health.SensorOn
	})
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	conn, err := net.Dial("udp", server.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range 20 {
		if _, err := conn.Write([]byte("the very bytes")); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(200 * time.Millisecond)
	h.Issue(order.Order{ID: "or-1", Kind: order.Preserve, Host: id.Host, Bag: "bg-1", IssuedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour),
		Packets: &order.Packets{Only: true, Flows: []order.Flow{{Proto: "udp", A: conn.LocalAddr().String(), B: conn.RemoteAddr().String()}}}})
	h.Port.Wake(id.Host)
	linktest.Await(t, "the answer", func() bool { return answered(h)["or-1"] == order.Done })
	h.Mu.Lock()
	defer h.Mu.Unlock()
	if len(h.Items) != 1 {
		t.Errorf("%d items, want the packets only", len(h.Items))
	}
	for path, b := range h.Items {
		if !strings.HasSuffix(path, "network/packets.pcapng") || bytes.Count(b, []byte("the very bytes")) != 20 {
			t.Errorf("%s has %d of 20 packets", path, bytes.Count(b, []byte("the very bytes")))
		}
	}
}
