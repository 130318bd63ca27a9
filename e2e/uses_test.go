//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/e2e/netns"
)

// uses does on the quiet PC what keeps a network busy and is no file sharing
// of the kind that is looked for.
func (o *office) uses(t *testing.T) {
	t.Helper()
	o.downloads(t)
	o.call(t)
	o.copyOverSSH(t, add(t, o.world, "ssh", "198.18.20.9/24"))
	o.backup(t)
	o.syncs(t)
}

// downloads fetches from five servers at high ports at once, by HTTPS.
func (o *office) downloads(t *testing.T) {
	t.Helper()
	content := make([]byte, 6<<20)
	if _, err := rand.Read(content); err != nil {
		t.Fatal(err)
	}
	args := []string{"-sS", "--fail", "--insecure", "--parallel"}
	for i, port := range []int{4443, 8443, 12443, 20443, 30443} {
		h := add(t, o.world, fmt.Sprintf("cdn%d", i), fmt.Sprintf("198.18.%d.9/24", 30+i))
		cert, _ := certificate(t, t.TempDir(), h.IP())
		at := fmt.Sprintf("%s:%d", h.IP(), port)
		l, err := h.Listen(t.Context(), "tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		serve(t, tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}}), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(content) }))
		for range 3 {
			args = append(args, "-o", "/dev/null", "https://"+at+"/part")
		}
	}
	if _, err := o.quiet.host.Run(t.Context(), "curl", args...); err != nil {
		t.Fatal(err)
	}
}

// call is a video call of four: STUN first, then RTP-like datagrams of two
// sizes in both directions with everybody.
func (o *office) call(t *testing.T) {
	t.Helper()
	const lasts, perSecond = 8 * time.Second, 60
	ctx, stop := context.WithTimeout(t.Context(), lasts)
	defer stop()
	done := make(chan error)
	far := 0
	for i := range 4 {
		h := add(t, o.world, fmt.Sprintf("caller%d", i), fmt.Sprintf("198.18.%d.9/24", 40+i))
		at := fmt.Sprintf("%s:%d", h.IP(), 34000+i*17)
		answer := listenUDP(t, h, at)
		go func() { done <- echo(ctx, answer) }()
		c, err := o.quiet.host.Dial(t.Context(), "udp", at)
		if err != nil {
			t.Fatal(err)
		}
		go func() { done <- talk(ctx, c, perSecond) }()
		far += 2
	}
	for range far {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func listenUDP(t *testing.T, h *netns.Host, at string) net.PacketConn {
	t.Helper()
	c, err := h.ListenPacket(t.Context(), "udp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// echo answers STUN requests and sends media back.
func echo(ctx context.Context, c net.PacketConn) error {
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })()
	buf := make([]byte, 2048)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return nil // the call is over
		}
		if n >= 20 && buf[0] == 0 {
			buf[0] = 1 // success
		}
		if _, err := c.WriteTo(buf[:n], from); err != nil && ctx.Err() == nil {
			return fmt.Errorf("answer in a call: %w", err)
		}
	}
}

// talk opens with STUN and sends media until ctx ends.
func talk(ctx context.Context, c net.Conn, perSecond int) error {
	defer c.Close()
	stun := make([]byte, 20)
	copy(stun, []byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42})
	if _, err := rand.Read(stun[8:]); err != nil {
		return err
	}
	if _, err := c.Write(stun); err != nil {
		return fmt.Errorf("begin a call: %w", err)
	}
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	defer tick.Stop()
	for n := uint16(0); ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		p := make([]byte, 172+int(n%3)*400)
		if _, err := rand.Read(p); err != nil {
			return err
		}
		p[0], p[1] = 0x80, 96
		binary.BigEndian.PutUint16(p[2:], n)
		if _, err := c.Write(p); err != nil && ctx.Err() == nil {
			return fmt.Errorf("send in a call: %w", err)
		}
	}
}

// backup sends a folder to an S3 server with restic.
func (o *office) backup(t *testing.T) {
	t.Helper()
	program := versitygw(t)
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if err := os.MkdirAll(data, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		b := make([]byte, 2<<20)
		if _, err := rand.Read(b); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(data, fmt.Sprintf("scan-%d.dcm", i)), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h := add(t, o.world, "s3", "198.18.50.9/24")
	if err := os.MkdirAll(filepath.Join(dir, "objects"), 0o755); err != nil {
		t.Fatal(err)
	}
	start(t, h, program, "--access", "restic", "--secret", "restic-secret", "--port", h.IP()+":9000", "posix", filepath.Join(dir, "objects"))
	await(t, 20*time.Second, "the S3 server listening", func() bool {
		c, err := o.quiet.host.Dial(t.Context(), "tcp", h.IP()+":9000")
		return err == nil && c.Close() == nil
	})
	for _, args := range [][]string{{"init"}, {"backup", data}} {
		cmd := o.quiet.host.Command(t.Context(), "restic", append([]string{"-r", "s3:http://" + h.IP() + ":9000/backup", "--no-cache"}, args...)...)
		cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID=restic", "AWS_SECRET_ACCESS_KEY=restic-secret", "RESTIC_PASSWORD=a test", "HOME="+dir)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("restic %s: %v: %s", args[0], err, out)
		}
	}
}

// syncs copies a file to another machine with Syncthing.
func (o *office) syncs(t *testing.T) {
	t.Helper()
	other := add(t, o.world, "sync", "198.18.60.9/24")
	a, b := newMirror(t, o.quiet.host), newMirror(t, other)
	file := make([]byte, 8<<20)
	if _, err := rand.Read(file); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(a.folder, "shared.bin"), file, 0o600); err != nil {
		t.Fatal(err)
	}
	a.serve(t, b)
	b.serve(t, a)
	await(t, 90*time.Second, "Syncthing copying a file", func() bool {
		got, err := os.ReadFile(filepath.Join(b.folder, "shared.bin"))
		return err == nil && bytes.Equal(got, file)
	})
}

// mirror is Syncthing on a host.
type mirror struct {
	host             *netns.Host
	home, folder, id string
}

func newMirror(t *testing.T, h *netns.Host) mirror {
	t.Helper()
	s := mirror{host: h, home: t.TempDir(), folder: t.TempDir()}
	if err := os.Mkdir(filepath.Join(s.folder, ".stfolder"), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := h.Command(t.Context(), "syncthing", "generate", "--home", s.home)
	cmd.Env = append(os.Environ(), "HOME="+s.home)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("syncthing generate: %v: %s", err, out)
	}
	out, err := h.Run(t.Context(), "syncthing", "--device-id", "--home", s.home)
	if err != nil {
		t.Fatal(err)
	}
	s.id = regexp.MustCompile(`[A-Z2-7]{7}(-[A-Z2-7]{7}){7}`).FindString(out)
	if s.id == "" {
		t.Fatalf("no device id in %q", out)
	}
	return s
}

// serve shares the folder with another one, straight by its address.
func (s mirror) serve(t *testing.T, with mirror) {
	t.Helper()
	devices := ""
	for _, d := range []mirror{s, with} {
		devices += fmt.Sprintf(`<device id=%q name=%q compression="never"><address>tcp://%s:22000</address></device>`, d.id, d.host.Name, d.host.IP())
	}
	config := fmt.Sprintf(`<configuration version="35"><folder id="shared" path=%q type="sendreceive" rescanIntervalS="3600" fsWatcherEnabled="true"><device id=%q/><device id=%q/></folder>
%s<gui enabled="false"/><options><listenAddress>tcp://%s:22000</listenAddress><globalAnnounceEnabled>false</globalAnnounceEnabled><localAnnounceEnabled>false</localAnnounceEnabled>
<relaysEnabled>false</relaysEnabled><natEnabled>false</natEnabled><startBrowser>false</startBrowser><urAccepted>-1</urAccepted><crashReportingEnabled>false</crashReportingEnabled><autoUpgradeIntervalH>0</autoUpgradeIntervalH></options></configuration>`,
		s.folder, s.id, with.id, devices, s.host.IP())
	if err := os.WriteFile(filepath.Join(s.home, "config.xml"), []byte(strings.TrimSpace(config)), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, s.host, "syncthing", "serve", "--home", s.home, "--no-browser", "--no-upgrade")
}
